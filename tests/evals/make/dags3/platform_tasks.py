"""Tasks that fail by what Airflow itself does or lacks."""

import logging
import os
import signal
import sys
import threading
import time
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import DAG, Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException

log = logging.getLogger("airflow.task")
DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}


@dag(**DAILY)
def tariff_load():
    @task
    def read_tariffs():
        region = Variable.get("tariff_region_map", deserialize_json=True)
        return region["eu"]

    read_tariffs()


with DAG("partition_swap", **DAILY):
    BashOperator(task_id="swap", bash_command="echo swapping {{ params.table }} to {{ params.target_schema.upper() }}")

with DAG("bank_statement_load", **DAILY):
    FileSensor(
        task_id="wait_for_statement", filepath="/data/landing/bank/statement_20261121.mt940", poke_interval=1, timeout=4
    )


@dag(**DAILY)
def similarity_search():
    @task(execution_timeout=timedelta(seconds=3))
    def match_products():
        for batch in range(1, 400):
            log.info("matched batch %d of 400", batch)
            time.sleep(0.5)

    match_products()


@dag(**DAILY)
def image_features():
    @task
    def extract():
        kept = []
        for number in range(1, 9):
            kept.append(bytearray(8 << 20))
            log.info("loaded %d,000 images, resident memory %.1f GiB of 4.0 GiB", number, 0.47 * number)
        os.kill(os.getpid(), signal.SIGKILL)

    extract()


@dag(**DAILY)
def warehouse_export():
    @task
    def export_chunks():
        for chunk in range(1, 60):
            log.info("exported chunk %d of 60", chunk)
            if chunk == 12:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)

    export_chunks()


@dag(**DAILY)
def kpi_snapshot():
    @task
    def compute_kpis():
        class Money:
            def __init__(self, amount):
                self.amount = Decimal(amount)

        return {"revenue": Money("12.40")}

    compute_kpis()


@dag(**DAILY)
def month_close_export():
    @task
    def check_period():
        log.info("period 2026-11: status CLOSED, closed by finance on 2026-11-21 18:02 UTC")
        raise AirflowFailException("Stopped on purpose: period 2026-11 is closed, no more bookings are exported.")

    check_period()


@dag(schedule=None, start_date=datetime(2026, 11, 20), catchup=False)
def dim_rebuild():
    @task
    def rebuild():
        raise ValueError("dimension product has 0 rows")

    rebuild()


with DAG("mart_refresh", **DAILY):
    TriggerDagRunOperator(
        task_id="trigger_dims", trigger_dag_id="dim_rebuild", wait_for_completion=True, poke_interval=2
    )


@dag(**DAILY)
def legacy_bridge():
    @task
    def run_bridge():
        log.info("starting bridge")
        sys.exit(1)

    run_bridge()


@dag(**DAILY)
def scoring_batch():
    @task
    def score():
        log.info("submitting scoring batch 2026-11-21")
        log.info("waiting for scoring batch")
        raise RuntimeError("scoring batch ended with status ERROR")

    score()


@dag(**DAILY)
def forecast_train():
    @task
    def train():
        import lightgbm_gpu as lgb

        return lgb.__version__

    train()


@dag(**DAILY)
def odbc_extract():
    @task
    def connect_mssql():
        import ctypes

        log.info("loading ODBC driver manager")
        ctypes.CDLL("libodbc.so.2")

    connect_mssql()


@dag(**DAILY)
def legacy_metrics():
    @task
    def aggregate():
        from collections import Mapping  # noqa: UP035 - gone since Python 3.10, which is the failure

        return isinstance({}, Mapping)

    aggregate()


@dag(**DAILY)
def open_positions():
    @task
    def read_positions():
        from airflow.sdk import Connection

        return Connection.get("treasury_api").host

    read_positions()


@dag(**DAILY)
def export_settings():
    @task
    def resolve_target():
        log.info("export target is taken from the environment")
        return os.environ["EXPORT_BUCKET_NAME"]

    resolve_target()


@dag(**DAILY)
def sku_rank():
    @task
    def rank():
        best = {"a": 3, "b": 9}
        for sku in best:
            if best[sku] > 10:
                winner = sku
        return winner

    rank()


@dag(**DAILY)
def tree_flatten():
    @task
    def flatten():
        def walk(node):
            return [node["id"], *walk(node)]

        return walk({"id": 1})

    flatten()


@dag(**DAILY)
def long_reconcile():
    @task
    def reconcile():
        for account in range(1, 21_001):
            if account == 9_412:
                log.error(
                    "account 9412: ledger row rejected: currency 'EURO' is not an ISO 4217 code; batch 941 not booked"
                )
            log.info("account %d of 21000 reconciled", account)
        raise RuntimeError("reconciliation incomplete: 1 of 2100 batches not booked")

    reconcile()


@dag(**DAILY)
def marked_by_hand():
    @task
    def rebuild_history():
        for month in range(1, 200):
            log.info("rebuilding month %d", month)
            time.sleep(0.5)

    rebuild_history()


@dag(**DAILY)
def lost_supervisor():
    @task
    def fetch_shards():
        for shard in range(1, 6):
            log.info("fetched shard %d of 64", shard)
            time.sleep(0.2)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    fetch_shards()


@dag(**DAILY)
def thread_pool_load():
    @task
    def load_tables():
        def work():
            Path("/data/staging/dim_store.csv").read_text()

        failures = []

        def guarded(table):
            try:
                work()
            except FileNotFoundError as exc:
                log.warning("table %s not loaded: %s", table, exc)
                failures.append(table)

        threads = [threading.Thread(target=guarded, args=(table,)) for table in ("dim_store", "dim_date")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        raise RuntimeError(f"{len(failures)} of 2 tables failed")

    load_tables()


for built in (
    tariff_load, similarity_search, image_features, warehouse_export, kpi_snapshot, month_close_export, dim_rebuild,
    legacy_bridge, scoring_batch, forecast_train, odbc_extract, legacy_metrics, open_positions, export_settings,
    sku_rank, tree_flatten, long_reconcile, marked_by_hand, lost_supervisor, thread_pool_load,
):  # fmt: skip
    built()
