"""Slack's published limits and what may stand in a message, checked from the outside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_OUR_LINK = re.compile(r"<https?://[^<>|\s]+\|[^<>|]*>")
_ENTITY = re.compile(r"&(?:amp|lt|gt);")


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def texts(blocks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Every text that Slack would render."""
    for block in blocks:
        yield from (part["text"] for part in [block.get("text"), *block.get("elements", ())] if _is_text(part))


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def broken(blocks: Sequence[dict[str, Any]], text: str) -> list[str]:
    """Which limits a message breaks; none when Slack would take it."""
    shown = list(texts(blocks))
    wrong = ["more than 50 blocks"] * (len(blocks) > 50) + ["no block"] * (not blocks)
    wrong += ["a text is empty"] * any(not part.strip() for part in shown)
    wrong += ["a text is longer than 3,000"] * any(units(part) > 3000 for part in shown)
    wrong += ["all texts are longer than 12,000"] * (sum(map(units, shown)) > 12_000)
    wrong += ["the fallback is empty or longer than 3,000"] * (not 0 < units(text) <= 3000)
    for block in blocks:
        wrong += _broken_block(block)
    try:
        json.dumps([text, *blocks], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        wrong.append("it cannot be written as UTF-8")
    return wrong


def _broken_block(block: dict[str, Any]) -> list[str]:
    kind, elements = block["type"], block.get("elements", [])
    wrong = ["a block_id is longer than 255"] * (len(block.get("block_id", "")) > 255)
    wrong += ["a header is longer than 150"] * (kind == "header" and units(block["text"]["text"]) > 150)
    wrong += ["a context has none or more than 10 elements"] * (kind == "context" and not 0 < len(elements) <= 10)
    wrong += ["actions have none or more than 25 elements"] * (kind == "actions" and not 0 < len(elements) <= 25)
    for button in elements if kind == "actions" else ():
        wrong += ["a label is longer than 75"] * (units(button["text"]["text"]) > 75)
        wrong += ["a value is longer than 2,000"] * (units(button.get("value", "")) > 2000)
        wrong += ["a url is longer than 3,000"] * (units(button.get("url", "")) > 3000)
    return wrong


def unsafe(text: str) -> bool:
    """Whether a text could ping, or link to what our own link syntax did not name."""
    left = _ENTITY.sub("", _OUR_LINK.sub("", text))
    return any(mark in left for mark in "<>&")
