"""Calls that change nothing and cost nothing, to see whether each action that the instruments need is allowed.

A call for something that is not there is refused with that when it is allowed, and with AccessDenied when it is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from airflow_de_agent import tools
from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.sources import Places

SECONDS = 4.5
ABSENT = "de-agent-doctor-asks-for-what-is-not-there"
_NOT_THERE = ("ResourceNotFoundException", "ValidationException")


class Tried(NamedTuple):
    """What was tried, and why it failed; None: it is allowed."""

    what: str
    failed: CallFailed | None = None


def identity(clients: Callable[[str], Any]) -> str:
    """Who AWS takes us for.

    Raises:
        CallFailed: it does not know us, or cannot be reached.
    """
    answer = Calls(clients("sts"), time.monotonic() + SECONDS)("get_caller_identity", expects="Arn")
    return str(answer["Arn"])


def task_logs(places: Places) -> Iterator[Tried]:
    """The actions on the log group of task logs."""
    group = places.task_log_group
    calls = _calls(places, "logs", group)
    yield _tried(calls, f"logs:DescribeLogStreams on {group}", "describe_log_streams", logGroupName=group, limit=1)
    what = f"logs:GetLogEvents on {group}"
    yield _tried(
        calls, what, "get_log_events", _NOT_THERE, logGroupName=group, logStreamName=ABSENT, limit=1
    )  # fmt: skip


def lambda_logs(places: Places) -> Iterator[Tried]:
    """The action on the log groups of functions; on one that is not there where none is set."""
    groups = [item.partition("=")[2] or item for item in places.lambda_log_groups]
    for group in groups or [f"/aws/lambda/{ABSENT}"]:
        ignored = () if groups else _NOT_THERE
        what = f"logs:FilterLogEvents on {group if groups else '/aws/lambda/*'}"
        arguments = {"logGroupName": group, "limit": 1, "startTime": int(time.time() - 60) * 1000}
        yield _tried(_calls(places, "logs", group), what, "filter_log_events", ignored, **arguments)


def redshift(places: Places) -> Iterator[Tried]:
    """What can be tried without running a statement; to run one may wake a paused workgroup."""
    calls = Calls(places.clients("redshift-data"), time.monotonic() + SECONDS)
    what = "redshift-data:DescribeStatement"
    yield _tried(calls, what, "describe_statement", _NOT_THERE, Id="00000000-0000-4000-8000-000000000000")


def airflow_api(places: Places) -> Evidence:
    """What Airflow's REST API answers about a run that is not there."""
    return tools.get_dag_run_status(
        places.clients("mwaa"),
        environment=places.mwaa_environment,
        dag_id=ABSENT,
        run_id=ABSENT,
        deadline=time.monotonic() + SECONDS,
    )


def _calls(places: Places, service: str, group: str) -> Calls:
    resource = f"arn:aws:logs:*:*:log-group:{group}:*"
    return Calls(places.clients(service), time.monotonic() + SECONDS, resource=resource)


def _tried(calls: Calls, what: str, method: str, ignored: tuple[str, ...] = (), **arguments: Any) -> Tried:
    try:
        calls(method, **arguments)
    except CallFailed as exc:
        return Tried(what, None if exc.code in ignored else exc)
    return Tried(what)
