"""A diagnosis from a log and what else is known, without a model and without a network.

`de-agent diagnose --offline`, `de-agent eval` and the first message of every incident go through `diagnose_log`, so
that what is measured is what users get. Rules kept here: nothing is read before it is redacted; no input raises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_de_agent.core import rules
from airflow_de_agent.core.diagnosis import Diagnosis, check_quotes
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.signatures.signature import Signature
from airflow_de_agent.core.task_log import TaskLog, distil

Redact = Callable[[str], str]

LOG_TOKENS = 4000


def diagnose_log(
    chunks: Iterable[bytes],
    failure: TaskFailure | None = None,
    evidence: Sequence[Evidence] = (),
    budget: int = LOG_TOKENS,
    *,
    redact: Redact | None = None,
    extra_rules: Sequence[Signature] = (),
) -> tuple[Diagnosis, TaskLog]:
    """Distil a log (raw bytes, in pieces of any size) to `budget` tokens and diagnose it by rules.

    `extra_rules` are a user's own. `redact` is given where `evidence` went through it as well, so that equal secrets
    keep equal placeholders.
    """
    log = distil(chunks, redact=redact or Redactor().redact, budget=budget)
    return diagnose(log, failure, evidence, extra_rules), log


def diagnose(
    log: TaskLog,
    failure: TaskFailure | None = None,
    evidence: Sequence[Evidence] = (),
    extra_rules: Sequence[Signature] = (),
) -> Diagnosis:
    """The rules' diagnosis of a distilled log and what else is known."""
    found = rules.diagnose(failure, log, evidence, extra_rules=extra_rules)
    return check_quotes(found, (*from_log(log), *from_failure(failure), *evidence))


def from_log(log: TaskLog) -> tuple[Evidence, ...]:
    """What a distilled log lets a diagnosis quote: its lines, and its exceptions under the same name."""
    told = tuple(link.message for chain in log.exceptions for link in chain if link.message)
    return (
        Evidence("task_log", "found" if log.lines else "empty", log.lines),
        Evidence.of_lines("task_log", told),
    )


def from_failure(failure: TaskFailure | None) -> tuple[Evidence, ...]:
    """What a captured failure lets a diagnosis quote: its exceptions and the states of its run."""
    if failure is None:
        return ()
    told = [f"{link.type}: {link.message}" for link in failure.exceptions]
    states = [dataclasses.asdict(state) for state in failure.run_state]
    return (Evidence.of_lines("exception", told), Evidence.of_rows("run_state", states))


def read_evidence(values: Mapping[str, Any], redact: Redact) -> tuple[Evidence, ...]:
    """Evidence from the JSON of ``--evidence``: a list of rows, or of lines, under the name of each source.

    A value of any other shape is named as unavailable instead of being refused: the log may still tell the cause.
    """
    return tuple(_source(str(name), items, redact) for name, items in values.items())


def _source(name: str, items: Any, redact: Redact) -> Evidence:
    if not isinstance(items, list):
        return Evidence.unavailable(name, f"expected a list, got {type(items).__name__}")
    if items and all(isinstance(item, Mapping) for item in items):
        return Evidence.of_rows(name, [_row(item, redact) for item in items])
    return Evidence.of_lines(name, [redact(str(item)) for item in items])


def _row(row: Mapping[str, Any], redact: Redact) -> dict[str, Any]:
    return {str(name): _value(str(name), value, redact) for name, value in row.items()}


def _value(name: str, value: Any, redact: Redact) -> Any:
    """Redact a value beside its name, for a name such as ``password`` is what gives some secrets away."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = redact(f"{name}={value}")
    return text.removeprefix(f"{name}=")
