"""The store on SQL: SQLite for one host, PostgreSQL for several.

Rules kept here: only what SQLAlchemy 1.4 and 2.x share (MWAA pins 1.4.54 and 2.0.x); every change is one transaction;
on SQLite a writing transaction takes its lock at once, so that two writers wait for each other instead of failing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_de_agent.adapters.sql_tables import create_tables, open_engine
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import REOPEN_SECONDS, ClaimResult, Incident, Joined, PostTurn, Record, Thread, Vote

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_INCIDENT_FIELDS = tuple(field.name for field in dataclasses.fields(Incident))
_FORGOTTEN_AT_ONCE = 100  # a write after a long rest takes no longer than another
_ASKED_AT_ONCE = 500


class SqlStore:
    """Keeps claims, records, incidents, votes, and counters and texts, in five tables; creates those that are absent.

    `clock` gives Unix time, for the expiry of counters and texts alone.

    Raises:
        SettingsError: the URL is of no such database.
        StoreError: on every call, when the database cannot be reached or refuses.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        with _translated():
            self._reads = open_engine(url)
            self._writes = self._reads.execution_options(de_agent_write=True)
            tables = create_tables(self._writes)
        self._claims, self._diagnoses, self._incidents, self._votes, self._memory = tables

    def claim(self, key: TaskKey, *, owner: str, now: float, stale_after: float) -> ClaimResult:
        """See `Store.claim`."""
        table, claim_id = self._claims, key.diagnosis_id
        with self._transaction() as db:
            if self._row(db, self._diagnoses, claim_id) is not None:
                return "done"
            self._insert_once(db, table, {"id": claim_id, "owner": owner, "claimed_at": now})
            stale = (table.c.id == claim_id) & (table.c.claimed_at < now - stale_after)
            db.execute(table.update().where(stale).values(owner=owner, claimed_at=now))
            row = self._row(db, table, claim_id)
            return "won" if row is not None and row["owner"] == owner else "held"

    def add(self, record: Record, *, join: str = "", window: float) -> Incident:
        """See `Store.add`."""
        with self._transaction() as db:
            earlier = self._row(db, self._diagnoses, record.id)
            if earlier is not None:
                self._bump(db, earlier["incident_id"], record, joined=0)
                incident_id = earlier["incident_id"]
                update = self._diagnoses.update().where(self._diagnoses.c.id == record.id)
                db.execute(update.values(**_record_values(record, incident_id)))
            else:
                incident_id = self._joined(db, record, join, window)
                db.execute(self._diagnoses.insert().values(**_record_values(record, incident_id)))
            return _incident(self._row(db, self._incidents, incident_id))

    def _joined(self, db: Connection, record: Record, join: str, window: float) -> str:
        """The incident that a new record belongs to, counted up; opened when there is none."""
        table = self._incidents
        if join and self._row(db, table, join) is not None:
            self._bump(db, join, record, joined=1)
            return join
        over = (table.c.closed_at < record.diagnosed_at - REOPEN_SECONDS) | (
            table.c.closed_at.is_(None) & (table.c.updated_at < record.diagnosed_at - window)
        )
        quiet = (table.c.open_key == record.fingerprint) & over
        db.execute(table.update().where(quiet).values(open_key=None))
        opened = Incident(record.id, record.fingerprint, record.id, record.diagnosed_at, record.diagnosed_at)
        self._insert_once(db, table, dataclasses.asdict(opened) | {"open_key": record.fingerprint})
        incident_id: str = db.execute(_select(table.c.id).where(table.c.open_key == record.fingerprint)).scalar_one()
        if incident_id != record.id:
            self._bump(db, incident_id, record, joined=1)
        return incident_id

    def _bump(self, db: Connection, incident_id: str, record: Record, *, joined: int) -> None:
        from sqlalchemy import case

        table = self._incidents
        values: dict[str, Any] = {"revision": table.c.revision + 1, "updated_at": record.diagnosed_at}
        if joined:
            values |= {
                "count": table.c["count"] + joined,
                "reopened": table.c.reopened + case((table.c.closed_at.is_(None), 0), else_=1),
                "closed_at": None,
            }
        db.execute(table.update().where(table.c.id == incident_id).values(**values))

    def find(self, key: TaskKey) -> Record | None:
        """See `Store.find`."""
        return self.get(key.diagnosis_id)

    def known(self, keys: Collection[TaskKey]) -> set[TaskKey]:
        """See `Store.known`."""
        table, by_id = self._diagnoses, {key.diagnosis_id: key for key in keys}
        ids = list(by_id)
        found: set[TaskKey] = set()
        with self._connection() as db:
            for start in range(0, len(ids), _ASKED_AT_ONCE):
                chunk = ids[start : start + _ASKED_AT_ONCE]
                rows = db.execute(_select(table.c.id).where(table.c.id.in_(chunk))).scalars()
                found.update(by_id[row] for row in rows)
        return found

    def get(self, diagnosis_id: str) -> Record | None:
        """See `Store.get`."""
        with self._connection() as db:
            row = self._row(db, self._diagnoses, diagnosis_id)
        return None if row is None else _record(row)

    def recent(
        self, *, limit: int = 50, since: float = 0.0, dag_id: str = "", run_id: str = "", task_id: str = ""
    ) -> Sequence[Record]:
        """See `Store.recent`."""
        table = self._diagnoses
        given = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        narrowed = {name: value for name, value in given.items() if value}
        return self._records(narrowed, table.c.diagnosed_at.desc(), limit, table.c.diagnosed_at >= since)

    def first_of_run(self, dag_id: str, run_id: str, *, limit: int = 20) -> Sequence[Record]:
        """See `Store.first_of_run`."""
        return self._records({"dag_id": dag_id, "run_id": run_id}, self._diagnoses.c.diagnosed_at, limit)

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> Sequence[Record]:
        """See `Store.tries`."""
        key = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        return self._records(key, self._diagnoses.c.try_number, 100)

    def _records(self, equal: dict[str, Any], order: Any, limit: int, *where: Any) -> list[Record]:
        table = self._diagnoses
        query = _select(table).where(*where, *(table.c[name] == value for name, value in equal.items()))
        with self._connection() as db:
            rows = db.execute(query.order_by(order, table.c.id).limit(limit)).mappings().all()
        return [_record(row) for row in rows]

    def earlier_incidents(self, fingerprint: str, *, since: float) -> Sequence[Incident]:
        """See `Store.earlier_incidents`."""
        table = self._incidents
        return self._incident_rows(
            (table.c.fingerprint == fingerprint) & (table.c.opened_at >= since), table.c.opened_at.desc(), 100
        )

    def incident(self, incident_id: str) -> Incident | None:
        """See `Store.incident`."""
        table = self._incidents
        return next(iter(self._incident_rows(table.c.id == incident_id, table.c.id, 1)), None)

    def undelivered(self, *, limit: int = 100) -> Sequence[Incident]:
        """See `Store.undelivered`."""
        table = self._incidents
        order = (table.c.refused_at.is_not(None), table.c.refused_at, table.c.opened_at)
        return self._incident_rows(table.c.shown_revision < table.c.revision, order, limit)

    def begin_post(
        self, incident_id: str, *, owner: str, now: float, stale_after: float, channel: str = ""
    ) -> PostTurn:
        """See `Store.begin_post`."""
        table = self._incidents
        with self._transaction() as db:
            row = self._row(db, table, incident_id)
            if row is None or row["message_ts"]:
                return "no"
            fresh = row["posting_at"] is not None and row["posting_at"] >= now - stale_after
            if fresh and row["posting_by"] != owner:
                return "no"
            again = row["posting_at"] is not None
            self._set(db, incident_id, posting_by=owner, posting_at=now, channel=row["channel"] if again else channel)
            return "again" if again else "first"

    def shown(self, incident_id: str, *, revision: int, channel: str = "", message_ts: str = "") -> None:
        """See `Store.shown`."""
        values: dict[str, Any] = {"shown_revision": revision, "refused_at": None}
        if message_ts:
            values |= {"channel": channel, "message_ts": message_ts}
        with self._transaction() as db:
            self._set(db, incident_id, **values)

    def refused(self, incident_id: str, *, now: float) -> None:
        """See `Store.refused`."""
        with self._transaction() as db:
            self._set(db, incident_id, refused_at=now)

    def thread(self, incident_id: str) -> Thread:
        """See `Store.thread`."""
        table = self._diagnoses
        joined = _select(table.c.dag_id).where(table.c.incident_id == incident_id).distinct().order_by(table.c.dag_id)
        with self._connection() as db:
            row = self._row(db, self._incidents, incident_id)
            return Thread((row["told"] or "") if row else "", tuple(db.execute(joined).scalars()))

    def begin_entry(self, incident_id: str, *, owner: str, now: float, stale_after: float) -> PostTurn:
        """See `Store.begin_entry`."""
        with self._transaction() as db:
            row = self._row(db, self._incidents, incident_id)
            if row is None:
                return "no"
            begun = row["writing_at"] is not None
            if begun and row["writing_by"] != owner and row["writing_at"] >= now - stale_after:
                return "no"
            self._set(db, incident_id, writing_by=owner, writing_at=now)
            return "again" if begun else "first"

    def end_entry(self, incident_id: str, *, told: str) -> None:
        """See `Store.end_entry`."""
        with self._transaction() as db:
            self._set(db, incident_id, told=told, writing_by=None, writing_at=None)

    def incident_of(self, channel: str, message_ts: str) -> Incident | None:
        """See `Store.incident_of`."""
        table = self._incidents
        where = (table.c.channel == channel) & (table.c.message_ts == message_ts)
        return next(iter(self._incident_rows(where, table.c.id, 1)), None)

    def incidents(self, *, since: float, still_open: bool = False, limit: int = 1000) -> Sequence[Incident]:
        """See `Store.incidents`."""
        table = self._incidents
        where = table.c.opened_at >= since
        if still_open:
            where &= table.c.closed_at.is_(None)
        return self._incident_rows(where, table.c.opened_at.desc(), limit)

    def joined(self, incident_id: str) -> Sequence[Joined]:
        """See `Store.joined`."""
        table = self._diagnoses
        columns = (*(table.c[name] for name in TaskKey._fields), table.c.diagnosed_at)
        with self._connection() as db:
            rows = db.execute(_select(*columns).where(table.c.incident_id == incident_id)).all()
        return [Joined(TaskKey(*row[:-1]), row[-1]) for row in rows]

    def vote(self, incident_id: str, *, person: str, vote: Vote) -> None:
        """See `Store.vote`."""
        from sqlalchemy import func

        votes = self._votes
        with self._transaction() as db:
            if self._row(db, self._incidents, incident_id) is None:
                return
            db.execute(votes.delete().where((votes.c.incident_id == incident_id) & (votes.c.person == person)))
            if vote:
                db.execute(votes.insert().values(incident_id=incident_id, person=person, vote=vote))
            query = _select(votes.c.vote, func.count()).where(votes.c.incident_id == incident_id)
            counts = {row[0]: row[1] for row in db.execute(query.group_by(votes.c.vote))}
            self._change(db, incident_id, helpful=counts.get("helpful", 0), not_helpful=counts.get("not_helpful", 0))

    def note_fix(self, incident_id: str, *, note: str) -> None:
        """See `Store.note_fix`."""
        with self._transaction() as db:
            self._change(db, incident_id, fixed_by=note)

    def close(self, incident_id: str, *, now: float, count: int | None = None) -> bool:
        """See `Store.close`."""
        with self._transaction() as db:
            row = self._row(db, self._incidents, incident_id)
            if row is None or row["closed_at"] is not None or count not in (None, row["count"]):
                return False
            self._change(db, incident_id, closed_at=now)
            return True

    def add_to_counter(self, name: str, amount: int, *, expires_at: float) -> int:
        """See `Store.add_to_counter`."""
        from sqlalchemy import case

        table, row_id = self._memory, f"counter#{name}"
        so_far = case((table.c.expires_at < self._clock(), 0), else_=table.c.number)
        with self._transaction() as db:
            self._keep(db, row_id, expires_at, {"number": amount}, {"number": so_far + amount})
            number = int(self._row(db, table, row_id)["number"])
            self._forget_expired(db)
            return number

    def recall(self, key: str, *, now: float) -> str | None:
        """See `Store.recall`."""
        with self._connection() as db:
            row = self._row(db, self._memory, f"text#{key}")
        return None if row is None or row["expires_at"] < now else str(row["text"])

    def remember(self, key: str, text: str, *, expires_at: float) -> None:
        """See `Store.remember`."""
        with self._transaction() as db:
            self._keep(db, f"text#{key}", expires_at, {"text": text}, {"text": text})
            self._forget_expired(db)

    def _keep(self, db: Connection, row_id: str, expires_at: float, new: dict[str, Any], old: dict[str, Any]) -> None:
        """Write a row of the memory: the `new` values where there is none, else the `old` row's."""
        insert = self._insert(db, self._memory).values(id=row_id, expires_at=expires_at, **new)
        db.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"expires_at": expires_at, **old}))

    def _forget_expired(self, db: Connection) -> None:
        """Delete what has expired; waits for nobody, so that after a write it cannot deadlock with another."""
        table = self._memory
        expired = _select(table.c.id).where(table.c.expires_at < self._clock()).limit(_FORGOTTEN_AT_ONCE)
        ids = db.execute(expired.with_for_update(skip_locked=True)).scalars().all()
        if ids:
            db.execute(table.delete().where(table.c.id.in_(ids)))

    def _change(self, db: Connection, incident_id: str, **values: Any) -> None:
        """Set values of an incident that its message is to show."""
        self._set(db, incident_id, revision=self._incidents.c.revision + 1, **values)

    def _set(self, db: Connection, incident_id: str, **values: Any) -> None:
        db.execute(self._incidents.update().where(self._incidents.c.id == incident_id).values(**values))

    def _incident_rows(self, where: Any, order: Any, limit: int) -> list[Incident]:
        query = _select(self._incidents).where(where).order_by(*(order if isinstance(order, tuple) else (order,)))
        with self._connection() as db:
            rows = db.execute(query.limit(limit)).mappings().all()
        return [_incident(row) for row in rows]

    def _row(self, db: Connection, table: Any, row_id: str) -> Any:
        query = _select(table).where(table.c.id == row_id)
        if db.get_execution_options().get("de_agent_write"):
            query = query.with_for_update()
        return db.execute(query).mappings().first()

    def _insert_once(self, db: Connection, table: Any, values: dict[str, Any]) -> None:
        db.execute(self._insert(db, table).values(**values).on_conflict_do_nothing())

    def _insert(self, db: Connection, table: Any) -> Any:
        """The dialect's own insert, which may say what to do on a conflict."""
        if db.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert
        else:
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
        return insert(table)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _translated(), self._writes.begin() as db:
            yield db

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        with _translated(), self._reads.connect() as db:
            yield db


def _select(*what: Any) -> Any:
    from sqlalchemy import select

    return select(*what)


def _record_values(record: Record, incident_id: str) -> dict[str, Any]:
    return {
        "id": record.id,
        **record.failure.key._asdict(),
        "fingerprint": record.fingerprint,
        "incident_id": incident_id,
        "category": record.diagnosis.category.value,
        "diagnosed_at": record.diagnosed_at,
        "failure": json.dumps(record.failure.to_json()),
        "diagnosis": json.dumps(record.diagnosis.to_json()),
    }


def _record(row: Any) -> Record:
    return Record(
        TaskFailure.from_json(json.loads(row["failure"])),
        Diagnosis.from_json(json.loads(row["diagnosis"])),
        row["fingerprint"],
        row["diagnosed_at"],
        row["incident_id"],
    )


def _incident(row: Any) -> Incident:
    return Incident(**{name: row[name] for name in _INCIDENT_FIELDS})


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, OSError, ImportError) as exc:
        raise StoreError(f"the store cannot be used: {type(exc).__name__}: {exc}".splitlines()[0]) from exc
