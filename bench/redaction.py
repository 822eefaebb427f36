"""Redaction beside Airflow's own masker, on the same ordinary log: `python bench/redaction.py [LOG]`.

The masker replaces the secrets that it was told; ours is told none and finds secrets by how they look or are named.
Airflow masks every record by itself (Airflow 2: a logging filter; Airflow 3: a structlog processor over the event's
dict), ours gets the text whole: each row says how it was called. Records are made before the clock starts.
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
text, secrets = open(sys.argv[1]).read(), json.loads(sys.argv[2])
lines = text.splitlines()
try:
    from airflow.sdk._shared.secrets_masker import SecretsMasker, _secrets_masker
    from airflow.sdk.log import mask_logs
    masker = _secrets_masker()
    SecretsMasker.enable_log_masking()
except ImportError:
    from airflow import settings
    from airflow.utils.log.secrets_masker import SecretsMasker
    settings.MASK_SECRETS_IN_LOGS = True  # as `airflow tasks run` sets it
    masker, mask_logs = SecretsMasker(), None
for secret in secrets:
    masker.add_mask(secret)
event = {"timestamp": "2026-11-22T10:00:00Z", "level": "info", "logger": "airflow.task", "event": ""}

def records():
    if mask_logs:
        return [{**event, "event": line} for line in lines]
    return [logging.LogRecord("airflow.task", 20, "dag.py", 1, line, None, None) for line in lines]

def per_record(made):
    for record in made:
        mask_logs(None, "info", record) if mask_logs else masker.filter(record)

def per_line(_):
    for line in lines:
        masker.redact(line)

def whole(_):
    masker.redact(text)

def seconds(call):
    times = []
    for _ in range(3):
        made = records() if call is per_record else None
        start = time.process_time(); call(made); times.append(time.process_time() - start)
    return min(times)

assert secrets[0] not in masker.redact("a " + secrets[0])
print(json.dumps({"record": seconds(per_record), "line": seconds(per_line), "whole": seconds(whole)}))
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

    lines = text.splitlines()
    touched = sum(a != b for a, b in zip(lines, Redactor().redact(text).splitlines(), strict=True))
    print(f"ordinary log: {len(text) / 1e6:.1f} MB, {len(lines)} lines, {touched} of them touched")
    for count in (5, 50):
        chance = random.Random(3)
        secrets = [*SECRETS, *(f"{chance.getrandbits(96):x}" for _ in range(count - len(SECRETS)))]
        beside_the_masker(path, text, secrets)


def beside_the_masker(path: Path, text: str, secrets: list[str]) -> None:
    from airflow_de_agent.core.redaction import Redactor

    ours = best(lambda: Redactor().redact(text))
    print(f"\n{f'{len(secrets)} registered secrets':44}{'MB/s':>8}{'ours is':>10}")
    print(f"{'ours, whole text':44}{len(text) / ours / 1e6:8.0f}")
    rows = {"record": "as the host calls it, per record", "line": "redact(line)", "whole": "redact(whole text)"}
    for name in ("airflow2", "airflow3"):
        python = ROOT / ".venv" / name / "bin" / "python"
        if not python.exists():
            print(f"{name}: no environment")
            continue
        figures = json.loads(run([python, "-c", MASKER, path, json.dumps(secrets)]).splitlines()[-1])
        for key, label in rows.items():
            print(f"{name + ': ' + label:44}{len(text) / figures[key] / 1e6:8.0f}{figures[key] / ours:9.1f}x")


EXCEPTION = """Traceback (most recent call last):
  File "/usr/local/airflow/dags/sales_etl.py", line 42, in load
    conn = psycopg2.connect(host=host, user=user, password=get_password("etl"))
psycopg2.OperationalError: connection to server at "10.0.3.7", port 5439 failed:
FATAL:  password authentication failed for user "etl"
"""

FRESH = r"""
import sys, time, re, json, binascii, functools, typing, collections.abc
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
        "<token>a</",
        "auth='",
        'cred="',
        "a/b@//",
        "@",
        "SK-",
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
