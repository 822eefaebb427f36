"""How soon Slack gets its acknowledgement, and a person the answer.

AWS (Logs, MWAA, Redshift over a PostgreSQL, DynamoDB, secrets), Slack, Gemini and Lambda are stand-ins on loopback.
Run: .venv/dev/bin/python bench/slack.py
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from deployment import local_lambda  # noqa: E402 - found by the line above
from deployment.sign_sample import sample, signed  # noqa: E402
from tests import airflow_host, aws_servers, gemini_server, slack_server  # noqa: E402
from tests.test_lambda_handler import GROUP, STREAM  # noqa: E402
from tests.test_tools import put_log  # noqa: E402

SECRET = "signing-" + "secret-of-the-benchmark"
WARM = 200
# what these services take from inside AWS, in seconds for each call
LATENCY = {
    "Logs.DescribeLogStreams": 0.08,
    "Logs.GetLogEvents": 0.15,
    "Logs.FilterLogEvents": 0.5,
    "MWAA.InvokeRestApi": 0.8,
    "RedshiftData.ExecuteStatement": 0.4,
    "RedshiftData.DescribeStatement": 0.1,
    "RedshiftData.GetStatementResult": 0.2,
    "secretsmanager.GetSecretValue": 0.05,
} | {
    f"DynamoDB.{name}": 0.02
    for name in ("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "TransactWriteItems")
}
DESCRIPTIONS = 3  # a statement on Redshift's system views is ready when it was asked for so often
SLACK_SECONDS, MODEL_SECONDS = 0.1, 4.0
SECRETS = {
    "de-agent/slack": {"bot_token": slack_server.TOKEN, "signing_secret": SECRET},
    "de-agent/gemini": {"api_key": gemini_server.KEY},
    "de-agent/redshift": {"cluster_id": "analytics", "database": "warehouse"},
}
LOG = (
    "Traceback (most recent call last):",
    "redshift_connector.error.ProgrammingError: Load into table 'orders' failed. Check 'sys_load_error_detail'",
)
LOAD_ERROR = """
INSERT INTO sys_load_error_detail (start_time, file_name, line_number, column_name, error_message)
VALUES ('2026-11-22 14:44:38', 's3://lake/orders.csv', 118, 'amount', 'Invalid digit, Value n')
"""
COLD = """
import json, sys, time
began = time.perf_counter()
from airflow_de_agent import lambda_handler
from deployment.local_lambda import Context
answer = lambda_handler.handler(json.load(sys.stdin), Context())
print(json.dumps([answer["statusCode"], time.perf_counter() - began]), file=sys.stderr)
"""


def environment(url: str, aws_url: str, slack_url: str) -> dict[str, str]:
    return local_lambda.sample_environment(url, tempfile.gettempdir()) | {
        "AWS_ENDPOINT_URL": aws_url,
        "SLACK_BOT_TOKEN": slack_server.TOKEN,
        "SLACK_SIGNING_SECRET": SECRET,
        "DE_AGENT_STORE_URL": "dynamodb://de-agent?region=eu-west-1",
        "DE_AGENT_SLACK_BASE_URL": slack_url,
        "DE_AGENT_MWAA_ENVIRONMENT": "prod-3",
        "DE_AGENT_TASK_LOG_GROUP": GROUP,
    }


def cold(variables: dict[str, str]) -> tuple[float, float]:
    """Seconds of a first call: in the handler with its imports, and with the interpreter's start; on one core."""
    event = json.dumps(signed(sample("help", "C1"), SECRET, time.time()))
    began = time.perf_counter()
    command = ["taskset", "-c", "0", sys.executable, "-c", COLD]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, input=event, env=kept | variables, cwd=ROOT, capture_output=True, text=True)
    whole = time.perf_counter() - began
    status, seconds = json.loads(done.stderr.strip().splitlines()[-1])
    assert status == 200, done.stderr
    return seconds, whole


def warm(function: local_lambda.LocalLambda) -> list[float]:
    """Seconds of calls to a function that has answered before, each of another event, over HTTP."""
    return sorted(posted(function, "help") for _ in range(WARM))


def posted(function: local_lambda.LocalLambda, text: str) -> float:
    """Seconds until a mention is acknowledged."""
    event = signed(sample(text, "C1"), SECRET, time.time())
    request = urllib.request.Request(function.url + "/slack/events", event["body"].encode(), event["headers"])
    began = time.perf_counter()
    urllib.request.urlopen(request).close()
    return time.perf_counter() - began


def warehouse(aws: aws_servers.AwsServer, postgres: str) -> None:
    """A failed load: its log in CloudWatch, its run in MWAA, its error in Redshift; the secrets; the store."""
    from airflow_de_agent.adapters.dynamodb_store import DynamoDBStore

    DynamoDBStore(aws.client("dynamodb"), "de-agent").create_table()
    at = dt.datetime(2026, 11, 22, 14, 44, 40, tzinfo=dt.timezone.utc)
    put_log(aws.client("logs"), STREAM, list(LOG), GROUP, at)
    redshift = aws_servers.RedshiftDataApi(postgres)
    redshift.slow = DESCRIPTIONS
    redshift.sql(aws_servers.SYSTEM_VIEWS)
    redshift.sql(LOAD_ERROR)
    aws.own |= {"MWAA": aws_servers.MwaaApi(), "RedshiftData": redshift}
    for name, values in SECRETS.items():
        aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(values))


class Timed:
    """A model that takes its time; `seconds` is all it took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, request: gemini_server.Request) -> gemini_server.Response:
        time.sleep(MODEL_SECONDS)
        self.seconds += MODEL_SECONDS
        return gemini_server.faithful(request)


def answered(aws: aws_servers.AwsServer, slack: slack_server.SlackServer) -> tuple[float, float]:
    """Seconds from a mention of an unknown failure to its final answer, and those of the model in them."""
    from airflow_de_agent import lambda_handler

    model = Timed()
    with gemini_server.GeminiServer(model) as gemini, local_lambda.serving(lambda_handler.handler) as function:
        variables = environment(function.url, aws.url, slack.url) | {"DE_AGENT_GEMINI_BASE_URL": gemini.url}
        os.environ.update({name: value for name, value in variables.items() if not name.startswith("SLACK_")})
        aws.delays, slack.delay = dict(LATENCY), SLACK_SECONDS
        began = time.perf_counter()
        posted(function, "why did sales_etl fail?")
        assert function.wait(60)
        seconds = time.perf_counter() - began
    (told,) = (message for message in slack.replies if "load.copy_orders failed" in message["text"])
    assert "gemini" in json.dumps(told["blocks"]) and not gemini.breaches
    assert "redshift" in gemini.requests[-1].prompt and "Invalid digit" in gemini.requests[-1].prompt
    return seconds, model.seconds


def acknowledged(slack_url: str) -> list[float]:
    """Seconds of acknowledgements, with dead AWS; the work goes elsewhere, as it does on AWS."""
    from airflow_de_agent import lambda_handler

    with local_lambda.serving(lambda_handler.handler) as function:
        function.invoke = lambda payload: None  # type: ignore[method-assign]
        os.environ.update(environment(function.url, "http://127.0.0.1:1", slack_url))
        lambda_handler.parts.cache_clear()
        lambda_handler.app.cache_clear()
        return warm(function)


def main() -> None:
    warnings.filterwarnings("ignore", "No application metrics")  # invocations share one process here
    with slack_server.running() as slack, tempfile.TemporaryDirectory() as directory:
        with local_lambda.serving(lambda event, context: None) as queue:
            variables = environment(queue.url, "http://127.0.0.1:1", slack.url)
            starts = [cold(variables) for _ in range(5)]
        aws = aws_servers.running()
        silent = contextlib.redirect_stdout(io.StringIO())  # metrics are lines of the function's log
        with airflow_host.postgres(Path(directory)) as postgres, silent:
            warehouse(aws, postgres)
            whole, model = answered(aws, slack)
            spans = acknowledged(slack.url)
        aws.close()
    print(f"{'acknowledged, dead AWS behind it':48}{'seconds':>9}{'bar':>7}{'of bar':>8}")
    rows = [
        ("cold, imports and first request (median)", statistics.median(s for s, _ in starts), 2.0),
        ("cold, with the interpreter's start (worst)", max(w for _, w in starts), 2.0),
        (f"warm, median of {WARM}", statistics.median(spans), 0.5),
        (f"warm, slowest of {WARM}", spans[-1], 0.5),
        (f"mention to answer, less the model's {model:.1f} s", whole - model, 10.0),
    ]
    for name, seconds, bar in rows:
        print(f"{name:48}{seconds:9.3f}{bar:7.1f}{seconds / bar:8.0%}")


if __name__ == "__main__":
    main()
