"""`de-agent sweep`: each of its steps, and what it says when one cannot be taken."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.spool import Spool
from tests import airflow_host, slack_server
from tests.airflow_host import ROOT
from tests.store_contract import HOUR, key, record


def sweep(command: list[str], home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a sweep with this home; what it said."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    extra = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "DE_AGENT_IDLE_SECONDS": "1"}
    return subprocess.run(
        command, env=kept | extra | environment, cwd=home, capture_output=True, text=True, timeout=120
    )


HERE = [sys.executable, "-m", "airflow_de_agent.cli", "sweep"]


def test_sweeps_at_once_deliver_once_and_post_one_report(
    slack: slack_server.SlackServer, postgres: str, tmp_path: Path
) -> None:
    """After an outage with no new failure: four sweeps, one message for each incident and one report of the week."""
    url = airflow_host.create_database(postgres, "sweeps")
    store = SqlStore(url)
    incidents = {store.add(record(key(str(n)), mark=f"f{n}"), window=HOUR).id for n in range(2)}
    environment = {
        "PYTHONPATH": str(ROOT),
        "DE_AGENT_STORE_URL": url,
        "DE_AGENT_SLACK_BASE_URL": slack.url,
        "SLACK_BOT_TOKEN": slack_server.TOKEN,
        "DE_AGENT_SLACK_CHANNEL": "#data",
        "DE_AGENT_REPORT_CHANNEL": "#data-weekly",
    }
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda n: sweep(HERE, tmp_path, **environment), range(4)))
    assert [(each.returncode, each.stderr.count("Traceback")) for each in done] == [(0, 0)] * 4, done
    top = [m for m in slack.messages if "thread_ts" not in m]
    assert sorted(m["channel"] for m in top) == ["CDATA", "CDATA", "CDATAWEEKLY"]
    told = {m["metadata"]["event_payload"]["incident_id"] for m in top if m["channel"] == "CDATA"}
    assert told == incidents
    assert sum("the report of the week was posted" in each.stdout for each in done) == 1
    assert list(store.undelivered()) == []


def test_a_report_without_a_token_is_told(tmp_path: Path) -> None:
    """It is not taken for posted, and the exit code says that something is to be mended."""
    done = sweep(HERE, tmp_path, PYTHONPATH=str(ROOT), DE_AGENT_REPORT_CHANNEL="#data-weekly")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "there is no Slack token" in done.stderr
    assert "entries were waiting" in done.stdout


def test_a_store_that_is_away_is_told_once(tmp_path: Path) -> None:
    """The other steps are taken all the same."""
    environment = {"PYTHONPATH": str(ROOT), "DE_AGENT_STORE_URL": "sqlite:////proc/none/x.db"}
    done = sweep(HERE, tmp_path, **environment, DE_AGENT_REPORT_CHANNEL="#data-weekly")
    assert (done.returncode, done.stderr.count("de-agent: the store cannot be used")) == (1, 1)
    assert "entries were waiting" in done.stdout


@pytest.mark.airflow
@pytest.mark.parametrize("major", [2, 3])
def test_a_database_that_cannot_be_used_is_one_clear_line(major: int, tmp_path: Path) -> None:
    """Airflow's tables are not there: said without a traceback, the exit code is 1, the spool is seen to."""
    command = [str(ROOT / ".venv" / f"airflow{major}" / "bin" / "de-agent"), "sweep"]
    lock = Spool(tmp_path / "de_agent" / "spool").take_lock()  # no drainer is to stay behind
    assert lock is not None
    done = sweep(command, tmp_path)
    os.close(lock)
    assert done.returncode == 1
    assert done.stderr.count("Airflow's database cannot be used") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "entries were waiting" in done.stdout


@pytest.mark.airflow
def test_a_connection_in_the_database_of_airflow_3_is_used(slack: slack_server.SlackServer, tmp_path: Path) -> None:
    """Airflow 3 gives a command that is not its own no connections; the sweep asks as one of Airflow's does."""
    script = f"""
from airflow.utils import db
from airflow.models.connection import Connection
from airflow.utils.session import create_session
db.initdb()
with create_session() as session:
    session.merge(Connection(conn_id="slack_api_default", conn_type="slack", password={slack_server.TOKEN!r}))
from airflow_de_agent.cli import main
raise SystemExit(main(["sweep"]))
"""
    options = {"DE_AGENT_REPORT_CHANNEL": "#data-weekly", "DE_AGENT_SLACK_BASE_URL": slack.url}
    done = sweep([str(ROOT / ".venv" / "airflow3" / "bin" / "python"), "-c", script], tmp_path, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [m["channel"] for m in slack.messages] == ["CDATAWEEKLY"]


@pytest.mark.airflow
def test_task_code_of_airflow_3_says_that_it_has_no_database(tmp_path: Path) -> None:
    """That is how Airflow 3 is made, so a sweep in a DAG does not fail for it."""
    script = f"""
import runpy
from airflow.sdk.execution_time.supervisor import block_orm_access
block_orm_access()
runpy.run_path({str(ROOT / "example_dags" / "de_agent_sweep.py")!r})["sweep"].function()
"""
    lock = Spool(tmp_path / "de_agent" / "spool").take_lock()
    assert lock is not None
    done = sweep([str(ROOT / ".venv" / "airflow3" / "bin" / "python"), "-c", script], tmp_path)
    os.close(lock)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Airflow gives this process no database" in done.stdout
    assert "entries were waiting" in done.stdout
