"""Asks Redshift through the Data API: all statements at once, cancelled when nobody waits any more."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core import redshift_views
from airflow_de_agent.core.redshift_views import STL_LOAD_ERRORS, RedshiftTarget, View

MAX_ROWS = 50
_LATE = "Late"


def ask(
    calls: Calls, target: RedshiftTarget, views: Sequence[View], values: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[CallFailed]]:
    """Ask all views, each in a thread of its own; rows in the order of the views, and what could not be had."""
    with ThreadPoolExecutor(len(views)) as pool:  # the deadline of `calls` ends each
        asked = [pool.submit(_rows_of, calls, target, view, values) for view in views]
    rows: list[dict[str, Any]] = []
    failures: list[CallFailed] = []
    for one in asked:
        try:
            rows += one.result()
        except CallFailed as exc:
            failures.append(_redshift_failure(exc, target, calls.region))
    return rows, _late_as_one(failures)


def _rows_of(calls: Calls, target: RedshiftTarget, view: View, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of a view; of its older kin where it does not exist."""
    state = _ended(calls, _start(calls, target, view, values), view)
    if state["Status"] == "FINISHED":
        return _rows(calls, view.name, str(state["Id"])) if state.get("HasResultSet") else []
    error = str(state.get("Error") or "it was aborted")
    missing = redshift_views.missing_relation(error)
    if missing and view.fallback:
        return _rows_of(calls, target, STL_LOAD_ERRORS, values)
    if missing and view.optional:
        return []
    raise CallFailed(f"{view.name}: {error}", redshift_views.cure_of(error, target), "FAILED")


def _start(calls: Calls, target: RedshiftTarget, view: View, values: Mapping[str, str]) -> str:
    bound = sorted(redshift_views.parameters_of(view.sql))
    unknown = [name for name in bound if name not in values]
    if unknown:
        raise CallFailed(f"the SQL binds :{unknown[0]}, which nobody gives.", f"bind one of {', '.join(values)}.")
    arguments: dict[str, Any] = {"Sql": view.sql, "ClientToken": str(uuid.uuid4()), **target.arguments}
    if bound:
        arguments["Parameters"] = [{"name": name, "value": values[name]} for name in bound]
    return str(calls("execute_statement", expects="Id", **arguments)["Id"])


def _ended(calls: Calls, statement: str, view: View) -> Mapping[str, Any]:
    """How a statement ended; it is cancelled where that cannot be waited for."""
    wait = 0.1
    try:
        while True:
            state = calls("describe_statement", expects="Status", Id=statement)
            if state["Status"] in ("FINISHED", "FAILED", "ABORTED"):
                return state
            if not calls.wait(wait):
                raise CallFailed(view.name, "look at its WLM queue.", _LATE)
            wait = min(wait * 1.6, 2.0)
    except CallFailed:
        _cancel(calls, statement)
        raise


def _rows(calls: Calls, view: str, statement: str) -> list[dict[str, Any]]:
    """The first rows of a result; the rest, be it 100 MB, is never fetched."""
    rows: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = calls("get_statement_result", expects="Records", Id=statement, **token)
        names = [column.get("label") or column["name"] for column in page["ColumnMetadata"]]
        for record in page["Records"][: MAX_ROWS - len(rows)]:
            values = map(redshift_views.value_of, record)
            rows.append({"view": view} | {n: v for n, v in zip(names, values, strict=True) if v not in (None, "")})
        if not page.get("NextToken") or len(rows) >= MAX_ROWS:
            return rows
        token = {"NextToken": page["NextToken"]}


def _cancel(calls: Calls, statement: str) -> None:
    """Let no statement go on that nobody waits for any more; briefly, as the time is up."""
    with contextlib.suppress(CallFailed):
        Calls(calls.client, time.monotonic() + 0.5)("cancel_statement", Id=statement)


def _late_as_one(failures: Sequence[CallFailed]) -> list[CallFailed]:
    """All views that were not answered in time, in one sentence."""
    others = [item for item in failures if item.code != _LATE]
    late = [item for item in failures if item.code == _LATE]
    names = ", ".join(item.reason for item in late)
    told = [CallFailed(f"Redshift had not answered {names} when the time was up.", item.cure) for item in late[:1]]
    return others + told


def _redshift_failure(failed: CallFailed, target: RedshiftTarget, region: str) -> CallFailed:
    """The Data API wraps the state of a cluster in a ValidationException."""
    cure = failed.cure or redshift_views.cure_of(failed.reason, target)
    if "doesn't exist in this region" in failed.reason or failed.code == "ResourceNotFoundException":
        cure = f"correct cluster_id or workgroup ({target.name}) in de-agent/redshift, or the region ({region})."
    return CallFailed(failed.reason, cure, failed.code)
