"""Asks Redshift through the Data API: all statements at once, polled together, cancelled when nobody waits any more."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core import redshift_views
from airflow_de_agent.core.redshift_views import STL_LOAD_ERRORS, RedshiftTarget, View

MAX_ROWS = 50


def ask(
    calls: Calls, target: RedshiftTarget, views: Sequence[View], values: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[CallFailed]]:
    """Start all statements, then poll them together; rows in the order of the views."""
    rows: dict[str, list[dict[str, Any]]] = {}
    failures: list[CallFailed] = []
    running: dict[str, View] = {}
    wait = 0.1
    try:
        running = {_start(calls, target, view, values): view for view in views}
        while running:
            for statement, view in list(running.items()):
                state = calls("describe_statement", expects="Status", Id=statement)
                if state["Status"] in ("FINISHED", "FAILED", "ABORTED"):
                    del running[statement]
                    running |= _ended(calls, target, view, state, values, rows, failures)
            if running and not calls.wait(wait):
                names = ", ".join(view.name for view in running.values())
                raise CallFailed(f"Redshift had not answered {names} when the time was up.", "look at its WLM queue.")
            wait = min(wait * 1.6, 2.0)
    except CallFailed as exc:
        failures.append(_redshift_failure(exc, target, calls.region))
        _cancel(calls, running)
    order = [*(view.name for view in views), STL_LOAD_ERRORS.name]
    return [row for name in order for row in rows.get(name, ())], failures


def _start(calls: Calls, target: RedshiftTarget, view: View, values: Mapping[str, str]) -> str:
    bound = sorted(redshift_views.parameters_of(view.sql))
    unknown = [name for name in bound if name not in values]
    if unknown:
        raise CallFailed(f"the SQL binds :{unknown[0]}, which nobody gives.", f"bind one of {', '.join(values)}.")
    arguments: dict[str, Any] = {"Sql": view.sql, "ClientToken": str(uuid.uuid4()), **target.arguments}
    if bound:
        arguments["Parameters"] = [{"name": name, "value": values[name]} for name in bound]
    return str(calls("execute_statement", expects="Id", **arguments)["Id"])


def _ended(
    calls: Calls,
    target: RedshiftTarget,
    view: View,
    state: Mapping[str, Any],
    values: Mapping[str, str],
    rows: dict[str, list[dict[str, Any]]],
    failures: list[CallFailed],
) -> dict[str, View]:
    """Take a statement's rows, or its error; the fallback that was started where the view does not exist."""
    error = str(state.get("Error") or "it was aborted")
    if state["Status"] == "FINISHED":
        rows[view.name] = _rows(calls, view.name, str(state["Id"])) if state.get("HasResultSet") else []
    elif redshift_views.missing_relation(error) and view.fallback:
        return {_start(calls, target, STL_LOAD_ERRORS, values): STL_LOAD_ERRORS}
    elif not (redshift_views.missing_relation(error) and view.optional):
        failures.append(CallFailed(f"{view.name}: {error}", redshift_views.cure_of(error, target), "FAILED"))
    return {}


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


def _cancel(calls: Calls, running: Mapping[str, View]) -> None:
    """Let no statement go on that nobody waits for any more; briefly, as the time is up."""
    last = Calls(calls.client, time.monotonic() + 0.5)
    for statement in running:
        try:
            last("cancel_statement", Id=statement)
        except CallFailed:
            return


def _redshift_failure(failed: CallFailed, target: RedshiftTarget, region: str) -> CallFailed:
    """The Data API wraps the state of a cluster in a ValidationException."""
    cure = failed.cure or redshift_views.cure_of(failed.reason, target)
    if "doesn't exist in this region" in failed.reason or failed.code == "ResourceNotFoundException":
        cure = f"correct cluster_id or workgroup ({target.name}) in de-agent/redshift, or the region ({region})."
    return CallFailed(failed.reason, cure, failed.code)
