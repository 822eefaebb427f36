"""The only place where adapters are chosen and joined."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_de_agent.core.agent import Agent, Messenger
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.incident import Store
from airflow_de_agent.intake import Intake
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

log = logging.getLogger("de_agent")


def intake(settings: Settings, connections: Mapping[str, Any] | None = None) -> Intake:
    """A drainer's work on the spool. `connections` are those that only the host could give; None: none could be."""
    return Intake(Spool(settings.spool_path), agent(settings, connections), settings.idle_seconds)


def agent(settings: Settings, connections: Mapping[str, Any] | None = None) -> Agent:
    """The agent with the adapters that the settings ask for."""
    return Agent(
        open_store=_once(lambda: open_store(settings)),
        read_log=read_log,
        messenger=messenger(settings, connections or {}),
        clock=time.time,
        complain=log.warning,
        owner=socket.gethostname(),
        incident_seconds=settings.incident_minutes * 60.0,
        log_token_budget=settings.log_token_budget,
    )


def open_store(settings: Settings) -> Store:
    """The store that `store_url` names.

    Raises:
        StoreError: it cannot be reached.
    """
    from airflow_de_agent.adapters.sql_store import SqlStore

    return SqlStore(settings.store_in_force)


def messenger(settings: Settings, connections: Mapping[str, Any]) -> Messenger:
    """Slack where a token is known, else the console."""
    from airflow_de_agent.adapters.console import Console

    slack = connections.get("slack") or {}
    console = Console(log.info)
    if not slack.get("password"):
        return console
    from airflow_de_agent.adapters.slack import Slack

    base_url = settings.slack_base_url or slack["extra"].get("base_url", "")
    return Slack(slack["password"], settings.slack_channel, base_url, console)


def read_log(failure: TaskFailure) -> Iterable[bytes] | Evidence:
    """The task log: the file where it is on this host, else the tail that was captured, else why there is none."""
    from airflow_de_agent.adapters.log_file import read_chunks

    path = Path(failure.log_path) if failure.log_path else None
    if path is not None and path.is_file():
        return read_chunks(path)
    if failure.log_tail:
        return [failure.log_tail.encode()]
    where = f"{path} is not on this host" if path else "it has no file on this host"
    return Evidence.unavailable("task_log", f"the task log could not be read: {where}.")


def _once(open_it: Callable[[], Store]) -> Callable[[], Store]:
    """Open at first use; a failure to open is tried again at the next."""
    opened: list[Store] = []

    def store() -> Store:
        if not opened:
            opened.append(open_it())
        return opened[0]

    return store
