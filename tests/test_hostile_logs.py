"""Logs that are meant to hurt: whatever the bytes are, a diagnosis comes of them."""

from __future__ import annotations

from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.fingerprint import fingerprint
from airflow_de_agent.core.log_scan import SMALL_LOG_LINES, scan
from airflow_de_agent.core.offline import diagnose_log
from tests.hostile_logs import hostile_logs

FAILURE = TaskFailure(TaskKey("sales", "manual__1", "load"), "cli")


def test_every_hostile_log_gives_a_diagnosis() -> None:
    """Repeated, nested and random texts, and the literals of both tables, end in a diagnosis within the budget."""
    for name, data in hostile_logs(4_000):
        diagnosis, log = diagnose_log([data], FAILURE)
        assert isinstance(diagnosis, Diagnosis), name
        assert log.tokens <= 4000, name
        assert len(fingerprint(FAILURE, log, diagnosis)) == 16, name


def test_a_hostile_megabyte_gives_a_diagnosis() -> None:
    """At full size, beyond what is read whole, the kinds that are not made of the tables' rows do so as well."""
    for name, data in hostile_logs():
        if name.startswith(("secret ", "rule ")):
            continue
        diagnosis, log = diagnose_log([data[at : at + 262_144] for at in range(0, len(data), 262_144)])
        assert isinstance(diagnosis, Diagnosis), name
        assert log.tokens <= 4000, name


def test_what_is_looked_at_is_bounded_by_lines_too() -> None:
    """A small log of very many lines is reduced like a large one: each line kept costs work in every later step."""
    log = scan([b"x\n" * 125_000])
    assert log.total_lines == 125_000
    assert len(log.lines) < SMALL_LOG_LINES
