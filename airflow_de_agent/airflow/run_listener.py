"""For Airflow 3.0 only, whose DAG-level callback cannot learn which task failed: the scheduler's listener can.

It runs in the scheduler. It reads attributes of the run and writes one file; a connection look-up here would kill the
scheduler, even when its error is caught (measured on 3.0.6), so it starts nothing either: the DAG-level callback that
follows does.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.listeners import hookimpl

from airflow_de_agent.airflow import callback, policy
from airflow_de_agent.airflow.run_state import failures_of_rows

log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Record the failed task instances of a run."""
    try:
        if policy.wanted(getattr(dag_run, "dag", None)):
            callback.record_run(failures_of_rows(dag_run.task_instances, {}))
    except Exception as exc:  # the scheduler must not notice
        log.warning("de-agent could not record this failed run: %s: %s", type(exc).__name__, exc)
