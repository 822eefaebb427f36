"""The Diagnose button on a task instance of Airflow 2, which has no tabs for plugins."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

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
        """The address of the page; Airflow's own base URL precedes it, as in the links it mails."""
        base = compat.option("webserver", "base_url") or compat.option("api", "base_url") or ""
        mount = "/pluginsv2" if compat.has_task_sdk() else ""
        query = urlencode({"run_id": ti_key.run_id, "task_id": ti_key.task_id, "map_index": ti_key.map_index})
        return f"{base.rstrip('/')}{mount}{ROUTE}/dags/{quote(ti_key.dag_id, safe='')}/page?{query}"
