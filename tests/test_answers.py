"""What people get for their questions: from the store where it is known, else from Airflow and CloudWatch."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.answers import Answers
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import CapturedException
from airflow_de_agent.core.incident import Incident, Record
from airflow_de_agent.core.mention import parse
from airflow_de_agent.investigation import Investigation
from airflow_de_agent.lambda_parts import noted
from airflow_de_agent.sources import Places
from tests import aws_servers, slack_limits
from tests.test_render import FAILURE, RECORD, check_snapshot
from tests.test_tools import put_log

aws, mwaa = aws_servers.aws, aws_servers.mwaa
NOW = 1_795_359_600.0  # 2026-11-22 15:00 UTC
GROUP = "airflow-prod-3-Task"
RUN = "manual__2026-11-22T14:44:35.008861+00:00"
STREAM = f"dag_id=sales_etl/run_id={RUN.replace(':', '_')}/task_id=load.copy_orders/attempt=1.log"


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return SqlStore(f"sqlite:///{tmp_path / 'd.db'}")


@pytest.fixture
def answers(store: SqlStore, aws: aws_servers.AwsServer, mwaa: aws_servers.MwaaApi) -> Answers:
    places = Places(aws.client, task_log_group=GROUP, mwaa_environment="prod-3")
    return Answers(
        lambda: store,
        places,
        noted(
            Investigation(lambda failure: Evidence.unavailable("task_log", "not here"), places, None),
            lambda line: None,
        ),
        lambda: NOW,
    )


def known(store: SqlStore, record: Record = RECORD, at: float = NOW - 600) -> Incident:
    return store.add(dataclasses.replace(record, diagnosed_at=at), window=3600)


def ask(answers: Answers, text: str, incident: Incident | None = None) -> str:
    """The answer as text, after a check that Slack would take it."""
    message = answers.answer(parse(text), incident)
    assert slack_limits.broken(message.blocks, message.fallback) == []
    assert not any(slack_limits.unsafe(shown) for shown in slack_limits.texts(message.blocks))
    return message.text


def test_what_is_diagnosed_is_answered_from_the_store(answers, store, aws):
    """A question about a known failure costs neither AWS nor the model."""
    known(store)
    aws.calls.clear()
    for question in (
        "why did sales_etl fail?",
        "why did sales_etl.load_orders fail",
        "why did load_orders of sales_etl fail",
    ):
        assert "column amount got 'n/a'" in ask(answers, question)
    assert aws.calls == []


def test_the_cause_answers_for_its_symptoms(answers, store):
    """Asked for a DAG, the first failure of the incident is told, not the last symptom."""
    incident = known(store)
    symptom = dataclasses.replace(FAILURE, key=FAILURE.key._replace(task_id="report"))
    store.add(dataclasses.replace(RECORD, failure=symptom, diagnosed_at=NOW - 1), join=incident.id, window=3600)
    assert ask(answers, "why did sales_etl fail").startswith("Act now: sales_etl.load_orders and 1 more")


def test_an_unknown_failure_is_looked_up_and_diagnosed(answers, store, aws):
    """Airflow names the failed task, CloudWatch its log, and the answer is kept for the next who asks."""
    at = dt.datetime(2026, 11, 22, 14, 44, 40, tzinfo=dt.timezone.utc)
    put_log(aws.client("logs"), STREAM, ["Traceback (most recent call last):", "KeyError: 'order_id'"], GROUP, at)
    progress: list[str] = []
    message = answers.answer(parse("why did sales_etl fail"), progress=progress.append)
    assert "sales_etl.load.copy_orders failed" in message.text and "order_id" in message.text
    assert len(progress) == 2
    assert [r.failure.key.run_id for r in store.recent()] == [RUN]
    aws.calls.clear()
    assert "order_id" in ask(answers, "why did sales_etl fail")
    assert aws.calls == []


def test_half_of_aws_denied_is_half_an_answer(answers, aws):
    """What could not be read is named with its cure, and the rest stands."""
    aws.misbehave("AccessDenied", r"Logs\..*")
    said = ask(answers, "why did sales_etl fail")
    assert "sales_etl.load.copy_orders failed" in said
    assert "allow logs:" in said


def test_all_of_aws_denied_is_still_an_answer(answers, aws):
    """The missing permission is the answer."""
    aws.misbehave("AccessDenied")
    for question in ("why did sales_etl fail", "status sales_etl", "lambda errors orders-loader"):
        assert "allow " in ask(answers, question)


def test_a_store_out_of_reach_is_an_answer(answers):
    """It says so instead of keeping silent."""

    def away() -> SqlStore:
        raise StoreError("the store cannot be used: timed out")

    said = ask(dataclasses.replace(answers, open_store=away), "why did sales_etl fail")
    assert "the store cannot be used: timed out" in said


def test_an_unknown_dag_gets_a_suggestion(answers, store):
    """A slip in the name is answered with the DAG that was meant."""
    known(store)
    assert "Did you mean `sales_etl`" in ask(answers, "why did sale_etl fail")
    assert "Did you mean `sales_etl`" in ask(answers, "why did SALES_ETL fail")
    assert "Did you mean `sales_etl`" in ask(answers, "why id sales_etl fail")


def test_a_time_that_is_not_understood_is_asked_back(answers, store):
    """Nothing is guessed about when."""
    known(store)
    assert "When is `when pigs fly`" in ask(answers, "why did sales_etl fail when pigs fly")
    assert "No failure of sales_etl is known of that time" in ask(answers, "why did sales_etl fail on 2026-01-01")
    assert "amount got" in ask(answers, "why did sales_etl fail today")


def test_a_bare_why_means_the_thread(answers, store):
    """In an incident's thread it is that incident; elsewhere help."""
    incident = known(store)
    assert "amount got" in ask(answers, "why?", incident)
    assert "What you can ask me" in ask(answers, "why?")


def test_short_commands_mean_the_thread(answers, store):
    """In an incident's thread nobody need name the DAG again; elsewhere help says what is missing."""
    incident = known(store)
    assert "sales_etl.load_orders" in ask(answers, "diagnose again", incident)
    assert "sales_etl" in ask(answers, "status", incident)
    for said in ("diagnose again", "status"):
        assert "Did you mean" in ask(answers, said)


def test_the_mapped_task_and_the_try_that_are_named_are_meant(answers, store, aws):
    """Of several records of one task that one answers whose index and try were asked for, and no other."""
    for index, number in ((0, 1), (1, 1), (1, 2)):
        key = FAILURE.key._replace(map_index=index, try_number=number)
        known(store, dataclasses.replace(RECORD, failure=dataclasses.replace(FAILURE, key=key)))
    aws.calls.clear()
    assert "Act now: sales_etl.load_orders[1] and" in ask(answers, "why did sales_etl.load_orders[1] fail")
    assert "Act now: sales_etl.load_orders[0] and" in ask(answers, "why did load_orders[0] of sales_etl fail")
    assert "try 1;" in ask(answers, "why dag=sales_etl task=load_orders[1] try=1")
    assert aws.calls == []
    assert "No failed task of sales_etl.load_orders[7]" in ask(answers, "diagnose dag=sales_etl task=load_orders[7]")


def test_when_is_when_it_failed(answers, store):
    """A failure that was diagnosed hours later, as after an outage, is found by its own time."""
    known(store)
    assert "amount got" in ask(answers, "why did sales_etl fail last night at 3")
    assert "No failure of sales_etl is known of that time" in ask(answers, "why did sales_etl fail at 14:50")


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("why is a rerun not safe?", "A rerun is not safe"),
        ("why was the manifest read?", "manifest s3://lake/m.json has 3 entries"),
        ("why is the sky blue?", "confidence 92%"),
        ("why did the manifest fail?", "manifest s3://lake/m.json has 3 entries"),
        ("when did it fail?", "2026-11-22 03:14"),
        ("who owns this?", "ann; tags finance"),
        ("thanks!", "Glad to help"),
        ("is it safe to rerun?", "A rerun is not safe"),
        ("how do I fix this?", "clear load_orders"),
        ("how sure are you?", "92% sure"),
        ("did that happen before?", "2nd time in 7 days"),
        ("what else is affected?", "2 downstream tasks"),
        ("show me the proof", "error_code=1207"),
        ("what about the manifest?", "manifest s3://lake/m.json has 3 entries"),
        ("zzz", "confidence 92%"),
    ],
)
def test_questions_in_the_thread_are_answered_from_what_is_stored(answers, store, aws, question, told):
    """Rerun, cure, confidence, history, impact, proof, and any line of the stored log that shares the words."""
    failure = dataclasses.replace(
        FAILURE,
        owner="ann",
        tags=("finance",),
        log_tail="INFO - begin\nINFO - manifest s3://lake/m.json has 3 entries\nERROR - boom",
        exceptions=(CapturedException("psycopg2.Error", "Load into table 'orders' failed"),),
    )
    incident = known(store, dataclasses.replace(RECORD, failure=failure))
    aws.calls.clear()
    assert told in ask(answers, question, incident)
    assert set(aws.calls) <= {"MWAA.InvokeRestApi"}  # a word after why may be a DAG that only Airflow knows


def test_what_is_said_in_words(answers, store, aws):
    """Answers in the thread, gaps, and questions back look as approved."""
    incident = known(store)
    asked = {
        "is it safe to rerun?": incident,
        "how do I fix this?": incident,
        "how sure are you?": incident,
        "did that happen before?": incident,
        "what else is affected?": incident,
        "show me the proof": incident,
        "why did sale_etl fail": None,
        "why did sales_etl fail when pigs fly": None,
        "why did sales_etl fail on 2026-01-01": None,
        "recent failures 1h": None,
    }
    told = {question: answers.answer(parse(question), place).fallback for question, place in asked.items()}
    aws.misbehave("AccessDenied")
    told["denied"] = answers.answer(parse("lambda errors stock")).fallback
    check_snapshot("words", told)


def test_diagnose_again_makes_a_new_one(answers, store, aws):
    """The button and `diagnose` look anew, and the incident's message is due for an edit."""
    incident = known(store)
    stream = "dag_id=sales_etl/run_id=scheduled__2026-11-22T03_00_00+00_00/task_id=load_orders/attempt=2.log"
    at = dt.datetime(2026, 11, 22, 3, 14, 10, tzinfo=dt.timezone.utc)
    put_log(aws.client("logs"), stream, ["KeyError: 'order_id'"], GROUP, at)
    store.shown(incident.id, revision=incident.revision, channel="C1", message_ts="1.2")
    message = answers.again(incident)
    assert message.incident_id == incident.id
    assert "Logs.GetLogEvents" in aws.calls or "Logs.DescribeLogStreams" in aws.calls
    assert [i.id for i in store.undelivered()] == [incident.id]
    assert len(store.recent()) == 1


def test_a_second_look_that_finds_less_takes_nothing_away(answers, store):
    """Where neither log nor run is to be had, the first answer stands and says so; its history stays too."""
    incident = known(store, dataclasses.replace(RECORD, failure=dataclasses.replace(FAILURE, run_state=())))
    said = ask(answers, "diagnose again", incident)
    assert "amount got 'n/a'" in said and "the first answer stands" in said
    assert "package_that_is_not_there" not in said  # a file of another DAG cannot be read
    assert "fixed by: MAXERROR 10" in said
    assert store.recent()[0].diagnosis == RECORD.diagnosis


def test_a_diagnosis_made_on_request_knows_what_struck_before(answers, store, aws):
    """The note of an earlier incident is shown also where a person's question brought the failure to light."""
    at = dt.datetime(2026, 11, 22, 14, 44, 40, tzinfo=dt.timezone.utc)
    put_log(aws.client("logs"), STREAM, ["KeyError: 'order_id'"], GROUP, at)
    ask(answers, "why did sales_etl fail")
    (made,) = store.recent()
    store.note_fix(made.incident_id, note="renamed the column back")
    after = dataclasses.replace(made.failure, key=made.failure.key._replace(run_id="after"))
    store.add(dataclasses.replace(made, failure=after, diagnosed_at=NOW + 86400 * 1.5), window=3600)
    put_log(aws.client("logs"), STREAM.replace(RUN.replace(":", "_"), "after"), ["KeyError: 'order_id'"], GROUP, at)
    later = dataclasses.replace(answers, clock=lambda: NOW + 86400 * 1.6)
    assert "fixed by: renamed the column back" in ask(later, "diagnose dag=sales_etl run=after")


def test_lists(answers, store, aws):
    """Status, recent failures, Lambda errors, report and help look as approved."""
    known(store)
    at = dt.datetime(2026, 11, 22, 14, 50, tzinfo=dt.timezone.utc)
    lines = ["START RequestId: 8f5e7a40-6f3e-4d0e-9d2c-1f0a6b1c2d3e Version: $LATEST",
             "[ERROR] KeyError: 'sku' <!channel>"]  # fmt: skip
    put_log(aws.client("logs"), "s", lines, "/aws/lambda/stock", at)
    for name, question in {
        "status": "status sales_etl",
        "recent": "recent failures",
        "lambda_errors": "lambda errors stock",
        "help": "help",
        "near_miss": "statsu sales_etl",
    }.items():
        ask(answers, question)
        message = answers.answer(parse(question))
        check_snapshot(name, {"text": message.fallback, "blocks": message.blocks})
    assert "DE-Agent report, 7 days" in ask(answers, "report")


def test_nothing_recent(answers):
    """An empty day is said to be empty."""
    assert ask(answers, "recent failures 2h") == "Nothing was diagnosed in the last 2 h."
