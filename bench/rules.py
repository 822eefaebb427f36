"""How long a diagnosis by rules takes: an ordinary log, a long one, and texts made to hurt regular expressions.

Run as ``.venv/dev/bin/python bench/rules.py``; prints milliseconds, and each as a ratio to the ordinary log.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from airflow_de_agent.core import rules  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.evidence import Line  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.failure import CapturedException, TaskFailure, TaskKey  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.matching import matches  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.offline import diagnose_log  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.signatures import table  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.statements import WEIGHTS, Statement  # noqa: E402 - beside the package, not installed
from airflow_de_agent.core.task_log import TaskLog, distil  # noqa: E402 - beside the package, not installed

LINES = (
    "10:00:01 {{load.py:12}} INFO - page {n} of 1000 fetched from orders, 500 rows, 12.{n} ms",
    "10:00:01 {{load.py:14}} WARNING - slow answer, retrying page {n}: HTTP 503 Service Unavailable",
    "10:00:02 {{s3.py:88}} INFO - wrote s3://acme-raw/orders/2026-11-22/part-{n}.parquet",
    "10:00:02 {{load.py:31}} ERROR - page {n} gave up: KeyError: 'amount'",
)
FAILURE = TaskFailure(
    TaskKey("sales_etl", "scheduled__2026-11-22", "load_orders"),
    "task",
    "",
    exceptions=(
        CapturedException("botocore.exceptions.ClientError", "An error occurred (SlowDown) when calling PutObject"),
    ),
)
PIECES = ("a", " a", "'a", "1.", "x=", "([{", "a/b", "error ", "No such file or directory: ", "\u00e9")


def main() -> None:
    """Print the table."""
    short, long = (TaskLog(tuple(_lines(count)), (), count) for count in (100, 1000))
    rules.diagnose(FAILURE, short)
    base = _milliseconds(lambda: rules.diagnose(FAILURE, short))
    _row("100 lines", base, base)
    log = "\n".join(line.text for line in long.lines).encode()
    _row("1,000 lines, read, redacted, distilled, diagnosed", _milliseconds(lambda: diagnose_log([log], FAILURE)), base)
    distilled = distil([log], redact=lambda text: text)
    _row(
        "1,000 lines, distilled to 4,000 tokens before", _milliseconds(lambda: rules.diagnose(FAILURE, distilled)), base
    )
    _row("1,000 lines, none left out", _milliseconds(lambda: rules.diagnose(FAILURE, long)), base)
    for piece in PIECES:
        failure = TaskFailure(
            FAILURE.key, "task", "", exceptions=(CapturedException("E", piece * (1_000_000 // len(piece))),)
        )
        _row(f"1 MB of {piece!r}", _milliseconds(lambda f=failure: rules.diagnose(f, TaskLog(())), 1), base)
    slowest, name = max((_worst(row), row.name) for row in table())
    _row(f"slowest row on its own worst text ({name})", slowest, base)
    _row("import", _import_milliseconds(), base)


def _lines(count: int) -> list[Line]:
    return [Line(n, LINES[n % len(LINES)].format(n=n)) for n in range(1, count + 1)]


def _worst(row: object) -> float:
    """The longest of one row's times on windows full of what its repeats like, around each of its hints."""
    texts = [piece * 700 + hint + piece * 700 for piece in PIECES for hint in row.hints[:6]]  # type: ignore[attr-defined]
    said = [Statement(text, "error", WEIGHTS["error"], "task_log", 1) for text in texts]
    return max(_milliseconds(lambda s=one: matches([s], [row]), 1) for one in said)


def _milliseconds(call: object, times: int = 5) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        call()  # type: ignore[operator]
        best = min(best, time.perf_counter() - began)
    return best * 1000


def _import_milliseconds() -> float:
    code = (
        "import time; t = time.perf_counter(); import airflow_de_agent.core.rules; "
        "print((time.perf_counter() - t) * 1000)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return float(ran.stdout)


def _row(name: str, milliseconds: float, base: float) -> None:
    print(f"{name:<70} {milliseconds:>9.1f} ms {milliseconds / base:>7.1f}x")


if __name__ == "__main__":
    main()
