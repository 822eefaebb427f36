"""When an incident is over, and the report of the week: on real stores, with Airflow's answers as plain rows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_de_agent import weekly
from airflow_de_agent.adapters.console import Console
from airflow_de_agent.adapters.slack import Slack
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.aws.mwaa_instances import MwaaInstances
from airflow_de_agent.aws.mwaa_rest import MwaaRest
from airflow_de_agent.core.errors import HostError, SlackError
from airflow_de_agent.core.failure import TaskKey
from airflow_de_agent.core.incident import Joined
from airflow_de_agent.core.moment import moment
from airflow_de_agent.core.recovery import Seen, close_recovered, recovered_at
from tests import airflow_host, aws_servers, slack_server
from tests.store_contract import HOUR, NOW, key, record

aws, mwaa = aws_servers.aws, aws_servers.mwaa
DAY = 24 * HOUR


@dataclasses.dataclass
class Rows:
    """A host by its task instances of the DAG ``sales``."""

    rows: list[Seen]

    def of_runs(self, dag_id: str, run_ids: Collection[str], task_ids: Collection[str]) -> Iterable[Seen]:
        return [row for row in self.rows if row.run_id in run_ids and row.task_id in task_ids]

    def successes(self, dag_id: str, task_ids: Collection[str], since: float) -> Iterable[Seen]:
        ended = [row for row in self.rows if row.end_date is not None and row.end_date >= since]
        return [row for row in ended if row.state == "success" and row.task_id in task_ids]


def seen(run: int, state: str, task_id: str = "load", map_index: int = -1, ended: float | None = None) -> Seen:
    """Run ``rN`` is of day N, and ends an hour after its date where nothing else is said."""
    began = NOW + run * DAY
    return Seen(f"r{run}", task_id, map_index, state, began, began + HOUR if ended is None else ended)


FAILED = Joined(key(), NOW + DAY + HOUR + 5)


@pytest.mark.parametrize(
    ("rows", "is_over"),
    [
        pytest.param([seen(1, "success")], True, id="cleared"),
        pytest.param([seen(1, "failed"), seen(2, "success")], True, id="later run"),
        pytest.param([seen(1, "running"), seen(2, "success")], True, id="cleared and running, later run"),
        pytest.param([seen(1, "failed")], False, id="still failed"),
        pytest.param([seen(1, "running")], False, id="cleared and running"),
        pytest.param([seen(1, "skipped")], False, id="skipped"),
        pytest.param([seen(1, "removed")], False, id="removed"),
        pytest.param([], False, id="forgotten by Airflow"),
        pytest.param([seen(1, "failed"), seen(0, "success", ended=NOW + 9 * DAY)], False, id="backfill of before"),
        pytest.param([seen(1, "failed"), seen(2, "success", ended=NOW)], False, id="later run, ended before"),
        pytest.param([seen(1, "failed"), seen(2, "skipped")], False, id="later run skipped"),
        pytest.param([seen(1, "failed"), seen(2, "success", map_index=0)], False, id="another map index"),
        pytest.param([seen(1, "failed"), seen(2, "success", task_id="check")], False, id="another task"),
    ],
)
def test_what_a_recovery_is(rows: list[Seen], is_over: bool) -> None:
    """The task instance itself succeeds, or a later run's after the failure; skipping is no success."""
    assert (recovered_at([FAILED], Rows(rows)) is not None) is is_over


def test_all_must_have_recovered() -> None:
    """One task instance of many that still fails keeps the incident open, in whatever DAG."""
    others = [Joined(key(map_index=n), FAILED.at) for n in range(3)]
    cured = [seen(1, "success", map_index=0), seen(1, "success", map_index=1), seen(1, "failed", map_index=2)]
    assert recovered_at(others, Rows(cured)) is None
    last = seen(2, "success", map_index=2)
    later_still = seen(3, "success", map_index=2)
    assert recovered_at(others, Rows([*cured, last, later_still])) == last.end_date
    assert recovered_at([], Rows([])) is None


def test_a_failure_told_late_is_dated_by_airflow() -> None:
    """The next run succeeded before the sweep found the failure: it is over all the same."""
    found_late = Joined(key(), NOW + 3 * DAY)
    assert recovered_at([found_late], Rows([seen(1, "failed"), seen(2, "success")]))


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return SqlStore(f"sqlite:///{tmp_path / 'd.db'}", clock=lambda: NOW)


def test_recovery_is_told_once_and_what_comes_back_is_the_same_incident(store: SqlStore) -> None:
    """Closed by the first of two sweeps; reopened by a failure within the day, and closed again by its cure."""
    opened = store.add(record(key(), at=FAILED.at), window=HOUR)
    host = Rows([seen(1, "failed")])
    assert close_recovered(store, host, FAILED.at + 1) == []
    host.rows.append(seen(2, "success", ended=FAILED.at + 60))
    (closed,) = close_recovered(store, host, FAILED.at + 100)
    assert (closed.id, closed.closed_at) == (opened.id, FAILED.at + 60)  # when it succeeded, not when it was seen
    assert close_recovered(store, host, FAILED.at + 101) == []
    back = store.add(record(key(run_id="r3"), at=FAILED.at + 2 * HOUR), window=HOUR)
    assert (back.id, back.reopened, back.closed_at) == (opened.id, 1, None)
    again = [*host.rows, seen(3, "failed", ended=FAILED.at + 2 * HOUR)]
    assert close_recovered(store, Rows(again), FAILED.at + 3 * HOUR) == []
    cured = [*host.rows, seen(3, "success", ended=FAILED.at + 4 * HOUR)]
    assert [incident.id for incident in close_recovered(store, Rows(cured), FAILED.at + 5 * HOUR)] == [opened.id]


def test_what_was_marked_a_success_by_hand_is_over_when_it_is_seen(store: SqlStore) -> None:
    """Airflow keeps the time of its failure as its end, which would be a recovery before the failure."""
    store.add(record(key(), at=FAILED.at), window=HOUR)
    (closed,) = close_recovered(store, Rows([seen(1, "success")]), FAILED.at + 100)
    assert closed.closed_at == FAILED.at + 100


class Moody(Rows):
    """A host that does not answer of the DAG ``finance``, and counts who asks."""

    asked = 0

    def of_runs(self, dag_id: str, run_ids: Collection[str], task_ids: Collection[str]) -> Iterable[Seen]:
        self.asked += 1
        if dag_id == "finance":
            raise HostError("too much was asked")
        return super().of_runs(dag_id, run_ids, task_ids)


@pytest.mark.parametrize(("silent", "asked", "is_closed"), [(2, 3, True), (9, 4, False)])
def test_an_incident_that_airflow_does_not_answer_of_keeps_no_other_open(
    store: SqlStore, silent: int, asked: int, is_closed: bool
) -> None:
    """What can be looked up is closed; where nothing can be, Airflow is left alone soon."""
    opened = store.add(record(key(), at=FAILED.at), window=HOUR)
    for n in range(silent):
        store.add(record(key(map_index=n)._replace(dag_id="finance"), mark=f"x{n}", at=FAILED.at + n), window=HOUR)
    host = Moody([seen(1, "success")])
    with pytest.raises(HostError, match="too much"):
        close_recovered(store, host, FAILED.at + 100)
    assert (store.incident(opened.id).closed_at is not None) is is_closed  # type: ignore[union-attr]
    assert host.asked == asked


def test_many_sweeps_close_once(postgres: str) -> None:
    """Of eight sweeps at the same moment one tells of each recovery."""
    url = airflow_host.create_database(postgres, "recovery")
    stores = [SqlStore(url) for _ in range(8)]
    for n in range(5):
        stores[0].add(record(key(map_index=n), mark=f"f{n}", at=FAILED.at), window=HOUR)
    host = Rows([seen(1, "success", map_index=n) for n in range(5)])
    with ThreadPoolExecutor(8) as pool:
        closed = list(pool.map(lambda each: close_recovered(each, host, FAILED.at + 60), stores))
    assert sum(map(len, closed)) == 5


def test_a_thousand_mapped_tasks_recover_together(store: SqlStore) -> None:
    """A storm is closed when the last of its task instances has succeeded, not when the newest hundred have."""
    for n in range(1000):
        store.add(record(key(map_index=n), at=FAILED.at), window=HOUR)
    cured = [seen(1, "success", map_index=n) for n in range(1000)]
    assert close_recovered(store, Rows([seen(1, "failed", map_index=0), *cured[1:]]), FAILED.at + 60) == []
    assert [incident.count for incident in close_recovered(store, Rows(cured), FAILED.at + 60)] == [1000]


@pytest.mark.parametrize(("environment", "version"), [("prod-2", "v1"), ("prod-3", "v2")])
def test_airflow_on_mwaa_tells_of_both_kinds_of_recovery(
    environment: str, version: str, aws: aws_servers.AwsServer, mwaa: aws_servers.MwaaApi
) -> None:
    """By the REST API of either major: a later run's success counts, then the task instance's own."""
    rows = mwaa.captured[version]["task_instances"]
    failed = next(row for row in rows if row["state"] == "failed")
    task_key = TaskKey(failed["dag_id"], failed["dag_run_id"], failed["task_id"], failed["map_index"])
    joined = [Joined(task_key, moment(failed["end_date"]) or 0.0)]
    host = MwaaInstances(MwaaRest(aws.client("mwaa"), environment, time.monotonic() + 30))
    assert recovered_at(joined, host) is None
    date = {"v1": "execution_date", "v2": "logical_date"}[version]
    next_day = {"dag_run_id": "next", "state": "success", date: "2026-11-23T03:00:00Z"}
    rows.append(failed | next_day | {"end_date": "2026-11-23T03:01:00.123456Z"})
    assert recovered_at(joined, host)
    rows[-1]["state"] = "skipped"
    assert recovered_at(joined, host) is None
    failed["state"] = "success"
    assert recovered_at(joined, host)
    mwaa.rest_status["/dags/~/dagRuns/~/taskInstances/list"] = 403
    with pytest.raises(HostError, match="Viewer"):
        recovered_at(joined, host)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T14:44:40.479692Z", 1795358680.479692),
        ("2026-11-22T14:44:40+00:00", 1795358680.0),
        ("2026-11-22T14:44:40", 1795358680.0),
        ("", None),
        (None, None),
    ],
)
def test_times_of_both_airflows_are_read(text: str | None, seconds: float | None) -> None:
    """With a zone, with Z, or without either."""
    assert moment(text) == seconds


# --- the report of the week ------------------------------------------------------------------------------------------


@pytest.fixture
def messenger(slack: slack_server.SlackServer) -> Iterator[Slack]:
    yield Slack(slack_server.TOKEN, "#data", slack.url, Console(lambda text: None))


def test_one_report_a_week_however_many_sweeps_run(
    postgres: str, slack: slack_server.SlackServer, messenger: Slack
) -> None:
    """Twelve sweeps in the same second post once; a week later one is posted again."""
    url = airflow_host.create_database(postgres, "weekly")
    stores = [SqlStore(url, clock=lambda: NOW) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        posted = list(pool.map(lambda each: weekly.post(each, lambda: messenger, "#data-weekly", NOW), stores))
    assert posted.count(True) == 1
    assert [m["channel"] for m in slack.messages] == ["CDATAWEEKLY"]
    assert not weekly.post(stores[0], lambda: messenger, "#data-weekly", NOW + 1000)
    assert weekly.post(stores[0], lambda: messenger, "#data-weekly", NOW + 7 * DAY)
    assert len(slack.messages) == 2


def test_a_report_that_slack_refused_is_posted_by_a_later_sweep(
    store: SqlStore, slack: slack_server.SlackServer, messenger: Slack
) -> None:
    """A refusal costs a few minutes, not the week's report."""
    slack.refuse = lambda method, arguments: {"error": "internal_error"}
    with pytest.raises(SlackError):
        weekly.post(store, lambda: messenger, "#data-weekly", NOW)
    slack.refuse = lambda method, arguments: None
    assert not weekly.post(store, lambda: messenger, "#data-weekly", NOW + 60)  # it may still be at work
    assert weekly.post(store, lambda: messenger, "#data-weekly", NOW + 600)
    assert len(slack.messages) == 1


def test_a_sweep_killed_after_posting_is_not_followed_by_a_second_report(
    store: SqlStore, slack: slack_server.SlackServer, messenger: Slack
) -> None:
    """What was posted but not noted is found in the channel by its mark."""

    class Killed(BaseException):
        pass

    def remember(*arguments: object, **options: object) -> None:
        raise Killed

    noting, store.remember = store.remember, remember  # type: ignore[method-assign]
    with pytest.raises(Killed):
        weekly.post(store, lambda: messenger, "#data-weekly", NOW)
    store.remember = noting  # type: ignore[method-assign]
    assert weekly.post(store, lambda: messenger, "#data-weekly", NOW + 600)
    assert len(slack.messages) == 1


def test_no_channel_no_report(store: SqlStore) -> None:
    """Nothing is asked or claimed where the configuration names no channel."""
    assert not weekly.post(store, lambda: pytest.fail("Slack was asked for"), "", NOW)
    assert store.claim(TaskKey("(report)", "x", ""), owner="a", now=time.time(), stale_after=1.0) == "won"
