"""Slack's Block Kit, made so that no limit of Slack's can be broken and nothing in a text can ping or link.

Rules kept here: a text is made visible, cut and escaped when it enters a block, in this module only; lengths are
counted as Slack counts them, in UTF-16 units; what does not fit a message is left out from its end.

The limits are those of Slack's Block Kit reference: 50 blocks a message, 3,000 characters a text, 12,000 in all,
150 a header, 10 elements a context, 25 an actions block, 75 a button's label, 2,000 its value, 3,000 a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_de_agent.core.untrusted import visible

Block = dict[str, Any]

TEXT, TOTAL, BLOCKS, HEADER, ELEMENTS, LABEL, VALUE, ADDRESS = 3000, 12_000, 50, 150, 10, 75, 2000, 3000
FALLBACK = 3000

_HALF_ENTITY = re.compile(r"&[a-z]{0,3}$")
_MARKS = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})
_ADDRESS = re.compile(r"https?://[\w.-]+(?::\d+)?(?:/[^\s<>|\"'`]*)?")


def units(text: str) -> int:
    """The length of a text as Slack counts it."""
    return len(text) + sum(char > "\uffff" for char in text)


def escaped(text: str) -> str:
    """Text that Slack shows as it is: no mention, link or entity can arise from it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescaped(text: str) -> str:
    """What `escaped` was given."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def cut(text: str, limit: int) -> str:
    """A text escaped and at most `limit` units long, never cut inside a character or an entity."""
    shown = escaped(text[: limit + 1])
    if len(text) <= limit and units(shown) <= limit:
        return shown
    kept = shown.encode("utf-16-le", "ignore")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    return _HALF_ENTITY.sub("", kept).rstrip() + "…"


def words(text: str, limit: int) -> str:
    """A sentence that others wrote, on one line and without formatting marks; never empty."""
    line = " ".join(visible(text[: 4 * limit]).split())
    return cut(line.translate(_MARKS), limit) or "–"


def code(text: str, limit: int) -> str:
    """Text that others wrote, letter by letter, on one line."""
    line = " ".join(visible(text[: 4 * limit]).split())
    return f"`{cut(line.replace('`', 'ˋ'), limit - 2) or '–'}`"


def lines(text: str, limit: int) -> str:
    """Several lines that others wrote; never empty."""
    return cut("\n".join(visible(line) for line in text[: 4 * limit].splitlines()), limit).strip() or "–"


def link(address: str, label: str) -> str:
    """A link with a label that is safe already; the label alone where the address is not one of the web."""
    fits = _ADDRESS.fullmatch(address) and units(address) <= 1000
    return f"<{escaped(address)}|{label.replace('|', '¦')}>" if fits else label


def section(text: str) -> Block:
    """A paragraph of parts that are safe already."""
    return {"type": "section", "text": _mrkdwn(text)}


def context(*texts: str) -> Block:
    """Small print; its texts are safe already."""
    return {"type": "context", "elements": [_mrkdwn(text) for text in texts[:ELEMENTS]]}


def button(label: str, action_id: str, value: str) -> Block:
    """A button; `label` and `action_id` are our own words."""
    text = {"type": "plain_text", "text": label[:LABEL]}
    return {"type": "button", "text": text, "action_id": action_id[:255], "value": value[:VALUE]}


def open_button(label: str, action_id: str, address: str) -> Block | None:
    """A button that opens a page; None where the address is not one of the web."""
    if not _ADDRESS.fullmatch(address) or units(address) > ADDRESS:
        return None
    text = {"type": "plain_text", "text": label[:LABEL]}
    return {"type": "button", "text": text, "action_id": action_id, "url": address}


def actions(block_id: str, buttons: Sequence[Block]) -> Block:
    """A row of buttons."""
    return {"type": "actions", "block_id": block_id[:255], "elements": list(buttons[:25])}


def fitted(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """As many blocks as a message may have; the last says when some were left out."""
    kept: list[Block] = []
    room = TOTAL - 100
    for block in blocks:
        room -= size(block)
        if room < 0 or len(kept) == BLOCKS - 1:
            return (*kept, context("The rest does not fit a Slack message."))
        kept.append(block)
    return tuple(kept)


def size(block: Block) -> int:
    """The units of a block's texts."""
    texts = [block.get("text"), *block.get("elements", ())]
    return sum(units(str(text.get("text", ""))) for text in texts if text and text["type"] != "button")


def _mrkdwn(text: str) -> Block:
    # verbatim: Slack shall not look for addresses, channels and names in it by itself
    return {"type": "mrkdwn", "text": text if units(text) <= TEXT else _shortened(text), "verbatim": True}


def _shortened(text: str) -> str:
    """Whole lines of a text that is safe already, as many as fit."""
    kept = ""
    for line in text.split("\n"):
        if units(kept) + units(line) + 2 > TEXT:
            break
        kept += line + "\n"
    return (kept or "–") + "…"
