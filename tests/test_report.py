"""The report: counts that add up, times that were measured, the commonest causes first."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import pytest

from airflow_de_agent import report
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Record
from airflow_de_agent.settings import Settings
from tests import slack_limits, slack_server
from tests.test_render import check_snapshot

NOW = 1_795_318_200.0
DAY = 86400.0


def add(store: SqlStore, task: str, mark: str, at: float, category: Category, seconds: float = 2.0) -> str:
    key = TaskKey("sales", "r1", task)
    diagnosis = Diagnosis(
        category, f"cause of {mark} <!here>", seconds=seconds, tokens=1000, model_call={"cost_usd": 0.0015}
    )
    return store.add(Record(TaskFailure(key, "task"), diagnosis, mark, at), window=3600).id


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    """A week: one cause that struck three times and was cured, one unknown, one of the week before."""
    store = SqlStore(f"sqlite:///{tmp_path / 'd.db'}")
    add(store, "old", "f0", NOW - 8 * DAY, Category.NETWORK)
    often = add(store, "a", "f1", NOW - DAY, Category.NETWORK, seconds=1.0)
    add(store, "b", "f1", NOW - DAY + 60, Category.NETWORK, seconds=3.0)
    add(store, "c", "f1", NOW - DAY + 120, Category.NETWORK, seconds=20.0)
    other = add(store, "d", "f2", NOW - DAY, Category.UNKNOWN, seconds=0.0)
    store.vote(often, person="U1", vote="helpful")
    store.vote(other, person="U1", vote="not_helpful")
    store.note_fix(often, note="opened the port")
    store.close(often, now=NOW - DAY + 2460)
    store.close(other, now=NOW - DAY + 3 * 3600)
    return store


def test_the_figures_add_up(store: SqlStore) -> None:
    """Successes and failures of the agent, feedback, recovery with and without a helpful diagnosis."""
    told = report.of_store(store, since=NOW - 7 * DAY, until=NOW)
    assert (told.diagnoses, told.succeeded, told.failed) == (4, 3, 1)
    assert (told.incidents, told.task_instances, told.recovered) == (2, 4, 2)
    assert (told.helpful, told.not_helpful, told.fixes_noted) == (1, 1, 1)
    assert (told.recovery_helped, told.recovery_not_helped) == (2460.0, 3 * 3600.0)
    assert (told.diagnosis_median, told.diagnosis_p95) == (3.0, 20.0)
    assert (told.tokens, told.cost_usd) == (4000, 0.006)
    assert told.by_category == {"network": 3, "unknown": 1}


def test_the_commonest_cause_comes_first(store: SqlStore) -> None:
    """Causes are ranked by the task instances they cost, and come with their cure."""
    first, second = report.of_store(store, since=NOW - 7 * DAY, until=NOW).patterns
    assert (first.task_instances, first.incidents, first.label) == (3, 1, "sales.a")
    assert (first.fixed_by, second.task_instances) == ("opened the port", 1)


def test_a_quiet_week_is_told_as_such(tmp_path: Path) -> None:
    """In one line: nothing measured is not zero, and no line is made of zeros."""
    told = report.of_store(SqlStore(f"sqlite:///{tmp_path / 'd.db'}"), since=0.0, until=NOW)
    assert (told.diagnoses, told.diagnosis_median, told.recovery_helped) == (0, None, None)
    assert report.text(told).splitlines()[1:] == ["No failure was diagnosed."]


def test_the_report_as_a_message(store: SqlStore) -> None:
    """It fits Slack, cannot ping, and looks as approved."""
    message = report.message(report.of_store(store, since=NOW - 7 * DAY, until=NOW))
    assert slack_limits.broken(message.blocks, message.fallback) == []
    assert not any(slack_limits.unsafe(text) for text in slack_limits.texts(message.blocks))
    check_snapshot("report", {"text": message.fallback, "blocks": message.blocks})


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_command_prints_the_report(
    store: SqlStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """`de-agent report` as text and as JSON."""
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    arguments = parser.parse_args(["--since", "4w", "--format", form])
    assert report.run(arguments, Settings(store_url=f"sqlite:///{tmp_path / 'd.db'}")) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["until"] > NOW - DAY if form == "json" else "DE-Agent report, 28 days" in printed


def test_the_command_posts_the_report(
    store: SqlStore, tmp_path: Path, slack: slack_server.SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a channel it goes to Slack, by the host's connection too; without a token that is an error in words."""
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    arguments = parser.parse_args(["--since", "4w", "--channel", "#data-weekly"])
    settings = Settings(store_url=f"sqlite:///{tmp_path / 'd.db'}", slack_base_url=slack.url)
    with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN"):
        report.run(arguments, settings)
    monkeypatch.setenv("SLACK_BOT_TOKEN", slack_server.TOKEN)
    assert report.run(arguments, settings) == 0
    monkeypatch.delenv("SLACK_BOT_TOKEN")
    assert report.run(arguments, settings, {"slack": {"password": slack_server.TOKEN}}) == 0
    posted, by_connection = slack.messages
    assert by_connection["text"] == posted["text"]
    assert posted["channel"] == "CDATAWEEKLY" and posted["text"].startswith("DE-Agent report, 28 days")


@pytest.mark.parametrize("text", ["7", "0d", "d", "-1d", "7y", ""])
def test_a_span_that_is_none_is_refused(text: str) -> None:
    """A wrong --since is wrong usage."""
    with pytest.raises(argparse.ArgumentTypeError, match="no span of time"):
        report.span_seconds(text)


def test_every_figure_is_json(store: SqlStore) -> None:
    """The JSON has the fields of the report."""
    told = report.of_store(store, since=0.0, until=NOW)
    assert set(json.loads(json.dumps(told.to_json()))) == {field.name for field in dataclasses.fields(told)}
