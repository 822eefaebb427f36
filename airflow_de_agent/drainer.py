"""The one process per host that turns spool entries into diagnoses: how it is started, and its loop.

Rules kept here: the host never forks Python and never waits for the drainer; secrets reach it on standard input only;
it holds nothing of the host open; it takes a look at the spool after it has given up the lock, so that no entry is
left behind; a drainer that dies at its start is not started again and again.

The recipe of `start` was measured on real schedulers: a shell between makes the drainer an orphan at once (else
Airflow 2 waits for it), it begins half a second late and niced (else Airflow 3 holds the task five seconds longer), and
its standard streams are not the host's (descriptor 0 of an Airflow 3 task is the supervisor's channel).
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from airflow_de_agent import settings
from airflow_de_agent.spool import Spool

POLL_SECONDS = 0.2
INLINE_SECONDS = 10.0
_LOG_BYTES = 1_000_000
_SHELL = 'exec 3<&0; (sleep 0.5; exec nice -n 10 "$@" <&3 3<&-) & exit 0'


def ensure_running(spool: Spool, handover: Callable[[], Mapping[str, Any]]) -> str:
    """See that a drainer runs; ``running``, ``started`` or ``backing off``. Called after an entry has been put.

    `handover` gives what the drainer reads from standard input (settings, connections); it is called only when one is
    started, as it may ask the host.

    Raises:
        OSError: the lock cannot be taken or no process can be started.
    """
    lock = spool.take_lock()
    if lock is None:
        return "running"
    try:
        if _backing_off(spool.directory):
            return "backing off"
        _start(spool.directory, lock, handover())
        return "started"
    finally:
        os.close(lock)  # closed, never unlocked: the drainer shares this open file


def _backing_off(directory: Path) -> bool:
    """Note this start; True when earlier ones died in their first round and it is too soon for another."""
    marker = directory / ".starting"
    failures, age = 0, 0.0
    with contextlib.suppress(OSError, ValueError):
        failures = int(marker.read_text()) + 1
        age = time.time() - marker.stat().st_mtime
    if failures and age < min(2.0**failures, 600.0):
        return True
    marker.write_text(str(failures))
    return False


def _start(directory: Path, lock: int, handover: Mapping[str, Any]) -> None:
    log = directory / "drainer.log"
    mode = "wb" if log.exists() and log.stat().st_size > _LOG_BYTES else "ab"
    command = [sys.executable, "-m", "airflow_de_agent.drainer", str(directory), str(lock)]
    with log.open(mode) as err:
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=err,
            cwd="/",
            env=settings.child_environment(str(Path(__file__).parents[1])),
            pass_fds=(lock,),
            start_new_session=True,
        )
    assert shell.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        shell.stdin.write(json.dumps(handover).encode() + b"\n")
        shell.stdin.close()
    shell.wait(timeout=5)  # the shell only; the drainer belongs to init by now


class Work(Protocol):
    """What a drainer does, and how many seconds it waits for more."""

    idle_seconds: float

    @property
    def busy(self) -> bool:
        """Whether something is under way that will be worked on when it ends."""

    def work(self) -> bool:
        """Do what there is to do; whether there was anything."""

    @property
    def tired(self) -> bool:
        """Whether another process should go on."""

    def has_news(self) -> bool:
        """Whether something waits that was not tried yet."""


def drain(spool: Spool, intake: Work, lock: int, deadline: float = math.inf) -> None:
    """Work until there was nothing to do for a while (or until `deadline`, monotonic), then give up the lock.

    The spool is looked at once more after that: an entry that came meanwhile found the lock taken, and waits for us.
    """
    held: int | None = lock
    while held is not None:
        try:
            _until_idle(spool, intake, deadline)
        finally:
            os.close(held)
        go_on = intake.has_news() and not intake.tired and time.monotonic() < deadline
        held = spool.take_lock() if go_on else None


def _until_idle(spool: Spool, intake: Work, deadline: float) -> None:
    last_work = time.monotonic()
    while time.monotonic() < deadline and not intake.tired:
        worked = intake.work()
        (spool.directory / ".starting").unlink(missing_ok=True)  # a round went well: this start was none of the bad
        if worked:
            last_work = time.monotonic()
            continue
        time.sleep(POLL_SECONDS)
        if not intake.busy and time.monotonic() - last_work >= intake.idle_seconds:
            return


def drain_here(spool: Spool, handover: Mapping[str, Any]) -> None:
    """Drain in this process, where a detached one would die with the pod; about `INLINE_SECONDS` at most."""
    lock = spool.take_lock()
    if lock is None:
        return
    deadline = time.monotonic() + INLINE_SECONDS
    try:
        intake = _intake(handover)
    except BaseException:
        os.close(lock)  # this process may live on, and nobody else could drain
        raise
    intake.idle_seconds = 0.0
    intake.deadline_seconds = min(intake.deadline_seconds, INLINE_SECONDS - 2.0)  # time to tell what was found
    drain(spool, intake, lock, deadline)


def drain_foreground(options: settings.Settings) -> bool:
    """Work on the spool until it is empty; False when a drainer is at work already."""
    spool = Spool(options.spool_path)
    lock = spool.take_lock()
    if lock is None:
        return False
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    intake = _intake({"settings": options.to_json(), "connections": None})
    intake.idle_seconds = 0.0
    drain(spool, intake, lock)
    return True


def _intake(handover: Mapping[str, Any]) -> Any:
    from airflow_de_agent import bootstrap

    return bootstrap.intake(settings.Settings.from_json(handover["settings"]), handover["connections"])


def main(argv: list[str]) -> int:
    """The detached process: ``python -m airflow_de_agent.drainer DIRECTORY LOCK_DESCRIPTOR``."""
    spool, lock = Spool(Path(argv[0])), int(argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    intake = _intake(json.loads(sys.stdin.readline()))
    drain(spool, intake, lock)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
