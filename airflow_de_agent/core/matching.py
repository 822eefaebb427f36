"""Which rows of the table hold for which statements.

Rules kept here: a pattern is compiled when a hint of its row was seen, and runs on a window around the hint only, so
that the time of a diagnosis is bounded by the number of rows and not by the length of a line.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from airflow_de_agent.core.signatures.signature import Signature
from airflow_de_agent.core.statements import Statement

WINDOW_BEFORE, WINDOW_AFTER = 600, 1500
HITS_A_HINT = 40
FRAMES = 8
MATCHES_A_WINDOW = 6


class Match(NamedTuple):
    """A row that holds for a statement; `score` is the row's strength times the statement's weight (0-100)."""

    signature: Signature
    statement: Statement
    score: float
    text: str
    values: Mapping[str, str]


class _Joined(NamedTuple):
    said: Sequence[Statement]
    text: str
    starts: list[int]


def matches(said: Sequence[Statement], rows: Iterable[Signature], operator: str = "") -> list[Match]:
    """The best match of every row that holds, best first; of equals, the one said first."""
    joined = _join(said)
    found = (_best(row, joined) for row in rows if _applies(row, joined.text, operator.lower()))
    return sorted((match for match in found if match is not None), key=lambda match: -match.score)


def _join(said: Sequence[Statement]) -> _Joined:
    starts, at = [], 0
    for statement in said:
        starts.append(at)
        at += len(statement.text) + 1
    return _Joined(said, "\n".join(statement.text for statement in said).lower(), starts)


def _applies(row: Signature, text: str, operator: str) -> bool:
    if row.operators and operator and not any(part in operator for part in row.operators):
        return False
    return not row.needs or any(literal in text for literal in row.needs)


def _best(row: Signature, joined: _Joined) -> Match | None:
    """The match with the highest score, told by the statement that tells most of it."""
    found = [match for index, at in _hits(row, joined) if (match := _match(row, joined.said[index], at)) is not None]
    if not found:
        return None
    best = max(found, key=lambda match: match.score)
    if not best.values and best.statement.place != "echo":
        telling = max(found, key=lambda match: (len(match.values) > 0, match.score))
        best = telling._replace(score=best.score)
    return best


def _hits(row: Signature, joined: _Joined) -> Iterator[tuple[int, int]]:
    """Statements (by index) with the place of a hint in them: once for each window that the hint opens."""
    for hint in row.hints:
        at = joined.text.find(hint)
        for _ in range(HITS_A_HINT):
            if at < 0:
                break
            index = bisect.bisect_right(joined.starts, at) - 1
            yield index, at - joined.starts[index]
            following = joined.starts[index + 1] if index + 1 < len(joined.starts) else len(joined.text)
            at = joined.text.find(hint, min(following, at + WINDOW_AFTER))


def _match(row: Signature, statement: Statement, at: int) -> Match | None:
    start = max(0, at - WINDOW_BEFORE)
    window = statement.text[start : at + WINDOW_AFTER]
    lowered = window.lower() if row.unless else ""
    if any(literal in lowered for literal in row.unless) or not _raised_in(row.frames, statement):
        return None
    if not row.pattern:
        end = at - start
        if _names_a_file(window, end, end + 1):
            return None
        return Match(row, statement, row.strength * statement.weight, window[end : end + 120], {})
    found = list(itertools.islice(_compiled(row.pattern).finditer(window), MATCHES_A_WINDOW))
    found = [one for one in found if not _names_a_file(window, *one.span())]
    if not found:
        return None
    values: dict[str, str] = {}
    for one in found:
        values |= {name: value for name, value in _values(one).items() if name not in values}
    telling = next((one for one in found if _values(one)), found[0])
    return Match(row, statement, row.strength * statement.weight, telling.group(), values)


_FILE = re.compile(r"(?:\w{2,5}:/)?/?[\w.=+-]*/[\w./=+-]*\.[A-Za-z]\w{1,5}")
_NO_FILE = re.compile(r"[^\w./:=+-]")


def _names_a_file(window: str, start: int, end: int) -> bool:
    """Whether words stand within the name of a file: what a file is called says nothing of what went wrong."""
    if "/" not in window[max(0, start - 200) : start] or _NO_FILE.search(window, start, end):
        return False
    begin = max((found.end() for found in _NO_FILE.finditer(window, max(0, start - 200), start)), default=0)
    file = _FILE.match(window, begin)
    return file is not None and begin < start and end <= file.end() and "/" in window[begin:start]


def _raised_in(files: tuple[str, ...], statement: Statement) -> bool:
    if not files:
        return True
    frames = statement.link.frames[-FRAMES:] if statement.link is not None else ()
    return any(part in frame.file.lower() for frame in frames for part in files)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _values(found: re.Match[str]) -> dict[str, str]:
    """Named groups; ``host``, ``host2`` and so on are the same value found at different places."""
    values: dict[str, str] = {}
    for name, value in found.groupdict().items():
        if value:
            values.setdefault(name.rstrip("0123456789_"), _whole(value, found, name))
    return values


def _whole(value: str, found: re.Match[str], name: str) -> str:
    """A phrase that the pattern's bound cut inside a word ends with the word before."""
    end = found.end(name)
    cut = end < len(found.string) and found.string[end].isalnum() and value[-1].isalnum()
    return f"{value.rpartition(' ')[0]}…" if cut and len(value) > 30 and " " in value else value
