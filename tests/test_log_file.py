"""A task log in a local file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from airflow_de_agent.adapters.log_file import HEAD_BYTES, TAIL_BYTES, read_chunks, read_ends

TEXT = b"".join(b"line %d of the log\n" % n for n in range(60_000))


def read(tmp_path: Path, content: bytes, name: str = "attempt=1.log") -> bytes:
    path = tmp_path / name
    path.write_bytes(content)
    return b"".join(read_chunks(path))


def test_a_plain_file_comes_in_bounded_chunks(tmp_path: Path) -> None:
    """A plain file is read whole, no chunk larger than 256 KiB."""
    path = tmp_path / "attempt=1.log"
    path.write_bytes(TEXT)
    chunks = list(read_chunks(path))
    assert b"".join(chunks) == TEXT
    assert max(map(len, chunks)) <= 256 * 1024


@pytest.mark.parametrize("name", ["attempt=1.log.gz", "attempt=1.log"])
def test_gzip_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    """A compressed log is unpacked whatever it is called."""
    assert read(tmp_path, gzip.compress(TEXT), name) == TEXT


def test_every_member_of_a_gzip_file_is_read(tmp_path: Path) -> None:
    """A log that was appended to as several gzip members is read to its end."""
    assert read(tmp_path, gzip.compress(b"one\n") + gzip.compress(b"two\n")) == b"one\ntwo\n"


def test_a_small_file_that_unpacks_to_much_stays_bounded(tmp_path: Path) -> None:
    """A highly compressed file is unpacked piece by piece."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50 * 2**20)))
    assert max(len(chunk) for chunk in read_chunks(path)) <= 256 * 1024


def test_a_cut_gzip_file_gives_what_it_holds(tmp_path: Path) -> None:
    """A log whose compression was interrupted is read as far as it goes."""
    got = read(tmp_path, gzip.compress(TEXT)[:-5000])
    assert TEXT.startswith(got)
    assert len(got) > len(TEXT) // 2


def test_a_damaged_gzip_file_gives_its_beginning(tmp_path: Path) -> None:
    """Bytes after which no compressed data follows end the log, without an error."""
    assert read(tmp_path, gzip.compress(b"one\n") + b"garbage") == b"one\n"


def test_an_absent_file_says_so(tmp_path: Path) -> None:
    """A file that is not there is the caller's to report."""
    with pytest.raises(FileNotFoundError):
        list(read_chunks(tmp_path / "none.log"))


def test_of_a_huge_file_both_ends_are_read_in_whole_lines(tmp_path: Path) -> None:
    """The beginning and the end come without half a line, and what is left out is told."""
    path = tmp_path / "attempt=1.log"
    path.write_bytes(TEXT)
    first, told, last = b"".join(read_ends(path, 1000, 5000)).partition(
        b"[de-agent] WARNING: 1 MiB in the middle of this log were not read\n"
    )
    assert told
    assert TEXT.startswith(first)
    assert TEXT.endswith(last)
    assert last.startswith(b"line ")
    assert first.endswith(b" log\n")
    assert len(first) > 900
    assert len(last) > 4900
    assert b"".join(read_ends(path)) == TEXT


def test_a_huge_line_is_left_out_and_what_follows_is_read(tmp_path: Path) -> None:
    """Half a line may hold half a secret, so a line that runs into the cut is not shown."""
    path = tmp_path / "attempt=1.log"
    path.write_bytes(b"begun\n" + b"x" * 10**6 + b"password=hunter2\nended\n")
    shown = b"".join(read_ends(path, 1000, 100_000))
    assert (shown[:6], shown[-6:]) == (b"begun\n", b"ended\n")
    assert b"xx" not in shown
    assert b"hunter2" not in shown


def test_a_gigabyte_is_no_more_work_than_its_ends(tmp_path: Path) -> None:
    """However long the file, so much is read of it and no more."""
    path = tmp_path / "attempt=1.log"
    with path.open("wb") as file:
        file.write(b"the first line\n")
        file.seek(2**30)
        file.write(b"\nthe last line\n")
    size = sum(map(len, read_ends(path)))
    assert size <= HEAD_BYTES + TAIL_BYTES + 1000
