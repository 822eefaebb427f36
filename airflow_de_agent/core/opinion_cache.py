"""The same failure an hour later costs nothing: an opinion kept for a while, and when it may be used again.

Rules kept here: the key holds what makes a failure the same (fingerprint, prompt version, the telling evidence with its
numbers masked); a kept opinion is used only if each of its quotes has a counterpart in the new evidence and its
sentence names no value that the new evidence lacks; its quotes are then those of the new evidence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from airflow_de_agent.core.diagnosis import Diagnosis, Quote
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.prompt import TELLING, VERSION, Prompt, build
from airflow_de_agent.core.proof import unseen_values
from airflow_de_agent.core.second_opinion import Opinion

_MASK = re.compile(r"\b[0-9a-f]{8,}\b|\d+", re.IGNORECASE)
_CHANGING = ("recent_runs",)  # grows with every run, also when nothing else changes


class Keeper(Protocol):
    """Where opinions are kept: text under a key until `expires_at` (Unix time). Both may raise `StoreError`."""

    def recall(self, key: str, *, now: float) -> str | None:
        """The text, unless it is absent or has expired."""

    def remember(self, key: str, text: str, *, expires_at: float) -> None:
        """Keep a text; a later one replaces it."""


@dataclasses.dataclass(frozen=True)
class OpinionCache:
    """Asks only what is not known. `now` gives Unix time; `seconds` is how long an opinion is good."""

    keeper: Keeper
    now: Callable[[], float]
    model: str
    seconds: float = 86400.0

    def opinion(
        self,
        fingerprint: str,
        failure: TaskFailure,
        evidence: Sequence[Evidence],
        rules: Diagnosis,
        ask: Callable[[], Opinion],
    ) -> Opinion:
        """The kept opinion where it fits the new evidence, else what `ask` gives, kept if a model made it."""
        key = cache_key(fingerprint, self.model, evidence)
        kept = self._recall(key)
        reused = reuse(kept, rules, build(failure, evidence, rules)) if kept else None
        if reused:
            return Opinion(reused)
        fresh = ask()
        if fresh.diagnosis.engine == "gemini":
            self._remember(key, fresh.diagnosis)
        return fresh

    def _recall(self, key: str) -> Diagnosis | None:
        try:
            text = self.keeper.recall(key, now=self.now())
            return Diagnosis.from_json(json.loads(text)) if text else None
        except (StoreError, ValueError):
            return None

    def _remember(self, key: str, diagnosis: Diagnosis) -> None:
        try:
            self.keeper.remember(key, json.dumps(diagnosis.to_json()), expires_at=self.now() + self.seconds)
        except StoreError:
            return


def cache_key(fingerprint: str, model: str, evidence: Iterable[Evidence]) -> str:
    """Thirty-two hexadecimal digits."""
    parts = {f"{item.source}|{item.status}" for item in evidence}
    for item in evidence:
        if item.source not in _CHANGING:
            parts |= {f"{item.source}|{_masked(text)}" for text in _telling(item)}
    text = "\n".join([fingerprint, VERSION, model, *sorted(parts)])
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def reuse(kept: Diagnosis, rules: Diagnosis, prompt: Prompt) -> Diagnosis | None:
    """The kept opinion upon the new evidence (as `prompt` would show it), or None where it does not fit.

    It costs no tokens; history and gaps are those of the new `rules` diagnosis.
    """
    quotes = [_counterpart(quote, prompt.evidence) for quote in kept.evidence]
    moved = tuple(quote for quote in quotes if quote is not None)
    if len(moved) < len(quotes) or unseen_values(kept.root_cause, prompt):
        return None
    return dataclasses.replace(
        kept,
        evidence=moved,
        evidence_gaps=rules.evidence_gaps,
        similar=rules.similar,
        tokens=0,
        model_call={**kept.model_call, "calls": 0, "cost_usd": 0.0, "cached": True},
    )


def _telling(item: Evidence) -> list[str]:
    telling = [line.text for line in item.lines if TELLING.search(line.text)]
    return telling or [line.text for line in item.lines]


def _masked(text: str) -> str:
    return " ".join(_MASK.sub("0", text).split())


def _counterpart(quote: Quote, evidence: Sequence[Evidence]) -> Quote | None:
    """The same words, numbers aside, where they stand in the new evidence."""
    words = [re.escape(word) for word in _MASK.sub("\0", quote.quote).split()]
    pattern = re.compile(r"\s*".join(words).replace("\0", r"[0-9a-fA-F]+"))
    for item in evidence:
        if item.source == quote.source:
            for line in reversed(item.lines):
                match = pattern.search(line.text)
                if match:
                    return Quote(quote.source, match.group(), line.number)
    return None
