"""A real Airflow with failed runs in it and a real Chromium, for the tests of the view."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser, sync_playwright

from tests.airflow_host import ROOT, AirflowHost, create_database

DAGS = """
import datetime

from airflow import DAG

try:
    from airflow.sdk import task
except ImportError:
    from airflow.decorators import task

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

with DAG("shop", schedule=None, start_date=START):

    @task
    def extract():
        raise KeyError("customer_id <img src=x onerror=document.title='owned'>")

    @task
    def load(_):
        pass

    @task
    def chunk(number):
        if number != 1:
            raise FileNotFoundError(2, "No such file or directory", f"/data/part-{number}.csv")

    load(extract())
    chunk.expand(number=[0, 1, 2])

with DAG("payroll", schedule=None, start_date=START):

    @task
    def pay():
        raise ConnectionError("bank.internal refused the connection")

    pay()
"""
RUN = "manual__view"
RUNS = ("shop", "payroll")
FINAL_STATES = {"success", "failed", "upstream_failed"}


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def environment_of(major: int) -> Path:
    """The environment with that Airflow and our wheel; DE_AGENT_TEST_AIRFLOW<major> names another one."""
    return Path(os.environ.get(f"DE_AGENT_TEST_AIRFLOW{major}", ROOT / ".venv" / f"airflow{major}"))


@contextlib.contextmanager
def failed_airflow(
    major: int,
    directory: Path,
    postgres: str,
    extra: Mapping[str, str],
    server: Callable[[AirflowHost], None] = lambda _: None,
) -> Iterator[AirflowHost]:
    """An Airflow of that major whose two DAGs have failed; `server` starts what shows them, where `start` does not."""
    dags = directory / "dags"
    dags.mkdir(parents=True)
    (dags / "shop.py").write_text(DAGS)
    database = create_database(postgres, f"view{major}")
    more = {"AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"), **extra}
    host = AirflowHost(environment_of(major), directory / "home", dags, database, extra=more)
    try:
        host.start()
        server(host)
        for dag_id in RUNS:
            trigger(host, dag_id)
        wait_until(lambda: {"extract", "chunk", "pay"} <= {d["task_id"] for d in host.diagnoses()}, 120)
        # A callback runs before Airflow has written down how the task ended.
        wait_until(lambda: {state for dag_id in RUNS for state, _ in host.task_states(dag_id)} <= FINAL_STATES, 120)
        yield host
    finally:
        host.stop()


def trigger(host: AirflowHost, dag_id: str) -> None:
    """Start a run once the DAG is known."""

    def triggered() -> bool:
        try:
            host.airflow("dags", "trigger", "--run-id", RUN, dag_id, timeout=180)
        except RuntimeError:
            return False
        return True

    wait_until(triggered, 90)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.5)


def call(url: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """One request, redirects not followed."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=30) as answer:
            return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode())
    except urllib.error.HTTPError as refused:
        return Answer(refused.code, {k.lower(): v for k, v in refused.headers.items()}, refused.read().decode())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def query(**values: Any) -> str:
    return urllib.parse.urlencode({"run_id": RUN, **values})


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine, headless."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "install Chromium (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
