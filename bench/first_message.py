"""From a captured failure to its first Slack message, with no drainer running yet; Slack is a server on loopback."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from airflow_de_agent import drainer  # noqa: E402
from airflow_de_agent.core.failure import CapturedException, TaskFailure, TaskKey  # noqa: E402
from airflow_de_agent.settings import Settings  # noqa: E402
from airflow_de_agent.spool import Spool  # noqa: E402
from tests import slack_server  # noqa: E402
from tests.airflow_host import processes  # noqa: E402

RUNS = 11


def once() -> float:
    """Seconds from the capture to the message, a new store and a new drainer each time."""
    with tempfile.TemporaryDirectory() as directory, slack_server.running() as slack:
        spool = Spool(Path(directory, "spool"))
        settings = Settings(
            spool_dir=str(spool.directory),
            store_url=f"sqlite:///{directory}/d.db",
            slack_channel="#bench",
            slack_base_url=slack.url,
            idle_seconds=1,
        )
        connections = {"slack": {"password": slack_server.TOKEN, "extra": {}}}
        failure = TaskFailure(
            TaskKey("bench", "r", "t"), "task", exceptions=(CapturedException("KeyError", "'customer_id'"),)
        )
        began = time.time()
        spool.put("task", {"failure": failure.to_json()})
        drainer.ensure_running(spool, lambda: {"settings": settings.to_json(), "connections": connections})
        while not slack.messages and time.time() - began < 30:
            time.sleep(0.005)
        took = time.time() - began
        for pid, words in processes():
            if "airflow_de_agent.drainer" in words and str(spool.directory) in words:
                os.kill(pid, 15)
        time.sleep(0.3)
    return took


def main() -> None:
    once()
    taken = sorted(once() for _ in range(RUNS))
    print(f"first message, drainer cold, {RUNS} runs: median {statistics.median(taken):.2f} s, worst {taken[-1]:.2f} s")


if __name__ == "__main__":
    main()
