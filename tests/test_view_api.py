"""What the view answers, whichever server hosts it; a real store, no Airflow."""

from __future__ import annotations

import dataclasses

import pytest

from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.airflow.ui import answers, api
from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.errors import SettingsError, StoreError
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Record

READS_ALL = api.Access(lambda _: True, lambda _: True)
READS_SHOP = api.Access(lambda dag_id: dag_id == "shop", lambda _: False)


def record(dag_id="shop", task_id="extract", map_index=-1, try_number=1, *, at=100.0, mark="m", **diagnosis):
    key = TaskKey(dag_id, "run", task_id, map_index, try_number)
    failure = TaskFailure(key, "task", f"2026-11-22T00:00:{at - 100:02.0f}+00:00")
    given = {"category": Category.CODE_ERROR, "root_cause": "KeyError: 'x'", **diagnosis}
    return Record(failure, Diagnosis(**given), mark, at)


@pytest.fixture
def store(tmp_path):
    return SqlStore(f"sqlite:///{tmp_path / 'diagnoses.db'}")


@pytest.mark.parametrize("index", ["{MAP_INDEX}", "", None, -1, "-1"])
def test_an_unfilled_map_index_means_an_unmapped_task(index):
    """Airflow 3 leaves the placeholder in the address of an unmapped task."""
    assert api.place("shop", {"run_id": "r", "task_id": "t", "map_index": index}).map_index == -1


def test_map_index_zero_is_an_index():
    """The first mapped task instance is not mistaken for an unmapped one."""
    assert api.place("shop", {"run_id": "r", "task_id": "t", "map_index": 0}).map_index == 0


@pytest.mark.parametrize(
    ("dag_id", "values"),
    [
        ("", {}),
        (" ", {}),
        ("~", {}),
        ("shop", {"task_id": "t"}),
        ("shop", {"run_id": "r", "task_id": "t", "map_index": "1; drop"}),
        ("shop", {"run_id": "r", "task_id": "t", "try_number": "two"}),
    ],
)
def test_an_incomplete_place_is_refused(dag_id, values):
    """No DAG, every DAG at once, a task without its run and numbers that are none are refused."""
    with pytest.raises(api.Refused) as refused:
        api.place(dag_id, values)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        (
            {"x-de-agent": "1", "sec-fetch-site": "same-origin", "origin": "https://proxy.example", "host": "inner"},
            True,
        ),
        ({"x-de-agent": "1", "origin": "http://airflow:8080", "host": "airflow:8080"}, True),
        ({"x-de-agent": "1"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"x-de-agent": "1", "sec-fetch-site": "same-site"}, False),
        ({"x-de-agent": "1", "sec-fetch-site": "cross-site"}, False),
        ({"x-de-agent": "1", "sec-fetch-site": "none"}, False),
        ({"x-de-agent": "1", "origin": "http://evil.example", "host": "airflow:8080"}, False),
        ({"x-de-agent": "1", "origin": "null", "host": "airflow:8080"}, False),
    ],
)
def test_only_our_own_page_may_ask_for_a_change(headers, is_ours):
    """The custom header is required, and what the browser says of the origin must fit."""
    assert api.same_origin(headers) is is_ours


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreError("postgresql://u:pw@db"), 503), (SettingsError("x = 'pw'"), 500), (OSError("/srv/pw"), 500)],
)
def test_an_error_keeps_its_particulars_to_the_log(error, status, caplog):
    """The reader learns what to do; addresses and values stay in the server's log."""
    answered, text = api.refusal(error)
    assert answered == status
    assert "pw" not in text
    assert "de-agent doctor" in text
    assert "pw" in caplog.text


def test_the_cause_leads_and_its_symptoms_follow():
    """In one incident the task in which the cause lies stands first, though a symptom was diagnosed before it."""
    cause = record(task_id="extract", at=101)
    symptom = record(task_id="load", at=100, category=Category.UPSTREAM_FAILURE, root_cause_task="extract")
    other = record(task_id="report", at=102)
    joined = [dataclasses.replace(r, incident_id="one") for r in (symptom, cause)]
    groups = answers.groups([*joined, other])
    assert [(g["lead"]["task_id"], [s["task_id"] for s in g["symptoms"]]) for g in groups] == [
        ("extract", ["load"]),
        ("report", []),
    ]


def test_a_run_shows_the_latest_try_of_each_task_instance():
    """Earlier tries of the same task instance do not count as symptoms."""
    groups = answers.groups([record(try_number=1, at=100), record(try_number=2, at=105)])
    assert [g["lead"]["try_number"] for g in groups] == [2]


def test_a_diagnosis_is_given_out_only_as_one_of_its_own_dag(store):
    """Knowing the id of another DAG's diagnosis does not help."""
    payroll = record("payroll")
    store.add(payroll, window=60)
    with pytest.raises(api.Refused) as refused:
        api.diagnosis("shop", payroll.id, READS_SHOP, store)
    assert refused.value.status == 404


def test_history_names_only_dags_that_the_reader_may_see(store):
    """An earlier incident of a DAG out of the reader's sight is counted and dated, not named."""
    payroll = store.add(record("payroll", mark="same"), window=60)
    similar = ({"id": payroll.id, "when": "2026-11-21", "label": "payroll.pay", "fixed_by": "a raise"},)
    ours = record(similar=similar, mark="other")
    store.add(ours, window=60)
    hidden = api.diagnosis("shop", ours.id, READS_SHOP, store)
    assert hidden["times"] == 2
    assert hidden["similar"] == [{"when": "2026-11-21", "label": "a DAG that you cannot see"}]
    assert api.diagnosis("shop", ours.id, READS_ALL, store)["similar"][0]["label"] == "payroll.extract"


def test_the_overview_holds_only_dags_that_the_reader_may_see(store):
    """The page of all DAGs leaves the others out."""
    for dag_id in ("shop", "payroll"):
        store.add(record(dag_id), window=60)
    assert [d["dag_id"] for d in api.overview(READS_SHOP, store)["diagnoses"]] == ["shop"]
