"""What outlives one diagnosis: records of diagnoses, the incidents that join them, and the store that keeps both."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple, Protocol

from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.failure import TaskFailure, TaskKey

ClaimResult = Literal["won", "held", "done"]
PostTurn = Literal["first", "again", "no"]
Vote = Literal["helpful", "not_helpful", ""]
# What comes back so soon after it recovered is the same incident.
REOPEN_SECONDS = 86400.0


@dataclasses.dataclass(frozen=True)
class Record:
    """One diagnosed try, as the store keeps it. `diagnosed_at` is Unix time in seconds."""

    failure: TaskFailure
    diagnosis: Diagnosis
    fingerprint: str
    diagnosed_at: float
    incident_id: str = ""

    @property
    def id(self) -> str:
        """The diagnosis id, derived from the key."""
        return self.failure.key.diagnosis_id


@dataclasses.dataclass(frozen=True)
class Incident:
    """Failures that share one cause: one Slack thread.

    `lead_id` is the diagnosis that speaks for all; `count` the task instances that joined. `revision` grows with each
    change worth showing, `shown_revision` is the one that the message shows. Times are Unix seconds; `message_ts` and
    `channel` are Slack's; until posted the one is empty, the other where it is to be posted. `helpful` and
    `not_helpful` count the people who said so, `fixed_by` is what a person noted as the cure, `reopened` how often it
    came back after it was closed; `refused_at` is when Slack refused its message for good, None when it did not or has
    taken it since.
    """

    id: str
    fingerprint: str
    lead_id: str
    opened_at: float
    updated_at: float
    count: int = 1
    revision: int = 1
    shown_revision: int = 0
    channel: str = ""
    message_ts: str = ""
    closed_at: float | None = None
    helpful: int = 0
    not_helpful: int = 0
    fixed_by: str = ""
    reopened: int = 0
    refused_at: float | None = None


@dataclasses.dataclass(frozen=True)
class Thread:
    """What is told in an incident's thread: `told` as noted last, empty at first; `dags` whose tasks joined, sorted."""

    told: str
    dags: tuple[str, ...]


class Joined(NamedTuple):
    """A try that joined an incident, and when it was diagnosed (Unix seconds)."""

    key: TaskKey
    at: float


class Store(Protocol):
    """What keeps claims, records, incidents, and for a while counters and texts; SQL and DynamoDB behave alike.

    Every call may raise `airflow_de_agent.core.errors.StoreError` when the store cannot be reached.
    """

    def claim(self, key: TaskKey, *, owner: str, now: float, stale_after: float) -> ClaimResult:
        """Take the sole right to diagnose a try.

        ``won``: it is the caller's (also when this owner took it before and did not finish, or another owner took it
        more than `stale_after` seconds ago and did not finish); ``held``: another owner is at work; ``done``: a record
        exists.
        """

    def add(self, record: Record, *, join: str = "", window: float) -> Incident:
        """Keep a record and join it to an incident, in one step; finishes the claim.

        The incident is `join` when given (an incident id), else the open one of the record's fingerprint that changed
        within `window` seconds before, else the one closed less than `REOPEN_SECONDS` before, which is open again then,
        else a new one. Adding the same record again replaces it and counts once.
        """

    def find(self, key: TaskKey) -> Record | None:
        """The record of one try."""

    def known(self, keys: Collection[TaskKey]) -> set[TaskKey]:
        """Those of the tries that have a record."""

    def get(self, diagnosis_id: str) -> Record | None:
        """The record of an id."""

    def recent(
        self, *, limit: int = 50, since: float = 0.0, dag_id: str = "", run_id: str = "", task_id: str = ""
    ) -> Sequence[Record]:
        """Records, newest first; `run_id` narrows a `dag_id`, `task_id` both."""

    def first_of_run(self, dag_id: str, run_id: str, *, limit: int = 20) -> Sequence[Record]:
        """The first records of a DAG run, oldest first."""

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> Sequence[Record]:
        """The records of all tries of one task instance, oldest first."""

    def earlier_incidents(self, fingerprint: str, *, since: float) -> Sequence[Incident]:
        """Incidents of one fingerprint opened since then, newest first."""

    def incident(self, incident_id: str) -> Incident | None:
        """One incident."""

    def undelivered(self, *, limit: int = 100) -> Sequence[Incident]:
        """Incidents whose message is absent or shows an older revision, oldest first; those refused come last."""

    def begin_post(
        self, incident_id: str, *, owner: str, now: float, stale_after: float, channel: str = ""
    ) -> PostTurn:
        """Take the sole right to post an incident's first message; `channel` is kept the first time.

        ``no``: another owner took it, or it was posted; ``again``: somebody took it before and may have posted without
        noting it (this owner, or another more than `stale_after` seconds ago), so look before posting.
        """

    def shown(self, incident_id: str, *, revision: int, channel: str = "", message_ts: str = "") -> None:
        """Note what the message and its thread now show; Slack has taken it."""

    def refused(self, incident_id: str, *, now: float) -> None:
        """Note that Slack refuses an incident's message for good, so that it waits behind all others."""

    def thread(self, incident_id: str) -> Thread:
        """What has been told in an incident's thread, and what there is to tell."""

    def begin_entry(self, incident_id: str, *, owner: str, now: float, stale_after: float) -> PostTurn:
        """Take the sole right to write into an incident's thread, until `end_entry`.

        ``no``: another owner has it; ``again``: whoever had it last may have written without noting it (this owner, or
        another more than `stale_after` seconds ago), so look before writing.
        """

    def end_entry(self, incident_id: str, *, told: str) -> None:
        """Note what has been told, and let others write."""

    def incident_of(self, channel: str, message_ts: str) -> Incident | None:
        """The incident that a message tells of."""

    def incidents(self, *, since: float, still_open: bool = False, limit: int = 1000) -> Sequence[Incident]:
        """Incidents opened since then, newest first; `still_open`: only those that are not closed."""

    def joined(self, incident_id: str) -> Sequence[Joined]:
        """All tries that joined an incident."""

    def vote(self, incident_id: str, *, person: str, vote: Vote) -> None:
        """Note whether the diagnosis helped a person; a later vote replaces the former, an empty one withdraws it."""

    def note_fix(self, incident_id: str, *, note: str) -> None:
        """Note what cured an incident; shown the next time its fingerprint fails."""

    def close(self, incident_id: str, *, now: float, count: int | None = None) -> bool:
        """Mark an open incident recovered, if its count is still `count` where one is given; whether it did."""

    def add_to_counter(self, name: str, amount: int, *, expires_at: float) -> int:
        """Add to a counter, atomically over all hosts; its new value.

        One that is absent or has expired begins at 0. It now expires at `expires_at` (Unix seconds, here and below).
        """

    def recall(self, key: str, *, now: float) -> str | None:
        """The text kept under a key, or None where there is none or it has expired."""

    def remember(self, key: str, text: str, *, expires_at: float) -> None:
        """Keep a text under a key; it replaces the former one. Texts and counters of one name are two things."""
