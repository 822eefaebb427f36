"""What belongs together around a line: the record that it stands in, and the traceback that follows."""

from __future__ import annotations

import re

_CONTEXT = 3
_REACH_BACK = 150
REACH_ON = 300

_RECORD = re.compile(rb"\{|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\*\*\* ")
_BODY = re.compile(rb"\[[^\]\n]{10,40}\] \{+[^}\n]{1,200}\}+ [A-Z]+ - ")
_INDENTED_EVENT = re.compile(rb'"event":\s?"(?:\s|\\t|Caused by|The above exc|During handling|")')


class Window:
    """The lines of a block and those just before it, by their index in the block (negative: before)."""

    def __init__(self, before: list[bytes], lines: list[bytes], start: int) -> None:
        self.lines = lines
        self.start = start
        self._before = before

    def _line(self, i: int) -> bytes:
        return self.lines[i] if i >= 0 else self._before[i]

    def numbered(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """The lines from `start` to before `end` with their numbers in the log."""
        if start >= 0:
            return list(enumerate(self.lines[start:end], self.start + start + 1))
        start = max(start, -len(self._before))
        return [(self.start + i + 1, self._line(i)) for i in range(start, min(end, len(self.lines)))]

    def span(self, i: int) -> tuple[int, int]:
        """The record around a line, a little context before it, and the traceback that follows."""
        start = self._reach_back(i)
        return max(start - _CONTEXT, -len(self._before)), self.reach_on(i)

    def _reach_back(self, i: int) -> int:
        lowest = max(i - _REACH_BACK, -len(self._before))
        for j in range(i, lowest - 1, -1):
            if _RECORD.match(self._line(j)):
                return j
        return max(i - _CONTEXT, lowest)

    def reach_on(self, i: int) -> int:
        """The index after the last line that continues the record (or the printed traceback) of line i."""
        headed = i < 0 or bool(_RECORD.match(self._line(i)))
        end = min(i + REACH_ON, len(self.lines))
        extra = 2
        for j in range(i + 1, end):
            if not _continues(self.lines[j], headed):
                extra -= 1
                if extra == 0:
                    return j
        return end


def _continues(line: bytes, headed: bool) -> bool:
    if line.startswith(b"{"):
        return bool(_INDENTED_EVENT.search(line))
    if _RECORD.match(line):
        match = _BODY.match(line)
        return match is not None and line[match.end() : match.end() + 1] in (b"", b" ", b"\t")
    return headed or not line or line[:1].isspace()
