"""The sources of evidence in AWS: when a failure calls for each, and how it is asked.

Rules kept here: which sources a failure calls for is decided by `SOURCES` and `SIGNS` alone; a source that is called
for and is not set up is a gap with its cure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from airflow_de_agent import tools
from airflow_de_agent.aws.calls import Redact
from airflow_de_agent.core import lambda_log, redshift_views, run_status
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.moment import utc
from airflow_de_agent.core.redshift_views import RedshiftTarget

BEFORE, AFTER = dt.timedelta(seconds=30), dt.timedelta(seconds=60)  # clocks differ, and logs come late
LOOK_BACK = dt.timedelta(hours=1)  # where the start of the task is not known
MWAA_LOGS = "/airflow/logs/"


@dataclasses.dataclass(frozen=True)
class Places:
    """Where evidence is to be had. `clients` gives a boto3 client by service name; empty means not set up.

    `lambda_log_groups` are log groups, or ``FUNCTION=GROUP`` for functions that do not log to ``/aws/lambda/FUNCTION``.
    """

    clients: Callable[[str], Any]
    task_log_group: str = ""
    mwaa_environment: str = ""
    redshift: RedshiftTarget | None = None
    redshift_audit_sql: str = ""
    lambda_log_groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Question:
    """A failure, what its log says so far (empty: not known), and where and until when to ask."""

    failure: TaskFailure
    places: Places
    log: str
    deadline: float
    redact: Redact

    @property
    def task(self) -> str:
        """What failed: the operator, its fields, the exceptions."""
        failure = self.failure
        fields = [f"{name}={value}" for name, value in failure.fields.items()]
        return "\n".join([failure.operator, *fields, *(f"{e.type}: {e.message}" for e in failure.exceptions)])

    @property
    def window(self) -> tuple[dt.datetime, dt.datetime]:
        """The time of the try: since and until when to look."""
        end = utc(self.failure.failed_at) or dt.datetime.now(dt.timezone.utc)
        start = utc(self.failure.start_date) or end - LOOK_BACK
        return min(start, end) - BEFORE, end + AFTER

    def shows(self, sign: str) -> bool:
        """Whether what failed, or its log, shows the signs of a source."""
        in_task, in_log = SIGNS[sign]
        return bool(in_task.search(self.task) or in_log.search(self.log))


class Source(NamedTuple):
    """A row of the table: its name, when a failure calls for it, and how it is asked."""

    name: str
    called_for: Callable[[Question], bool]
    ask: Callable[[Question], tuple[Evidence, ...]]


# What in the operator, its fields and the exceptions, and what in the log, speaks of a service. The log is looked at
# for less: a task that merely uses a service says so in its log, too.
SIGNS = {
    "redshift": (
        re.compile(r"redshift", re.IGNORECASE),
        re.compile(
            r"(?i:stl_load_errors|sys_load_error_detail|sys_query_history|redshift_connector\.error|RedshiftQueryId"
            r"|RedshiftDataQuery\w*Error|providers/amazon/aws/\w+/redshift_\w+\.py)"
        ),
    ),
    "lambda": (
        re.compile(r"LambdaInvoke|Lambda\w*(?:Operator|Sensor|Hook)|:lambda:|/aws/lambda/|\bLambda function\b"),
        re.compile(
            r"Lambda function execution resulted in error|x-amz-function-error|\bFunctionError\b"
            r"|providers/amazon/aws/\w+/lambda_function\.py|ResourceConflictException.*[Ll]ambda"
        ),
    ),
}


def ask_task_log(question: Question) -> tuple[Evidence, ...]:
    """The log of the try, from CloudWatch."""
    failure, places = question.failure, question.places
    if not places.task_log_group:
        cure = "set [de_agent] task_log_group, airflow-ENVIRONMENT-Task on Amazon MWAA."
        return (Evidence.unavailable("task_log", "no log group of task logs is set.", cure),)
    evidence = tools.get_mwaa_task_logs(
        places.clients("logs"),
        log_group=places.task_log_group,
        **failure.key._asdict(),
        stream=failure.log_path.partition(MWAA_LOGS)[2],
        redact=question.redact,
        deadline=question.deadline,
    )
    return (evidence,)


def ask_run_state(question: Question) -> tuple[Evidence, ...]:
    """The run, the DAG's recent runs and import errors, from Airflow's REST API."""
    key, places = question.failure.key, question.places
    evidence = tools.get_dag_run_status(
        places.clients("mwaa"),
        environment=places.mwaa_environment,
        dag_id=key.dag_id,
        run_id=key.run_id,
        redact=question.redact,
        deadline=question.deadline,
    )
    return run_status.by_source(evidence)


def _ask_redshift(question: Question) -> tuple[Evidence, ...]:
    table = question.failure.fields.get("table")
    return (asked_redshift(question, tables=(table,) if table else ()),)


def _ask_redshift_audit(question: Question) -> tuple[Evidence, ...]:
    key = question.failure.key
    parameters = {"dag_id": key.dag_id, "run_id": key.run_id, "task_id": key.task_id}
    evidence = asked_redshift(question, sql=question.places.redshift_audit_sql, parameters=parameters)
    return (dataclasses.replace(evidence, source="redshift_audit"),)


def asked_redshift(question: Question, **more: Any) -> Evidence:
    """What Redshift says of the window and of the queries that the task or its log names."""
    places = question.places
    if places.redshift is None:
        cure = "create the secret de-agent/redshift (cluster_id, database, secret_arn), or set redshift_conn_id."
        return Evidence.unavailable("redshift", "the failure speaks of Redshift, but none is set up.", cure)
    since, until = question.window
    return tools.query_redshift_audit_logs(
        places.clients("redshift-data"),
        target=places.redshift,
        since=since,
        until=until,
        query_ids=redshift_views.query_ids_in(f"{question.task}\n{question.log}")[-20:],
        redact=question.redact,
        deadline=question.deadline,
        **more,
    )


def ask_lambda(question: Question) -> tuple[Evidence, ...]:
    """What the functions that the task or its log names logged, or at least what came back with the invocation."""
    text = f"{question.task}\n{question.log}"
    named = dict(item.split("=", 1) for item in question.places.lambda_log_groups if "=" in item)
    functions = [question.failure.fields.get("function_name", ""), *lambda_log.functions_in(text)]
    functions = [name for name in functions if name]
    functions += [item for item in question.places.lambda_log_groups if "=" not in item]
    tail = question.redact("\n".join(lambda_log.returned_tail(text))).splitlines()
    since, until = question.window
    if not functions:
        reason = "the failure speaks of a Lambda function, but does not name it."
        found = Evidence.unavailable("lambda_errors", reason, "set [de_agent] lambda_log_groups.")
    else:
        found = tools.get_cloudwatch_lambda_errors(
            question.places.clients("logs"),
            functions=functions,
            since=since,
            until=until,
            request_ids=lambda_log.request_ids_in(text),
            log_groups=named,
            redact=question.redact,
            deadline=question.deadline,
        )
    if found.status == "found" or not tail:
        return (found,)
    # the end of its log came back with the invocation, so that there is something even without the permission
    returned = Evidence.of_lines("lambda_errors", tail, found.seconds)
    return (dataclasses.replace(returned, reason=found.reason, cure=found.cure),)


SOURCES = (
    Source("task_log", lambda q: not q.log, ask_task_log),
    Source("run_state", lambda q: bool(q.places.mwaa_environment) and not q.failure.run_state, ask_run_state),
    Source("redshift", lambda q: q.shows("redshift"), _ask_redshift),
    Source("redshift_audit", lambda q: bool(q.places.redshift_audit_sql) and q.shows("redshift"), _ask_redshift_audit),
    Source("lambda_errors", lambda q: q.shows("lambda"), ask_lambda),
)
