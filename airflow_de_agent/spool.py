"""The queue of captured failures: a directory on the host, and the lock that keeps one drainer on it.

Rules kept here: an entry appears whole or not at all (write, then rename); an entry leaves only when it has been
diagnosed or set aside with a reason; whoever holds ``.lock`` is the drainer, and the lock travels to it with the open
file, so that taking it and becoming the drainer are one step; no secret is written here.

An entry is named ``<nanoseconds>-<random>.<kind>.<attempts>.json``. It is imported in task processes: standard library
only, and little of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

MAX_ATTEMPTS = 2
_NAME = re.compile(r"(?P<stamp>\d{19,20})-[0-9a-f]+\.(?P<kind>task|run|deep)\.(?P<attempts>\d)\.json")
_OURS = {".lock", ".starting", "drainer.log", "rejected"}
_LEFTOVER_SECONDS = 600


class Entry(NamedTuple):
    """An entry by its file.

    `kind` is ``task`` (one failed try), ``run`` (a failed DAG run) or ``deep`` (a try to be looked at more deeply,
    which bears the time of the entry that told of it).
    """

    path: Path
    kind: str
    attempts: int
    written_at: float


class Spool:
    """The directory; made on first use, readable by its owner only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, kind: str, payload: Mapping[str, Any], *, since: float | None = None) -> Path:
        """Write one entry; `since` is the time it bears (seconds of the epoch), now where none is given.

        Raises:
            OSError: the directory cannot be written to, or is full.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = time.time_ns() if since is None else int(since * 1e9)
        name = f"{stamp:019}-{os.urandom(4).hex()}.{kind}.0.json"
        return self._write(self.directory / name, payload)

    def rewrite(self, entry: Entry, payload: Mapping[str, Any]) -> None:
        """Replace what an entry holds."""
        self._write(entry.path, payload)

    def _write(self, path: Path, payload: Mapping[str, Any]) -> Path:
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(payload, file)
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return path

    def pending(self) -> list[Entry]:
        """Entries, oldest first. What is not ours is set aside on the way."""
        entries = []
        for path in sorted(self.directory.iterdir()) if self.directory.is_dir() else ():
            match = _NAME.fullmatch(path.name)
            if match:
                entries.append(Entry(path, match["kind"], int(match["attempts"]), int(match["stamp"]) / 1e9))
            elif path.name not in _OURS and self._is_leftover(path):
                self._set_aside(path, "not an entry of this spool")
        return entries

    def _is_leftover(self, path: Path) -> bool:
        """Whether a foreign file is surely not one that is being written right now."""
        if not path.name.endswith(".tmp"):
            return True
        try:
            return time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS
        except FileNotFoundError:
            return False

    def begin(self, entry: Entry) -> Entry | None:
        """Count an attempt before the work starts; an entry that ended `MAX_ATTEMPTS` drainers is set aside.

        None for that, and for one that somebody took away.
        """
        if entry.attempts >= MAX_ATTEMPTS:
            self.set_aside(entry, f"the drainer died {entry.attempts} times while it worked on this entry")
            return None
        begun = self._renamed(entry, entry.attempts + 1)
        return begun if begun.path.exists() else None

    def postpone(self, entry: Entry) -> Entry:
        """Take the attempt back: nothing is wrong with the entry, its time has not come."""
        return self._renamed(entry, max(entry.attempts - 1, 0))

    def _renamed(self, entry: Entry, attempts: int) -> Entry:
        base, _, _ = entry.path.name.rsplit(".", 2)
        path = entry.path.with_name(f"{base}.{attempts}.json")
        with contextlib.suppress(FileNotFoundError):  # a directory of temporary files may be cleaned at any time
            entry.path.rename(path)
        return entry._replace(path=path, attempts=attempts)

    def read(self, entry: Entry) -> dict[str, Any]:
        """What an entry holds.

        Raises:
            ValueError: it is truncated, or not a JSON object.
        """
        values = json.loads(entry.path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        return values

    def finish(self, entry: Entry) -> None:
        """The entry has been dealt with."""
        entry.path.unlink(missing_ok=True)

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Move an entry to ``rejected/`` with its reason beside it."""
        self._set_aside(entry.path, reason)

    def _set_aside(self, path: Path, reason: str) -> None:
        rejected = self.directory / "rejected"
        rejected.mkdir(exist_ok=True, mode=0o700)
        (rejected / f"{path.name}.reason").write_text(reason + "\n")
        with contextlib.suppress(FileNotFoundError):  # a sweep beside the drainer has set it aside
            path.rename(rejected / path.name)

    def rejected(self) -> list[tuple[str, str]]:
        """Names and reasons of what was set aside."""
        return [(path.stem, path.read_text().strip()) for path in sorted(self.directory.glob("rejected/*.reason"))]

    def take_lock(self) -> int | None:
        """Become the one drainer of this directory; None when there is one.

        The descriptor is ≥ 10, as the shell that starts the drainer can name only 0–9 and would close one of those.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        low = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10)
        finally:
            os.close(low)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(lock)
            if exc.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise
        return lock
