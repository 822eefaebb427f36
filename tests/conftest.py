"""Servers that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import airflow_host, slack_server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL; its URI for psycopg2."""
    with airflow_host.postgres(tmp_path_factory.mktemp("pg")) as uri:
        yield uri


@pytest.fixture
def slack() -> Iterator[slack_server.SlackServer]:
    """A Slack stand-in."""
    with slack_server.running() as server:
        yield server
