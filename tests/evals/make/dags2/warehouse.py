"""Tasks that work on a PostgreSQL warehouse, and one on SQLite."""

import logging
import sqlite3
import threading
import time
from datetime import datetime

from airflow import DAG
from airflow.decorators import dag, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator, SQLTableCheckOperator
from airflow.providers.postgres.hooks.postgres import PostgresHook

log = logging.getLogger("airflow.task")
DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}

SQL = {
    ("orders_dedupe", "insert_orders"): "insert into staging.orders select * from staging.orders where order_id <= 5",
    ("revenue_view", "create_view"): "create view mart.v as select o.order_id, order_idd from staging.orders o",
    ("segments_build", "build_segments"): "create table mart.segments as select * from mart.customer_segments_v2",
    ("country_fix", "upper_currency"): "insert into staging.orders values (900001, 1, 10, 'eur', now())",
    (
        "ambiguous_join",
        "join_orders",
    ): "select order_id from staging.orders a join staging.orders b using (customer_id)",
    ("function_call", "apply_fx"): "select to_eur(amount, currency) from staging.orders",
}

for (dag_id, task_id), statement in SQL.items():
    with DAG(dag_id, **DAILY):
        SQLExecuteQueryOperator(task_id=task_id, conn_id="dwh_etl", sql=statement)

with DAG("stock_guard", **DAILY):
    SQLTableCheckOperator(
        task_id="check_stock", conn_id="dwh_etl", table="mart.stock",
        checks={"has_rows": {"check_statement": "count(*) > 0"}, "all_in_stock": {"check_statement": "min(qty) > 0"}},
    )  # fmt: skip


@dag(**DAILY)
def balance_transfer():
    @task
    def transfer():
        other = PostgresHook("dwh_etl").get_conn()
        mine = PostgresHook("dwh_etl").get_conn()
        for connection in (other, mine):
            connection.set_session(isolation_level="SERIALIZABLE")
            connection.cursor().execute("select sum(qty) from mart.stock")
        other.cursor().execute("update mart.stock set qty = qty + 1 where sku = 1")
        mine.cursor().execute("insert into mart.stock values (99, 1)")
        other.commit()
        mine.commit()

    transfer()


@dag(**DAILY)
def feature_cache():
    @task
    def write_cache():
        path = "/tmp/feature_cache.db"
        holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        holder.execute("create table if not exists f(id int)")
        holder.execute("begin exclusive")
        threading.Timer(4, holder.rollback).start()
        sqlite3.connect(path, timeout=1).execute("insert into f values (1)")

    write_cache()


@dag(**DAILY)
def orders_stage():
    @task
    def stage_orders():
        hook = PostgresHook("dwh_etl")
        connection = hook.get_conn()
        cursor = connection.cursor()
        dsn = "postgresql://etl:F4ke-Dwh-Passw0rd@dwh.acme.internal:5432/dwh"
        log.info("staging through %s", dsn)
        for number, statement in enumerate(
            ["select 1", "insert into staging.orders values (5, 1, 1, 'EUR', now())", "select 2", "select 3"]
        ):
            try:
                cursor.execute(statement)
            except Exception as exc:  # noqa: BLE001 - swallowing it is the failure
                log.warning("statement %d failed, going on: %s", number, str(exc).splitlines()[0])
        connection.commit()
        cursor.execute("create table staging.done(x int)")
        raise RuntimeError("current transaction is aborted, commands ignored until end of transaction block")

    stage_orders()


@dag(**DAILY)
def slow_lookup():
    @task
    def look_up():
        hook = PostgresHook("dwh_etl", options="-c statement_timeout=1500ms")
        blocker = PostgresHook("dwh_etl").get_conn()
        blocker.cursor().execute("lock table mart.daily_revenue in access exclusive mode")
        try:
            log.info("updating mart.daily_revenue")
            hook.run("delete from mart.daily_revenue where day = '2026-11-21'")
        finally:
            time.sleep(0.1)
            blocker.close()

    look_up()


for built in (balance_transfer, feature_cache, orders_stage, slow_lookup):
    built()
