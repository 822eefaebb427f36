"""The failed task instance that a command means, among the rows of Airflow's REST API (see `run_status`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_de_agent.core.failure import ASKED, TaskFailure, TaskKey, TaskState
from airflow_de_agent.core.mention import Command

_STATE_FIELDS = tuple(field.name for field in dataclasses.fields(TaskState))


def meant(command: Command, rows: Sequence[Mapping[str, Any]]) -> TaskFailure | None:
    """The first task instance that failed of those that fit the command; None where none does."""
    instances = [row for row in rows if row.get("view") == "task_instance"]
    failed = [row for row in instances if row.get("state") == "failed" and _fits(row, command)]
    if not failed:
        return None
    first = min(failed, key=lambda row: str(row.get("end_date") or "9"))
    number = first.get("try_number") if command.try_number is None else command.try_number
    index = int(first.get("map_index", -1))
    return TaskFailure(
        TaskKey(command.dag_id, _run_id(command, rows), str(first["task_id"]), index, int(number or 1)),
        ASKED,
        str(first.get("end_date") or ""),
        operator=str(first.get("operator") or ""),
        start_date=str(first.get("start_date") or ""),
        hostname=str(first.get("hostname") or ""),
        run_state=tuple(TaskState(**{name: row[name] for name in _STATE_FIELDS if name in row}) for row in instances),
        try_is_known=number is not None,
    )


def _fits(row: Mapping[str, Any], command: Command) -> bool:
    return command.task_id in ("", row.get("task_id")) and command.map_index in (-1, row.get("map_index"))


def _run_id(command: Command, rows: Sequence[Mapping[str, Any]]) -> str:
    failed = (str(row["run_id"]) for row in rows if row.get("view") == "dag_run" and row.get("state") == "failed")
    return command.run_id or next(failed, "")
