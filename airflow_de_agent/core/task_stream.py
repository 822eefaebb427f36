"""CloudWatch streams of task logs: how Airflow names them, and how their events read as a task log.

The names come from ``[logging] log_filename_template`` with ``:`` replaced by ``_``, the only sign that CloudWatch
refuses in them. Airflow 2.3 and later write ``dag_id=…/run_id=…``; older runs, whose template Airflow remembers, have
``dag/task/date/try.log``. A deferred task has one more stream per trigger: ``….log.trigger.ID.log``.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable
from typing import NamedTuple

ENDINGS = (
    "Task exited with return code",
    "Task failed with exception",
    "Marking task as",
    "Traceback (most recent call last)",
    '"error_detail"',
    "Task is not able to be run",
)
_ATTEMPT = re.compile(r"(?:/attempt=|/)(\d+)\.log")


class Event(NamedTuple):
    """One event of a stream; `at` is Unix time in milliseconds."""

    at: int
    text: str


def stream_of(
    dag_id: str, run_id: str, task_id: str, try_number: int, map_index: int = -1, *, attempt: str = "attempt={}.log"
) -> str:
    """The stream of one try under the default template."""
    mapped = f"map_index={map_index}/" if map_index >= 0 else ""
    name = f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/{mapped}{attempt.format(try_number)}"
    return as_stream(name)


def as_stream(log_path: str) -> str:
    """The stream that holds what Airflow writes to a log path, given below the log folder."""
    return log_path.strip("/").replace(":", "_")


def is_stream_of_try(stream: str, try_number: int) -> bool:
    """Whether a stream holds this try, or what a trigger logged for it."""
    found = _ATTEMPT.search(stream)
    return found is not None and int(found[1]) == try_number


def attempts_in(streams: Iterable[str]) -> list[int]:
    """The try numbers that have a stream."""
    return sorted({int(found[1]) for found in map(_ATTEMPT.search, streams) if found})


def log_text(events: Iterable[Event]) -> str:
    """The events of one try as the task log, in order of time."""
    return "\n".join(_line(event) for event in sorted(events, key=lambda event: event.at))


def _line(event: Event) -> str:
    """Airflow 3 sends JSON without the time, which only CloudWatch keeps; the log file has it as the first field."""
    text = event.text.rstrip("\r\n")
    if not text.startswith("{"):
        return text
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    if "event" not in fields or "timestamp" in fields:
        return text
    time = dt.datetime.fromtimestamp(event.at / 1000, dt.timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"timestamp": time.replace("+00:00", "Z")} | fields, ensure_ascii=False)


def looks_finished(text: str) -> bool:
    """Whether the end of a failed try can be seen in its log."""
    return any(ending in text for ending in ENDINGS)
