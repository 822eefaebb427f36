"""Servers that several tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import airflow_host, slack_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL; its URI for psycopg2.

    Started by root it runs as a user of its own, whom every new pytest session would lock out of pytest's directory.
    """
    with tempfile.TemporaryDirectory(prefix="de-agent-pg-") as directory, airflow_host.postgres(Path(directory)) as uri:
        yield uri


@pytest.fixture
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """No option, token or key of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "DE_AGENT_", "AIRFLOW", "MWAA", "GEMINI", "SLACK")):
            monkeypatch.delenv(name)


@pytest.fixture
def slack() -> Iterator[slack_server.SlackServer]:
    """A Slack stand-in."""
    with slack_server.running() as server:
        yield server
