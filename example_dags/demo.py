"""`make demo`: the example DAGs fail under a real Airflow 3, and each diagnosis is printed as it comes."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests import airflow_host  # noqa: E402  (the repository's root is not on the path of this environment)

PREFIX = "example_"
PATIENCE_SECONDS = 150
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:5.1f} s] {text}", flush=True)


def main() -> int:
    home = ROOT / ".demo"
    with airflow_host.postgres(home / "postgres") as uri:
        database = airflow_host.create_database(uri, f"airflow_{time.time_ns()}")
        extra = {
            "AIRFLOW_CONN_EXAMPLE_WAREHOUSE": uri.replace("postgresql://", "postgres://", 1),
            "AIRFLOW_CONN_FS_DEFAULT": "fs://",
        }
        executable = Path(sys.executable).parent.parent
        host = airflow_host.AirflowHost(
            executable, home / str(time.time_ns()), ROOT / "example_dags", database, extra=extra
        )
        try:
            return show(host)
        finally:
            say("stopping Airflow")
            host.stop()


def show(host: airflow_host.AirflowHost) -> int:
    say(f"starting Airflow 3 in {host.home.relative_to(ROOT)}")
    host.start()
    say("Airflow is up; reading the example DAGs")
    dags = trigger_all(host)
    say(f"{len(dags)} DAGs triggered; waiting for their failures")
    found = follow(host, dags)
    print()
    for diagnosis in sorted(found.values(), key=lambda d: (d["dag_id"], d["map_index"])):
        if diagnosis["map_index"] <= 0:
            print(told(diagnosis))
    slowest = max(d["seconds"] for d in found.values())
    missing = sorted(set(dags) - {d["dag_id"] for d in found.values()})
    say(f"{len(found)} diagnoses of {len(dags)} DAGs; the slowest answer took {slowest:.1f} s after its failure")
    view = f"http://127.0.0.1:{host.port}/dags/example_domino"
    say(f"the view: tab Diagnose at {view}, or of any run or task instance; keep it up with `make demo KEEP=1`")
    if missing:
        say(f"without a diagnosis: {', '.join(missing)}; look at {host.home}")
        return 1
    if "--keep" in sys.argv:
        say("Airflow keeps running until Ctrl-C")
        wait_for_interrupt()
    return 0


def told(diagnosis: dict[str, Any]) -> str:
    """A diagnosis in a few lines."""
    lines = [
        f"{diagnosis['dag_id']}.{diagnosis['task_id']}: {diagnosis['root_cause']}",
        f"  {diagnosis['category']}, {diagnosis['confidence']:.0%} sure, {diagnosis['seconds']:.1f} s after it failed",
        *(
            f"  proof ({quote['source']}): {' '.join(quote['quote'].split())[:160]}"
            for quote in diagnosis["evidence"][:2]
        ),
        *(f"  next: {step}" for step in diagnosis["next_steps"][:2]),
    ]
    return "\n".join(lines) + "\n"


def trigger_all(host: airflow_host.AirflowHost) -> list[str]:
    wanted = (ROOT / "example_dags" / "failing_examples.py").read_text().count("\nwith example(")
    until = time.monotonic() + PATIENCE_SECONDS
    dags: list[str] = []
    while len(dags) < wanted and time.monotonic() < until:
        time.sleep(1)
        listed = host.rest("GET", "/api/v2/dags?limit=100&tags=de-agent-example")["dags"]
        dags = sorted(dag["dag_id"] for dag in listed)
    for dag_id in dags:
        persistently(host, "POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})
    return dags


def persistently(host: airflow_host.AirflowHost, method: str, path: str, body: Any) -> Any:
    """A young Airflow answers some requests with an error of its database: ask again."""
    for _ in range(5):
        try:
            return host.rest(method, path, body)
        except urllib.error.HTTPError as exc:
            error = exc
            time.sleep(2)
    raise error


def follow(host: airflow_host.AirflowHost, dags: list[str]) -> dict[str, dict[str, Any]]:
    """Print diagnoses as they come, until all runs have ended and nothing new came for a while."""
    found: dict[str, dict[str, Any]] = {}
    until = time.monotonic() + PATIENCE_SECONDS
    quiet_since = time.monotonic()
    while time.monotonic() < until:
        for diagnosis in reversed(host.diagnoses()):
            if diagnosis["id"] not in found:
                found[diagnosis["id"]] = diagnosis
                quiet_since = time.monotonic()
                if diagnosis["map_index"] <= 0:
                    where = f"{diagnosis['dag_id']}.{diagnosis['task_id']}"
                    say(f"{where}: {diagnosis['category']} after {diagnosis['seconds']:.1f} s")
        everything = set(dags) == {d["dag_id"] for d in found.values()} and len(found) >= len(dags) + 49
        if everything and time.monotonic() - quiet_since > 3:
            break
        time.sleep(1)
    return found


def wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    os.chdir(ROOT)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where it was started in the background, or is ended by `kill`
        signal.signal(number, signal.default_int_handler)
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
