"""`de-agent doctor` against local stand-ins for Slack, Gemini and AWS, with what mends each thing that is broken."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent import doctor
from airflow_de_agent.doctor import Finding
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool
from tests import aws_servers, gemini_server, slack_server
from tests.airflow_host import ROOT

aws, mwaa = aws_servers.aws, aws_servers.mwaa
GROUP = "airflow-prod-3-Task"


@pytest.fixture(autouse=True)
def home(nothing_given: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))


def found(settings: Settings, connections: dict[str, Any] | None = None) -> dict[str, list[Finding]]:
    by_part: dict[str, list[Finding]] = {}
    for finding in doctor.findings(settings, connections):
        by_part.setdefault(finding.about, []).append(finding)
    return by_part


def said(by_part: dict[str, list[Finding]], about: str) -> list[str]:
    return [finding.status for finding in by_part.get(about, [])]


def test_a_bare_host_is_well_and_says_what_it_does_without() -> None:
    """Without Slack, model and AWS nothing has failed."""
    by_part = found(Settings())
    assert {status for about in by_part for status in said(by_part, about)} == {"ok", "warning"}
    assert said(by_part, "slack") == said(by_part, "gemini") == ["warning"]


def slack_of(server: slack_server.SlackServer, token: str) -> dict[str, Any]:
    return {"slack": {"password": token, "extra": {"base_url": server.url}}}


def test_slack_is_asked_who_we_are(slack: slack_server.SlackServer) -> None:
    """A good token is told by its team, a refused one with Slack's reason; neither is shown."""
    good = found(Settings(slack_channel="#oncall"), slack_of(slack, slack_server.TOKEN))
    assert said(good, "slack") == ["ok"]
    assert said(found(Settings(), slack_of(slack, slack_server.TOKEN)), "slack") == ["ok", "warning"]
    bad = found(Settings(), slack_of(slack, "xoxb-wrong-wrong-wrong"))
    assert said(bad, "slack") == ["failed"]
    assert "invalid_auth" in bad["slack"][0].told
    assert "wrong-wrong" not in json.dumps([dataclasses.asdict(one) for one in bad["slack"]])
    assert {method for _, method, _ in slack.calls} == {"auth.test"}


@pytest.mark.parametrize(
    ("key", "model", "status", "told"),
    [
        (gemini_server.KEY, "gemini-3.8-flash", "ok", "is served"),
        (gemini_server.KEY, "gemini-0-gone", "failed", "404"),
        ("AIzaSyOther-Key_0123456789abcdefghijklmn", "gemini-3.8-flash", "failed", "not valid"),
    ],
)
def test_gemini_is_asked_for_the_model_and_nothing_is_charged(key: str, model: str, status: str, told: str) -> None:
    """The model's description says whether the key may use it."""
    with gemini_server.GeminiServer() as server:
        settings = Settings(gemini_base_url=server.url, gemini_model=model)
        [finding] = found(settings, {"gemini": {"password": key}})["gemini"]
        assert server.requests == []
    assert finding.status == status
    assert told in finding.told
    assert key not in finding.line


@pytest.fixture
def in_aws(aws: aws_servers.AwsServer, mwaa: aws_servers.MwaaApi, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    aws.client("logs").create_log_group(logGroupName=GROUP)
    return Settings(task_log_group=GROUP, mwaa_environment="prod-3", redshift_conn_id="r")


REDSHIFT = {"redshift": {"host": "analytics.abc.eu-west-1.redshift.amazonaws.com", "schema": "warehouse"}}


def test_permissions_that_are_there_are_named(aws: aws_servers.AwsServer, in_aws: Settings) -> None:
    """Identity, task logs, Lambda logs, Redshift and Airflow's API are tried; nothing is written or run."""
    by_part = found(in_aws, REDSHIFT)
    for about in ("aws", "task logs", "lambda logs", "redshift", "airflow API"):
        assert set(said(by_part, about)) == {"ok"}, by_part[about]
    asked = {call.partition(".")[2] for call in aws.calls} - {"CreateLogGroup"}  # that one is the test's own
    assert not [name for name in asked if not name.startswith(("Describe", "Get", "Filter", "Invoke"))], asked


@pytest.mark.parametrize(
    ("operation", "about", "action"),
    [
        ("GetLogEvents", "task logs", "logs:GetLogEvents"),
        ("DescribeLogStreams", "task logs", "logs:DescribeLogStreams"),
        ("FilterLogEvents", "lambda logs", "logs:FilterLogEvents"),
        ("DescribeStatement", "redshift", "redshift-data:DescribeStatement"),
        ("GetSecretValue", "gemini", "secretsmanager:GetSecretValue"),
    ],
)
def test_a_missing_permission_is_named_with_its_cure(
    aws: aws_servers.AwsServer, in_aws: Settings, operation: str, about: str, action: str
) -> None:
    """What IAM does not allow fails with the action to allow, and the rest is told all the same."""
    aws.misbehave("AccessDenied", rf".*\.{operation}")
    by_part = found(in_aws, REDSHIFT)
    [failed] = [finding for finding in by_part[about] if finding.status == "failed"]
    assert action in failed.line
    assert "allow" in failed.line
    assert said(by_part, "aws") == ["ok"]


def test_sqlite_on_mwaa_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers and web server share no disk there."""
    monkeypatch.setenv("AIRFLOW_ENV_NAME", "prod")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    [finding] = found(Settings())["store"]
    assert finding.status == "failed"
    assert "dynamodb://" in finding.cure


def test_a_check_that_hangs_costs_only_itself() -> None:
    """What does not answer is told after its seconds; the rest stands."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"http://127.0.0.1:{silent.getsockname()[1]}/api/"
        by_part = found(Settings(), {"slack": {"password": slack_server.TOKEN, "extra": {"base_url": base}}})
    assert "no answer" in by_part["slack"][0].told
    assert said(by_part, "store") == ["ok"]


def test_what_lies_in_the_spool_is_told(tmp_path: Path) -> None:
    """An entry set aside and a drainer that does not start fail, with where to look."""
    settings = Settings()
    spool = Spool(settings.spool_path)
    spool.put("task", {})
    spool.set_aside(spool.pending()[0], "cannot be read")
    (spool.directory / ".starting").write_text("3")
    (spool.directory / "drainer.log").write_text("ImportError: no module\n")
    by_part = found(settings)
    assert said(by_part, "spool") == ["ok", "failed"]
    assert "ImportError" in by_part["drainer"][0].told
    lock = spool.take_lock()
    assert lock is not None
    assert said(found(settings), "drainer") == ["ok"]
    os.close(lock)


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airflow_de_agent.cli", "doctor", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_command_prints_lines_or_json_and_fails_when_something_has(tmp_path: Path) -> None:
    """Exit code 0 with warnings, 1 with a failure, 2 with a wrong option."""
    well = command(AIRFLOW_HOME=str(tmp_path))
    assert (well.returncode, well.stdout.splitlines()[0][:11]) == (0, "ok      spo")
    broken = command("--format", "json", AIRFLOW_HOME=str(tmp_path), AIRFLOW_ENV_NAME="prod")
    assert broken.returncode == 1
    rows = json.loads(broken.stdout)
    assert {"status", "about", "told", "cure"} == set(rows[0])
    assert next(row["about"] for row in rows if row["status"] == "failed") == "store"
    wrong = command(AIRFLOW_HOME=str(tmp_path), DE_AGENT_IDLE_SECONDS="soon")
    assert wrong.returncode == 2
    assert "idle_seconds = 'soon'" in wrong.stderr


@pytest.mark.airflow
@pytest.mark.parametrize("major", [2, 3])
def test_in_an_airflow_its_entry_points_are_found(tmp_path: Path, major: int) -> None:
    """The policy, the plugin and the options are there in an environment that our wheel is installed in."""
    program = ROOT / ".venv" / f"airflow{major}" / "bin" / "de-agent"
    done = subprocess.run(
        [str(program), "doctor", "--format", "json"],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__DE_AGENT__ATTACH": "False"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    rows = [row for row in json.loads(done.stdout) if row["about"] == "airflow"]
    assert [row["status"] for row in rows] == ["ok", "warning"], done.stdout
