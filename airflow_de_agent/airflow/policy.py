"""The cluster policy that attaches the callbacks to every task and DAG, found through the entry point airflow.policy.

Rules kept here: this module always imports (one that does not breaks every ``airflow`` command), so the rest of the
package is imported inside the policies; a policy never raises
(that would be a DAG import error), but lets the host's own time-outs through; user callbacks stay first; once.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.policies import hookimpl

log = logging.getLogger(__name__)
OPT_OUT_TAG = "no-de-agent"


@hookimpl
def task_policy(task: Any) -> None:
    """Attach to a task: operators, sensors, mapped and TaskFlow tasks alike."""
    try:
        from airflow_de_agent.airflow import callback, compat

        if wanted(getattr(task, "dag", None)):
            _append(task, "on_failure_callback", callback.diagnose_on_failure)
            if compat.settings().diagnose_retries:
                _append(task, "on_retry_callback", callback.diagnose_on_retry)
    except Exception as exc:
        _say(exc)


@hookimpl
def dag_policy(dag: Any) -> None:
    """Attach to a DAG, for the tasks whose own callback Airflow cannot run, such as killed ones."""
    try:
        from airflow_de_agent.airflow import callback

        if wanted(dag):
            _append(dag, "on_failure_callback", callback.diagnose_run_on_failure)
            dag.has_on_failure_callback = True  # computed when the DAG was made, before this policy
    except Exception as exc:
        _say(exc)


def wanted(dag: Any) -> bool:
    """Whether the failures of a DAG are to be diagnosed by themselves; None: a DAG that is not known."""
    from airflow_de_agent.airflow import compat

    return compat.settings().attach and OPT_OUT_TAG not in (getattr(dag, "tags", None) or ())


def _append(target: Any, name: str, ours: Any) -> None:
    from airflow_de_agent.airflow.callback import DiagnoseOnFailure

    present = getattr(target, name, None)
    callbacks = list(present) if isinstance(present, (list, tuple)) else [present] if present else []
    if not any(one is ours or isinstance(one, DiagnoseOnFailure) for one in callbacks):
        setattr(target, name, [*callbacks, ours])


def _say(exc: Exception) -> None:
    log.warning("de-agent is not attached: %s: %s", type(exc).__name__, exc)
