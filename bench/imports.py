"""What the package costs where DAGs are parsed: its import, and the policy for each task."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORT = """
import sys, time
before = set(sys.modules)
began = time.perf_counter()
import airflow_de_agent
spent = time.perf_counter() - began
new = {name.partition(".")[0] for name in set(sys.modules) - before} - {"airflow_de_agent"}
print(spent * 1000, len(new - set(sys.stdlib_module_names)))
"""
POLICY = """
import time, datetime, statistics
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    from airflow.models import DAG
    from airflow.operators.empty import EmptyOperator
from airflow_de_agent.airflow import policy
with DAG("d", schedule=None, start_date=datetime.datetime(2026, 1, 1)) as dag:
    tasks = [EmptyOperator(task_id=f"t{n}") for n in range(500)]
policy.task_policy(EmptyOperator(task_id="warm"))
spent = []
for task in tasks:
    began = time.perf_counter()
    policy.task_policy(task)
    spent.append((time.perf_counter() - began) * 1000)
print(statistics.median(spent), max(spent))
"""


def run(python: Path | str, script: str) -> list[float]:
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, check=True, cwd="/")
    return [float(word) for word in done.stdout.split()[-2:]]


def main() -> None:
    for major in (2, 3):
        python = ROOT / ".venv" / f"airflow{major}" / "bin" / "python"
        run(python, IMPORT)
        imports = [run(python, IMPORT) for _ in range(9)]
        middle, worst = run(python, POLICY)
        milliseconds = statistics.median(spent for spent, _ in imports)
        print(f"Airflow {major}: import {milliseconds:.1f} ms, third-party modules {int(imports[0][1])}; "
              f"policy a task {middle:.4f} ms, at most {worst:.3f} ms")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
