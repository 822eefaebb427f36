"""Every way in which a task fails, under real schedulers of both majors: one diagnosis each, and Airflow as it was."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
    ("chain", "first", -1, 1),
    ("chain", "report", -1, 1),
    ("not_importable", "never_starts", -1, 1),
}
HOSTS = [(3, "CeleryExecutor"), (3, "LocalExecutor"), (2, "CeleryExecutor"), (2, "LocalExecutor")]


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
