"""Every secret in a text, told by a literal: by its form, its name or its place.

Where a literal stands, the readers of that literal look around it; only then is a row's pattern compiled and matched.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from functools import cache, partial

from airflow_de_agent.core.redaction_named import named_span
from airflow_de_agent.core.redaction_private_key import private_key_span
from airflow_de_agent.core.redaction_search import SHORT, hits
from airflow_de_agent.core.redaction_table import NAMES, SHAPES, SHORT_NAMES, Shape, Span, regex
from airflow_de_agent.core.redaction_values import NAME, WORD, no_value

NEEDED_WITHIN = 600  # characters
HEX = "0123456789abcdefABCDEF"
REACH = 17_000  # characters before and after a literal that its reader may look at
Reader = Callable[[str, int], Span | None]


def secret_spans(text: str) -> Iterator[Span]:
    """Every secret that a row knows, in no order; they may overlap."""
    told: dict[str, tuple[int, int]] = {}  # by literal: the last value it told of, within which it is not tried again
    last: dict[str, _Found] = {}
    for at, literal in hits(text, long=len(text) >= SHORT):
        found = last.get(literal)
        if found and at < found.until and not found.spans and (at - found.at) % found.period == 0:
            continue
        if literal in told and told[literal][0] <= at < told[literal][1]:
            continue
        last[literal] = found = _found(text, at, _readers(literal), found)
        for span in found.spans:
            told[literal] = max(told.get(literal, span[:2]), span[:2], key=lambda value: value[1])
            if span[2]:
                yield span


@cache
def _readers(literal: str) -> list[Reader]:
    """What reads the secret that a literal tells of, given the text and where the literal stands."""
    readers: list[Reader] = [
        partial(_shape_span, literal=literal, shape=shape) for shape in SHAPES if literal in shape.literals
    ]
    if literal in NAMES:
        readers.append(partial(named_span, word=literal))
    elif literal in SHORT_NAMES:
        readers.append(partial(named_span, word="pw"))
    elif literal in PLACES:
        readers.append(PLACES[literal])
    return readers


class _Found:
    """What was found at a place, and up to where the text repeats itself from there on, with which period."""

    __slots__ = ("at", "period", "spans", "until")

    def __init__(self, at: int, spans: list[Span], until: int = 0, period: int = 1) -> None:
        self.at, self.spans, self.until, self.period = at, spans, until, period


def _found(text: str, at: int, readers: list[Reader], last: _Found | None) -> _Found:
    """What the readers of a literal find at a place; `last`: what they found where it stood before."""
    if last and (at < last.until or not last.until):
        distance = at - last.at
        if not last.until and _repeats(text, last.at, at):
            last = _Found(last.at, last.spans, at + 3 * REACH, distance)
        if at < last.until and distance % last.period == 0:
            spans = [(start + distance, end + distance, kind) for start, end, kind in last.spans]
            return _Found(at, spans, last.until, last.period)
    until, period = (last.until, last.period) if last and at < last.until else (0, 1)
    return _Found(at, [span for read in readers if (span := read(text, at))], until, period)


def _repeats(text: str, before: int, at: int) -> bool:
    """Whether the text goes on from `at` as from `before`, so far that its readers find the same in the next 3 REACH.

    Where a text repeats itself without end, it is read once and not at each literal.
    """
    for reach in (64, REACH):
        if text[before : before + reach] != text[at : at + reach]:
            return False
    start = before - REACH
    return start >= 0 and text.startswith(text[start : before + 4 * REACH], at - REACH)


def _shape_span(text: str, at: int, *, literal: str, shape: Shape) -> Span | None:
    body = at + len(literal)
    if shape.word and _within_word(text, at):
        return None
    if shape.then and text[body : body + 1] not in shape.then:
        return None
    if shape.needs and text.find(shape.needs, body, body + NEEDED_WITHIN) < 0:
        return None
    match = regex(shape.pattern).match(text, body)
    if match is None:
        return None
    start, end = match.span("v") if "v" in match.re.groupindex else (at - shape.lead, match.end())
    value = text[start:end]
    if "[REDACTED:" in value or (shape.kind == "basic_auth" and not _is_basic(value)):
        return None
    if shape.kind == "password" and no_value(text, start):
        return None
    return start, end, shape.kind


def _within_word(text: str, at: int) -> bool:
    """Whether a letter or digit stands before; that of an escaped newline or of an encoded byte is none."""
    if not at or not text[at - 1].isalnum() or not text[at - 1].isascii():
        return False
    before = text[max(0, at - 3) : at]
    if before[-2:-1] == "\\" and before[-1] in "nrt":
        return False
    return not (before[0] == "%" and len(before) == 3 and before[1] in HEX and before[2] in HEX)


def _is_basic(value: str) -> bool:
    """Whether a value decodes to `user:password`."""
    try:
        return b":" in a2b_base64(value)
    except Base64Error:
        return False


def _easy_connect_span(text: str, at: int) -> Span | None:
    """Oracle's user/password@//host:port/service: what stands before the @."""
    user, slash, value = text[max(0, at - 200) : at].rpartition("/")
    if not slash or not value or value.strip("\"'") != value or len(value.split()) != 1:
        return None
    if user[-1:] not in WORD + "$#" or user.rstrip(WORD + "$#.")[-1:] in ("/", "@") or not user:
        return None
    start = at - len(value)
    return None if "[REDACTED:" in value or no_value(text, start) else (start, at, "password")


def _listener_span(text: str, at: int) -> Span | None:
    """The same as user/password@host:1521/service: what stands before the @."""
    host = text[max(0, at - 120) : at].rpartition("@")[2]
    found = host and not host.strip(NAME) and text[at - len(host) - 1] == "@"
    return _easy_connect_span(text, at - len(host) - 1) if found else None


def _go_address_span(text: str, at: int) -> Span | None:
    """Go's user:password@tcp(host:port)/database: what stands between : and @."""
    user, colon, value = text[max(0, at - 200) : at].rpartition(":")
    if not colon or len(value.split()) != 1 or user[-1:] not in WORD or not user or "[REDACTED:" in value:
        return None
    return None if no_value(text, at - len(value)) else (at - len(value), at, "password")


PLACES: dict[str, Reader] = {
    "PRIVATE KEY": private_key_span,
    "@//": _easy_connect_span,
    "@tcp(": _go_address_span,
    ":1521": _listener_span,
}
