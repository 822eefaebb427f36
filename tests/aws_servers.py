"""All of AWS that the agent reads, on one loopback address, each part able to misbehave on request.

CloudWatch Logs, Secrets Manager and DynamoDB are moto's. The Redshift Data API runs its SQL on a real PostgreSQL, with
the system views as tables of their documented columns. The MWAA REST API answers with what real Airflow 2.11.2 (v1)
and 3.3.2 (v2) answered (tests/data/mwaa_rest_*.json), after checking the request against the published limits.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import json
import re
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent.aws.calls import Clients

REGION = "eu-west-1"
DATA = Path(__file__).parent / "data"
Answer = tuple[int, dict[str, Any]]
CREDENTIALS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "not-a-real-key", "region_name": REGION}

AWS_ERRORS = {
    "AccessDenied": (
        400,
        "AccessDeniedException",
        "User: arn:aws:sts::123456789012:assumed-role/airflow-exec/worker is not authorized to perform: {action} "
        "on resource: {resource} because no identity-based policy allows the {action} action",
    ),
    "ExpiredToken": (400, "ExpiredTokenException", "The security token included in the request is expired"),
    "BadKey": (400, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "Throttle": (400, "ThrottlingException", "Rate exceeded"),
    "Internal": (500, "InternalServerError", "An internal error occurred"),
}


class Trouble:
    """What goes wrong, for which operations, and how often: `every`-th call, at most `times` times."""

    def __init__(self, kind: str, operation: str, every: int, times: int, message: str) -> None:
        self.kind, self.operation, self.every, self.times, self.message = kind, operation, every, times, message
        self.seen = 0

    def strikes(self, operation: str) -> bool:
        if not re.fullmatch(self.operation, operation) or self.times == 0:
            return False
        self.seen += 1
        if self.seen % self.every:
            return False
        self.times -= 1
        return True


class AwsServer:
    """The server; `url` is for AWS_ENDPOINT_URL, `calls` the operations asked so far."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from moto.server import MotoRequestHandler
        from werkzeug.serving import make_server

        class Quiet(MotoRequestHandler):  # type: ignore[misc]
            def log_request(self, *_: Any) -> None:
                """Say nothing."""

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._clients = Clients(CREDENTIALS, endpoint_url=self.url)
        self._released, self._one_writer = threading.Event(), threading.Lock()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.reset()

    def reset(self) -> None:
        """Forget all calls, troubles and contents."""
        self._released.set()
        self._released = threading.Event()
        self.calls: list[str] = []
        self.troubles: list[Trouble] = []
        self.delays: dict[str, float] = {}
        self.own: dict[str, Callable[[str, dict[str, Any]], Answer | None]] = {}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).close()

    def misbehave(
        self, kind: str, operation: str = ".*", *, every: int = 1, times: int = 10**9, message: str = ""
    ) -> None:
        """From now on calls of these operations meet trouble.

        `kind` is a key of `AWS_ERRORS`, an error code of the service (with `message`), ``hang`` (no answer at all),
        ``half`` (the connection breaks in the middle) or ``garbled`` (a JSON text that stops in the middle).
        """
        self.troubles.append(Trouble(kind, operation, every, times, message))

    def client(self, service: str) -> Any:
        """A boto3 client as the product builds it."""
        return self._clients(service)

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        operation = _operation(environ)
        if not operation:
            return self._moto(environ, start_response)
        self.calls.append(operation)
        time.sleep(self.delays.get(operation, 0.0))
        trouble = next((t for t in self.troubles if t.strikes(operation)), None)
        if trouble is None:
            return self._served(operation, environ, start_response)
        if trouble.kind == "hang":
            self._released.wait(30)
            return _send(start_response, 503, {"message": "released"})
        if trouble.kind in ("half", "garbled"):
            return _half(self._served, operation, environ, start_response, trouble.kind)
        status, code, text = AWS_ERRORS.get(trouble.kind, (400, trouble.kind, trouble.message))
        action, resource = action_of(operation), f"arn:aws:x:{REGION}:123456789012:thing"
        return _send(start_response, status, {"__type": code, "message": text.format(action=action, resource=resource)})

    def _served(self, operation: str, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        service = operation.partition(".")[0]
        if service not in self.own:
            with self._one_writer if service == "DynamoDB" else contextlib.nullcontext():
                return list(self._moto(environ, start_response))  # moto's condition and write are two steps
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        fields = json.loads(body or b"{}") | {"_path": environ["PATH_INFO"]}
        answer = self.own[service](operation.partition(".")[2], fields)
        if answer is None:
            environ["wsgi.input"] = io.BytesIO(body)
            return self._moto(environ, start_response)
        return _send(start_response, *answer)


def _operation(environ: dict[str, Any]) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        service, _, operation = target.partition(".")
        return f"{service.partition('_')[0]}.{operation}"
    for path, operation in (("/restapi/", "MWAA.InvokeRestApi"), ("/webtoken/", "MWAA.CreateWebLoginToken")):
        if environ["PATH_INFO"].startswith(path):
            return operation
    return ""


IAM_SERVICES = {"Logs": "logs", "MWAA": "airflow", "RedshiftData": "redshift-data", "DynamoDB": "dynamodb"}


def action_of(operation: str) -> str:
    """The IAM action of an operation."""
    service, _, name = operation.partition(".")
    return f"{IAM_SERVICES.get(service, service)}:{name}"


def _send(start_response: Any, status: int, fields: dict[str, Any]) -> Iterable[bytes]:
    body = json.dumps(fields).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
    if "__type" in fields:
        headers.append(("x-amzn-ErrorType", fields["__type"]))
    start_response(f"{status} {'OK' if status == 200 else 'Error'}", headers)
    return [body]


def _half(serve: Any, operation: str, environ: dict[str, Any], start_response: Any, kind: str) -> Iterable[bytes]:
    kept: list[Any] = []
    body = b"".join(serve(operation, environ, lambda status, headers, *_: kept.extend([status, headers])))
    half = body[: len(body) // 2]
    length = len(body) if kind == "half" else len(half)
    headers = [(n, v) for n, v in kept[1] if n.lower() != "content-length"] + [("Content-Length", str(length))]
    start_response(kept[0], headers)
    return [half]


class HugeStream:
    """A log stream of any size that is made up as it is read; pages of at most 1 MB or 10,000 events."""

    def __init__(self, group: str, stream: str, events: int, event_bytes: int, at: int) -> None:
        self.group, self.stream, self.events, self.event_bytes, self.at = group, stream, events, event_bytes, at

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer | None:
        if body.get("logGroupName") != self.group:
            return None
        if operation == "DescribeLogStreams":
            fits = self.stream.startswith(body.get("logStreamNamePrefix", ""))
            return 200, {"logStreams": [{"logStreamName": self.stream}] if fits else []}
        direction, _, position = body.get("nextToken", f"b/{self.events}").partition("/")
        count = min(1_048_576 // (self.event_bytes + 26), body.get("limit", 10_000), 10_000)
        low, high = max(0, int(position) - count), int(position)
        if direction == "f":
            low, high = int(position), min(self.events, int(position) + count)
        events = [
            {"timestamp": self.at + n, "message": self._text(n), "ingestionTime": self.at} for n in range(low, high)
        ]
        return 200, {"events": events, "nextBackwardToken": f"b/{low}", "nextForwardToken": f"f/{high}"}

    def _text(self, number: int) -> str:
        head = f"line {number} "
        if number == self.events - 1:
            head = "Traceback (most recent call last): KeyError: 'order_id' "
        return head.ljust(self.event_bytes, ".")


SYSTEM_VIEWS = """
CREATE TABLE IF NOT EXISTS sys_query_history (
  user_id integer, query_id bigint, query_label char(320), transaction_id bigint, session_id integer,
  database_name char(128), query_type char(32), status char(10), result_cache_hit boolean, start_time timestamp,
  end_time timestamp, elapsed_time bigint, queue_time bigint, execution_time bigint, error_message char(512),
  returned_rows bigint, returned_bytes bigint, query_text char(4000), redshift_version char(256));
CREATE TABLE IF NOT EXISTS sys_load_history (
  user_id integer, query_id bigint, transaction_id bigint, session_id integer, database_name char(128),
  status char(16), table_name char(128), start_time timestamp, end_time timestamp, data_source char(256),
  loaded_rows bigint, loaded_bytes bigint, error_count bigint);
CREATE TABLE IF NOT EXISTS sys_load_error_detail (
  user_id integer, query_id bigint, transaction_id bigint, session_id integer, database_name char(64),
  table_id integer, start_time timestamp, file_name char(256), line_number bigint, column_name char(127),
  column_type char(10), column_length char(10), position integer, error_code integer, error_message char(512));
CREATE TABLE IF NOT EXISTS stl_load_errors (
  userid integer, slice integer, tbl integer, starttime timestamp, session integer, query integer, filename char(256),
  line_number bigint, colname char(127), type char(10), col_length char(10), position integer, raw_line char(1024),
  raw_field_value char(1024), err_code integer, err_reason char(100), is_partial integer, start_offset bigint);
CREATE TABLE IF NOT EXISTS svv_transactions (
  txn_owner text, txn_db text, xid bigint, pid integer, txn_start timestamp, lock_mode text,
  lockable_object_type text, relation integer, granted boolean);
CREATE TABLE IF NOT EXISTS stl_wlm_rule_action (
  userid integer, query integer, service_class integer, rule char(256), action char(256), recordtime timestamp);
"""


class RedshiftDataApi:
    """The Data API's operations over a PostgreSQL connection address; statements run one after another.

    `clusters` are those that exist, `paused` those that sleep. `slow` holds statements back: each is answered only
    after so many descriptions. `reader` is the role that statements run under.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.clusters, self.workgroups, self.paused = {"analytics"}, {"serverless-analytics"}, set[str]()
        self.slow, self.reader, self.page = 0, "", 1000
        self.statements: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer:
        actions = {
            "ExecuteStatement": self._execute,
            "DescribeStatement": self._describe,
            "GetStatementResult": self._result,
            "CancelStatement": self._cancel,
        }
        return actions[operation](body)

    def sql(self, text: str) -> None:
        """Run statements as the owner of the database."""
        with self._connect() as db, db.cursor() as cursor:
            cursor.execute(text)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Any]:
        import psycopg2

        db = psycopg2.connect(self.uri)
        try:
            with db:
                yield db
        finally:
            db.close()

    def _execute(self, body: dict[str, Any]) -> Answer:
        refusal = self._refusal(body)
        if refusal:
            return 400, {"__type": "ValidationException", "message": refusal}
        if body.get("ClientToken") in self.tokens:
            return 200, {"Id": self.tokens[body["ClientToken"]]}
        statement = str(uuid.uuid4())
        self.tokens[body.get("ClientToken", statement)] = statement
        self.statements[statement] = {"asked": 0, "state": self._run(body), "arguments": body}
        return 200, {"Id": statement, "Database": body["Database"]}

    def _refusal(self, body: dict[str, Any]) -> str:
        given = {item["name"] for item in body.get("Parameters", ())}
        bound = set(re.findall(r"(?<![:\w]):([a-z_]\w*)", re.sub(r"'[^']*'", "", body["Sql"])))
        cluster, workgroup = body.get("ClusterIdentifier"), body.get("WorkgroupName")
        if (cluster and cluster not in self.clusters) or (workgroup and workgroup not in self.workgroups):
            return "Redshift endpoint doesn't exist in this region."
        if cluster in self.paused:
            return f"Cluster {cluster} is paused. Resume the cluster before running statements."
        if cluster and workgroup:
            return "ClusterIdentifier and WorkgroupName cannot both be given."
        if body.get("SecretArn") and body.get("DbUser"):
            return "SecretArn and DbUser cannot both be given."
        if given != bound:
            return f"Parameters {sorted(given)} do not match those of the statement {sorted(bound)}."
        if any(not item["value"] for item in body.get("Parameters", ())):
            return "Parameter values must not be empty."
        return ""

    def _run(self, body: dict[str, Any]) -> dict[str, Any]:
        import psycopg2

        sql = re.sub(r"(?<![:\w]):([a-z_]\w*)", r"%(\1)s", body["Sql"].replace("%", "%%"))
        values = {item["name"]: item["value"] for item in body.get("Parameters", ())}
        try:
            with self._connect() as db, db.cursor() as cursor:
                if self.reader:
                    cursor.execute(f"SET ROLE {self.reader}")
                cursor.execute(sql, values)
                columns = [{"name": column.name, "label": column.name} for column in cursor.description or ()]
                rows = cursor.fetchall() if cursor.description else []
        except psycopg2.Error as exc:
            return {"Status": "FAILED", "Error": f"ERROR: {exc.diag.message_primary}"}
        return {"Status": "FINISHED", "HasResultSet": bool(columns), "columns": columns, "rows": rows}

    def _describe(self, body: dict[str, Any]) -> Answer:
        statement = self.statements[body["Id"]]
        statement["asked"] += 1
        state = statement["state"] if statement["asked"] > self.slow else {"Status": "STARTED"}
        return 200, {"Id": body["Id"]} | {k: v for k, v in state.items() if k not in ("columns", "rows")}

    def _result(self, body: dict[str, Any]) -> Answer:
        state = self.statements[body["Id"]]["state"]
        start = int(body.get("NextToken", 0))
        rows = state["rows"][start : start + self.page]
        answer = {
            "Records": [[_field(value) for value in row] for row in rows],
            "ColumnMetadata": state["columns"],
            "TotalNumRows": len(state["rows"]),
        }
        if start + self.page < len(state["rows"]):
            answer["NextToken"] = str(start + self.page)
        return 200, answer

    def _cancel(self, body: dict[str, Any]) -> Answer:
        self.statements[body["Id"]]["state"] = {"Status": "ABORTED"}
        return 200, {"Status": True}


def _field(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    if isinstance(value, bool):
        return {"booleanValue": value}
    if isinstance(value, int):
        return {"longValue": value}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, bytes | memoryview):
        return {"blobValue": base64.b64encode(bytes(value)).decode()}
    return {"stringValue": str(value)}


class MwaaApi:
    """InvokeRestApi over captured answers. `environments` maps a name to ``v1`` or ``v2``.

    `login_only` environments refuse InvokeRestApi; `web_host` is where their web server is.
    """

    BODY_FIELDS = {
        "dagRuns": {"dag_ids", "states", "order_by", "page_limit", "page_offset"},
        "taskInstances": {
            *("dag_ids", "dag_run_ids", "task_ids", "state", "end_date_gte", "page_limit", "page_offset")
        },
    }

    def __init__(self) -> None:
        self.environments = {"prod-2": "v1", "prod-3": "v2"}
        self.login_only: set[str] = set()
        self.web_host = ""
        self.captured = {v: json.loads((DATA / f"mwaa_rest_{v}.json").read_text()) for v in ("v1", "v2")}
        self.rest_status: dict[str, int] = {}
        self.asked: list[dict[str, Any]] = []

    def __call__(self, operation: str, body: dict[str, Any]) -> Answer:
        environment = body["_path"].rpartition("/")[2]
        if environment not in self.environments:
            return 404, {"__type": "ResourceNotFoundException", "message": "Environment not found"}
        if operation == "CreateWebLoginToken":
            return 200, {"WebToken": "one-time", "WebServerHostname": self.web_host}
        if environment in self.login_only:
            text = f"User is not authorized to perform: airflow:InvokeRestApi on Airflow role of {environment}"
            return 403, {"__type": "AccessDeniedException", "message": text}
        self.asked.append(body)
        if not 0 < len(body["Path"]) <= 64:
            return 400, {"__type": "ValidationException", "message": "Path must have at most 64 characters"}
        status, answer = self.rest(self.environments[environment], body["Method"], body["Path"], body.get("Body"))
        if status >= 400:
            code = "RestApiClientException" if status < 500 else "RestApiServerException"
            return 400, {"__type": code, "RestApiStatusCode": status, "RestApiResponse": answer}
        return 200, {"RestApiStatusCode": status, "RestApiResponse": answer}

    def rest(self, version: str, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """What Airflow answers."""
        captured = self.captured[version]
        if path in self.rest_status:
            return self.rest_status[path], {"detail": f"made to fail: {path}"}
        if (method, path) == ("GET", "/importErrors"):
            return 200, {"import_errors": captured["import_errors"], "total_entries": len(captured["import_errors"])}
        kind = path.split("/")[-2]
        if method != "POST" or path not in ("/dags/~/dagRuns/list", "/dags/~/dagRuns/~/taskInstances/list"):
            return 404, captured["not_found"]
        if not body or set(body) - self.BODY_FIELDS[kind]:
            return 400, captured["bad_request"]
        name = {"dagRuns": "dag_runs", "taskInstances": "task_instances"}[kind]
        rows = [row for row in captured[name] if row["dag_id"] in body.get("dag_ids", [row["dag_id"]])]
        for field, wanted in (("dag_run_id", "dag_run_ids"), ("task_id", "task_ids"), ("state", "state")):
            rows = [row for row in rows if wanted not in body or row[field] in body[wanted]]
        if "end_date_gte" in body:
            rows = [row for row in rows if row["end_date"] and row["end_date"] >= body["end_date_gte"]]
        start = body.get("page_offset", 0)
        return 200, {name: rows[start : start + body.get("page_limit", 100)], "total_entries": len(rows)}


running = functools.cache(AwsServer)


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    """An empty AWS; moto keeps one state per process, so all tests share one server."""
    server = running()
    server.reset()
    yield server
    server.reset()


@pytest.fixture(scope="session")
def database(postgres: str) -> str:
    """The shared PostgreSQL with the system views of Redshift."""
    RedshiftDataApi(postgres).sql(SYSTEM_VIEWS)
    return postgres


@pytest.fixture
def redshift(aws: AwsServer, database: str) -> RedshiftDataApi:
    """An empty Redshift behind the Data API of `aws`."""
    api = RedshiftDataApi(database)
    tables = re.findall(r"NOT EXISTS (\w+)", SYSTEM_VIEWS)
    api.sql(f"TRUNCATE {', '.join(tables)}")
    aws.own["RedshiftData"] = api
    return api


@pytest.fixture
def mwaa(aws: AwsServer) -> MwaaApi:
    """MWAA's API at `aws`, with the environments prod-2 (Airflow 2.11) and prod-3 (Airflow 3.3)."""
    api = MwaaApi()
    aws.own["MWAA"] = api
    return api


class MwaaWebServer:
    """The web server of an environment over TLS: a login with the one-time token, then Airflow's REST API itself.

    Airflow 3 hands out a token that must come back as a bearer; Airflow 2 keeps the session in a cookie.
    """

    def __init__(self, api: MwaaApi, version: str, folder: Path) -> None:
        from werkzeug.serving import make_server, make_ssl_devcert

        self._api, self._version = api, version
        self.certificate, key = make_ssl_devcert(str(folder / "mwaa"), host="localhost")
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, ssl_context=(self.certificate, key))
        self.host = f"localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        login = {"v1": "/aws_mwaa/login", "v2": "/pluginsv2/aws_mwaa/login"}[self._version]
        if path == login and body == b"token=one-time":
            cookie = {"v1": "session=abc", "v2": "_token=jwt"}[self._version]
            start_response("200 OK", [("Set-Cookie", f"{cookie}; Path=/"), ("Content-Length", "0")])
            return [b""]
        prefix = f"/api/{self._version}"
        if not path.startswith(prefix):
            return _send(start_response, 404, {"detail": "no such page"})
        proof = environ.get("HTTP_AUTHORIZATION") if self._version == "v2" else environ.get("HTTP_COOKIE")
        if proof not in ("Bearer jwt", "session=abc"):
            return _send(start_response, 401, {"detail": "not logged in"})
        fields = json.loads(body) if body else None
        return _send(
            start_response, *self._api.rest(self._version, environ["REQUEST_METHOD"], path[len(prefix) :], fields)
        )
