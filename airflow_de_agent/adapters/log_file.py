"""A task log in a local file, plain or gzip, as chunks of bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
