"""A user's own rules, as parsed from YAML."""

from __future__ import annotations

import pytest

from airflow_de_agent.core import rules
from airflow_de_agent.core.diagnosis import Category
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.failure import CapturedException, TaskFailure, TaskKey
from airflow_de_agent.core.signatures.user_rules import user_rules
from airflow_de_agent.core.task_log import TaskLog

GATEWAY = {
    "name": "acme.gateway",
    "category": "external_service",
    "hints": ["GW-4711"],
    "pattern": r"GW-4711 at (?P<host>[\w.-]{1,80})",
    "cause": "The legacy gateway {host|} is down.",
    "steps": ["Call the team of {host|the gateway}."],
}


def test_a_user_row_is_used_and_wins_over_ours() -> None:
    """A row of the user's file decides where one of ours would match as well."""
    failure = TaskFailure(
        TaskKey("d", "r", "t"),
        "task",
        "",
        exceptions=(CapturedException("ConnectionError", "GW-4711 at gw1.acme: Connection refused"),),
    )
    diagnosis = rules.diagnose(failure, TaskLog(()), extra_rules=user_rules({"rules": [GATEWAY]}))
    assert diagnosis.category is Category.EXTERNAL_SERVICE
    assert diagnosis.root_cause == "The legacy gateway gw1.acme is down."
    assert diagnosis.next_steps == ("Call the team of gw1.acme.",)


@pytest.mark.parametrize("parsed", [None, [], {"rules": None}, {"rules": []}, {}])
def test_an_empty_file_gives_no_rows(parsed: object) -> None:
    """An empty file is not a mistake."""
    assert user_rules(parsed) == ()


def test_a_value_that_may_be_unknown_needs_no_capture() -> None:
    """What stands in brackets goes when its value is unknown, and near objects fill in by themselves."""
    row = GATEWAY | {"pattern": "", "cause": "The gateway is down[ ({reason})]: {object}."}
    assert user_rules([row])[0].cause == row["cause"]


def test_every_mistake_is_named_at_once() -> None:
    """All mistakes of all rules come in one message that names each rule."""
    wrong = [
        {"name": "a", "category": "weather", "hints": ["x"], "cause": "c"},
        {"name": "b", "category": "network", "hints": "x", "cause": "c", "colour": "red"},
        {"name": "c", "category": "network", "hints": ["x"], "cause": "c", "pattern": "(", "strength": 400},
        {"category": "network"},
        "text",
        GATEWAY | {"cause": "Gateway {host is down.", "steps": ["Call {team}."]},
    ]
    with pytest.raises(SettingsError) as caught:
        user_rules(wrong)
    braces = ("a brace is left open", "captures no team", "external_service")
    for part in (
        "weather",
        "colour",
        "list of texts",
        "does not compile",
        "1 to 100",
        "hints is missing",
        "rule 5",
        *braces,
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("parsed", ["rules", 3, {"rules": 3}])
def test_a_file_of_another_shape_is_refused(parsed: object) -> None:
    """A file that holds no list of rules is refused with what was found instead."""
    with pytest.raises(SettingsError, match="expected a list"):
        user_rules(parsed)
