"""Which task of the run failed first, as far as the run's states tell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow_de_agent.core.diagnosis import Quote
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.task_log import TaskLog

_TASK_ID = re.compile(r"(?:task_id=|Executing <Task\(\w{1,200}\): )([\w.-]{1,250})")


def earlier_failure(
    failure: TaskFailure | None, log: TaskLog, evidence: Sequence[Evidence]
) -> tuple[Mapping[str, Any], Quote | None] | None:
    """The row of the run's first failed task, if that is not the task in question."""
    rows: list[tuple[Mapping[str, Any], Quote | None]] = []
    for item in evidence:
        if item.source == "run_state":
            lines = {n: line for n, line in enumerate(item.lines)}
            rows += [(row, _state_quote(lines.get(n))) for n, row in enumerate(item.rows)]
    if failure is not None and not rows:
        rows = [(dataclasses.asdict(state), None) for state in failure.run_state]
    own = _own_task_id(failure, log, {str(row.get("task_id")) for row, _ in rows})
    mine = next((row for row, _ in rows if row.get("task_id") == own), {})
    began = str(mine.get("end_date") or "")
    others = [pair for pair in rows if _failed_before(pair[0], own, began)]
    others.sort(key=lambda pair: (pair[0].get("state") != "failed", str(pair[0].get("end_date") or "~")))
    return others[0] if others else None


def _own_task_id(failure: TaskFailure | None, log: TaskLog, known: Collection[str]) -> str:
    """The task in question: as it was captured or, where the run knows no such task, as its log calls it."""
    named = [failure.key.task_id] if failure is not None else []
    named += [found.group(1) for line in log.lines if (found := _TASK_ID.search(line.text))]
    return next((name for name in named if name in known), named[0] if named else "")


def _failed_before(row: Mapping[str, Any], own: str, ended: str) -> bool:
    if str(row.get("state")) != "failed" or row.get("task_id") in ("", None, own):
        return False
    end = str(row.get("end_date") or "")
    return not own or not ended or not end or end <= ended


def _state_quote(line: Any) -> Quote | None:
    return Quote("run_state", line.text, line.number) if line is not None else None
