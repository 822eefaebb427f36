"""The Diagnose button on a task instance of Airflow 2, which has no tabs for plugins."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

try:
    from airflow.sdk import BaseOperatorLink
except ImportError:
    from airflow.models.baseoperatorlink import BaseOperatorLink

from airflow_de_agent.airflow import compat

ROUTE = "/de_agent"


class DiagnoseLink(BaseOperatorLink):
    """Leads to the diagnosis of a task instance."""

    name = "Diagnose"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The path of the page on this server, under the path that Airflow lives at; the browser knows the host."""
        section, mount = ("api", "/pluginsv2") if compat.has_task_sdk() else ("webserver", "")
        prefix = urlsplit(compat.option(section, "base_url") or "").path.rstrip("/")
        query = urlencode({"run_id": ti_key.run_id, "task_id": ti_key.task_id, "map_index": ti_key.map_index})
        return f"{prefix}{mount}{ROUTE}/dags/{quote(ti_key.dag_id, safe='')}/page?{query}"
