"""Times as hosts give them: ISO 8601, with a zone, with Z, or without either, which means UTC."""

from __future__ import annotations

import datetime


def utc(value: datetime.datetime | str | None) -> datetime.datetime | None:
    """A time, or its text, with its zone (UTC where it names none); None where there is none."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    return value.replace(tzinfo=datetime.timezone.utc) if value is not None and value.tzinfo is None else value


def moment(value: datetime.datetime | str | None) -> float | None:
    """The same in Unix seconds."""
    found = utc(value)
    return found.timestamp() if found is not None else None
