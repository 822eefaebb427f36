"""The database of the SQL store: how it is opened, and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_de_agent.core.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


def open_engine(url: str) -> Engine:
    """The engine of a SQLAlchemy URL; on SQLite the file's folder is created.

    An engine with the execution option ``de_agent_write`` takes SQLite's lock when a transaction begins.

    Raises:
        SettingsError: it is no URL, or of a database that is neither SQLite nor PostgreSQL.
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        raise SettingsError("store_url is not a SQLAlchemy URL, such as postgresql://user@host/database") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(
            f"store_url names {parsed.get_backend_name()}; it may be SQLite, PostgreSQL or dynamodb://TABLE"
        )
    if parsed.get_backend_name() != "sqlite":
        # libpq waits minutes for a host that does not answer, and the first message with it
        patience = {"connect_timeout": 5} if parsed.get_driver_name().startswith("psycopg") else {}
        return create_engine(parsed, future=True, pool_pre_ping=True, connect_args=patience)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(parsed, future=True, connect_args={"timeout": 15})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by the driver
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Any) -> None:
    write = connection.get_execution_options().get("de_agent_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def create_tables(engine: Engine) -> tuple[Any, ...]:
    """The tables of claims, diagnoses, incidents, votes and memory; those that are absent are created."""
    from sqlalchemy import MetaData

    meta = MetaData()
    tables = _claims(meta), _diagnoses(meta), _incidents(meta), _votes(meta), _memory(meta)
    _create(meta, engine)
    return tables


def _text(name: str, length: int = 250, **options: Any) -> Any:
    from sqlalchemy import Column, String

    return Column(name, String(length), nullable=options.pop("nullable", False), **options)


def _claims(meta: Any) -> Any:
    from sqlalchemy import Column, Float, Table

    return Table(
        "de_agent_claims", meta, _text("id", 16, primary_key=True), _text("owner"), Column("claimed_at", Float)
    )


def _diagnoses(meta: Any) -> Any:
    from sqlalchemy import Column, Float, Index, Integer, Table, Text

    return Table(
        "de_agent_diagnoses",
        meta,
        _text("id", 16, primary_key=True),
        *(_text(name) for name in ("dag_id", "run_id", "task_id", "fingerprint")),
        _text("incident_id", index=True),
        Column("map_index", Integer),
        Column("try_number", Integer),
        _text("category", 40),
        Column("diagnosed_at", Float, index=True),
        Column("failure", Text),
        Column("diagnosis", Text),
        Index("de_agent_by_run", "dag_id", "run_id", "task_id"),
    )


def _incidents(meta: Any) -> Any:
    from sqlalchemy import Column, Float, Integer, Table, Text

    return Table(
        "de_agent_incidents",
        meta,
        _text("id", 16, primary_key=True),
        _text("fingerprint", index=True),
        _text("open_key", unique=True, nullable=True),
        _text("lead_id", 16),
        *(Column(name, Float) for name in ("opened_at", "updated_at", "closed_at", "refused_at")),
        *(Column(name, Float) for name in ("posting_at", "writing_at")),
        *(Column(name, Integer) for name in ("count", "revision", "shown_revision")),
        *(Column(name, Integer, default=0) for name in ("helpful", "not_helpful", "reopened")),
        _text("channel"),
        _text("message_ts", 40, index=True),
        *(_text(name, nullable=True) for name in ("posting_by", "writing_by")),
        Column("told", Text, default=""),
        Column("fixed_by", Text, default=""),
    )


def _votes(meta: Any) -> Any:
    from sqlalchemy import Table

    return Table(
        "de_agent_votes",
        meta,
        _text("incident_id", 16, primary_key=True),
        _text("person", 100, primary_key=True),
        _text("vote", 20),
    )


def _memory(meta: Any) -> Any:
    from sqlalchemy import BigInteger, Column, Float, Table, Text

    return Table(
        "de_agent_memory",
        meta,
        _text("id", primary_key=True),
        Column("number", BigInteger),
        Column("text", Text),
        Column("expires_at", Float, index=True),
    )


def _create(meta: Any, engine: Engine) -> None:
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    try:
        meta.create_all(engine)
    except (IntegrityError, OperationalError, ProgrammingError):
        meta.create_all(engine)  # another host was creating the same tables; what is there now is not created again
