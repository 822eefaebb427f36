"""What proves a model's answer: its quotes, found again in the evidence that it was shown, and its values.

Rules kept here: a quote that is shown stands, white space apart, in one line of the source that it names; what does
not is dropped, and the confidence falls for it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_de_agent.core.diagnosis import Category, Diagnosis, Quote, check_quotes
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.untrusted import gives_orders, plain_piece

_LEAST = 6  # shorter pieces ("0", "at") prove nothing
_MOST = 8
_NOWHERE = "\0"  # stands in no line, so that the quote is dropped and counted


def quotes(items: Iterable[Any], evidence: Sequence[Evidence]) -> list[Quote]:
    """A model's quotes, each at the place where it really stands; one that stands nowhere is left for `weigh`."""
    given = [item for item in list(items)[:_MOST] if isinstance(item, dict) and isinstance(item.get("quote"), str)]
    return list(dict.fromkeys(_placed(item, evidence) for item in given))


def _placed(item: dict[str, Any], evidence: Sequence[Evidence]) -> Quote:
    named, claimed = str(item.get("source", "")), item.get("line")
    quote = plain_piece(item["quote"])
    squeezed = "".join(quote.split())
    if len(squeezed) < _LEAST or gives_orders(item["quote"]):
        return Quote(named, _NOWHERE)
    places = [
        (source.source, line.number)
        for source in evidence
        for line in source.lines
        if squeezed in "".join(line.text.split())
    ]
    # the place that it names, else the last line of the source that it names, else of another: models confuse both
    best = max(places, key=lambda place: (place == (named, claimed), place[0] == named), default=None)
    if best is None:
        return Quote(named, _NOWHERE)
    last = best[1] if best == (named, claimed) else [number for source, number in places if source == best[0]][-1]
    return Quote(best[0], quote, last)


def weigh(diagnosis: Diagnosis, prompt: Prompt) -> Diagnosis:
    """Drop quotes that stand nowhere; lower the confidence for what no line shows."""
    checked = check_quotes(diagnosis, prompt.evidence)
    unseen = unseen_values(checked.root_cause, prompt)
    if unseen:
        checked = _less(checked, 0.7, f"The evidence does not show {', '.join(unseen[:3])}.")
    if not checked.evidence and checked.category is not Category.UNKNOWN:
        checked = _less(checked, 0.5, "No quote proves it.")
    return checked


def _less(diagnosis: Diagnosis, factor: float, why: str) -> Diagnosis:
    return dataclasses.replace(
        diagnosis,
        confidence=round(diagnosis.confidence * factor, 2),
        confidence_why=f"{diagnosis.confidence_why} {why}".strip(),
    )


_VALUE = re.compile(r"(?<![\w.])[\w./:-]*\d[\w./:%-]*|'[^']{2,80}'|\"[^\"]{2,80}\"")
_LINE_NUMBER = re.compile(r"^ *\d+\| ", re.MULTILINE)


def unseen_values(text: str, prompt: Prompt) -> list[str]:
    """Numbers and quoted names in a sentence that neither the evidence nor the failure shows."""
    shown = _comparable(_LINE_NUMBER.sub("", prompt.text))
    values = dict.fromkeys(match.group().strip("'\".:;%()") for match in _VALUE.finditer(_comparable(text)))
    return [value for value in values if len(value) > 1 and not _stands_in(value, shown)]


def _comparable(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())


def _stands_in(value: str, shown: str) -> bool:
    edge = r"\d" if value.isdigit() else r"\w"
    return bool(re.search(rf"(?<!{edge}){re.escape(value)}(?!{edge})", shown))
