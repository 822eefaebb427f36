"""DAGs that fail for instructive reasons. Trigger any of them and look at what the agent says.

None has a callback of its own: the policy attaches it. Runs on Airflow 2 and 3.
"""

from __future__ import annotations

import datetime
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

try:
    from airflow.providers.standard.sensors.filesystem import FileSensor
    from airflow.sdk import DAG, task
except ImportError:
    from airflow.decorators import task
    from airflow.models import DAG
    from airflow.sensors.filesystem import FileSensor
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def example(name: str, about: str) -> DAG:
    return DAG(f"example_{name}", description=about, schedule=None, start_date=START, tags=["de-agent-example"])


with example("chained_exception", "A KeyError that its caller turns into something vague"):

    @task
    def convert_orders():
        orders = [{"id": 1, "amount": "12.50"}, {"id": 2, "total": "8.00"}]
        try:
            return sum(float(order["amount"]) for order in orders)
        except KeyError as exc:
            raise RuntimeError("conversion failed") from exc

    convert_orders()


with example("sql_error", "A query on a table that is not there, against a real PostgreSQL"):
    SQLExecuteQueryOperator(
        task_id="daily_revenue",
        conn_id="example_warehouse",
        sql="SELECT order_date, sum(amount) FROM sales.orders_daily GROUP BY order_date",
    )


with example("missing_file", "A sensor that waits for a file nobody delivers"):
    FileSensor(task_id="wait_for_orders", filepath="/tmp/de-agent-example/orders.csv", timeout=3, poke_interval=1)


class Unauthorised(http.server.BaseHTTPRequestHandler):
    """An API that knows nobody."""

    def do_GET(self):
        body = json.dumps({"error": "invalid_client", "error_description": "the API key has expired"}).encode()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Bearer error="invalid_token"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        print("vendor API:", *arguments[1:])


with example("bad_credentials", "A vendor API that refuses the key"):

    @task
    def fetch_rates():
        server = http.server.HTTPServer(("127.0.0.1", 0), Unauthorised)
        threading.Thread(target=server.handle_request, daemon=True).start()
        request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}/v1/rates")
        request.add_header("Authorization", "Bearer an-expired-key")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    fetch_rates()


with example("out_of_memory", "A child process that grows until the limit of its container kills it"):

    @task
    def build_features():
        limit = 150 * 1024 * 1024
        child = subprocess.Popen([sys.executable, "-c", "rows = [bytearray(10**6) for _ in range(10**4)]"])
        while child.poll() is None:
            pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
            if pages * os.sysconf("SC_PAGE_SIZE") > limit:
                print(f"Memory limit of {limit >> 20} MiB exceeded: killing process {child.pid}", flush=True)
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
        subprocess.CompletedProcess(child.args, child.returncode).check_returncode()

    build_features()


with example("too_slow", "A task that outlasts its execution_timeout"):

    @task(execution_timeout=datetime.timedelta(seconds=3))
    def rebuild_index():
        print("rebuilding 4,000,000 rows")
        time.sleep(120)

    rebuild_index()


with example("fan_out", "Fifty mapped tasks that fail for one reason: the feature store is down"):

    @task
    def partitions():
        return list(range(50))

    @task
    def upload(part):
        print(f"uploading part {part}")
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        socket.create_connection(("127.0.0.1", port), timeout=3)

    upload.expand(part=partitions())


with example("domino", "One failure that drags five tasks down"):

    @task
    def extract():
        print("reading s3://acme-landing/orders/2026-11-21.csv")
        header = "id;amount;currency"
        columns = header.split(",")
        return {"amount": columns.index("amount")}

    @task
    def step(value):
        return value

    value = extract()
    for name in ("clean", "enrich", "aggregate", "publish", "notify_finance"):
        value = step.override(task_id=name)(value)


with example("missing_module", "A library that this worker does not have"):

    @task
    def forecast():
        import prophet_of_doom

        return prophet_of_doom.predict()

    forecast()


with example("bad_data", "A value that is not a number in line 3 of a file"):

    @task
    def load_amounts():
        lines = ["12.50", "8.00", "n/a", "3.10"]
        total = 0.0
        for number, line in enumerate(lines, 1):
            print(f"line {number}: {line}")
            total += float(line)
        return total

    load_amounts()
