"""The form of a model's answer, and what of it may be believed.

Rules kept here: whatever text a service returns becomes an `Answer` or an `Unusable`, never an exception; every string
that leaves is plain; every quote stands in the evidence that was shown, on the line that it names.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.proof import quotes, weigh
from airflow_de_agent.core.tool_request import TOOLS
from airflow_de_agent.core.untrusted import gives_orders, pings, plain, planted_hosts

_TRANSIENCE = ("permanent", "transient", "unknown")
_SAFE = ("yes", "no", "unknown")


def _text(description: str = "") -> dict[str, Any]:
    return {"type": "STRING", "description": description} if description else {"type": "STRING"}


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "ARRAY", "items": items, "maxItems": most}


def _object(required: Sequence[str], **properties: dict[str, Any]) -> dict[str, Any]:
    order = list(properties)
    return {"type": "OBJECT", "properties": properties, "required": list(required), "propertyOrdering": order}


_QUOTE = _object(("source", "quote"), source=_text(), line={"type": "INTEGER"}, quote=_text())
_FIELDS: dict[str, dict[str, Any]] = {
    "evidence": _list(_QUOTE, 5),
    "root_cause": _text("one sentence"),
    "category": {"type": "STRING", "enum": [category.value for category in Category]},
    "root_cause_task": _text("the task_id where the cause lies"),
    "transience": {"type": "STRING", "enum": list(_TRANSIENCE)},
    "rerun_is_safe": {"type": "STRING", "enum": list(_SAFE)},
    "rerun_is_safe_why": _text(),
    "confidence": {"type": "NUMBER", "minimum": 0, "maximum": 1},
    "confidence_why": _text(),
    "evidence_gaps": _list(_text(), 3),
    "next_steps": _list(_text(), 4),
}
_REQUIRED = [name for name in _FIELDS if name not in ("root_cause_task", "evidence_gaps")]
# The published OpenAPI subset of Gemini's `responseSchema`, which every SDK version passes on.
SCHEMA = _object(_REQUIRED, **_FIELDS)
SCHEMA_WITH_TOOLS = _object(
    _REQUIRED,
    **_FIELDS,
    look_further=_object(("tool",), tool={"type": "STRING", "enum": list(TOOLS)}, argument=_text()),
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A checked answer. `look_further` is the tool that the model asks for and its argument, or None."""

    diagnosis: Diagnosis
    look_further: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Unusable:
    """Why a text is no answer, as half a sentence; `final` when asking again would not help."""

    why: str
    final: bool = False


_SIZE_LIMIT = 64_000


def parse(text: str, prompt: Prompt) -> Answer | Unusable:
    """Read and check a model's text against the evidence that its prompt showed."""
    values = _json_object(text)
    if isinstance(values, Unusable):
        return values
    why = _misfit(values)
    if why:
        return Unusable(why)
    hosts = planted_hosts(prompt.withheld)
    if pings(text, hosts):
        return Unusable("it carried a mention or a planted link, so it was not trusted", final=True)
    diagnosis = _diagnosis(values, prompt, hosts)
    return Answer(weigh(diagnosis, prompt), _look_further(values.get("look_further")))


def _json_object(text: str) -> dict[str, Any] | Unusable:
    if len(text) > _SIZE_LIMIT:
        return Unusable(f"it was {len(text):,} characters long")
    start = text.find("{")
    try:
        values, _ = json.JSONDecoder().raw_decode(text, start) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        return Unusable("it was not valid JSON")
    return values if isinstance(values, dict) else Unusable("it was not a JSON object")


def _misfit(values: Mapping[str, Any]) -> str:
    """What breaks the form; empty when nothing does."""
    category, cause = values.get("category"), values.get("root_cause")
    if category not in {item.value for item in Category}:
        return "category was none of the given ones"
    if not isinstance(cause, str) or not cause.strip():
        return "root_cause was empty"
    confidence = values.get("confidence", 0.5)
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
        return "confidence was not a number from 0 to 1"
    if not all(isinstance(values.get(name, []), list) for name in ("evidence", "next_steps", "evidence_gaps")):
        return "evidence, next_steps or evidence_gaps was not a list"
    if not _is_english(cause):
        return "root_cause was not in English"
    return ""


_ENGLISH = re.compile(
    r"\b(?:the|a|an|is|was|are|to|of|in|and|for|not|by|on|with|no|has|because|from|at|could|failed)\b", re.IGNORECASE
)
_FOREIGN = re.compile(
    r"\b(?:der|die|das|und|nicht|ist|ein|eine|weil|wegen|el|la|los|las|de|que|por|una|le|les|des|est|pas|un|une|il|di"
    r"|che|per|da|não|em|uma|foi|het|een|niet|voor)\b",
    re.IGNORECASE,
)


def _is_english(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    if sum(char > "\u024f" for char in letters) > len(letters) / 5:
        return False
    return len(_FOREIGN.findall(text)) <= len(_ENGLISH.findall(text)) + 1


def _diagnosis(values: Mapping[str, Any], prompt: Prompt, hosts: frozenset[str]) -> Diagnosis:
    def said(name: str, limit: int) -> str:
        value = values.get(name)
        return plain(value, limit, hosts) if isinstance(value, str) else ""

    def listed(name: str, most: int) -> tuple[str, ...]:
        items = (plain(item, 300, hosts) for item in values.get(name, ()) if isinstance(item, str))
        return tuple(item for item in items if item and not gives_orders(item))[:most]

    def one_of(name: str, allowed: Sequence[str]) -> str:
        return str(values[name]) if values.get(name) in allowed else "unknown"

    return Diagnosis(
        category=Category(values["category"]),
        root_cause=said("root_cause", 400),
        root_cause_task=said("root_cause_task", 250),
        transience=one_of("transience", _TRANSIENCE),
        rerun_is_safe=one_of("rerun_is_safe", _SAFE),
        rerun_is_safe_why=said("rerun_is_safe_why", 300),
        confidence=round(float(values.get("confidence", 0.5)), 2),
        confidence_why=said("confidence_why", 300),
        evidence=tuple(quotes(values.get("evidence", ()), prompt.evidence)),
        evidence_gaps=tuple(f"model: {item}" for item in listed("evidence_gaps", 3)),
        next_steps=listed("next_steps", 4),
        engine="gemini",
    )


def _look_further(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, dict) or value.get("tool") not in TOOLS:
        return None
    argument = value.get("argument")
    return str(value["tool"]), argument.strip()[:250] if isinstance(argument, str) else ""
