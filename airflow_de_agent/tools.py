"""The agent's four read-only instruments. Each reads one AWS service through the boto3 client it is given.

Rules kept here: an instrument answers always, with `Evidence` that is found, empty, or unavailable with the reason and
its cure; it stops at `deadline` (of `time.monotonic`; 20 s from now when absent) and keeps what it had by then; every
text is redacted before it is cut; nothing is ever written to AWS.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_de_agent.aws import lambda_streams, redshift_statements
from airflow_de_agent.aws.calls import CallFailed, Calls, Redact, deadline_or_default, evidence_of, shortened, with_gaps
from airflow_de_agent.aws.mwaa_instances import task_instances
from airflow_de_agent.aws.mwaa_rest import MwaaRest
from airflow_de_agent.aws.task_streams import TaskStreams
from airflow_de_agent.core import lambda_log, redshift_views, run_status, task_stream
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.redshift_views import VIEWS, RedshiftTarget, View

MAX_TASKS = 1000
VALUE_CHARS = 600


@evidence_of("task_log")
def get_mwaa_task_logs(
    logs: Any,
    *,
    log_group: str,
    dag_id: str,
    run_id: str,
    task_id: str,
    try_number: int,
    map_index: int = -1,
    max_bytes: int = 1_000_000,
    stream: str = "",
    earlier_tries: int = 0,
    settle_seconds: float = 6.0,
    redact: Redact | None = None,
    deadline: float | None = None,
) -> Evidence:
    """The end of a try's log in CloudWatch, at most `max_bytes` of it, read backwards.

    `stream` is its log path where the host told it (a changed log_filename_template); `earlier_tries` adds the logs
    of that many tries before. Waits up to `settle_seconds` for a stream or an end that is not there yet.
    """
    resource = f"arn:aws:logs:{logs.meta.region_name}:*:log-group:{log_group}:*"
    calls = Calls(logs, deadline_or_default(deadline), resource=resource, per_second=25)
    redact = redact or Redactor().redact
    streams = TaskStreams(calls, log_group)
    texts: list[str] = []
    for number in range(max(1, try_number - earlier_tries), try_number + 1):
        name = task_stream.stream_of(dag_id, run_id, task_id, number, map_index)
        name = task_stream.as_stream(stream) if stream and number == try_number else name
        settle = settle_seconds if number == try_number else 0.0
        found = streams.of_try(name, f"{dag_id}/{task_id}/", number, settle)
        text = task_stream.log_text(streams.tail(found, max_bytes, settle))
        texts += [f"=== try {number} ==="] * bool(earlier_tries and text) + [text] * bool(text)
    if not texts and not streams.failures:
        return streams.absent(dag_id, run_id, task_id, try_number)
    return with_gaps(Evidence.of_lines("task_log", redact("\n".join(texts)).splitlines()), streams.failures)


@evidence_of("run_state")
def get_dag_run_status(
    mwaa: Any,
    *,
    environment: str,
    dag_id: str,
    run_id: str | None = None,
    redact: Redact | None = None,
    deadline: float | None = None,
) -> Evidence:
    """A DAG run as Airflow's REST API on MWAA shows it: its task instances, the DAG's recent runs, import errors.

    Rows name their `view` (``task_instance``, ``dag_run``, ``import_error``). Without `run_id` it is the latest failed
    run. A task whose callback is still running is shown as ``running``.
    """
    redact = redact or Redactor().redact
    rest = MwaaRest(mwaa, environment, deadline_or_default(deadline))
    listed = rest.post("/dags/~/dagRuns/list", {"dag_ids": [dag_id], "order_by": "-start_date", "page_limit": 10})
    runs = listed.get("dag_runs", [])
    run_id = run_id or run_status.latest_failed(runs)
    rows = [run_status.run_row(run) for run in runs]
    tasks: list[dict[str, Any]] = []
    failures: list[CallFailed] = []
    try:
        tasks = task_instances(rest, MAX_TASKS, dag_ids=[dag_id], dag_run_ids=[run_id]) if run_id else []
        errors = rest.get("/importErrors").get("import_errors", [])
        told = [run_status.import_error_row(error, redact) for error in errors]
        rows += [row for row in told if not runs or run_status.concerns(row, dag_id)][:5]
    except CallFailed as exc:
        failures.append(exc)
    rows = [run_status.task_row(task) for task in tasks] + rows
    evidence = Evidence.of_rows("run_state", [_redacted(row, redact) for row in rows])
    if not runs or (run_id and not tasks and not failures):
        what = f"run {run_id} of {dag_id}" if runs else f"run of {dag_id}"
        reason, cure = f"Airflow knows no {what}.", f"check the dag_id and run_id; is it a DAG of {environment}?"
        evidence = dataclasses.replace(evidence, reason=reason, cure=cure)
    return with_gaps(evidence, failures)


def _redacted(row: Mapping[str, Any], redact: Redact) -> dict[str, Any]:
    """Texts are redacted beside their names, as a column ``password`` tells what its value is; then they are cut."""

    def clean(name: str, value: str) -> str:
        return shortened(redact(f"{name}={value}").partition("=")[2], VALUE_CHARS)

    return {name: clean(name, value) if isinstance(value, str) else value for name, value in row.items()}


@evidence_of("redshift")
def query_redshift_audit_logs(
    redshift_data: Any,
    *,
    target: RedshiftTarget,
    since: dt.datetime,
    until: dt.datetime,
    query_ids: Sequence[int] = (),
    tables: Sequence[str] = (),
    sql: str | None = None,
    parameters: Mapping[str, str] | None = None,
    slow_seconds: float = 300.0,
    redact: Redact | None = None,
    deadline: float | None = None,
) -> Evidence:
    """What Redshift's system views say about a window of time (`since` and `until` know their zone).

    Failed, cancelled and slow queries, load errors, transactions that wait, queries stopped by WLM. `sql` asks the
    customer's own audit tables instead: one SELECT, which may bind ``:since``, ``:until``, ``:query_ids`` and
    `parameters` by name. Rows name their `view`.
    """
    if sql is not None and not redshift_views.is_one_select(sql):
        raise CallFailed("redshift_audit_sql is not a single SELECT, so it was not run.", "make it one SELECT.")
    resource = f"arn:aws:redshift:{redshift_data.meta.region_name}:*:*:{target.name}"
    calls = Calls(redshift_data, deadline_or_default(deadline), resource=resource)
    values = {
        "since": _utc(since),
        "until": _utc(until),
        "query_ids": f",{','.join(map(str, query_ids))},",
        "slow_us": str(int(slow_seconds * 1e6)),
        **(parameters or {}),
    }
    views = VIEWS if sql is None else (View("AUDIT", sql),)
    rows, failures = redshift_statements.ask(calls, target, views, values)
    rows = redshift_views.concerned(rows, query_ids, tables) if sql is None else rows
    redact = redact or Redactor().redact
    return with_gaps(Evidence.of_rows("redshift", [_redacted(row, redact) for row in rows]), failures)


def _utc(moment: dt.datetime) -> str:
    return moment.astimezone(dt.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


@evidence_of("lambda_errors")
def get_cloudwatch_lambda_errors(
    logs: Any,
    *,
    functions: Sequence[str],
    since: dt.datetime,
    until: dt.datetime,
    request_ids: Sequence[str] = (),
    log_groups: Mapping[str, str] | None = None,
    redact: Redact | None = None,
    deadline: float | None = None,
) -> Evidence:
    """What failed invocations of Lambda functions logged in a window: the lines of each from its START on.

    `functions` are names, ARNs or log groups (with a slash); `log_groups` maps a function to a group of its own.
    `request_ids` narrow the answer to those invocations where they can be found.
    """
    redact = redact or Redactor().redact
    end = deadline_or_default(deadline)
    lines: list[str] = []
    failures: list[CallFailed] = []
    for name in dict.fromkeys(map(lambda_log.function_name, functions)):
        group = (log_groups or {}).get(name) or (name if "/" in name else f"/aws/lambda/{name}")
        resource = f"arn:aws:logs:{logs.meta.region_name}:*:log-group:{group}:*"
        calls = Calls(logs, end, resource=resource, per_second=5)  # FilterLogEvents allows 5 a second per account
        try:
            lines += lambda_streams.invocations(calls, group, (_ms(since), _ms(until)), request_ids, failures)
        except CallFailed as exc:
            failures.append(lambda_streams.group_missing(calls, name, group, exc))
    return with_gaps(Evidence.of_lines("lambda_errors", redact("\n".join(lines)).splitlines()), failures)


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)
