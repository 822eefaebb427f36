r"""Secrets out, before anything is truncated, stored, sent or shown.

Rules kept here:
- a secret becomes `[REDACTED:kind#n]`; equal secrets get equal placeholders within one `Redactor`;
- a placeholder that already stands in the text stays, so that redacting twice changes nothing;
- the number of newlines stays, so that line numbers stay true;
- no pattern is tried where its literal does not stand, and every quantifier is bounded: time is linear in the text.

`redaction_table` says what secrets look like, `redaction_search` where their literals stand, `redaction_readers` what
is secret there: `redaction_named` after a secret-like name, `redaction_private_key` over many lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from airflow_de_agent.core.redaction_readers import secret_spans
from airflow_de_agent.core.redaction_search import finds
from airflow_de_agent.core.redaction_table import SHAPES, Span, regex
from airflow_de_agent.core.redaction_values import WORD, odd

PLACEHOLDER = r"\[REDACTED:([a-z0-9_]{1,40})#(\d{1,9})\]"
REMEMBERED = 100  # secrets looked for where they stand bare; a bound, so that time stays linear


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
        spans = _merged([*secret_spans(text), *self._email_spans(text)], kept)
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
