"""Redaction beside Airflow's own masker, on the same ordinary log: `python bench/redaction.py [LOG]`.

The masker replaces registered secrets only; ours knows the same five and looks for all other secrets too. Airflow masks
every record by itself (Airflow 2: a logging filter; Airflow 3: a structlog processor over the event's dict), ours gets
the text whole: each row says how it was called.
All times are processor time. Also: cost of the import, of an exception's text, of hostile text.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SECRETS = ["pg_91_rT5xqW", "wJalr" + "XUtnFEMIK7MDENG", "Sn0w" + "fl4ke_ETL", "etl-" + "kJ8vLq2Zp", "0a9" + "adminpass"]

MASKER = r"""
import json, logging, sys, time
try:
    from airflow._shared.secrets_masker import SecretsMasker
except ImportError:
    from airflow.utils.log.secrets_masker import SecretsMasker
text, secrets = open(sys.argv[1]).read(), json.loads(sys.argv[2])
masker = SecretsMasker()
masker.sensitive_variables_fields = ["password", "secret", "token", "api_key"]
for secret in secrets:
    masker.add_mask(secret)
if hasattr(SecretsMasker, "enable_log_masking"):
    SecretsMasker.enable_log_masking()
lines = text.splitlines()

def whole():
    masker.redact(text)

def per_line():
    for line in lines:
        masker.redact(line)

def as_run():
    for line in lines:
        record = logging.LogRecord("airflow.task", 20, "dag.py", 1, line, None, None)
        masker.filter(record)

def as_event():
    for line in lines:
        masker.redact({"timestamp": "2026-11-22T10:00:00Z", "level": "info", "logger": "task", "event": line})

def seconds(call):
    best = 1e9
    for _ in range(3):
        start = time.process_time(); call(); best = min(best, time.process_time() - start)
    return best

calls = {"whole": whole, "line": per_line, "record": as_run, "event": as_event}
print(json.dumps({name: seconds(call) for name, call in calls.items()}))
"""


def ordinary_log(size: int) -> str:
    """Task log lines such as Airflow, boto3, dbt and Spark write, without a secret; `size` characters."""
    chance = random.Random(7)
    stamp = "[2026-11-22T10:{m:02}:{s:02}.{n:03}+0000] "
    shapes = (
        stamp + "{{taskinstance.py:{n}}} INFO - Executing <Task(PythonOperator): load_{w}> on {t}",
        stamp
        + "{{subprocess.py:106}} INFO - {w}: {n} rows to s3://acme-lake/raw/{w}/dt=2026-11-22/part-{n:05}.parquet",
        stamp + "{{base.py:84}} INFO - Retrieving connection 'redshift_{w}' for job {u}",
        '{{"timestamp":"2026-11-22T10:{m:02}:{s:02}.{n:03}Z","level":"info","event":"Fetched {n} pages of {w}",'
        '"task_id":"load_{w}","try_number":1,"run_id":"scheduled__2026-11-22T00:00:00+00:00","ti_id":"{u}"}}',
        "26/11/22 10:{m:02}:{s:02} INFO TaskSetManager: Finished task {n}.0 in stage {m}.0 (TID {n}) in {n} ms",
        "10:{m:02}:{s:02}  {m} of {s} OK created sql table model analytics.fct_{w} [SELECT {n} in {s}.{m:02}s]",
        '  File "/usr/local/airflow/dags/{w}.py", line {n}, in transform_{w}',
        "    frame = frame.merge(read_table(cursor, schema='staging', table='{w}'), on='customer_id', how='left')",
    )
    words = ("orders", "customers", "inventory", "payments", "sessions", "shipments", "ledger", "prices")
    lines, length = [], 0
    while length < size:
        u = f"{chance.getrandbits(128):032x}"
        values = {"m": chance.randrange(60), "s": chance.randrange(60), "n": chance.randrange(1000)}
        lines.append(
            chance.choice(shapes).format(**values, w=chance.choice(words), t=f"2026-11-22 00:{values['m']:02}", u=u)
        )
        length += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"


def best(call: Callable[[], object], times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def run(argv: list[object]) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=True, env=environ).stdout


def side_by_side(path: Path, text: str) -> None:
    from airflow_de_agent.core.redaction import Redactor

    ours = best(lambda: Redactor(known=SECRETS).redact(text))
    lines = text.splitlines()
    touched = sum(a != b for a, b in zip(lines, Redactor().redact(text).splitlines(), strict=True))
    print(f"ordinary log: {len(text) / 1e6:.1f} MB, {len(lines)} lines, {touched} of them touched")
    print(f"{'':44}{'MB/s':>8}{'ours is':>10}")
    print(f"{'ours, whole text':44}{len(text) / ours / 1e6:8.0f}")
    for name in ("airflow2", "airflow3"):
        python = ROOT / ".venv" / name / "bin" / "python"
        if not python.exists():
            print(f"{name}: no environment")
            continue
        answer = subprocess.run(
            [python, "-c", MASKER, path, json.dumps(SECRETS)], capture_output=True, text=True, check=True
        )
        figures = json.loads(answer.stdout.splitlines()[-1])
        own = {"airflow2": "record", "airflow3": "event"}[name]
        rows = {own: "as the host calls it, per record", "line": "redact(line)", "whole": "redact(whole text)"}
        for key, label in rows.items():
            print(f"{name + ': ' + label:44}{len(text) / figures[key] / 1e6:8.0f}{figures[key] / ours:9.1f}x")


EXCEPTION = """Traceback (most recent call last):
  File "/usr/local/airflow/dags/sales_etl.py", line 42, in load
    conn = psycopg2.connect(host=host, user=user, password=get_password("etl"))
psycopg2.OperationalError: connection to server at "10.0.3.7", port 5439 failed:
FATAL:  password authentication failed for user "etl"
"""

FRESH = r"""
import sys, time, re, binascii, functools, typing, collections.abc
sys.path.insert(0, sys.argv[1])
import airflow_de_agent.core
start = time.process_time()
from airflow_de_agent.core.redaction import Redactor
imported = time.process_time()
Redactor().redact(sys.argv[2])
first = time.process_time()
Redactor().redact(sys.argv[2])
again = time.process_time()
print(imported - start, first - imported, again - first)
"""


def in_the_task_process() -> None:
    runs = []
    for _ in range(15):
        argv = [sys.executable, "-c", FRESH, str(ROOT), EXCEPTION]
        runs.append([float(x) for x in run(argv).split()])
    medians = [statistics.median(column) * 1000 for column in zip(*runs, strict=True)]
    print(
        "\nin a fresh process, median of 15, ms: import {:.2f}, an exception's text {:.2f}, again {:.3f}".format(
            *medians
        )
    )


def hostile(size: int = 1_000_000) -> None:
    from airflow_de_agent.core.redaction import Redactor

    units = (
        "password=",
        "secret='",
        'token="',
        "token:token:",
        "token=arn:",
        'api_key=\\"',
        "pass",
        "pwd ",
        "auth=",
        "cred-",
    )
    units += (
        "cookie:a=",
        "://a:b@",
        "://u:" + "p" * 250,
        "-eyJ",
        "bearer a",
        "basic QUJD",
        "mysql -u a ",
        "curl -u a ",
    )
    units += (
        "AKIA" + "Q" * 16 + "/",
        "x-amz-credential=",
        "sk-",
        "xoxb-",
        "identified by ",
        "[REDACTED:password#1]",
        "\\",
    )
    units += (
        "-----BEGIN RSA " + "PRIVATE KEY-----\n",
        "-----END " + "PRIVATE KEY-----",
        "a.b@c.",
        "\u0130",
        "\x00",
        "A",
        " ",
    )
    texts = {unit: unit * (size // len(unit)) for unit in units}
    worst = sorted(((best(lambda t=t: Redactor(emails=True).redact(t), 1), u) for u, t in texts.items()), reverse=True)
    print(f"\nhostile text of {size / 1e6:.0f} MB, {len(units)} families, slowest in seconds:")
    for seconds, unit in worst[:5]:
        print(f"  {seconds:.2f}  {unit[:40]!r}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "ordinary.log"
        if len(sys.argv) == 1:
            path.write_text(ordinary_log(5_000_000))
        side_by_side(path, path.read_text(errors="replace"))
    in_the_task_process()
    hostile()


if __name__ == "__main__":
    main()
