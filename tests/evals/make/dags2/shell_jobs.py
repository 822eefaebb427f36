"""Tasks that start other programs."""

# ruff: noqa: E501 - commands and statements stand on one line, as their logs do

from datetime import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}
HOME = "$AIRFLOW_HOME"
SPARK = "$SPARK_HOME/bin/spark-submit --master 'local[1]' --conf spark.ui.enabled=false"

COMMANDS = {
    ("dbt_marts", "run_marts"): f"cd {HOME}/dbt && $DBT --no-use-colors run --profiles-dir . --select fct_orders",
    ("dbt_quality", "test_marts"): f"cd {HOME}/dbt && $DBT --no-use-colors build --profiles-dir . --select stg_orders",
    ("dbt_ci_target", "run_staging"): f"cd {HOME}/dbt && $DBT --no-use-colors run --profiles-dir . --target prod",
    ("dbt_ref", "compile_all"): f"cd {HOME}/dbt && $DBT --no-use-colors compile --profiles-dir . --vars 'broken: true'",
    (
        "dbt_login",
        "run_login",
    ): f"cd {HOME}/dbt && $DBT --no-use-colors run --profiles-dir . --target badpw --select stg_orders",
    ("spark_missing_path", "aggregate_events"): f"{SPARK} {HOME}/include/jobs/missing_path.py",
    ("spark_column", "select_margin"): f"{SPARK} {HOME}/include/jobs/unknown_column.py",
    ("spark_udf", "normalise_names"): f"{SPARK} {HOME}/include/jobs/udf.py",
    ("spark_heap", "collect_profiles"): f"{SPARK} --driver-memory 512m {HOME}/include/jobs/heap.py",
    ("spark_small_driver", "start_driver"): f"{SPARK} --driver-memory 400m {HOME}/include/jobs/heap.py",
    ("spark_spill", "sort_profiles"): f"{SPARK} --conf spark.local.dir=$FULL_DISK {HOME}/include/jobs/spill.py",
    (
        "azure_sync",
        "sync_blobs",
    ): "set -e; echo syncing container raw; azcopy sync https://acmeraw.blob.core.windows.net/raw?sig=FAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfake%3D /tmp/raw",
    ("private_wheel", "install_models"): "pip install --no-index --disable-pip-version-check acme-ml-models==4.2.0",
    (
        "sort_big",
        "sort_ledger",
    ): "seq 1 400000 | sed 's/$/ ledger row with some payload/' | sort -R -T $FULL_DISK -S 200k > /dev/null && echo sorted",
    (
        "simulate_port",
        "simulate",
    ): f"echo $$ > $SMALL_CGROUP/cgroup.procs; python3 {HOME}/include/jobs/simulate.py; exit $?",
    (
        "slow_report",
        "render_report",
    ): "for i in 1 2 3 4 5 6 7 8 9; do echo rendering page $i; sleep 1; done & timeout 3 tail --pid=$! -f /dev/null",
    ("silent_script", "run_script"): "true; false",
    ("report_syntax", "build_report"): f"python3 {HOME}/include/jobs/report_syntax.broken",
    (
        "freeze_guard",
        "check_freeze",
    ): "echo 'change freeze 2026-11-20 .. 2026-11-24 is active (CHG-8812): refusing to deploy models, this is intended'; exit 3",
    (
        "ssh_copy",
        "push_extract",
    ): "echo 'Host key verification'; ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=3 -p 1 etl@127.0.0.1 'ls /in' ; exit 255",
    (
        "dig_partner",
        "fetch_partner",
    ): "curl -sS --max-time 5 -u etl:F4ke-Curl-Pw-2026 https://sftp-gw.partner.invalid/drop/2026-11-21.csv -o /tmp/x.csv",
    (
        "gz_broken",
        "unpack_dump",
    ): "head -c 4000 /dev/urandom > $LANDING/dump.sql.gz && gunzip -c $LANDING/dump.sql.gz | head -1; exit ${PIPESTATUS[0]}",
}

for (dag_id, task_id), command in COMMANDS.items():
    with DAG(dag_id, **DAILY):
        BashOperator(task_id=task_id, bash_command=command, append_env=True)
