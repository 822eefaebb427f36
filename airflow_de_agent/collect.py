"""Gathers what AWS can tell about a failure: from the sources it calls for, all at once, until one deadline.

Rules kept here: a source that hangs costs only itself; what others answered stands; each answer tells its seconds and
its gap.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Callable

from airflow_de_agent.aws.calls import CallFailed, Redact
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.tool_request import ToolRequest
from airflow_de_agent.sources import (
    SOURCES,
    Places,
    Question,
    Source,
    ask_lambda,
    ask_run_state,
    ask_task_log,
    asked_redshift,
)

__all__ = ["Places", "collect", "look"]

ANSWER_SECONDS = 0.2  # kept from an instrument's time, so that it can hand over what it has


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


def look(
    request: ToolRequest, failure: TaskFailure, places: Places, *, deadline: float, redact: Redact | None = None
) -> Evidence:
    """One look that the model was granted: at a task's log, the run, a table's queries, or a function's errors."""
    question = Question(failure, places, "", deadline - ANSWER_SECONDS, redact or Redactor().redact)
    return dataclasses.replace(
        _asked(Source(request.tool, bool, _LOOKS[request.tool](request)), question)[0], source=request.source
    )


def _look_at_task(request: ToolRequest) -> Callable[[Question], tuple[Evidence, ...]]:
    def ask(question: Question) -> tuple[Evidence, ...]:
        failure = question.failure
        states = [state for state in failure.run_state if state.task_id == request.argument and state.try_number]
        key = failure.key._replace(task_id=request.argument, map_index=-1, try_number=1)
        if states:
            key = key._replace(map_index=states[-1].map_index, try_number=states[-1].try_number or 1)
        if request.argument == failure.key.task_id:
            key = failure.key
        return ask_task_log(dataclasses.replace(question, failure=dataclasses.replace(failure, key=key, log_path="")))

    return ask


def _look_at_table(request: ToolRequest) -> Callable[[Question], tuple[Evidence, ...]]:
    return lambda question: (asked_redshift(question, tables=(request.argument,)),)


def _look_at_function(request: ToolRequest) -> Callable[[Question], tuple[Evidence, ...]]:
    def ask(question: Question) -> tuple[Evidence, ...]:
        fields = {"function_name": request.argument}
        return ask_lambda(dataclasses.replace(question, failure=dataclasses.replace(question.failure, fields=fields)))

    return ask


_LOOKS: dict[str, Callable[[ToolRequest], Callable[[Question], tuple[Evidence, ...]]]] = {
    "get_mwaa_task_logs": _look_at_task,
    "get_dag_run_status": lambda request: ask_run_state,
    "query_redshift_audit_logs": _look_at_table,
    "get_cloudwatch_lambda_errors": _look_at_function,
}


def _one_at_a_time(redact: Redact) -> Redact:
    """One redactor serves all sources, so that equal secrets get equal placeholders."""
    lock = threading.Lock()

    def locked(text: str) -> str:
        with lock:
            return redact(text)

    return locked
