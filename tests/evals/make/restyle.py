"""The same failures in other shapes: ``restyle.py``, after ``collect.py``.

What a log goes through between a task and its reader: CloudWatch exports, terminals, cut-offs, other encodings, noise.
"""

# ruff: noqa: E501 - samples of lines stand on one line

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1]
NOISE = random.Random(20261122)


def exported(text: str) -> bytes:
    """As `aws logs tail` prints it: time and stream before every line."""
    stream = "dag_id=x/run_id=scheduled__2026-11-21T00_00_00+00_00/task_id=y/attempt=1.log"
    return "".join(
        f"2026-11-22T02:{n // 60 % 60:02d}:{n % 60:02d}.114000+00:00 {stream} {row}\n"
        for n, row in enumerate(text.splitlines())
    ).encode()


def events(text: str) -> bytes:
    """As `filter-log-events` answers: one JSON event a line."""
    rows = enumerate(text.splitlines())
    return "".join(
        json.dumps({"timestamp": 1795312000000 + n, "message": row, "ingestionTime": 1795312004000 + n}) + "\n"
        for n, row in rows
    ).encode()


def terminal(text: str) -> bytes:
    """Colours, a progress bar that rewrites its line, and a few NUL bytes."""
    bar = "".join(f"\r\x1b[32m{'#' * (n // 4):<25}\x1b[0m {n:3d}% {n * 811:>6} rows/s" for n in range(101))
    rows = text.splitlines()
    middle = next(n for n, row in enumerate(rows) if "::endgroup::" in row) + 1
    coloured = [
        row.replace("ERROR", "\x1b[1;31mERROR\x1b[0m").replace("WARNING", "\x1b[33mWARNING\x1b[0m") for row in rows
    ]
    return "\n".join([*coloured[:middle], bar, "\0\0\0", *coloured[middle:]]).encode()


def latin(text: str) -> bytes:
    """A program that writes Latin-1 into a UTF-8 log."""
    rows = text.splitlines()
    middle = next(n for n, row in enumerate(rows) if "::endgroup::" in row) + 1
    odd = "Lieferant M\xfcller GmbH, Stra\xdfe 5, 12,50 \xa4".encode("latin-1")
    return b"\n".join([*(row.encode() for row in rows[:middle]), odd, *(row.encode() for row in rows[middle:])]) + b"\n"


def windows(text: str) -> bytes:
    """Saved by an editor on Windows."""
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


def tail(text: str) -> bytes:
    """Only the last third: the beginning of the traceback is cut off."""
    return text[len(text) * 2 // 3 :].encode()


def noisy(text: str) -> bytes:
    """In the middle of 6,000 lines, 800 of which look like errors and are none."""
    rows = text.splitlines()
    middle = next(n for n, row in enumerate(rows) if "::endgroup::" in row) + 1
    before, after = ([noise_row(n) for n in range(start, start + 3_000)] for start in (0, 3_000))
    end = next(n for n, row in enumerate(rows) if "Task failed with exception" in row)
    return "\n".join([*rows[:middle], *before, *rows[middle:end], *after, *rows[end:]]).encode()


def noise_row(number: int) -> str:
    """An ordinary line, or a harmless error."""
    stamp = f"[2026-11-22T{2 + number // 7200:02d}:{number // 120 % 60:02d}:{number // 2 % 60:02d}.{NOISE.randrange(1000):03d}+0000]"
    batch, rows = NOISE.randrange(90_000), NOISE.randrange(1, 900)
    if NOISE.random() < 0.14:
        kind = NOISE.choice(
            [
                "ReadTimeout on shard {0}, retry 1 of 5",
                "HTTP 503 from replica {0}, using the next one",
                "KeyError 'promo' in optional field of batch {0}, default taken",
            ]
        )
        return f"{stamp} {{loader.py:88}} ERROR - {kind.format(batch % 64)} (recovered)"
    return f"{stamp} {{loader.py:71}} INFO - batch {batch}: {rows} rows in {rows * 3} ms"


def one_line(text: str) -> bytes:
    """With a line of 1 MB, as a careless dump of a response leaves it."""
    rows = text.splitlines()
    middle = next(n for n, row in enumerate(rows) if "::endgroup::" in row) + 1
    dump = (
        "[2026-11-22T02:00:03.114+0000] {api.py:31} INFO - response: ["
        + ",".join(f'{{"id": {n}, "status": "ok"}}' for n in range(40_000))
        + "]"
    )
    return "\n".join([*rows[:middle], dump, *rows[middle:]]).encode()


def shown(text: str) -> bytes:
    """Airflow 3's records as its page shows them."""
    rows = []
    for line in text.splitlines():
        record = json.loads(line)
        rows.append(
            f"[{record['timestamp'][:19].replace('T', ' ')}] {record['level'].upper()} - {record['event']} source={record.get('logger', 'task')}"
        )
        for error in record.get("error_detail", []):
            rows.append(f"{error['exc_type']}: {error['exc_value']}")
            rows += [
                f'File "{frame["filename"]}", line {frame["lineno"]} in {frame["name"]}' for frame in error["frames"]
            ]
    return ("\n".join(rows) + "\n").encode()


def after(first: tuple[str, str]) -> Callable[[str], bytes]:
    """A second try, after a first one that failed for another reason."""
    return lambda text: (
        read(*first)[1]
        + text.replace("Starting attempt 1 of 1", "Starting attempt 2 of 2").replace(
            "AIRFLOW_CTX_TRY_NUMBER='1'", "AIRFLOW_CTX_TRY_NUMBER='2'"
        )
    ).encode()


def read(dag_id: str, task_id: str) -> tuple[dict[str, Any], str]:
    """The label and the log of a case."""
    for path in CASES.glob("[cde]*.json"):
        label = json.loads(path.read_text())
        if (label["dag_id"], label["task_id"]) == (dag_id, task_id):
            return label, path.with_suffix(".log").read_text()
    raise LookupError(f"{dag_id}.{task_id}")


SHAPES: list[tuple[tuple[str, str], Callable[[str], bytes]]] = [
    (("orders_dedupe", "insert_orders"), exported),
    (("revenue_view", "create_view"), events),
    (("payroll_extract", "extract_salaries"), events),
    (("merge_masters", "merge"), terminal),
    (("pod_train", "train_model"), terminal),
    (("gcs_mirror", "copy_to_gcs"), latin),
    (("excel_import", "read_book"), windows),
    (("bulk_match", "match"), tail),
    (("delta_orders", "merge_orders"), tail),
    (("orders_stage", "stage_orders"), noisy),
    (("temp_cleanup", "rebuild_facts"), noisy),
    (("bq_load", "load_orders"), one_line),
    (("stock_rebalance", "rebalance"), shown),
    (("fx_rates_load", "fetch_rates"), shown),
    (("mysql_prices", "update_prices"), after(("bq_backend", "export_table"))),
    (("s3_scp", "copy_backup"), after(("history_api", "get_history"))),
]


def main() -> None:
    """Write every case."""
    for number, (base, restyled) in enumerate(SHAPES, 1):
        label, text = read(*base)
        log = restyled(text)
        case_id = f"f{number:03d}"
        values = label | {"id": case_id, "source": f"{label['id']} in another shape", "log_lines": log.count(b"\n")}
        for old in CASES.glob(f"{case_id}.*"):
            old.unlink()
        (CASES / f"{case_id}.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
        packed = len(log) > 60_000
        (CASES / f"{case_id}.log{'.gz' if packed else ''}").write_bytes(
            gzip.compress(log, 9, mtime=0) if packed else log
        )


if __name__ == "__main__":
    main()
