"""Reads the log group of a Lambda function: first what tells of a failure, then what the failed invocation said."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core import lambda_log


def invocations(
    calls: Calls, group: str, window: tuple[int, int], request_ids: Sequence[str], failures: list[CallFailed]
) -> list[str]:
    """The lines of the invocations that failed in a window (milliseconds), at most three streams' last ones.

    Raises:
        CallFailed: nothing could be read; what failed later goes to `failures`.
    """
    events = _filtered(calls, group, window, request_ids, failures)
    errors = lambda_log.failing(events, request_ids)
    lines: list[str] = []
    for stream, last in list({event.stream: event for event in errors}.items())[-3:]:
        lines += _invocation(calls, group, window, last) or [e.text for e in errors if e.stream == stream]
    return lines


def group_missing(calls: Calls, name: str, group: str, failed: CallFailed) -> CallFailed:
    """A missing log group, with what may be wrong; any other failure as it is."""
    if failed.code != "ResourceNotFoundException":
        return failed
    cure = f"if {name} logs elsewhere set [de_agent] lambda_log_groups to {name}=GROUP; else correct the region."
    return CallFailed(f"there is no log group {group} in {calls.region}.", cure, failed.code)


def _filtered(
    calls: Calls, group: str, window: tuple[int, int], request_ids: Sequence[str], failures: list[CallFailed]
) -> list[lambda_log.LambdaEvent]:
    """Events of the window that may tell of a failure, at most 2,000; empty pages on the way are normal."""
    where = {"logGroupName": group, "startTime": window[0], "endTime": window[1]}
    pattern = lambda_log.filter_pattern(request_ids)
    events: list[lambda_log.LambdaEvent] = []
    token: dict[str, str] = {}
    while len(events) < 2000:
        try:
            page = calls("filter_log_events", expects="events", filterPattern=pattern, **where, **token)
        except CallFailed as exc:
            if not events:
                raise
            failures.append(exc)
            break
        events += [
            lambda_log.LambdaEvent(item["timestamp"], item["logStreamName"], item["message"]) for item in page["events"]
        ]
        if not page.get("nextToken"):
            break
        token = {"nextToken": page["nextToken"]}
    return events


def _invocation(
    calls: Calls, group: str, window: tuple[int, int], last: lambda_log.LambdaEvent, limit: int = 100
) -> list[str]:
    """The lines of the invocation that ended in an error, with what it said before; none when they cannot be read."""
    where = {"logGroupName": group, "logStreamName": last.stream, "startTime": window[0], "endTime": last.at + 1}
    try:
        page = calls("get_log_events", expects="events", startFromHead=False, limit=limit, **where)
    except CallFailed:
        return []
    events = [lambda_log.LambdaEvent(item["timestamp"], last.stream, item["message"]) for item in page["events"]]
    return lambda_log.last_invocation(events)
