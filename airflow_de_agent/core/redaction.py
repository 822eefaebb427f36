r"""Secrets out, before anything is truncated, stored, sent or shown.

Rules kept here:
- a secret becomes `[REDACTED:kind#n]`; equal secrets get equal placeholders within one `Redactor`;
- a placeholder that already stands in the text stays, so that redacting twice changes nothing;
- the number of newlines stays, so that line numbers stay true;
- no pattern is tried where its literal does not stand, and every quantifier is bounded: time is linear in the text.

`redaction_table` says what secrets look like, `redaction_search` where their literals stand, `redaction_named` reads
the values assigned to secret-like names. Only where a literal stands is a row's pattern compiled and matched.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import NamedTuple

from airflow_de_agent.core.redaction_named import WORD, named_span, no_value, odd, regex
from airflow_de_agent.core.redaction_search import SHORT, finds, hits
from airflow_de_agent.core.redaction_table import NAMES, SHAPES, SHORT_NAMES, Shape

PLACEHOLDER = r"\[REDACTED:([a-z0-9_]{1,40})#(\d{1,9})\]"
NEEDED_WITHIN = 600  # characters
HEX = "0123456789abcdefABCDEF"
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
KEY_LENGTH = 16_384  # characters; a 4096-bit RSA key has 3,300, its log prefixes not counted
# A line of a private key, with the prefix of a log line or as the message of a JSON line, a header of it, or its end.
KEY_LINE = (
    r"[^\n]{0,300}?(?<![\w/+.-])[A-Za-z0-9+/]{40,200}={0,2}(?![\w/+.-])[^\n]{0,300}"
    r"|[^\n]{0,300}?(?<![\w/+.-])[A-Za-z0-9+/]{8,80}={1,2}\s{0,4}"
    r"|\s{0,40}[A-Za-z0-9+/]{0,80}={0,2}\s{0,40}|\s{0,40}(?:Proc-Type|DEK-Info|Version|Comment|Hash):[^\n]{0,200}"
)
Span = tuple[int, int, str]
REACH = 17_000  # characters before and after a literal that its reader may look at
REMEMBERED = 100  # secrets looked for where they stand bare; a bound, so that time stays linear


@cache
def _readers() -> dict[str, list[Callable[[str, int], Span | None]]]:
    """By literal: what reads the secret that it tells of, given the text and where the literal stands."""
    found: dict[str, list[Callable[[str, int], Span | None]]] = {}
    for shape in SHAPES:
        for literal in shape.literals:
            found.setdefault(literal, []).append(partial(_shape_span, literal=literal, shape=shape))
    for name in NAMES:
        found.setdefault(name, []).append(partial(named_span, word=name))
    for name in SHORT_NAMES:
        found[name] = [partial(named_span, word="pw")]
    found["PRIVATE KEY"] = [_private_key_span]
    found["@//"] = [_easy_connect_span]
    found["@tcp("] = [_go_address_span]
    return found


def _spans(text: str) -> Iterator[Span]:
    """Every secret that a row knows, in no order; they may overlap."""
    readers = _readers()
    told: dict[str, tuple[int, int]] = {}  # by literal: the last value it told of, within which it is not tried again
    last: dict[str, Found] = {}
    for at, literal in hits(text, long=len(text) >= SHORT):
        if literal in told and told[literal][0] <= at < told[literal][1]:
            continue
        found = last.get(literal)
        if found and at < found.until and not found.spans and (at - found.at) % found.period == 0:
            continue
        last[literal] = found = _found(text, at, readers[literal], found)
        for span in found.spans:
            told[literal] = max(told.get(literal, span[:2]), span[:2], key=lambda value: value[1])
            if span[2]:
                yield span


class Found(NamedTuple):
    """What was found at a place, and up to where the text repeats itself from there on, with which period."""

    at: int
    spans: list[Span]
    until: int = 0
    period: int = 1


def _found(text: str, at: int, readers: list[Callable[[str, int], Span | None]], last: Found | None) -> Found:
    """What the readers of a literal find at a place; `last`: what they found where it stood before."""
    if last and (at < last.until or not last.until):
        distance = at - last.at
        if not last.until and _repeats(text, last.at, at):
            last = Found(last.at, last.spans, at + 3 * REACH, distance)
        if at < last.until and distance % last.period == 0:
            spans = [(start + distance, end + distance, kind) for start, end, kind in last.spans]
            return Found(at, spans, last.until, last.period)
    until, period = (last.until, last.period) if last and at < last.until else (0, 1)
    return Found(at, [span for read in readers if (span := read(text, at))], until, period)


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


def _go_address_span(text: str, at: int) -> Span | None:
    """Go's user:password@tcp(host:port)/database: what stands between : and @."""
    user, colon, value = text[max(0, at - 200) : at].rpartition(":")
    if not colon or len(value.split()) != 1 or user[-1:] not in WORD or not user or "[REDACTED:" in value:
        return None
    return None if no_value(text, at - len(value)) else (at - len(value), at, "password")


def _private_key_span(text: str, at: int) -> Span | None:
    """The lines of a private key; where the text was cut before BEGIN or after END, the base64 lines that are left."""
    dashes = text.find("-----", at, at + 40)
    if dashes < 0:
        return None
    begin, end = text.rfind("-----BEGIN", max(0, at - 40), at), text.rfind("-----END", max(0, at - 40), at)
    if begin > end:
        return begin, _key_end(text, dashes + 5), "private_key"
    return (_key_start(text, end), dashes + 5, "private_key") if end >= 0 else None


def _key_end(text: str, body: int) -> int:
    limit = body + KEY_LENGTH
    another = text.find("-----BEGIN", body, limit)
    end = text.find("-----END", body, limit if another < 0 else another)
    if end >= 0:
        closing = text.find("-----", end + 8, end + 60)
        return closing + 5 if closing >= 0 else end + 8
    if text.startswith("\\", body):
        rest = text[body:limit]
        return (
            limit - len(rest.lstrip(BASE64 + "\\"))
            if len(rest) == KEY_LENGTH
            else len(text) - len(rest.lstrip(BASE64 + "\\"))
        )
    end = body
    while end < min(limit, len(text)):
        line = regex(r"\r?\n(?:" + KEY_LINE + r")(?=\r?\n|\Z)").match(text, end)
        if line is None or line.end() == end:
            break
        end = line.end()
    return end


def _key_start(text: str, end: int) -> int:
    """Where the base64 begins that END closes: real lines, or lines escaped as `\\n` within one."""
    first = max(0, end - KEY_LENGTH, text.rfind("-----", max(0, end - KEY_LENGTH), end) + 5)
    if text.endswith(("\\n", "\\r"), first, end):
        return first + len(text[first:end].rstrip(BASE64 + "\\"))
    start = text.rfind("\n", first, end) + 1
    if not start:
        return end
    while start > first + 1:
        line = max(first, text.rfind("\n", first, start - 1) + 1)
        if not regex(KEY_LINE).fullmatch(text, line, start - 1):
            break
        start = line
    return start


def _merged(spans: Iterable[Span], kept: list[tuple[int, int]]) -> list[Span]:
    """Spans in order, overlapping ones made one with the kind of the outer, those over a kept placeholder dropped."""
    merged: list[Span] = []
    for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1], _rank(span[2]))):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
        else:
            merged.append((start, end, kind))
    return list(_clear_of(kept, merged)) if kept else merged


def _clear_of(kept: list[tuple[int, int]], spans: list[Span]) -> Iterator[Span]:
    """Spans without a kept placeholder in them or right beside: what was no secret within a word is none now."""
    place = 0
    for span in spans:
        while place < len(kept) and kept[place][1] < span[0]:
            place += 1
        if place == len(kept) or kept[place][0] > span[1]:
            yield span


@cache
def _rank(kind: str) -> int:
    """Kinds with a form of their own say more than a name does."""
    return next((n for n, shape in enumerate(SHAPES) if shape.kind == kind), len(SHAPES))


def _safe_alone(value: str) -> bool:
    """Whether a secret may be replaced wherever it stands, without touching words and ids that only look like it."""
    return len(value) >= 8 and "/" not in value[:1] and " " not in value and value.count("\n") == 0 and odd(value)


EMAIL_LOCAL = WORD + ".+%-"
EMAIL = r"[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}"


class Redactor:
    """Replaces secrets by stable placeholders; equal secrets get equal placeholders within one redactor.

    `emails`: whether e-mail addresses are replaced too; otherwise `emails_too` decides.
    """

    emails_too = False  # of the whole process: one place that forgot the user's choice would let all addresses out

    def __init__(self, *, emails: bool | None = None) -> None:
        self._emails = self.emails_too if emails is None else emails
        self._placeholders: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._remembered: dict[str, str] = {}

    def redact(self, text: str) -> str:
        """The text without its secrets; as many newlines as before."""
        kept = self._standing(text)
        spans = _merged([*_spans(text), *self._email_spans(text)], kept)
        for start, end, kind in spans:
            if len(self._remembered) < REMEMBERED and _safe_alone(text[start:end]):
                self._remembered.setdefault(text[start:end], kind)
        if self._remembered:
            spans = _merged([*spans, *_literal_spans(text, self._remembered)], kept)
        return self._replaced(text, spans)

    def _standing(self, text: str) -> list[tuple[int, int]]:
        """Where placeholders stand already; their numbers are not given to other secrets."""
        kept = []
        for match in regex(PLACEHOLDER).finditer(text) if "[REDACTED:" in text else ():
            kept.append(match.span())
            self._numbers[match[1]] = max(self._numbers.get(match[1], 0), int(match[2]))
        return kept

    def _email_spans(self, text: str) -> Iterator[Span]:
        for at in finds(text, "@") if self._emails else ():
            if text[at - 1 : at] not in EMAIL_LOCAL or not text[at + 1 : at + 2].isalnum():
                continue
            head = text[max(0, at - 64) : at]
            match = regex(EMAIL).match(text, at - len(head) + len(head.rstrip(EMAIL_LOCAL)))
            if match:
                yield *match.span(), "email"

    def _replaced(self, text: str, spans: list[Span]) -> str:
        pieces, last = [], 0
        for start, end, kind in spans:
            value = text[start:end]
            pieces += [text[last:start], self._placeholder(kind, value), "\n" * value.count("\n")]
            last = end
        return "".join([*pieces, text[last:]])

    def _placeholder(self, kind: str, value: str) -> str:
        if value not in self._placeholders:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            self._placeholders[value] = f"[REDACTED:{kind}#{self._numbers[kind]}]"
        return self._placeholders[value]


def _literal_spans(text: str, secrets: dict[str, str]) -> Iterator[Span]:
    for secret, kind in secrets.items():
        for at in finds(text, secret):
            end = at + len(secret)
            if len(secret) >= 16 or not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
                yield at, end, kind
