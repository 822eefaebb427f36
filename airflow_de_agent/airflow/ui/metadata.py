"""Task instances as Airflow's metadata database has them, for the server that shows the view."""

from __future__ import annotations

from typing import NamedTuple

# States in which a person may ask why; `up_for_retry` is a failed try whose task goes on.
FAILED_STATES = ("failed", "upstream_failed", "up_for_retry")


class TaskInstanceRow(NamedTuple):
    """One task instance. `try_number` is its latest try, 0 when it never ran; `state` is empty when it has none."""

    task_id: str
    map_index: int
    try_number: int
    state: str


def task_instances(dag_id: str, run_id: str, task_id: str = "", *, only_failed: bool = False) -> list[TaskInstanceRow]:
    """The task instances of a run, or of one task of it, by end and then by name."""
    from airflow.models.taskinstance import TaskInstance as TI
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TI.task_id, TI.map_index, TI.try_number, TI.state).where(TI.dag_id == dag_id, TI.run_id == run_id)
    if task_id:
        query = query.where(TI.task_id == task_id)
    if only_failed:
        query = query.where(TI.state.in_(FAILED_STATES))
    with create_session() as session:
        rows = session.execute(query.order_by(TI.end_date, TI.task_id, TI.map_index)).all()
    return [TaskInstanceRow(task, index, tries or 0, _text(state)) for task, index, tries, state in rows]


def _text(state: object) -> str:
    return "" if state is None else str(getattr(state, "value", state))
