"""What people write to the agent, and what it makes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_de_agent.core.mention import COMMANDS, Command, parse
from airflow_de_agent.core.period import period

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
        ("hey <@U0BOT>, can you tell me why sales_etl failed?", "why", {"dag_id": "sales_etl"}),
        ("why did sales_etl fail? Thanks!", "why", {"dag_id": "sales_etl", "when": ""}),
        ("why didn’t sales_etl run", "why", {"dag_id": "sales_etl"}),
        ("why does sales_etl keep failing", "why", {"dag_id": "sales_etl", "task_id": ""}),
        ("why did sales_etl time out", "why", {"dag_id": "sales_etl", "task_id": ""}),
        ("what happened to sales_etl last night", "why", {"dag_id": "sales_etl", "when": "last night"}),
        ("why did the sales_etl dag fail", "why", {"dag_id": "sales_etl"}),
        ("why did the load task of sales_etl fail", "why", {"dag_id": "sales_etl", "task_id": "load"}),
        ("why did sales_etl’s load fail", "why", {"dag_id": "sales_etl", "task_id": "load"}),
        ("why did sales_etl.load[3] fail", "why", {"dag_id": "sales_etl.load", "map_index": 3}),
        ("why did load[0] of sales_etl fail", "why", {"dag_id": "sales_etl", "task_id": "load", "map_index": 0}),
        ("why did _sales_etl_ ~load~ fail", "why", {"dag_id": "sales_etl", "task_id": "load"}),
        ("why did sales\u2011etl\u200b fail", "why", {"dag_id": "sales-etl"}),
        ("why\u00a0did “sales_etl” fail", "why", {"dag_id": "sales_etl"}),
        ("WHY DID Sales_ETL FAIL", "why", {"dag_id": "Sales_ETL"}),
        ("why did sales_etl fail last night at 3", "why", {"dag_id": "sales_etl", "when": "last night at 3"}),
        ("why is it failing", "why", {"dag_id": ""}),
        ("why did this dag fail again?", "why", {"dag_id": ""}),
        ("diagnose dag=sales_etl task=load[3]", "diagnose", {"task_id": "load", "map_index": 3}),
        ("diagnose dag: sales_etl, task: load", "diagnose", {"dag_id": "sales_etl", "task_id": "load"}),
        ("diagnose again", "diagnose", {"dag_id": ""}),
        ("diagnose", "diagnose", {"dag_id": ""}),
        ("status", "status", {"dag_id": ""}),
        ("what failed last night?", "recent", {"hours": 24.0}),
        ("recent failures today", "recent", {"hours": 24.0}),
        ("report last week", "report", {"hours": 168.0}),
        ("help me please", "help", {}),
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
        ("lambda errors", "lambda"),
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
        ("at 2026-11-22T04:10:00+01:00", NOW - 4800, NOW + 2400),
        ("last night at 3", NOW - 5400, NOW + 1800),
        ("at 3am", NOW - 5400, NOW + 1800),
        ("at 04:00", NOW - 1800 - DAY + 3600 - 3600, NOW - DAY + 5400),
        ("yesterday at 14:30", NOW - 3.5 * 3600 - DAY + 13.5 * 3600, NOW - 3.5 * 3600 - DAY + 15.5 * 3600),
        ("yesterday evening at 9", NOW - 3.5 * 3600 - DAY + 20 * 3600, NOW - 3.5 * 3600 - DAY + 22 * 3600),
        ("last night at 11 pm", NOW - 3.5 * 3600 - 2 * 3600, NOW - 3.5 * 3600),
        ("on Friday", NOW - 3.5 * 3600 - 2 * DAY, NOW - 3.5 * 3600 - DAY),
        ("last sunday", NOW - 3.5 * 3600 - 7 * DAY, NOW - 3.5 * 3600 - 6 * DAY),
        ("an hour ago", NOW - 4500, NOW),
        ("last week", NOW - 14 * DAY, NOW),
        ("just now", NOW - 7 * DAY, NOW),
    ],
)
def test_times_in_words(when: str, since: float, until: float) -> None:
    """Times are read in UTC."""
    assert period(when, NOW) == (since, until)


@pytest.mark.parametrize(
    "when", ["when pigs fly", "on 2026-13-45", "99-99", "at 25", "at 13pm", "2026-11-22 03:10+99:99"]
)
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
