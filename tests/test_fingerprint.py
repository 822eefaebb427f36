"""Grouping: failures of one cause share a fingerprint, others do not."""

from __future__ import annotations

import functools
import itertools
import json
import random
import string
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_de_agent.core.diagnosis import Category, Diagnosis, Quote
from airflow_de_agent.core.failure import CapturedException, Frame, TaskFailure, TaskKey
from airflow_de_agent.core.fingerprint import fingerprint, masked
from airflow_de_agent.core.rules import diagnose
from airflow_de_agent.core.task_log import TaskLog, distil

SITE = "/usr/local/airflow/.local/lib/python3.11/site-packages"


class Noise:
    """What differs between two occurrences of one cause."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def number(self, digits: int = 5) -> str:
        return str(self.random.randrange(10 ** (digits - 1), 10**digits))

    def hex(self, length: int = 16) -> str:
        return f"{self.random.getrandbits(4 * length):0{length}x}"

    def uuid(self) -> str:
        return "-".join(self.hex(n) for n in (8, 4, 4, 4, 12))

    def request_id(self) -> str:
        return "".join(self.random.choices(string.ascii_uppercase + string.digits, k=16))

    def date(self) -> str:
        return f"2026-{self.random.randrange(1, 13):02d}-{self.random.randrange(1, 29):02d}"

    def time(self) -> str:
        return f"{self.date()}T{self.random.randrange(24):02d}:{self.random.randrange(60):02d}:07.{self.number(3)}+0000"

    def ip(self) -> str:
        return ".".join(str(self.random.randrange(1, 255)) for _ in range(4))

    def dag(self) -> str:
        return (
            self.random.choice(["sales", "orders", "churn", "ledger", "events", "stock"])
            + "_"
            + self.random.choice(["daily", "hourly", "load", "export"])
        )

    def tmp(self) -> str:
        return "/tmp/tmp" + "".join(self.random.choices(string.ascii_lowercase + string.digits + "_", k=8))


Message = Callable[[Noise], str]


def raised(exception: str, message: Message, file: str = "", function: str = "run", line: int = 0) -> Message:
    """An exception as Airflow 2 logs it; `file` is the DAG file that raised it, none for an operator's own."""

    def body(noise: Noise) -> str:
        where = f"/usr/local/airflow/dags/{file}" if file else f"{SITE}/airflow/providers/amazon/aws/operators/x.py"
        return (
            "Traceback (most recent call last):\n"
            f'  File "{SITE}/airflow/models/taskinstance.py", line {noise.number(3)}, in _execute_task\n'
            "    result = _execute_callable(context=context)\n"
            f'  File "{where}", line {line or noise.number(2)}, in {function}\n'
            f"{exception}: {message(noise)}"
        )

    return body


def key_error(name: str) -> Message:
    return raised("KeyError", lambda noise: f"'{name}'", "enrich.py", "add_country", 41)


# One row per cause: its label, and how one occurrence of it reads; None as the DAG means any DAG of the storm.
CAUSES: tuple[tuple[str, str | None, Message], ...] = (
    ("key a", "enrich.add", key_error("country")),
    ("key b", "enrich.add", key_error("region")),
    ("key a elsewhere", "geo.add", raised("KeyError", lambda n: "'country'", "geo.py", "lookup", 12)),
    (
        "table x",
        None,
        raised("psycopg2.errors.UndefinedTable", lambda n: 'relation "mart.orders" does not exist\nLINE 1'),
    ),
    (
        "table y",
        None,
        raised("psycopg2.errors.UndefinedTable", lambda n: 'relation "mart.refunds" does not exist\nLINE 1'),
    ),
    (
        "glue throttled",
        None,
        raised(
            "botocore.exceptions.ClientError",
            lambda n: (
                "An error occurred (ThrottlingException) when calling the "
                f"StartJobRun operation (reached max retries: {n.number(1)}): Rate exceeded; Request ID: {n.uuid()}"
            ),
        ),
    ),
    (
        "lambda throttled",
        None,
        raised(
            "botocore.errorfactory.TooManyRequestsException",
            lambda n: (
                "An error occurred (TooManyRequestsException) "
                f"when calling the Invoke operation (reached max retries: {n.number(1)}): Rate Exceeded."
            ),
        ),
    ),
    (
        "s3 denied raw",
        None,
        raised(
            "botocore.exceptions.ClientError",
            lambda n: (
                "An error occurred (AccessDenied) when calling the GetObject "
                f"operation: User: arn:aws:sts::{n.number(12)}:assumed-role/mwaa-exec/{n.hex(8)} is not authorized to "
                f'perform: s3:GetObject on resource: "arn:aws:s3:::acme-raw/{n.date()}/part-{n.number()}.csv"'
            ),
        ),
    ),
    (
        "s3 denied curated",
        None,
        raised(
            "botocore.exceptions.ClientError",
            lambda n: (
                "An error occurred (AccessDenied) when calling the GetObject "
                f"operation: User: arn:aws:sts::{n.number(12)}:assumed-role/mwaa-exec/{n.hex(8)} is not authorized to "
                f'perform: s3:GetObject on resource: "arn:aws:s3:::acme-curated/{n.date()}/part-{n.number()}.csv"'
            ),
        ),
    ),
    (
        "warehouse down",
        None,
        raised(
            "psycopg2.OperationalError",
            lambda n: (
                'connection to server at "dwh-prod.acme.eu-west-1.redshift.'
                f'amazonaws.com" ({n.ip()}), port 5439 failed: Connection refused\n\tIs the server running?'
            ),
        ),
    ),
    (
        "warehouse full",
        None,
        raised(
            "psycopg2.OperationalError",
            lambda n: (
                'connection to server at "dwh-prod.acme.eu-west-1.redshift.'
                f'amazonaws.com" ({n.ip()}), port 5439 failed: FATAL:  too many connections for user "etl"'
            ),
        ),
    ),
    (
        "crm down",
        None,
        raised(
            "requests.exceptions.ConnectionError",
            lambda n: (
                "HTTPSConnectionPool(host='api.crm.example', port=443): "
                f"Max retries exceeded with url: /v2/contacts?page={n.number(3)}&since={n.date()} (Caused by "
                f"ConnectTimeoutError(<urllib3.connection.HTTPSConnection object at 0x{n.hex(12)}>, 'timed out'))"
            ),
        ),
    ),
    (
        "shop down",
        None,
        raised(
            "requests.exceptions.ConnectionError",
            lambda n: (
                "HTTPSConnectionPool(host='shop.example', port=443): "
                f"Max retries exceeded with url: /v2/orders?page={n.number(3)} (Caused by "
                f"ConnectTimeoutError(<urllib3.connection.HTTPSConnection object at 0x{n.hex(12)}>, 'timed out'))"
            ),
        ),
    ),
    (
        "crm 503",
        None,
        raised(
            "requests.exceptions.HTTPError",
            lambda n: f"503 Server Error: Service Unavailable for url: https://api.crm.example/v2/contacts/{n.uuid()}",
        ),
    ),
    (
        "crm 401",
        None,
        raised(
            "requests.exceptions.HTTPError",
            lambda n: f"401 Client Error: Unauthorized for url: https://api.crm.example/v2/contacts/{n.uuid()}",
        ),
    ),
    (
        "mapped file missing",
        "ingest.read",
        raised(
            "FileNotFoundError",
            lambda n: f"[Errno 2] No such file or directory: '/data/in/{n.date()}/part-{n.number()}.csv'",
            "ingest.py",
            "read_part",
        ),
    ),
    (
        "mapped file broken",
        "ingest.read",
        raised(
            "pandas.errors.ParserError",
            lambda n: (
                f"Error tokenizing data. C error: Expected {n.number(1)} fields in "
                f"line {n.number(4)}, saw {n.number(2)}"
            ),
            "ingest.py",
            "read_part",
        ),
    ),
    (
        "bad amount",
        "ingest.cast",
        raised("ValueError", lambda n: f"could not convert string to float: '{n.hex(4)}x'", "cast.py", "cast_amount"),
    ),
    (
        "deadlock",
        None,
        raised(
            "psycopg2.errors.DeadlockDetected",
            lambda n: (
                f"deadlock detected\nDETAIL:  Process "
                f"{n.number()} waits for ShareLock on transaction {n.number(7)}; blocked by process "
                f"{n.number()}."
            ),
        ),
    ),
    ("disk full", None, raised("OSError", lambda n: f"[Errno 28] No space left on device: '{n.tmp()}'")),
    (
        "conn missing",
        None,
        raised("airflow.exceptions.AirflowNotFoundException", lambda n: "The conn_id `dwh_ro` isn't defined"),
    ),
    (
        "other conn missing",
        None,
        raised("airflow.exceptions.AirflowNotFoundException", lambda n: "The conn_id `crm_api` isn't defined"),
    ),
    ("module", None, raised("ModuleNotFoundError", lambda n: "No module named 'pyarrow'", "any.py", "load")),
    ("other module", None, raised("ModuleNotFoundError", lambda n: "No module named 'polars'", "any.py", "load")),
    (
        "token expired",
        None,
        raised(
            "botocore.exceptions.ClientError",
            lambda n: (
                "An error occurred (ExpiredTokenException) "
                "when calling the AssumeRole operation: The security token included in the request is "
                f"expired, request id {n.uuid()}"
            ),
        ),
    ),
    (
        "none",
        "features.publish",
        raised("TypeError", lambda n: "'NoneType' object is not subscriptable", "features.py", "publish", 20),
    ),
    (
        "none elsewhere",
        "scores.publish",
        raised("TypeError", lambda n: "'NoneType' object is not subscriptable", "scores.py", "publish", 20),
    ),
    (
        "bash a",
        "dump.run",
        raised(
            "airflow.exceptions.AirflowException",
            lambda n: "Bash command failed. The command returned a non-zero exit code 2.",
        ),
    ),
    (
        "bash b",
        "load.run",
        raised(
            "airflow.exceptions.AirflowException",
            lambda n: "Bash command failed. The command returned a non-zero exit code 2.",
        ),
    ),
    (
        "conn missing in code",
        "geo.add",
        raised(
            "airflow.exceptions.AirflowNotFoundException",
            lambda n: "The conn_id `geo_api` isn't defined",
            "geo.py",
            "lookup",
        ),
    ),
    (
        "glue job a",
        "curate.customers",
        raised("airflow.exceptions.AirflowException", lambda n: f"Exiting Job jr_{n.hex(64)} Run State: FAILED"),
    ),
    (
        "glue job b",
        "curate.orders",
        raised("airflow.exceptions.AirflowException", lambda n: f"Exiting Job jr_{n.hex(64)} Run State: FAILED"),
    ),
    (
        "pod evicted",
        None,
        raised(
            "airflow.providers.cncf.kubernetes.utils.pod_manager.PodLaunchFailedException",
            lambda n: (
                f"Pod took longer than {n.number(3)} seconds to start: the node was low on "
                f"resource: memory; pod load-{n.hex(8)}-{n.hex(4)}1 on ip-10-0-{n.number(2)}-7.ec2.internal"
            ),
        ),
    ),
    (
        "snowflake locked",
        None,
        raised(
            "snowflake.connector.errors.DatabaseError",
            lambda n: (
                "250001 (08001): None: Failed "
                "to connect to DB: acme-eu.snowflakecomputing.com:443. Incorrect username or "
                "password was specified."
            ),
        ),
    ),
    (
        "statement timeout",
        "wide.ctas",
        raised(
            "snowflake.connector.errors.ProgrammingError",
            lambda n: (
                f"000630 (57014): "
                f"{n.uuid()}: Statement reached its statement or warehouse timeout of "
                f"{n.number(4)} second(s) and was canceled."
            ),
        ),
    ),
    (
        "dns",
        None,
        raised(
            "botocore.exceptions.EndpointConnectionError",
            lambda n: f'Could not connect to the endpoint URL: "https://glue.us-east-1.amazonaws.com/?trace={n.hex()}"',
        ),
    ),
    (
        "column",
        "mart.orders",
        raised(
            "psycopg2.errors.UndefinedColumn",
            lambda n: f"column o.tax_amount does not exist\nLINE {n.number(1)}:   o.amount + o.tax_amount AS gross",
        ),
    ),
    (
        "other column",
        "mart.orders",
        raised(
            "psycopg2.errors.UndefinedColumn",
            lambda n: f"column o.vat_rate does not exist\nLINE {n.number(1)}:   o.amount * o.vat_rate AS vat",
        ),
    ),
    (
        "duplicate key",
        "dim.load",
        raised(
            "psycopg2.errors.UniqueViolation",
            lambda n: (
                "duplicate key value violates unique "
                f'constraint "dim_customer_pkey"\nDETAIL:  Key (id)=({n.number(6)}) already exists.'
            ),
        ),
    ),
)
OCCURRENCES = 6


def occurrence(label: str, dag: str | None, message: Message, seed: int) -> tuple[str, TaskFailure, bytes]:
    noise = Noise(seed)
    dag_id, _, task_id = (dag or f"{noise.dag()}.{noise.random.choice(['load', 'read', 'run'])}").partition(".")
    run_id = f"scheduled__{noise.time()}"
    failure = TaskFailure(TaskKey(dag_id, run_id, task_id, noise.random.randrange(-1, 40)), "task", noise.time())
    lines = [
        f"[{noise.time()}] {{taskinstance.py:2632}} INFO - Dependencies all met for <TaskInstance: {dag_id} {run_id}>",
        f"[{noise.time()}] {{{dag_id}.py:{noise.number(2)}}} INFO - read {noise.number(6)} rows from {noise.tmp()}",
        f"[{noise.time()}] {{taskinstance.py:3337}} ERROR - Task failed with exception\n{message(noise)}",
        f"[{noise.time()}] {{local_task_job_runner.py:266}} INFO - Task exited with return code 1",
    ]
    return label, failure, "\n".join(lines).encode()


@functools.cache
def storm() -> tuple[tuple[str, TaskFailure, TaskLog], ...]:
    return tuple(_storm())


def _storm() -> Iterator[tuple[str, TaskFailure, TaskLog]]:
    for n, (label, dag, message) in enumerate(CAUSES):
        for k in range(OCCURRENCES):
            _, failure, log = occurrence(label, dag, message, 1000 * n + k)
            yield label, failure, distil([log], redact=lambda text: text)


def pairwise(marks: list[tuple[str, str]]) -> tuple[float, float, list[tuple[str, str]]]:
    """Precision and recall over all pairs, and the labels of the pairs that are wrong."""
    both = joined = same = 0
    wrong = []
    for (label, mark), (label_2, mark_2) in itertools.combinations(marks, 2):
        same += label == label_2
        joined += mark == mark_2
        both += label == label_2 and mark == mark_2
        if (label == label_2) != (mark == mark_2):
            wrong.append((label, label_2))
    return both / joined, both / same, sorted(set(wrong))


def test_a_storm_falls_apart_into_its_causes() -> None:
    """Of a labelled storm, at least 95 % of the joined pairs belong together, and 95 % of those that do are joined."""
    marks = [(label, fingerprint(failure, log, diagnose(failure, log))) for label, failure, log in storm()]
    precision, recall, wrong = pairwise(marks)
    assert precision >= 0.95, wrong
    assert recall >= 0.95, wrong


@given(st.text(), st.text(), st.binary(max_size=2000))
def test_any_text_has_a_fingerprint(quote: str, message: str, log: bytes) -> None:
    """Whatever a log, an exception or a quote holds, there is a fingerprint, and it is the same each time."""
    failure = TaskFailure(
        TaskKey("d", "r", "t"),
        "task",
        "",
        exceptions=(CapturedException("Error", message, (Frame(quote, 1, message),)),),
    )
    diagnosis = Diagnosis(Category.CODE_ERROR, message, evidence=(Quote("task_log", quote),))
    read = distil([log], redact=lambda text: text)
    mark = fingerprint(failure, read, diagnosis)
    assert mark == fingerprint(failure, read, diagnosis)
    assert len(mark) == 16
    assert int(mark, 16) >= 0


@given(st.text(alphabet="0123456789", min_size=1, max_size=12), st.integers(0, 10**6))
def test_numbers_and_ids_do_not_matter(number: str, seed: int) -> None:
    """A message keeps its mask when its numbers, ids, dates, files and machines change."""
    noise = Noise(seed)
    told = masked(
        f"load {number} of s3://acme-raw/{noise.date()}/{noise.hex(6)}.csv failed on ip-10-0-{number[:3]}-1.internal "
        f"({noise.ip()}), see {noise.tmp()}/x.log, request id {noise.request_id()}, run {noise.uuid()}"
    )
    assert told == "load # of s#://acme-raw failed on <host> (<host>), see <path>, #, run #"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("returned a non-zero exit code 127", "returned a non-zero exit code 2"),
        ("HTTP status 403", "HTTP status 503"),
        ("ORA-00942: table or view", "ORA-01017: table or view"),
        ("KeyError: 'a'", "KeyError: 'b'"),
        ("s3://acme-raw/x.csv denied", "s3://acme-curated/x.csv denied"),
        ("https://api.a.example/v1 timed out", "https://api.b.example/v1 timed out"),
    ],
)
def test_names_matter(one: str, other: str) -> None:
    """Codes, keys, buckets and services tell one cause from another."""
    assert masked(one) != masked(other)


def test_the_host_does_not_matter() -> None:
    """One code error has one fingerprint, told by Airflow 2, by Airflow 3, or by the exception alone."""
    unknown = Diagnosis(Category.UNKNOWN, "The log does not say.")
    key = TaskKey("enrich", "r", "add")
    _, failure, text = occurrence("", "enrich.add", key_error("country"), 1)
    frame = {"filename": "/opt/airflow/dags/enrich.py", "lineno": 44, "name": "add_country"}
    detail = [{"exc_type": "KeyError", "exc_value": "'country'", "frames": [frame]}]
    event = json.dumps({"timestamp": "2026-11-22", "level": "error", "event": "Task failed", "error_detail": detail})
    raised_alone = CapturedException(
        "KeyError", "'country'", (Frame("/opt/airflow/dags/enrich.py", 44, "add_country"),)
    )
    alone = TaskFailure(key, "task", "", exceptions=(raised_alone,))
    marks = {
        fingerprint(failure, distil([text], redact=str), unknown),
        fingerprint(failure, distil([event.encode()], redact=str), unknown),
        fingerprint(alone, TaskLog(()), unknown),
    }
    assert len(marks) == 1


def test_the_task_that_failed_first_names_what_followed() -> None:
    """Tasks that failed only because another did share that task's name as their cause."""
    diagnosis = Diagnosis(Category.UPSTREAM_FAILURE, "extract failed first", root_cause_task="extract")
    marks = {
        fingerprint(TaskFailure(TaskKey("sales", "r", task), "task", ""), TaskLog(()), diagnosis)
        for task in ("load", "mail")
    }
    assert len(marks) == 1


def test_a_pathological_message_costs_little() -> None:
    """A long message is looked at in part only, so its mask stays short."""
    for text in ("a" * 10**6, "1.2:3," * 10**5, "/x" * 10**5, "deadbeef-" * 10**5, "s3://" * 10**5, "key (" * 10**5):
        assert len(masked(text)) <= 320


def test_a_storm_that_no_rule_knows_falls_apart_too() -> None:
    """Grouping does not hang on the rules: with every diagnosis unknown it is as good."""
    unknown = Diagnosis(Category.UNKNOWN, "The log does not say.")
    marks = [(label, fingerprint(failure, log, unknown)) for label, failure, log in storm()]
    precision, recall, wrong = pairwise(marks)
    assert precision >= 0.95, wrong
    assert recall >= 0.95, wrong
