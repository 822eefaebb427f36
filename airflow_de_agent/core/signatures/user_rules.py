"""A user's own rows, from a YAML file that somebody else has read and parsed.

The file is a list, or a mapping with the key ``rules``, of mappings with the fields of `Signature`::

    rules:
      - name: acme.legacy_gateway
        category: external_service
        hints: ["gw-4711"]            # literal text; upper or lower case does not matter
        pattern: "GW-4711 at (?P<host>[\\w.-]{1,80})"
        cause: "The legacy gateway {host|} is down."
        steps: ["Call the gateway team, then clear the task."]

Only `name`, `category`, `hints` and `cause` are required; `strength` is 92 unless given, so that a user's row wins over
ours. Patterns are written by the operator of the installation, who is trusted; they run on bounded windows only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from airflow_de_agent.core.diagnosis import Category
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.signatures.signature import Signature

USER_STRENGTH = 92
_TEXTS = ("name", "category", "pattern", "cause", "transience")
_LISTS = ("hints", "steps", "unless", "needs", "operators", "frames")
_BARE = re.compile(r"\{(\w{1,40})\}")
_SEGMENT = re.compile(r"\[[^\]]*\]")  # goes as a whole when its value is unknown
_FOUND = ("object", "host", "frame", "table", "file", "line", "column")  # filled in from what stands near the match
_LITERALS = ("hints", "unless", "needs", "operators", "frames")


def user_rules(parsed: object) -> tuple[Signature, ...]:
    """The rows of a parsed YAML file; None (an empty file) gives none.

    Raises:
        SettingsError: with every mistake of the file, each naming its rule.
    """
    items = parsed.get("rules", ()) if isinstance(parsed, Mapping) else parsed
    if items is None:
        return ()
    if not isinstance(items, (list, tuple)):
        raise SettingsError(f"rules: expected a list of rules, got {type(items).__name__}")
    mistakes = [mistake for n, item in enumerate(items, 1) for mistake in _mistakes(n, item)]
    if mistakes:
        raise SettingsError("; ".join(mistakes))
    return tuple(_row(item) for item in items)


def _row(item: Mapping[str, Any]) -> Signature:
    values: dict[str, Any] = {name: item[name] for name in _TEXTS if name in item}
    for name in _LISTS:
        words = tuple(item.get(name, ()))
        values[name] = tuple(word.lower() for word in words) if name in _LITERALS else words
    strength = int(item.get("strength", USER_STRENGTH))
    return Signature(strength=strength, follows=bool(item.get("follows", False)), **values)


def _mistakes(number: int, item: object) -> list[str]:
    if not isinstance(item, Mapping):
        return [f"rule {number}: expected a mapping, got {type(item).__name__}"]
    label = f"rule {number} ({item.get('name', 'without name')})"
    found = [f"{label}: {name} is missing" for name in ("name", "category", "hints", "cause") if not item.get(name)]
    found += [f"{label}: {name} is not a field" for name in item if name not in Signature._fields]
    found += [f"{label}: {name} must be a text" for name in _TEXTS if not isinstance(item.get(name, ""), str)]
    found += [f"{label}: {name} must be a list of texts" for name in _LISTS if not _texts(item.get(name, []))]
    return found or _wrong_values(label, item)


def _texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(word, str) and word for word in value)


def _wrong_values(label: str, item: Mapping[str, Any]) -> list[str]:
    found = []
    categories = [category.value for category in Category]
    if item["category"] not in categories:
        found.append(f"{label}: category {item['category']!r} is none of {', '.join(categories)}")
    strength = item.get("strength", USER_STRENGTH)
    if isinstance(strength, bool) or not isinstance(strength, int) or not 1 <= strength <= 100:
        found.append(f"{label}: strength must be a number from 1 to 100")
    if item.get("transience", "") not in ("", "permanent", "transient", "unknown"):
        found.append(f"{label}: transience must be permanent, transient or unknown")
    try:
        captured = {name.rstrip("0123456789_") for name in re.compile(item.get("pattern", "")).groupindex}
    except re.error as exc:
        return [*found, f"{label}: pattern does not compile: {exc}"]
    return found + [
        mistake for text in (item["cause"], *item.get("steps", ())) for mistake in _holes(label, text, captured)
    ]


def _holes(label: str, text: str, captured: Collection[str]) -> list[str]:
    """What would stay empty in a sentence: a brace left open, or a name without words that nothing captures."""
    if text.count("{") != text.count("}"):
        return [f"{label}: a brace is left open in {text!r}"]
    empty = [name for name in _BARE.findall(_SEGMENT.sub("", text)) if name not in captured and name not in _FOUND]
    return [f"{label}: the pattern captures no {name}; name a group so, or write {{{name}|words}}" for name in empty]
