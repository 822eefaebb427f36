"""Tasks that work on a PostgreSQL warehouse."""

import logging
import threading
import time
from datetime import datetime

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import DAG, dag, task

log = logging.getLogger("airflow.task")
DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}

SQL = {
    (
        "orders_fact_build",
        "build_fact",
    ): "create table mart.fct as\nselect order_id, amount\nform staging.orders\nwhere amount > 0",
    (
        "revenue_rollup",
        "roll_up",
    ): "insert into mart.daily_revenue select ordered_at::date, amount from staging.orders group by 1",
    (
        "customers_merge",
        "merge_customers",
    ): "insert into mart.customers(id, email, country) values (2, 'b@example.com', null)",
    ("payroll_extract", "extract_salaries"): "select employee, salary from finance.salaries",
    ("clicks_clean", "cast_payload"): "select id, payload::int from staging.clicks order by id",
    ("orders_topup", "top_up"): "update staging.orders set amount = amount * 100000 where order_id > 1990",
    (
        "keys_join",
        "join_keys",
    ): "select count(*) from staging.orders o join staging.clicks c on o.customer_id = c.payload",
}

for (dag_id, task_id), statement in SQL.items():
    with DAG(dag_id, **DAILY):
        SQLExecuteQueryOperator(task_id=task_id, conn_id="dwh_etl", sql=statement)

with DAG("bi_extract", **DAILY):
    SQLExecuteQueryOperator(
        task_id="extract_wide",
        conn_id="dwh_etl",
        sql=["set statement_timeout = '2s'", "select pg_sleep(5), count(*) from staging.orders a, staging.orders b"],
    )

with DAG("close_books", **DAILY):
    SQLExecuteQueryOperator(task_id="load_journal", conn_id="dwh_typo", sql="select 1")

with DAG("bi_login", **DAILY):
    SQLExecuteQueryOperator(task_id="refresh_views", conn_id="dwh_badpw", sql="refresh materialized view mart.v")


def swap(first, second, pause):
    """Move stock between two articles in one transaction."""
    connection = PostgresHook("dwh_etl").get_conn()
    with connection, connection.cursor() as cursor:
        cursor.execute("update mart.stock set qty = qty - 1 where sku = %s", (first,))
        time.sleep(pause)
        log.info("moving stock %s -> %s", first, second)
        cursor.execute("update mart.stock set qty = qty + 1 where sku = %s", (second,))


@dag(**DAILY)
def stock_rebalance():
    @task
    def rebalance():
        # the session that joins the wait last finds the deadlock and is its victim
        other = threading.Thread(target=swap, args=(2, 1, 0.6))
        other.start()
        time.sleep(0.3)
        try:
            swap(1, 2, 0.8)
        finally:
            other.join()

    rebalance()


@dag(**DAILY)
def stock_reindex():
    @task
    def add_column():
        blocker = PostgresHook("dwh_etl").get_conn()
        blocker.cursor().execute("select * from mart.customers")
        log.info("altering mart.customers")
        connection = PostgresHook("dwh_etl").get_conn()
        try:
            cursor = connection.cursor()
            cursor.execute("set lock_timeout = '1500ms'")
            cursor.execute("alter table mart.customers add column segment text")
        finally:
            blocker.close()

    add_column()


@dag(**DAILY)
def margin_refresh():
    @task
    def refresh_margins():
        hook = PostgresHook("dwh_etl")
        connection = hook.get_conn()
        pid = connection.info.backend_pid
        log.info("refreshing margins, backend pid %d", pid)
        threading.Timer(1.5, lambda: PostgresHook("dwh_etl").run(f"select pg_cancel_backend({pid})")).start()
        connection.cursor().execute("select pg_sleep(30)")

    refresh_margins()


@dag(**DAILY)
def audit_copy():
    @task
    def copy_audit():
        connection = PostgresHook("dwh_etl").get_conn()
        pid = connection.info.backend_pid
        log.info("copying the audit trail, backend pid %d", pid)
        threading.Timer(1.5, PostgresHook("dwh_admin").run, (f"select pg_terminate_backend({pid})",)).start()
        connection.cursor().execute("select pg_sleep(30)")

    copy_audit()


@dag(**DAILY)
def loader_fanout():
    @task
    def load_shards():
        open_connections = []
        for shard in range(6):
            open_connections.append(PostgresHook("dwh_loader").get_conn())
            log.info("shard %d connected", shard)

    load_shards()


for built in (stock_rebalance, stock_reindex, margin_refresh, audit_copy, loader_fanout):
    built()
