"""A failure without secrets: what is done once, where a failure enters, before it is stored, sent or shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from airflow_de_agent.core.failure import CapturedException, Frame, TaskFailure

# What Airflow finds the try and its log by. It is never shown but through `run_shown`, and leaves the account never.
IDENTITY = ("key", "log_path", "run_state")
_TEXTS = tuple(
    field.name
    for field in dataclasses.fields(TaskFailure)
    if isinstance(field.default, str) and field.name not in (*IDENTITY, "log_url")
)
_LISTS = ("tags", "upstream_task_ids", "downstream_task_ids")


def redacted(failure: TaskFailure, redact: Callable[[str], str]) -> TaskFailure:
    """The failure with every text redacted but those of `IDENTITY`; an address that held a secret is left out.

    `redact` takes and returns text and keeps its number of lines. Doing it twice changes nothing.
    """
    values: dict[str, Any] = {name: redact(getattr(failure, name)) for name in _TEXTS if getattr(failure, name)}
    for name in _LISTS:
        if texts := getattr(failure, name):
            values[name] = tuple(redact("\n".join(texts)).split("\n"))
    if failure.log_url and redact(failure.log_url) != failure.log_url:
        values["log_url"] = ""
    values["exceptions"] = tuple(_link(link, redact) for link in failure.exceptions)
    values["fields"] = {redact(n): redact(f"{n}={value}").removeprefix(f"{n}=") for n, value in failure.fields.items()}
    return dataclasses.replace(failure, **values)


def run_shown(run_id: str) -> str:
    """A run's id as people and models see it: whoever triggers a run may have written anything into it."""
    from airflow_de_agent.core.redaction import Redactor

    return Redactor().redact(run_id)


def _link(link: CapturedException, redact: Callable[[str], str]) -> CapturedException:
    frames = tuple(Frame(redact(file), line, redact(name), redact(code)) for file, line, name, code in link.frames)
    return dataclasses.replace(link, type=redact(link.type), message=redact(link.message), frames=frames)
