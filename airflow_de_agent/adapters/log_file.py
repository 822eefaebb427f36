"""A task log in a local file, plain or gzip, as chunks of bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES, TAIL_BYTES = 16 * 2**20, 112 * 2**20
_CHUNK_BYTES = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


def read_chunks(path: Path) -> Iterator[bytes]:
    """The content of a log file, at most 256 KiB at a time; a gzip file is known by its first bytes, not by its name.

    A gzip file that is cut off or damaged gives what can be read of it.

    Raises:
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as file:
        head = file.read(len(_GZIP_MAGIC))
        file.seek(0)
        if head == _GZIP_MAGIC:
            yield from _unpacked(file)
        else:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def read_ends(path: Path, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> Iterator[bytes]:
    """As `read_chunks`, but of a plain file longer than `head` + `tail` bytes its first and last whole lines only.

    A line between them says how much was left out; lines after it are numbered as they were read. Whole lines, as half
    a line may hold half a secret, which nobody would know for one.

    Raises:
        OSError: the file cannot be opened or read.
    """
    left_out = path.stat().st_size - head - tail
    with path.open("rb") as file:
        if left_out <= 0 or file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC:
            yield from read_chunks(path)
            return
        file.seek(0)
        yield from _whole_lines(file, head)
        yield b"[de-agent] WARNING: %d MiB in the middle of this log were not read\n" % max(left_out >> 20, 1)
        file.seek(head + left_out)
        while (chunk := file.readline(_CHUNK_BYTES)) and not chunk.endswith(b"\n"):
            pass
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _whole_lines(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The lines that end within the next `length` bytes."""
    begun = b""
    while length > 0 and (chunk := file.read(min(_CHUNK_BYTES, length))):
        length -= len(chunk)
        lines, newline, rest = chunk.rpartition(b"\n")
        if newline:
            yield begun + lines + newline
        begun = rest if newline else begun + rest


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """Every member of a gzip file; zlib is used directly because `gzip` discards a block that it cannot finish."""
    member = zlib.decompressobj(wbits=31)
    packed = b""
    try:
        while packed or (packed := file.read(_CHUNK_BYTES)):
            chunk = member.decompress(packed, _CHUNK_BYTES)
            if chunk:
                yield chunk
            packed = member.unconsumed_tail
            if member.eof:
                packed = member.unused_data.lstrip(b"\0")
                member = zlib.decompressobj(wbits=31)
    except zlib.error:
        return
