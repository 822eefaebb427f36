"""The DynamoDB store on moto's DynamoDB."""

from __future__ import annotations

import dataclasses
import random

import pytest

from airflow_de_agent.adapters.dynamodb_store import DynamoDBStore
from airflow_de_agent.core.errors import SettingsError, StoreError
from airflow_de_agent.core.incident import Store
from tests import aws_servers
from tests.incident_contract import IncidentContract
from tests.store_contract import NOW, StoreContract, key, record

aws = aws_servers.aws


@pytest.fixture
def store(aws: aws_servers.AwsServer) -> DynamoDBStore:
    store = DynamoDBStore(aws.client("dynamodb"), "de-agent", clock=lambda: NOW)
    store.create_table()
    return store


class TestDynamoDB(StoreContract, IncidentContract):
    """On DynamoDB."""

    @pytest.fixture
    def store(self, store: DynamoDBStore) -> Store:
        return store


def test_the_table_is_created_once_with_indexes_and_expiry(aws, store):
    """Creating it again changes nothing; the item's own time of expiry is in force."""
    store.create_table()
    client = aws.client("dynamodb")
    table = client.describe_table(TableName="de-agent")["Table"]
    assert {index["IndexName"] for index in table["GlobalSecondaryIndexes"]} == {
        "by_time",
        "by_dag",
        "by_fingerprint",
        "by_delivery",
        "by_incident",
    }
    expiry = client.describe_time_to_live(TableName="de-agent")["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}


def test_nothing_is_ever_scanned(aws, store):
    """Every list comes from a query, and only as many pages are read as the limit needs."""
    for n in range(12):
        store.add(record(key(f"t{n}", run_id=f"r{n}"), mark=f"f{n}", at=NOW + n), window=60)
    aws.calls.clear()
    assert len(store.recent(limit=5)) == len(store.recent(limit=5, dag_id="sales")) == 5
    assert [r.failure.key.task_id for r in store.recent(dag_id="sales", task_id="t3")] == ["t3"]
    assert [i.opened_at for i in store.undelivered(limit=2)] == [NOW, NOW + 1]
    assert len(store.earlier_incidents("f7", since=0)) == 1
    assert set(aws.calls) == {"DynamoDB.Query"} and len(aws.calls) == 5


def test_what_has_expired_is_not_there(aws, store):
    """DynamoDB removes expired items within days; until then they are passed over."""
    clock = [NOW]
    store = DynamoDBStore(aws.client("dynamodb"), "de-agent", retention_days=1, clock=lambda: clock[0])
    first = store.add(record(key()), window=60)
    store.remember("k", "text", expires_at=NOW + 86400)
    clock[0] = NOW + 2 * 86400
    assert store.find(key()) is None and store.get(first.lead_id) is None and store.incident(first.id) is None
    assert list(store.recent()) == list(store.undelivered()) == []
    assert store.recall("k", now=NOW) is None
    assert store.claim(key(), owner="b", now=clock[0], stale_after=60) == "won"
    assert store.add(record(key(), at=clock[0]), window=10**9).count == 1


def test_a_record_with_a_huge_log_is_kept_without_it(store):
    """DynamoDB takes 400 KB an item; the diagnosis matters more than the tail of the log."""
    noise = random.Random(1).randbytes(600_000).hex()
    big = record(key())
    big = dataclasses.replace(big, failure=dataclasses.replace(big.failure, log_tail=noise))
    store.add(big, window=60)
    found = store.find(key())
    assert found is not None and found.failure.log_tail == "" and found.diagnosis == big.diagnosis


def test_a_message_that_was_overtaken_is_still_due(store):
    """Showing an older revision than the incident has leaves it due."""
    incident = store.add(record(key()), window=60)
    store.add(record(key("b"), at=NOW + 1), window=60)
    store.shown(incident.id, revision=incident.revision, channel="C1", message_ts="1.2")
    assert [i.shown_revision for i in store.undelivered()] == [1]
    store.shown("unknown", revision=1)


def test_throttling_is_waited_out(aws, store):
    """With every second call throttled all is kept and counted."""
    aws.misbehave("Throttle", every=2)
    assert store.claim(key(), owner="a", now=NOW, stale_after=60) == "won"
    assert store.add(record(key()), window=60).count == 1
    assert [store.add_to_counter("calls", 1, expires_at=NOW) for _ in range(3)] == [1, 2, 3]


def test_counters_and_texts_expire_with_the_table(aws, store):
    """Both carry the attribute by which DynamoDB removes them, in whole seconds."""
    store.add_to_counter("calls", 1, expires_at=NOW + 0.5)
    store.remember("k", "text", expires_at=NOW + 1.5)
    for pk, sk, expires in (("counter#calls", "counter", NOW), ("text#k", "text", NOW + 1)):
        item = aws.client("dynamodb").get_item(TableName="de-agent", Key={"pk": {"S": pk}, "sk": {"S": sk}})["Item"]
        assert item["expires"] == {"N": str(int(expires))}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("AccessDenied", "allow dynamodb:"),
        ("ExpiredToken", "have expired"),
        ("hang", "did not answer"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(aws, store, kind, said):
    """Whatever AWS refuses is one error of ours, with its cure."""
    store = DynamoDBStore(aws.client("dynamodb"), "de-agent", call_seconds=1.0)
    aws.misbehave(kind)
    with pytest.raises(StoreError, match=said):
        store.claim(key(), owner="a", now=NOW, stale_after=60)
    with pytest.raises(StoreError, match=said):
        store.add(record(key()), window=60)
    with pytest.raises(StoreError, match=said):
        store.recent()


def test_a_table_that_is_not_there_names_the_command(aws):
    """The error says how to create it."""
    store = DynamoDBStore(aws.client("dynamodb"), "nothing")
    with pytest.raises(StoreError, match="de-agent store create"):
        store.find(key())


def test_the_url_names_table_and_region(aws, monkeypatch):
    """dynamodb://TABLE?region=REGION opens the store; any other form is a wrong setting."""
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("ENDPOINT_URL", aws.url)):
        monkeypatch.setenv(f"AWS_{name}", value)
    store = DynamoDBStore.from_url("dynamodb://de-agent?region=eu-west-1")
    store.create_table()
    assert store.incident("x") is None
    for url in ("dynamodb://", "dynamodb://a/b", "sqlite:///x"):
        with pytest.raises(SettingsError, match="dynamodb://TABLE"):
            DynamoDBStore.from_url(url)
