"""Answers of Airflow's REST API (v1 and v2) as rows of evidence; each row names its `view`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_de_agent.core.evidence import Evidence

RUN_FIELDS = ("state", "run_type", "logical_date", "start_date", "end_date", "note")
TASK_FIELDS = (
    "state",
    "map_index",
    "try_number",
    "max_tries",
    "start_date",
    "end_date",
    "operator",
    "hostname",
    "note",
)
SOURCES = {"task_instance": "run_state", "dag_run": "recent_runs", "import_error": "import_errors"}


def run_row(run: Mapping[str, Any]) -> dict[str, Any]:
    """A DAG run; v1 calls the logical date of old versions execution_date."""
    fields = dict(run)
    fields["logical_date"] = run.get("logical_date") or run.get("execution_date")
    return _known({"view": "dag_run", "run_id": run.get("dag_run_id")}, fields, RUN_FIELDS)


def task_row(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task instance, with the names of `TaskState` and some more."""
    return _known({"view": "task_instance", "task_id": task.get("task_id")}, task, TASK_FIELDS)


def import_error_row(error: Mapping[str, Any], redact: Callable[[str], str], lines: int = 6) -> dict[str, Any]:
    """A DAG file that cannot be read: the end of its traceback, redacted before it is cut."""
    trace = redact(str(error.get("stack_trace") or "")).strip().splitlines()[-lines:]
    return {"view": "import_error", "filename": error.get("filename"), "stack_trace": "\n".join(trace)}


def concerns(error: Mapping[str, Any], dag_id: str) -> bool:
    """Whether a file that cannot be read looks like the one of a DAG; those of others are no cause of its failure."""
    stem = str(error.get("filename") or "").rpartition("/")[2].partition(".")[0]
    return dag_id in str(error.get("stack_trace")) or bool(stem) and (stem in dag_id or dag_id in stem)


def _known(row: dict[str, Any], fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return row | {name: fields[name] for name in names if fields.get(name) not in (None, "")}


def latest_failed(runs: Iterable[Mapping[str, Any]]) -> str:
    """The id of the first failed run of a list that runs from new to old; empty when none failed."""
    return next((str(run["dag_run_id"]) for run in runs if run.get("state") == "failed"), "")


def by_source(evidence: Evidence) -> tuple[Evidence, ...]:
    """One evidence per kind of row: ``run_state`` (task instances), ``recent_runs``, ``import_errors``."""
    if evidence.status != "found":
        return (evidence,)
    parts = []
    for view, source in SOURCES.items():
        rows = [{k: v for k, v in row.items() if k != "view"} for row in evidence.rows if row.get("view") == view]
        if rows:
            parts.append(Evidence.of_rows(source, rows, evidence.seconds))
    if parts and evidence.reason:
        parts[0] = dataclasses.replace(parts[0], reason=evidence.reason, cure=evidence.cure)
    return tuple(parts)
