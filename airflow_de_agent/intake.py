"""Spool entries into the agent: what one round of the drainer does.

Rules kept here: an entry is begun before the work and leaves after it; entries are worked on one by one, and one that
fails does not stop the rest; deeper looks run beside them, so that no first message waits for a model; an answer
comes within the deadline, which counts from the failure: what waited too long for a look is told to have had none.
"""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_de_agent.core.agent import Agent, StoreAway
from airflow_de_agent.core.bundle import Bundle
from airflow_de_agent.core.delivery import Posted
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.failure_text import redacted
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.spool import Entry, Spool

if TYPE_CHECKING:
    from airflow_de_agent.investigation import Found, Investigation

# A failed run is looked at a little later, so that the tasks' own, richer entries come first.
RUN_GRACE_SECONDS = 5.0
RETRY_SECONDS = 5.0
DELIVER_SECONDS = 1.0
TIRED_SECONDS = 60.0  # not sooner, or every capture would start a drainer while the token is wrong
AT_ONCE = 2
START_SECONDS = 5.0  # what a drainer may take to start; an entry older than that was left by another
NOT_LOOKED = "a deeper look (further evidence, a model): it would not have ended in time. Diagnose again to have it."


@dataclasses.dataclass
class Intake:
    """Takes entries from the spool; `idle_seconds` is how long the drainer may wait for the next."""

    spool: Spool
    agent: Agent
    investigation: Investigation | None
    idle_seconds: float
    deadline_seconds: float
    _not_before: dict[str, float] = dataclasses.field(default_factory=dict)
    _looking: dict[str, tuple[Entry, TaskFailure, Future[Found]]] = dataclasses.field(default_factory=dict)
    _pool: ThreadPoolExecutor | None = None
    _deliver_after: float = 0.0
    _telling: bool = False
    _fresh: list[Entry] = dataclasses.field(default_factory=list)
    _born: float = dataclasses.field(default_factory=time.time)

    def work(self) -> bool:
        """Handle every entry that is due, then bring messages up to date; whether there was anything to do."""
        done = 0
        for entry in self.spool.pending():
            done += self._due(entry) and self._take(entry)
            done += self._tended_looks()  # a storm's first messages take their time, which is the looks' time too
        self._fresh.clear()  # whatever still waits is seen in the spool
        done += self._tended_looks()
        delivered = time.time() >= self._deliver_after and self._delivered()
        return bool(done or delivered)

    @property
    def tired(self) -> bool:
        """Whether Slack refused our token: a drainer that is started anew gets a fresh one from the host."""
        return self.agent.delivery.unauthorised and time.time() - self._born > TIRED_SECONDS

    def _delivered(self) -> bool:
        self._deliver_after = time.time() + DELIVER_SECONDS  # the store is asked for what is due
        self._telling = False
        try:
            self._telling = self.agent.deliver_due()
        except Exception:  # one message that cannot be made must not end the drainer, and the next one
            self.agent.complain(f"messages could not be brought up to date:\n{traceback.format_exc()}")
            self._deliver_after = time.time() + RETRY_SECONDS
        return self._telling or self.agent.delivery.queued

    @property
    def busy(self) -> bool:
        """Whether deeper looks are under way, or messages wait for their second."""
        return self._telling or any(not look[2].done() or self._is_time(stem) for stem, look in self._looking.items())

    def has_news(self) -> bool:
        """Whether there is an entry that was not tried yet."""
        return any(_stem(entry) not in self._not_before for entry in self.spool.pending())

    def _due(self, entry: Entry) -> bool:
        stem = _stem(entry)
        if stem in self._looking or not self._is_time(stem):
            return False
        if entry.kind == "deep":
            return self._has_room or self._seconds_left(entry) < self._shortest_look
        return entry.kind != "run" or time.time() >= entry.written_at + RUN_GRACE_SECONDS

    def _is_time(self, stem: str) -> bool:
        return time.time() >= self._not_before.get(stem, 0.0)

    def _take(self, entry: Entry) -> bool:
        begun = self.spool.begin(entry)
        if begun is None:
            return False
        try:
            values = self.spool.read(begun)
            failures = _failures(begun, values)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            self._set_aside(begun, exc)
            return False
        try:
            settled = self._worked_on(begun, failures, values)
        except StoreAway as exc:
            self._keep_for_later(begun, values, exc)
            return False
        except Exception:  # one bad entry must not stop the rest; its attempt stays counted
            self._complain_of(begun)
            return False
        if settled is None:
            return True
        if settled:
            self.spool.finish(begun)
        else:
            self._later(begun)
        return settled

    def _worked_on(self, entry: Entry, failures: list[TaskFailure], values: Mapping[str, Any]) -> bool | None:
        """Whether the entry is dealt with; None while a deeper look at it is under way."""
        if entry.kind == "deep":
            return self._look(entry, failures[0])
        posted = Posted(**values["posted"]) if values.get("posted") else None
        again = bool(values.get("again"))
        return all([self._settled(entry, failure, again=again, posted=posted) for failure in failures])

    def _settled(self, entry: Entry, failure: TaskFailure, *, again: bool, posted: Posted | None) -> bool:
        outcome = self.agent.handle(failure, again=again, posted=posted)
        if self.investigation is not None and (outcome == "leads" or self._unlooked(entry, failure, outcome)):
            # after an outage late is better than never
            since = time.time() if _stem(entry) in self._not_before else entry.written_at
            path = self.spool.put("deep", {"failure": failure.to_json()}, since=since)
            self._fresh.append(Entry(path, "deep", 0, since))
        return outcome != "held"

    def _unlooked(self, entry: Entry, failure: TaskFailure, outcome: str) -> bool:
        """Whether an attempt that was cut short had told of a failure, and not asked for the deeper look at it."""
        tried = entry.attempts > 1 or _stem(entry) in self._not_before
        if outcome != "duplicate" or not tried or not self.agent.has_rules_only(failure):
            return False
        deep = [json.loads(one.path.read_bytes()) for one in self.spool.pending() if one.kind == "deep"]
        return list(failure.key) not in [values["failure"]["key"] for values in deep]

    # --- deeper looks ------------------------------------------------------------------------------------------------

    def _tended_looks(self) -> int:
        """Tell what looks have found, and begin those there is room for; how many ended."""
        over = [look for stem, look in self._looking.items() if look[2].done() and self._is_time(stem)]
        ended = sum([self._ended(*look) for look in over])
        while self._fresh and self._due(self._fresh[0]):
            self._take(self._fresh.pop(0))
        return ended

    @property
    def _has_room(self) -> bool:
        return sum(not future.done() for _, _, future in self._looking.values()) < AT_ONCE

    @property
    def _shortest_look(self) -> float:
        return self.deadline_seconds / 4  # a shorter one finds nothing

    def _seconds_left(self, entry: Entry) -> float:
        """Until the deadline, counted from the failure; from our start where another drainer left the entry behind."""
        left_behind = entry.written_at < self._born - START_SECONDS
        return (self._born if left_behind else entry.written_at) + self.deadline_seconds - time.time()

    def _look(self, entry: Entry, failure: TaskFailure) -> bool | None:
        if self.investigation is None:
            return True
        left = self._seconds_left(entry)
        if left < self._shortest_look:
            self._not_looked(failure)
            return True
        self._pool = self._pool or ThreadPoolExecutor(AT_ONCE, thread_name_prefix="de-agent-look")
        future = self._pool.submit(self.investigation, failure, seconds=left)
        self._looking[_stem(entry)] = (entry, failure, future)
        return None

    def _not_looked(self, failure: TaskFailure) -> None:
        """Say beside the first answer that it stays the only one."""
        try:
            first = self.agent.open_store().find(failure.key)
        except StoreError as exc:
            raise StoreAway(str(exc), None) from exc
        if first is not None:
            gaps = (*first.diagnosis.evidence_gaps, NOT_LOOKED)
            told = dataclasses.replace(first.diagnosis, evidence_gaps=gaps)
            self.agent.replace(failure, told, json.dumps(Bundle(failure, (), told).to_json()))

    def _ended(self, entry: Entry, failure: TaskFailure, future: Future[Found]) -> bool:
        del self._looking[_stem(entry)]
        try:
            found = future.result()
            self.agent.replace(failure, found.diagnosis, json.dumps(found.bundle.to_json()))
        except StoreAway as exc:  # what was found is kept: to look again would ask the model again
            self._looking[_stem(entry)] = (self._later(entry), failure, future)
            self.agent.complain(f"{exc}; what was found is kept and stored later")
            return False
        except Exception:  # as in `_take`: the first answer stands
            self._complain_of(entry)
        else:
            self.spool.finish(entry)
        return True

    # --- what did not go well ----------------------------------------------------------------------------------------

    def _set_aside(self, entry: Entry, exc: Exception) -> None:
        self.agent.complain(f"{entry.path.name} is set aside:\n{traceback.format_exc()}")
        self.spool.set_aside(entry, f"cannot be read: {type(exc).__name__}: {exc}")

    def _keep_for_later(self, entry: Entry, values: dict[str, Any], away: StoreAway) -> None:
        if away.posted is not None:
            try:
                self.spool.rewrite(entry, values | {"posted": dataclasses.asdict(away.posted)})
            except OSError as exc:  # the disk may be full: the agent remembers its message as long as it lives
                self.agent.complain(f"that a message was sent cannot be noted: {exc}")
        self.agent.complain(f"{away}; the entry is kept and tried again")
        self._later(entry)

    def _complain_of(self, entry: Entry) -> None:
        self.agent.complain(f"{entry.path.name} could not be worked on:\n{traceback.format_exc()}")
        self._not_before[_stem(entry)] = time.time() + RETRY_SECONDS

    def _later(self, entry: Entry) -> Entry:
        self._not_before[_stem(entry)] = time.time() + RETRY_SECONDS
        return self.spool.postpone(entry)


def _failures(entry: Entry, values: Mapping[str, Any]) -> list[TaskFailure]:
    """What an entry tells of.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not an entry of its kind.
    """
    redact = Redactor().redact  # not every host has done so: what enters here is stored, sent and shown
    if entry.kind != "run":
        return [redacted(TaskFailure.from_json(values["failure"]), redact)]
    states = {"run_state": values.get("run_state", ())}
    return [redacted(TaskFailure.from_json(states | item), redact) for item in values["failures"]]


def _stem(entry: Entry) -> str:
    """What stays of an entry's name while its attempts are counted."""
    return entry.path.name.partition(".")[0]
