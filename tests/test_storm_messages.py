"""A storm of failures in Slack: one message for each cause, counters that end right, no faster than Slack allows."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from airflow_de_agent.adapters.console import Console
from airflow_de_agent.adapters.slack_thread import SlackThread
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core import render
from airflow_de_agent.core.agent import Agent, StoreAway
from airflow_de_agent.core.delivery import Delivery
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import CapturedException, Frame, TaskFailure, TaskKey
from tests import slack_server

MANY, FEW = 1000, 20
IN_CODE = (Frame("/opt/airflow/dags/etl.py", 12, "load", "rows = read(order)"),)
CAUSES = (
    CapturedException(
        "psycopg2.OperationalError",
        'connection to server at "dwh.example.com" (10.1.2.3), port 5439 failed: Connection refused',
        IN_CODE,
    ),
    CapturedException("KeyError", "'order_id'", IN_CODE),
)


def storm() -> list[TaskFailure]:
    """A thousand failures of one cause with twenty of another among them."""
    causes = [CAUSES[1] if n % 51 == 0 and n // 51 < FEW else CAUSES[0] for n in range(MANY + FEW)]
    return [
        TaskFailure(
            TaskKey(f"dag_{n % 7}", "r1", f"task_{n}"), "task", f"2026-11-22T03:00:{n % 60:02}+00:00", exceptions=(c,)
        )
        for n, c in enumerate(causes)
    ]


def agent(slack: slack_server.SlackServer, store: SqlStore, notes: list[str] | None = None) -> Agent:
    messenger = SlackThread(slack_server.TOKEN, "#oncall", slack.url, Console(lambda text: None))
    return Agent(
        open_store=lambda: store,
        read_log=lambda failure: Evidence.unavailable("task_log", "it has no file on this host."),
        delivery=Delivery(messenger, time.time, lambda text: None, "host"),
        clock=time.time,
        complain=lambda text: None,
        note=(notes if notes is not None else []).append,
        owner="host",
    )


def told_all(tells: Agent) -> None:
    """Let the agent tell all that it has to tell."""
    until = time.monotonic() + 60
    while tells.deliver_due() and time.monotonic() < until:
        time.sleep(0.1)


def test_a_storm_is_two_messages(slack: slack_server.SlackServer, tmp_path: Path) -> None:
    """Of 1,020 failures come two messages that end at 1,000 and 20, edited at most once a second, and no refusal."""
    slack.per_second_and_channel = 1.0
    store = SqlStore(f"sqlite:///{tmp_path / 'd.db'}")
    tells = agent(slack, store)
    for failure in storm():
        tells.handle(failure)
    told_all(tells)
    first_lines = sorted(text.partition("\n")[0] for text in slack.texts())
    assert len(first_lines) == 2
    assert sum(f"and {MANY - 1:,} more task instances" in line for line in first_lines) == 1
    assert sum(f"and {FEW - 1} more task instances" in line for line in first_lines) == 1
    written = [at for at, method, _ in slack.calls if method in ("chat.postMessage", "chat.update")]
    assert all(later - earlier > 0.9 for earlier, later in itertools.pairwise(written))
    assert slack.refused == []
    for message in slack.messages:
        thread = [reply["text"] for reply in slack.replies if reply["thread_ts"] == message["ts"]]
        assert 1 <= len(thread) <= 6
        assert [text for text in thread if "Proof" in text] == thread[:1]


def test_each_diagnosis_is_noted_as_success_or_failure(slack: slack_server.SlackServer, tmp_path: Path) -> None:
    """The drainer's log says of every diagnosis whether the agent had an answer."""
    notes: list[str] = []
    tells = agent(slack, SqlStore(f"sqlite:///{tmp_path / 'd.db'}"), notes)
    known = storm()[1]
    odd = dataclasses.replace(
        known, key=known.key._replace(run_id="r2"), exceptions=(CapturedException("Oddity", "xyzzy"),)
    )
    for failure in (known, odd):
        tells.handle(failure)
    assert [note.split(": ")[0].split()[-1] for note in notes] == ["succeeded", "failed"]
    assert notes[0].startswith(f"diagnosis {known.key.diagnosis_id} ")


@pytest.mark.parametrize("refused", [{"error": "missing_scope"}, {"status": 429, "error": "ratelimited"}])
def test_a_message_is_noted_where_the_channel_cannot_be_read(
    slack: slack_server.SlackServer, refused: dict[str, object]
) -> None:
    """A post after a post that failed counts, though Slack lets nobody look for the former one."""
    slack.refuse = lambda method, arguments: dict(refused) if method == "conversations.history" else None
    messenger = SlackThread(slack_server.TOKEN, "#oncall", slack.url, Console(lambda text: None))
    message = render.Message("a text", (), "i1")
    channel, ts = messenger.post(message, "", look_first=True)
    assert [(m["channel"], m["ts"]) for m in slack.messages] == [(channel, ts)]


def test_a_store_that_goes_away_after_the_post_is_no_second_message(
    slack: slack_server.SlackServer, tmp_path: Path
) -> None:
    """A message that could not be noted is the message of its failure all the same."""

    class Away(SqlStore):
        is_away = True

        def shown(self, incident_id: str, *, revision: int, channel: str = "", message_ts: str = "") -> None:
            if self.is_away:
                raise StoreError("the store is away")
            super().shown(incident_id, revision=revision, channel=channel, message_ts=message_ts)

    store = Away(f"sqlite:///{tmp_path / 'd.db'}")
    tells, one = agent(slack, store), storm()[0]
    with pytest.raises(StoreAway) as caught:
        tells.handle(one)
    assert len(slack.messages) == 1
    store.is_away = False
    tells.handle(one, posted=caught.value.posted)
    told_all(tells)
    assert store.undelivered() == []
    assert len(slack.messages) == 1


def test_an_incident_whose_record_is_gone_is_no_work(slack: slack_server.SlackServer, tmp_path: Path) -> None:
    """A drainer does not stay for a message that can no longer be told."""
    store = SqlStore(f"sqlite:///{tmp_path / 'd.db'}")
    slack.refuse = lambda method, arguments: {"error": "ratelimited"}
    agent(slack, store).handle(storm()[0])
    with create_engine(f"sqlite:///{tmp_path / 'd.db'}").begin() as db:
        db.execute(text("DELETE FROM de_agent_diagnoses"))
    assert len(store.undelivered()) == 1
    assert not agent(slack, store).deliver_due()
