"""Published error lines of systems that cannot run here, inside a real task."""

import json
import logging
import os
from datetime import datetime
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException

DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}


def replay(lines, error):
    """Log lines as their logger would, then raise the published error."""
    for name, level, text in lines:
        logging.getLogger(name).log(logging.getLevelName(level), "%s", text)
    raise_error(error)


def raise_error(error):
    """Raise by class name and text."""
    name, _, text = error.partition("|")
    if name == "AirflowException":
        raise AirflowException(text)
    raise type(name.rpartition(".")[2], (Exception,), {"__module__": name.rpartition(".")[0] or "builtins"})(text)


for case in json.loads((Path(os.environ["AIRFLOW_HOME"]) / "include" / "rebuilt3.json").read_text()):
    with DAG(case["dag_id"], **DAILY):
        PythonOperator(task_id=case["task_id"], python_callable=replay, op_args=[case["lines"], case["error"]])
