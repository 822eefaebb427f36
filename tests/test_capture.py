"""What runs inside Airflow's processes: short, offline, and unable to raise. Runs in both Airflow environments."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_host import ROOT

pytestmark = pytest.mark.airflow

TI = 'SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=0, try_number=2, log_url="", hostname="h")'


@pytest.fixture(params=[2, 3], ids=["airflow2", "airflow3"])
def python(request: pytest.FixtureRequest) -> Path:
    return ROOT / ".venv" / f"airflow{request.param}" / "bin" / "python"


def run(python: Path, script: str, home: Path, **environment: str) -> str:
    """Run a script in an Airflow environment of its own; its output."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    extra = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "DE_AGENT_IDLE_SECONDS": "1"}
    done = subprocess.run(
        [str(python), "-c", script],
        env=kept | extra | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def entries(home: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((home / "de_agent" / "spool").glob("*.json"))]


HELD_LATER = """
import logging, sys
from pathlib import Path
from types import SimpleNamespace
from airflow_de_agent.spool import Spool
from airflow_de_agent import DiagnoseOnFailure, diagnose_on_failure
from airflow_de_agent.airflow import compat
"""
# The lock is held, as if a drainer were at work elsewhere: what is captured stays in the spool to be looked at.
HELD = f"""{HELD_LATER}lock = Spool(compat.settings().spool_path).take_lock()
"""


def test_an_exception_is_captured_with_its_chain(python: Path, tmp_path: Path) -> None:
    """Types, messages, frames from the first cause on; map index 0 and the try are kept."""
    script = f"""{HELD}
try:
    try:
        {{}}["region"]
    except KeyError as exc:
        raise RuntimeError("no region") from exc
except RuntimeError as exc:
    diagnose_on_failure({{"ti": {TI}, "exception": exc}})
"""
    run(python, script, tmp_path)
    [entry] = entries(tmp_path)
    failure = entry["failure"]
    assert failure["key"] == ["d", "r", "t", 0, 2]
    assert [e["type"] for e in failure["exceptions"]] == ["KeyError", "RuntimeError"]
    assert failure["exceptions"][1]["frames"][-1][1] == 14
    assert failure["source"] == "task"


def test_secrets_do_not_reach_the_spool(python: Path, tmp_path: Path) -> None:
    """A password in an exception or in the log is redacted before anything is written."""
    log = tmp_path / "logs" / "dag_id=d" / "run_id=r" / "task_id=t" / "map_index=0"
    log.mkdir(parents=True)
    (log / "attempt=2.log").write_text("connecting to postgres://etl:hunter2-in-log@db/x\n")
    script = f"""{HELD}
exc = ValueError("cannot connect to postgres://etl:hunter2-in-error@db/x")
diagnose_on_failure({{"ti": {TI}, "exception": exc}})
"""
    run(python, script, tmp_path, AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(tmp_path / "logs"))
    text = json.dumps(entries(tmp_path))
    assert "connecting to postgres" in text
    assert "hunter2" not in text


def test_what_the_hosts_masker_knows_does_not_reach_the_spool(python: Path, tmp_path: Path) -> None:
    """A word that looks like no secret goes where Airflow was told that it is one, an address where we were."""
    script = f"""{HELD}
try:
    from airflow.sdk.log import mask_secret
except ImportError:
    from airflow.utils.log.secrets_masker import mask_secret
mask_secret("swordfish")
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("no login of ann.lee@data.example.com with swordfish")}})
"""
    run(python, script, tmp_path, DE_AGENT_REDACT_EMAILS="True")
    [entry] = entries(tmp_path)
    [told] = [link["message"] for link in entry["failure"]["exceptions"]]
    assert told == "no login of [REDACTED:email#1] with ***"


@pytest.mark.parametrize(
    "context",
    ["{}", "None", '{"ti": None}', '{"ti": object(), "exception": ValueError()}', "42"],
)
def test_no_context_at_all_raises(python: Path, tmp_path: Path, context: str) -> None:
    """Whatever Airflow hands over, the callback returns."""
    run(python, f"{HELD}\ndiagnose_on_failure({context})\nDiagnoseOnFailure('#x')({context})", tmp_path)


def test_a_hostile_exception_does_not_get_out(python: Path, tmp_path: Path) -> None:
    """An exception whose text cannot be made is captured all the same."""
    script = f"""{HELD}
class Hostile(Exception):
    def __str__(self):
        raise SystemExit("never")
class Vague(Exception):
    def __str__(self):
        raise ValueError("no text")
diagnose_on_failure({{"ti": {TI}, "exception": Hostile()}})
diagnose_on_failure({{"ti": {TI}, "exception": Vague()}})
"""
    run(python, script, tmp_path)
    assert "its text cannot be made" in json.dumps(entries(tmp_path))


def test_exceptions_that_cannot_be_compared_are_captured(python: Path, tmp_path: Path) -> None:
    """An exception's own idea of equality is not asked: some raise, some think all their kind the same."""
    script = f"""{HELD}
class Incomparable(Exception):
    def __eq__(self, other):
        raise ValueError("the truth value is ambiguous")
error = Incomparable("second")
error.__cause__ = Incomparable("first")
diagnose_on_failure({{"ti": {TI}, "exception": error}})
"""
    run(python, script, tmp_path)
    [entry] = entries(tmp_path)
    assert [e["message"] for e in entry["failure"]["exceptions"]] == ["first", "second"]


def test_a_connection_that_cannot_be_read_does_not_keep_the_drainer_from_starting(python: Path, tmp_path: Path) -> None:
    """An extra that is no object, or a password of another Fernet key, is a connection that is not there."""
    script = """
from airflow_de_agent.airflow import compat
try:
    from airflow.sdk import BaseHook
except ImportError:
    from airflow.hooks.base import BaseHook
class Undecryptable:
    @property
    def password(self):
        raise ValueError("InvalidToken")
BaseHook.get_connection = classmethod(lambda cls, conn_id: Undecryptable())
assert compat.connection("slack_api_default") is None
"""
    run(python, script, tmp_path)


def test_a_run_of_many_mapped_failures_is_a_small_entry(python: Path, tmp_path: Path) -> None:
    """The states of the run are written once, not with each of its failed task instances."""
    script = f"""{HELD}
from airflow_de_agent.airflow import callback
from airflow_de_agent.airflow.run_state import failures_of_rows
def row(n):
    return SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=n, try_number=1, state="failed",
        operator="op", max_tries=0, start_date=None, end_date=None, hostname="h")
callback.record_run(failures_of_rows([row(n) for n in range(500)], {{}}))
"""
    run(python, script, tmp_path)
    [entry] = entries(tmp_path)
    assert len(entry["failures"]) == len(entry["run_state"]) == 500
    assert len(json.dumps(entry)) < 500_000


def test_of_what_did_not_fail_only_the_state_is_kept(python: Path, tmp_path: Path) -> None:
    """A run of ten thousand tasks, one of which failed, costs one failure: nothing else is asked of the others."""
    script = """
from types import SimpleNamespace
from airflow_de_agent.airflow.run_state import failures_of_rows
told = dict(dag_id="d", run_id="r", start_date=None, end_date=None, map_index=-1)
done = [SimpleNamespace(**told, task_id=f"t{n}", state="success", try_number=1) for n in range(9)]
bad = SimpleNamespace(**told, task_id="bad", state="failed", try_number=0, operator="op", max_tries=0, hostname="h")
[failure] = failures_of_rows([*done, bad], {})
assert len(failure.run_state) == 10
assert failure.key.try_number == 1, "it failed before its first try began"
"""
    run(python, script, tmp_path)


def test_a_run_that_is_tried_by_hand_makes_no_noise(tmp_path: Path) -> None:
    """`airflow dags test` of Airflow 3 has no supervisor to ask for the run's states; its tasks have told already."""
    script = """
from types import SimpleNamespace
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow_de_agent.airflow.run_state import failures_of_run
ti = SimpleNamespace(get_task_states=RuntimeTaskInstance.get_task_states)
assert failures_of_run({"dag": SimpleNamespace(dag_id="d", task_dict={}), "run_id": "r", "ti": ti}) is None
"""
    run(ROOT / ".venv" / "airflow3" / "bin" / "python", script, tmp_path)


def test_an_unwritable_spool_costs_one_line(python: Path, tmp_path: Path) -> None:
    """The task's log gets one clear line and nothing else happens."""
    (tmp_path / "blocked").write_text("a file where the spool should be")
    script = f"""
import logging, sys
from types import SimpleNamespace
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s", force=True)
from airflow_de_agent import diagnose_on_failure
logging.getLogger("airflow_de_agent").handlers = [logging.StreamHandler(sys.stdout)]
logging.getLogger("airflow_de_agent").propagate = False
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("x")}})
"""
    out = run(python, script, tmp_path, DE_AGENT_SPOOL_DIR=str(tmp_path / "blocked" / "spool"))
    assert out.count("de-agent could not record this failure") == 1
    assert "the task is not affected" in out


def test_a_full_disk_costs_one_line_and_leaves_no_half_entry(python: Path, tmp_path: Path) -> None:
    """Where nothing more can be written, no truncated file stays behind."""
    script = f"""{HELD}
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("x" * 500)}})
"""
    run(python, script, tmp_path)
    assert list((tmp_path / "de_agent" / "spool").glob("*.json*")) == []


def test_a_wrong_option_has_its_default_and_is_told_of_once(python: Path, tmp_path: Path) -> None:
    """Capture goes on, the other options count, and the configuration is read once however many tasks there are."""
    script = f"""{HELD_LATER}
said = []
class Heard(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("airflow_de_agent").addHandler(Heard())
import airflow.settings
tasks = [SimpleNamespace(on_failure_callback=None, dag=None) for _ in range(3)]
for task in tasks:
    airflow.settings.task_policy(task)
assert tasks[2].on_failure_callback, said
settings = compat.settings()
lock = Spool(settings.spool_path).take_lock()
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("x")}})
assert (settings.idle_seconds, settings.slack_channel) == (300, "#here"), settings
assert len(said) == 1 and "idle_seconds = 'soon'" in said[0], said
"""
    wrong = dict.fromkeys(("AIRFLOW__DE_AGENT__IDLE_SECONDS", "DE_AGENT_IDLE_SECONDS"), "soon")
    run(python, script, tmp_path, **wrong, AIRFLOW__DE_AGENT__SLACK_CHANNEL="#here")
    assert len(entries(tmp_path)) == 1


def test_an_option_that_airflow_cannot_give_harms_nobody(python: Path, tmp_path: Path) -> None:
    """A value with a stray % is none for Airflow; it has its default, and the value is not told."""
    (tmp_path / "airflow.cfg").write_text("[de_agent]\nstore_url = postgresql://u:p%qsecret@h/d\n")
    script = f"""{HELD}
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("x")}})
print(compat.settings().store_url or "the default")
"""
    told = run(python, script, tmp_path)
    assert told.endswith("the default\n")
    assert "qsecret" not in told
    assert len(entries(tmp_path)) == 1


def test_the_policy_attaches_once_and_after_the_users_own(python: Path, tmp_path: Path) -> None:
    """User callbacks stay first; an explicit one of ours is not doubled; the tag opts out; twice adds nothing."""
    script = """
import datetime
from airflow.settings import dag_policy, task_policy
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    from airflow.models import DAG
    from airflow.operators.empty import EmptyOperator
from airflow_de_agent import DiagnoseOnFailure, diagnose_on_failure
def mine(context): pass
start = datetime.datetime(2026, 1, 1)
with DAG("d", schedule=None, start_date=start) as dag:
    plain = EmptyOperator(task_id="plain")
    own = EmptyOperator(task_id="own", on_failure_callback=mine)
    explicit = EmptyOperator(task_id="explicit", on_failure_callback=[DiagnoseOnFailure("#x"), mine])
with DAG("out", schedule=None, start_date=start, tags=["no-de-agent"]) as out:
    silent = EmptyOperator(task_id="silent")
for _ in range(2):
    for task in (plain, own, explicit, silent):
        task_policy(task)
    dag_policy(dag), dag_policy(out)
assert list(plain.on_failure_callback) == [diagnose_on_failure], plain.on_failure_callback
assert list(own.on_failure_callback) == [mine, diagnose_on_failure]
assert len(explicit.on_failure_callback) == 2
assert not silent.on_failure_callback
assert dag.has_on_failure_callback and len(dag.on_failure_callback) == 1
assert not out.on_failure_callback
print("attached")
"""
    assert "attached" in run(python, script, tmp_path)


def test_a_broken_agent_leaves_airflow_alone(python: Path, tmp_path: Path) -> None:
    """With every module of ours but the policy broken, Airflow's commands work and DAGs parse."""
    script = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        kept = (".airflow", ".policy", ".provider", ".settings")
        if name.startswith("airflow_de_agent.") and not name.endswith(kept):
            if name not in ("airflow_de_agent.core", "airflow_de_agent.core.errors"):
                raise ImportError("broken: " + name)
sys.meta_path.insert(0, Broken())
import airflow.settings
from types import SimpleNamespace
task = SimpleNamespace(on_failure_callback=None, dag=None)
airflow.settings.task_policy(task)
assert task.on_failure_callback is None
from airflow.plugins_manager import ensure_plugins_loaded
ensure_plugins_loaded()
print("alive")
"""
    assert "alive" in run(python, script, tmp_path)


def test_inline_drains_in_the_task_process(python: Path, tmp_path: Path) -> None:
    """Where processes die with their pod, the diagnosis is made before the callback returns."""
    script = f"""
from types import SimpleNamespace
from airflow_de_agent import diagnose_on_failure
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("x")}})
"""
    run(python, script, tmp_path, AIRFLOW__DE_AGENT__DRAIN="inline")
    assert entries(tmp_path) == []
    listed = subprocess.run(
        [str(python.with_name("de-agent")), "list", "--format", "json"],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    [found] = json.loads(listed.stdout)
    assert (found["task_id"], found["map_index"], found["try_number"]) == ("t", 0, 2)


@pytest.mark.parametrize(
    "work",
    [f"""diagnose_on_failure({{"ti": {TI}}})""", """callback.request_diagnosis(TaskFailure(KEY, "ui"))"""],
    ids=["DAG processor", "web server"],
)
def test_inline_drains_nowhere_else(python: Path, tmp_path: Path, work: str) -> None:
    """A DAG processor and a web server start a drainer beside them instead of standing still."""
    script = f"""{HELD_LATER}
from airflow_de_agent.airflow import callback
from airflow_de_agent.core.failure import TaskFailure, TaskKey
KEY = TaskKey("d", "r", "t", 0, 2)
{work}
assert "airflow_de_agent.bootstrap" not in sys.modules
"""
    run(python, script, tmp_path, AIRFLOW__DE_AGENT__DRAIN="inline")
    until = time.monotonic() + 90
    while entries(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert entries(tmp_path) == []


def test_nothing_heavy_is_imported(python: Path, tmp_path: Path) -> None:
    """A capture loads no SDK: no boto3, Slack, Google, SQLAlchemy of its own."""
    script = f"""{HELD}
import airflow.configuration
before = set(sys.modules)
diagnose_on_failure({{"ti": {TI}, "exception": ValueError("x")}})
heavy = {{"boto3", "botocore", "slack_sdk", "google", "sqlalchemy", "requests", "httpx"}}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}} & heavy
assert not new, new
"""
    run(python, script, tmp_path)
    assert len(entries(tmp_path)) == 1
