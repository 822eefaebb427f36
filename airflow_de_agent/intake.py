"""Spool entries into the agent: what one round of the drainer does."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_de_agent.core.agent import Agent, Posted, StoreAway
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.spool import Entry, Spool

# A failed run is looked at a little later, so that the tasks' own, richer entries come first.
RUN_GRACE_SECONDS = 5.0
RETRY_SECONDS = 5.0


@dataclasses.dataclass
class Intake:
    """Takes entries from the spool one by one; `idle_seconds` is how long the drainer may wait for the next."""

    spool: Spool
    agent: Agent
    idle_seconds: float
    _not_before: dict[str, float] = dataclasses.field(default_factory=dict)

    def work(self) -> bool:
        """Handle every entry that is due, then bring messages up to date; whether there was anything to do."""
        done = sum(self._take(entry) for entry in self.spool.pending() if self._due(entry))
        delivered = self.agent.deliver_due()
        return bool(done) or delivered

    def has_news(self) -> bool:
        """Whether there is an entry that was not tried yet."""
        return any(_stem(entry) not in self._not_before for entry in self.spool.pending())

    def _due(self, entry: Entry) -> bool:
        grace = RUN_GRACE_SECONDS if entry.kind == "run" else 0.0
        return time.time() >= max(entry.written_at + grace, self._not_before.get(_stem(entry), 0.0))

    def _take(self, entry: Entry) -> bool:
        begun = self.spool.begin(entry)
        if begun is None:
            return False
        try:
            values = self.spool.read(begun)
            if begun.kind == "run":
                settled = all([self._settled(failure) for failure in run_failures(values)])
            else:
                settled = self._settled(TaskFailure.from_json(values["failure"]), values)
        except (ValueError, KeyError, TypeError) as exc:
            self.spool.set_aside(begun, f"cannot be read: {type(exc).__name__}: {exc}")
            return False
        except StoreAway as exc:
            self._keep_for_later(begun, values, exc)
            return False
        except Exception:  # one bad entry must not stop the rest; its attempt stays counted
            self.agent.complain(f"{begun.path.name} could not be worked on:\n{traceback.format_exc()}")
            self._not_before[_stem(begun)] = time.time() + RETRY_SECONDS
            return False
        if settled:
            self.spool.finish(begun)
            return True
        self._later(begun)
        return False

    def _settled(self, failure: TaskFailure, values: Mapping[str, Any] | None = None) -> bool:
        values = values or {}
        posted = Posted(**values["posted"]) if values.get("posted") else None
        return self.agent.handle(failure, again=bool(values.get("again")), posted=posted) != "held"

    def _keep_for_later(self, entry: Entry, values: dict[str, Any], away: StoreAway) -> None:
        if away.posted is not None and entry.kind == "task":
            self.spool.rewrite(entry, values | {"posted": dataclasses.asdict(away.posted)})
        self.agent.complain(f"{away}; the entry is kept and tried again")
        self._later(entry)

    def _later(self, entry: Entry) -> None:
        self._not_before[_stem(entry)] = time.time() + RETRY_SECONDS
        self.spool.postpone(entry)


def _stem(entry: Entry) -> str:
    """What stays of an entry's name while its attempts are counted."""
    return entry.path.name.partition(".")[0]


def run_failures(values: Mapping[str, Any]) -> Iterable[TaskFailure]:
    """The failed tries of a failed run.

    Raises:
        KeyError, TypeError, ValueError: the entry is not one of a run.
    """
    return [TaskFailure.from_json(failure) for failure in values["failures"]]
