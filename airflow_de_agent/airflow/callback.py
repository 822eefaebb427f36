"""Callbacks that capture a failure and see that a drainer runs. They run in Airflow's own processes.

Rules kept here: nothing raises, whatever happens; no network of our own, no model, no heavy import; the entry is on
disk before anything else is tried; a task's outcome and log stay as they were, but for one line.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_de_agent.airflow import compat
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.failure_text import redacted
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

log = logging.getLogger(__name__)
Context = Mapping[str, Any]


def diagnose_on_failure(context: Context) -> None:
    """Have the failed try of this context diagnosed (an ``on_failure_callback``)."""
    _safely(_capture_task, context)


def diagnose_on_retry(context: Context) -> None:
    """Have a failed try that will be retried diagnosed (an ``on_retry_callback``)."""
    _safely(_capture_task, context, state="up_for_retry")


def diagnose_run_on_failure(context: Context) -> None:
    """Have the tasks of a failed run diagnosed that no callback told of (a DAG's ``on_failure_callback``)."""
    _safely(_capture_run, context)


class DiagnoseOnFailure:
    """`diagnose_on_failure` with a Slack channel of its own, for a task, a DAG or ``default_args``."""

    def __init__(self, slack_channel: str = "") -> None:
        self.slack_channel = slack_channel

    def __call__(self, context: Context) -> None:
        """Have the failed try of this context diagnosed."""
        _safely(_capture_task, context, slack_channel=self.slack_channel)


def request_diagnosis(failure: TaskFailure) -> None:
    """Have a try diagnosed anew, on a person's request.

    Raises:
        OSError: the spool cannot be written to.
    """
    settings = compat.settings()
    clean = redacted(failure, compat.host_redact())
    Spool(settings.spool_path).put("task", {"failure": clean.to_json(), "again": True})
    see_to_it(settings, in_task=False)


def record_run(failures: Sequence[TaskFailure]) -> None:
    """Put a failed run into the spool and do nothing else; safe in a scheduler-side listener.

    Raises:
        OSError: the spool cannot be written to.
    """
    if failures:
        redact = compat.host_redact()
        each = [dataclasses.replace(redacted(failure, redact), run_state=()).to_json() for failure in failures]
        # the states of the run are written once: a thousand mapped failures would hold a million of them
        payload = {"run_state": failures[0].to_json().get("run_state", ()), "failures": each}
        Spool(compat.settings().spool_path).put("run", payload)


def see_to_it(settings: Settings, *, in_task: bool) -> None:
    """Have somebody work on the spool: the host's drainer, or this process where processes end with their task.

    `in_task`: this process is a task's own. A DAG processor or a web server drains nothing: it would stand still
    meanwhile, and it lives long enough to have a drainer beside it.
    """
    from airflow_de_agent import drainer

    spool = Spool(settings.spool_path)
    if settings.drain == "inline" and in_task:
        drainer.drain_here(spool, _handover(settings))
    else:
        drainer.ensure_running(spool, lambda: _handover(settings))


def connections(settings: Settings) -> dict[str, Any]:
    """The host's connections that a drainer needs, None where there is none; they hold secrets."""
    names = {
        "slack": settings.slack_conn_id,
        "gemini": settings.gemini_conn_id,
        "aws": settings.aws_conn_id,
        "redshift": settings.redshift_conn_id,
    }
    return {name: compat.connection(conn_id) if conn_id else None for name, conn_id in names.items()}


def _handover(settings: Settings) -> dict[str, Any]:
    return {"settings": settings.to_json(), "connections": connections(settings)}


def _capture_task(context: Context, **more: str) -> bool:
    """Capture; whether this is the task's own process."""
    from airflow_de_agent.airflow.context import task_failure

    if not _is_task_context(context):
        return _capture_run(context, more.get("slack_channel", ""))
    failure = task_failure(context, **more)
    Spool(compat.settings().spool_path).put("task", {"failure": redacted(failure, compat.host_redact()).to_json()})
    return failure.source == "task"


def _is_task_context(context: Context) -> bool:
    """Whether a task's callback was called; a DAG's has a `reason` and no exception (measured on 2.11 and 3.3)."""
    return "exception" in context or "reason" not in context


def _capture_run(context: Context, slack_channel: str = "") -> bool:
    """Capture; False, as a DAG's callback runs in no task's process."""
    from airflow_de_agent.airflow.run_state import failures_of_run

    failures = failures_of_run(context) or ()
    record_run([dataclasses.replace(failure, slack_channel=slack_channel) for failure in failures])
    return False


def _safely(capture: Callable[..., bool], context: Context, **more: str) -> None:
    went_wrong = "could not record this failure"
    try:
        in_task = capture(context, **more)
        went_wrong = "recorded this failure, but could not start its diagnosis"
        see_to_it(compat.settings(), in_task=in_task)
    except BaseException as exc:  # the host's process: whatever it is, it must not reach Airflow
        _say(went_wrong, exc)


def _say(went_wrong: str, exc: BaseException) -> None:
    try:
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())[:500]
        log.warning("de-agent %s (%s); the task is not affected", went_wrong, reason)
    except BaseException:  # logging itself may be what is broken
        return
