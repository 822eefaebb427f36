"""The path of a failure, from a captured try to the message that tells of it.

Rules kept here: a try is claimed before any work; a diagnosis is stored before it is shown, and shown even when it
cannot be stored. How incidents become messages is `delivery`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from airflow_de_agent.core import offline
from airflow_de_agent.core.bundle import KEPT_SECONDS, kept_as
from airflow_de_agent.core.delivery import Delivery, Posted
from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.fingerprint import fingerprint
from airflow_de_agent.core.history import earlier
from airflow_de_agent.core.incident import Record, Store
from airflow_de_agent.core.plain import seconds_since
from airflow_de_agent.core.signatures.signature import Signature

# "leads": diagnosed, and it speaks for its incident; "joined": diagnosed, and another speaks for both
Outcome = Literal["leads", "joined", "duplicate", "held"]
CLAIM_STALE_SECONDS = 120.0


class StoreAway(Exception):
    """The store was out of reach: what was `posted` meanwhile belongs to the entry, which is to be handled again."""

    def __init__(self, reason: str, posted: Posted | None) -> None:
        super().__init__(reason)
        self.posted = posted


@dataclasses.dataclass
class Agent:
    """Diagnoses failures and tells of them. Its parts are plain callables, chosen in `bootstrap`.

    `read_log` gives the task log as byte chunks, or the Evidence that says why there is none; `note` keeps a line of
    each diagnosis for whoever watches the agent.
    """

    open_store: Callable[[], Store]
    read_log: Callable[[TaskFailure], Iterable[bytes] | Evidence]
    delivery: Delivery
    clock: Callable[[], float]
    complain: Callable[[str], None]
    note: Callable[[str], None]
    owner: str
    incident_seconds: float = 3600.0
    log_token_budget: int = 4000
    extra_rules: Sequence[Signature] = ()

    def handle(self, failure: TaskFailure, *, again: bool = False, posted: Posted | None = None) -> Outcome:
        """Diagnose one try once (`again`: on request, anew) and tell of it.

        Raises:
            StoreAway: the diagnosis was sent but could not be stored.
        """
        if posted is not None:
            self.delivery.remember(posted)
        try:
            store = self.open_store()
            outcome, earlier = self._claimed(store, failure, again)
            if outcome is not None:
                return outcome
            return self._diagnosed(store, failure, earlier)
        except StoreError as exc:
            raise StoreAway(str(exc), self._tell_without_store(failure)) from exc

    def _claimed(self, store: Store, failure: TaskFailure, again: bool) -> tuple[Outcome | None, Record | None]:
        """What is settled already, else None; and the earlier record that a richer entry is about to replace."""
        if not failure.try_is_known and _told_before(store, failure):
            return "duplicate", None
        claim = store.claim(failure.key, owner=self.owner, now=self.clock(), stale_after=CLAIM_STALE_SECONDS)
        if claim == "held":
            return "held", None
        earlier = store.find(failure.key) if claim == "done" and not again else None
        if earlier is not None and earlier.failure.richness >= failure.richness:
            return "duplicate", None
        return None, earlier

    def _diagnosed(self, store: Store, failure: TaskFailure, earlier: Record | None) -> Outcome:
        siblings = _failed_before(store, failure)
        cause = _first_failure(failure, siblings)
        diagnosis, mark = self.diagnose(failure, siblings)
        if earlier is not None and earlier.diagnosis.engine != "rules":
            diagnosis = earlier.diagnosis  # a model's words stand until it has looked at what is new
        diagnosis = self._with_history(store, diagnosis, mark, failure)
        record = Record(failure, diagnosis, mark, self.clock())
        incident = store.add(record, join=cause.incident_id if cause else "", window=self.incident_seconds)
        self.note(_told_of(record))
        self.delivery.tell(store, self.delivery.adopt(store, incident))
        return "leads" if incident.lead_id == record.id else "joined"

    def replace(self, failure: TaskFailure, diagnosis: Diagnosis, bundle: str) -> None:
        """Put a deeper diagnosis in the place of the first, keep what it was made from, and tell of it.

        Raises:
            StoreAway: the store is out of reach; it is to be tried again.
        """
        try:
            store = self.open_store()
            now = self.clock()
            store.remember(kept_as(failure.key.diagnosis_id), bundle, expires_at=now + KEPT_SECONDS)
            first = store.find(failure.key)
            mark = first.fingerprint if first else ""
            diagnosis = self._with_history(store, diagnosis, mark, failure)
            record = Record(failure, diagnosis, mark, now)
            incident = store.add(record, window=self.incident_seconds)
            self.note(_told_of(record))
            self.delivery.tell(store, incident)
        except StoreError as exc:
            raise StoreAway(str(exc), None) from exc

    def has_rules_only(self, failure: TaskFailure) -> bool:
        """Whether a failure that leads its incident was told of by the rules alone.

        Raises:
            StoreAway: the store is out of reach; it is to be tried again.
        """
        try:
            store = self.open_store()
            record = store.find(failure.key)
            incident = store.incident(record.incident_id) if record else None
        except StoreError as exc:
            raise StoreAway(str(exc), None) from exc
        leads = record is not None and incident is not None and incident.lead_id == record.id
        return record is not None and leads and record.diagnosis.engine == "rules"

    def diagnose(self, failure: TaskFailure, siblings: Sequence[Record] = ()) -> tuple[Diagnosis, str]:
        """The offline diagnosis of a failure and its fingerprint; stores and sends nothing."""
        log = self.read_log(failure)
        evidence = _run_state(failure, siblings)
        chunks: Iterable[bytes] = ()
        if isinstance(log, Evidence):
            evidence.append(log)
        else:
            chunks = log
        diagnosis, distilled = offline.diagnose_log(
            chunks, failure, evidence, self.log_token_budget, extra_rules=self.extra_rules
        )
        cause = _first_failure(failure, siblings)
        if cause and diagnosis.category is Category.UPSTREAM_FAILURE and not diagnosis.root_cause_task:
            diagnosis = dataclasses.replace(diagnosis, root_cause_task=cause.failure.key.task_id)
        return diagnosis, fingerprint(failure, distilled, diagnosis)

    def _with_history(self, store: Store, diagnosis: Diagnosis, mark: str, failure: TaskFailure) -> Diagnosis:
        now = self.clock()
        similar = earlier(store, mark, failure.key, now=now, incident_seconds=self.incident_seconds)
        return dataclasses.replace(diagnosis, similar=similar, seconds=seconds_since(failure, now))

    def deliver_due(self) -> bool:
        """Bring the messages of all incidents up to date; whether more is to do soon."""
        try:
            return self.delivery.deliver_due(self.open_store())
        except StoreError as exc:
            self.complain(str(exc))
            return False

    def _tell_without_store(self, failure: TaskFailure) -> Posted | None:
        """Send the diagnosis though it cannot be kept."""
        diagnosis, mark = self.diagnose(failure)
        now = self.clock()
        diagnosis = dataclasses.replace(diagnosis, seconds=seconds_since(failure, now))
        return self.delivery.tell_without_store(Record(failure, diagnosis, mark, now))


def _told_of(record: Record) -> str:
    """Whether the agent succeeded, in a line."""
    diagnosis = record.diagnosis
    word = "succeeded" if diagnosis.succeeded else "failed"
    return (
        f"diagnosis {record.id} {word}: {diagnosis.category.value}, {diagnosis.confidence:.2f} sure, by "
        f"{diagnosis.engine}, {diagnosis.seconds:.1f} s after the failure"
    )


def _told_before(store: Store, failure: TaskFailure) -> bool:
    """Whether some try of this task instance has been diagnosed: the host that names no try may mean that one."""
    return bool(store.tries(*failure.key[:4]))


def _failed_before(store: Store, failure: TaskFailure) -> list[Record]:
    """The first failures of the same run, where they may be the cause of this one."""
    if not failure.upstream_task_ids:
        return []
    first = store.first_of_run(failure.key.dag_id, failure.key.run_id)
    return [record for record in first if record.failure.key != failure.key]


def _first_failure(failure: TaskFailure, siblings: Sequence[Record]) -> Record | None:
    """The record of the earliest failed task that this one depends on."""
    upstream = [r for r in siblings if r.failure.key.task_id in failure.upstream_task_ids]
    return min(upstream, key=lambda r: r.failure.failed_at, default=None)


def _run_state(failure: TaskFailure, siblings: Sequence[Record]) -> list[Evidence]:
    """The states of the run as far as they are known: the host's, and those of tries diagnosed before."""
    rows = {(s.task_id, s.map_index): dataclasses.asdict(s) for s in failure.run_state}
    for record in siblings:
        key = record.failure.key
        rows.setdefault(
            (key.task_id, key.map_index),
            {"task_id": key.task_id, "map_index": key.map_index, "state": "failed", "try_number": key.try_number,
             "end_date": record.failure.failed_at},
        )  # fmt: skip
    return [Evidence.of_rows("run_state", list(rows.values()))] if rows else []
