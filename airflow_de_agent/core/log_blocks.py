"""The bytes of a log as blocks of whole lines, freed of what is not text.

Rules kept here: memory is bounded whatever the chunks and lines are; every line stays in its place, so that numbers
hold; nothing that a secret's beginning or end depends on is cut near it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

BLOCK_BYTES = 256 * 1024
LONG_LINE_BYTES = 1024 * 1024
RUN = b"\x1e"  # separates the texts that carriage returns laid over one another on one line
# Deleting these leaves the template of a line: numbers, timestamps and hexadecimal ids vanish.
VARYING = b"0123456789abcdefABCDEF-"

_EVENTS = re.compile(rb'\s{0,10}\{\s?"(events|content)":\s?\[\s?\{[^\n]{20}')
_EVENT_MARKS = {b"events": b'"message":', b"content": b'{"timestamp":'}
_LOUD_WORDS = (b"error", b"exception", b"traceback", b"fail", b"fatal", b"denied", b"killed")
_TERMINAL_CODES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\)|[@-Z\\^_])?")
_KEY_BEGIN = re.compile(rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY")
_KEY_END = re.compile(rb"-----END [A-Z ]{0,40}PRIVATE KEY")
_KEY_BYTES = 16 * 1024


def blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines, freed of terminal codes, NUL bytes, overwritten text and private keys."""
    clean = _Cleaner()
    parts: list[bytes] = []
    size = 0
    for chunk in _shortened(_apart(chunks)):
        parts.append(chunk)
        size += len(chunk)
        if size >= BLOCK_BYTES and b"\n" in chunk:
            cut = chunk.rfind(b"\n") + 1
            parts[-1] = chunk[:cut]
            yield clean(b"".join(parts))
            parts = [chunk[cut:]]
            size = len(chunk) - cut
    rest = b"".join(parts)
    if rest:
        yield clean(rest)


def _apart(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks; a JSON document of events on one line (of CloudWatch, of Airflow's REST API) gets a line for each."""
    mark = b""
    held = b""
    for n, chunk in enumerate(chunks):
        if n == 0:
            match = _EVENTS.match(chunk)
            mark = _EVENT_MARKS[match[1]] if match else b""
        if mark:
            chunk = (held + chunk).replace(mark, b"\n" + mark)
            # a mark may be cut in two by the end of a chunk
            held = chunk[-len(mark) + 1 :]
            chunk = chunk[: -len(mark) + 1]
        yield chunk
    if held:
        yield held


def _shortened(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks in pieces of at most a block; of a line without end, what is beyond a mebibyte is thinned out."""
    line = 0
    tail = b""
    for chunk in chunks:
        for at in range(0, len(chunk), BLOCK_BYTES):
            piece = chunk[at : at + BLOCK_BYTES] if len(chunk) > BLOCK_BYTES else chunk
            cut = piece.find(b"\n")
            if line + (len(piece) if cut < 0 else cut) <= LONG_LINE_BYTES:
                line = line + len(piece) if cut < 0 else len(piece) - piece.rfind(b"\n") - 1
                yield piece
                continue
            if cut < 0:
                line += len(piece)
                tail = excerpts(tail + piece)
                if len(tail) > LONG_LINE_BYTES:
                    tail = tail[:LONG_LINE_BYTES] + tail[-65536:]
                continue
            yield excerpts(tail + piece[:cut]) + piece[cut:]
            tail = b""
            line = len(piece) - piece.rfind(b"\n") - 1
    if tail:
        yield tail


def excerpts(text: bytes) -> bytes:
    """The parts of a long text around loud words, wide enough that no secret near them is cut, and its end."""
    lower = text.lower()
    parts = []
    done = 0
    keep_from = max(0, len(text) - 32768)
    for at in sorted(found for word in _LOUD_WORDS if (found := lower.find(word)) >= 0):
        start, end = max(at - 8192, done), min(at + 8192, keep_from)
        if start < end:
            parts.append(text[start:end])
            done = end
    return b" ... ".join([*parts, text[keep_from:]])


class _Cleaner:
    """Blanks what is not text, keeping every line in its place."""

    def __init__(self) -> None:
        self._in_key = False

    def __call__(self, block: bytes) -> bytes:
        if b"\0" in block:
            block = block.replace(b"\0", b"")
        if b"\x1b" in block:
            block = _TERMINAL_CODES.sub(b"", block)
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
            if b"\r" in block:
                block = b"\n".join(_settled(line) if b"\r" in line else line for line in block.split(b"\n"))
        if self._in_key or b"PRIVATE KEY" in block:
            block = self._without_keys(block)
        return block

    def _without_keys(self, block: bytes) -> bytes:
        """Blank the lines between the first and the last line of a private key, which may end in a later block."""
        done = []
        at = 0
        while True:
            if not self._in_key:
                begin = _KEY_BEGIN.search(block, at)
                line_end = block.find(b"\n", begin.end()) if begin else -1
                if not begin or line_end < 0:
                    break
                # a key that ends on its own line is the redactor's
                self._in_key = not _KEY_END.search(block, begin.end(), line_end)
                done.append(block[at:line_end])
                at = line_end
                continue
            end = _KEY_END.search(block, at, at + _KEY_BYTES)
            stop = block.rfind(b"\n", at, end.start()) if end else min(len(block), at + _KEY_BYTES)
            stop = max(stop, at)
            done.append(b"\n" * block.count(b"\n", at, stop))
            at = stop
            self._in_key = not end and stop == len(block)
            if self._in_key:
                break
        return b"".join(done) + block[at:]


def _settled(line: bytes) -> bytes:
    """A line that carriage returns overwrote: one text per template, so a progress bar leaves its last state."""
    last = {text.translate(None, VARYING): text for text in line.split(b"\r") if text.strip()}
    return RUN.join(list(last.values())[-20:])
