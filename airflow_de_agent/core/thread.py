"""What an incident's thread tells: the details once, then what is worth a line of its own.

Rules kept here: what has been told decides what is told next, one step at a time; each step has a mark, so that one
whose note was lost is recognised in Slack; a thread is not chatty: a counter speaks at 10, 100, 1,000 and so on, and
DAGs that join are named one by one only while there are few.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from airflow_de_agent.core import render
from airflow_de_agent.core.incident import Incident, Record, Thread

FIRST_MARK = 10
FEW_DAGS = 5
DETAILS = "details"


@dataclasses.dataclass(frozen=True)
class Told:
    """What a thread has told. `count` is the last notable count, `details` says what the details held."""

    details_ts: str = ""
    details: str = ""
    category: str = ""
    cause: str = ""
    count: int = 0
    dags: tuple[str, ...] = ()
    closed: bool = False
    reopened: int = 0

    def to_text(self) -> str:
        """As the store keeps it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Told:
        """Read what `to_text` wrote; empty text: nothing was told. What a newer version added is ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in (json.loads(text) if text else {}).items() if name in known}
        return cls(**values | {"dags": tuple(values.get("dags", ()))})


@dataclasses.dataclass(frozen=True)
class Step:
    """One message for a thread, or, with `replaces` (its timestamp), what one of them has become.

    `told` is what the thread has told with it.
    """

    mark: str
    message: render.Message
    told: Told
    replaces: str = ""

    def done(self, message_ts: str) -> Told:
        """What has been told once the message stands at its timestamp."""
        return dataclasses.replace(self.told, details_ts=message_ts) if self.mark == DETAILS else self.told


def next_step(thread: Thread, lead: Record, incident: Incident) -> Step | None:
    """What the thread is to tell next; None where it has told all."""
    told = Told.from_text(thread.told)
    if not told.details_ts:
        return _details(_all_told(thread, lead, incident), lead, incident)
    for step in (_changed, _state, _grown):
        found = step(told, thread.dags, lead, incident)
        if found is not None:
            return found
    if told.details != _digest(render.details(lead, incident)):
        return _details(told, lead, incident)
    return None


def _all_told(thread: Thread, lead: Record, incident: Incident) -> Told:
    """What the message itself says when the details join it."""
    return Told(
        category=lead.diagnosis.category.value,
        cause=_plain(lead.diagnosis.root_cause),
        count=_notable(incident.count),
        dags=tuple(thread.dags),
        closed=incident.closed_at is not None,
        reopened=incident.reopened,
    )


def _details(told: Told, lead: Record, incident: Incident) -> Step:
    message = render.details(lead, incident)
    told = dataclasses.replace(told, details=_digest(message))
    return Step(DETAILS, message, told, replaces=told.details_ts)


def _changed(told: Told, dags: Sequence[str], lead: Record, incident: Incident) -> Step | None:
    del dags
    category, cause = lead.diagnosis.category.value, _plain(lead.diagnosis.root_cause)
    if (category, cause.casefold()) == (told.category, told.cause.casefold()):
        return None
    message = render.changed_entry(lead.diagnosis, told.category, incident.id)
    after = dataclasses.replace(told, category=category, cause=cause)
    return Step(f"changed-{_digest(message)}", message, after)


def _state(told: Told, dags: Sequence[str], lead: Record, incident: Incident) -> Step | None:
    del dags, lead
    closed = incident.closed_at is not None
    if (closed, incident.reopened) == (told.closed, told.reopened) or (not closed and incident.reopened == 0):
        return None
    after = dataclasses.replace(told, closed=closed, reopened=incident.reopened, count=_notable(incident.count))
    word = "recovered" if closed else "back"
    return Step(f"{word}-{incident.reopened}", render.state_entry(incident), after)


def _grown(told: Told, dags: Sequence[str], lead: Record, incident: Incident) -> Step | None:
    del lead
    count, joined = _notable(incident.count), [dag for dag in dags if dag not in told.dags]
    notable = joined and (len(told.dags) < FEW_DAGS or _notable(len(dags)) > _notable(len(told.dags)))
    if count <= told.count and not notable:
        return None
    message = render.growth_entry(incident, joined)
    after = dataclasses.replace(told, count=max(count, told.count), dags=(*told.dags, *joined))
    return Step(f"grown-{after.count}-{len(after.dags)}", message, after)


def _notable(count: int) -> int:
    """The last of 10, 100, 1,000 … that a count has reached; 0 before."""
    mark = 10 ** (len(str(count)) - 1)
    return mark if mark >= FIRST_MARK else 0


def _plain(cause: str) -> str:
    return " ".join(cause.split())[:500]


def _digest(message: render.Message) -> str:
    said = json.dumps([message.text, message.blocks], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]
