"""What Airflow shows of this package as a provider, above all its configuration section."""

from __future__ import annotations

import dataclasses
from typing import Any

from airflow_de_agent import __version__
from airflow_de_agent.settings import SECTION, Settings


def get_provider_info() -> dict[str, Any]:
    """The provider description, by the schema of apache-airflow's provider_info."""
    return {
        "package-name": "airflow-de-agent",
        "name": "DE-Agent",
        "description": "Tells the on-call data engineer within seconds why a task failed.",
        "versions": [__version__],
        "config": {SECTION: {"description": "Diagnosis of failed tasks.", "options": _options()}},
    }


def _options() -> dict[str, Any]:
    return {
        field.name: {
            "description": field.metadata["help"],
            "version_added": "0.1.0",
            "type": {bool: "boolean", int: "integer"}.get(type(field.default), "string"),
            "example": None,
            "default": str(field.default),
        }
        for field in dataclasses.fields(Settings)
    }
