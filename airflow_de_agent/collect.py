"""Gathers what AWS can tell about a failure: from the sources it calls for, all at once, until one deadline.

Rules kept here: which sources a failure calls for is decided by `SOURCES` and `SIGNS` alone; a source that hangs costs
only itself; what others answered stands; a source that is called for and cannot be asked is a gap with its cure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from airflow_de_agent import tools
from airflow_de_agent.aws.calls import CallFailed, Redact
from airflow_de_agent.core import lambda_log, redshift_views, run_status
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.redshift_views import RedshiftTarget

BEFORE, AFTER = dt.timedelta(seconds=30), dt.timedelta(seconds=60)  # clocks differ, and logs come late
LOOK_BACK = dt.timedelta(hours=1)  # where the start of the task is not known
ANSWER_SECONDS = 0.2  # kept from an instrument's time, so that it can hand over what it has
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
        end = _moment(self.failure.failed_at) or dt.datetime.now(dt.timezone.utc)
        start = _moment(self.failure.start_date) or end - LOOK_BACK
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


def collect(
    failure: TaskFailure, places: Places, *, deadline: float, log: str = "", redact: Redact | None = None
) -> tuple[Evidence, ...]:
    """Evidence of every source that the failure calls for, in the order of `SOURCES`, at `deadline` at the latest.

    `log` is the task log where the host has it; without it CloudWatch is asked, and what is read there may call for
    further sources. Each evidence tells its seconds, and its gap.
    """
    redact = _one_at_a_time(redact or Redactor().redact)
    question = Question(failure, places, log or failure.log_tail, deadline - ANSWER_SECONDS, redact)
    answers: queue.SimpleQueue[tuple[str, tuple[Evidence, ...]]] = queue.SimpleQueue()
    began: dict[str, float] = {}
    answered: dict[str, tuple[Evidence, ...]] = {}
    _start(question, began, answers)
    while len(answered) < len(began):
        try:
            name, evidence = answers.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            break
        answered[name] = evidence
        if name == "task_log" and evidence[0].lines:
            read = "\n".join(line.text for line in evidence[0].lines)
            _start(dataclasses.replace(question, log=read), began, answers)
    for name in began.keys() - answered.keys():
        seconds = round(time.monotonic() - began[name], 3)
        answered[name] = (Evidence.unavailable(name, f"no answer within {seconds:.0f} s.", seconds=seconds),)
    return tuple(item for source in SOURCES for item in answered.get(source.name, ()))


def _start(
    question: Question, began: dict[str, float], answers: queue.SimpleQueue[tuple[str, tuple[Evidence, ...]]]
) -> None:
    """Ask, each in a thread of its own, the sources that are called for and have not been asked."""
    for source in SOURCES:
        if source.name not in began and source.called_for(question):
            began[source.name] = time.monotonic()
            threading.Thread(
                target=lambda source=source: answers.put((source.name, _asked(source, question))),
                daemon=True,
                name=f"de-agent-{source.name}",
            ).start()


def _asked(source: Source, question: Question) -> tuple[Evidence, ...]:
    try:
        return source.ask(question)
    except CallFailed as exc:
        return (Evidence.unavailable(source.name, exc.reason, exc.cure),)
    except Exception as exc:  # noqa: BLE001 - whatever one source does, the others' answers reach the reader
        return (Evidence.unavailable(source.name, question.redact(f"{type(exc).__name__}: {exc}")),)


def _ask_task_log(question: Question) -> tuple[Evidence, ...]:
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


def _ask_run_state(question: Question) -> tuple[Evidence, ...]:
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
    return (_asked_redshift(question, sql=None),)


def _ask_redshift_audit(question: Question) -> tuple[Evidence, ...]:
    key = question.failure.key
    parameters = {"dag_id": key.dag_id, "run_id": key.run_id, "task_id": key.task_id}
    evidence = _asked_redshift(question, sql=question.places.redshift_audit_sql, parameters=parameters)
    return (dataclasses.replace(evidence, source="redshift_audit"),)


def _asked_redshift(question: Question, **sql: Any) -> Evidence:
    places = question.places
    if places.redshift is None:
        cure = "create the secret de-agent/redshift (cluster_id, database, secret_arn), or set redshift_conn_id."
        return Evidence.unavailable("redshift", "the failure speaks of Redshift, but none is set up.", cure)
    table = question.failure.fields.get("table")
    since, until = question.window
    return tools.query_redshift_audit_logs(
        places.clients("redshift-data"),
        target=places.redshift,
        since=since,
        until=until,
        query_ids=redshift_views.query_ids_in(f"{question.task}\n{question.log}")[-20:],
        tables=(table,) if table else (),
        redact=question.redact,
        deadline=question.deadline,
        **sql,
    )


def _ask_lambda(question: Question) -> tuple[Evidence, ...]:
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
    Source("task_log", lambda q: not q.log, _ask_task_log),
    Source("run_state", lambda q: bool(q.places.mwaa_environment) and not q.failure.run_state, _ask_run_state),
    Source("redshift", lambda q: q.shows("redshift"), _ask_redshift),
    Source("redshift_audit", lambda q: bool(q.places.redshift_audit_sql) and q.shows("redshift"), _ask_redshift_audit),
    Source("lambda_errors", lambda q: q.shows("lambda"), _ask_lambda),
)


def _moment(text: str) -> dt.datetime | None:
    """An ISO time; one without a zone is UTC."""
    try:
        moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def _one_at_a_time(redact: Redact) -> Redact:
    """One redactor serves all sources, so that equal secrets get equal placeholders."""
    lock = threading.Lock()

    def locked(text: str) -> str:
        with lock:
            return redact(text)

    return locked
