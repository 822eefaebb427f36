"""The deeper answer after the first one: evidence from AWS, and a model's opinion on all there is, by one deadline.

Both are optional. What they could not read or say is a gap of the diagnosis; without either there is no investigation.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

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
from airflow_de_agent.core.task_log import TaskLog, distil
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


class Found(NamedTuple):
    """A diagnosis, what it was made from, and the fingerprint of its cause."""

    diagnosis: Diagnosis
    bundle: Bundle
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Investigation:
    """How to look deeper. `places` is None where AWS is not set up, `model` None where there is no key."""

    read_log: Callable[[TaskFailure], Iterable[bytes] | Evidence]
    places: Places | None
    model: Model | None
    log_token_budget: int = 4000
    extra_rules: Sequence[Signature] = ()

    def __call__(self, failure: TaskFailure, given: Sequence[Evidence] = (), *, seconds: float) -> Found:
        """The best diagnosis that can be had within `seconds`."""
        deadline = time.monotonic() + seconds - EDIT_SECONDS
        if self.model:
            threading.Thread(target=self.model.preload, daemon=True).start()
        bundle, log = self._by_rules(failure, given, Redactor().redact, deadline)
        rules = bundle.rules_diagnosis
        mark = fingerprint(failure, log, rules)
        if self.model is None:
            return Found(rules, bundle, mark)

        def ask() -> Opinion:
            return self._opinion(bundle, deadline)

        opinion = self.model.cache().opinion(mark, failure, bundle.evidence, rules, ask)
        return Found(opinion.diagnosis, dataclasses.replace(bundle, sent=sent(opinion.exchanges)), mark)

    def ask(self, bundle: Bundle, *, seconds: float) -> Diagnosis:
        """The model's opinion on a stored bundle, whatever was answered before."""
        return self._opinion(bundle, time.monotonic() + seconds).diagnosis

    def answer(
        self, failure: TaskFailure, given: Sequence[Evidence], redact: offline.Redact, *, seconds: float
    ) -> tuple[Diagnosis, TaskLog]:
        """The model's diagnosis, whatever was answered before, and the distilled log.

        `redact` is the one that `given` went through, so that equal secrets keep equal placeholders.
        """
        deadline = time.monotonic() + seconds
        bundle, log = self._by_rules(failure, given, redact, deadline)
        return self._opinion(bundle, deadline).diagnosis, log

    def prompt(self, failure: TaskFailure, given: Sequence[Evidence] = (), *, seconds: float) -> Prompt:
        """What a model would be sent."""
        bundle, _ = self._by_rules(failure, given, Redactor().redact, time.monotonic() + seconds)
        return build(failure, bundle.evidence, bundle.rules_diagnosis)

    def _by_rules(
        self, failure: TaskFailure, given: Sequence[Evidence], redact: offline.Redact, deadline: float
    ) -> tuple[Bundle, TaskLog]:
        """The rules' diagnosis with all evidence, and the distilled log, of this host or of CloudWatch."""
        found = self.read_log(failure)
        log = self._distilled(() if isinstance(found, Evidence) else found, redact)
        collected = self._collected(failure, log.text, redact, deadline)
        remote = next((item for item in collected if item.source == "task_log" and item.lines), None)
        if isinstance(found, Evidence):
            if remote:
                log = self._distilled(["\n".join(line.text for line in remote.lines).encode()], redact)
            elif not any(item.source == "task_log" for item in collected):
                collected = (found, *collected)
        evidence = (*given, *(item for item in collected if item is not remote))
        rules = offline.diagnose(log, failure, evidence, self.extra_rules)
        return Bundle(failure, (*offline.from_log(log)[:1], *evidence), rules), log

    def _distilled(self, chunks: Iterable[bytes], redact: offline.Redact) -> TaskLog:
        return distil(chunks, redact=redact, budget=self.log_token_budget)

    def _collected(
        self, failure: TaskFailure, log: str, redact: offline.Redact, deadline: float
    ) -> tuple[Evidence, ...]:
        if self.places is None:
            return ()
        from airflow_de_agent.collect import collect

        half = time.monotonic() + max((deadline - time.monotonic()) * (0.5 if self.model else 1.0), 1.0)
        return collect(failure, self.places, deadline=half, log=log, redact=redact)

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
