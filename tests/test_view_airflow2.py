"""The view on Airflow 2: a real web server, real failed runs, a real browser."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.airflow_host import AirflowHost
from tests.view_host import RUN, call, chromium, failed_airflow, query, wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]
LOAD = {"run_id": RUN, "task_id": "load", "map_index": -1, "try_number": None}
USERS = """
from airflow.security import permissions as p
from airflow.www.app import cached_app

app = cached_app()
with app.app_context():
    manager = app.appbuilder.sm
    manager.create_dag_specific_permissions()
    rights = [(p.ACTION_CAN_READ, r) for r in (p.RESOURCE_WEBSITE, p.RESOURCE_DAG_RUN, p.RESOURCE_TASK_INSTANCE,
                                               p.RESOURCE_TASK_LOG)]
    rights += [(p.ACTION_CAN_EDIT, p.RESOURCE_TASK_INSTANCE)]
    rights += [(p.ACTION_CAN_READ, "DAG:payroll"), (p.ACTION_CAN_EDIT, "DAG:payroll")]
    manager.bulk_sync_roles([{"role": "PayrollOnly", "perms": rights}])
    for name, role in (("viewer", "Viewer"), ("op", "Op"), ("payroll", "PayrollOnly"), ("admin", "Admin")):
        manager.add_user(name, name, name, f"{name}@example.org", manager.find_role(role), password=name)
"""


def start_webserver(host: AirflowHost) -> None:
    """The users and the web server; returns when it answers."""
    host.run(str(host.venv / "bin" / "python"), "-c", USERS, timeout=120)
    host.spawn("webserver", "webserver", "--port", str(host.port), "--workers", "2")

    def is_up() -> bool:
        try:
            return call(f"http://127.0.0.1:{host.port}/health").status == 200
        except OSError:
            return False

    wait_until(is_up, 120)


@pytest.fixture(scope="module")
def host(tmp_path_factory, postgres):
    with failed_airflow(2, tmp_path_factory.mktemp("view2"), postgres, {}, start_webserver) as running:
        yield running


@pytest.fixture(scope="module")
def base(host):
    return f"http://127.0.0.1:{host.port}"


@pytest.fixture(scope="module")
def sessions(base):
    """One browser context for each user, signed in."""
    with chromium() as browser:
        signed_in = {"": browser.new_context()}
        for name in ("viewer", "op", "payroll", "admin"):
            signed_in[name] = browser.new_context(viewport={"width": 1280, "height": 1000})
            page = signed_in[name].new_page()
            page.goto(f"{base}/login/")
            page.fill("#username", name)
            page.fill("#password", name)
            page.press("#password", "Enter")
            page.wait_for_url(re.compile("/home"))
            page.close()
        yield signed_in


@pytest.fixture
def open_page(sessions, base):
    """Opens an address as a user; its page."""
    pages = []

    def opened(path, user="op"):
        page = sessions[user].new_page()
        pages.append(page)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.goto(base + path)
        return page

    yield opened
    for page in pages:
        page.close()


def csrf_token(sessions, base, user, dag_id="shop"):
    page = sessions[user].request.get(f"{base}/de_agent/dags/{dag_id}/page").text()
    return re.search(r'name="csrf-token" content="([^"]+)"', page)[1]


def test_a_task_instance_has_a_button_that_leads_to_its_diagnosis(open_page):
    """The button in the details of a task instance opens the page; what the log said is text in it."""
    page = open_page(f"/dags/shop/grid?dag_run_id={RUN}&task_id=extract&tab=details")
    page.get_by_role("link", name="Diagnose", exact=True).click(timeout=60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("extract, try 1: failed", timeout=30_000)
    expect(page.get_by_text("customer_id <img src=x onerror=").first).to_be_visible()
    assert page.locator("img").count() == 0
    assert page.title() == "extract – DE Agent"
    page.get_by_role("link", name="Airflow").click()
    page.wait_for_url(re.compile("/home"))


def test_a_click_diagnoses_again(open_page):
    """The button brings a newer diagnosis into the page and says so."""
    page = open_page(f"/de_agent/dags/shop/page?{query(task_id='extract')}")
    page.get_by_role("button", name="Diagnose again").press("Enter")
    expect(page.get_by_role("status")).to_have_text("extract is diagnosed.", timeout=40_000)
    expect(page.get_by_text("on request")).to_be_visible()
    assert not [text for text in page.said if "Content Security Policy" in text]


def test_a_run_lists_its_diagnoses_and_what_has_none(open_page):
    """The page of a run groups by cause, and an upstream_failed task is diagnosed on click."""
    page = open_page(f"/de_agent/dags/shop/page?{query()}")
    expect(page.get_by_role("article")).to_have_count(2)
    page.get_by_role("button", name="Diagnose load").click()
    expect(page.get_by_role("status")).to_have_text("load is diagnosed.", timeout=40_000)
    expect(page.get_by_role("button", name="Diagnose load")).to_have_count(0)


def test_a_mapped_task_instance_is_named_with_its_index(open_page):
    """Map index 0 reaches the page as an index, and the trail leads back to run and DAG."""
    page = open_page(f"/de_agent/dags/shop/page?{query(task_id='chunk', map_index=0)}")
    expect(page.get_by_role("heading", level=1)).to_have_text("chunk[0], try 1: failed")
    page.get_by_role("link", name="shop").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Latest diagnoses")


def test_the_menu_leads_to_the_diagnoses_of_all_dags(open_page):
    """An administrator finds the list in the menu."""
    page = open_page("/home", user="admin")
    page.get_by_text("DE Agent").first.click()
    page.get_by_role("link", name="Diagnoses").click()
    page.get_by_role("link", name="payroll.pay").click()
    expect(page.get_by_text("bank.internal").first).to_be_visible()


def test_the_list_of_all_dags_leaves_out_what_the_reader_may_not_see(sessions, base):
    """Who may read one DAG sees the diagnoses of that one."""
    answer = sessions["payroll"].request.get(f"{base}/de_agent/diagnoses").json()
    assert {d["dag_id"] for d in answer["diagnoses"]} == {"payroll"}
    answer = sessions["viewer"].request.get(f"{base}/de_agent/diagnoses").json()
    assert {d["dag_id"] for d in answer["diagnoses"]} == {"payroll", "shop"}


@pytest.mark.parametrize(
    ("user", "status"), [("", 401), ("payroll", 403), ("viewer", 200), ("op", 200), ("admin", 200)]
)
def test_who_may_read_a_dags_logs_may_read_its_diagnoses(sessions, base, user, status):
    """Each role gets what Airflow's own log page would give it."""
    address = f"{base}/de_agent/dags/shop/diagnoses?{query(task_id='extract')}"
    assert sessions[user].request.get(address, max_redirects=0).status == status


def test_a_stranger_is_led_to_the_login(base):
    """The page itself redirects as Airflow's do."""
    for path in ("/de_agent/dags/shop/page", "/de_agent/"):
        answer = call(base + path)
        assert answer.status == 302
        assert urlsplit(answer.headers["location"]).path == "/login/"


@pytest.mark.parametrize(("user", "status"), [("viewer", 403), ("payroll", 403), ("op", 202)])
def test_who_may_clear_a_task_may_diagnose_it(sessions, base, user, status):
    """Reading is not enough to spend a model's tokens."""
    token = csrf_token(sessions, base, user, "payroll")
    headers = {"X-CSRFToken": token, "X-DE-Agent": "1", "Sec-Fetch-Site": "same-origin"}
    answer = sessions[user].request.post(f"{base}/de_agent/dags/shop/diagnose", data=LOAD, headers=headers)
    assert answer.status == status


def test_a_change_needs_the_token_and_our_page(sessions, base):
    """Without the web server's CSRF token, or from another origin, nothing is done."""
    address = f"{base}/de_agent/dags/shop/diagnose"
    proof = {"X-DE-Agent": "1", "Sec-Fetch-Site": "same-origin"}
    assert sessions["op"].request.post(address, data=LOAD, headers=proof).status == 400
    crossed = {"X-CSRFToken": csrf_token(sessions, base, "op"), "X-DE-Agent": "1", "Sec-Fetch-Site": "cross-site"}
    assert sessions["op"].request.post(address, data=LOAD, headers=crossed).status == 403


def test_a_missing_dag_is_refused(sessions, base):
    """No address answers without one DAG in its path, but for the list of those that the reader may see."""
    for path in ("dags//diagnoses", "dags/%20/diagnoses", "dags/~/diagnoses"):
        assert sessions["admin"].request.get(f"{base}/de_agent/{path}", max_redirects=0).status in (400, 403, 404)


def test_a_diagnosis_is_found_only_under_its_own_dag(sessions, base):
    """The id of one DAG's diagnosis is no key to it through another DAG."""
    session = sessions["payroll"].request
    shop = sessions["op"].request.get(f"{base}/de_agent/dags/shop/diagnoses").json()["diagnoses"][0]["id"]
    assert session.get(f"{base}/de_agent/dags/payroll/diagnoses/{shop}").status == 404
    assert session.get(f"{base}/de_agent/dags/shop/diagnoses/{shop}").status == 403


def test_the_drop_in_adds_nothing_beside_the_entry_point(host):
    """With both there the plugin is registered once."""
    told = host.airflow("plugins", "--output", "json", timeout=180)
    assert [plugin["name"] for plugin in json.loads(told)].count("de_agent") == 1
    assert "de_agent_plugin" not in told
