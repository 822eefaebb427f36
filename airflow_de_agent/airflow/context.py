"""A callback's context into a `TaskFailure`: by named keys and attributes only.

In an Airflow 3 DAG processor some attributes are missing and an unsupported question to the supervisor hangs the file
and takes its DAGs down, so nothing here asks: it reads what the context already holds.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_de_agent.airflow import compat
from airflow_de_agent.core.failure import CapturedException, Frame, TaskFailure, TaskKey

TAIL_BYTES = 64 * 1024
_FIELD_LENGTH = 500
_CHAIN_LENGTH = 10
_FRAMES = 30
_RELATIVES = 200


def task_failure(context: Mapping[str, Any], *, state: str = "failed", slack_channel: str = "") -> TaskFailure:
    """What a task-level callback knows, still to be `redacted`. `source`: ``dag_processor`` where no task was left."""
    redact = compat.host_redact()
    ti, task, error = context["ti"], context.get("task"), context.get("exception")
    own_logs = _own_logs()
    in_task = isinstance(error, BaseException) or bool(own_logs)
    log_path = _log_path(ti, own_logs)
    dag_run = context.get("dag_run")
    return TaskFailure(
        key=task_key(ti),
        source="task" if in_task else "dag_processor",
        failed_at=now(),
        state=state,
        exceptions=captured(error, redact),
        start_date=text_of(getattr(ti, "start_date", None)),
        logical_date=text_of(getattr(dag_run, "logical_date", None) or context.get("logical_date")),
        hostname=text_of(getattr(ti, "hostname", None)),
        log_path=log_path,
        log_tail=tail(log_path),
        log_url=text_of(getattr(ti, "log_url", None)),
        reason=redact(text_of(context.get("reason"))),
        slack_channel=slack_channel,
        **described(task, redact),
    )


def task_key(ti: Any) -> TaskKey:
    """The key of a task instance of either major."""
    map_index = getattr(ti, "map_index", -1)
    return TaskKey(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index, ti.try_number)


def described(task: Any, redact: Callable[[str], str]) -> dict[str, Any]:
    """What the task itself says of the failure's surroundings."""
    if task is None:
        return {"airflow_version": compat.version()}
    return {
        "operator": text_of(getattr(task, "task_type", None) or type(task).__name__),
        "max_tries": getattr(task, "retries", None),
        "owner": text_of(getattr(task, "owner", None)),
        "tags": tuple(sorted(str(tag) for tag in getattr(getattr(task, "dag", None), "tags", None) or ())),
        "upstream_task_ids": _relatives(task, upstream=True),
        "downstream_task_ids": _relatives(task, upstream=False),
        "fields": _fields(task, redact),
        "airflow_version": compat.version(),
    }


def captured(error: Any, redact: Callable[[str], str]) -> tuple[CapturedException, ...]:
    """An exception's chain from its first cause; a host's text as one link without a type."""
    if not isinstance(error, BaseException):
        return (CapturedException("", redact(str(error))),) if error else ()
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < _CHAIN_LENGTH and not any(link is one for one in chain):
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return tuple(_captured_link(exc, redact) for exc in reversed(chain))


def _captured_link(exc: BaseException, redact: Callable[[str], str]) -> CapturedException:
    cls = type(exc)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    return CapturedException(name, redact(_message(exc))[:4000], tuple(_frames(exc))[-_FRAMES:])


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as broken:  # a user's __str__ may raise anything
        return f"(its text cannot be made: {type(broken).__name__})"


def _frames(exc: BaseException) -> Iterable[Frame]:
    step = exc.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield Frame(code.co_filename, step.tb_lineno, code.co_name)
        step = step.tb_next


def _relatives(task: Any, *, upstream: bool) -> tuple[str, ...]:
    """All tasks before or after this one, breadth first, at most `_RELATIVES`."""
    tasks = getattr(getattr(task, "dag", None), "task_dict", {})
    side = "upstream_task_ids" if upstream else "downstream_task_ids"
    found: dict[str, None] = {}
    level = [task]
    while level and len(found) < _RELATIVES:
        fresh = sorted({i for one in level for i in getattr(one, side, ())} - found.keys())
        found.update(dict.fromkeys(fresh))
        level = [tasks[task_id] for task_id in fresh if task_id in tasks]
    return tuple(found)[:_RELATIVES]


def _fields(task: Any, redact: Callable[[str], str]) -> dict[str, str]:
    """Rendered fields that may name a resource: short texts only, as long ones are code or data."""
    names = dict.fromkeys((*getattr(task, "template_fields", ()), *_connection_fields(task)))
    found = {}
    for name in names:
        value = getattr(task, name, None)
        if isinstance(value, str) and value:
            shown = redact(f"{name}={value}")
            found[name] = shown.removeprefix(f"{name}=")[:_FIELD_LENGTH]
    return found


def _connection_fields(task: Any) -> list[str]:
    return [name for name in getattr(task, "__dict__", {}) if name.endswith("conn_id") and not name.startswith("_")]


def _log_path(ti: Any, own_logs: list[str]) -> str:
    """The local log file of a task instance, empty where there is none."""
    wanted = f"attempt={ti.try_number}.log"
    candidates = [path for path in own_logs if path.endswith(wanted)] or [*_open_logs_of_parent(), log_path(ti)]
    return next((path for path in candidates if path.endswith(wanted) and Path(path).is_file()), "")


def _own_logs() -> list[str]:
    """The files that an Airflow 2 task process logs to; none in its DAG processor, whose handlers name no file."""
    handlers = logging.getLogger().handlers + logging.getLogger("airflow.task").handlers
    return [path for handler in handlers if (path := getattr(handler, "baseFilename", ""))]


def _open_logs_of_parent() -> list[str]:
    """Log files that the Airflow 3 supervisor, which is our parent, holds open (Linux)."""
    found = []
    try:
        for link in Path(f"/proc/{os.getppid()}/fd").iterdir():
            target = str(link.readlink())
            if target.endswith(".log"):
                found.append(target)
    except OSError:
        pass
    return found


def log_path(ti: Any) -> str:
    """Where the default file name template puts the log of a task instance; the file need not be there."""
    base = compat.option("logging", "base_log_folder")
    if not base:
        return ""
    key = task_key(ti)
    return str(log_directory(base, key) / f"attempt={key.try_number}.log")


def log_directory(base: str, key: TaskKey) -> Path:
    """The directory of all attempts of a task instance under the default file name template."""
    mapped = (f"map_index={key.map_index}",) if key.map_index >= 0 else ()
    return Path(base, f"dag_id={key.dag_id}", f"run_id={key.run_id}", f"task_id={key.task_id}", *mapped)


def tail(path: str) -> str:
    """The last whole lines of a log, not yet redacted; empty where it cannot be read."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, 0))
            data = file.read(TAIL_BYTES)
    except OSError:
        return ""
    if size > TAIL_BYTES:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")


def text_of(value: Any) -> str:
    """A value as text, times in ISO 8601, None as nothing."""
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def now() -> str:
    """The time, in ISO 8601 and UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
