"""Reads the streams of task logs in CloudWatch: from the end, several at once, waiting a little for what comes late."""

from __future__ import annotations

import time
from collections.abc import Sequence

from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core import task_stream
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.task_stream import Event

LATE_SECONDS = 120.0  # handlers send every 60 s; what is older than this many seconds will not grow any more
EMPTY_PAGES = 5  # in a row; CloudWatch may send some on the way


class TaskStreams:
    """The streams of one log group; `failures` holds what could not be read though something else could."""

    def __init__(self, calls: Calls, group: str) -> None:
        self._calls, self._group = calls, group
        self.failures: list[CallFailed] = []

    def of_try(self, name: str, legacy: str, try_number: int, settle_seconds: float) -> list[str]:
        """The streams of a try: its own, those of its triggers; waited for a little when there is none.

        `legacy` begins the streams of the task under the template of old versions, ``dag/task/date/try.log``.
        """
        wait, until = 0.5, time.monotonic() + settle_seconds
        found = self._beginning(name)
        if not found:
            old = self._beginning(legacy)
            found = [stream for stream in old if task_stream.is_stream_of_try(stream, try_number)][-1:]
        while not found and time.monotonic() + wait <= until and self._calls.wait(wait):
            found = self._beginning(name)
            wait *= 2
        return found

    def absent(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> Evidence:
        """Tells a log that is not there yet from one that never was."""
        run_prefix = task_stream.as_stream(f"dag_id={dag_id}/run_id={run_id}/")
        of_run = self._beginning(run_prefix)
        tries = task_stream.attempts_in(name for name in of_run if f"/task_id={task_id}/" in name)
        cure = "look again in a minute; a try that was killed before its first line leaves no log."
        if tries:
            reason = f"no log of try {try_number} in {self._group}: there are tries {', '.join(map(str, tries))}."
        elif of_run:
            reason = f"no log of {task_id} in {self._group} yet, though other tasks of the run have theirs."
        else:
            reason = f"no log of the run in {self._group}: nothing begins with {run_prefix}."
            cure = "check that task logs are sent (level INFO), their retention, and [logging] log_filename_template."
        return Evidence("task_log", "empty", reason=reason, cure=cure)

    def tail(self, streams: Sequence[str], max_bytes: int, settle_seconds: float) -> list[Event]:
        """The last events of some streams together."""
        events: list[Event] = []
        for name in streams:
            where = {"logGroupName": self._group, "logStreamName": name}
            part, forward = self._read_back(where, max_bytes)
            if forward and not task_stream.looks_finished("\n".join(event.text for event in part[-200:])):
                part += self._read_late(where, forward, settle_seconds, part[-1].at if part else None)
            events += part
        return events

    def _beginning(self, prefix: str) -> list[str]:
        try:
            answer = self._calls(
                "describe_log_streams",
                expects="logStreams",
                logGroupName=self._group,
                logStreamNamePrefix=prefix,
                limit=50,
            )
        except CallFailed as exc:
            if exc.code == "ResourceNotFoundException":
                raise self._group_missing(exc) from exc
            raise
        return [str(stream["logStreamName"]) for stream in answer["logStreams"]]

    def _group_missing(self, failed: CallFailed) -> CallFailed:
        """Names the log groups that are there instead."""
        reason = f"there is no log group {self._group} in {self._calls.region}."
        cure = "set [de_agent] task_log_group (airflow-ENVIRONMENT-Task), or correct the region of the AWS connection."
        try:
            answer = self._calls("describe_log_groups", expects="logGroups", logGroupNamePrefix="airflow-", limit=50)
        except CallFailed:
            return CallFailed(reason, cure, failed.code)
        names = [str(item["logGroupName"]) for item in answer["logGroups"]]
        there = ", ".join([name for name in names if name.endswith("-Task")][:5]) or "none that ends in -Task"
        return CallFailed(f"{reason} There is: {there}.", cure, failed.code)

    def _read_back(self, where: dict[str, str], max_bytes: int) -> tuple[list[Event], str]:
        """Read pages from the end until there is enough; the token with it asks for what comes later.

        The same token twice means the beginning of the stream (GetLogEvents, API reference).
        """
        events: list[Event] = []
        token, forward, size, empty = "", "", 0, 0
        while size < max_bytes and empty < EMPTY_PAGES:
            more = {"nextToken": token} if token else {}
            try:
                page = self._calls(
                    "get_log_events", expects="events", startFromHead=False, limit=10_000, **where, **more
                )
            except CallFailed as exc:
                self.failures.append(exc)
                break
            forward = forward or str(page.get("nextForwardToken", ""))
            for item in reversed(page["events"]):
                size += len(item["message"].encode()) + 1
                if size > max_bytes and events:
                    break
                events.append(Event(item["timestamp"], item["message"]))
            empty = 0 if page["events"] else empty + 1
            if page.get("nextBackwardToken") in (None, token):
                break
            token = page["nextBackwardToken"]
        return events[::-1], forward

    def _read_late(self, where: dict[str, str], token: str, settle_seconds: float, last: int | None) -> list[Event]:
        """Wait for events that are still on their way, while the last one is fresh."""
        events: list[Event] = []
        wait, until = 0.5, time.monotonic() + settle_seconds
        fresh = last is None or time.time() - last / 1000 < LATE_SECONDS
        while fresh and time.monotonic() + wait <= until and self._calls.wait(wait):
            try:
                page = self._calls("get_log_events", expects="events", startFromHead=True, nextToken=token, **where)
            except CallFailed as exc:
                self.failures.append(exc)
                break
            token = page.get("nextForwardToken", token)
            events += [Event(item["timestamp"], item["message"]) for item in page["events"]]
            if task_stream.looks_finished("\n".join(event.text for event in events)):
                break
            wait *= 1.5
        return events
