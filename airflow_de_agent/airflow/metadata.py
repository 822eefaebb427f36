"""What Airflow's own database tells the sweep: failures that nobody told of, and what has succeeded since.

Every process of Airflow 2 may use it, and of Airflow 3 the servers, the scheduler and the command line. Task code of
Airflow 3 has none. Rows are read by column: the ORM's task instance would load what a sweep never looks at.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from airflow_de_agent.airflow import compat
from airflow_de_agent.airflow.policy import OPT_OUT_TAG
from airflow_de_agent.airflow.run_state import of_row, session_of_host
from airflow_de_agent.core.errors import HostError
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.moment import moment
from airflow_de_agent.core.recovery import Seen

MOST_FAILURES = 10_000
MOST_SUCCESSES = 5_000
_RUNS_AT_ONCE = 500
_TOLD = (*TaskKey._fields, "operator", "max_tries", "start_date", "end_date", "hostname")


def recent_failures(hours: int, known: Callable[[Collection[TaskKey]], set[TaskKey]]) -> list[TaskFailure]:
    """Task instances that failed within so many hours and are not `known`, oldest first; at most `MOST_FAILURES`.

    Those of DAGs that opted out are left out.

    Raises:
        HostError: the database cannot be used.
    """
    from airflow.models.dag import DagTag
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    out = select(DagTag.dag_id).where(DagTag.name == OPT_OUT_TAG)
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    where = (TaskInstance.state == "failed", TaskInstance.end_date >= since, TaskInstance.dag_id.not_in(out))
    query = select(*(getattr(TaskInstance, name) for name in _TOLD)).where(*where)
    with _database() as session:
        rows = session.execute(query.order_by(TaskInstance.end_date.desc()).limit(MOST_FAILURES)).all()
    keys = {_key(row): row for row in reversed(rows)}
    told = known(keys)
    return [of_row(row, None, "sweep") for key, row in keys.items() if key not in told]


def _key(row: Any) -> TaskKey:
    """The key under which `of_row` has a row diagnosed."""
    return TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index, max(row.try_number, 1))


class Metadata:
    """`airflow_de_agent.core.recovery.Host` by Airflow's database.

    Raises:
        HostError: on every call, when the database cannot be used.
    """

    def of_runs(self, dag_id: str, run_ids: Collection[str], task_ids: Collection[str]) -> Iterable[Seen]:
        """See `Host.of_runs`."""
        from airflow.models.taskinstance import TaskInstance

        runs = sorted(run_ids)
        for start in range(0, len(runs), _RUNS_AT_ONCE):
            chunk = runs[start : start + _RUNS_AT_ONCE]
            yield from _seen(dag_id, task_ids, TaskInstance.run_id.in_(chunk))

    def successes(self, dag_id: str, task_ids: Collection[str], since: float) -> Iterable[Seen]:
        """See `Host.successes`."""
        from airflow.models.taskinstance import TaskInstance

        earliest = datetime.datetime.fromtimestamp(since, datetime.timezone.utc)
        ended = (TaskInstance.state == "success", TaskInstance.end_date >= earliest)
        return _seen(dag_id, task_ids, *ended, limit=MOST_SUCCESSES)


def _seen(dag_id: str, task_ids: Collection[str], *where: Any, limit: int | None = None) -> list[Seen]:
    """Task instances with the dates of their runs, those that ended last first."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import and_, select

    columns = (TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state)
    query = (
        select(*columns, _run_date(), TaskInstance.end_date)
        .join(DagRun, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
        .where(TaskInstance.dag_id == dag_id, TaskInstance.task_id.in_(sorted(task_ids)), *where)
        .order_by(TaskInstance.end_date.desc())
        .limit(limit)
    )
    with _database() as session:
        rows = session.execute(query).all()
    return [
        Seen(run, task, n, str(getattr(state, "value", state)), moment(at), moment(end))
        for run, task, n, state, at, end in rows
    ]


def _run_date() -> Any:
    """What orders the runs of a DAG; on Airflow 3 a run may have no logical date."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func

    if hasattr(DagRun, "run_after"):
        return func.coalesce(DagRun.logical_date, DagRun.run_after)
    return DagRun.execution_date


@contextlib.contextmanager
def _database() -> Iterator[Any]:
    with host_errors(), session_of_host() as session:
        yield session


@contextlib.contextmanager
def host_errors() -> Iterator[None]:
    """What goes wrong with Airflow's database within the block, in one line.

    Raises:
        HostError: the database cannot be used.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except RuntimeError as exc:
        raise HostError(f"Airflow gives this process no database: {exc}", by_design=compat.has_task_sdk()) from exc
    except SQLAlchemyError as exc:
        reason = compat.host_redact()(f"{type(exc).__name__}: {exc}".splitlines()[0])
        raise HostError(f"Airflow's database cannot be used: {reason}") from exc
