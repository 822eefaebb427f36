"""Troubles that were got over: what they say of themselves, and how much of its weight each keeps as a cause."""

from __future__ import annotations

import re

RECOVERED = 0.75
_CURED = 0.7
_BESIDE_WEIGHT = 0.35

_TRIED_AGAIN = ("retrying", "will retry", "retry in", "retry after", "retries left", "retried once", "backing off")
# What was got over, though often badly: what it fell back to may be missing what the end then lacks.
_RECOVERED = (
    "recovered",
    "succeeded",
    "falling back",
    "fallback",
    "continuing",
    "optional",
    "deprecat",
    "futurewarning",
    "previous attempt",
    "earlier attempt",
    "ignored",
    "ignoring",
    "on retry",
    "call ok",
    "attempt ok",
    "try ok",
    "poke normal",
    "retry worked",
    "second try worked",
)
# What fails no task: it is reported on the side, or said not to matter.
_BESIDE = (
    "statsd",
    "statsclient",
    "telemetry",
    "lineage",
    "push metric",
    "emit metric",
    "send metric",
    "metrics are",
    "notice not posted",
    "notification",
    "notifier",
    "event dropped",
    "non-fatal",
    "best-effort",
    "best effort",
    "not critical",
    "harmless",
    "skip_list",
    "skipped on purpose",
    "not ours",
    "tolerated",
    "within tolerance",
    "(expected",
    "known issue",
    "can be ignored",
    "safe to ignore",
    "safely ignore",
    "retry succeeded",
    "picked up java_tool_options",
    "picked up _java_options",
)
_FINAL = (
    "not retrying",
    "no retries left",
    "no more retries",
    "retries exhausted",
    "giving up",
    "will not retry",
    "retry(total=0",
)
_RETRIED = re.compile(r"\bretry #?\d{1,3} ?(?:of|/|\))")


def share(text: str, repeated: bool) -> float:
    """How much of its weight a trouble keeps that was got over, as it says or as a retry did not repeat it."""
    lowered = text[:2000].lower()
    if any(word in lowered for word in _FINAL):
        return 1.0
    if any(word in lowered for word in _BESIDE):
        return _BESIDE_WEIGHT
    if any(word in lowered for word in _RECOVERED):
        return RECOVERED
    tried = any(word in lowered for word in _TRIED_AGAIN) or _RETRIED.search(lowered) is not None
    return _CURED if tried and not repeated else 1.0
