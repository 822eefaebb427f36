"""The four instruments against real local servers, in good order and in every kind of bad order."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
import time
from typing import Any

import pytest

from airflow_de_agent import tools
from airflow_de_agent.aws.calls import Clients
from airflow_de_agent.core.redshift_views import RedshiftTarget
from airflow_de_agent.core.task_log import distil
from tests import aws_servers

aws, redshift, mwaa, database = aws_servers.aws, aws_servers.redshift, aws_servers.mwaa, aws_servers.database

GROUP = "airflow-prod-Task"
RUN = "scheduled__2026-11-21T03:00:00+00:00"
STREAM = "dag_id=sales_etl/run_id=scheduled__2026-11-21T03_00_00+00_00/task_id=load.copy_orders/attempt=1.log"
TASK = {"dag_id": "sales_etl", "run_id": RUN, "task_id": "load.copy_orders", "try_number": 1}
# yesterday's, as CloudWatch takes no events of more than two weeks ago
NOON = (dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = f"{NOON:%Y-%m-%d}"
BEFORE = f"{NOON - dt.timedelta(hours=20):%Y-%m-%d %H:%M:%S}"
WINDOW = {"since": NOON - dt.timedelta(hours=1), "until": NOON + dt.timedelta(minutes=5)}
TARGET = RedshiftTarget("warehouse", cluster_id="analytics", db_user="de_agent")
AIRFLOW_3_EVENT = (
    '{"event": "Task failed with exception", "level": "error", "logger": "task", "error_detail": [{"exc_type": '
    '"KeyError", "exc_value": "\'order_id\'", "frames": []}]}'
)


def soon(seconds: float) -> float:
    return time.monotonic() + seconds


def put_log(logs: Any, stream: str, lines: list[str], group: str = GROUP, at: dt.datetime = NOON) -> None:
    """Write a stream, one event per line, a millisecond apart."""
    for create, arguments in (
        (logs.create_log_group, {"logGroupName": group}),
        (logs.create_log_stream, {"logGroupName": group, "logStreamName": stream}),
    ):
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            create(**arguments)
    start = int(at.timestamp() * 1000)
    events = [{"timestamp": start + n, "message": line} for n, line in enumerate(lines)]
    for first in range(0, len(events), 5000):
        part = events[first : first + 5000]
        answer = logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=part)
        assert "rejectedLogEventsInfo" not in answer


def text_of(evidence: Any) -> str:
    return "\n".join(line.text for line in evidence.lines)


# --- task logs


def test_get_mwaa_task_logs(aws):
    """The log of one try is found under MWAA's name for it and comes back line by line."""
    logs = aws.client("logs")
    traceback = "[2026-11-21T12:00:00.000+0000] {taskinstance.py:3312} ERROR - Task failed with exception\nTraceback (most recent call last):\nKeyError: 'order_id'"  # noqa: E501
    put_log(logs, STREAM, ["[2026-11-21T12:00:00.000+0000] {x.py:1} INFO - begin", traceback])
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK)
    assert evidence.status == "found"
    assert [line.text for line in evidence.lines][-1] == "KeyError: 'order_id'"
    assert [line.number for line in evidence.lines] == [1, 2, 3, 4]
    assert evidence.gap == "" and evidence.seconds > 0


def test_events_of_airflow_3_read_like_its_log_file(aws):
    """Airflow 3 sends JSON without the time; the event's own time is put where the log file has it."""
    logs = aws.client("logs")
    put_log(logs, STREAM.replace("attempt=1", "map_index=0/attempt=2"), [AIRFLOW_3_EVENT])
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK | {"try_number": 2, "map_index": 0})
    assert text_of(evidence).startswith(f'{{"timestamp": "{DAY}T12:00:00.000Z", "event": "Task failed')


@pytest.mark.parametrize(
    ("major", "ended"), [(2, ("RuntimeError", "COPY failed")), (3, ("ValueError", "partition 2 has no rows"))]
)
def test_what_airflow_sent_to_cloudwatch_reads_as_its_log(aws, major, ended):
    """Events that real Airflow 2.11.2 and 3.3.2 sent through the Amazon provider lead to the task's last exception."""
    events = json.loads((aws_servers.DATA / f"cloudwatch_airflow{major}.json").read_text())
    logs = aws.client("logs")
    put_log(logs, STREAM, [event["message"] for event in events])
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK)
    chain = distil([text_of(evidence).encode()], redact=str).exceptions[-1]
    assert (chain[-1].type, chain[-1].message.partition(":")[0]) == ended


def test_what_a_trigger_logged_is_part_of_the_log(aws):
    """A deferred task has a stream per trigger; the lines of both come in order of time."""
    logs = aws.client("logs")
    put_log(logs, STREAM, ["deferred"], at=NOON)
    put_log(
        logs, f"{STREAM}.trigger.17.log", ["Traceback (most recent call last): boom"], at=NOON + dt.timedelta(seconds=1)
    )
    put_log(logs, STREAM.replace("attempt=1.", "attempt=10."), ["another try"])
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK)
    assert [line.text for line in evidence.lines] == ["deferred", "Traceback (most recent call last): boom"]


def test_tries_before_can_be_read_too(aws):
    """The log of an earlier try stands before that of this try, each under its number."""
    logs = aws.client("logs")
    put_log(logs, STREAM, ["Traceback (most recent call last): first"])
    put_log(logs, STREAM.replace("attempt=1", "attempt=2"), ["Traceback (most recent call last): second"])
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, earlier_tries=1, **TASK | {"try_number": 2})
    assert [line.text.rpartition(" ")[2] for line in evidence.lines] == ["===", "first", "===", "second"]


@pytest.mark.parametrize(
    ("stream", "arguments"),
    [
        ("sales_etl/load.copy_orders/2026-11-21T03_00_00+00_00/1.log", {}),
        ("teams/sales/sales_etl-load.copy_orders-1.log", {"stream": "teams/sales/sales_etl-load.copy_orders-1.log"}),
    ],
)
def test_streams_with_other_names_are_found(aws, stream, arguments):
    """The template of old Airflow versions is known; any other is told by the host's log path."""
    logs = aws.client("logs")
    put_log(logs, stream, ["Traceback (most recent call last): boom"])
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK, **arguments)
    assert evidence.status == "found"


def test_a_log_that_is_not_there_yet_is_told_from_one_that_never_was(aws):
    """Other tries, other tasks of the run, or nothing at all of the run: each is said."""
    logs = aws.client("logs")
    put_log(logs, STREAM, ["x"])
    read = {"log_group": GROUP, "settle_seconds": 0.0}
    other_try = tools.get_mwaa_task_logs(logs, **read, **TASK | {"try_number": 3})
    other_task = tools.get_mwaa_task_logs(logs, **read, **TASK | {"task_id": "publish"})
    other_run = tools.get_mwaa_task_logs(logs, **read, **TASK | {"run_id": "manual__1"})
    assert [e.status for e in (other_try, other_task, other_run)] == ["empty"] * 3
    assert "there are tries 1" in other_try.reason
    assert "no log of publish" in other_task.reason and "yet" in other_task.reason
    assert "no log of the run" in other_run.reason and "log_filename_template" in other_run.cure


def test_a_log_that_arrives_late_is_waited_for(aws):
    """A stream without the end of the try is asked again while its last event is fresh."""
    logs = aws.client("logs")
    now = dt.datetime.now(dt.timezone.utc)
    put_log(logs, STREAM, ["[x] INFO - begin"], at=now)
    late = threading.Timer(0.8, put_log, [logs, STREAM, ["Traceback (most recent call last): late"], GROUP, now])
    late.start()
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK)
    late.join()
    assert text_of(evidence).endswith("late")


def test_the_end_of_a_huge_stream_costs_only_its_pages(aws):
    """The last megabyte of a gigabyte takes two pages and at most five calls more."""
    aws.own["Logs"] = aws_servers.HugeStream(GROUP, STREAM, 1_000_000, 1_000, int(NOON.timestamp() * 1000))
    evidence = tools.get_mwaa_task_logs(aws.client("logs"), log_group=GROUP, max_bytes=1_048_576, **TASK)
    read = sum(len(line.text) + 1 for line in evidence.lines)
    assert 1_040_000 < read <= 1_048_576
    assert "KeyError: 'order_id'" in evidence.lines[-1].text
    assert len(aws.calls) <= 2 + 5


def test_a_group_with_another_name_is_named(aws):
    """When the log group was renamed the answer tells which ones there are, and the setting to change."""
    logs = aws.client("logs")
    put_log(logs, STREAM, ["x"], group="airflow-prod-v2-Task")
    evidence = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK)
    assert evidence.status == "unavailable"
    assert "airflow-prod-v2-Task" in evidence.reason and "eu-west-1" in evidence.reason
    assert "task_log_group" in evidence.cure


# --- DAG runs


@pytest.mark.parametrize("environment", ["prod-2", "prod-3"])
def test_get_dag_run_status(aws, mwaa, environment):
    """The latest failed run, its task instances, recent runs and import errors, from both REST APIs."""
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment=environment, dag_id="sales_etl")
    tasks = {(r["task_id"], r["map_index"]): r["state"] for r in evidence.rows if r["view"] == "task_instance"}
    assert tasks == {
        ("load.extract", -1): "success",
        ("load.check", 0): "success",
        ("load.check", 1): "failed",
        ("load.check", 2): "success",
        ("load.copy_orders", -1): "failed",
        ("publish", -1): "upstream_failed",
    }
    runs = [row for row in evidence.rows if row["view"] == "dag_run"]
    assert [run["state"] for run in runs] == ["failed", "failed"]
    assert evidence.gap == "" and len(aws.calls) == 3


def test_import_errors_tell_what_stopped_a_dag_file(aws, mwaa):
    """The end of the traceback of a DAG file that cannot be read is among the rows."""
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment="prod-3", dag_id="broken")
    (error,) = [row for row in evidence.rows if row["view"] == "import_error"]
    assert "ModuleNotFoundError: No module named 'package_that_is_not_there'" in error["stack_trace"]


@pytest.mark.parametrize(("filename", "counts"), [("dags/sales.py", True), ("sales_etl_v2.py", True), ("hr.py", False)])
def test_a_file_of_another_dag_is_no_cause(aws, mwaa, filename, counts):
    """Of files that cannot be read only those are told that look like the DAG's own, where Airflow knows its runs."""
    mwaa.captured["v2"]["import_errors"][0]["filename"] = filename
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment="prod-3", dag_id="sales_etl")
    assert any(row["view"] == "import_error" for row in evidence.rows) == counts


def test_many_task_instances_are_paged(aws, mwaa):
    """A run of more task instances than a page holds is read to its end."""
    captured = mwaa.captured["v2"]
    first = captured["task_instances"][0]
    captured["task_instances"] = [first | {"map_index": n} for n in range(250)]
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment="prod-3", dag_id="sales_etl")
    assert sum(row["view"] == "task_instance" for row in evidence.rows) == 250


def test_an_unknown_dag_or_environment_is_said(aws, mwaa):
    """Each has its reason and cure; import errors are shown, as they may be why a DAG is unknown."""
    client = aws.client("mwaa")
    no_dag = tools.get_dag_run_status(client, environment="prod-2", dag_id="not_a_dag")
    no_run = tools.get_dag_run_status(client, environment="prod-2", dag_id="sales_etl", run_id="nope")
    no_environment = tools.get_dag_run_status(client, environment="prodd", dag_id="sales_etl")
    assert no_environment.status == "unavailable"
    assert "no run of not_a_dag" in no_dag.reason and "no run nope of sales_etl" in no_run.reason
    assert "mwaa_environment" in no_environment.cure


@pytest.mark.parametrize(
    ("status", "said"), [(403, "Airflow forbids it (HTTP 403)"), (503, "web server failed (HTTP 503)")]
)
def test_what_airflow_itself_refuses_is_passed_on(aws, mwaa, status, said):
    """Airflow's own status shows through MWAA's wrapping, with its cure."""
    mwaa.rest_status["/dags/~/dagRuns/list"] = status
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment="prod-3", dag_id="sales_etl", deadline=soon(3))
    assert said in evidence.reason and evidence.cure


def test_part_of_the_picture_is_better_than_none(aws, mwaa):
    """When one list cannot be read the others stand, and the gap is named."""
    mwaa.rest_status["/importErrors"] = 403
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment="prod-3", dag_id="sales_etl")
    assert evidence.status == "found" and "HTTP 403" in evidence.gap


@pytest.fixture(params=["v1", "v2"])
def web(request, mwaa, tmp_path, monkeypatch):
    """The web server of an environment of each major, whose certificate is trusted."""
    server = aws_servers.MwaaWebServer(mwaa, request.param, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", server.certificate)
    mwaa.web_host = server.host
    yield server
    server.close()


def test_a_boto3_without_invoke_rest_api_logs_in_instead(aws, mwaa, web):
    """MWAA's Airflow 2.10.3 pins a boto3 that has no InvokeRestApi; the web login serves, on both majors."""
    client = Clients(aws_servers.CREDENTIALS, endpoint_url=aws.url)("mwaa")
    delattr(type(client), "invoke_rest_api")
    evidence = tools.get_dag_run_status(client, environment="prod-2", dag_id="sales_etl")
    assert evidence.status == "found" and evidence.gap == ""
    assert aws.calls == ["MWAA.CreateWebLoginToken"]


def test_a_caller_with_the_web_login_alone_is_served(aws, mwaa, web):
    """Where IAM allows only the login, InvokeRestApi is tried once and the login goes on from there."""
    mwaa.login_only = {"prod-3"}
    evidence = tools.get_dag_run_status(aws.client("mwaa"), environment="prod-3", dag_id="sales_etl")
    assert evidence.status == "found" and evidence.gap == ""
    assert aws.calls == ["MWAA.InvokeRestApi", "MWAA.CreateWebLoginToken"]


def test_a_web_server_out_of_reach_names_both_ways(aws, mwaa):
    """An old boto3 and a private web server: the reason and the cure speak of the network and of IAM."""
    mwaa.web_host = "127.0.0.1:1"
    client = Clients(aws_servers.CREDENTIALS, endpoint_url=aws.url)("mwaa")
    delattr(type(client), "invoke_rest_api")
    evidence = tools.get_dag_run_status(client, environment="prod-2", dag_id="sales_etl", deadline=soon(3))
    assert evidence.status == "unavailable"
    assert "web server cannot be reached" in evidence.reason and "airflow:InvokeRestApi" in evidence.cure


# --- Redshift


def failed_query(query_id: int, text: str, error: str, at: str = f"{DAY} 11:58:00") -> str:
    return (
        "INSERT INTO sys_query_history (query_id, database_name, query_type, status, start_time, end_time, "
        f"elapsed_time, error_message, query_text) VALUES ({query_id}, 'warehouse', 'COPY', 'failed', '{at}', '{at}', "
        f"1200, '{error}', '{text}');"
    )


LOAD_ERROR = (
    "INSERT INTO sys_load_history (query_id, table_name) VALUES (99120877, 'orders');"
    "INSERT INTO sys_load_error_detail (query_id, start_time, file_name, line_number, column_name, error_code, "
    f"error_message) VALUES (99120877, '{DAY} 11:58:00', 's3://landing/orders/part-02.csv', 4, 'carrier', 1202, "
    "'Delimiter not found');"
)


def test_query_redshift_audit_logs(aws, redshift):
    """Failed queries of the window and their load errors come back without CHAR padding."""
    redshift.sql(failed_query(99120877, "COPY orders FROM s3", "Load into table orders failed") + LOAD_ERROR)
    redshift.sql(failed_query(5, "SELECT 1", "too early", at=BEFORE))
    evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    assert [(row["view"], row["query_id"]) for row in evidence.rows] == [
        ("SYS_QUERY_HISTORY", 99120877),
        ("SYS_LOAD_ERROR_DETAIL", 99120877),
    ]
    assert evidence.rows[0]["status"] == "failed" and evidence.rows[1]["error_message"] == "Delimiter not found"
    assert evidence.rows[1]["table_name"] == "orders" and evidence.gap == ""


def test_named_queries_are_found_outside_of_the_window(aws, redshift):
    """A query id from the task's log is enough, and rows of other queries are left out."""
    redshift.sql(failed_query(5, "COPY a", "this one", at=BEFORE) + failed_query(6, "COPY b", "other"))
    client = aws.client("redshift-data")
    evidence = tools.query_redshift_audit_logs(client, target=TARGET, query_ids=[5], **WINDOW)
    assert [row["error_message"] for row in evidence.rows] == ["this one"]


def test_rows_of_the_tables_at_hand_are_preferred(aws, redshift):
    """When a table is named the rows that mention it are kept, and others only when there are none."""
    redshift.sql(failed_query(5, "COPY shop.orders", "a") + failed_query(6, "COPY returns", "b"))
    client = aws.client("redshift-data")
    evidence = tools.query_redshift_audit_logs(client, target=TARGET, tables=["shop.orders"], **WINDOW)
    assert [row["query_id"] for row in evidence.rows] == [5]


def test_waiting_transactions_and_wlm_are_part_of_the_answer(aws, redshift):
    """Who waits for a lock and who holds it, and what WLM aborted."""
    redshift.sql(
        "INSERT INTO svv_transactions VALUES "
        f"('etl','warehouse',7,11,'{DAY} 11:00','AccessExclusiveLock','relation',42,true),"
        f" ('bi','warehouse',8,12,'{DAY} 11:30','AccessShareLock','relation',42,false);"
        f"INSERT INTO stl_wlm_rule_action VALUES (100, 6, 6, 'max_30_min', 'abort', '{DAY} 11:59:00');"
    )
    evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    locks = [row["granted"] for row in evidence.rows if row["view"] == "SVV_TRANSACTIONS"]
    assert locks == [False, True]
    assert [row["rule"] for row in evidence.rows if row["view"] == "STL_WLM_RULE_ACTION"] == ["max_30_min"]


def test_old_clusters_are_asked_through_stl_load_errors(aws, redshift):
    """Where a view does not exist its older kin is asked instead, and an optional one is passed over in silence."""
    redshift.sql(
        "ALTER TABLE sys_load_error_detail RENAME TO hidden_1; ALTER TABLE stl_wlm_rule_action RENAME TO hidden_2;"
        "INSERT INTO stl_load_errors (query, starttime, filename, line_number, raw_line, err_reason) VALUES "
        f"(5, '{DAY} 11:58:00', 's3://landing/x.csv', 4, '88121;x', 'Delimiter not found');"
    )
    try:
        evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    finally:
        redshift.sql(
            "ALTER TABLE hidden_1 RENAME TO sys_load_error_detail; ALTER TABLE hidden_2 RENAME TO stl_wlm_rule_action"
        )
    assert [row["view"] for row in evidence.rows] == ["STL_LOAD_ERRORS"] and evidence.gap == ""


@pytest.mark.parametrize(
    "target",
    [
        RedshiftTarget("warehouse", workgroup="serverless-analytics", db_user="ignored"),
        RedshiftTarget("warehouse", cluster_id="analytics", secret_arn="arn:aws:secretsmanager:x", db_user="ignored"),
        RedshiftTarget("warehouse", cluster_id="analytics"),
    ],
)
def test_every_way_to_log_in_is_asked_as_the_data_api_wants_it(aws, redshift, target):
    """Serverless, a secret and plain IAM: no two logins are ever given together."""
    evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=target, **WINDOW)
    assert (evidence.status, evidence.gap) == ("empty", "")


def test_the_customers_own_audit_table_is_asked_with_named_parameters(aws, redshift):
    """The SQL of the configuration binds the window and the run; values are never put into the text."""
    redshift.sql(
        "CREATE TABLE IF NOT EXISTS audit_loads (dag_id text, loaded_at timestamp, message char(40), extra bytea);"
        f"TRUNCATE audit_loads; INSERT INTO audit_loads VALUES ('sales_etl', '{DAY} 11:59', 'rejected 12 rows', "
        f"'\\xdeadbeef'), ('sales_etl', '{DAY} 11:58', NULL, NULL)"
    )
    evidence = tools.query_redshift_audit_logs(
        aws.client("redshift-data"),
        target=TARGET,
        sql="SELECT message, extra FROM audit_loads WHERE dag_id = :dag_id AND loaded_at::date >= CAST(:since AS date) "
        "ORDER BY loaded_at DESC",
        parameters={"dag_id": "sales_etl"},
        **WINDOW,
    )
    assert evidence.rows == ({"view": "AUDIT", "message": "rejected 12 rows", "extra": "<4 bytes>"}, {"view": "AUDIT"})


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM orders", "not a single SELECT"),
        ("SELECT 1; DROP TABLE orders", "not a single SELECT"),
        ("SELECT * FROM audit WHERE owner = :owner", "binds :owner"),
    ],
)
def test_an_audit_sql_that_cannot_be_right_is_not_run(aws, redshift, sql, said):
    """Only one SELECT, and only with parameters that somebody gives."""
    evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, sql=sql, **WINDOW)
    assert evidence.status == "unavailable" and said in evidence.reason and evidence.cure
    assert not redshift.statements


def test_a_result_without_end_is_cut(aws, redshift):
    """Of a hundred thousand rows the first page is read, fifty are kept, each value at a reasonable length."""
    client = aws.client("redshift-data")
    sql = "SELECT n, repeat('x', 1000) AS wide FROM generate_series(1, 100000) n"
    evidence = tools.query_redshift_audit_logs(client, target=TARGET, sql=sql, **WINDOW)
    assert len(evidence.rows) == 50 and len(evidence.rows[0]["wide"]) < 650
    assert aws.calls.count("RedshiftData.GetStatementResult") == 1


def test_a_view_that_the_user_may_not_read_names_the_grant(aws, redshift):
    """The rows of the other views stand, and the gap says which GRANT is missing."""
    redshift.sql(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT reader TO CURRENT_USER;"
        "GRANT SELECT ON sys_load_error_detail, sys_load_history, svv_transactions, stl_wlm_rule_action TO reader;"
        + LOAD_ERROR
    )
    redshift.reader = "reader"
    try:
        evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    finally:
        redshift.sql("DROP OWNED BY reader; DROP ROLE reader")
    assert evidence.status == "found"
    assert "GRANT SELECT ON sys_query_history TO de_agent;" in evidence.gap


def test_a_paused_cluster_and_a_wrong_region_name_their_cure(aws, redshift):
    """The Data API says both by a ValidationException."""
    client = aws.client("redshift-data")
    redshift.paused = {"analytics"}
    paused = tools.query_redshift_audit_logs(client, target=TARGET, **WINDOW)
    elsewhere = tools.query_redshift_audit_logs(
        client, target=RedshiftTarget("warehouse", cluster_id="other"), **WINDOW
    )
    assert "paused" in paused.reason and "resume-cluster --cluster-identifier analytics" in paused.cure
    assert "other" in elsewhere.cure and "eu-west-1" in elsewhere.cure


def test_a_statement_that_takes_too_long_is_cancelled(aws, redshift):
    """At the deadline the gap is named and nothing goes on running in the cluster."""
    redshift.slow = 10**6
    evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, deadline=soon(3.0), **WINDOW)
    # the deadline may fall between two looks at the statement, or into one
    assert "time was up" in evidence.gap or "in time" in evidence.gap
    assert {item["state"]["Status"] for item in redshift.statements.values()} == {"ABORTED"}


def test_an_aborted_statement_is_an_answer(aws, redshift):
    """A statement that somebody cancels is reported, not raised."""
    redshift._run = lambda body: {"Status": "ABORTED"}
    evidence = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    assert evidence.status == "unavailable" and "aborted" in evidence.reason


# --- Lambda

ID = "fa60295b-85a2-495a-a7e2-da5c85a5eb1e"
KILLED = [
    f"START RequestId: {ID} Version: $LATEST",
    "[INFO] Collecting in us-east-2",
    f"RequestId: {ID} Error: Runtime exited with error: signal: killed",
    f"END RequestId: {ID}",
    f"REPORT RequestId: {ID}\tDuration: 19266.38 ms\tMemory Size: 2688 MB\tMax Memory Used: 2688 MB\tStatus: error\t"
    "Error Type: Runtime.ExitError",
]


def lambda_errors(aws: Any, **arguments: Any) -> Any:
    arguments = {"functions": ["inventory"], **WINDOW} | arguments
    return tools.get_cloudwatch_lambda_errors(aws.client("logs"), **arguments)


def test_get_cloudwatch_lambda_errors(aws):
    """An invocation that was killed is shown from its START on; good ones are not."""
    good = "11111111-2222-3333-4444-555555555555"
    lines = [f"START RequestId: {good} Version: 1", "[INFO] fine", f"END RequestId: {good}", *KILLED]
    put_log(aws.client("logs"), "2026/11/21/[$LATEST]abc", lines, group="/aws/lambda/inventory")
    evidence = lambda_errors(aws)
    assert [line.text for line in evidence.lines] == KILLED


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (f"2026-11-21T12:00:00.000Z {ID} Task timed out after 300.07 seconds", "Task timed out after 300.07 seconds"),
        ("[ERROR] KeyError: 'sku'\rTraceback (most recent call last):\r  File \"/var/task/app.py\"", "KeyError: 'sku'"),
        ("INIT_REPORT Init Duration: 10000.11 ms\tPhase: init\tStatus: timeout", "Status: timeout"),
        (f'2026-11-21T12:00:00.000Z\t{ID}\tERROR\tInvoke Error \t{{"errorType":"TypeError"}}', "TypeError"),
        (
            f"REPORT RequestId: {ID}\tDuration: 9 ms\tMemory Size: 128 MB\tMax Memory Used: 128 MB",
            "Max Memory Used: 128",
        ),
        (
            f'{{"time":"x","type":"platform.report","record":{{"requestId":"{ID}","status":"timeout","metrics":'
            '{"durationMs":3000,"memorySizeMB":128,"maxMemoryUsedMB":60}}}',
            f"REPORT RequestId: {ID}\tDuration: 3000 ms\tMemory Size: 128 MB\tMax Memory Used: 60 MB\tStatus: timeout",
        ),
        (
            f'{{"level":"ERROR","errorType":"KeyError","errorMessage":"\'sku\'","requestId":"{ID}","stackTrace":['
            '"  File \\"/var/task/app.py\\", line 3\\n"]}',
            f"[ERROR] RequestId: {ID} KeyError: 'sku'\n  File \"/var/task/app.py\", line 3",
        ),
        (
            f'{{"level":"ERROR","message":"no stock","exception_name":"StockError","function_request_id":"{ID}"}}',
            f"[ERROR] RequestId: {ID} StockError: no stock",
        ),
    ],
)
def test_every_kind_of_failure_is_recognised(aws, event, said):
    """Timeouts, memory, start-up, uncaught exceptions, in the text format, in JSON and as Powertools writes them."""
    put_log(aws.client("logs"), "s", ["[INFO] fine", event], group="/aws/lambda/inventory")
    assert said in text_of(lambda_errors(aws))


def test_only_the_invocation_at_hand_is_shown(aws):
    """A request id from the task's log narrows the answer, an uncaught exception without an id included."""
    other = "11111111-2222-3333-4444-555555555555"
    logs = aws.client("logs")
    mine = [f"START RequestId: {ID} Version: 1", "[ERROR] KeyError: 'mine'", f"END RequestId: {ID}"]
    theirs = [f"START RequestId: {other} Version: 1", "[ERROR] KeyError: 'theirs'", f"END RequestId: {other}"]
    put_log(logs, "a", mine, group="/aws/lambda/inventory")
    put_log(logs, "b", theirs, group="/aws/lambda/inventory")
    assert "theirs" not in text_of(lambda_errors(aws, request_ids=[ID]))
    assert "theirs" in text_of(lambda_errors(aws))


@pytest.mark.parametrize(
    ("functions", "log_groups"),
    [
        (["arn:aws:lambda:eu-west-1:123456789012:function:inventory:3"], {"inventory": "/teams/stock"}),
        (["123456789012:function:inventory"], {"inventory": "/teams/stock"}),
        (["/teams/stock"], {}),
    ],
)
def test_log_groups_of_the_customers_choice(aws, functions, log_groups):
    """A function may log to a group of its own, and may be named by its ARN."""
    put_log(aws.client("logs"), "s", KILLED, group="/teams/stock")
    assert lambda_errors(aws, functions=functions, log_groups=log_groups).status == "found"


def test_a_function_without_a_log_group_is_a_gap_beside_the_others(aws):
    """What one function logged stands, and the cure for the other names the setting."""
    put_log(aws.client("logs"), "s", KILLED, group="/aws/lambda/inventory")
    evidence = lambda_errors(aws, functions=["absent", "inventory"])
    assert evidence.status == "found" and "no log group /aws/lambda/absent" in evidence.gap
    assert "lambda_log_groups to absent=GROUP" in evidence.gap


def test_no_error_is_an_empty_answer(aws):
    """A window in which all went well has nothing to show and no gap."""
    put_log(aws.client("logs"), "s", ["START RequestId: x", "[INFO] fine"], group="/aws/lambda/inventory")
    evidence = lambda_errors(aws)
    assert (evidence.status, evidence.gap) == ("empty", "")


# --- when things go wrong, for each of the four

ASK = {
    "task_log": ("logs", tools.get_mwaa_task_logs, {"log_group": GROUP, **TASK}),
    "run_state": ("mwaa", tools.get_dag_run_status, {"environment": "prod-3", "dag_id": "sales_etl"}),
    "redshift": ("redshift-data", tools.query_redshift_audit_logs, {"target": TARGET, **WINDOW}),
    "lambda_errors": ("logs", tools.get_cloudwatch_lambda_errors, {"functions": ["inventory"], **WINDOW}),
}


def ask(source: str, clients: Any, seconds: float) -> Any:
    """The answer of one of the four; its client is built before the time begins to run."""
    service, instrument, arguments = ASK[source]
    client = clients(service)
    return instrument(client, deadline=soon(seconds), **arguments)


@pytest.fixture
def everything(aws, redshift, mwaa):
    """Servers that have something to say to each of the four instruments."""
    logs = aws.client("logs")
    put_log(logs, STREAM, ["Traceback (most recent call last): boom"])
    put_log(logs, "s", KILLED, group="/aws/lambda/inventory")
    redshift.sql(failed_query(99120877, "COPY orders", "boom") + LOAD_ERROR)
    aws.calls.clear()
    return aws


@pytest.mark.parametrize("source", ASK)
@pytest.mark.parametrize(
    ("kind", "reason", "cure"),
    [
        ("AccessDenied", "assumed-role/airflow-exec/worker may not {action}", "allow {action} on arn:aws:"),
        ("ExpiredToken", "credentials have expired", "renew the session"),
        ("BadKey", "does not accept the credentials", "correct the keys"),
        ("Throttle", "throttled", "ask again later"),
        ("Internal", "failed inside AWS", "ask again later"),
        ("hang", "did not answer", "VPC endpoint"),
        ("half", "broke off its answer", "ask again"),
        ("garbled", "broke off its answer", "ask again"),
    ],
)
def test_every_refusal_is_evidence_with_its_cure(everything, source, kind, reason, cure):
    """Nothing is raised: the reason and what would mend it are the answer, within the deadline."""
    everything.misbehave(kind)
    evidence = ask(source, everything.client, 1.5)
    first = everything.calls[0]
    action = f"{aws_servers.action_of(first)}"
    assert evidence.status == "unavailable"
    assert reason.format(action=action) in evidence.reason
    assert cure.format(action=action) in evidence.cure
    assert evidence.seconds < 5


@pytest.mark.parametrize("source", ASK)
def test_a_deadline_that_has_passed_is_said(everything, source):
    """Nothing is asked any more, and the setting that gives more time is named."""
    evidence = ask(source, everything.client, -1)
    assert "no time was left" in evidence.reason and "deadline_seconds" in evidence.cure
    assert everything.calls == []


@pytest.mark.parametrize("source", ASK)
def test_throttled_at_every_second_call_the_answer_is_whole(everything, source):
    """Fewer than twice the calls that an unhurried service would have needed, and the same answer."""
    whole = ask(source, everything.client, 20)
    needed = len(everything.calls)
    everything.calls.clear()
    everything.misbehave("Throttle", every=2)
    throttled = ask(source, everything.client, 30)
    assert (throttled.status, throttled.gap) == ("found", "")
    assert throttled.lines == whole.lines
    if source != "redshift":  # which is asked again and again until its statements have ended
        assert len(everything.calls) < 2 * needed


@pytest.mark.parametrize("source", ASK)
def test_an_address_that_nobody_answers_is_named(source):
    """A closed port or a host that does not exist: the endpoint, the region and the VPC endpoint are spoken of."""
    for address in ("http://127.0.0.1:1", "http://aws.invalid"):
        clients = Clients(aws_servers.CREDENTIALS, endpoint_url=address)
        evidence = ask(source, clients, 2)
        assert evidence.status == "unavailable"
        assert address in evidence.reason and "eu-west-1" in evidence.cure


def test_what_was_read_before_the_connection_broke_is_kept(aws):
    """The first page stands when the second never comes, and the gap says so."""
    aws.own["Logs"] = aws_servers.HugeStream(GROUP, STREAM, 1_000_000, 1_000, int(NOON.timestamp() * 1000))
    aws.misbehave("hang", "Logs.GetLogEvents", every=2)
    evidence = tools.get_mwaa_task_logs(
        aws.client("logs"), log_group=GROUP, max_bytes=3_000_000, deadline=soon(1), **TASK
    )
    assert evidence.status == "found" and len(evidence.lines) > 900
    assert "did not answer logs:GetLogEvents in time" in evidence.gap


def test_secrets_are_out_before_anything_is_handed_on(aws, redshift):
    """Log lines, rows and reasons pass the redactor."""
    secret = "AKIAIOSFODNN7EXAMPLE"
    logs = aws.client("logs")
    put_log(logs, STREAM, [f"Traceback (most recent call last): key {secret}"])
    redshift.sql(failed_query(1, f"COPY orders ACCESS_KEY_ID {secret}", "no"))
    log = tools.get_mwaa_task_logs(logs, log_group=GROUP, **TASK)
    aws.misbehave("ValidationException", "RedshiftData.GetStatementResult", times=1, message=f"no {secret} here")
    refused = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    rows = tools.query_redshift_audit_logs(aws.client("redshift-data"), target=TARGET, **WINDOW)
    named = tools.query_redshift_audit_logs(
        aws.client("redshift-data"), target=TARGET, sql="SELECT 'hunter2-Sommer' AS password", **WINDOW
    )
    assert secret not in text_of(log) + text_of(rows) + str(rows.rows) + refused.gap
    assert "hunter2" not in text_of(named) + str(named.rows)
    assert "here" in refused.gap
    assert log.status == rows.status == "found"
