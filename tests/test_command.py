"""The command `de-agent` in wrong hands: what it says of input, files and settings that it cannot use."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_de_agent import cli, doctor
from airflow_de_agent.settings import Settings, load
from tests.airflow_host import ROOT

LOG = str(ROOT / "tests" / "evals" / "c001.log")
NOT_THERE = "No such file or directory"


@pytest.fixture(autouse=True)
def home(nothing_given: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty place, with nothing configured."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    try:
        code = cli.main(arguments)
    except SystemExit as exc:  # how argparse ends
        code = int(str(exc.code))
    told = capsys.readouterr()
    return code, told.out, told.err


def diagnose(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return said(capsys, "diagnose", "--offline", *arguments)


def test_an_empty_log_has_one_gap(capsys: pytest.CaptureFixture[str]) -> None:
    """It is here and empty; nothing says that it is not on this host."""
    Path("empty.log").touch()
    code, out, _ = diagnose(capsys, "--log", "empty.log")
    assert (code, [line for line in out.splitlines() if "Not read" in line]) == (
        0,
        ["Not read: task_log: the log is empty."],
    )


def test_a_log_without_ids_is_named_by_its_file_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """No words stand for a DAG, a run or a task that nobody named."""
    _, out, _ = diagnose(capsys, "--log", LOG)
    assert out.startswith("Act now: c001.log failed: ")
    assert "unknown" not in out
    assert "the cause lies in" not in out


@pytest.mark.parametrize("path", ["missing.log", ".", ""])
def test_what_is_no_log_file_is_said_so(capsys: pytest.CaptureFixture[str], path: str) -> None:
    """A name that is not there, a directory and an empty name are told, without a traceback."""
    code, out, err = diagnose(capsys, "--log", path)
    assert (code, out) == (1, "")
    assert "is not a file" in err


def test_a_log_may_come_on_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """`kubectl logs POD | de-agent diagnose --log -` is diagnosed as the file would be; no input is an empty log."""
    for text, told in ((Path(LOG).read_bytes(), "o.discount_pct"), (b"", "the log is empty")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        code, out, _ = diagnose(capsys, "--log", "-")
        assert (code, told in out) == (0, True), out
    assert "standard input" in out


def test_evidence_under_a_name_that_means_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen is named beside the answer, with the names there are."""
    Path("e.json").write_text('{"redhsift": []}')
    code, out, err = diagnose(capsys, "--log", LOG, "--evidence", "e.json")
    assert (code, out.startswith("Act now")) == (0, True)
    assert "redhsift" in err and "lambda_errors" in err


@pytest.mark.parametrize("text", ["[1]", "{}", "{", "\xff", "null"])
def test_what_is_no_bundle_is_said_so(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Any JSON and any bytes give one line and exit code 1."""
    Path("b.json").write_bytes(text.encode("latin-1"))
    code, out, err = said(capsys, "replay", "b.json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("de-agent: b.json: ")


@pytest.mark.parametrize(
    "arguments", [("replay", "none.json"), ("diagnose", "--log", LOG, "--evidence", "none.json"), ("eval", "none.json")]
)
def test_a_file_that_is_not_there_is_named_first(capsys: pytest.CaptureFixture[str], arguments: tuple[str]) -> None:
    """The line reads as those of other commands do, without a number of an error."""
    code, _, err = said(capsys, *arguments)
    assert (code, err.startswith("de-agent: none.json: "), "Errno" in err) == (1, True, False)


@pytest.mark.parametrize("number", ["0", "-3", "x"])
def test_a_limit_is_a_number_above_zero(capsys: pytest.CaptureFixture[str], number: str) -> None:
    """What would list nothing or everything is wrong usage."""
    code, _, err = said(capsys, "list", "--limit", number)
    assert code == 2
    assert f"'{number}' is not a whole number above 0" in err


def test_an_empty_list_says_where_it_looked(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    """Whoever looks into the wrong store sees it; JSON stays JSON."""
    code, out, err = said(capsys, "list")
    assert (code, out) == (0, "")
    assert "diagnoses.db" in err and "AIRFLOW_HOME" in err
    code, out, err = said(capsys, "list", "--format", "json")
    assert (code, json.loads(out), err) == (0, [], "")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense", "mysql://a:b@127.0.0.1/x", "http://x", "postgresql://h:port/x",
        "dynamodb://", "dynamodb://t?regin=eu-west-1", "dynamodb://t?region=",
    ],
)  # fmt: skip
def test_a_store_url_that_names_no_store_is_a_wrong_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Exit code 2, as of every setting that is wrong, and what it may be."""
    monkeypatch.setenv("DE_AGENT_STORE_URL", url)
    code, _, err = said(capsys, "list")
    assert (code, "settings are wrong" in err) == (2, True)
    assert "postgresql" in err.lower() or "dynamodb://TABLE?region=REGION" in err


def test_an_interrupt_ends_quietly(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C gives the exit code that shells know, and no traceback."""

    def interrupted() -> Settings:
        raise KeyboardInterrupt

    monkeypatch.setattr("airflow_de_agent.settings.load", interrupted)
    assert said(capsys, "list") == (130, "", "")


def test_a_spool_that_cannot_be_made_is_told_with_its_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`drain` names the directory."""
    monkeypatch.setenv("AIRFLOW_HOME", "/proc/none")
    code, _, err = said(capsys, "drain")
    assert (code, err) == (1, f"de-agent: /proc/none: {NOT_THERE}\n")


def test_a_choice_that_may_be_empty_is_told_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of what may be set does not end with a comma."""
    monkeypatch.setenv("DE_AGENT_GEMINI_THINKING_LEVEL", "hard")
    assert said(capsys, "list")[2].rstrip().endswith("must be one of low, medium, high, or empty")


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("rules:\n- name: a\n  category: network\n  hints: [x]\n  cause: y\n", "ok", "1 rule"),
        ("rules:\n- name: a\n  category: net\n  hints: [x]\n  cause: y\n", "failed", "'net'"),
        ("rule: []\n", "failed", "rules:"),
        (None, "failed", NOT_THERE),
    ],
)
def test_the_doctor_reads_the_file_of_rules(text: str | None, status: str, told: str, home: Path) -> None:
    """A drainer goes on without a file that is wrong, so somebody else has to say so."""
    if text is not None:
        Path("rules.yaml").write_text(text)
    [finding] = [one for one in doctor.findings(Settings(rules_file="rules.yaml")) if one.about == "rules_file"]
    assert (finding.status, told in finding.line) == (status, True), finding.line


def test_the_doctor_names_options_that_are_not_ours(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """A name that is misspelt has no effect, in a variable and in the section of the file alike."""
    (home / "home").mkdir()
    (home / "home" / "airflow.cfg").write_text("[de_agent]\nslack_chanel = #x\nattach = True\n")
    monkeypatch.setenv("DE_AGENT_DRAINN", "inline")
    monkeypatch.setenv("AIRFLOW__DE_AGENT__STORE", "x")
    [finding] = [one for one in doctor.findings(load()) if one.about == "options"]
    assert finding.status == "warning"
    for name in ("slack_chanel", "DE_AGENT_DRAINN", "AIRFLOW__DE_AGENT__STORE"):
        assert name in finding.told
    assert "attach" not in finding.told


def test_the_doctor_says_each_thing_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read in AWS stands in the findings and nowhere else."""
    monkeypatch.setenv("DE_AGENT_TASK_LOG_GROUP", "g")
    _, out, err = said(capsys, "doctor")
    assert "region" in out
    assert err == ""


@pytest.mark.airflow
@pytest.mark.parametrize("major", [2, 3])
def test_a_database_of_airflow_that_cannot_be_used_is_one_line(major: int, home: Path) -> None:
    """Where the ids are to be looked up, Airflow's own tables are not there: no traceback, no SQL."""
    done = subprocess.run(
        [str(ROOT / ".venv" / f"airflow{major}" / "bin" / "de-agent"), "diagnose", "--offline"]
        + ["--dag-id", "d", "--run-id", "r", "--task-id", "t"],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("de-agent: Airflow's database cannot be used: OperationalError")
    assert "Traceback" not in done.stderr and "SELECT" not in done.stderr
