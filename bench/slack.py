"""How soon Slack gets its acknowledgement and a person the answer, and what a storm costs in messages.

AWS, Slack and Lambda are stand-ins on loopback. Run: .venv/dev/bin/python bench/slack.py
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
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from deployment import local_lambda  # noqa: E402 - found by the line above
from deployment.sign_sample import sample, signed  # noqa: E402
from tests import aws_servers, slack_server  # noqa: E402

SECRET = "signing-" + "secret-of-the-benchmark"
WARM = 200
# what these services take from inside AWS, in seconds for each call
LATENCY = {"Logs.DescribeLogStreams": 0.08, "Logs.GetLogEvents": 0.15, "MWAA.InvokeRestApi": 0.8,
           "DynamoDB.Query": 0.02, "DynamoDB.GetItem": 0.02, "DynamoDB.TransactWriteItems": 0.03}  # fmt: skip
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
    spans = []
    for _ in range(WARM):
        event = signed(sample("help", "C1"), SECRET, time.time())
        request = urllib.request.Request(function.url + "/slack/events", event["body"].encode(), event["headers"])
        began = time.perf_counter()
        urllib.request.urlopen(request).close()
        spans.append(time.perf_counter() - began)
    return sorted(spans)


def answered(function: local_lambda.LocalLambda, slack: slack_server.SlackServer) -> float:
    """Seconds from a mention of an unknown failure to its final answer."""
    event = signed(sample("why did sales_etl fail?", "C1"), SECRET, time.time())
    request = urllib.request.Request(function.url + "/slack/events", event["body"].encode(), event["headers"])
    began = time.perf_counter()
    urllib.request.urlopen(request).close()
    assert function.wait(60)
    seconds = time.perf_counter() - began
    assert any("load.copy_orders failed" in text for text in slack.texts())
    return seconds


def main() -> None:
    warnings.filterwarnings("ignore", "No application metrics")  # invocations share one process here
    aws = aws_servers.running()
    aws.own["MWAA"] = aws_servers.MwaaApi()
    with slack_server.running() as slack:
        from airflow_de_agent.adapters.dynamodb_store import DynamoDBStore

        DynamoDBStore(aws.client("dynamodb"), "de-agent").create_table()
        from tests.test_lambda_handler import GROUP, STREAM
        from tests.test_tools import put_log

        at = dt.datetime(2026, 11, 22, 14, 44, 40, tzinfo=dt.timezone.utc)
        put_log(aws.client("logs"), STREAM, ["Traceback (most recent call last):", "KeyError: 'x'"], GROUP, at)
        from airflow_de_agent import lambda_handler

        idle: list[Any] = []
        with local_lambda.serving(lambda event, context: idle.append(event)) as queue:
            variables = environment(queue.url, "http://127.0.0.1:1", slack.url)
            starts = [cold(variables) for _ in range(5)]
        silent = contextlib.redirect_stdout(io.StringIO())  # metrics are lines of the function's log
        with silent, local_lambda.serving(lambda_handler.handler) as function:
            os.environ.update(environment(function.url, aws.url, slack.url))
            aws.delays.update(LATENCY)
            slack.delay = 0.1
            answer = answered(function, slack)
        with silent, local_lambda.serving(lambda_handler.handler) as function:
            function.invoke = idle.append  # the work goes elsewhere, as it does on AWS
            os.environ.update(environment(function.url, "http://127.0.0.1:1", slack.url))
            lambda_handler.parts.cache_clear()
            lambda_handler.app.cache_clear()
            spans = warm(function)
    print(f"{'acknowledged, dead AWS behind it':42}{'seconds':>9}{'bar':>7}{'of bar':>8}")
    rows = [
        ("cold, imports and first request (median)", statistics.median(s for s, _ in starts), 2.0),
        ("cold, with the interpreter's start (worst)", max(w for _, w in starts), 2.0),
        (f"warm, median of {WARM}", statistics.median(spans), 0.5),
        (f"warm, slowest of {WARM}", spans[-1], 0.5),
        ("mention to answer, AWS at its latency", answer, 10.0),
    ]
    for name, seconds, bar in rows:
        print(f"{name:42}{seconds:9.3f}{bar:7.1f}{seconds / bar:8.0%}")


if __name__ == "__main__":
    main()
