"""The drop-in for the plugins folder (or MWAA's plugins.zip), for where the package is there without its entry point.

Where the entry point is there, Airflow loads the plugin by it, and this file adds nothing.
"""

from importlib.metadata import entry_points

if not any(point.name == "de_agent" for point in entry_points(group="airflow.plugins")):
    from airflow_de_agent.airflow.plugin import DeAgentPlugin  # noqa: F401 - Airflow looks for it here
