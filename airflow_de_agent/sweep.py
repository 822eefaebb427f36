"""What slipped through: the clock that does not depend on a next failure.

Spool entries whose drainer was killed, messages that Slack refused, and failed task instances of which nothing told.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from airflow_de_agent import drainer
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

SINCE_HOURS = 24


def run(settings: Settings) -> list[str]:
    """Sweep once; what was done, a line each.

    Raises:
        OSError: the spool cannot be written to.
    """
    spool = Spool(settings.spool_path)
    in_airflow = find_spec("airflow") is not None
    failures, said = _missed() if in_airflow else ([], ["no Airflow here, so no failed task instances were looked for"])
    for failure in failures:
        spool.put("run", {"failures": [failure.to_json()]})
    waiting = len(spool.pending())
    if in_airflow:
        from airflow_de_agent.airflow import callback

        callback.see_to_it(settings, in_task=True)
    else:
        drainer.drain_foreground(settings)
    said.append(f"{len(failures)} task instances failed within {SINCE_HOURS} hours; those not diagnosed yet will be")
    said.append(f"{waiting} entries were waiting and are worked on")
    return said


def _missed() -> tuple[Sequence[TaskFailure], list[str]]:
    from airflow_de_agent.airflow import run_state

    return run_state.recent_failures(SINCE_HOURS)
