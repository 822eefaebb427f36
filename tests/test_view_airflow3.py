"""The view on Airflow 3: a real API server, real failed runs, a real browser."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import expect

from tests.view_host import RUN, call, chromium, failed_airflow, query, wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]
PROOF = {"X-DE-Agent": "1", "Sec-Fetch-Site": "same-origin"}
LOAD = {"run_id": RUN, "task_id": "load", "map_index": -1, "try_number": None}


@pytest.fixture(scope="module")
def host(tmp_path_factory, postgres):
    directory = tmp_path_factory.mktemp("view3")
    passwords = directory / "passwords.json"
    passwords.write_text(json.dumps({"viewer": "viewer", "user": "user"}))
    extra = {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "viewer:viewer,user:user",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    with failed_airflow(3, directory, postgres, extra) as running:
        yield running


@pytest.fixture(scope="module")
def base(host):
    return f"http://127.0.0.1:{host.port}"


@pytest.fixture(scope="module")
def tokens(base):
    logins = {name: {"username": name, "password": name} for name in ("viewer", "user")}
    return {name: call(f"{base}/auth/token", "POST", login).json["access_token"] for name, login in logins.items()}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_tab(browser, base, tokens):
    """Opens a tab of Airflow's own pages; the frame that holds ours, and what its console said."""
    contexts = []

    def opened(path, user="user", scheme="light", dag_id="shop"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 1000})
        contexts.append(context)
        context.add_cookies([{"name": "_token", "value": tokens[user], "url": base}])
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(f"{base}/dags/{dag_id}{path}")
        page.get_by_role("link", name="Diagnose", exact=True).click(timeout=60_000)
        return page, page.frame_locator("iframe")

    yield opened
    for context in contexts:
        context.close()


def bearer(tokens, name):
    return {"Authorization": f"Bearer {tokens[name]}"} if name else {}


def test_a_task_instance_has_a_tab_with_its_diagnosis(open_tab):
    """The stored diagnosis stands in Airflow's own page; what the log said is text in it, whatever it contains."""
    page, frame = open_tab(f"/runs/{RUN}/tasks/extract")
    expect(frame.get_by_role("heading", level=1)).to_have_text("extract, try 1: failed", timeout=30_000)
    expect(frame.get_by_text("customer_id <img src=x onerror=").first).to_be_visible()
    expect(frame.get_by_role("list", name="Verdict")).to_be_visible()
    expect(frame.get_by_role("button", name="Diagnose again")).to_be_visible()
    assert frame.locator("img").count() == 0
    assert not [text for text in page.said if "Content Security Policy" in text or "Error" in text]


def test_a_click_diagnoses_again(open_tab, base, tokens):
    """The button, pressed by keyboard, brings a newer diagnosis into the page and says so to a screen reader."""
    address = f"{base}/de-agent/dags/shop/diagnoses?{query(task_id='extract')}"
    before = call(address, headers=bearer(tokens, "user")).json["diagnosis"]["diagnosed_at"]
    _, frame = open_tab(f"/runs/{RUN}/tasks/extract")
    frame.get_by_role("button", name="Diagnose again").press("Enter", timeout=30_000)
    expect(frame.get_by_role("status")).to_have_text("extract is diagnosed.", timeout=40_000)
    after = call(address, headers=bearer(tokens, "user")).json["diagnosis"]
    assert after["diagnosed_at"] > before
    assert after["on_request"]


def test_a_run_lists_its_diagnoses_and_what_has_none(open_tab):
    """The run's tab groups by cause, and an upstream_failed task that no callback told of is diagnosed on click."""
    _, frame = open_tab(f"/runs/{RUN}")
    expect(frame.get_by_role("article")).to_have_count(2, timeout=30_000)
    expect(frame.get_by_text("1 more task instance of this cause")).to_be_visible()
    frame.get_by_role("button", name="Diagnose load").click()
    expect(frame.get_by_role("status")).to_have_text("load is diagnosed.", timeout=40_000)
    expect(frame.get_by_role("button", name="Diagnose load")).to_have_count(0)
    expect(frame.get_by_role("link", name="load").first).to_be_visible()


def test_a_dag_lists_its_latest_diagnoses(open_tab):
    """From the DAG's tab one walks to a mapped task instance, within the frame."""
    _, frame = open_tab("")
    frame.get_by_role("link", name="chunk[0]").click(timeout=30_000)
    expect(frame.get_by_role("heading", level=1)).to_have_text(re.compile(r"chunk\[0\], try 1"), timeout=30_000)
    expect(frame.get_by_role("navigation", name="Where you are")).to_contain_text(RUN)


def test_a_mapped_task_instance_has_its_own_tab(open_tab):
    """Map index 0 reaches the page as an index."""
    _, frame = open_tab(f"/runs/{RUN}/tasks/chunk/mapped/0")
    expect(frame.get_by_role("heading", level=1)).to_have_text("chunk[0], try 1: failed", timeout=30_000)


def test_a_viewer_reads_but_cannot_diagnose(open_tab):
    """Without the right to clear task instances there is no button, and the page says why."""
    _, frame = open_tab(f"/runs/{RUN}/tasks/extract", user="viewer")
    expect(frame.get_by_text("the right to clear task instances")).to_be_visible(timeout=30_000)
    expect(frame.get_by_role("button")).to_have_count(0)


def test_the_page_follows_light_and_dark(open_tab):
    """Text is dark on light and light on dark."""
    colours = []
    for scheme in ("light", "dark"):
        _, frame = open_tab(f"/runs/{RUN}/tasks/extract", scheme=scheme)
        expect(frame.get_by_role("heading", level=1)).to_be_visible(timeout=30_000)
        colours.append(frame.locator("body").evaluate("body => getComputedStyle(body).color"))
    assert colours == ["rgb(28, 39, 51)", "rgb(228, 233, 238)"]


@pytest.mark.parametrize("path", ["page", "diagnoses", "diagnoses/0123456789abcdef", f"diagnoses?run_id={RUN}"])
def test_every_address_asks_who_is_there(base, tokens, path):
    """Nobody and somebody with a bad token are refused."""
    address = f"{base}/de-agent/dags/shop/{path}"
    assert call(address).status == 401
    assert call(address, headers={"Authorization": "Bearer forged"}).status in (401, 403)


def test_a_missing_dag_is_refused(base, tokens):
    """No address answers without one DAG in its path, and none for all DAGs."""
    headers = bearer(tokens, "user")
    for path in ("dags//diagnoses", "diagnoses", "diagnoses?dag_id=shop", "page", "dags/~/diagnoses"):
        assert call(f"{base}/de-agent/{path}", headers=headers).status in (400, 404)


def test_a_diagnosis_is_found_only_under_its_own_dag(base, tokens):
    """The id of one DAG's diagnosis is no key to it through another DAG."""
    headers = bearer(tokens, "viewer")
    found = call(f"{base}/de-agent/dags/payroll/diagnoses", headers=headers).json["diagnoses"][0]["id"]
    assert call(f"{base}/de-agent/dags/payroll/diagnoses/{found}", headers=headers).status == 200
    assert call(f"{base}/de-agent/dags/shop/diagnoses/{found}", headers=headers).status == 404


@pytest.mark.parametrize(
    ("user", "headers", "status"),
    [
        ("", PROOF, 401),
        ("viewer", PROOF, 403),
        ("user", {}, 403),
        ("user", {**PROOF, "Sec-Fetch-Site": "cross-site"}, 403),
        ("user", {"X-DE-Agent": "1", "Origin": "http://evil.example"}, 403),
    ],
)
def test_only_our_page_may_ask_for_a_diagnosis(base, tokens, user, headers, status):
    """The right and the proof of origin are both needed."""
    answer = call(f"{base}/de-agent/dags/shop/diagnose", "POST", LOAD, bearer(tokens, user) | headers)
    assert answer.status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**LOAD, "task_id": "chunk", "map_index": 1}, 409),
        ({**LOAD, "task_id": "nothing"}, 404),
        ({**LOAD, "task_id": "extract", "try_number": 7}, 404),
        ({**LOAD, "map_index": "first"}, 400),
        ({**LOAD, "task_id": ""}, 400),
        ([LOAD], 400),
    ],
)
def test_what_cannot_be_diagnosed_is_refused_in_words(base, tokens, body, status):
    """A success, an absent task instance, an absent try and a wrong body each get their reason."""
    answer = call(f"{base}/de-agent/dags/shop/diagnose", "POST", body, bearer(tokens, "user") | PROOF)
    assert answer.status == status
    assert answer.json["error"]


def test_a_task_marked_failed_can_be_diagnosed(base, tokens):
    """Airflow runs no callback for what a person marks as failed; the view diagnoses it on request."""
    headers = bearer(tokens, "user")
    path = f"/api/v2/dags/shop/dagRuns/{RUN}/taskInstances/chunk/1"
    assert call(base + path, "PATCH", {"new_state": "failed"}, headers).status == 200
    body = {**LOAD, "task_id": "chunk", "map_index": 1}
    assert call(f"{base}/de-agent/dags/shop/diagnose", "POST", body, headers | PROOF).status == 202
    address = f"{base}/de-agent/dags/shop/diagnoses?{query(task_id='chunk', map_index=1)}"
    wait_until(lambda: call(address, headers=headers).json["diagnosis"] is not None, 30)


def test_an_open_page_follows_a_task_that_still_runs(open_tab, host, base, tokens):
    """Cleared while the page is open, the task fails once more: its new try and diagnosis come without a reload."""
    clear = {"dry_run": False, "task_ids": ["pay"], "dag_run_id": RUN, "only_failed": False}
    cleared = call(f"{base}/api/v2/dags/payroll/clearTaskInstances", "POST", clear, bearer(tokens, "user"))
    assert cleared.status == 200
    _, frame = open_tab(f"/runs/{RUN}/tasks/pay", dag_id="payroll")
    expect(frame.get_by_role("heading", level=1)).to_have_text("pay, try 2: failed", timeout=90_000)
    expect(frame.get_by_role("list", name="Verdict")).to_be_visible(timeout=30_000)


def test_the_page_allows_nothing_but_itself(base, tokens):
    """Only its own script and style run, only Airflow may frame it, and it loads nothing from elsewhere."""
    answer = call(f"{base}/de-agent/dags/shop/page", headers=bearer(tokens, "viewer"))
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r"(src|href)=\"?(https?:)?//", answer.text)
    assert "shop" not in answer.text


def test_a_diagnosis_asked_for_with_the_cookie_alone_needs_the_header(base, tokens):
    """A form on another site sends the cookie, but cannot send the header."""
    form = urllib.request.Request(f"{base}/de-agent/dags/shop/diagnose", json.dumps(LOAD).encode(), method="POST")
    form.add_header("Cookie", f"_token={tokens['user']}")
    form.add_header("Content-Type", "text/plain")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(form, timeout=30)
    assert refused.value.code in (400, 403)
    refused.value.close()


def test_the_drop_in_adds_nothing_beside_the_entry_point(host):
    """With both there the plugin is registered once."""
    told = host.airflow("plugins", "--output", "json", timeout=180)
    assert [plugin["name"] for plugin in json.loads(told)].count("de_agent") == 1
    assert "de_agent_plugin" not in told
