"""Three hundred mapped tasks that fail for one reason, beside the thousand captures of bench/storm.py."""

from __future__ import annotations

import datetime

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

with DAG("mapped", schedule="@once", start_date=START, catchup=True, max_active_tasks=64):

    @task
    def load(part):
        raise ConnectionRefusedError(111, f"Connection refused: warehouse:5439 while loading part {part}")

    load.expand(part=list(range(300)))
