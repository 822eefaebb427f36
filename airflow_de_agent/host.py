"""The Airflow that is installed beside a command, if there is one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from airflow_de_agent.settings import Settings


def is_here() -> bool:
    """Whether Airflow is installed in this environment."""
    return find_spec("airflow") is not None


def connections(settings: Settings) -> dict[str, Any] | None:
    """Its connections, as a drainer gets them; None where there is no Airflow. They hold secrets."""
    if not is_here():
        return None
    from airflow_de_agent.airflow import callback, compat

    compat.act_as_a_command()
    return callback.connections(settings)
