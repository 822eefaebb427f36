"""Which sources a failure calls for, and what comes back when some of them are slow, silent or forbidden."""

from __future__ import annotations

import base64
import datetime as dt
import threading
import time

import pytest

from airflow_de_agent.collect import collect, look
from airflow_de_agent.core.failure import CapturedException, TaskFailure, TaskKey
from airflow_de_agent.core.redshift_views import RedshiftTarget
from airflow_de_agent.core.tool_request import ToolRequest
from airflow_de_agent.sources import SOURCES, Places, Question
from tests import aws_servers
from tests.test_tools import DAY, GROUP, ID, KILLED, LOAD_ERROR, STREAM, failed_query, put_log

aws, redshift, mwaa, database = aws_servers.aws, aws_servers.redshift, aws_servers.mwaa, aws_servers.database

KEY = TaskKey("sales_etl", "scheduled__2026-11-21T03:00:00+00:00", "load.copy_orders")
COPY_FAILED = CapturedException("RedshiftDataQueryFailedError", "COPY failed, query id 99120877")


def failure(**fields):
    times = {"failed_at": f"{DAY}T12:00:00+00:00", "start_date": f"{DAY}T11:50:00Z"}
    return TaskFailure(KEY, "task", **times | fields)


def places(aws, **more):
    known = {
        "task_log_group": GROUP,
        "mwaa_environment": "prod-3",
        "redshift": RedshiftTarget("warehouse", cluster_id="analytics"),
    }
    return Places(aws.client, **known | more)


def called_for(failure, log="", **more):
    question = Question(failure, Places(lambda name: None, **more), log, 0.0, str)
    return [source.name for source in SOURCES if source.called_for(question)]


@pytest.mark.parametrize(
    ("given", "log", "names"),
    [
        ({"exceptions": (CapturedException("KeyError", "'order_id'"),)}, "reading from redshift", []),
        ({"operator": "PythonOperator"}, "TypeError: <lambda>() missing 1 required argument", []),
        ({"operator": "RedshiftDataOperator"}, "boom", ["redshift", "redshift_audit"]),
        ({"exceptions": (COPY_FAILED,)}, "boom", ["redshift", "redshift_audit"]),
        ({}, "Check 'stl_load_errors' system table for details", ["redshift", "redshift_audit"]),
        ({"operator": "LambdaInvokeFunctionOperator"}, "boom", ["lambda_errors"]),
        ({"fields": {"arn": "arn:aws:lambda:eu-west-1:1:function:x"}}, "boom", ["lambda_errors"]),
        ({}, "ValueError: ('Lambda function execution resulted in error', {})", ["lambda_errors"]),
        ({}, "", ["task_log"]),
    ],
)
def test_a_failure_calls_for_the_sources_that_can_know(given, log, names):
    """A KeyError asks no Redshift, a Python lambda no AWS Lambda; a log that is at hand is not fetched."""
    assert called_for(failure(**given), log, redshift_audit_sql="SELECT 1") == names


def test_everything_is_collected_at_once(aws, redshift, mwaa):
    """The log leads to the query and to the function; every source tells its seconds, none has a gap."""
    logs = aws.client("logs")
    put_log(logs, STREAM, ["Traceback (most recent call last): RedshiftDataQueryFailedError: query id 99120877"])
    put_log(logs, "s", KILLED, group="/aws/lambda/inventory")
    redshift.sql(failed_query(99120877, "COPY orders", "Delimiter not found") + LOAD_ERROR)
    for row in (*mwaa.captured["v2"]["task_instances"], mwaa.captured["v2"]["dag_runs"][0]):
        row["dag_run_id"] = KEY.run_id
    found = collect(
        failure(operator="LambdaInvokeFunctionOperator", fields={"function_name": "inventory"}),
        places(aws, redshift_audit_sql="SELECT 'rejected by ' || :dag_id AS message"),
        deadline=time.monotonic() + 20,
    )
    assert [(e.source, e.status, e.gap) for e in found] == [
        (name, "found", "")
        for name in (
            "task_log",
            "run_state",
            "recent_runs",
            "redshift",
            "redshift_audit",
            "lambda_errors",
        )
    ]
    texts = {e.source: "\n".join(line.text for line in e.lines) for e in found}
    assert "error_message=Delimiter not found" in texts["redshift"]
    assert "message=rejected by sales_etl" in texts["redshift_audit"]
    assert "Runtime exited" in texts["lambda_errors"]
    assert all(e.seconds > 0 for e in found)


def test_a_source_that_hangs_costs_only_itself(aws, redshift):
    """At the deadline the others' answers stand and the silent one is a gap."""
    redshift.sql(LOAD_ERROR)
    aws.misbehave("hang", "Logs.*")
    began = time.monotonic()
    log_there, rows = collect(
        failure(exceptions=(COPY_FAILED,)), places(aws, mwaa_environment=""), deadline=time.monotonic() + 8
    )
    assert time.monotonic() - began < 25  # the hanging call would end after 30
    assert (log_there.status, rows.status) == ("unavailable", "found")
    assert "did not answer" in log_there.gap


def test_a_client_that_cannot_be_built_costs_only_its_source(aws):
    """Even what never comes to a call, and what raises anything at all, ends in evidence."""
    block = threading.Event()

    def clients(name):
        if name == "logs":
            block.wait(10)
        raise RuntimeError(f"no {name} for AKIAIOSFODNN7EXAMPLE")

    places = Places(clients, task_log_group=GROUP, mwaa_environment="prod-3")
    log_there, state = collect(failure(), places, deadline=time.monotonic() + 0.5)
    block.set()
    assert "no answer within" in log_there.reason
    assert "RuntimeError: no mwaa" in state.reason and "AKIAIOSFODNN7EXAMPLE" not in state.reason


def test_what_is_called_for_and_not_set_up_is_a_gap_with_its_cure(aws):
    """A missing setting is told once the failure needs it."""
    found = collect(
        failure(operator="RedshiftDataOperator", exceptions=(CapturedException("x", "Lambda function failed"),)),
        Places(aws.client),
        deadline=time.monotonic() + 5,
    )
    gaps = {e.source: e.gap for e in found}
    assert "task_log_group" in gaps["task_log"]
    assert "de-agent/redshift" in gaps["redshift"]
    assert "lambda_log_groups" in gaps["lambda_errors"]
    assert aws.calls == []


def test_the_log_tail_that_lambda_returned_needs_no_permission(aws):
    """When CloudWatch refuses, the lines that came back with the invocation are evidence, and the gap is named."""
    aws.misbehave("AccessDenied")
    tail = base64.b64encode("\n".join(KILLED).encode()).decode()
    (found,) = collect(
        failure(operator="LambdaInvokeFunctionOperator", fields={"function_name": "inventory"}),
        places(aws, mwaa_environment=""),
        log=f"ValueError: 'x-amz-log-result': '{tail}'",
        deadline=time.monotonic() + 5,
    )
    assert found.status == "found" and f"RequestId: {ID} Error: Runtime exited" in found.lines[2].text
    assert "allow logs:FilterLogEvents" in found.gap


def test_functions_may_have_log_groups_of_their_own(aws):
    """lambda_log_groups names the group of a function, or one that is always looked at."""
    put_log(aws.client("logs"), "s", KILLED, group="/teams/stock")
    for groups in (("inventory=/teams/stock",), ("/teams/stock",)):
        (found,) = collect(
            failure(operator="LambdaInvokeFunctionOperator", fields={"function_name": "inventory"}),
            places(aws, mwaa_environment="", lambda_log_groups=groups),
            log="boom",
            deadline=time.monotonic() + 5,
        )
        assert found.status == "found"


def test_a_model_may_look_once_more(aws, redshift, mwaa):
    """Each granted look asks one instrument about one thing of this run, under a source name of its own."""
    logs = aws.client("logs")
    put_log(logs, STREAM.replace("load.copy_orders", "extract"), ["Traceback (most recent call last): upstream"])
    put_log(logs, "s", KILLED, group="/aws/lambda/inventory")
    redshift.sql(LOAD_ERROR)
    looks = [
        ("get_mwaa_task_logs", "extract", "task_log of extract", "upstream"),
        ("get_dag_run_status", "", "run_state again", "state=failed"),
        ("query_redshift_audit_logs", "orders", "redshift of orders", "Delimiter not found"),
        ("get_cloudwatch_lambda_errors", "inventory", "lambda_errors of inventory", "Runtime exited"),
    ]
    for tool, argument, source, said in looks:
        found = look(ToolRequest(tool, argument), failure(), places(aws), deadline=time.monotonic() + 10)
        assert (found.source, found.status) == (source, "found")
        assert said in "\n".join(line.text for line in found.lines)


def test_the_window_is_that_of_the_try():
    """From a little before its start to a little after its end; an hour where the start is not known."""
    since, until = Question(failure(), Places(str), "", 0.0, str).window
    assert until - since == dt.timedelta(minutes=10, seconds=90)
    since, until = Question(failure(start_date=""), Places(str), "", 0.0, str).window
    assert until - since == dt.timedelta(minutes=60, seconds=90)
