"""Turn kept logs into cases: ``collect.py 2|3 OUT_DIR``, after ``run.py``.

Paths, ports and host names of the machine that provoked the failures become those of an Airflow installation; nothing
else is changed, but for lines that a label plants and for the CloudWatch frame that a label asks for.
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CASES = HERE.parent
SITE = {
    "2": "/usr/local/airflow/.local/lib/python3.11/site-packages",
    "3": "/home/airflow/.local/lib/python3.12/site-packages",
}
HOME = {"2": "/usr/local/airflow", "3": "/opt/airflow"}
MACHINE = re.compile(r"/work/|/root/|/tmp/evals|pyenv|127\.0\.0\.1:\d|\bvm\b")


def rewritten(text: str, major: str, public: dict[str, str]) -> str:
    """The log as another installation would have written it."""
    home = f"/tmp/evals-af{major}"
    pairs = [
        (rf"{ROOT}/\.venv/airflow{major}/lib/python3\.\d+/site-packages|/tmp/evals-x{major}", SITE[major]),
        (rf"{ROOT}/\.venv/airflow{major}/bin", f"{HOME[major]}/.local/bin"),
        (rf"{home}/home", HOME[major]),
        (rf"{home}/landing", "/data/landing"),
        (rf"{home}/full_disk", "/data/scratch"),
        (rf"{home}/", "/etc/acme/tls/"),
        (r"/tmp/evals-dbt", "/usr/local/airflow/dbt-venv"),
        (r"/tmp/evals-spark/lib/python3\.11/site-packages/pyspark", "/opt/spark"),
        (r"/tmp/evals-spark", "/opt/spark-venv"),
        (r"/root/\.pyenv/versions/[\d.]+", "/usr/local"),
        (rf"{ROOT}/pandas/", f"{SITE[major]}/pandas/"),
        (r"\bvm\b(?=[\s,:/)']|$)", "ip-10-192-21-77"),
    ]
    for pattern, replacement in pairs:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    for port, address in public.items():
        host, _, shown = address.partition(":")
        text = text.replace(f"127.0.0.1:{port}", address if shown != "443" else host)
        text = text.replace(f"host='127.0.0.1', port={port}", f"host='{host}', port={shown}")
        text = re.sub(rf'"127\.0\.0\.1"(\\?"?), port {port}', f'"{host}", port {shown}', text)
        text = re.sub(rf'\\"127\.0\.0\.1\\", port {port}', f'\\\\"{host}\\\\", port {shown}', text)
        text = re.sub(rf"\b{port}\b", shown, text)
    return text


def planted(text: str, lines: list[str], major: str) -> str:
    """The log with further lines of the task right after its preamble."""
    rows = text.splitlines(keepends=True)
    at = next((n for n, row in enumerate(rows, 1) if "::endgroup::" in row), 1)
    stamp = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", rows[at - 1])
    when = stamp[0] if stamp else "2026-11-22T02:00:00"
    if major == "3":
        record = {"timestamp": f"{when}.990000Z", "level": "info", "logger": "airflow.task"}
        new = [json.dumps(record | {"event": line}) + "\n" for line in lines]
    else:
        new = [f"[{when}.990+0000] {{logging_mixin.py:190}} INFO - {line}\n" for line in lines]
    return "".join([*rows[:at], *new, *rows[at:]])


def cloudwatch(text: str, dag_id: str, task_id: str, run_id: str) -> str:
    """The log as MWAA shows it: the reader's first line, and doubled braces."""
    stream = f"dag_id={dag_id}/run_id={re.sub(r'[:+]', '_', run_id)}/task_id={task_id}/attempt=1.log"
    head = f"*** Reading remote log from Cloudwatch log_group: airflow-acme-prod-Task log_stream: {stream}.\n"
    return head + re.sub(r"^(\[[^\]]+\] )\{([^}]+)\}", r"\1{{\2}}", text, flags=re.MULTILINE)


def case(number: int, major: str, out: Path, public: dict[str, str], label: tuple[Any, ...]) -> str:
    """Write one case; what is wrong with it, or nothing."""
    dag_id, task_id, category, also, cause, key, more = label
    found = sorted(out.glob(f"logs/dag_id={dag_id}/run_id=*/task_id={task_id}/attempt=1.log"))
    if not found:
        return f"{dag_id}: no log"
    text = rewritten(found[-1].read_bytes().decode("utf-8", "replace"), major, public)
    more = dict(more)
    run_id = found[-1].parts[-3].removeprefix("run_id=")
    text = planted(text, more.pop("plant"), major) if "plant" in more else text
    text = cloudwatch(text, dag_id, task_id, run_id) if more.get("style") == "mwaa-cloudwatch" else text
    case_id = f"{'c' if major == '2' else 'd'}{number:03d}"
    values = {
        "id": case_id,
        "source": "provoked by tests/evals/make",
        "airflow": major,
        "operator": "_PythonDecoratedOperator",
        "dag_id": dag_id,
        "task_id": task_id,
        "run_id": run_id,
        "category": category,
        "also_acceptable": also,
        "root_cause": cause,
        "key_line": key,
        "key_line_in": "log" if key else "none",
        "log_lines": text.count("\n"),
        **more,
    }
    for old in CASES.glob(f"{case_id}.*"):
        old.unlink()
    (CASES / f"{case_id}.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    if len(text) > 60_000:
        (CASES / f"{case_id}.log.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    else:
        (CASES / f"{case_id}.log").write_text(text)
    left = MACHINE.search(text)
    return f"{case_id} {dag_id}: {text[max(0, left.start() - 60) : left.end() + 60]!r}" if left else ""


def main(major: str, out: Path) -> None:
    """Write every case of a major, then say what is wrong."""
    public = dict(line.split() for line in (out / "public.txt").read_text().splitlines())
    labels = importlib.import_module(f"labels{major}").LABELS
    problems = [case(number, major, out, public, label) for number, label in enumerate(labels, 1)]
    print("\n".join(filter(None, problems)) or f"{len(problems)} cases")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
