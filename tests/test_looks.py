"""What a drainer takes from the spool: deeper looks within the deadline, and no secret in any field of a failure."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent import bootstrap, cli, drainer
from airflow_de_agent import intake as intake_module
from airflow_de_agent.adapters import slack as slack_adapter
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core import delivery
from airflow_de_agent.core.bundle import Bundle
from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.failure import CapturedException, Frame, TaskFailure
from airflow_de_agent.core.failure_text import IDENTITY
from airflow_de_agent.intake import AT_ONCE, NOT_LOOKED, Intake
from airflow_de_agent.investigation import Found, Investigation
from airflow_de_agent.spool import Spool
from tests import slack_server
from tests.test_spool import Desk, desk, failure

__all__ = ["desk"]

CAUSES = ("the table is gone", "no such bucket", "disk full", "connection refused")


class Looks:
    """An investigation that takes its time; `made` holds when each began, until when it may go on, and of what."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.made: list[tuple[float, float, TaskFailure]] = []
        self.most = self._now = 0
        self._lock = threading.Lock()

    def __call__(self, failure: TaskFailure, *, seconds: float) -> Found:
        with self._lock:
            self.made.append((time.time(), time.time() + seconds, failure))
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
        diagnosis = Diagnosis(Category.CODE_ERROR, "the model's words", engine="gemini")
        return Found(diagnosis, Bundle(failure, (), diagnosis), "mark")


def intake(desk: Desk, look: object, deadline: float) -> Intake:
    parts = bootstrap.Parts(desk.settings, desk.handover["connections"])  # type: ignore[arg-type]
    return Intake(desk.spool, parts.agent(), look, 0.0, deadline)  # type: ignore[arg-type]


def work_off(desk: Desk, work: Intake) -> None:
    desk.wait(lambda: not work.work() and not work.busy and not desk.spool.pending())


def stored(desk: Desk) -> dict[int, Diagnosis]:
    records = SqlStore(desk.settings.store_url).recent(limit=100)
    return {record.failure.key.map_index: record.diagnosis for record in records}


def test_in_a_storm_every_failure_has_its_answer_by_the_deadline(desk: Desk) -> None:
    """Two are looked at at once, none beyond its deadline; those that wait too long say that they were not."""
    captured = time.time()
    desk.put(*(failure(n, cause) for n, cause in enumerate(CAUSES)))
    looks = Looks(2.6)
    work_off(desk, intake(desk, looks, 3.0))
    assert looks.most == AT_ONCE
    assert all(until <= captured + 3.5 for _, until, _ in looks.made)
    told = stored(desk)
    deep = {n for n, diagnosis in told.items() if diagnosis.engine == "gemini"}
    assert deep == {look[2].key.map_index for look in looks.made}
    assert 2 <= len(deep) < len(CAUSES)
    assert {n for n, diagnosis in told.items() if NOT_LOOKED in diagnosis.evidence_gaps} == told.keys() - deep
    assert len(told) == len(CAUSES)


@pytest.mark.parametrize("asked", [True, False])
def test_a_drainer_killed_before_its_entry_left_costs_no_look(desk: Desk, asked: bool) -> None:
    """Killed after the first answer, before or after it asked for a deeper look: there is one look all the same."""

    class Killed(BaseException):
        pass

    class Dying(Spool):
        def put(self, kind: str, payload: Mapping[str, Any], *, since: float | None = None) -> Path:
            if asked:
                super().put(kind, payload, since=since)
            raise Killed

    desk.put(failure())
    looks = Looks(0.0)
    dying = intake(desk, looks, 30.0)
    dying.spool = Dying(desk.spool.directory)
    with pytest.raises(Killed):
        dying.work()
    assert stored(desk)[0].engine == "rules"
    work_off(desk, intake(desk, looks, 30.0))
    assert (len(looks.made), stored(desk)[0].engine) == (1, "gemini")


class Blinking:
    """A store that is away for one call, before or after it is done."""

    def __init__(self, store: SqlStore, away_at: int, done: bool) -> None:
        self._store, self._left, self._done = store, away_at, done

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def called(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._done:
                raise StoreError("the store is away")
            answer = call(*given, **named)
            if self._left == 0:
                raise StoreError("the store is away")
            return answer

        return called


@pytest.mark.parametrize("done", [False, True])
def test_a_store_that_blinks_costs_neither_a_message_nor_a_look(
    tmp_path: Path, slack: slack_server.SlackServer, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """Wherever it goes away while two failures of one cause are told of, there is one message and one look."""
    paces = (intake_module, "RETRY_SECONDS"), (intake_module, "DELIVER_SECONDS"), (delivery, "EDIT_SECONDS")
    for module, name in (*paces, (slack_adapter, "PACE_SECONDS")):
        monkeypatch.setattr(module, name, 0.01)
    for away_at in range(1, 26):
        slack.written.clear()
        desk = Desk(tmp_path / str(away_at), slack)
        desk.put(failure(0), failure(1))
        looks = Looks(0.0)
        work = intake(desk, looks, 30.0)
        store: Any = Blinking(SqlStore(desk.settings.store_url), away_at, done)
        work.agent.open_store = lambda store=store: store
        work_off(desk, work)
        desk.wait(lambda work=work: not work.work() and len(slack.messages) > 0)
        assert (away_at, len(slack.messages), len(looks.made), desk.keys()) == (away_at, 1, 1, [0, 1])


def test_entries_that_vanish_do_not_end_a_round(desk: Desk) -> None:
    """Somebody cleans the directory while the drainer works; what is left is worked on."""
    desk.put(*(failure(n, CAUSES[n]) for n in range(3)))
    work = intake(desk, None, 30.0)
    handle, second = work.agent.handle, desk.spool.pending()[1]

    def handled(one: TaskFailure, **how: Any) -> Any:
        second.path.unlink(missing_ok=True)
        return handle(one, **how)

    work.agent.handle = handled  # type: ignore[method-assign]
    work_off(desk, work)
    assert desk.keys() == [0, 2]


def test_what_a_dead_drainer_left_is_looked_at_all_the_same(desk: Desk) -> None:
    """After an outage a late look is better than none: the deadline counts anew."""
    desk.spool.put("task", {"failure": failure().to_json()}, since=time.time() - 3600)
    looks = Looks(0.0)
    work_off(desk, intake(desk, looks, 4.0))
    [(began, until, _)] = looks.made
    assert 1.0 < until - began <= 4.0
    assert stored(desk)[0].engine == "gemini"


def test_a_look_reads_the_log_once(desk: Desk, tmp_path: Path) -> None:
    """One look opens the log one time, however many sources it asks."""
    opened = []
    log = tmp_path / "attempt=1.log"
    log.write_text("ERROR - RuntimeError: the table is gone\n")

    def read_log(failure: TaskFailure) -> object:
        opened.append(failure.log_path)
        return bootstrap.read_log(failure)

    look = Investigation(read_log, None, None)  # type: ignore[arg-type]
    look(failure(log_path=str(log)), seconds=5.0)
    assert opened == [str(log)]


def test_a_richer_entry_leaves_the_models_words_until_the_next_look(desk: Desk) -> None:
    """What the model said of a try does not give way to the rules while it is looked at again."""
    said = threading.Event()
    slow = Looks(0.0)
    work = intake(desk, slow, 5.0)
    desk.put(failure(source="dag_processor"))
    work_off(desk, work)

    def held(failure: TaskFailure, *, seconds: float) -> Found:
        said.wait(10)
        return slow(failure, seconds=seconds)

    work.investigation = held  # type: ignore[assignment]
    desk.put(failure(source="task"))
    desk.wait(lambda: work.work() or work.busy)
    record = SqlStore(desk.settings.store_url).find(failure().key)
    said.set()
    assert record is not None
    assert (record.failure.source, record.diagnosis.engine) == ("task", "gemini")
    work_off(desk, work)
    assert len(slow.made) == 2


def test_a_runs_entry_whose_store_fails_after_its_post_posts_once(desk: Desk, tmp_path: Path) -> None:
    """The message is noted in the entry, so that the next drainer takes it over."""
    blocked = tmp_path / "no"
    blocked.write_text("a file where a directory is wanted")
    real = desk.settings
    away = type(real).from_json(real.to_json() | {"store_url": f"sqlite:///{blocked}/d.db"})
    each = [failure(n, source="run").to_json() for n in range(2)]
    desk.spool.put("run", {"failures": each}, since=time.time() - 60)
    desk.settings = away
    intake(desk, None, 5.0).work()
    assert len(desk.slack.messages) == 1
    desk.settings = real
    work_off(desk, intake(desk, None, 5.0))
    assert desk.keys() == [0, 1]
    assert len(desk.slack.messages) == 1


def test_a_drainer_that_dies_in_its_first_round_is_not_started_for_ever(desk: Desk) -> None:
    """A start counts as good only when a round went well."""
    desk.put(failure())
    (desk.spool.directory / "rejected").write_text("a file where a directory is wanted")
    (desk.spool.directory / "foreign").write_text("to be set aside")
    assert desk.start() == "started"
    desk.wait(lambda: desk.drainers() == [] and "FileExistsError" in desk.log())
    desk.wait(lambda: desk.start() != "running")
    assert drainer.ensure_running(desk.spool, lambda: desk.handover) == "backing off"
    (desk.spool.directory / "foreign").unlink()
    desk.start_anew()
    desk.wait(lambda: desk.keys() == [0])
    desk.wait(lambda: not (desk.spool.directory / ".starting").exists())


def test_a_second_drainer_cannot_start_beside_the_first(desk: Desk) -> None:
    """Whether or not the mark of its start is there, the lock that travelled with it keeps others away."""
    desk.put(failure())
    assert desk.start() == "started"
    for _ in range(20):
        (desk.spool.directory / ".starting").unlink(missing_ok=True)
        assert desk.start() == "running"
        time.sleep(0.05)
    assert len(desk.drainers()) == 1


def hunter(name: str) -> str:
    return f"{name} postgres://etl:hunter2-in-{name}@db/x"


def planted() -> TaskFailure:
    """A failure with a secret in each of its texts."""
    texts = {f.name: hunter(f.name) for f in dataclasses.fields(TaskFailure) if isinstance(f.default, str)}
    plain = failure()
    link = CapturedException("E", hunter("message"), (Frame(hunter("file"), 1, hunter("function"), hunter("code")),))
    lists = {name: (hunter(name),) for name in ("tags", "upstream_task_ids", "downstream_task_ids")}
    key = plain.key._replace(run_id="manual__password=hunter2-in-run")
    values = (
        texts
        | lists
        | {"fields": {"password": "hunter2", "x": hunter("x"), hunter("field"): ""}, "exceptions": (link,)}
    )
    return TaskFailure(key, "task", **values)  # type: ignore[arg-type]


def test_no_field_of_a_failure_carries_a_secret_out(desk: Desk) -> None:
    """Store, Slack, drainer's log and prompt: a secret in any text of a failure reaches none of them."""
    given = dataclasses.replace(planted(), failed_at="2026-11-22T03:00:00+00:00", slack_channel="", state="failed")
    desk.spool.put("task", {"failure": given.to_json()})
    seen: list[TaskFailure] = []

    def look(failure: TaskFailure, *, seconds: float) -> Found:
        seen.append(failure)
        return Looks(0.0)(failure, seconds=seconds)

    work_off(desk, intake(desk, look, 5.0))
    prompt = Investigation(bootstrap.read_log, None, None).prompt(seen[0], seconds=5.0)
    assert "hunter2" not in prompt.text
    assert "hunter2" not in json.dumps(desk.slack.messages)
    assert desk.slack.messages
    record = SqlStore(desk.settings.store_url).find(given.key)
    assert record is not None
    assert "hunter2" not in json.dumps(record.diagnosis.to_json())
    kept = {name: value for name, value in record.failure.to_json().items() if name not in IDENTITY}
    assert "hunter2" not in json.dumps(kept)
    assert "hunter2" not in json.dumps(cli.as_json(record))
    assert re.fullmatch(r"owner postgres://etl:\[REDACTED:password#\d+\]@db/x", kept["owner"])
