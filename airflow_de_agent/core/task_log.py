"""Task logs of any shape and size, read once and reduced to the lines that carry the cause.

The way of a log: `log_scan` keeps the lines worth reading, `log_record` joins them to records of one shape, the
redactor sees them whole, then the records are weighed here and the weightiest are kept within a budget.

Rules kept here: redaction comes before anything is shortened; a kept line has the number it has in the log; any bytes
at all give a `TaskLog`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from airflow_de_agent.core.evidence import Line
from airflow_de_agent.core.failure import CapturedException
from airflow_de_agent.core.log_choice import choose, tokens_of
from airflow_de_agent.core.log_record import Record, records
from airflow_de_agent.core.log_scan import scan
from airflow_de_agent.core.traceback_text import chains

_CHAINS = 60


@dataclasses.dataclass(frozen=True)
class TaskLog:
    """A distilled log: selected `lines` in order, redacted, their numbers those of the log as it was read.

    `exceptions` are the chains found, each from first cause to last, in order of appearance; `total_lines` counts the
    whole log; `tokens` is the estimate for `text`. `attempts` are the line numbers at which an attempt starts, where
    the log holds several. Several lines share a number where one line of the log held them (an Airflow 3 event).
    """

    lines: tuple[Line, ...]
    exceptions: tuple[tuple[CapturedException, ...], ...] = ()
    total_lines: int = 0
    tokens: int = 0
    attempts: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The lines with their numbers, as a model or a person reads them."""
        return "\n".join(f"{line.number:>6} {line.text}" for line in self.lines)


def distil(chunks: Iterable[bytes], *, redact: Callable[[str], str], budget: int = 4000) -> TaskLog:
    """Reduce a log to at most `budget` tokens.

    `redact` takes and returns text and keeps its number of lines.
    """
    scanned = scan(chunks)
    found = records(scanned.lines)
    _redact(found, redact)
    exceptions = _distinct(chain for record in found if record.traceback for chain in chains(record.lines))
    counts = [scanned.count(record.raw) for record in found]
    lines = choose(found, counts, budget)
    attempts = tuple(record.number for record in found if "Starting attempt " in record.first)
    return TaskLog(tuple(lines), exceptions, scanned.total_lines, tokens_of(lines), attempts)


def _redact(found: Sequence[Record], redact: Callable[[str], str]) -> None:
    """Redact every record in place, adjacent records together: a secret may run over many lines."""
    run: list[Record] = []
    for record in found:
        if run and record.number - run[-1].last_number > 1:
            _redact_run(run, redact)
            run = []
        run.append(record)
    if run:
        _redact_run(run, redact)


def _redact_run(run: Sequence[Record], redact: Callable[[str], str]) -> None:
    before = "\n".join(line.text for record in run for line in record.lines)
    after = redact(before)
    if after == before:
        return
    texts = iter(after.split("\n"))
    for record in run:
        # should a redactor lose lines, nothing of what it has not seen may remain
        record.lines = [Line(line.number, next(texts, "")) for line in record.lines]


def _distinct(found: Iterable[tuple[CapturedException, ...]]) -> tuple[tuple[CapturedException, ...], ...]:
    """The chains without those that repeat the one before (Airflow 2 logs each twice), the first and last of many."""
    kept: list[tuple[CapturedException, ...]] = []
    for chain in found:
        if not kept or _told(chain) != _told(kept[-1]):
            kept.append(chain)
    return tuple(kept if len(kept) <= _CHAINS else kept[: _CHAINS // 2] + kept[-_CHAINS // 2 :])


def _told(chain: tuple[CapturedException, ...]) -> list[tuple[str, str]]:
    return [(link.type, link.message) for link in chain]
