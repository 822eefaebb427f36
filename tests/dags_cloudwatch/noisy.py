"""A task whose cause stands in its log only, far from the exception. Starts by itself, once; runs on both majors."""

from __future__ import annotations

import datetime
import logging

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

with DAG("noisy", schedule="@once", start_date=START, catchup=True):

    @task
    def load():
        logging.getLogger("etl").error('psycopg2.OperationalError: password authentication failed for user "etl"')
        for number in range(3000):
            print(f"cleaning up part {number}")
        raise RuntimeError("the load did not complete")

    load()
