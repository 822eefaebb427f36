"""The differences between Airflow versions, found by what can be imported, in one place."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from airflow_de_agent.settings import SECTION, Settings, load_what_is_right

log = logging.getLogger(__name__)

_MASKERS = (
    "airflow.sdk._shared.secrets_masker",
    "airflow.sdk.execution_time.secrets_masker",
    "airflow._shared.secrets_masker",
    "airflow.utils.log.secrets_masker",
)


@functools.cache
def has_task_sdk() -> bool:
    """Whether this is Airflow 3, where task code has no database."""
    return importlib.util.find_spec("airflow.sdk") is not None


@functools.cache
def version() -> str:
    """Airflow's version."""
    from airflow.version import version as airflow_version

    return str(airflow_version)


def option(section: str, name: str) -> str | None:
    """One option of Airflow's configuration; None where it has none."""
    from airflow.configuration import conf

    value = conf.get(section, name, fallback=None)
    return None if value is None else str(value)


@functools.cache
def settings() -> Settings:
    """Our settings, by Airflow's configuration, read once in a process.

    An option that is wrong has its default: a slip of the pen must not cost the diagnoses of a night.
    """
    found, errors = load_what_is_right(_own_option)
    for error in errors:
        log.warning("de-agent goes on with the default of an option that is wrong: %s", error)
    return found


def _own_option(name: str) -> str | None:
    try:
        return option(SECTION, name)
    except Exception as exc:  # a value that the host cannot interpolate, or a configuration that it cannot read here
        # its text is left out on purpose: it may quote the value, half a password among it
        raise ValueError(f"Airflow's configuration does not give it ({type(exc).__name__})") from exc


def host_redact() -> Callable[[str], str]:
    """Our redaction after the host's own masker, where the host has loaded one in this process."""
    from airflow_de_agent.core.redaction import Redactor

    ours = Redactor(emails=settings().redact_emails).redact
    for name in _MASKERS:
        masker = getattr(sys.modules.get(name), "redact", None)
        if masker is not None:
            return lambda text: ours(str(masker(text)))
    return ours


def _found(conn_id: str) -> Any:
    """The connection, from the environment alone where a secrets backend would be called first."""
    if option("secrets", "backend") or option("workers", "secrets_backend"):
        from airflow.secrets.environment_variables import EnvironmentVariablesBackend

        return EnvironmentVariablesBackend().get_connection(conn_id)
    try:
        from airflow.sdk import BaseHook
    except ImportError:
        from airflow.hooks.base import BaseHook
    return BaseHook.get_connection(conn_id)


def act_as_a_command() -> None:
    """Let this process read connections from Airflow's database, as Airflow's own commands do.

    Airflow 3 lets only a process that calls itself a server do so (measured on 3.2.1 and 3.3.2; 3.0.6 does not mind);
    task code asks its supervisor all the same.
    """
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def connection(conn_id: str) -> dict[str, Any] | None:
    """A connection's fields, for the drainer; None when it is absent or would need the network.

    With a secrets backend configured the host would call it from this process, so the drainer reads that itself.
    Airflow 3 answers through the task's supervisor; never call this in a scheduler-side listener, where a look-up
    closes the scheduler's session and kills it (measured on 3.0.6 and 3.3.2).
    """
    try:
        found = _found(conn_id)
        if found is None:
            return None
        fields = {name: getattr(found, name, None) or "" for name in ("login", "password", "host", "schema")}
        return {**fields, "extra": dict(found.extra_dejson)}
    except Exception:  # absent, encrypted with another key, or no object: each host raises its own, none matters here
        return None
