"""Messages: the verdict first, short, within Slack's limits whatever a log says, and without pings or planted links."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_de_agent.core import blocks, render
from airflow_de_agent.core.diagnosis import Category, Diagnosis, Quote
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Incident, Record
from airflow_de_agent.core.plain import duration
from tests import slack_limits

SNAPSHOTS = Path(__file__).parent / "data" / "messages"
FAILURE = TaskFailure(
    TaskKey("sales_etl", "scheduled__2026-11-22T03:00:00+00:00", "load_orders", -1, 2),
    "task",
    "2026-11-22T03:14:15+00:00",
    log_url="https://airflow.example.com/dags/sales_etl/runs/r1/tasks/load_orders?try_number=2",
    downstream_task_ids=("report", "mail"),
)
DIAGNOSIS = Diagnosis(
    Category.DATA_QUALITY,
    "COPY into sales.orders failed: column amount got 'n/a' where a number was expected.",
    transience="permanent",
    rerun_is_safe="no",
    rerun_is_safe_why="It would fail in the same way until the cause is removed.",
    confidence=0.92,
    confidence_why="The load error names file, line and column.",
    evidence=(
        Quote("redshift", "error_code=1207 error_message=Invalid digit, Value 'n', Pos 0, Type: Decimal", 3),
        Quote("task_log", "psycopg2.errors.InternalError_: Load into table 'orders' failed <!channel>", 41),
    ),
    evidence_gaps=("lambda_errors: access denied: may not logs:FilterLogEvents. Cure: allow logs:FilterLogEvents.",),
    next_steps=("Correct s3://lake/orders/2026-11-22.csv line 118.", "Then clear load_orders.", "Tell the producer."),
    similar=(
        {"id": "a1", "when": "2026-11-15T03:10:00+00:00", "label": "sales_etl.load_orders", "fixed_by": "MAXERROR 10"},
    ),
    seconds=2.4,
)
RECORD = Record(FAILURE, DIAGNOSIS, "f1", 1_800_000_000.0)
INCIDENT = Incident(RECORD.id, "f1", RECORD.id, 1_800_000_000.0, 1_800_000_000.0)
STATES = {
    "first": INCIDENT,
    "storm": dataclasses.replace(INCIDENT, count=1000, helpful=2, not_helpful=1),
    "recovered": dataclasses.replace(INCIDENT, count=3, closed_at=INCIDENT.opened_at + 41 * 60),
    "back": dataclasses.replace(INCIDENT, count=4, reopened=1),
    "fixed": dataclasses.replace(INCIDENT, fixed_by="gave the column a default"),
}


def check_snapshot(name: str, shown: object) -> None:
    """Compare with what was looked at before; UPDATE_SNAPSHOTS=1 writes it anew."""
    path = SNAPSHOTS / f"{name}.json"
    text = json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("state", STATES)
def test_the_message_of_each_state(state: str) -> None:
    """The first message, a storm, a recovery, a return and a noted fix look as they were approved."""
    message = render.message(RECORD, STATES[state])
    check_snapshot(f"incident_{state}", {"text": message.fallback, "blocks": message.blocks})


def test_what_is_over_tells_nobody_what_to_do() -> None:
    """A recovered incident shows its proof and its cure, no steps and no warning of a rerun."""
    for noted in ("", "gave the column a default"):
        over = dataclasses.replace(STATES["recovered"], fixed_by=noted)
        body = render.message(RECORD, over).blocks[1]["text"]["text"]
        assert "*Proof*" in body and "*Next*" not in body and "rerun" not in body
        assert (f"*Fixed by* {noted}" in body) == bool(noted)


def test_a_cure_stands_where_it_is_seen() -> None:
    """What cured it last time comes before the steps; what was noted for this very incident takes its place."""
    first = render.message(RECORD, STATES["first"]).blocks[1]["text"]["text"]
    assert first.index("*Last time fixed by* MAXERROR 10") < first.index("*Next*")
    noted = render.message(RECORD, STATES["fixed"])
    assert "*Fixed by* gave the column a default" in noted.blocks[1]["text"]["text"]
    assert "Fixed by: gave the column a default" in noted.text and "Last time" not in str(noted.blocks)


def test_the_thread_holds_the_rest() -> None:
    """All quotes, steps, gaps and history stand in the thread, not in the message."""
    message = render.details(RECORD, STATES["fixed"])
    check_snapshot("details", {"text": message.fallback, "blocks": message.blocks})
    entries = {state: render.state_entry(STATES[state]).blocks for state in ("recovered", "back")}
    check_snapshot("state_entries", entries)


def test_the_entries_of_a_thread() -> None:
    """A changed category, a changed cause, growth and the DAGs that joined look as they were approved."""
    network = dataclasses.replace(DIAGNOSIS, category=Category.NETWORK)
    storm = STATES["storm"]
    entries = {
        "category": render.changed_entry(network, DIAGNOSIS.category.value, INCIDENT.id),
        "cause": render.changed_entry(DIAGNOSIS, DIAGNOSIS.category.value, INCIDENT.id),
        "growth": render.growth_entry(storm, ()),
        "dags": render.growth_entry(storm, ("finance", "hr")),
        "many_dags": render.growth_entry(storm, [f"dag_{n}" for n in range(12)]),
    }
    check_snapshot("thread_entries", {name: {"text": m.fallback, "blocks": m.blocks} for name, m in entries.items()})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"category": Category.CODE_ERROR, "transience": "permanent", "rerun_is_safe": "no"}, "Act now"),
        ({"category": Category.NETWORK, "transience": "transient", "rerun_is_safe": "yes"}, "Rerun is safe"),
        ({"category": Category.MISSING_DATA, "transience": "unknown", "rerun_is_safe": "yes"}, "Rerun is safe"),
        ({"category": Category.CODE_ERROR, "transience": "permanent", "rerun_is_safe": "yes"}, "Act now"),
        ({"category": Category.EXTERNAL_SERVICE, "transience": "transient", "rerun_is_safe": "unknown"}, "Wait"),
        ({"category": Category.UPSTREAM_FAILURE, "transience": "unknown", "rerun_is_safe": "no"}, "Not yours"),
        ({"category": Category.DELIBERATE, "transience": "unknown", "rerun_is_safe": "no"}, "Not yours"),
        ({"category": Category.UNKNOWN, "transience": "unknown", "rerun_is_safe": "unknown"}, "Act now"),
    ],
)
def test_the_first_line_is_the_verdict(changes: dict[str, object], word: str) -> None:
    """What to do, what failed and why stand in the first line, in Slack and in plain text."""
    record = dataclasses.replace(RECORD, diagnosis=dataclasses.replace(DIAGNOSIS, **changes))
    message = render.message(record, INCIDENT)
    for first in (message.text.partition("\n")[0], message.blocks[0]["text"]["text"]):
        assert f"{word}: sales_etl.load_orders failed" in first
        assert "amount got 'n/a'" in first


def test_the_message_is_short() -> None:
    """A usual message is read at a glance: four blocks and less than a screen of text."""
    message = render.message(RECORD, INCIDENT)
    assert len(message.blocks) == 4
    assert sum(map(len, slack_limits.texts(message.blocks))) < 1200


def test_without_a_companion_nothing_is_asked() -> None:
    """Where nobody would answer a click there is only the button that opens Airflow, or none."""
    row = render.message(RECORD, INCIDENT, buttons=False).blocks[-1]
    assert [button["action_id"] for button in row["elements"]] == [render.OPEN]
    bare = dataclasses.replace(RECORD, failure=dataclasses.replace(FAILURE, log_url=""))
    assert render.message(bare, INCIDENT, buttons=False).blocks[-1]["type"] == "context"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://x|<!channel>", "https://a b", "https://x>y", "no"])
def test_a_strange_address_is_no_link(address: str) -> None:
    """Only a plain web address becomes a link or a button."""
    assert blocks.link(address, "log") == "log"
    assert blocks.open_button("Open", "a", address) is None


def test_planted_pings_and_links_stay_text() -> None:
    """What a log says is shown letter by letter."""
    planted = "<!channel> <@U1> <https://evil.example|log in> @here &lt;!here&gt; *bold* `code` ~no~"
    diagnosis = dataclasses.replace(
        DIAGNOSIS,
        root_cause=planted,
        rerun_is_safe_why=planted,
        confidence_why=planted,
        evidence=(Quote(planted, planted, 0),),
        evidence_gaps=(planted,),
        next_steps=(planted,),
        similar=({"id": planted, "when": planted, "label": planted, "fixed_by": planted},),
    )
    key = TaskKey(planted, planted, planted, 3)
    record = dataclasses.replace(RECORD, diagnosis=diagnosis, failure=dataclasses.replace(FAILURE, key=key))
    incident = dataclasses.replace(INCIDENT, fixed_by=planted)
    entries = (render.changed_entry(diagnosis, planted, "i1"), render.growth_entry(incident, (planted,)))
    for message in (render.message(record, incident), render.details(record, incident), *entries):
        for text in (message.fallback, *slack_limits.texts(message.blocks)):
            assert not slack_limits.unsafe(text), text
            assert "<!channel>" not in text


def test_durations_are_told_as_people_do() -> None:
    """Seconds, minutes, hours, days."""
    assert [duration(s) for s in (12, 41 * 60, 5 * 3600, 3 * 86400)] == ["12 s", "41 min", "5 h", "3 days"]


NASTY = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="<>&`*_~|@!#\n \u200b\u202e😀é", max_size=700),
    st.sampled_from(["&" * 4000, "😀" * 4000, "<!channel>" * 600, "", " ", "\ud800" * 50, "x" * 20_000]),
)
RECORDS = st.builds(
    lambda texts, many, seconds, index: Record(
        TaskFailure(
            TaskKey(*(text.encode("utf-8", "ignore").decode() for text in texts[:3]), index, 1),
            "task",
            texts[3],
            log_url=texts[4],
            downstream_task_ids=("a",),
        ),
        Diagnosis(
            Category.UNKNOWN,
            texts[5],
            root_cause_task=texts[6],
            rerun_is_safe_why=texts[7],
            confidence_why=texts[8],
            evidence=tuple(Quote(text, text, 0) for text in many),
            evidence_gaps=tuple(many),
            next_steps=tuple(many),
            similar=tuple({"id": t, "when": t, "label": t, "fixed_by": t} for t in many),
            engine=texts[9],
            seconds=seconds,
        ),
        "f",
        0.0,
    ),
    st.lists(NASTY, min_size=10, max_size=10),
    st.lists(NASTY, max_size=12),
    st.floats(0, 1e9),
    st.integers(-1, 10**9),
)


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.integers(1, 10**9), st.one_of(st.none(), st.floats(0, 1e10)), NASTY)
def test_any_message_fits_slack(record: Record, count: int, closed_at: float | None, fixed_by: str) -> None:
    """Whatever stands in a failure, no limit is broken and nothing pings or links by itself."""
    incident = dataclasses.replace(INCIDENT, count=count, closed_at=closed_at, fixed_by=fixed_by)
    joined = [record.failure.key.dag_id] * 6
    entries = (render.changed_entry(record.diagnosis, fixed_by, "i1"), render.growth_entry(incident, joined))
    for message in (render.message(record, incident), render.details(record, incident), *entries):
        assert slack_limits.broken(message.blocks, message.fallback) == []
        for text in (message.fallback, *slack_limits.texts(message.blocks)):
            assert not slack_limits.unsafe(text)


@given(st.text(alphabet="<>&a😀", max_size=60), st.integers(2, 40))
def test_a_cut_is_never_inside_an_entity(text: str, limit: int) -> None:
    """A cut text is at most as long as asked, and holds whole entities only."""
    shown = blocks.cut(text, limit)
    assert slack_limits.units(shown) <= limit
    assert not slack_limits.unsafe(shown)


@given(st.lists(st.sampled_from(["a", "é" * 300, "😀" * 1500, "<&>" * 1000]), max_size=80))
def test_too_many_blocks_end_with_a_word(texts: list[str]) -> None:
    """What does not fit is left out from the end, and that is said."""
    made = [blocks.section(blocks.words(text, 2999)) for text in texts]
    kept = blocks.fitted(made)
    assert slack_limits.broken(kept or [blocks.section("x")], "x") == []
    assert len(kept) == len(made) or "does not fit" in kept[-1]["elements"][0]["text"]
