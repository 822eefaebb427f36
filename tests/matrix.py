"""`make matrix`: our wheel on every Airflow that MWAA runs, each under the constraint file of its image.

For each: it installs and moves no pin, the entry points load, the policy attaches, and a DAG that fails is diagnosed.
Where the constraint files are not at hand, packages are taken as of the day the image's file was made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT.parent / "shared" / "constraints"
UV = ROOT / ".venv" / "uv" / "bin" / "uv"


class Image(NamedTuple):
    """An Airflow as MWAA runs it: the Pythons to take, best first, and the day its constraint file was made."""

    airflow: str
    pythons: tuple[str, ...]
    day: str


IMAGES = (
    Image("2.10.3", ("3.11",), "2024-11-06"),
    Image("2.11.2", ("3.12", "3.11"), "2026-03-09"),
    Image("3.0.6", ("3.12", "3.11"), "2025-08-30"),
    Image("3.2.1", ("3.12", "3.11"), "2026-04-23"),
    Image("3.3.1", ("3.12", "3.11"), "2026-08-13"),
)
DAG = """
import datetime
try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG
with DAG("matrix", schedule=None, start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)) as dag:
    @task
    def fail():
        raise KeyError("customer_id")
    fail()
"""
ATTACHED = """
import airflow.settings
from importlib.metadata import entry_points
for group in ("airflow.policy", "airflow.plugins", "apache_airflow_provider"):
    [point] = [p for p in entry_points(group=group) if p.value.startswith("airflow_de_agent")]
    point.load()
from airflow.plugins_manager import ensure_plugins_loaded
ensure_plugins_loaded()
import sys, pathlib
sys.path.insert(0, "dags")
from matrix import dag
from airflow import settings
settings.task_policy(dag.get_task("fail"))
settings.dag_policy(dag)
from airflow_de_agent.airflow.callback import diagnose_on_failure, diagnose_run_on_failure
assert diagnose_on_failure in dag.get_task("fail").on_failure_callback
assert diagnose_run_on_failure in dag.on_failure_callback
from airflow.configuration import conf
assert conf.get("de_agent", "drain") == "detached"
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        wheels = Path(directory)
        call(UV, "build", "--quiet", "--wheel", "--out-dir", wheels, ROOT)
        [wheel] = wheels.glob("*.whl")
        results = [check(image, wheel) for image in IMAGES]
    return 0 if all(results) else 1


def check(image: Image, wheel: Path) -> bool:
    began = time.monotonic()
    try:
        python = install(image, wheel)
        diagnosed(python)
    except (subprocess.CalledProcessError, AssertionError) as exc:
        said = getattr(exc, "output", "") or ""
        print(f"Airflow {image.airflow}: FAILED: {exc}\n{said[-3000:]}", flush=True)
        return False
    version = call(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    seconds = time.monotonic() - began
    print(f"Airflow {image.airflow:<7} Python {version}  ok  ({seconds:.0f} s)", flush=True)
    return True


def install(image: Image, wheel: Path) -> Path:
    """An environment with this Airflow and our wheel; its Python. Asserts that the wheel moved no pin."""
    environment = ROOT / ".venv" / f"matrix-{image.airflow}"
    python = environment / "bin" / "python"
    shutil.rmtree(environment, ignore_errors=True)
    call(UV, "venv", "--quiet", "--python", interpreter(image.pythons), environment)
    pinned = CONSTRAINTS / f"mwaa-{image.airflow}.txt"
    limits = ("-c", pinned) if pinned.exists() else ("--exclude-newer", f"{image.day}T00:00:00Z")
    pip = (UV, "pip", "install", "--quiet", "--python", python, *limits)
    providers = ("apache-airflow-providers-amazon", "apache-airflow-providers-slack")
    call(*pip, f"apache-airflow=={image.airflow}", *providers)
    before = frozen(python)
    call(*pip, wheel)
    moved = {name: (pin, after) for name, pin in before.items() if (after := frozen(python).get(name)) != pin}
    assert not moved, f"the wheel moved {moved}"
    return python


def interpreter(versions: tuple[str, ...]) -> str:
    for version in versions:
        candidates = [*sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python")), f"python{version}"]
        for candidate in candidates:
            probe = [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            try:
                if subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip() == version:
                    return str(candidate)
            except (OSError, subprocess.CalledProcessError):
                continue
    return versions[-1]


def frozen(python: Path) -> dict[str, str]:
    lines = call(UV, "pip", "freeze", "--python", python).splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def diagnosed(python: Path) -> None:
    """A DAG that fails under `dag.test()` has its diagnosis in the store within seconds."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "dags").mkdir()
        (home / "dags" / "matrix.py").write_text(DAG)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment = kept | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "DE_AGENT_IDLE_SECONDS": "1",
        }
        run = {"env": environment, "cwd": home}
        airflow, de_agent = python.with_name("airflow"), python.with_name("de-agent")
        call(airflow, "db", "migrate", **run)
        call(python, "-c", ATTACHED, **run)
        subprocess.run([airflow, "dags", "test", "matrix"], capture_output=True, **run)
        until = time.monotonic() + 30
        found: list[dict[str, str]] = []
        while not found and time.monotonic() < until:
            found = json.loads(call(de_agent, "list", "--format", "json", **run))
            time.sleep(0.5)
        tasks = [(d["task_id"], d["try_number"]) for d in found]
        assert tasks == [("fail", 1)], f"diagnosed: {tasks}"


def call(*command: object, **options: object) -> str:
    """Run to the end; standard output. The error of a failure carries both outputs."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout + done.stderr)
    return str(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
