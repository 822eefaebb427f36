"""A DAG that the DAG processor can import and the worker cannot."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG


def in_task_process() -> bool:
    """A task process shows its command line or title; the DAG processor's and the scheduler's are others."""
    title = Path("/proc/self/cmdline").read_text().replace("\0", " ")
    parent = Path(f"/proc/{os.getppid()}/cmdline").read_text().replace("\0", " ")
    words = f"{title} {parent} {' '.join(sys.argv)}"
    return "airflow worker" in words or "tasks run" in words or "task supervisor" in words or "celeryd" in words


if in_task_process():
    raise ImportError("libpq.so.5: cannot open shared object file")

with DAG("not_importable", schedule="@once", start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)):

    @task
    def never_starts():
        return 1

    never_starts()
