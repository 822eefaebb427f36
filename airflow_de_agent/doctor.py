"""`de-agent doctor`: what is missing or broken, each with what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_de_agent import bootstrap
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

_LAST_LINES = 5


def findings(settings: Settings) -> list[str]:
    """One line for each thing that needs mending; none when all is well."""
    return [*_spool(settings), *_store(settings)]


def _spool(settings: Settings) -> Iterator[str]:
    spool = Spool(settings.spool_path)
    try:
        spool.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = spool.directory / ".doctor.tmp"
        probe.write_text("")
        probe.unlink()
    except OSError as exc:
        yield f"spool_dir {spool.directory} cannot be written to ({exc.strerror}): make it writable or set spool_dir"
        return
    for name, reason in spool.rejected():
        yield f"spool entry {name} was set aside: {reason}; look at {spool.directory / 'rejected'}, then delete it"
    if (spool.directory / ".starting").exists():
        log = spool.directory / "drainer.log"
        said = log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.exists() else []
        yield f"the drainer does not start; {log} ends with: {' | '.join(said) or '(nothing)'}"


def _store(settings: Settings) -> Iterator[str]:
    try:
        bootstrap.open_store(settings).recent(limit=1)
    except StoreError as exc:
        yield f"{exc}; correct store_url or the database's access"
