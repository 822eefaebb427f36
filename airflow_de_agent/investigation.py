"""The deeper answer after the first one: evidence from AWS, and a model's opinion on all there is, by one deadline.

Both are optional. What they could not read or say is a gap of the diagnosis; without either there is no investigation.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from airflow_de_agent.core import offline
from airflow_de_agent.core.bundle import Bundle, sent
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.fingerprint import fingerprint
from airflow_de_agent.core.opinion_cache import OpinionCache
from airflow_de_agent.core.prompt import Prompt, build
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.second_opinion import Complete, Opinion, second_opinion
from airflow_de_agent.core.signatures.signature import Signature
from airflow_de_agent.core.task_log import TaskLog
from airflow_de_agent.core.tool_request import ToolRequest
from airflow_de_agent.sources import Places

EDIT_SECONDS = 1.0  # kept for telling the answer


@dataclasses.dataclass(frozen=True)
class Model:
    """A model: `complete` within its budgets, `preload` to be run while evidence is read, `cache` of opinions."""

    complete: Complete
    preload: Callable[[], None]
    cache: Callable[[], OpinionCache]
    tool_rounds: int = 2


@dataclasses.dataclass(frozen=True)
class Investigation:
    """How to look deeper. `places` is None where AWS is not set up, `model` None where there is no key."""

    read_log: Callable[[TaskFailure], Iterable[bytes] | Evidence]
    places: Places | None
    model: Model | None
    log_token_budget: int = 4000
    extra_rules: Sequence[Signature] = ()

    def __call__(
        self, failure: TaskFailure, given: Sequence[Evidence] = (), *, seconds: float
    ) -> tuple[Diagnosis, Bundle]:
        """The best diagnosis that can be had within `seconds`, and what it was made from."""
        deadline = time.monotonic() + seconds - EDIT_SECONDS
        if self.model:
            threading.Thread(target=self.model.preload, daemon=True).start()
        rules, log, evidence = self.by_rules(failure, given, deadline=deadline)
        shown = (*offline.from_log(log)[:1], *evidence)
        if self.model is None:
            return rules, Bundle(failure, shown, rules)
        bundle = Bundle(failure, shown, rules)

        def ask() -> Opinion:
            return self._opinion(bundle, deadline)

        mark = fingerprint(failure, log, rules)
        opinion = self.model.cache().opinion(mark, failure, shown, rules, ask)
        return opinion.diagnosis, dataclasses.replace(bundle, sent=sent(opinion.exchanges))

    def ask(self, bundle: Bundle, *, seconds: float) -> Diagnosis:
        """The model's opinion on a stored bundle, whatever was answered before."""
        return self._opinion(bundle, time.monotonic() + seconds).diagnosis

    def by_rules(
        self, failure: TaskFailure, given: Sequence[Evidence] = (), *, deadline: float
    ) -> tuple[Diagnosis, TaskLog, tuple[Evidence, ...]]:
        """The rules' diagnosis with all evidence, the distilled log, and the evidence beside it."""
        redact = Redactor().redact
        found = self.read_log(failure)
        collected = self._collected(failure, found, deadline, redact)
        remote = next((item for item in collected if item.source == "task_log" and item.lines), None)
        chunks: Iterable[bytes] = ()
        if not isinstance(found, Evidence):
            chunks = found
        elif remote:
            chunks = ["\n".join(line.text for line in remote.lines).encode()]
        elif not any(item.source == "task_log" for item in collected):
            collected = (found, *collected)
        others = tuple(item for item in collected if item is not remote)
        evidence = (*given, *others)
        rules, log = offline.diagnose_log(
            chunks, failure, evidence, self.log_token_budget, redact=redact, extra_rules=self.extra_rules
        )
        return rules, log, evidence

    def answer(
        self, failure: TaskFailure, given: Sequence[Evidence], redact: offline.Redact, *, seconds: float
    ) -> tuple[Diagnosis, TaskLog]:
        """The diagnosis of a log file with the evidence at hand, whatever was answered before, and what was read."""
        found = self.read_log(failure)
        chunks: Iterable[bytes] = () if isinstance(found, Evidence) else found
        rules, log = offline.diagnose_log(chunks, failure, given, self.log_token_budget, redact=redact)
        shown = (*offline.from_log(log)[:1], *given)
        return self.ask(Bundle(failure, shown, rules), seconds=seconds), log

    def prompt(self, failure: TaskFailure, given: Sequence[Evidence] = (), *, seconds: float) -> Prompt:
        """What a model would be sent."""
        rules, log, evidence = self.by_rules(failure, given, deadline=time.monotonic() + seconds)
        return build(failure, (*offline.from_log(log)[:1], *evidence), rules)

    def _collected(
        self, failure: TaskFailure, found: Iterable[bytes] | Evidence, deadline: float, redact: Callable[[str], str]
    ) -> tuple[Evidence, ...]:
        if self.places is None:
            return ()
        from airflow_de_agent.collect import collect

        text = ""
        if not isinstance(found, Evidence):
            _, log = offline.diagnose_log(self._again(failure), failure, (), self.log_token_budget, redact=redact)
            text = log.text
        half = time.monotonic() + max((deadline - time.monotonic()) * (0.5 if self.model else 1.0), 1.0)
        return collect(failure, self.places, deadline=half, log=text, redact=redact)

    def _again(self, failure: TaskFailure) -> Iterable[bytes]:
        found = self.read_log(failure)
        return () if isinstance(found, Evidence) else found

    def _opinion(self, bundle: Bundle, deadline: float) -> Opinion:
        assert self.model is not None
        return second_opinion(
            bundle.failure,
            bundle.evidence,
            bundle.rules_diagnosis,
            complete=self.model.complete,
            deadline=deadline,
            clock=time.monotonic,
            run_tool=self._look(bundle.failure, deadline),
            tool_rounds=self.model.tool_rounds,
            today=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        )

    def _look(self, failure: TaskFailure, deadline: float) -> Callable[[ToolRequest], Evidence] | None:
        places = self.places
        if places is None:
            return None
        from airflow_de_agent.collect import look

        return lambda request: look(request, failure, places, deadline=deadline)
