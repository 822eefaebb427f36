"""Failing tasks, one at a time, whose callback is timed inside the task process. Read by bench/callback.py."""

from __future__ import annotations

import datetime
import json
import os
import time
import uuid
from pathlib import Path

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG

RESULTS = Path(os.environ.get("DE_AGENT_BENCH", "/nonexistent"))
COUNT = int(os.environ.get("DE_AGENT_BENCH_TASKS", "1"))
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def timed(name, make):
    def callback(context):
        began = time.perf_counter()
        make()(context)
        spent = time.perf_counter() - began
        (RESULTS / f"{name}-{uuid.uuid4().hex}.json").write_text(json.dumps(spent * 1000))

    return callback


def capture():
    from airflow_de_agent import diagnose_on_failure

    return diagnose_on_failure


def capture_and_start():
    """A spool of its own, so that this capture has to start a drainer."""
    os.environ["DE_AGENT_SPOOL_DIR"] = str(RESULTS / f"spool-{uuid.uuid4().hex}")
    os.environ["DE_AGENT_IDLE_SECONDS"] = "1"
    from airflow_de_agent.airflow import compat

    compat.settings.cache_clear()  # the policy read them when this file was parsed
    return capture()


def slack_notifier():
    from airflow.providers.slack.notifications.slack import SlackNotifier

    return SlackNotifier(text="{{ ti.task_id }} failed", channel="#bench")


WAYS = {
    "no callback": None,
    "capture": capture,
    "capture and start": capture_and_start,
    "SlackNotifier": slack_notifier,
}

for way, make in WAYS.items():
    with DAG(
        "hold_" + way.replace(" ", "_"),
        schedule="@once",
        start_date=START,
        catchup=True,
        max_active_tasks=1,
        tags=["no-de-agent"],
    ):
        for number in range(COUNT):

            @task(task_id=f"t{number}", on_failure_callback=None if make is None else timed(way, make))
            def fail():
                raise ValueError("no rows for 2026-11-21")

            fail()
