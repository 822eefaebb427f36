"""Which task instances of a run failed, from wherever the host lets one look.

Task code of Airflow 3 has no database and learns states from its supervisor; Airflow 2, the API server and the command
line have the ORM; an Airflow 3.0 scheduler-side listener has the run it is called with, and nothing may be asked there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_de_agent.airflow import compat
from airflow_de_agent.airflow.context import described, log_directory, now, tail, text_of
from airflow_de_agent.core.failure import TaskFailure, TaskKey, TaskState

_LOG_CHARACTERS = 1_000_000
_Make = Callable[[], TaskFailure]


def failures_of_run(context: Mapping[str, Any]) -> list[TaskFailure] | None:
    """The failed task instances of a DAG-level callback's run; None where this host gives no way to learn them.

    Airflow calls it with some task instance of the run, often one that succeeded.
    """
    if not compat.has_task_sdk():
        return _failures_by_orm(context["run_id"], context["dag"])
    if not _states_can_be_asked():
        return None
    dag, run_id, ti = context["dag"], context["run_id"], context.get("ti")
    if ti is None:
        return None
    states = ti.get_task_states(dag_id=dag.dag_id, run_ids=[run_id]).get(run_id, {})
    return _with_states(_sdk_failures(dag, run_id, states))


def _states_can_be_asked() -> bool:
    """Whether the DAG processor answers GetTaskStates (3.2+); on 3.0 asking hangs it and deactivates its DAGs.

    `airflow dags test` calls a DAG's callback where nobody can be asked at all (measured on 3.3.1).
    """
    from typing import get_args

    from airflow.dag_processing import processor
    from airflow.sdk.execution_time import task_runner

    if not hasattr(task_runner, "SUPERVISOR_COMMS"):
        return False
    names = {cls.__name__ for cls in get_args(get_args(processor.ToManager)[0])}
    return "GetTaskStates" in names


def _sdk_failures(dag: Any, run_id: str, states: Mapping[str, Any]) -> Iterator[tuple[TaskState, _Make]]:
    for name, state in states.items():
        task_id, map_index = _split(name, dag.task_dict)
        key = TaskKey(dag.dag_id, run_id, task_id, map_index)
        made = functools.partial(_of_last_try, key, dag.task_dict.get(task_id))
        yield TaskState(task_id, text_of(state), map_index), made


def _of_last_try(key: TaskKey, task: Any) -> TaskFailure:
    try_number, known = _last_try(key, task)
    return _poor(key._replace(try_number=try_number), task, try_is_known=known)


def _split(name: str, tasks: Mapping[str, Any]) -> tuple[str, int]:
    """The task and map index in a key of `get_task_states`: ``load`` or, for mapped tasks, ``load_3``."""
    base, _, index = name.rpartition("_")
    if name not in tasks and base in tasks and index.isdigit():
        return base, int(index)
    return name, -1


def _last_try(key: TaskKey, task: Any) -> tuple[int, bool]:
    """The last try by the log files of this host, else by the task's retries (False: a guess)."""
    base = compat.option("logging", "base_log_folder")
    tries = [_attempt(path) for path in log_directory(base, key).glob("attempt=*.log")] if base else []
    return (max(tries), True) if tries else (getattr(task, "retries", 0) + 1, False)


def _attempt(path: Path) -> int:
    number = path.stem.partition("=")[2]
    return int(number) if number.isdigit() else 0


def _poor(key: TaskKey, task: Any, **known: Any) -> TaskFailure:
    """A failure of which no callback told; its log is read by whoever diagnoses it."""
    about = described(task, compat.host_redact())
    values = {"failed_at": now(), "source": "run", "log_path": _log_file(key), **about, **known}
    return TaskFailure(key=key, **values)


def _log_file(key: TaskKey) -> str:
    base = compat.option("logging", "base_log_folder")
    return str(log_directory(base, key) / f"attempt={key.try_number}.log") if base else ""


def _with_states(found: Iterable[tuple[TaskState, _Make]]) -> list[TaskFailure]:
    """The failed ones, each with the states of all; nothing is made of those that did not fail."""
    found = list(found)
    states = tuple(state for state, _ in found)
    failed = [(state, make()) for state, make in found if state.state == "failed"]
    return [
        dataclasses.replace(failure, run_state=states, failed_at=state.end_date or failure.failed_at)
        for state, failure in failed
    ]


def _failures_by_orm(run_id: str, dag: Any) -> list[TaskFailure]:
    with session_of_host() as session:
        rows = _task_instances(session, dag.dag_id, run_id)
        return failures_of_rows(rows, getattr(dag, "task_dict", {}))


def failures_of_rows(rows: Iterable[Any], tasks: Mapping[str, Any]) -> list[TaskFailure]:
    """The failed ones among ORM task instances of one run."""
    return _with_states((_state(row), functools.partial(of_row, row, tasks.get(row.task_id), "run")) for row in rows)


def _state(row: Any) -> TaskState:
    return TaskState(
        row.task_id,
        text_of(getattr(row.state, "value", row.state)),
        row.map_index,
        row.try_number,
        text_of(row.start_date),
        text_of(row.end_date),
    )


def of_row(row: Any, task: Any, source: str) -> TaskFailure:
    """A task instance of the metadata database as a failure, with what `task` tells where it is known."""
    # one that failed before its first try began has none in the database, and the first for its callback
    key = TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index, max(row.try_number, 1))
    values: dict[str, Any] = {"operator": text_of(row.operator), "max_tries": row.max_tries}
    return _poor(
        key,
        None,
        source=source,
        failed_at=text_of(row.end_date or row.start_date),
        start_date=text_of(row.start_date),
        hostname=text_of(row.hostname),
        **({} if task is None else described(task, compat.host_redact())) | values,
    )


def _task_instances(session: Any, dag_id: str, run_id: str) -> list[Any]:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    where = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
    return list(session.scalars(select(TaskInstance).where(*where)).all())


def session_of_host() -> Any:
    """A session on the metadata database, as a context manager."""
    from airflow.utils.session import create_session

    return create_session()


def task_failure(
    dag_id: str, run_id: str, task_id: str, map_index: int = -1, try_number: int | None = None, source: str = "ui"
) -> TaskFailure | None:
    """A task instance of any state as a failure to diagnose, by the metadata database; None where there is none.

    For the API server, the web server and the command line. Without `try_number` it is the latest try. The log is
    read through the host where it is not a file here, as it may be remote.
    """
    with session_of_host() as session:
        rows = _task_instances(session, dag_id, run_id)
        row = next((r for r in rows if r.task_id == task_id and r.map_index == map_index), None)
        if row is None:
            return None
        failure = of_row(row, _serialized(dag_id, session).get(task_id), source)
        if try_number is not None:
            key = failure.key._replace(try_number=try_number)
            failure = dataclasses.replace(failure, key=key, log_path=_log_file(key))
        text = "" if Path(failure.log_path).is_file() else _log_text(row, failure.key.try_number)
    state = next(_state(r) for r in rows if r.task_id == task_id and r.map_index == map_index)
    return dataclasses.replace(
        failure,
        state=state.state or "none",
        run_state=tuple(_state(r) for r in rows),
        log_tail=text or compat.host_redact()(tail(failure.log_path)),
    )


def _serialized(dag_id: str, session: Any) -> Mapping[str, Any]:
    """The tasks of a DAG as Airflow's database keeps them; none where it has none."""
    from airflow.models.serialized_dag import SerializedDagModel

    row = SerializedDagModel.get(dag_id, session=session)
    return row.dag.task_dict if row is not None else {}


def _log_text(row: Any, try_number: int) -> str:
    """The log as the host's own log view would show it, redacted."""
    from airflow.utils.log.log_reader import TaskLogReader

    reader = TaskLogReader()
    try:
        if compat.has_task_sdk():
            parts: Iterator[Any] = iter(reader.read_log_stream(row, try_number, {}))
        else:
            logs, _ = reader.read_log_chunks(row, try_number, {})
            parts = (text for host in logs for _, text in host)
        text = "".join(_limited(parts))
    except Exception as exc:  # whatever a log handler of any provider raises, the diagnosis goes on without a log
        return f"(the host could not read the log: {type(exc).__name__})"
    return compat.host_redact()(text)


def _limited(parts: Iterator[Any]) -> Iterator[str]:
    """Whole parts up to `_LOG_CHARACTERS`."""
    length = 0
    for part in parts:
        yield str(part)
        length += len(str(part))
        if length > _LOG_CHARACTERS:
            return
