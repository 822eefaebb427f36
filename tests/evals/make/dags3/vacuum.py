"""A task whose script is not where its DAG looks for it."""

from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("nightly_vacuum", schedule="@daily", start_date=datetime(2026, 11, 20), catchup=False):
    BashOperator(task_id="vacuum", bash_command="scripts/vacuum_all.sh")
