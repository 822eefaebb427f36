"""Incidents in Slack: posted once, edited in place, with a thread that tells what is notable, whatever goes wrong."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent import settings
from airflow_de_agent.adapters.console import Console
from airflow_de_agent.adapters.slack_thread import SlackThread
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core import channels
from airflow_de_agent.core.delivery import Delivery
from airflow_de_agent.core.diagnosis import Category, Diagnosis, Quote
from airflow_de_agent.core.errors import SettingsError, StoreError
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Incident, Record
from tests import slack_server
from tests.test_capture import HELD, TI, entries, python, run

__all__ = ["python"]  # a fixture
NOW, HOUR, MINUTE = 1_800_000_000.0, 3600.0, 60.0
DOWN = {"status": 503, "error": "service_unavailable"}


class Desk:
    """A store, Slack and a clock that only the test moves."""

    def __init__(self, slack: slack_server.SlackServer, store: SqlStore) -> None:
        self.slack, self.store, self.now = slack, store, NOW
        self.complaints: list[str] = []
        self.delivery = self.host("a")

    def host(self, owner: str, rules: str = "", channel: str = "#oncall") -> Delivery:
        """Another process."""
        messenger = SlackThread(
            slack_server.TOKEN, channel, self.slack.url, Console(self.complaints.append),
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip
        parsed = channels.parse(rules)
        return Delivery(
            messenger, lambda: self.now, self.complaints.append, owner,
            channel_for=lambda record: channels.channel_of(record, parsed),
        )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def fails(self, task_id: str = "load", mark: str = "f1", dag_id: str = "sales", **changes: Any) -> Incident:
        """A task fails, is diagnosed and told of."""
        category = changes.pop("category", Category.NETWORK)
        cause = changes.pop("cause", f"{mark}: the host refused the connection.")
        run_id = changes.pop("run_id", "r1")
        diagnosis = Diagnosis(category, cause, evidence=(Quote("task_log", "Connection refused", 3),))
        failure = TaskFailure(TaskKey(dag_id, run_id, task_id), "task", **changes)
        incident = self.store.add(Record(failure, diagnosis, mark, self.now), window=HOUR)
        self.delivery.tell(self.store, incident)
        return incident

    def rounds(self, count: int = 4) -> None:
        for _ in range(count):
            self.now += 1.1
            self.delivery.deliver_due(self.store)

    def thread(self, incident: Incident) -> list[str]:
        """What stands in an incident's thread."""
        ts = self.store.incident(incident.id).message_ts  # type: ignore[union-attr]
        return [reply["text"] for reply in self.slack.replies if reply["thread_ts"] == ts]


@pytest.fixture
def desk(slack: slack_server.SlackServer, tmp_path: Path) -> Desk:
    slack.refuse = lambda method, arguments: None
    return Desk(slack, SqlStore(f"sqlite:///{tmp_path / 'd.db'}"))


def test_the_details_stand_in_the_thread_once(desk: Desk) -> None:
    """The first message comes at once, its details a second later, and then there is nothing more to do."""
    incident = desk.fails()
    assert (len(desk.slack.messages), desk.slack.replies) == (1, [])
    desk.rounds()
    (details,) = desk.slack.replies
    assert "Connection refused" in str(details["blocks"])
    assert details["thread_ts"] == desk.slack.messages[0]["ts"]
    assert desk.store.undelivered() == []
    calls = len(desk.slack.calls)
    desk.rounds()
    desk.host("b").deliver_due(desk.store)
    assert len(desk.slack.calls) == calls
    assert len(desk.thread(incident)) == 1


@pytest.mark.parametrize("successor", ["a", "b"])
def test_details_whose_note_was_lost_are_found_again(
    slack: slack_server.SlackServer, tmp_path: Path, successor: str
) -> None:
    """Who follows a drainer that was killed between reply and note, on its host or another, does not reply again."""

    class Killed(Exception):
        pass

    class Store(SqlStore):
        killed = False

        def end_entry(self, incident_id: str, *, told: str) -> None:
            if not self.killed:
                self.killed = True
                raise Killed
            super().end_entry(incident_id, told=told)

    desk = Desk(slack, Store(f"sqlite:///{tmp_path / 'd.db'}"))
    incident = desk.fails()
    with pytest.raises(Killed):
        desk.rounds()
    desk.delivery, desk.now = desk.host(successor), desk.now + 130
    desk.rounds()
    assert len(desk.thread(incident)) == 1
    assert desk.store.undelivered() == []


def test_a_store_that_goes_away_after_a_reply_costs_no_second_one(
    slack: slack_server.SlackServer, tmp_path: Path
) -> None:
    """The same process looks before it replies again."""

    class Store(SqlStore):
        away = 2

        def end_entry(self, incident_id: str, *, told: str) -> None:
            self.away -= 1
            if self.away >= 0:
                raise StoreError("the store is away")
            super().end_entry(incident_id, told=told)

    desk = Desk(slack, Store(f"sqlite:///{tmp_path / 'd.db'}"))
    incident = desk.fails()
    for _ in range(2):
        with pytest.raises(StoreError):
            desk.rounds()
    desk.rounds()
    assert len(desk.thread(incident)) == 1


def test_two_hosts_tell_a_thread_once(desk: Desk) -> None:
    """What one host is telling, another leaves to it."""
    other = desk.host("b")
    incident = desk.fails()
    for n in range(12):
        desk.now += 1.1
        for delivery in (desk.delivery, other):
            delivery.deliver_due(desk.store)
        if n == 5:
            desk.fails("again", dag_id="finance")
    first, second = desk.thread(incident)
    assert "Proof" in first and "finance" in second


def test_another_diagnosis_is_an_entry_and_mends_the_details(desk: Desk) -> None:
    """When the deeper look says otherwise, the thread says so, and its details are those of the new diagnosis."""
    incident = desk.fails()
    desk.rounds()
    desk.fails()  # the same again: nothing to say
    desk.rounds()
    assert len(desk.thread(incident)) == 1
    desk.fails(category=Category.PERMISSIONS, cause="The role may not <!here> read the bucket.")
    desk.rounds(6)
    details, entry = desk.thread(incident)
    assert "permissions, not network" in entry.replace("*", "") and "<!here>" not in entry
    assert "permission" in details
    assert "permission" in desk.slack.messages[0]["text"]
    assert len(desk.slack.messages) == 1


def test_only_notable_growth_is_told(desk: Desk) -> None:
    """Of 120 task instances of three DAGs the thread tells at 10 and 100, and which DAGs joined, no more."""
    incident = desk.fails("t0")
    desk.rounds()
    for n in range(1, 120):
        desk.fails(f"t{n}", dag_id=("sales", "finance", "hr")[n // 50])
        if n % 10 == 0:
            desk.rounds(3)
    desk.rounds(6)
    details, *grown = desk.thread(incident)
    assert "Proof" in details
    assert len(grown) == 3
    assert [word for text in grown for word in ("finance", "hr") if f"`{word}`" in text] == ["finance", "hr"]
    assert "and 119 more task instances" in desk.slack.messages[0]["text"]


def test_three_hundred_dags_do_not_fill_a_thread(desk: Desk) -> None:
    """While few DAGs have failed each that joins is named, later on they are told with the count."""
    incident = desk.fails("t0", dag_id="d0")
    desk.rounds()
    for n in range(1, 300):
        desk.fails(dag_id=f"d{n}")
        desk.rounds(2)
    desk.rounds(6)
    _, *grown = desk.thread(incident)
    assert [text.partition("now in ")[2][:4] for text in grown] == [f"`d{n}`" for n in (1, 2, 3, 4)] + ["`d5`", "`d10"]
    assert "100 task instances" in grown[-1] and "more DAGs" in grown[-1]


def test_what_a_newer_version_told_is_gone_on_with(desk: Desk) -> None:
    """The Lambda and the workers share a store, and one of them is always upgraded first."""
    incident = desk.fails()
    desk.rounds()
    told = json.loads(desk.store.thread(incident.id).told)
    desk.store.end_entry(incident.id, told=json.dumps(told | {"mood": "calm"}))
    desk.fails(dag_id="finance")
    desk.rounds(6)
    assert len(desk.thread(incident)) == 2
    assert desk.store.undelivered() == []


def test_a_message_that_cannot_be_made_lets_others_pass(desk: Desk) -> None:
    """However often it is tried, the messages behind it go out."""
    desk.delivery.channel_for = lambda record: {"good": "#a"}[record.fingerprint]
    with pytest.raises(KeyError):
        desk.fails("a", mark="bad")
    desk.delivery.queued = True
    desk.fails("b", mark="good")
    for _ in range(3):
        desk.now += 5
        desk.delivery.deliver_due(desk.store)
    assert "good" in desk.slack.messages[0]["text"]


def test_a_clock_that_is_set_back_holds_nothing_up(desk: Desk) -> None:
    """Three hours ahead and back again: what was told and refused meanwhile is told of as usual."""
    desk.fails()
    desk.now += 3 * HOUR
    desk.rounds()
    desk.slack.refuse = _refusing("#oncall")
    desk.fails("other", mark="refused")
    desk.slack.refuse = lambda method, arguments: None
    desk.now -= 3 * HOUR
    desk.fails("more", dag_id="finance")
    desk.rounds(8)
    assert desk.store.undelivered() == []
    assert len(desk.slack.messages) == 2


def test_an_incident_recovers_and_comes_back(desk: Desk) -> None:
    """The message is closed with a check mark, opened again within a day, and a new one comes after that."""
    incident = desk.fails()
    desk.rounds()
    desk.now = NOW + 41 * MINUTE
    assert desk.store.close(incident.id, now=desk.now)
    desk.rounds()
    headline = desk.slack.messages[0]["blocks"][0]["text"]["text"]
    assert headline.startswith(":white_check_mark: *Recovered after 41 min: sales.load*")
    assert desk.thread(incident)[1:] == [":white_check_mark: Recovered after 41 min."]
    desk.now += 20 * HOUR
    desk.fails(run_id="r2")
    desk.rounds()
    assert "failed again" in desk.slack.messages[0]["blocks"][0]["text"]["text"]
    assert [text[:20] for text in desk.thread(incident)[2:]] == [":repeat: It is back."]
    desk.now += HOUR
    desk.store.close(incident.id, now=desk.now)
    desk.rounds()
    assert "Recovered" in desk.thread(incident)[3]
    assert len(desk.slack.messages) == 1
    desk.now += 25 * HOUR
    desk.fails(run_id="r3")
    desk.rounds()
    assert (len(desk.slack.messages), len(desk.thread(incident))) == (2, 4)


def test_slack_down_for_ten_minutes(desk: Desk) -> None:
    """All that failed meanwhile is told once when Slack is back, in its order, and Slack was not besieged."""
    back_at = NOW + 10 * MINUTE
    desk.slack.refuse = lambda method, arguments: dict(DOWN) if desk.now < back_at else None
    for n in range(20):
        desk.fails(f"t{n}", mark=f"f{n:02}")
        desk.rounds(20)
    assert desk.slack.messages == []
    assert desk.delivery.queued
    assert len(desk.slack.calls) <= 61
    desk.now = back_at
    desk.fails("late", mark="f20")  # its turn comes after those that wait
    desk.rounds(120)
    told = [message["text"].partition("failed: ")[2][:3] for message in desk.slack.messages]
    assert told == [f"f{n:02}" for n in range(21)]
    assert desk.store.undelivered() == []
    threads = [reply["thread_ts"] for reply in desk.slack.replies]
    assert sorted(threads) == sorted(message["ts"] for message in desk.slack.messages)
    assert not desk.delivery.queued


def test_a_drainer_of_later_goes_on_after_an_outage(desk: Desk) -> None:
    """What was queued is told though the process that queued it is gone."""
    desk.slack.refuse = lambda method, arguments: dict(DOWN)
    desk.fails()
    desk.slack.refuse = lambda method, arguments: None
    desk.delivery, desk.now = desk.host("b"), desk.now + 10 * MINUTE
    desk.rounds()
    assert (len(desk.slack.messages), len(desk.slack.replies)) == (1, 1)


def test_an_answer_that_was_lost_is_no_second_message(desk: Desk) -> None:
    """Slack took the post but did not say so; the diagnosis changed meanwhile, its channel does not."""
    desk.delivery = desk.host("a", "category:permissions=#platform, category:*=#CINDIVIDUAL")
    taken: list[str] = []

    def lose(method: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        if method != "chat.postMessage" or taken:
            return None
        taken.append(desk.slack._post(arguments)["channel"])
        return dict(DOWN)

    desk.slack.refuse = lose
    desk.fails()
    desk.now += 11
    desk.fails(category=Category.PERMISSIONS)
    desk.rounds(6)
    assert [message["channel"] for message in desk.slack.messages] == taken
    assert "permission" in desk.slack.messages[0]["text"]


def _refusing(dead: str, error: str = "channel_not_found") -> Callable[[str, dict[str, Any]], dict[str, Any] | None]:
    return lambda method, arguments: {"error": error} if arguments.get("channel") == dead else None


def test_a_hundred_dead_messages_do_not_hold_up_a_new_one(desk: Desk) -> None:
    """Messages for a deleted channel wait behind the rest, are tried again every five minutes and given up in a day."""
    desk.slack.refuse = _refusing("#oncall", "is_archived")
    for n in range(110):
        desk.fails(f"t{n}", mark=f"dead{n}")
    desk.delivery = desk.host("b")  # one that does not remember what was refused
    calls = desk.slack.count("chat.postMessage")
    desk.fails("fresh", mark="fresh", slack_channel="#alive")
    desk.delivery = desk.host("c")
    desk.rounds(3)
    assert [m["channel"] for m in desk.slack.messages] == ["CALIVE"]
    assert desk.slack.count("chat.postMessage") - calls == 2  # the message and its details
    desk.now += 25 * HOUR
    for _ in range(150):
        desk.rounds(1)
    assert desk.store.undelivered() == []
    assert any("given up" in text for text in desk.complaints)
    assert len(desk.slack.messages) == 1


def test_a_channel_that_is_mended_gets_its_messages(desk: Desk) -> None:
    """Once the app has been invited, what was refused is told."""
    desk.slack.refuse = _refusing("#oncall", "not_in_channel")
    desk.fails()
    desk.slack.refuse = lambda method, arguments: None
    desk.rounds()
    assert desk.slack.messages == []
    desk.now += 300
    desk.rounds()
    assert len(desk.slack.messages) == 1


def test_what_a_ruled_channel_refuses_goes_to_the_usual_one(desk: Desk) -> None:
    """A deleted channel of a rule or a DAG silences nothing."""
    desk.delivery = desk.host("a", "dag:sales=#gone")
    desk.slack.refuse = _refusing("#gone")
    desk.fails()
    desk.rounds()
    assert [m["channel"] for m in desk.slack.messages] == ["CONCALL"]
    assert any("#gone" in text for text in desk.complaints)


def test_a_message_that_somebody_deleted_costs_nothing_else(desk: Desk) -> None:
    """Its incident is left alone, and others are told of."""
    desk.fails()
    desk.rounds()
    desk.slack.written.clear()
    desk.fails("more")
    desk.fails("other", mark="f2")
    desk.rounds(6)
    assert len(desk.slack.messages) == 1


@pytest.mark.parametrize("answer", ["1", "[]", '[{"a": 1}]', "<html>", '{"ok": true}', '{"ok": false, "error": ["x"]}'])
@pytest.mark.parametrize(
    "method", ["chat.postMessage", "chat.update", "conversations.history", "conversations.replies"]
)
def test_an_answer_that_is_none_of_slacks_is_outlived(desk: Desk, method: str, answer: str) -> None:
    """A proxy that answers in Slack's place costs time, neither the drainer nor a second message."""
    real = desk.slack.spoken
    desk.slack.spoken = lambda called, data: answer.encode() if called == method else real(called, data)
    desk.fails()
    desk.rounds(3)
    desk.delivery, desk.now = desk.host("b"), desk.now + 130
    desk.fails("more", dag_id="finance")
    desk.rounds(3)
    desk.slack.spoken = real
    for _ in range(6):
        desk.now += 310
        desk.rounds(2)
    assert desk.store.undelivered() == []
    assert len(desk.slack.messages) == 1


@pytest.mark.parametrize(("wait", "seconds"), [("99999999999", 300), ("\xb2", 10), ("0.5", 10), ("7", 7)])
def test_slack_is_waited_for_five_minutes_at_most(desk: Desk, wait: str, seconds: float) -> None:
    """Whatever its answer asks for."""
    desk.slack.refuse = lambda method, arguments: {
        "status": 429,
        "error": "ratelimited",
        "headers": {"Retry-After": wait},
    }
    desk.fails()
    desk.slack.refuse = lambda method, arguments: None
    for passed, told in ((seconds - 1, 0), (2, 1)):
        desk.now += passed
        desk.delivery.deliver_due(desk.store)
        assert len(desk.slack.messages) == told


def test_a_workspace_without_edits_is_told_in_the_thread(desk: Desk) -> None:
    """Where Slack lets nobody edit what is older, the message stays, and its thread says that it is over."""
    incident = desk.fails()
    desk.rounds()
    desk.slack.refuse = lambda method, _: {"error": "edit_window_closed"} if method == "chat.update" else None
    desk.store.close(incident.id, now=desk.now + MINUTE)
    desk.rounds()
    assert any("Recovered after" in text for text in desk.thread(incident))
    assert desk.store.undelivered() == []
    assert any("edit_window_closed" in said for said in desk.complaints)


def test_a_failure_of_the_past_that_somebody_asked_for_calls_nobody(desk: Desk) -> None:
    """Who asked has the answer; the channel hears of it when it fails again, and at once of a fresh one."""
    long_ago = "2026-01-01T00:00:00+00:00"
    old = desk.store.add(_asked_for(long_ago, desk.now), window=HOUR)
    desk.rounds()
    assert desk.slack.messages == [] and desk.store.undelivered() == []
    desk.fails(mark="f1")
    (message,) = desk.slack.messages
    assert message["metadata"]["event_payload"]["incident_id"] == old.id
    desk.store.add(_asked_for(desk.now - MINUTE, desk.now, "f2"), window=HOUR)
    desk.rounds()
    assert len(desk.slack.messages) == 2


def _asked_for(failed_at: float | str, now: float, mark: str = "f1") -> Record:
    """A failure that nobody knew of until a person asked in Slack."""
    if not isinstance(failed_at, str):
        failed_at = dt.datetime.fromtimestamp(failed_at, dt.timezone.utc).isoformat()
    failure = TaskFailure(TaskKey("sales", "r0", f"load_{mark}"), "slack", failed_at)
    return Record(failure, Diagnosis(Category.NETWORK, "Refused."), mark, now)


def test_details_that_somebody_deleted_are_left_alone(desk: Desk) -> None:
    """The rest of the thread goes on."""
    incident = desk.fails()
    desk.rounds()
    desk.slack.written = desk.slack.messages
    desk.fails(category=Category.PERMISSIONS, cause="another cause")
    desk.rounds(6)
    assert [text[:27] for text in desk.thread(incident)] == [":mag: After a closer look: "]
    assert desk.store.undelivered() == []


def test_a_channel_gets_one_write_a_second(desk: Desk) -> None:
    """Posts, edits and replies of many incidents share a channel's second; other channels do not wait for it."""
    written: list[tuple[str, float]] = []

    def note(method: str, arguments: dict[str, Any]) -> None:
        if method in ("chat.postMessage", "chat.update"):
            written.append((slack_server.channel_id(arguments["channel"]), desk.now))

    desk.slack.refuse = note
    for n in range(40):
        desk.fails(f"t{n}", mark=f"f{n % 4}", slack_channel=("", "#b")[n % 2])
        desk.now += 0.3
        desk.delivery.deliver_due(desk.store)
    desk.rounds(40)
    assert desk.store.undelivered() == []
    for channel in ("CONCALL", "CB"):
        times = [at for where, at in written if where == channel]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 1.0
    assert len(desk.slack.messages) == 4


def test_the_first_rule_that_fits_names_the_channel(desk: Desk) -> None:
    """By DAG, tag, owner or category; a DAG's own channel comes before all rules, slack_channel after them."""
    rules = "dag:sales_*=#sales, tag:finance=#finance, owner:ann=#ann-alerts, category:permissions=#platform"
    desk.delivery = desk.host("a", rules)
    desk.fails("t1", mark="f1", dag_id="sales_etl", tags=("finance",))
    desk.fails("t2", mark="f2", dag_id="x", tags=("daily", "finance"))
    desk.fails("t3", mark="f3", dag_id="x", owner="bob, ann")
    desk.fails("t4", mark="f4", dag_id="x", category=Category.PERMISSIONS)
    desk.fails("t5", mark="f5", dag_id="x")
    desk.fails("t6", mark="f6", dag_id="sales_etl", slack_channel="#own")
    told = [message["channel"] for message in desk.slack.messages]
    assert told == ["CSALES", "CFINANCE", "CANNALERTS", "CPLATFORM", "CONCALL", "COWN"]


def test_a_channel_longer_than_any_is_none(slack: slack_server.SlackServer, postgres: str) -> None:
    """What a DAG's author wrote there neither breaks the store nor keeps the failure from the usual channel."""
    desk = Desk(slack, SqlStore(postgres.replace("postgresql:", "postgresql+psycopg2:")))
    desk.fails(mark="long-channel", slack_channel="#" + "x" * 300)
    assert [message["channel"] for message in slack.messages] == ["CONCALL"]


OPERATOR = """
try:
    from airflow.sdk import DAG, BaseOperator
except ImportError:
    from airflow.models import DAG, BaseOperator
with DAG("sales", schedule=None, tags=["finance", "daily"]):
    task = BaseOperator(task_id="t", owner="ann, bob")
"""


@pytest.mark.airflow
def test_owner_and_tags_come_from_the_host(python: Path, tmp_path: Path) -> None:
    """What rules go by is captured from a real operator on both majors."""
    script = f'{HELD}{OPERATOR}diagnose_on_failure({{"ti": {TI}, "task": task, "exception": ValueError("x")}})'
    run(python, script, tmp_path)
    failure = TaskFailure.from_json(entries(tmp_path)[0]["failure"])
    record = Record(failure, Diagnosis(Category.UNKNOWN, "x"), "f1", NOW)
    for rule in ("tag:finance=#a", "tag:daily=#a", "owner:ann=#a", "owner:bob=#a"):
        assert channels.channel_of(record, channels.parse(rule)) == "#a"
    assert channels.channel_of(record, channels.parse("tag:hr=#a, owner:eve=#a")) == ""


def test_a_wrong_rule_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with its option, like any other value that is wrong."""
    monkeypatch.setenv("DE_AGENT_SLACK_CHANNELS", "team:sales=#sales")
    with pytest.raises(SettingsError, match=r"\[de_agent\] slack_channels = .*KIND:PATTERN=CHANNEL"):
        settings.load()


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("sales=#a", "one of dag, tag, owner, category"),
        ("team:a=#a", "one of dag, tag, owner, category"),
        ("dag:a", "no ="),
        ("dag:=#a", "dag:* for all"),
        ("dag:a=sales", "#name"),
        ("dag:a=", "#name"),
        ("category:netwrok=#a", "network"),
        ("dag:a=#a, tag:b", "'tag:b'"),
    ],
)
def test_a_wrong_rule_says_what_a_rule_is(rules: str, says: str) -> None:
    """Each wrong rule is named, with how one is written."""
    with pytest.raises(ValueError, match="KIND:PATTERN=CHANNEL") as caught:
        channels.parse(rules)
    assert says in str(caught.value)
