"""When an incident is over: every task instance that joined it succeeded in the end, or a later run's did.

Rules kept here: what was skipped, removed or never ran is no recovery; a later run counts only if it ended after the
failure, as a backfill may have succeeded before it; what Airflow no longer knows stays open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

from airflow_de_agent.core.errors import HostError
from airflow_de_agent.core.incident import Incident, Joined, Store

LOOK_BACK_SECONDS = 7 * 86400.0
_SILENT_IN_A_ROW = 3  # then it is Airflow that is away, and each further question would cost a time-out


class Seen(NamedTuple):
    """A task instance as Airflow shows it now; times are Unix seconds.

    `run_date` orders the runs of a DAG: the logical date, or where a run has none the time from which it could run.
    """

    run_id: str
    task_id: str
    map_index: int
    state: str
    run_date: float | None
    end_date: float | None


class Host(Protocol):
    """Where task instances are looked up. Both may raise `airflow_de_agent.core.errors.HostError`."""

    def of_runs(self, dag_id: str, run_ids: Collection[str], task_ids: Collection[str]) -> Iterable[Seen]:
        """These tasks' instances of these runs, in any state."""

    def successes(self, dag_id: str, task_ids: Collection[str], since: float) -> Iterable[Seen]:
        """These tasks' successful instances of any run that ended since then; the newest, where there are many."""


def close_recovered(store: Store, host: Host, now: float) -> list[Incident]:
    """Close the open incidents of the last week that are over; those that were closed now.

    Raises:
        StoreError, HostError: the store or Airflow cannot be asked; one incident that Airflow does not answer of keeps
            no other open.
    """
    closed: list[Incident] = []
    silent: list[HostError] = []
    for incident in store.incidents(since=now - LOOK_BACK_SECONDS, still_open=True):
        joined = store.joined(incident.id)
        try:
            ended = recovered_at(joined, host) if len(joined) >= incident.count else None
        except HostError as exc:
            silent.append(exc)
            if len(silent) > _SILENT_IN_A_ROW:
                break
            continue
        silent = silent[:1]
        if ended is None:
            continue
        ended = ended if incident.opened_at < ended <= now else now  # marked by hand it keeps the time of its failure
        # one that joined meanwhile is not looked at yet, so the count must still be the same
        if store.close(incident.id, now=ended, count=incident.count) and (after := store.incident(incident.id)):
            closed.append(after)
    if silent:
        raise silent[0]
    return closed


def recovered_at(joined: Sequence[Joined], host: Host) -> float | None:
    """When the last of all that joined an incident recovered, in Unix seconds; None while one has not."""
    by_dag: dict[str, list[Joined]] = defaultdict(list)
    for one in joined:
        by_dag[one.key.dag_id].append(one)
    latest = None
    for dag_id, each in by_dag.items():
        ended = _dag_recovered_at(dag_id, each, host)
        if ended is None:
            return None
        latest = ended if latest is None else max(latest, ended)
    return latest


def _dag_recovered_at(dag_id: str, joined: Sequence[Joined], host: Host) -> float | None:
    runs, tasks = {one.key.run_id for one in joined}, {one.key.task_id for one in joined}
    own = {seen[:3]: seen for seen in host.of_runs(dag_id, runs, tasks)}
    if any(one.key[1:4] not in own for one in joined):
        return None
    waiting = [(own[one.key[1:4]], one.at) for one in joined]
    left = [(seen, _failed_at(seen, at)) for seen, at in waiting if seen.state != "success"]
    ends = [seen.end_date or 0.0 for seen, _ in waiting if seen.state == "success"]
    later: dict[tuple[str, int], list[Seen]] = defaultdict(list)
    if left:
        since = min(at for _, at in left)
        for seen in host.successes(dag_id, {seen.task_id for seen, _ in left}, since):
            later[seen.task_id, seen.map_index].append(seen)
    for failed, at in left:
        cures = [end for one in later[failed.task_id, failed.map_index] if (end := _cured(one, failed, at))]
        if not cures:
            return None
        ends.append(min(cures))
    return max(ends)


def _failed_at(seen: Seen, diagnosed_at: float) -> float:
    """When it failed, by Airflow where its failure still stands."""
    return seen.end_date if seen.state == "failed" and seen.end_date is not None else diagnosed_at


def _cured(later: Seen, failed: Seen, failed_at: float) -> float | None:
    """When a later run's success ended, if it follows the failure."""
    if later.run_date is None or later.end_date is None or failed.run_date is None:
        return None
    return later.end_date if later.run_date > failed.run_date and later.end_date > failed_at else None
