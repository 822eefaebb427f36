"""What the view answers, whichever server hosts it: plain values in, plain dicts out.

Rules kept here: a host has checked that the user may read the DAG before it calls; a diagnosis is given out only as
one of the DAG that was checked; what belongs to another DAG is shown only to those who may read that one too; a change
needs proof that our own page asked for it; the text of an error never carries what the server's log should keep.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_de_agent.airflow.ui import answers
from airflow_de_agent.airflow.ui.metadata import FAILED_STATES, TaskInstanceRow, task_instances
from airflow_de_agent.core.errors import DeAgentError, SettingsError, StoreError
from airflow_de_agent.core.failure import TaskKey
from airflow_de_agent.core.incident import Record, Store

log = logging.getLogger(__name__)

# The page sends it with every change; another site's page cannot without a CORS permission that nobody gives.
PROOF_HEADER = "x-de-agent"
TRIES_SHOWN = 10
LIST_LIMIT = 50
RUN_LIMIT = 500
SIMILAR_SHOWN = 5
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


class Refused(DeAgentError):
    """The request cannot be answered; `status` is the HTTP status, the text is for the reader."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Place(NamedTuple):
    """What a page is about: a DAG, a run of it, or a task instance; `try_number` None means its latest try."""

    dag_id: str
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int | None = None


@dataclasses.dataclass(frozen=True)
class Access:
    """What the user may do, by DAG id, as the host's auth manager says."""

    may_read: Callable[[str], bool]
    may_diagnose: Callable[[str], bool]


def place(dag_id: str, values: Mapping[str, Any]) -> Place:
    """Read a place from a path and a query or body. Airflow 3 leaves ``{MAP_INDEX}`` as it is where there is none.

    Raises:
        Refused: no DAG is named, a run is missing, or a number is none.
    """
    if not dag_id.strip() or dag_id == "~":
        raise Refused(400, "Name one DAG.")
    run_id, task_id = str(values.get("run_id") or ""), str(values.get("task_id") or "")
    if task_id and not run_id:
        raise Refused(400, "Name the run of this task.")
    map_index = _number("map_index", values.get("map_index"))
    try_number = _number("try_number", values.get("try_number"))
    return Place(dag_id, run_id, task_id, -1 if map_index is None else map_index, try_number)


def _number(name: str, value: Any) -> int | None:
    if value is None or value in ("", "{MAP_INDEX}"):
        return None
    try:
        return int(str(value))
    except ValueError:
        raise Refused(400, f"{name} must be a whole number.") from None


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a change was asked for by a page of this very origin. `headers` must look names up in any case.

    Browsers tell by Sec-Fetch-Site (on HTTPS and localhost), else by Origin. A client that sends neither is none, and
    carries no cookie that it was not given.
    """
    if not headers.get(PROOF_HEADER):
        return False
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def refusal(exc: Exception) -> tuple[int, str]:
    """The HTTP status and the text for an error; the server's log keeps what the reader need not know."""
    if isinstance(exc, Refused):
        return exc.status, str(exc)
    log.error("de-agent's view failed: %s: %s", type(exc).__name__, exc)
    if isinstance(exc, StoreError):
        return 503, "The store of diagnoses cannot be reached. The server's log says why; de-agent doctor checks it."
    if isinstance(exc, SettingsError):
        return 500, "The section [de_agent] of the configuration has errors. de-agent doctor names each."
    return 500, "The diagnosis could not be asked for. The server's log says why; de-agent doctor checks what it needs."


def view(where: Place, access: Access, kept: Store) -> dict[str, Any]:
    """What the page of a place shows.

    Raises:
        Refused, StoreError, SettingsError: see `refusal`.
    """
    if where.task_id:
        answer = _task_instance(where, access, kept)
    else:
        answer = _run(where, kept) if where.run_id else _dag(where, kept)
    return where._asdict() | {"may_diagnose": access.may_diagnose(where.dag_id)} | answer


def overview(access: Access, kept: Store) -> dict[str, Any]:
    """The latest diagnoses of all DAGs that the user may read.

    Raises:
        StoreError, SettingsError: see `refusal`.
    """
    may_read = functools.cache(access.may_read)
    records = [r for r in kept.recent(limit=RUN_LIMIT) if may_read(r.failure.key.dag_id)]
    return {"kind": "dag", "dag_id": "", **_list(records[:LIST_LIMIT])}


def diagnosis(dag_id: str, diagnosis_id: str, access: Access, kept: Store) -> dict[str, Any]:
    """One diagnosis of this DAG by its id.

    Raises:
        Refused, StoreError, SettingsError: see `refusal`.
    """
    record = kept.get(diagnosis_id)
    if record is None or record.failure.key.dag_id != dag_id:
        raise Refused(404, "This DAG has no such diagnosis.")
    return _full(record, access, kept)


def diagnose(where: Place, kept: Store) -> dict[str, Any]:
    """Have a failed try diagnosed, or diagnosed again. `known` is the time of the diagnosis that it will replace.

    Raises:
        Refused, StoreError, SettingsError, OSError: see `refusal`.
    """
    from airflow_de_agent.airflow.callback import request_diagnosis
    from airflow_de_agent.airflow.run_state import task_failure

    if not where.task_id:
        raise Refused(400, "Name the task instance to diagnose.")
    row = _row(task_instances(where.dag_id, where.run_id, where.task_id), where.map_index)
    _require_failed(row, where)
    failure = task_failure(*where)
    if failure is None:
        raise Refused(404, "Airflow no longer has this task instance.")
    known = kept.find(failure.key)
    request_diagnosis(failure)
    return {"try_number": failure.key.try_number, "known": known.diagnosed_at if known else None}


def _require_failed(row: TaskInstanceRow | None, where: Place) -> None:
    if row is None:
        raise Refused(404, "Airflow has no such task instance.")
    if where.try_number is not None and not 0 <= where.try_number <= row.try_number:
        raise Refused(404, f"This task instance has no try {where.try_number}.")
    is_latest = where.try_number in (None, row.try_number)
    if is_latest and row.state not in FAILED_STATES:
        raise Refused(409, f"This task instance is {row.state or 'not started'}: only a failed one can be diagnosed.")


def _task_instance(where: Place, access: Access, kept: Store) -> dict[str, Any]:
    rows = task_instances(where.dag_id, where.run_id, where.task_id)
    row = _row(rows, where.map_index)
    if row is None and rows and where.map_index == -1:
        return _run(where, kept)  # the page of a mapped task as a whole
    records = _tries(where, row, kept)
    if row is None and not records:
        raise Refused(404, "Airflow has no such task instance, and no diagnosis of it is kept.")
    latest = row.try_number if row else max(records)
    shown = latest if where.try_number is None else where.try_number
    record = records.get(shown)
    return {
        "kind": "task_instance",
        "try_number": shown,
        "latest_try": latest,
        "state": row.state if row else "",
        "can_be_diagnosed": row is not None and (shown < latest or row.state in FAILED_STATES),
        "diagnosed_tries": sorted(records),
        "diagnosis": _full(record, access, kept) if record else None,
    }


def _row(rows: list[TaskInstanceRow], map_index: int) -> TaskInstanceRow | None:
    return next((row for row in rows if row.map_index == map_index), None)


def _tries(where: Place, row: TaskInstanceRow | None, kept: Store) -> dict[int, Record]:
    """The diagnosed tries of a task instance by their number."""
    if row is None:
        found = kept.recent(dag_id=where.dag_id, run_id=where.run_id, task_id=where.task_id, limit=RUN_LIMIT)
        return {r.failure.key.try_number: r for r in found if r.failure.key.map_index == where.map_index}
    numbers = set(range(row.try_number, max(-1, row.try_number - TRIES_SHOWN), -1)) | {where.try_number}
    keys = (TaskKey(*where[:4], number) for number in numbers if number is not None)
    return {key.try_number: record for key in keys if (record := kept.find(key)) is not None}


def _run(where: Place, kept: Store) -> dict[str, Any]:
    records = kept.recent(dag_id=where.dag_id, run_id=where.run_id, task_id=where.task_id, limit=RUN_LIMIT)
    diagnosed = {tuple(record.failure.key[2:]) for record in records}
    failed = task_instances(where.dag_id, where.run_id, where.task_id, only_failed=True)
    missing = [row._asdict() for row in failed if (row.task_id, row.map_index, row.try_number) not in diagnosed]
    return {
        "kind": "run",
        "groups": answers.groups(records),
        "undiagnosed": missing[:RUN_LIMIT],
        "undiagnosed_count": len(missing),
        "is_cut": len(records) == RUN_LIMIT,
    }


def _dag(where: Place, kept: Store) -> dict[str, Any]:
    return {"kind": "dag", **_list(kept.recent(dag_id=where.dag_id, limit=LIST_LIMIT))}


def _list(records: Sequence[Record]) -> dict[str, Any]:
    return {"diagnoses": [answers.summary(record) for record in records], "is_cut": len(records) == LIST_LIMIT}


def _full(record: Record, access: Access, kept: Store) -> dict[str, Any]:
    incident = kept.incident(record.incident_id) if record.incident_id else None
    similar = [_similar(dict(item), access, kept) for item in record.diagnosis.similar[:SIMILAR_SHOWN]]
    return answers.full(record, incident, similar)


def _similar(item: dict[str, str], access: Access, kept: Store) -> dict[str, str]:
    """An earlier incident; of a DAG that the user may not read, only when it was."""
    incident = kept.incident(item.get("id", ""))
    lead = kept.get(incident.lead_id) if incident else None
    when = item.get("when", "")
    if lead is None or not access.may_read(lead.failure.key.dag_id):
        return {"when": when, "label": "a DAG that you cannot see" if lead else "no longer kept"}
    return {"when": when, "label": lead.failure.key.label, "fixed_by": item.get("fixed_by", "")}


@functools.cache
def store() -> Store:
    """The store, opened once in a process; a failure to open is tried again."""
    from airflow_de_agent.airflow import compat
    from airflow_de_agent.bootstrap import open_store

    return open_store(compat.settings())
