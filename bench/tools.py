"""What reading evidence from AWS costs: calls, seconds, memory; each against the plain way, in one run."""

from __future__ import annotations

import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from airflow_de_agent import tools
from airflow_de_agent.collect import collect
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.redshift_views import RedshiftTarget
from airflow_de_agent.core.task_stream import stream_of
from airflow_de_agent.sources import Places
from tests import aws_servers

GROUP = "airflow-prod-Task"
KEY = TaskKey("sales_etl", "r1", "load")
RUN_STATE_TOO = ("import_errors",)  # of the same answer as recent_runs; the run itself is not among the captured ones
STREAM = stream_of(KEY.dag_id, KEY.run_id, KEY.task_id, KEY.try_number)
FAILURE = TaskFailure(
    KEY,
    "task",
    "2026-11-21T12:00:00+00:00",
    operator="RedshiftDataOperator",
    fields={"function_name": "arn:aws:lambda:eu-west-1:1:function:x"},
)


def huge(aws: Any, events: int) -> None:
    """A task log of so many kilobytes."""
    aws.reset()
    aws.own["Logs"] = aws_servers.HugeStream(GROUP, STREAM, events, 1_000, 1_700_000_000_000)


def read(aws: Any, max_bytes: int) -> tuple[Any, int, float]:
    client = aws.client("logs")
    aws.calls.clear()
    began = time.perf_counter()
    evidence = tools.get_mwaa_task_logs(client, log_group=GROUP, max_bytes=max_bytes, **KEY._asdict())
    return evidence, len(aws.calls), time.perf_counter() - began


def bench_tail(aws: Any) -> None:
    """The last megabyte of streams of growing size."""
    print(f"{'last 1 MiB of a stream of':<42}{'calls':>7}{'pages needed':>14}{'seconds':>9}{'peak MB':>9}")
    for size in (1_000, 100_000, 1_000_000):
        huge(aws, size)
        read(aws, 1_048_576)
        tracemalloc.start()
        _, calls, seconds = read(aws, 1_048_576)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        pages = 1 if size == 1_000 else 2
        print(f"{size / 1000:>28,.0f} MB{'':<11}{calls:>7}{pages:>14}{seconds:>9.2f}{peak:>9.1f}")


def bench_throttled(aws: Any) -> None:
    """The same reading, calm and throttled at every second call."""
    huge(aws, 30_000)
    calm, needed, seconds = read(aws, 20_000_000)
    aws.misbehave("Throttle", every=2)
    rough, calls, slow = read(aws, 20_000_000)
    same = "the same lines" if calm.lines == rough.lines else "LINES ARE MISSING"
    print(f"\n{'20 MB':<42}{'calls':>7}{'ratio':>14}{'seconds':>9}")
    print(f"{'  calm':<42}{needed:>7}{1:>14.2f}{seconds:>9.2f}")
    print(f"{'  every second call throttled, ' + same:<42}{calls:>7}{calls / needed:>14.2f}{slow:>9.2f}")


def redshift(operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A Redshift that takes a second for the four system views, and one for the audit SQL."""
    if operation == "ExecuteStatement":
        time.sleep(1.0 if body["Sql"] == "SELECT 1" else 0.25)
    if operation == "GetStatementResult":
        return 200, {"Records": [[{"longValue": 1}]], "ColumnMetadata": [{"name": "query_id"}]}
    state = {"Id": body.get("ClientToken", body.get("Id")), "Status": "FINISHED", "HasResultSet": True}
    return 200, state


def bench_together(aws: Any) -> None:
    """Five sources of one second each; then with one that hangs."""
    huge(aws, 1_000)
    aws.own |= {"RedshiftData": redshift, "MWAA": aws_servers.MwaaApi()}
    clients = {name: aws.client(name) for name in ("logs", "mwaa", "redshift-data")}
    target = RedshiftTarget("warehouse", cluster_id="analytics")
    places = Places(clients.__getitem__, GROUP, "prod-3", target, "SELECT 1")
    clients["logs"].create_log_group(logGroupName="/aws/lambda/x")
    asked(places)
    aws.delays = {"Logs.DescribeLogStreams": 1.0, "Logs.FilterLogEvents": 1.0, "MWAA.InvokeRestApi": 1 / 3}
    seconds, found = asked(places)
    print(f"\n{'five sources at about 1 s each':<42}{'seconds':>9}{'ratio':>14}")
    alone = sum(item.seconds for item in found)
    print(f"{'  one after the other':<42}{alone:>9.2f}{1:>14.2f}")
    print(f"{'  collect':<42}{seconds:>9.2f}{seconds / alone:>14.2f}")
    aws.misbehave("hang", "Logs.DescribeLogStreams")
    seconds, found = asked(places)
    states = ", ".join(f"{item.source} {item.status} {item.seconds:.1f} s" for item in found)
    print(f"{'  one hangs, deadline 3 s':<42}{seconds:>9.2f}   {states}")


def asked(places: Places) -> tuple[float, tuple[Any, ...]]:
    began = time.perf_counter()
    found = collect(FAILURE, places, deadline=time.monotonic() + 3.0)
    return time.perf_counter() - began, tuple(item for item in found if item.source not in RUN_STATE_TOO)


if __name__ == "__main__":
    server = aws_servers.AwsServer()
    bench_tail(server)
    bench_throttled(server)
    bench_together(server)
    server.close()
