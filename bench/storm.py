"""A storm: 1,000 captures from 1,000 processes within a minute and 300 real mapped tasks, one host, one drainer.

The processes are forks of a parent that has Airflow's configuration loaded, as Airflow's own task processes are.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests import airflow_host, slack_server  # noqa: E402
from tests.airflow_host import processes  # noqa: E402

FAILURES, MAPPED = 1000, 300
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
        root = Path(directory)
        with airflow_host.postgres(root / "pg") as uri:
            extra = {
                "AIRFLOW_CONN_SLACK_API_DEFAULT": slack_server.connection(slack.url),
                "AIRFLOW__DE_AGENT__SLACK_CHANNEL": "#storm",
            }
            venv = ROOT / ".venv" / "airflow3"
            database = airflow_host.create_database(uri, "storm")
            dags = ROOT / "bench" / "dags_storm"
            host = airflow_host.AirflowHost(venv, root / "airflow", dags, database, extra=extra)
            try:
                host.start()
                measure(host, slack)
            finally:
                host.stop()


def measure(host: airflow_host.AirflowHost, slack: slack_server.SlackServer) -> None:
    watcher = Watcher(str(host.home))
    watcher.start()
    took = float(host.run(str(host.venv / "bin" / "python"), "-c", CAPTURES, str(host.home / "held"), timeout=400))
    until = time.monotonic() + 400
    stored = 0
    while stored < FAILURES + MAPPED and time.monotonic() < until:
        time.sleep(3)
        stored = len(host.diagnoses())
    time.sleep(2)
    watcher.over = True
    watcher.join()
    held = sorted(float(line) for line in (host.home / "held").read_text().split())
    print(f"{FAILURES} captures in {took:.0f} s beside {MAPPED} mapped tasks of a real scheduler: "
          f"held p50 {held[len(held) // 2]:.1f} ms, p95 {held[int(len(held) * 0.95)]:.1f} ms")  # fmt: skip
    print(f"stored {stored}; messages {len(slack.messages)}; edits {slack.count('chat.update')}")
    print(f"drainers at once: at most {watcher.most}; peak memory {watcher.peak >> 20} MiB")


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
