"""What the callback costs the task process, beside Slack's own notifier, on real schedulers of both majors.

Every task is a fresh process; Slack is a server on loopback, so no network time is in any of the figures.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests import airflow_host, slack_server  # noqa: E402

TASKS = 20
WAYS = ("no callback", "capture", "capture and start", "SlackNotifier")
DURATIONS = """
import json
from airflow.utils.session import create_session
from airflow.models.taskinstance import TaskInstance as T
with create_session() as s:
    rows = s.query(T.dag_id, T.state, T.start_date, T.end_date).all()
    print("RESULT", json.dumps([[d, str(getattr(x, "value", x)), (e - b).total_seconds() if e and b else None]
                                for d, x, b, e in rows]))
"""


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def measure(major: int, uri: str, home: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds in the callback and recorded task seconds, by way."""
    results = home / "results"
    results.mkdir(parents=True)
    with slack_server.running() as slack:
        extra = {
            "DE_AGENT_BENCH": str(results),
            "DE_AGENT_BENCH_TASKS": str(TASKS),
            "AIRFLOW__CORE__PARALLELISM": "1",  # one task process at a time, or they measure each other
            "AIRFLOW_CONN_SLACK_API_DEFAULT": slack_server.connection(slack.url),
            "AIRFLOW__DE_AGENT__SLACK_CHANNEL": "#bench",
        }
        venv = ROOT / ".venv" / f"airflow{major}"
        database = airflow_host.create_database(uri, f"bench{major}_{time.time_ns()}")
        host = airflow_host.AirflowHost(venv, home, ROOT / "bench" / "dags", database, extra=extra)
        try:
            host.start()
            until = time.monotonic() + 600
            seconds: dict[str, list[float]] = defaultdict(list)
            while sum(map(len, seconds.values())) < len(WAYS) * TASKS and time.monotonic() < until:
                time.sleep(5)
                out = host.run(str(venv / "bin" / "python"), "-c", DURATIONS)
                seconds = defaultdict(list)
                for dag_id, state, duration in json.loads(out.rpartition("RESULT ")[2]):
                    if state == "failed" and duration is not None:
                        seconds[dag_id.removeprefix("hold_").replace("_", " ")].append(duration)
        finally:
            host.stop()
    held: dict[str, list[float]] = defaultdict(list)
    for path in results.glob("*.json"):
        held[path.name.rpartition("-")[0]].append(json.loads(path.read_text()))
    return held, seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, airflow_host.postgres(Path(directory, "pg")) as uri:
        for major in (3, 2):
            held, seconds = measure(major, uri, Path(directory, f"airflow{major}"))
            notifier = statistics.median(held["SlackNotifier"])
            print(f"\nAirflow {major}, {TASKS} task processes each")
            print(f"  {'':<38} held ms: p50    p95  ÷ SlackNotifier   task s: p50")
            for way in WAYS:
                p50 = statistics.median(held[way]) if held[way] else 0.0
                p95 = quantile(held[way], 0.95) if held[way] else 0.0
                task = statistics.median(seconds[way]) if seconds[way] else float("nan")
                print(f"  {way:<38} {p50:>9.1f} {p95:>6.1f} {p50 / notifier:>16.2f} {task:>13.2f}")


if __name__ == "__main__":
    main()
