"""Task instances by the REST API of Airflow on MWAA, v1 (Airflow 2) and v2 (Airflow 3)."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from airflow_de_agent.aws.calls import CallFailed
from airflow_de_agent.aws.mwaa_rest import MwaaRest
from airflow_de_agent.core.errors import HostError
from airflow_de_agent.core.moment import moment
from airflow_de_agent.core.recovery import Seen

MOST = 2_000
_PAGE = 100  # Airflow gives no more by default (maximum_page_limit)


def task_instances(rest: MwaaRest, most: int, **wanted: Any) -> list[dict[str, Any]]:
    """Task instances by the filters of Airflow's batch request, such as ``dag_ids``.

    Raises:
        CallFailed: MWAA or Airflow refused, or did not answer.
    """
    found: list[dict[str, Any]] = []
    while len(found) < most:
        body = {**wanted, "page_limit": _PAGE, "page_offset": len(found)}
        page = rest.post("/dags/~/dagRuns/~/taskInstances/list", body)
        found += page.get("task_instances", [])
        if not page.get("task_instances") or len(found) >= page.get("total_entries", 0):
            break
    return found


class MwaaInstances:
    """`airflow_de_agent.core.recovery.Host` by an environment's REST API.

    Raises:
        HostError: on every call, when MWAA or Airflow refuses or does not answer.
    """

    def __init__(self, rest: MwaaRest) -> None:
        self._rest = rest

    def of_runs(self, dag_id: str, run_ids: Collection[str], task_ids: Collection[str]) -> Iterable[Seen]:
        """See `Host.of_runs`."""
        return self._seen(dag_ids=[dag_id], dag_run_ids=sorted(run_ids), task_ids=sorted(task_ids))

    def successes(self, dag_id: str, task_ids: Collection[str], since: float) -> Iterable[Seen]:
        """See `Host.successes`."""
        earliest = datetime.datetime.fromtimestamp(since, datetime.timezone.utc).isoformat()
        ended = {"state": ["success"], "end_date_gte": earliest}
        return self._seen(dag_ids=[dag_id], task_ids=sorted(task_ids), **ended)

    def _seen(self, **wanted: Any) -> list[Seen]:
        try:
            return [_seen(task) for task in task_instances(self._rest, MOST, **wanted)]
        except CallFailed as exc:
            raise HostError(f"Airflow on MWAA cannot be asked: {exc.reason} {exc.cure}".strip()) from exc


def _seen(task: Mapping[str, Any]) -> Seen:
    """A task instance; v1 calls its run's logical date execution_date."""
    run_date = task.get("logical_date") or task.get("execution_date") or task.get("run_after")
    return Seen(
        str(task.get("dag_run_id")),
        str(task.get("task_id")),
        int(task.get("map_index", -1)),
        str(task.get("state")),
        moment(run_date),
        moment(task.get("end_date")),
    )
