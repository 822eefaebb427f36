"""A failed task instance, as far as its host could tell.

Rules kept here: every text that may quote a log, an exception or a rendered template has been redacted before it
enters a `TaskFailure`; a value once made never changes; `to_json` and `from_json` are each other's inverse.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

ASKED = "slack"  # the source of a failure that nobody told of before a person asked for it


class TaskKey(NamedTuple):
    """One try of one task instance: the unit that is diagnosed exactly once."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1

    @property
    def diagnosis_id(self) -> str:
        """Sixteen hexadecimal digits, the same for the same try on every host."""
        return hashlib.sha256("\0".join(map(str, self)).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The task instance as people write it: ``dag.task`` or ``dag.task[3]``; ``task`` of an unknown DAG."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}{'.' * bool(self.dag_id)}{self.task_id}{index}"


class Frame(NamedTuple):
    """One frame of a traceback, outermost first where frames stand in a row."""

    file: str
    line: int
    function: str
    code: str = ""


@dataclasses.dataclass(frozen=True)
class CapturedException:
    """One link of an exception chain.

    `type` is the qualified class name without ``builtins.``; it is empty where the host gave only a text.
    `line` is the line of the task log that carries it, where it was read from a log (else None).
    """

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    line: int | None = None

    @property
    def name(self) -> str:
        """The class name without its module."""
        return self.type.rpartition(".")[2]


@dataclasses.dataclass(frozen=True)
class TaskState:
    """The state of one task instance of the same DAG run; times are ISO 8601 in UTC or empty."""

    task_id: str
    state: str
    map_index: int = -1
    try_number: int | None = None
    start_date: str = ""
    end_date: str = ""


# How much each source knows: an entry from a richer source replaces a diagnosis made from a poorer one.
RICHNESS = {"run": 0, "sweep": 0, "dag_processor": 1, "task": 2, "cli": 2, "ui": 3}


@dataclasses.dataclass(frozen=True)
class TaskFailure:
    """What is known of a failed try when it is captured. Empty text, empty tuple or None means "not known here".

    `exceptions` runs from the first cause to the exception that ended the task.
    `log_tail` holds the last whole lines of the task log, as the host wrote them.
    `upstream_task_ids` and `downstream_task_ids` are transitive.
    `fields` are rendered operator fields that name a resource (bucket, function_name, sql, …).
    `try_is_known` is False where the host named the task instance but not the try, and the key holds the likeliest.
    """

    key: TaskKey
    source: str
    failed_at: str = ""
    state: str = "failed"
    exceptions: tuple[CapturedException, ...] = ()
    operator: str = ""
    max_tries: int | None = None
    start_date: str = ""
    logical_date: str = ""
    hostname: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    log_path: str = ""
    log_tail: str = ""
    log_url: str = ""
    upstream_task_ids: tuple[str, ...] = ()
    downstream_task_ids: tuple[str, ...] = ()
    run_state: tuple[TaskState, ...] = ()
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reason: str = ""
    try_is_known: bool = True
    slack_channel: str = ""
    airflow_version: str = ""

    @property
    def richness(self) -> int:
        """How much its source knows; see `RICHNESS`."""
        return RICHNESS.get(self.source, 0)

    def to_json(self) -> dict[str, Any]:
        """Only what is known, as JSON types."""
        values = dataclasses.asdict(self) | {"key": list(self.key)}
        return {name: value for name, value in values.items() if value not in ("", (), None, {})}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TaskFailure:
        """Read what `to_json` wrote; unknown names are ignored, as a newer version may have written them.

        Raises:
            ValueError: a required field is absent or has the wrong shape.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            fields = {name: value for name, value in values.items() if name in known}
            fields["key"] = _key(*values["key"])
            fields["exceptions"] = tuple(_exception(item) for item in values.get("exceptions", ()))
            fields["run_state"] = tuple(TaskState(**item) for item in values.get("run_state", ()))
            for name in ("tags", "upstream_task_ids", "downstream_task_ids"):
                fields[name] = tuple(values.get(name, ()))
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a task failure: {type(exc).__name__}: {exc}") from exc


def _key(dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int) -> TaskKey:
    return TaskKey(str(dag_id), str(run_id), str(task_id), int(map_index), int(try_number))


def _exception(values: Mapping[str, Any]) -> CapturedException:
    frames = tuple(Frame(*frame) for frame in values.get("frames", ()))
    return CapturedException(values["type"], values["message"], frames, values.get("line"))
