"""The SQL store on real SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from airflow_de_agent.adapters.sql_store import SqlStore
from airflow_de_agent.core.errors import SettingsError, StoreError
from tests import airflow_host, store_contract
from tests.incident_contract import IncidentContract
from tests.store_contract import NOW, StoreContract

_numbers = itertools.count()


class TestSqlite(StoreContract, IncidentContract):
    """On SQLite."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> SqlStore:
        return SqlStore(f"sqlite:///{tmp_path / 'de_agent' / 'diagnoses.db'}", clock=lambda: NOW)


class TestPostgres(StoreContract, IncidentContract):
    """On PostgreSQL."""

    @pytest.fixture
    def store(self, postgres: str) -> Iterator[SqlStore]:
        yield SqlStore(airflow_host.create_database(postgres, f"store{next(_numbers)}"), clock=lambda: NOW)


def test_two_processes_may_share_a_file(tmp_path: Path) -> None:
    """A second store on the same file sees what the first one wrote."""
    url = f"sqlite:///{tmp_path / 'd.db'}"
    first, second = SqlStore(url), SqlStore(url)
    first.add(store_contract.record(store_contract.key()), window=60)
    assert second.find(store_contract.key()) is not None


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_has_expired_is_deleted_bit_by_bit(tmp_path: Path, postgres: str, kind: str) -> None:
    """Every write deletes a hundred expired rows at most, and none that are still good."""
    url = f"sqlite:///{tmp_path / 'd.db'}"
    if kind == "postgres":
        url = airflow_host.create_database(postgres, f"store{next(_numbers)}")
    clock = [NOW]
    store, rows = SqlStore(url, clock=lambda: clock[0]), create_engine(url)
    for n in range(150):
        store.remember(f"k{n}", "text", expires_at=NOW)
    store.remember("good", "text", expires_at=NOW + 9)
    left = []
    for clock[0] in (NOW, NOW + 1, NOW + 1):
        store.add_to_counter("calls", 1, expires_at=NOW + 9)
        with rows.connect() as db:
            left.append(db.execute(text("SELECT count(*) FROM de_agent_memory")).scalar())
    assert left == [152, 52, 2]
    assert store.recall("good", now=clock[0]) == "text"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("nonsense", SettingsError),
        ("postgresql://etl:hunter2secret@127.0.0.1:1/x", StoreError),
        ("sqlite:////proc/none/x.db", StoreError),
        ("mongodb://etl:hunter2secret@x", SettingsError),
    ],
)
def test_a_store_that_cannot_be_used_says_so_without_its_password(url: str, error: type[Exception]) -> None:
    """A URL of no store is a wrong setting, a database that does not answer is not."""
    with pytest.raises(error) as caught:
        SqlStore(url)
    assert "hunter2secret" not in str(caught.value)
