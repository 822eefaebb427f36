"""What people write to the agent, and what it makes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_de_agent.core.mention import COMMANDS, Command, parse, period

NOW = 1_795_318_200.0  # 2026-11-22 03:30 UTC
DAY = 86400.0


@pytest.mark.parametrize(
    ("said", "name", "given"),
    [
        ("<@U0BOT> why did sales_etl fail?", "why", {"dag_id": "sales_etl"}),
        ("why did sales_etl load_orders fail yesterday", "why", {"task_id": "load_orders", "when": "yesterday"}),
        ("Why did the DAG sales_etl fail last night?!", "why", {"dag_id": "sales_etl", "when": "last night"}),
        ("why did `sales_etl` fail on 2026-11-21", "why", {"dag_id": "sales_etl", "when": "on 2026-11-21"}),
        ("why is sales_etl failing", "why", {"dag_id": "sales_etl"}),
        ("why has sales_etl broken 2 hours ago", "why", {"dag_id": "sales_etl", "when": "2 hours ago"}),
        ("why sales_etl failed", "why", {"dag_id": "sales_etl"}),
        ("why sales_etl", "why", {"dag_id": "sales_etl"}),
        ("why did task load in dag sales_etl fail", "why", {"dag_id": "sales_etl", "task_id": "load"}),
        ("why did load of sales_etl fail today", "why", {"dag_id": "sales_etl", "task_id": "load", "when": "today"}),
        ("why did group.load of sales.etl-2 fail", "why", {"dag_id": "sales.etl-2", "task_id": "group.load"}),
        ("why did <http://sales.etl|sales.etl> fail", "why", {"dag_id": "sales.etl"}),
        ("why?", "why", {"dag_id": ""}),
        ("<@U0BOT> Why did it fail?", "why", {"dag_id": ""}),
        ("why dag=sales_etl task=load", "why", {"dag_id": "sales_etl", "task_id": "load"}),
        (
            "diagnose dag=sales_etl task=load run=scheduled__2026-11-22T03:00:00+00:00 map=0 try=2",
            "diagnose",
            {"run_id": "scheduled__2026-11-22T03:00:00+00:00", "map_index": 0, "try_number": 2, "task_id": "load"},
        ),
        ("diagnose dag_id = sales_etl task_id = load", "diagnose", {"dag_id": "sales_etl", "task_id": "load"}),
        ("diagnose sales_etl load", "diagnose", {"dag_id": "sales_etl", "task_id": "load"}),
        ("status sales_etl", "status", {"dag_id": "sales_etl"}),
        ("status of the dag sales_etl", "status", {"dag_id": "sales_etl"}),
        ("recent failures", "recent", {"hours": 24.0}),
        ("recent failures 48h", "recent", {"hours": 48.0}),
        ("failures in the last 3 days", "recent", {"hours": 72.0}),
        ("recent", "recent", {"hours": 24.0}),
        ("lambda errors orders-loader", "lambda_errors", {"function": "orders-loader", "hours": 1.0}),
        ("lambda errors orders-loader 30m", "lambda_errors", {"function": "orders-loader", "hours": 0.5}),
        ("lambda errors of orders-loader in the last 2 hours", "lambda_errors", {"hours": 2.0}),
        ("report", "report", {"hours": 168.0}),
        ("weekly report", "report", {"hours": 168.0}),
        ("report 30d", "report", {"hours": 720.0}),
        ("help", "help", {}),
        ("<@U0BOT>", "help", {}),
        ("", "help", {}),
    ],
)
def test_what_is_said_is_understood(said: str, name: str, given: dict[str, object]) -> None:
    """The documented commands, in the words that people use for them."""
    command = parse(said)
    assert command.name == name
    assert {field: getattr(command, field) for field in given} == given


@pytest.mark.parametrize(
    ("said", "suggested"),
    [
        ("statsu sales_etl", "status"),
        ("diagnos sales_etl", "diagnose"),
        ("reprot", "report"),
        ("lamda errors x", "lambda"),
        ("hlep", "help"),
        ("wy did sales_etl fail", "why"),
    ],
)
def test_a_near_miss_is_answered_with_a_suggestion(said: str, suggested: str) -> None:
    """A slip of the finger names the command that was meant, and does nothing."""
    command = parse(said)
    assert command.name == "ask"
    assert command.suggestion.startswith(suggested)


def test_free_text_stays_free_text() -> None:
    """What is no command is kept as a question for the thread."""
    assert parse("was the file there at all?") == Command("ask", text="was the file there at all")


def test_every_command_of_the_help_is_understood() -> None:
    """What help shows is what works."""
    for shown in COMMANDS:
        said = re.sub(r"[\[\]]|when", "", re.sub(r"<\w+>|…|task\b(?!=)", "x", shown))
        assert parse(said).name != "ask", said


@pytest.mark.parametrize(
    ("when", "since", "until"),
    [
        ("", NOW - 7 * DAY, NOW),
        ("today", NOW - 3.5 * 3600, NOW),
        ("yesterday", NOW - 3.5 * 3600 - DAY, NOW - 3.5 * 3600),
        ("last night", NOW - 3.5 * 3600 - DAY, NOW),
        ("2 hours ago", NOW - 7200 - 900, NOW),
        ("in the last 30 min", NOW - 1800, NOW),
        ("on 2026-11-21", NOW - 3.5 * 3600 - DAY, NOW - 3.5 * 3600),
        ("2026-11-22 03:10", NOW - 4800, NOW + 2400),
    ],
)
def test_times_in_words(when: str, since: float, until: float) -> None:
    """Times are read in UTC."""
    assert period(when, NOW) == (since, until)


@pytest.mark.parametrize("when", ["when pigs fly", "on 2026-13-45", "99-99"])
def test_a_time_that_is_not_understood_is_none(when: str) -> None:
    """Nothing is guessed."""
    assert period(when, NOW) is None


@given(st.text(max_size=3000), st.text(max_size=100))
def test_nothing_that_is_said_raises(said: str, when: str) -> None:
    """Any text is a command, help or a question."""
    assert parse(said).name
    assert parse("why did " + said).name
    period(when, NOW)


@pytest.mark.parametrize(
    "said",
    ["why did " + "a " * 500, "why " + "did " * 300, "lambda " * 200, "x" * 100_000, "dag=" * 5000, "<@" * 5000,
     "why did " + "a." * 400 + " fail " + "in the last " * 80, "recent failures " + "1" * 900, " " * 90_000 + "h"],
)  # fmt: skip
def test_long_nonsense_is_read_to_its_end(said: str) -> None:
    """No text makes a pattern run away: each is read, and is no command that acts."""
    assert parse(said).name in ("ask", "why", "lambda_errors", "diagnose", "help")
