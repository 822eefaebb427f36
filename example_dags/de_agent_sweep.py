"""A clock for the agent where no cron is at hand: picks up what no failure's callback told of.

Copy it into your DAGs folder. On MWAA the companion Lambda has a clock of its own, and this DAG is not needed.
"""

from __future__ import annotations

import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG

with DAG(
    "de_agent_sweep",
    schedule=datetime.timedelta(minutes=10),
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["no-de-agent"],
):

    @task(execution_timeout=datetime.timedelta(minutes=2))
    def sweep():
        from airflow_de_agent.airflow import compat
        from airflow_de_agent.sweep import run

        swept = run(compat.settings())
        for line in swept.done:
            print(line)
        if swept.failed:
            raise RuntimeError("\n".join(swept.failed))

    sweep()
