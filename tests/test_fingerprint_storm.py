"""A storm of forty causes, written before its author had read the fingerprint: one group is what one repair mends.

Ids, dates, machines, counts, map indexes, tries, DAGs and the host's log format vary within a cause; near misses
(another table, bucket, permission, user, column, status) are causes of their own.
"""

# ruff: noqa: E501 - error texts are quoted as they come.

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.fingerprint import fingerprint
from airflow_de_agent.core.offline import diagnose_log

SITE_2 = "/usr/local/airflow/.local/lib/python3.11/site-packages"
SITE_3 = "/usr/local/airflow/.local/lib/python3.12/site-packages"
TIMES_EACH = 10

# (file, line, function, code); "{site}" stands for the libraries' folder
FrameText = tuple[str, int, str, str]


class Link(NamedTuple):
    """One exception: its type, its message with `{places}` for what varies, and the frames that raised it."""

    type: str
    message: str
    frames: tuple[FrameText, ...] = ()


class Cause(NamedTuple):
    """What one repair mends. `dag` is empty where tasks of several DAGs meet the cause."""

    name: str
    links: tuple[Link, ...]
    dag: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


BOTO = ("{site}/botocore/client.py", 1078, "_make_api_call", "raise error_class(parsed_response, operation_name)")
POSTGRES = ("{site}/airflow/providers/common/sql/hooks/sql.py", 583, "_run_command", "cur.execute(sql_statement)")
HTTP = ("{site}/requests/models.py", 1026, "raise_for_status", "raise HTTPError(http_error_msg, response=self)")
ROLE = "arn:aws:sts::123456789012:assumed-role/acme-mwaa-execution/AmazonMWAA-airflow"


def refused(action: str, operation: str, resource: str) -> tuple[Link, ...]:
    return (
        Link(
            "botocore.exceptions.ClientError",
            f"An error occurred (AccessDenied) when calling the {operation} operation: User: {ROLE} is not authorized "
            f'to perform: {action} on resource: "{resource}" because no identity-based policy allows the {action} action',
            (BOTO,),
        ),
    )


def sql(kind: str, message: str) -> tuple[Link, ...]:
    return (Link(f"psycopg2.{kind}", message, (POSTGRES,)),)


def own(type_: str, message: str, file: str, line: int, function: str, code: str) -> tuple[Link, ...]:
    return (Link(type_, message, ((f"/usr/local/airflow/dags/{file}", line, function, code),)),)


CAUSES = (
    Cause(
        "table orders is absent",
        sql(
            "errors.UndefinedTable",
            "relation \"analytics.orders\" does not exist\nLINE {n}:   FROM analytics.orders WHERE day = '{date}'\n               ^",
        ),
    ),
    Cause(
        "table order_items is absent",
        sql(
            "errors.UndefinedTable",
            "relation \"analytics.order_items\" does not exist\nLINE {n}:   FROM analytics.order_items WHERE day = '{date}'\n               ^",
        ),
    ),
    Cause(
        "column customer_id is absent",
        own("KeyError", "'customer_id'", "crm.py", 61, "join_customers", 'frame = frame.set_index("customer_id")'),
        "crm",
        before=("read {n} rows of {date}",),
    ),
    Cause(
        "column client_id is absent",
        own("KeyError", "'client_id'", "crm.py", 64, "join_customers", 'other = other.set_index("client_id")'),
        "crm",
        before=("read {n} rows of {date}",),
    ),
    Cause(
        "may not read raw",
        refused("s3:GetObject", "GetObject", "arn:aws:s3:::acme-raw/{date}/part-{hex}.parquet"),
    ),
    Cause(
        "may not write raw",
        refused("s3:PutObject", "PutObject", "arn:aws:s3:::acme-raw/{date}/part-{hex}.parquet"),
    ),
    Cause(
        "may not read curated",
        refused("s3:GetObject", "GetObject", "arn:aws:s3:::acme-curated/{date}/part-{hex}.parquet"),
    ),
    Cause(
        "bucket landing is absent",
        (
            Link(
                "botocore.errorfactory.NoSuchBucket",
                "An error occurred (NoSuchBucket) when calling the ListObjectsV2 operation: The specified bucket does not exist",
                (BOTO,),
            ),
        ),
        before=("listing s3://acme-landing/{dag}/{date}/",),
    ),
    Cause(
        "the day's export is absent",
        own(
            "FileNotFoundError",
            "[Errno 2] No such file or directory: '/tmp/export_{hex}/{date}/orders_{n}.csv'",
            "export.py",
            33,
            "read_export",
            "with open(path) as file:",
        ),
        "export",
    ),
    Cause(
        "two transactions on one table",
        sql(
            "errors.InternalError_",
            "1023\nDETAIL:  Serializable isolation violation on table - {n}, transactions forming the cycle are: {n}, {n} (pid:{n})",
        ),
    ),
    Cause(
        "the cluster's disk is full",
        sql(
            "errors.DiskFull",
            "Disk Full\nDETAIL:  \n  -----------------------------------------------\n  error:  Disk Full\n  code:      1016\n"
            "  context:   node: {n}\n  query:     {n}\n  location:  fdisk_api.cpp:{n}\n  process:   query0_{n} [pid={n}]\n"
            "  -----------------------------------------------",
        ),
    ),
    Cause(
        "the warehouse is down",
        sql(
            "OperationalError",
            'connection to server at "{ip}", port 5439 failed: Connection refused\n'
            "\tIs the server running on that host and accepting TCP/IP connections?",
        ),
    ),
    Cause(
        "the loader's password is wrong",
        sql(
            "OperationalError",
            'connection to server at "{ip}", port 5439 failed: FATAL:  password authentication failed for user "etl_loader"',
        ),
    ),
    Cause(
        "the reader's password is wrong",
        sql(
            "OperationalError",
            'connection to server at "{ip}", port 5439 failed: FATAL:  password authentication failed for user "etl_reader"',
        ),
    ),
    Cause(
        "an order came twice",
        sql(
            "errors.UniqueViolation",
            'duplicate key value violates unique constraint "orders_pkey"\nDETAIL:  Key (order_id)=({n}) already exists.',
        ),
    ),
    Cause(
        "a customer came twice",
        sql(
            "errors.UniqueViolation",
            'duplicate key value violates unique constraint "customers_pkey"\nDETAIL:  Key (customer_id)=({n}) already exists.',
        ),
    ),
    Cause(
        "deadlock",
        sql(
            "errors.DeadlockDetected",
            "deadlock detected\nDETAIL:  Process {n} waits for ShareLock on transaction {n}; blocked by process {n}.\n"
            "Process {n} waits for ShareLock on transaction {n}; blocked by process {n}.\nHINT:  See server log for query details.",
        ),
    ),
    *(
        Cause(
            f"Glue job {job} fails",
            (
                Link(
                    "airflow.exceptions.AirflowException",
                    f"Exiting Job jr_{{hex}}{{hex}} Run State: FAILED\nJob {job} failed: {why}",
                    (("{site}/airflow/providers/amazon/aws/hooks/glue.py", 365, "job_completion", "raise job_error"),),
                ),
            ),
            f"{job}_glue",
            before=(f"Initializing AWS Glue Job: {job}. Wait for completion: True", f"Running Glue Job: {job}"),
        )
        for job, why in (
            ("orders", "AnalysisException: cannot resolve 'discount' given input columns: [id, day, amount]"),
            ("inventory", "AnalysisException: cannot resolve 'depot' given input columns: [id, day, amount]"),
        )
    ),
    Cause(
        "the function is too slow",
        (
            Link(
                "airflow.exceptions.AirflowException",
                "Lambda function execution resulted in error: 2026-11-22T10:08:51.775Z {uuid} Task timed out after 900.{n} seconds",
                (
                    (
                        "{site}/airflow/providers/amazon/aws/operators/lambda_function.py",
                        272,
                        "execute",
                        "raise ValueError(",
                    ),
                ),
            ),
        ),
        "thumbnails",
    ),
    *(
        Cause(
            f"package {module} is absent",
            own("ModuleNotFoundError", f"No module named '{module}'", file, line, "check", f"import {module}"),
            dag,
        )
        for module, file, line, dag in (
            ("great_expectations", "quality.py", 12, "quality"),
            ("snowflake", "quality.py", 13, "quality"),
        )
    ),
    Cause(
        "out of memory",
        (
            Link(
                "airflow.exceptions.AirflowException",
                "Bash command failed. The command returned a non-zero exit code 137.",
                (("{site}/airflow/operators/bash.py", 276, "execute", "raise AirflowException("),),
            ),
        ),
        "compact",
        before=("Running command: ['/usr/bin/bash', '-c', 'python compact.py --day {date}']", "compacting {n} files"),
        after=("/tmp/airflowtmp{hex}: line 1: {n} Killed                  python compact.py --day {date}",),
    ),
    Cause(
        "the CRM's limit",
        (
            Link(
                "requests.exceptions.HTTPError",
                "429 Client Error: Too Many Requests for url: https://api.crm.example/v2/contacts?page={n}&since={date}",
                (HTTP,),
            ),
        ),
    ),
    Cause(
        "the CRM is down",
        (
            Link(
                "requests.exceptions.HTTPError",
                "503 Server Error: Service Unavailable for url: https://api.crm.example/v2/contacts?page={n}&since={date}",
                (HTTP,),
            ),
        ),
    ),
    Cause(
        "the feed is no JSON",
        (
            Link(
                "json.decoder.JSONDecodeError",
                "Expecting value: line {n} column {n} (char {n})",
                (
                    ("/usr/local/airflow/dags/feed.py", 44, "parse", "document = json.loads(text)"),
                    ("/usr/lib/python3/json/decoder.py", 355, "raw_decode", "raise JSONDecodeError(...) from None"),
                ),
            ),
        ),
        "feed",
    ),
    Cause(
        "a date of another form",
        own(
            "ValueError",
            "time data '{date}T{n}' does not match format '%Y-%m-%d'",
            "shipments.py",
            27,
            "parse_day",
            'return datetime.strptime(text, "%Y-%m-%d")',
        ),
        "shipments",
    ),
    Cause(
        "no sales to divide by",
        own("ZeroDivisionError", "division by zero", "kpi.py", 18, "margin", "return profit / sales"),
        "kpi",
        before=("margin of store {n} on {date}",),
    ),
    Cause(
        "a text among the amounts",
        own(
            "TypeError",
            "unsupported operand type(s) for +: 'float' and 'str'",
            "kpi.py",
            31,
            "total",
            "total = total + row.amount",
        ),
        "kpi",
        before=("total of store {n} on {date}",),
    ),
    *(
        Cause(
            f"connection {connection} is absent",
            (
                Link(
                    "airflow.exceptions.AirflowNotFoundException",
                    f"The conn_id `{connection}` isn't defined",
                    (
                        (
                            "{site}/airflow/hooks/base.py",
                            82,
                            "get_connection",
                            "conn = Connection.get_connection_from_secrets(conn_id)",
                        ),
                    ),
                ),
            ),
        )
        for connection in ("redshift_dwh", "mysql_shop")
    ),
    Cause(
        "the supplier's file does not come",
        (
            Link(
                "airflow.exceptions.AirflowSensorTimeout",
                "Sensor has timed out; run duration of {n}.{n} seconds exceeds the specified timeout of 3600.0.",
                (("{site}/airflow/sensors/base.py", 292, "execute", "raise AirflowSensorTimeout(message)"),),
            ),
        ),
        "supplier",
        before=("Poking for key : s3://acme-landing/supplier/{date}/_SUCCESS",) * 3,
    ),
    Cause(
        "Athena is throttled",
        (
            Link(
                "botocore.exceptions.ClientError",
                "An error occurred (ThrottlingException) when calling the StartQueryExecution operation (reached max retries: 4): "
                "Rate exceeded",
                (BOTO,),
            ),
        ),
    ),
    Cause(
        "the token has expired",
        (
            Link(
                "botocore.exceptions.ClientError",
                "An error occurred (ExpiredToken) when calling the ListObjectsV2 operation: The provided token has expired.",
                (BOTO,),
            ),
        ),
    ),
    *(
        Cause(
            f"dbt model {model} has no column {column}",
            (
                Link(
                    "airflow.exceptions.AirflowException",
                    "Bash command failed. The command returned a non-zero exit code 1.",
                    (("{site}/airflow/operators/bash.py", 276, "execute", "raise AirflowException("),),
                ),
            ),
            "dbt",
            before=(
                "{clock}  Running with dbt=1.8.{n}",
                "{clock}  Completed with 1 error, 0 partial successes, and 0 warnings:",
                f"{{clock}}    Database Error in model {model} (models/staging/{model}.sql)",
                f'{{clock}}  column "{column}" does not exist',
                f"{{clock}}  compiled code at target/run/shop/models/staging/{model}.sql",
                "{clock}  Done. PASS={n} WARN=0 ERROR=1 SKIP={n} TOTAL={n}",
            ),
        )
        for model, column in (("stg_orders", "amount"), ("stg_payments", "method"))
    ),
    *(
        Cause(
            f"Snowflake knows no {table}",
            (
                Link(
                    "snowflake.connector.errors.ProgrammingError",
                    f"002003 (42S02): {{uuid}}: SQL compilation error:\nObject 'RAW.{table}' does not exist or not authorized.",
                    (("{site}/snowflake/connector/errors.py", 284, "default_errorhandler", "raise error_class("),),
                ),
            ),
        )
        for table in ("ORDERS", "STORES")
    ),
    Cause(
        "a variable is absent",
        (
            Link(
                "KeyError",
                "'Variable FEED_URL does not exist'",
                (
                    (
                        "{site}/airflow/models/variable.py",
                        143,
                        "get",
                        'raise KeyError(f"Variable {{key}} does not exist")',
                    ),
                ),
            ),
        ),
        "feed",
    ),
    Cause(
        "nothing was loaded",
        own(
            "airflow.exceptions.AirflowException",
            "no rows loaded for {date} (expected at least {n})",
            "load.py",
            72,
            "check",
            "raise AirflowException(text)",
        ),
        "load",
    ),
    Cause(
        "a cleanup hides the network",
        (
            Link(
                "ConnectionResetError",
                "[Errno 104] Connection reset by peer",
                (("/usr/local/airflow/dags/pull.py", 21, "pull", "data = sock.recv(65536)"),),
            ),
            Link(
                "AttributeError",
                "'NoneType' object has no attribute 'close'",
                (("/usr/local/airflow/dags/pull.py", 25, "pull", "handle.close()"),),
            ),
        ),
        "pull",
    ),
)


class Occurrence:
    """One failure of a cause: everything that differs from case to case is drawn here."""

    def __init__(self, cause: Cause, seed: int) -> None:
        self.cause = cause
        self.draw = random.Random(f"{cause.name}/{seed}")
        self.dag = (
            cause.dag or f"{self.draw.choice(['sales', 'stock', 'staff', 'web'])}_{self.draw.choice(['daily', 'load'])}"
        )
        self.map_index = self.draw.choice([-1, self.draw.randrange(300)])
        self.try_number = self.draw.randrange(1, 5)
        self.date = f"2026-{self.draw.randrange(1, 13):02d}-{self.draw.randrange(1, 29):02d}"
        self.run_id = self.draw.choice(["scheduled", "backfill"]) + f"__{self.date}T00:00:00+00:00"
        if self.draw.random() < 0.3:
            self.run_id = f"manual__{self.date}T{self.clock()}.{self.number()}+00:00_{self.hexadecimal()}"

    def number(self) -> str:
        return str(self.draw.randrange(1, 10 ** self.draw.randrange(1, 8)))

    def hexadecimal(self) -> str:
        return f"{self.draw.getrandbits(32):08x}"

    def clock(self) -> str:
        return "{:02d}:{:02d}:{:02d}".format(*(self.draw.randrange(limit) for limit in (24, 60, 60)))

    def address(self) -> str:
        return f"10.{self.draw.randrange(256)}.{self.draw.randrange(256)}.{self.draw.randrange(1, 255)}"

    def fill(self, text: str, site: str = "") -> str:
        """Put a drawn value at every place."""
        values: dict[str, Callable[[], str]] = {
            "n": self.number,
            "hex": self.hexadecimal,
            "clock": self.clock,
            "ip": self.address,
            "uuid": lambda: "-".join(f"{self.draw.getrandbits(4 * n):0{n}x}" for n in (8, 4, 4, 4, 12)),
            "date": lambda: self.date,
            "dag": lambda: self.dag,
            "site": lambda: site,
        }
        for name, value in values.items():
            while "{" + name + "}" in text:
                text = text.replace("{" + name + "}", value(), 1)
        return text.replace("{{", "{").replace("}}", "}")

    def frames(self, link: Link, site: str) -> list[FrameText]:
        own_line = (f"/usr/local/airflow/dags/{self.dag}.py", 40, "work", "result = step()")
        outer = (
            f"{site}/airflow/models/taskinstance.py",
            768 + len(site) % 7,
            "_execute_task",
            "return execute(context)",
        )
        given = [(self.fill(file, site), *rest) for file, *rest in link.frames]
        needs_own = self.cause.dag == "" and self.draw.random() < 0.5
        return [outer, *([own_line] if needs_own else []), *given]  # type: ignore[list-item]

    def chatter(self) -> list[str]:
        several = [
            "downloaded {n} bytes",
            "worker {ip} took part {n}",
            "cache hit {hex}",
            "run {uuid} of {date} goes on",
        ]
        return [self.fill(self.draw.choice(several)) for _ in range(self.draw.randrange(6))]

    def text_log(self) -> str:
        """As Airflow 2 writes it."""
        site = SITE_2

        def line(message: str, level: str = "INFO", place: str = "logging_mixin.py:190") -> str:
            return f"[{self.date}T{self.clock()}.{self.draw.randrange(1000):03d}+0000] {{{place}}} {level} - {message}"

        parts = []
        for n, link in enumerate(self.cause.links):
            if n:
                parts.append("\nDuring handling of the above exception, another exception occurred:\n")
            parts.append("Traceback (most recent call last):")
            for file, number, function, code in self.frames(link, site):
                parts += [f'  File "{file}", line {number}, in {function}', f"    {code}"]
            parts.append(f"{link.type}: {self.fill(link.message)}")
        said = [self.fill(text) for text in (*self.cause.before, *self.cause.after)]
        shown = [
            line(f"Starting attempt {self.try_number} of 4", place="taskinstance.py:2867"),
            *(line(text) for text in (*self.chatter(), *said)),
            line("Task failed with exception", "ERROR", "taskinstance.py:3313"),
            *parts,
            line(f"Marking task as UP_FOR_RETRY. dag_id={self.dag}, task_id=work", place="taskinstance.py:1226"),
            line("Task exited with return code 1", place="local_task_job_runner.py:266"),
        ]
        return "\n".join(shown) + "\n"

    def json_log(self) -> str:
        """As Airflow 3 writes it."""

        def event(message: str, level: str = "info", **more: object) -> str:
            stamp = f"{self.date}T{self.clock()}.{self.draw.randrange(10**6):06d}Z"
            return json.dumps({"timestamp": stamp, "level": level, "event": message, "logger": "task"} | more)

        detail = [
            {
                "exc_type": link.type.rpartition(".")[2],
                "exc_value": self.fill(link.message),
                "exc_notes": [],
                "syntax_error": None,
                "is_cause": False,
                "frames": [
                    {"filename": file, "lineno": number, "name": function}
                    for file, number, function, _ in self.frames(link, SITE_3)
                ],
                "is_group": False,
                "exceptions": [],
            }
            for link in reversed(self.cause.links)
        ]
        said = [self.fill(text) for text in (*self.cause.before, *self.cause.after)]
        shown = [
            event("DAG bundles loaded: dags-folder", logger="airflow.dag_processing.bundles.manager.DagBundlesManager"),
            *(event(text, logger="task.stdout") for text in (*self.chatter(), *said)),
            event("Task failed with exception", "error", error_detail=detail),
        ]
        return "\n".join(shown) + "\n"

    def mark(self) -> str:
        """The fingerprint that the product would give it."""
        key = TaskKey(self.dag, self.run_id, "work", self.map_index, self.try_number)
        failure = TaskFailure(key, "task", hostname=self.address(), failed_at=f"{self.date}T{self.clock()}+00:00")
        log = self.draw.choice([self.text_log, self.json_log])()
        diagnosis, distilled = diagnose_log([log.encode()], failure)
        return fingerprint(failure, distilled, diagnosis)


def test_a_storm_of_forty_causes_is_grouped() -> None:
    """Of all pairs of failures that share a fingerprint 95 % share a cause, and the other way round."""
    marks = [(cause.name, Occurrence(cause, n).mark()) for cause in CAUSES for n in range(TIMES_EACH)]
    right = together = related = 0
    wrong: Counter[tuple[str, str]] = Counter()
    for (cause, mark), (other_cause, other_mark) in itertools.combinations(marks, 2):
        right += cause == other_cause and mark == other_mark
        together += mark == other_mark
        related += cause == other_cause
        wrong[cause, other_cause] += (cause == other_cause) != (mark == other_mark)
    assert right / together >= 0.95, wrong.most_common(9)
    assert right / related >= 0.95, wrong.most_common(9)
