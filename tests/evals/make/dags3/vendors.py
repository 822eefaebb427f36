"""Tasks that talk to vendors over HTTP."""

import logging
import os
import socket
import tempfile
from datetime import datetime
from pathlib import Path

import requests
from airflow.sdk import dag, task
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

log = logging.getLogger("airflow.task")
DAILY = {"schedule": "@daily", "start_date": datetime(2026, 11, 20), "catchup": False}


@dag(**DAILY)
def crm_contacts_sync():
    @task
    def pull_contacts():
        token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmYWtlLWV2YWwifQ.FAKEsigFAKEsigFAKEsigFAKEsigFAKEsigFAKEs"
        headers = {"Authorization": f"Bearer {token}", "X-Tenant": "acme-eu"}
        log.info("GET /v2/contacts since=2026-11-21 headers=%s", headers)
        answer = requests.get(os.environ["CRM_API"] + "/v2/contacts", headers=headers, timeout=5)
        log.info("answer %s: %s", answer.status_code, answer.text)
        answer.raise_for_status()

    pull_contacts()


@dag(**DAILY)
def crm_deals_sync():
    @task
    def pull_deals():
        answer = requests.get(os.environ["CRM_API"] + "/v2/deals", params={"stage": "won"}, timeout=5)
        if not answer.ok:
            raise RuntimeError(f"deals request refused: HTTP {answer.status_code} {answer.text}")

    pull_deals()


@dag(**DAILY)
def ad_spend_daily():
    @task
    def download_campaigns(day="2026-11-21"):
        url = f"{os.environ['ADS_API']}/reports/{day}/campaigns.csv"
        for attempt in (1, 2, 3):
            answer = requests.get(url, timeout=5)
            log.warning("try %d: %s answered %s %s", attempt, url, answer.status_code, answer.text)
        answer.raise_for_status()

    download_campaigns()


@dag(**DAILY)
def fx_rates_load():
    @task
    def fetch_rates():
        path = Path(tempfile.gettempdir()) / "fx_rates_20261121.json"
        try:
            answer = requests.get(os.environ["FX_API"] + "/v1/latest", timeout=5)
            log.info("rates feed answered %s in %.0f ms: %s", answer.status_code, 41, answer.text)
            answer.raise_for_status()
            path.write_text(answer.text)
        finally:
            path.unlink()

    fetch_rates()


@dag(**DAILY)
def crm_bulk_export():
    @task
    def export_accounts():
        session = requests.Session()
        retry = Retry(total=2, backoff_factor=0.1, status_forcelist=[429], respect_retry_after_header=False)
        session.mount("http://", HTTPAdapter(max_retries=retry))
        for page in range(1, 4):
            log.info("exporting page %d of 212", page)
            session.get(f"{os.environ['CRM_API']}/v2/export", params={"page": page}, timeout=5).raise_for_status()

    export_accounts()


@dag(**DAILY)
def sheets_budget_import():
    @task
    def refresh_token():
        form = {
            "grant_type": "refresh_token",
            "client_id": "budget-import",
            "client_secret": "GOCSPX-FAKEfakeFAKEfakeFAKEfakeFA",
        }
        log.info("requesting access token with %s", form)
        answer = requests.post(os.environ["ERP_API"] + "/oauth/token", data=form, timeout=5)
        body = answer.json()
        log.warning("token endpoint answered %s %s", answer.status_code, body)
        return body["access_token"]

    @task
    def read_budget(token):
        log.info("reading with %s", token)

    read_budget(refresh_token())


@dag(**DAILY)
def erp_order_push():
    @task
    def push_orders():
        answer = requests.post(os.environ["ERP_API"] + "/v3/orders", json=[{"amount": -4}], timeout=5)
        log.error("ERP refused batch 9: %s %s", answer.status_code, answer.text)
        answer.raise_for_status()

    push_orders()


@dag(**DAILY)
def supplier_prices():
    @task
    def load_prices():
        answer = requests.get(os.environ["ERP_API"] + "/maintenance", timeout=5)
        log.info("supplier answered %s %s: %s", answer.status_code, answer.headers["content-type"], answer.text[:90])
        return len(answer.json()["prices"])

    load_prices()


@dag(**DAILY)
def geocode_addresses():
    @task
    def geocode():
        log.info("geocoding 18,204 addresses in batches of 500")
        requests.post(os.environ["SLOW_API"] + "/hang", json={"batch": 1}, timeout=(2, 3))

    geocode()


@dag(**DAILY)
def ledger_push():
    @task
    def push_ledger():
        requests.post(os.environ["ERP_API"] + "/reset", json={"rows": 120}, timeout=5)

    push_ledger()


@dag(**DAILY)
def product_feed():
    @task
    def download_feed():
        with requests.get(os.environ["ADS_API"] + "/cut", stream=True, timeout=5) as answer:
            size = sum(len(part) for part in answer.iter_content(65536))
        log.info("downloaded %d bytes", size)

    download_feed()


@dag(**DAILY)
def mdm_customers():
    @task
    def pull_golden_records():
        requests.get(os.environ["SELFSIGNED_API"] + "/golden", timeout=5).raise_for_status()

    pull_golden_records()


@dag(**DAILY)
def partner_files():
    @task
    def list_partner_files():
        requests.get(
            os.environ["EXPIRED_API"] + "/list", verify=os.environ["EXPIRED_CERT"], timeout=5
        ).raise_for_status()

    list_partner_files()


@dag(**DAILY)
def search_reindex():
    @task
    def reindex_products():
        url = f"http://127.0.0.1:{os.environ['CLOSED_PORT']}/products/_bulk"
        log.info("sending 5,000 documents to %s", url)
        requests.post(url, data="{}", timeout=5)

    reindex_products()


@dag(**DAILY)
def warehouse_api_ping():
    @task
    def read_slots():
        socket.create_connection(("wms-api.corp.acme.invalid", 8443), timeout=5)

    read_slots()


@dag(**DAILY)
def iot_backfill():
    @task
    def pull_telemetry():
        requests.get(os.environ["DEAF_API"] + "/telemetry", timeout=(2, 5))

    pull_telemetry()


for built in (
    crm_contacts_sync, crm_deals_sync, ad_spend_daily, fx_rates_load, crm_bulk_export, sheets_budget_import,
    erp_order_push, supplier_prices, geocode_addresses, ledger_push, product_feed, mdm_customers, partner_files,
    search_reindex, warehouse_api_ping, iot_backfill,
):  # fmt: skip
    built()
