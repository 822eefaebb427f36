"""What a source had to say about a failure: something, nothing, or that it could not be asked.

Rules kept here: a failed look-up is a value that reaches the reader, never an exception and never an empty answer;
the text has been redacted before it enters an `Evidence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple


class Line(NamedTuple):
    """A line of evidence and its number in its source (counted from 1)."""

    number: int
    text: str


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The answer of one source.

    `source` is ``task_log``, ``exception``, ``run_state``, ``recent_runs``, ``redshift``, ``lambda_errors`` or a name
    of that kind; quotes refer to it. `rows` are the structured form where the source has one; `lines` are always there
    when something was found, so that every quote can be checked and linked. `reason` says why it is unavailable, or
    what is missing of it, and `cure` what would mend that (an IAM action and resource, a GRANT, a setting). `seconds`
    is what asking cost.
    """

    source: str
    status: Literal["found", "empty", "unavailable"]
    lines: tuple[Line, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""
    cure: str = ""
    seconds: float = 0.0

    @classmethod
    def of_rows(cls, source: str, rows: Sequence[Mapping[str, Any]], seconds: float = 0.0) -> Evidence:
        """Rows as evidence, one line of ``name=value`` pairs each."""
        lines = tuple(Line(n, " ".join(cells(row))) for n, row in enumerate(rows, 1))
        return cls(source, "found" if rows else "empty", lines, tuple(rows), seconds=seconds)

    @classmethod
    def of_lines(cls, source: str, lines: Sequence[str], seconds: float = 0.0) -> Evidence:
        """Lines of text as evidence."""
        numbered = tuple(Line(n, text) for n, text in enumerate(lines, 1))
        return cls(source, "found" if lines else "empty", numbered, seconds=seconds)

    @classmethod
    def unavailable(cls, source: str, reason: str, cure: str = "", seconds: float = 0.0) -> Evidence:
        """The source could not be asked, or did not answer."""
        return cls(source, "unavailable", reason=reason, cure=cure, seconds=seconds)

    @property
    def gap(self) -> str:
        """One sentence for `evidence_gaps`; empty when the source answered in full."""
        if not self.reason:
            return ""
        return f"{self.source}: {self.reason}" + (f" Cure: {self.cure}" if self.cure else "")


def cells(row: Mapping[str, Any]) -> list[str]:
    """The ``name=value`` pairs that a row's line is made of, white space folded, empty columns left out."""
    return [f"{name}={' '.join(str(value).split())}" for name, value in row.items() if value is not None]
