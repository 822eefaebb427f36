"""The deeper answer, through drainer and command line: evidence from AWS, a model that answers, lies or dies."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent import bootstrap, intake
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core.bundle import Bundle
from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.investigation import Found
from airflow_de_agent.settings import Settings
from tests import aws_servers, gemini_server
from tests.airflow_host import ROOT
from tests.gemini_server import GeminiServer
from tests.test_collect import KEY
from tests.test_spool import Desk, desk, failure
from tests.test_tools import DAY, GROUP, KILLED, LOAD_ERROR, STREAM, failed_query, put_log

aws, redshift, mwaa, database = aws_servers.aws, aws_servers.redshift, aws_servers.mwaa, aws_servers.database
__all__ = ["desk"]

LOG = f"""[{DAY}T11:59:58.000+0000] {{redshift_data.py:100}} INFO - copying orders
[{DAY}T11:59:59.000+0000] {{taskinstance.py:3312}} ERROR - Task failed with exception
Traceback (most recent call last):
  File "/usr/local/airflow/dags/sales.py", line 12, in copy_orders
    raise RedshiftDataQueryFailedError(query)
RedshiftDataQueryFailedError: COPY failed, query id 99120877
"""


def command(home: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """What `de-agent` prints as JSON."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "airflow_de_agent.cli", *arguments, "--format", "json"],
        env=kept | {"AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT)} | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def model(server: GeminiServer, **more: str) -> dict[str, str]:
    return {"GEMINI_API_KEY": "key-of-the-tests", "DE_AGENT_GEMINI_BASE_URL": server.url, **more}


def test_a_task_instance_is_diagnosed_from_aws_alone(aws, redshift, mwaa, tmp_path: Path) -> None:
    """Without an Airflow and without a log file the ids suffice: the Redshift row is quoted as the proof."""
    put_log(aws.client("logs"), STREAM, [LOG])
    redshift.sql(failed_query(99120877, "COPY orders", "Delimiter not found") + LOAD_ERROR)
    secret = json.dumps({"cluster_id": "analytics", "database": "warehouse"})
    aws.client("secretsmanager").create_secret(Name="de-agent/redshift", SecretString=secret)
    found = command(
        tmp_path,
        *("diagnose", "--dag-id", KEY.dag_id, "--run-id", KEY.run_id, "--task-id", KEY.task_id),
        AWS_ENDPOINT_URL=aws.url,
        DE_AGENT_TASK_LOG_GROUP=GROUP,
        DE_AGENT_MWAA_ENVIRONMENT="prod-3",
        **{name.upper(): value for name, value in aws_servers.CREDENTIALS.items() if name != "region_name"},
        AWS_DEFAULT_REGION=aws_servers.CREDENTIALS["region_name"],
    )
    assert found["category"] == "data_quality"
    quotes = [quote for quote in found["evidence"] if quote["source"] == "redshift"]
    assert "Delimiter not found" in quotes[0]["quote"]


def test_a_lambda_line_is_quoted(aws, mwaa, tmp_path: Path) -> None:
    """The function named in the log is looked at in the time of the try, and its own log line proves the cause."""
    times = {"start_date": f"{DAY}T11:50:00Z", "end_date": f"{DAY}T12:00:00Z"}
    for row in mwaa.captured["v2"]["task_instances"]:
        row.update(dag_run_id=KEY.run_id, dag_id=KEY.dag_id, task_id=KEY.task_id, try_number=1, **times)
    line = "ValueError: Lambda function execution resulted in error: arn:aws:lambda:eu-west-1:1:function:inventory"
    put_log(aws.client("logs"), STREAM, [f"[{DAY}T11:59:59.000+0000] {{lambda.py:1}} ERROR - {line}"])
    put_log(aws.client("logs"), "s", KILLED, group="/aws/lambda/inventory")
    found = command(
        tmp_path,
        *("diagnose", "--dag-id", KEY.dag_id, "--run-id", KEY.run_id, "--task-id", KEY.task_id),
        AWS_ENDPOINT_URL=aws.url,
        DE_AGENT_TASK_LOG_GROUP=GROUP,
        DE_AGENT_MWAA_ENVIRONMENT="prod-3",
        **{name.upper(): value for name, value in aws_servers.CREDENTIALS.items() if name != "region_name"},
        AWS_DEFAULT_REGION=aws_servers.CREDENTIALS["region_name"],
    )
    assert [quote["source"] for quote in found["evidence"]].count("lambda_errors") >= 1


def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "task.log"
    path.write_text(LOG)
    return path


def test_the_model_answers_from_a_log_file(tmp_path: Path) -> None:
    """A key in the environment is all it takes, and the record tells what it cost."""
    with GeminiServer() as server:
        found = command(tmp_path, "diagnose", "--log", str(log_file(tmp_path)), **model(server))
    assert found["engine"] == "gemini"
    assert found["tokens"] > 0
    assert len(server.requests) == 1
    assert server.breaches == []


def test_the_same_failure_again_costs_nothing(tmp_path: Path) -> None:
    """The second diagnosis comes from the store."""
    with GeminiServer() as server:
        for _ in range(2):
            found = command(tmp_path, "diagnose", "--log", str(log_file(tmp_path)), **model(server))
        assert found["engine"] == "gemini"
        assert found["tokens"] == 0
        assert len(server.requests) == 1


@pytest.mark.parametrize("behaviour", ["hangs", "resets", "html", "wrong_schema", "unsafe", "wrong_language"])
def test_whatever_the_model_does_there_is_an_answer(tmp_path: Path, behaviour: str) -> None:
    """The rules' diagnosis stands, by the deadline, and the gap is named."""
    with GeminiServer(getattr(gemini_server, behaviour)) as server:
        more = model(server, DE_AGENT_DEADLINE_SECONDS="4")
        found = command(tmp_path, "diagnose", "--log", str(log_file(tmp_path)), **more)
    assert found["engine"] == "rules"
    assert any(gap.startswith("gemini:") for gap in found["evidence_gaps"])
    assert found["seconds"] < 25  # what hangs would end after 30


def test_offline_asks_nobody(tmp_path: Path) -> None:
    """With --offline and with --print-prompt no request is made."""
    with GeminiServer() as server:
        found = command(tmp_path, "diagnose", "--log", str(log_file(tmp_path)), "--offline", **model(server))
        assert found["engine"] == "rules"
        arguments = ["diagnose", "--log", str(log_file(tmp_path)), "--print-prompt"]
        done = subprocess.run(
            [sys.executable, "-m", "airflow_de_agent.cli", *arguments],
            env=os.environ | model(server), capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        assert "RedshiftDataQueryFailedError: COPY failed" in done.stdout
        assert server.requests == []


def deep(desk: Desk, server: GeminiServer) -> None:
    """Let the drainer of this desk use a model."""
    desk.settings = Settings.from_json(desk.settings.to_json() | {"gemini_base_url": server.url})
    handover = desk.handover
    handover["connections"]["gemini"] = {"password": "key-of-the-tests"}  # type: ignore[index]
    desk.start = lambda: __import__("airflow_de_agent.drainer", fromlist=["x"]).ensure_running(  # type: ignore[method-assign]
        desk.spool, lambda: handover
    )


def test_the_first_message_is_edited_by_the_model(desk: Desk) -> None:
    """The rules speak at once; the model's answer takes the place of theirs in the same message."""
    read = threading.Event()

    def once_the_message_is_read(request: gemini_server.Request) -> gemini_server.Response:
        read.wait(30)
        return gemini_server.faithful(request)

    with GeminiServer(once_the_message_is_read) as server:
        deep(desk, server)
        desk.put(failure())
        desk.start()
        desk.wait(lambda: desk.slack.texts() != [])
        assert "gemini" not in json.dumps(desk.slack.messages)
        read.set()
        desk.wait(lambda: desk.slack.count("chat.update") > 0)
    assert len(desk.slack.messages) == 1
    assert len(server.requests) == 1


def test_a_storm_costs_one_call(desk: Desk) -> None:
    """Sixty failures of one cause: one message, one question to the model."""
    with GeminiServer() as server:
        deep(desk, server)
        desk.put(*(failure(number) for number in range(60)))
        desk.start()
        desk.wait(lambda: desk.keys() == list(range(60)), seconds=60)
        desk.wait(lambda: not desk.drainers())  # none ends before all is asked and told
    assert len(server.requests) == 1
    assert len(desk.slack.messages) == 1


def test_what_was_sent_can_be_shown_and_replayed(desk: Desk, tmp_path: Path) -> None:
    """`show --prompt` prints the words that went out; `replay` runs the bundle again."""
    with GeminiServer() as server:
        deep(desk, server)
        desk.put(failure())
        desk.start()
        desk.wait(lambda: len(server.requests) == 1 and not desk.spool.pending())
        environment = {"DE_AGENT_STORE_URL": desk.settings.store_url, "PATH": os.environ["PATH"]}
        identity = failure().key.diagnosis_id
        shown = subprocess.run(
            [sys.executable, "-m", "airflow_de_agent.cli", "show", identity, "--prompt"],
            env=environment, capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
        assert shown.rstrip().endswith(server.requests[0].prompt.rstrip()[-200:])
        bundle = subprocess.run(
            [sys.executable, "-m", "airflow_de_agent.cli", "show", identity, "--bundle"],
            env=environment, capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
        (tmp_path / "bundle.json").write_text(bundle)
        found = command(tmp_path, "replay", str(tmp_path / "bundle.json"), **model(server))
    assert found["engine"] == "gemini"
    assert len(server.requests) == 2


def test_a_store_that_goes_away_does_not_make_the_model_answer_twice(desk: Desk, tmp_path: Path) -> None:
    """What the model said is kept until the store is back, and the drainer does not wait for that for ever."""
    asked, moved = [], tmp_path / "moved.db"

    class Away(SqlStore):
        def remember(self, key: str, text: str, *, expires_at: float) -> None:
            if not moved.exists():
                raise StoreError("the store is away")
            super().remember(key, text, expires_at=expires_at)

    def look(failure: TaskFailure, *, seconds: float) -> Found:
        asked.append(seconds)
        diagnosis = Diagnosis(Category.CODE_ERROR, "the model's words")
        return Found(diagnosis, Bundle(failure, (), diagnosis), "mark")

    parts = bootstrap.Parts(desk.settings, desk.handover["connections"])  # type: ignore[arg-type]
    store = Away(desk.settings.store_url)
    agent = dataclasses.replace(parts.agent(), open_store=lambda: store)
    work = intake.Intake(desk.spool, agent, look, 0.0, 5.0)  # type: ignore[arg-type]
    desk.put(failure())
    desk.wait(lambda: not work.work() and not work.busy)
    moved.touch()
    desk.wait(lambda: work.work() and not desk.spool.pending())
    assert len(asked) == 1
    assert store.find(failure().key).diagnosis.root_cause == "the model's words"  # type: ignore[union-attr]


def test_store_create_makes_the_table(aws, tmp_path: Path) -> None:
    """The command makes the DynamoDB table that `store_url` names, and doing it again does no harm."""
    environment = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": aws.url,
        "DE_AGENT_STORE_URL": f"dynamodb://de-agent?region={aws_servers.CREDENTIALS['region_name']}",
        "AWS_ACCESS_KEY_ID": aws_servers.CREDENTIALS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": aws_servers.CREDENTIALS["aws_secret_access_key"],
    }
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "airflow_de_agent.cli", "store", "create"],
            env=environment, check=True, capture_output=True, cwd=ROOT,
        )  # fmt: skip
    assert aws.client("dynamodb").list_tables()["TableNames"] == ["de-agent"]


def test_eval_measures_the_model(tmp_path: Path) -> None:
    """`eval --engine gemini` asks the model about each case and scores what it says."""
    (tmp_path / "cases").mkdir()
    log_file(tmp_path / "cases").rename(tmp_path / "cases" / "x1.log")
    label = {"id": "x1", "category": "data_quality", "key_line": "COPY failed", "key_line_in": "log", "dag_id": "sales"}
    (tmp_path / "cases" / "x1.json").write_text(json.dumps(label | {"task_id": "load", "also_acceptable": []}))
    with GeminiServer() as server:
        found = command(tmp_path, "eval", str(tmp_path / "cases"), "--engine", "gemini", **model(server))
    assert len(server.requests) == 1
    assert found["missed"] == []
