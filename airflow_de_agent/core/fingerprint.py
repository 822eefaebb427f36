"""The key that joins failures of one cause."""

from __future__ import annotations

import hashlib

from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.task_log import TaskLog


def fingerprint(failure: TaskFailure, log: TaskLog, diagnosis: Diagnosis) -> str:
    """Sixteen hexadecimal digits: the same for the same cause, whatever its ids, numbers, dates, paths and hosts."""
    del log
    last = failure.exceptions[-1] if failure.exceptions else None
    return hashlib.sha256(f"{diagnosis.category.value}|{last and last.type}".encode()).hexdigest()[:16]
