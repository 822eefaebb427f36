"""The Airflow plugin. Every Airflow process loads it, task processes too, so it imports nothing until Airflow asks.

Airflow reads each attribute from the instance, and only in the process that needs it: the servers read the views, all
read the listeners. An attribute that cannot be had is logged and left out: a plugin must not stop a server.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

# The manager that is loading us. A task process of Airflow 3.2+ has the SDK's alone, and Airflow tells a plugin by the
# name of its base class; importing the server's manager too would cost each task 10 ms.
_MANAGERS = ("airflow.plugins_manager", "airflow.sdk.plugins_manager")
_loading = next((name for name in _MANAGERS if name in sys.modules), _MANAGERS[0])
AirflowPlugin: Any = importlib.import_module(_loading).AirflowPlugin

# Told by what the class offers: `fastapi_apps` came with 3.0, `external_views` with 3.1.
_IS_AIRFLOW_3 = hasattr(AirflowPlugin, "fastapi_apps")
_HAS_TABS = hasattr(AirflowPlugin, "external_views")


def _uses_fab() -> bool:
    """Whether the view is the web server's: on 2 always; on 3.0, where a plugin has no tabs, by the FAB provider.

    Without that provider an Airflow 3 server refuses to start with such views.
    """
    if not _IS_AIRFLOW_3:
        return True
    try:
        return not _HAS_TABS and importlib.util.find_spec("airflow.providers.fab.www") is not None
    except ModuleNotFoundError:
        return False


def _or_nothing(attribute: Callable[[], list[Any]]) -> list[Any]:
    try:
        return attribute()
    except Exception as exc:  # an Airflow that moved what we import: the host starts all the same
        log.warning("de-agent: a part of the plugin is left out (%s: %s)", type(exc).__name__, exc)
        return []


def _fastapi_apps() -> list[Any]:
    from airflow_de_agent.airflow.ui import airflow3

    return airflow3.fastapi_apps()


def _external_views() -> list[Any]:
    from airflow_de_agent.airflow.ui import airflow3

    return airflow3.external_views()


def _appbuilder_views() -> list[Any]:
    from airflow_de_agent.airflow.ui import airflow2

    return airflow2.appbuilder_views()


def _extra_links() -> list[Any]:
    from airflow_de_agent.airflow.ui.extra_link import DiagnoseLink

    return [DiagnoseLink()]


def _listeners() -> list[Any]:
    from airflow_de_agent.airflow import run_listener

    return [run_listener]


class DeAgentPlugin(AirflowPlugin):
    """The Diagnose view, and on 3.0 the listener that records failed runs. Airflow may change the lists it is given."""

    name = "de_agent"

    @functools.cached_property
    def fastapi_apps(self) -> list[Any]:
        """The server of the view on 3.1 and later."""
        return _or_nothing(_fastapi_apps) if _HAS_TABS else []

    @functools.cached_property
    def external_views(self) -> list[Any]:
        """The tabs on 3.1 and later."""
        return _or_nothing(_external_views) if _HAS_TABS else []

    @functools.cached_property
    def appbuilder_views(self) -> list[Any]:
        """The pages on 2, and on 3.0 with FAB."""
        return _or_nothing(_appbuilder_views) if _uses_fab() else []

    @functools.cached_property
    def global_operator_extra_links(self) -> list[Any]:
        """The button on task instances on 2, and on 3.0 with FAB."""
        return _or_nothing(_extra_links) if _uses_fab() else []

    @functools.cached_property
    def listeners(self) -> list[Any]:
        """On 3.0 alone: its DAG-level callback cannot learn which tasks failed."""
        return _or_nothing(_listeners) if _IS_AIRFLOW_3 and not _HAS_TABS else []
