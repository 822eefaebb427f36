"""Every way in which a task fails, under real schedulers of both majors: one diagnosis each, and Airflow as it was."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent.spool import Spool
from tests import airflow_host, slack_server

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(420)]
DAGS = Path(__file__).parent / "dags"

# DAG and task -> the try that finally failed; a mapped task with its failing map indexes.
EXPECTED = {
    ("ordinary", "transform", -1, 1),
    ("fail_at_once", "check", -1, 1),
    ("too_slow", "crunch", -1, 1),
    ("leaves", "leave", -1, 1),
    ("retried", "flaky", -1, 2),
    ("mapped", "load", 0, 1),
    ("mapped", "load", 2, 1),
    ("killed", "eat_memory", -1, 1),
    ("lost", "vanish", -1, 1),
    ("sensor_timeout", "wait_for_file", -1, 1),
    ("trigger_fails", "wait_for_job", -1, 1),
    ("user_callback_raises", "publish", -1, 1),
    ("explicit", "export", -1, 1),
    ("recovers", "fetch_rates", -1, 1),
    ("chain", "first", -1, 1),
    ("chain", "report", -1, 1),
    ("not_importable", "never_starts", -1, 1),
}
HOSTS = [(3, "LocalExecutor"), (2, "LocalExecutor"), (3, "CeleryExecutor"), (2, "CeleryExecutor")]
# one of each major, for what does not depend on the executor; the same objects, so that the host is not started anew
BOTH_MAJORS = pytest.mark.parametrize("seen", HOSTS[:2], indirect=True, ids=["airflow3", "airflow2"])


class Seen:
    """What a host ended with: diagnoses, task states, Slack messages."""

    def __init__(self, host: airflow_host.AirflowHost, slack: slack_server.SlackServer) -> None:
        self.host, self.slack = host, slack
        self.diagnoses: list[dict[str, Any]] = []

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.diagnoses = self.host.diagnoses()
            if not EXPECTED - self.keys().keys():
                break
            time.sleep(3)
        time.sleep(8)  # whatever would come twice comes now
        self.diagnoses = self.host.diagnoses()

    def keys(self) -> Counter[tuple[str, str, int, int]]:
        return Counter((d["dag_id"], d["task_id"], d["map_index"], d["try_number"]) for d in self.diagnoses)

    def task_states(self, dag_id: str, expected: list[str], *, tries: int = 2) -> None:
        """Wait until the task instances of a DAG have these states, sorted, and so many tries in all."""

        def now() -> tuple[list[str], int]:
            rows = self.host.task_states(dag_id)
            return [state for state, _ in rows], sum(tries for _, tries in rows)

        self.until(lambda: now() == (expected, tries))

    def until(self, happens: Callable[[], Any], seconds: float = 90) -> Any:
        """Wait until something is the case; what it is."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(StopIteration, IndexError):
                if found := happens():
                    return found
            assert time.monotonic() < end
            time.sleep(0.3)

    def messages(self, incident_id: str) -> list[dict[str, Any]]:
        """The messages of an incident in its channel."""
        marks = [(m["metadata"]["event_payload"]["incident_id"], m) for m in self.slack.messages]
        return [m for mark, m in marks if mark == incident_id]

    def thread(self, message_ts: str) -> list[dict[str, Any]]:
        """What stands in a message's thread."""
        return [m for m in self.slack.replies if m["thread_ts"] == message_ts]

    def of(self, dag_id: str, task_id: str) -> dict[str, Any]:
        return next(d for d in self.diagnoses if (d["dag_id"], d["task_id"]) == (dag_id, task_id))


@pytest.fixture(scope="module", params=HOSTS, ids=lambda host: f"airflow{host[0]}-{host[1]}")
def seen(request: pytest.FixtureRequest, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    major, executor = request.param
    home = tmp_path_factory.mktemp(f"airflow{major}")
    database = airflow_host.create_database(postgres, f"kinds_{major}_{executor.lower()}")
    with slack_server.running() as slack:
        extra = {
            "AIRFLOW_CONN_SLACK_API_DEFAULT": slack_server.connection(slack.url),
            "AIRFLOW__DE_AGENT__SLACK_CHANNEL": "#data-oncall",
            "AIRFLOW__DE_AGENT__REPORT_CHANNEL": "#data-weekly",
        }
        venv = airflow_host.ROOT / ".venv" / f"airflow{major}"
        host = airflow_host.AirflowHost(venv, home, DAGS, database, executor=executor, extra=extra)
        try:
            host.start(triggerer=True)
            result = Seen(host, slack)
            result.wait(240)
            yield result
        finally:
            host.stop()


def test_every_final_failure_is_diagnosed_exactly_once(seen: Seen) -> None:
    """Each finally failed task instance has one diagnosis, and nothing else has any."""
    assert seen.keys() == Counter(dict.fromkeys(EXPECTED, 1))


def test_outcomes_are_as_without_the_agent(seen: Seen) -> None:
    """The failed tasks are failed on the try that failed, no other task failed, and no DAG was deactivated."""
    script = (
        "import json; from airflow.utils.session import create_session; from airflow.models import DagModel;"
        "from airflow.models.taskinstance import TaskInstance as T\n"
        "with create_session() as s:\n"
        "  t=[[x.dag_id,x.task_id,x.map_index,x.try_number] for x in s.query(T).filter(T.state=='failed')]\n"
        "  print('RESULT', json.dumps([t, [d.dag_id for d in s.query(DagModel)"
        " if not getattr(d, 'is_active', not getattr(d, 'is_stale', False))]]))"
    )
    out = seen.host.run(str(seen.host.venv / "bin" / "python"), "-c", script)
    failed, inactive = json.loads(out.rpartition("RESULT ")[2])
    # a task instance whose worker could not import the DAG never began a try on Airflow 2
    failed = {tuple(f) for f in failed if f[0] != "not_importable"}
    assert failed == {e for e in EXPECTED if e[0] != "not_importable"} | {("opted_out", "ignored", -1, 1)}
    assert inactive == []


def test_each_incident_has_one_message(seen: Seen) -> None:
    """Slack shows each incident once, however many task instances joined it."""
    posted = Counter(m["metadata"]["event_payload"]["incident_id"] for m in seen.slack.messages)
    assert set(posted.values()) == {1}
    assert posted.keys() == {d["incident_id"] for d in seen.diagnoses}


def test_a_channel_of_its_own_is_used(seen: Seen) -> None:
    """A task with DiagnoseOnFailure(slack_channel=…) is told of there, and only there."""
    incident = seen.of("explicit", "export")["incident_id"]
    channels = {m["channel"] for m in seen.slack.messages if m["metadata"]["event_payload"]["incident_id"] == incident}
    assert channels == {"CSALESONCALL"}


def test_one_drainer_serves_the_host(seen: Seen) -> None:
    """After all failures one drainer is left, and it is nobody's child."""
    assert len(seen.host.drainers()) == 1


def test_a_downstream_failure_joins_its_cause(seen: Seen) -> None:
    """A task that fails after its upstream failed belongs to that incident."""
    assert seen.of("chain", "report")["incident_id"] == seen.of("chain", "first")["incident_id"]


def test_the_log_was_read(seen: Seen) -> None:
    """The task's own output reached the diagnosis, so no gap names the log."""
    gaps = [gap for gap in seen.of("ordinary", "transform")["evidence_gaps"] if "log" in gap]
    assert gaps == []


# --- the sweep; from here on the host changes ---------------------------------------------------------------------


@BOTH_MAJORS
def test_a_sweep_with_an_empty_store_finds_what_failed_but_not_what_opted_out(seen: Seen, tmp_path: Path) -> None:
    """Another host's store knows nothing yet: every failure is found in Airflow's database, in one entry a run."""
    spool, url = tmp_path / "spool", f"sqlite:///{tmp_path / 'other.db'}"
    lock = Spool(spool).take_lock()  # as if a drainer were at work: what is found stays there to be looked at
    assert lock is not None
    options = (f"DE_AGENT_SPOOL_DIR={spool}", f"DE_AGENT_STORE_URL={url}", "DE_AGENT_REPORT_CHANNEL=")
    said = seen.host.run("env", *options, str(seen.host.venv / "bin" / "de-agent"), "sweep")
    os.close(lock)
    entries = [json.loads(path.read_text()) for path in spool.glob("*.json")]
    found = Counter(tuple(failure["key"]) for entry in entries for failure in entry["failures"])
    assert Counter((k[0], *k[2:]) for k in found) == Counter(dict.fromkeys(EXPECTED, 1))
    assert len(entries) == len({key[:2] for key in found})
    assert f"{len(EXPECTED)} task instances failed" in said


@BOTH_MAJORS
def test_what_recovers_is_closed_and_what_comes_back_is_the_same_incident(seen: Seen) -> None:
    """A later run succeeds: check mark and one line in the thread, by two sweeps at once; then it fails again."""
    incident = seen.of("recovers", "fetch_rates")["incident_id"]
    flag = seen.host.home / "vendor_is_up"
    flag.touch()
    seen.host.airflow("dags", "trigger", "recovers")
    seen.task_states("recovers", ["failed", "success"])
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(seen.host.de_agent, ["sweep", "sweep"]))
    assert all("0 task instances failed" in text for text in said)
    assert sum("1 incidents have recovered" in text for text in said) == 1
    message = seen.until(lambda: next(m for m in seen.messages(incident) if "Recovered after" in m["text"]))
    assert message["blocks"][0]["text"]["text"].startswith(":white_check_mark: *Recovered after")
    seen.until(lambda: [m for m in seen.thread(message["ts"]) if m["text"].startswith(":white_check_mark: Recovered")])
    flag.unlink()
    seen.host.airflow("tasks", "clear", "--yes", "--only-failed", "recovers")
    seen.task_states("recovers", ["failed", "success"], tries=3)
    seen.until(lambda: "failed again" in seen.messages(incident)[0]["blocks"][0]["text"]["text"])
    seen.until(lambda: [m for m in seen.thread(message["ts"]) if "It is back" in m["text"]])
    assert sum(m["text"].startswith(":white_check_mark: Recovered") for m in seen.thread(message["ts"])) == 1
    assert len(seen.messages(incident)) == 1
    assert sum(m["channel"] == "CDATAWEEKLY" for m in seen.slack.messages) == 1
