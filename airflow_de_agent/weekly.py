"""The report of the week in a channel: once, however many sweeps there are and wherever they run."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Callable

from airflow_de_agent import report
from airflow_de_agent.core.delivery import Messenger
from airflow_de_agent.core.failure import TaskKey
from airflow_de_agent.core.incident import Store

WEEK_SECONDS = 7 * 86400.0
# a claim so young belongs to a sweep at work; one that failed is followed by the next
_STALE_SECONDS = 240.0


def post(store: Store, messenger: Callable[[], Messenger], channel: str, now: float) -> bool:
    """Post the report of the last seven days, once a week from Monday (UTC) on; whether it was posted now.

    Raises:
        StoreError: the store cannot be reached.
        SlackError: Slack did not take it; a later sweep tries again.
    """
    year, week, _ = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).isocalendar()
    mark = f"report-{channel}-{year}-{week}"
    if not channel or store.recall(mark, now=now) is not None:
        return False
    turn = TaskKey("(report)", mark, channel)
    if store.claim(turn, owner=uuid.uuid4().hex, now=now, stale_after=_STALE_SECONDS) != "won":
        return False
    if store.recall(mark, now=now) is not None:  # posted while this sweep was held up
        return False
    told = report.message(report.of_store(store, since=now - WEEK_SECONDS, until=now))
    # one that was killed before it could note that it had posted is found by its mark
    messenger().post(dataclasses.replace(told, incident_id=mark), channel, look_first=True)
    store.remember(mark, "posted", expires_at=now + 2 * WEEK_SECONDS)
    return True
