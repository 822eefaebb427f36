"""A storm: 1,000 captures from 1,000 processes within a minute, on one host with one drainer.

The processes are forks of a parent that has Airflow's configuration loaded, as Airflow's own task processes are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests import slack_server  # noqa: E402
from tests.airflow_host import processes  # noqa: E402

FAILURES = 1000
CAPTURES = f"""
import json, os, sys, time
from types import SimpleNamespace
import airflow.configuration
from airflow_de_agent import diagnose_on_failure
from airflow_de_agent.airflow import callback, compat, context, run_state
from airflow_de_agent import drainer
compat.settings()
held, children = [], set()
began = time.time()
for number in range({FAILURES}):
    pid = os.fork()
    if pid == 0:
        ti = SimpleNamespace(dag_id="storm", run_id="r", task_id="load", map_index=number, try_number=1, log_url="")
        try:
            raise ConnectionRefusedError(111, "Connection refused: warehouse:5439")
        except OSError as exc:
            start = time.perf_counter()
            diagnose_on_failure({{"ti": ti, "exception": exc}})
            spent = (time.perf_counter() - start) * 1000
        with open(sys.argv[1], "a") as file:
            file.write(f"{{spent}}\\n")
        os._exit(0)
    children.add(pid)
    while len(children) >= 4:
        children.discard(os.wait()[0])
    time.sleep(max(0.0, began + (number + 1) * 55 / {FAILURES} - time.time()))
while children:
    children.discard(os.wait()[0])
print(time.time() - began)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, slack_server.running() as slack:
        home = Path(directory)
        environment = {
            "PATH": os.environ["PATH"],
            "AIRFLOW_HOME": directory,
            "AIRFLOW_CONN_SLACK_API_DEFAULT": slack_server.connection(slack.url),
            "DE_AGENT_SLACK_CHANNEL": "#storm",
        }
        python = ROOT / ".venv" / "airflow3" / "bin" / "python"
        watcher = Watcher(directory)
        watcher.start()
        arguments = [str(python), "-c", CAPTURES, str(home / "held")]
        run = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        listed = [str(python.with_name("de-agent")), "list", "--limit", "5000", "--format", "json"]
        until = time.monotonic() + 60
        stored: list[object] = []
        while len(stored) < FAILURES and time.monotonic() < until:
            time.sleep(2)
            stored = json.loads(subprocess.run(listed, env=environment, capture_output=True, check=True).stdout)
        time.sleep(2)
        watcher.over = True
        watcher.join()
        held = sorted(float(line) for line in (home / "held").read_text().split())
        print(f"{FAILURES} captures in {float(run.stdout):.0f} s; held p50 {held[len(held) // 2]:.1f} ms, "
              f"p95 {held[int(len(held) * 0.95)]:.1f} ms")  # fmt: skip
        print(f"stored {len(stored)}; messages {len(slack.messages)}; edits {slack.count('chat.update')}")
        print(f"drainers at once: at most {watcher.most}; peak memory {watcher.peak >> 20} MiB")
        for pid in watcher.pids:
            os.kill(pid, 15)


class Watcher(threading.Thread):
    """Looks at the drainers of one home every 20 ms."""

    def __init__(self, home: str) -> None:
        super().__init__(daemon=True)
        self.home, self.most, self.peak, self.over = home, 0, 0, False
        self.pids: list[int] = []

    def run(self) -> None:
        while not self.over:
            self.pids = [pid for pid, words in processes() if self.is_drainer(words)]
            self.most = max(self.most, len(self.pids))
            for pid in self.pids:
                self.peak = max(self.peak, peak_memory(pid))
            time.sleep(0.02)

    def is_drainer(self, words: list[str]) -> bool:
        """Whether a command line is that of a drainer here; the shell that starts it names it too."""
        ours = "airflow_de_agent.drainer" in words and any(self.home in word for word in words)
        return ours and words[0] != "/bin/sh"


def peak_memory(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
