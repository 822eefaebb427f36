"""The queue of failures and the process that works on it, with real files, locks and processes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from airflow_de_agent import drainer
from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core.failure import CapturedException, TaskFailure, TaskKey
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool
from tests import slack_server
from tests.airflow_host import processes


def failure(number: int = 0, message: str = "the table is gone", **more: object) -> TaskFailure:
    key = TaskKey("sales", "r1", "load", number, 1)
    error = CapturedException("RuntimeError", message)
    source = str(more.pop("source", "task"))
    return TaskFailure(key, source, "2026-11-22T03:00:00+00:00", exceptions=(error,), **more)  # type: ignore[arg-type]


class Desk:
    """A spool with everything around it: settings, store, Slack."""

    def __init__(self, home: Path, slack: slack_server.SlackServer) -> None:
        self.slack = slack
        self.settings = Settings(
            spool_dir=str(home / "spool"),
            store_url=f"sqlite:///{home / 'd.db'}",
            slack_channel="#oncall",
            slack_base_url=slack.url,
            idle_seconds=2,
        )
        self.spool = Spool(home / "spool")

    @property
    def handover(self) -> dict[str, object]:
        return {
            "settings": self.settings.to_json(),
            "connections": {"slack": {"password": slack_server.TOKEN, "extra": {}}},
        }

    def put(self, *failures: TaskFailure) -> None:
        for one in failures:
            self.spool.put("task", {"failure": one.to_json()})

    def start(self) -> str:
        return drainer.ensure_running(self.spool, lambda: self.handover)

    def start_anew(self) -> None:
        """Start a drainer after one was killed; the lock of a dying process is held a moment longer than it is seen."""
        (self.spool.directory / ".starting").unlink(missing_ok=True)
        self.wait(lambda: self.start() == "started")

    def drainers(self) -> list[int]:
        """The processes at work on this spool; the shell that starts one names it too, and is none."""
        wanted = {"airflow_de_agent.drainer", str(self.spool.directory)}
        return [pid for pid, words in processes() if wanted <= set(words) and words[0] != "/bin/sh"]

    def keys(self) -> list[int]:
        return sorted(r.failure.key.map_index for r in SqlStore(self.settings.store_url).recent(limit=5000))

    def wait(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"waited in vain; log: {self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        path = self.spool.directory / "drainer.log"
        return path.read_text()[-3000:] if path.exists() else "(none)"


@pytest.fixture
def desk(tmp_path: Path, slack: slack_server.SlackServer) -> Iterator[Desk]:
    desk = Desk(tmp_path, slack)
    yield desk
    for pid in desk.drainers():
        os.kill(pid, signal.SIGKILL)


def test_entries_come_out_in_order(tmp_path: Path) -> None:
    """What was put first is taken first, and nothing is lost or invented."""
    spool = Spool(tmp_path)
    for n in range(20):
        spool.put("task", {"n": n})
    assert [spool.read(entry)["n"] for entry in spool.pending()] == list(range(20))


def test_an_entry_is_private(tmp_path: Path) -> None:
    """Only the owner may read the spool."""
    path = Spool(tmp_path / "spool").put("task", {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_foreign_file_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    """A file that is not an entry does not stop the rest."""
    spool = Spool(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    spool.put("task", {"n": 1})
    assert len(spool.pending()) == 1
    assert spool.rejected() == [("notes.txt", "not an entry of this spool")]
    assert (tmp_path / "rejected" / "notes.txt").read_text() == "hello"


def test_an_entry_that_kills_two_drainers_is_set_aside(tmp_path: Path) -> None:
    """A poisonous entry is tried twice and then left to a person."""
    spool = Spool(tmp_path)
    spool.put("task", {})
    for _ in range(2):
        assert spool.begin(spool.pending()[0]) is not None  # and the drainer dies
    assert spool.begin(spool.pending()[0]) is None
    assert spool.pending() == []
    assert "died 2 times" in spool.rejected()[0][1]


def test_a_postponed_entry_keeps_its_attempts(tmp_path: Path) -> None:
    """Waiting for its time is not held against an entry."""
    spool = Spool(tmp_path)
    spool.put("task", {})
    for _ in range(5):
        begun = spool.begin(spool.pending()[0])
        assert begun is not None
        spool.postpone(begun)
    assert spool.pending()[0].attempts == 0


def test_a_failure_is_diagnosed_by_a_process_of_its_own(desk: Desk) -> None:
    """The whole path: put, started, diagnosed, stored, told, and gone when idle."""
    desk.put(failure())
    assert desk.start() == "started"
    desk.wait(lambda: desk.slack.texts() != [])
    assert "the table is gone" in desk.slack.texts()[0]
    assert desk.keys() == [0]
    desk.wait(lambda: desk.drainers() == [])
    assert desk.spool.pending() == []


def test_the_drainer_is_nobodys_child_and_holds_nothing(desk: Desk) -> None:
    """It is orphaned, leads its own session's group or a child of it, and has no descriptor of ours open."""
    with (desk.spool.directory.parent / "held").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        desk.put(failure())
        desk.start()
        desk.wait(lambda: len(desk.drainers()) == 1)
        pid = desk.drainers()[0]
        desk.wait(lambda: desk.slack.texts() != [])
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"PPid:\t{os.getpid()}\n" not in status
        assert os.getsid(pid) != os.getsid(0)
        targets = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        assert str(Path(held.name)) not in targets


def test_secrets_reach_the_drainer_on_standard_input_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is in no argument, no environment variable and no file."""
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", slack_server.TOKEN)
    desk.put(failure())
    desk.start()
    desk.wait(lambda: desk.slack.texts() != [])
    pid = desk.drainers()[0]
    token = slack_server.TOKEN.encode()
    assert token not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert token not in Path(f"/proc/{pid}/environ").read_bytes()
    files = [path for path in desk.spool.directory.parent.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not [path for path in files if token in path.read_bytes()]


def test_a_killed_drainer_is_followed_by_one_that_finishes(desk: Desk) -> None:
    """However often it is killed, every entry is diagnosed once and the incident has one message."""
    desk.put(*(failure(n) for n in range(150)))
    for _ in range(4):
        before = len(desk.keys())
        desk.start_anew()
        desk.wait(lambda before=before: len(desk.keys()) > before + 1)  # else one entry would seem to kill it twice
        for pid in desk.drainers():
            os.kill(pid, signal.SIGKILL)
        desk.wait(lambda: desk.drainers() == [])
    desk.start_anew()
    desk.wait(lambda: desk.keys() == list(range(150)))
    desk.wait(lambda: "149 more" in (desk.slack.texts() or [""])[0])
    assert len(desk.slack.messages) == 1
    assert desk.spool.rejected() == []


@pytest.mark.parametrize("written", ["message", "reply"])
def test_a_drainer_killed_between_writing_and_noting_does_not_write_again(desk: Desk, written: str) -> None:
    """What reached Slack but not the store is found again and taken over, the message as well as its details."""
    killed: list[int] = []

    def kill(method: str, arguments: dict[str, object]) -> None:
        if method == "chat.postMessage" and ("thread_ts" in arguments) == (written == "reply") and not killed:
            killed.extend(desk.drainers())
            os.kill(killed[0], signal.SIGKILL)

    def reached() -> bool:
        return len(desk.slack.messages if written == "message" else desk.slack.replies) == 1

    desk.slack.refuse = kill
    desk.put(failure())
    desk.start()
    desk.wait(lambda: reached() and killed[0] not in desk.drainers())
    assert SqlStore(desk.settings.store_url).undelivered() != []
    desk.put(failure(1))
    desk.start_anew()
    desk.wait(lambda: desk.keys() == [0, 1] and SqlStore(desk.settings.store_url).undelivered() == [])
    desk.wait(lambda: "1 more" in desk.slack.texts()[0])
    assert (len(desk.slack.messages), len(desk.slack.replies)) == (1, 1)


def test_two_captures_of_one_try_are_one_diagnosis(desk: Desk) -> None:
    """Airflow delivers some callbacks twice."""
    desk.put(failure(), failure())
    desk.start()
    desk.wait(lambda: desk.spool.pending() == [] and desk.slack.texts() != [])
    assert desk.keys() == [0]
    assert len(desk.slack.messages) == 1


def test_the_states_of_a_run_reach_each_of_its_failures(desk: Desk) -> None:
    """A run's entry holds them once."""
    states = [{"task_id": "load", "state": "failed", "map_index": n} for n in range(2)]
    failures = [failure(n, source="run").to_json() for n in range(2)]
    desk.spool.put("run", {"run_state": states, "failures": failures})
    desk.start()
    desk.wait(lambda: desk.keys() == [0, 1])
    for record in SqlStore(desk.settings.store_url).recent():
        assert [state.map_index for state in record.failure.run_state] == [0, 1]


def test_a_truncated_entry_is_set_aside_and_the_rest_goes_on(desk: Desk) -> None:
    """Half a file names its fault; the failure behind it is diagnosed."""
    path = desk.spool.put("task", {"failure": failure(1).to_json()})
    path.write_text(path.read_text()[:50])
    desk.put(failure(2))
    desk.start()
    desk.wait(lambda: desk.keys() == [2])
    assert "cannot be read" in desk.spool.rejected()[0][1]


def test_a_store_out_of_reach_does_not_silence_us(desk: Desk, tmp_path: Path) -> None:
    """The message goes out, the entry stays, and when the store is back it is kept without a second message."""
    blocked = tmp_path / "no"
    blocked.write_text("a file where a directory is wanted")
    real = desk.settings
    desk.settings = Settings.from_json(real.to_json() | {"store_url": f"sqlite:///{blocked}/d.db"})
    desk.put(failure(0), failure(1))
    desk.start()
    desk.wait(lambda: desk.slack.texts() != [])
    desk.wait(lambda: "posted" in desk.spool.pending()[0].path.read_text())
    assert len(desk.spool.pending()) == 2
    for pid in desk.drainers():
        os.kill(pid, signal.SIGTERM)
    desk.wait(lambda: desk.drainers() == [])
    desk.settings = real
    desk.start_anew()
    desk.wait(lambda: desk.keys() == [0, 1])
    desk.wait(lambda: len(desk.slack.messages) == 1 and "1 more" in desk.slack.texts()[0])


@pytest.mark.parametrize("url", ["dynamodb:/no-table", "postgresql://u:p@h:port/d", "mysql+pymysql://u@h/d"])
def test_a_store_url_that_is_wrong_does_not_silence_us(desk: Desk, url: str) -> None:
    """The message goes out and the entry stays, as where the store is out of reach."""
    desk.settings = Settings.from_json(desk.settings.to_json() | {"store_url": url})
    desk.put(failure())
    desk.start()
    desk.wait(lambda: desk.slack.texts() != [])
    desk.wait(lambda: "posted" in desk.spool.pending()[0].path.read_text())
    assert len(desk.drainers()) == 1


def test_an_incident_that_cannot_be_read_does_not_end_the_drainer(desk: Desk) -> None:
    """What a newer version kept is left to it, and new failures are told of."""
    later = {"status": 429, "headers": {"Retry-After": "1"}, "error": "ratelimited"}
    desk.slack.refuse = lambda method, arguments: dict(later)
    desk.put(failure())
    desk.start()
    desk.wait(lambda: "ratelimited" in desk.log())
    with create_engine(desk.settings.store_url).begin() as db:
        db.execute(text("""UPDATE de_agent_diagnoses SET diagnosis = '{"category": "of_tomorrow"}'"""))
    desk.slack.refuse = lambda method, arguments: None
    desk.wait(lambda: "brought up to date" in desk.log())
    pids = desk.drainers()
    desk.spool.put("task", {"failure": failure(1, "quite another thing").to_json()})
    desk.start()
    desk.wait(lambda: "quite another thing" in " ".join(desk.slack.texts()))
    assert desk.drainers() == pids


def test_a_drainer_that_dies_at_its_start_is_not_started_for_ever(desk: Desk) -> None:
    """Broken starts are spaced out, the entry stays, and the error file tells why."""
    broken = {"connections": {}}
    desk.put(failure())
    assert drainer.ensure_running(desk.spool, lambda: broken) == "started"
    desk.wait(lambda: desk.drainers() == [] and "Traceback" in desk.log())
    desk.wait(lambda: drainer.ensure_running(desk.spool, lambda: broken) == "backing off")
    assert len(desk.spool.pending()) == 1


def test_an_inline_drain_that_fails_gives_the_lock_back(desk: Desk) -> None:
    """A server that drains inline lives on after an error; others must be able to drain."""
    with pytest.raises(KeyError):
        drainer.drain_here(desk.spool, {"connections": {}})
    lock = desk.spool.take_lock()
    assert lock is not None

    class Broken:
        idle_seconds, busy, tired = 0.0, False, False

        def work(self) -> bool:
            raise RuntimeError("broken")

        def has_news(self) -> bool:
            return False

    with pytest.raises(RuntimeError):
        drainer.drain(desk.spool, Broken(), lock)
    lock = desk.spool.take_lock()
    assert lock is not None
    os.close(lock)


def test_no_entry_is_left_behind_at_the_idle_exit(desk: Desk) -> None:
    """Entries that come at the moment the drainer leaves are worked on, by it or by the next."""
    desk.settings = Settings.from_json(desk.settings.to_json() | {"idle_seconds": 1})
    for n in range(12):
        desk.put(failure(n))
        desk.start()
        time.sleep(1.0 + n * 0.05)
    desk.wait(lambda: desk.keys() == list(range(12)))


def test_many_processes_start_one_drainer(desk: Desk) -> None:
    """Thirty processes that capture at once end with one drainer and all diagnoses."""
    script = (
        "import sys,json;from pathlib import Path;from airflow_de_agent import drainer;"
        "from airflow_de_agent.spool import Spool;h=json.loads(sys.argv[2]);s=Spool(Path(sys.argv[1]));"
        "s.put('task',{'failure':json.loads(sys.argv[3])});drainer.ensure_running(s,lambda:h)"
    )
    arguments = [sys.executable, "-c", script, str(desk.spool.directory), json.dumps(desk.handover)]
    most = 0
    started = [subprocess.Popen([*arguments, json.dumps(failure(n).to_json())]) for n in range(30)]
    until = time.monotonic() + 90
    while time.monotonic() < until and desk.keys() != list(range(30)):
        most = max(most, len(desk.drainers()))
        time.sleep(0.02)
    assert [process.wait() for process in started] == [0] * 30
    assert desk.keys() == list(range(30))
    assert most == 1


def test_slack_refusals_are_outlived(desk: Desk) -> None:
    """A rate limit delays the message, it does not lose it."""
    refusals = [{"status": 429, "headers": {"Retry-After": "1"}, "error": "ratelimited"} for _ in range(2)]
    desk.slack.refuse = lambda method, arguments: refusals.pop() if refusals else None
    desk.put(failure())
    desk.start()
    desk.wait(lambda: len(desk.slack.messages) == 1)


def test_log_text_neither_pings_nor_links(desk: Desk) -> None:
    """What a log says of channels and links is shown as text."""
    desk.put(failure(message="<!channel> see <https://evil.example|the runbook> & run"))
    desk.start()
    desk.wait(lambda: desk.slack.texts() != [])
    blocks = json.dumps(desk.slack.messages[0]["blocks"])
    assert "<!channel>" not in blocks
    assert "<https" not in blocks


def test_refused_blocks_are_told_in_text(desk: Desk) -> None:
    """What Slack does not take as blocks is posted as text, never lost."""

    def refuse(method: str, arguments: dict[str, object]) -> dict[str, object] | None:
        return {"error": "invalid_blocks"} if arguments.get("blocks") else None

    desk.slack.refuse = refuse
    desk.put(failure())
    desk.start()
    desk.wait(lambda: desk.slack.texts() != [])
    assert "the table is gone" in desk.slack.texts()[0]
