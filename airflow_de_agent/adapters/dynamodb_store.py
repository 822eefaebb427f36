"""The store on DynamoDB: one table that Airflow's workers and the companion Lambda share.

Rules kept here: a claim is one conditional write; a record, its incident and the end of its claim are one transaction;
nothing is ever scanned; what decides (claims, incidents, the records of a run) is read consistently, and only lists for
people come from indexes, which may lag; an item whose time has expired is not there, even while DynamoDB still has it.

Items (pk, sk)::

    try#ID               claim    owner, claimed_at, done, and the run that the record is kept under
    run#DAG_ID#RUN_ID    ID       a record: dag_id, at, failure and diagnosis as compressed JSON
    incident#ID          incident its fields; `undelivered` while its message is behind, `dags` whose tasks joined,
                                  `told` in its thread
    open#FINGERPRINT     open     the incident that failures of this cause join

and those of `dynamodb_incidents` and `dynamodb_memory`.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_de_agent.adapters.dynamodb_incidents import RACES, DynamoDBIncidents, as_incident, as_record, incident_key
from airflow_de_agent.adapters.dynamodb_memory import DynamoDBMemory
from airflow_de_agent.adapters.dynamodb_table import DynamoDBTable, Item, Overtaken, item_key
from airflow_de_agent.aws.calls import CallFailed, Clients
from airflow_de_agent.core.errors import SettingsError, StoreError
from airflow_de_agent.core.failure import TaskKey
from airflow_de_agent.core.incident import REOPEN_SECONDS, ClaimResult, Incident, PostTurn, Record

ITEM_BYTES = 380_000  # DynamoDB takes 400 KB an item
RUN_LIMIT = 100_000


class DynamoDBStore(DynamoDBIncidents, DynamoDBMemory):
    """Keeps claims, records, incidents, counters and texts in one table; see `create_table`.

    `retention_days` is how long anything is kept, `call_seconds` how long DynamoDB may take to answer; `clock` gives
    Unix time, for expiry alone.

    Raises:
        StoreError: on every call, when the table cannot be reached or refuses; the text names the cure.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        *,
        retention_days: float = 90,
        call_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = DynamoDBTable(client, table, clock, call_seconds)
        self._retention = retention_days * 86400

    @classmethod
    def from_url(cls, url: str, clients: Callable[[str], Any] | None = None) -> DynamoDBStore:
        """The store of ``dynamodb://TABLE?region=REGION``.

        Raises:
            SettingsError: the URL has another form.
        """
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        region = query.pop("region", [None])[0]  # without one, boto3 looks for it
        if parts.scheme != "dynamodb" or not parts.netloc or parts.path not in ("", "/") or query or region == "":
            raise SettingsError(f"store_url = {url!r}: must be dynamodb://TABLE?region=REGION")
        clients = clients or Clients({"region_name": region} if region else {})
        try:
            return cls(clients("dynamodb"), parts.netloc)
        except CallFailed as exc:
            raise StoreError(f"the store cannot be used: {exc.reason} {exc.cure}".strip()) from exc

    def create_table(self) -> None:
        """Create the table with its indexes and its expiry; one that exists is left as it is."""
        self._table.create()

    def claim(self, key: TaskKey, *, owner: str, now: float, stale_after: float) -> ClaimResult:
        """See `Store.claim`."""
        values = {"owner": owner, "claimed_at": now, "dag_id": key.dag_id, "run_id": key.run_id}
        free = (
            "attribute_not_exists(pk) OR #expires < :clock"
            " OR (attribute_not_exists(done) AND (#owner = :owner OR #claimed_at < :stale))"
        )
        limits = {":clock": self._table.clock(), ":stale": now - stale_after}
        claim_key = _claim_key(key.diagnosis_id)
        write = self._table.change(claim_key, values | {"expires": self._expires()}, free, limits)
        try:
            self._table.update(write, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except Overtaken as exc:
            there = exc.there or self._table.get(claim_key) or {}
            return "done" if there.get("done") else "held"
        return "won"

    def add(self, record: Record, *, join: str = "", window: float) -> Incident:
        """See `Store.add`."""
        for race in range(RACES):
            incident_id, writes = self._addition(record, join, window)
            try:
                self._table.transact(writes)
            except Overtaken:
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**race)))
                continue
            incident = self.incident(incident_id)
            if incident is not None:
                return incident
        raise StoreError(f"the store cannot be used: {record.id} was overtaken {RACES} times by other writers")

    def _addition(self, record: Record, join: str, window: float) -> tuple[str, list[Item]]:
        """The writes of one addition and the incident it goes to, by what the table holds now."""
        key = record.failure.key
        claim = {"done": True, "dag_id": key.dag_id, "run_id": key.run_id, "expires": self._expires()}
        finish = self._table.change(_claim_key(record.id), claim)
        earlier = self._table.get(_record_key(key))
        if earlier is not None:
            incident_id = str(earlier["incident_id"])
            replace = self._table.put(self._record_values(record, incident_id))
            return incident_id, [replace, self._bump(incident_id, record, joined=0), finish]
        incident_id, writes = self._joining(record, join, window)
        return incident_id, [self._table.put(self._record_values(record, incident_id), absent=True), *writes, finish]

    def _joining(self, record: Record, join: str, window: float) -> tuple[str, list[Item]]:
        """The incident that a new record belongs to, and the writes that count it there or open it."""
        cause = self.incident(join) if join else None
        if cause is not None:
            return join, [self._bump(join, record, joined=1, closed=cause.closed_at is not None)]
        open_key = item_key(f"open#{record.fingerprint}", "open")
        pointer = self._table.get(open_key) or {"incident_id": ""}
        current = self.incident(str(pointer["incident_id"])) if pointer["incident_id"] else None
        if current is not None and record.diagnosed_at <= _open_until(current, window):
            still_open = self._table.check(open_key, "incident_id", current.id)
            bump = self._bump(current.id, record, joined=1, closed=current.closed_at is not None)
            return current.id, [still_open, bump]
        opened = Incident(record.id, record.fingerprint, record.id, record.diagnosed_at, record.diagnosed_at)
        values = {"pk": f"incident#{opened.id}", "sk": "incident", "undelivered": "yes", "expires": self._expires()}
        values |= {"kind": "incident", "at": opened.opened_at, "dags": {record.failure.key.dag_id}}
        point = self._table.change(
            open_key,
            {"incident_id": opened.id, "expires": self._expires()},
            "attribute_not_exists(pk) OR #incident_id = :old OR #expires < :clock",
            {":old": str(pointer["incident_id"]), ":clock": self._table.clock()},
        )
        return opened.id, [self._table.put(values | dataclasses.asdict(opened)), point]

    def _bump(self, incident_id: str, record: Record, *, joined: int, closed: bool = False) -> Item:
        """An incident's message is behind; its count grows by those who joined, which opens it if it was `closed`."""
        values = {"updated_at": record.diagnosed_at, "undelivered": "yes", "expires": self._expires()}
        counts: dict[str, Any] = {"count": joined, "revision": 1, "dags": {record.failure.key.dag_id}}
        condition, remove = "attribute_exists(pk)", ""
        if joined and closed:
            counts, condition, remove = counts | {"reopened": 1}, "attribute_exists(closed_at)", "closed_at"
        elif joined:
            condition += " AND attribute_not_exists(closed_at)"
        return self._table.change(incident_key(incident_id), values, condition, add=counts, remove=remove)

    def find(self, key: TaskKey) -> Record | None:
        """See `Store.find`."""
        found = self._table.get(_record_key(key))
        return None if found is None else as_record(found)

    def known(self, keys: Collection[TaskKey]) -> set[TaskKey]:
        """See `Store.known`; one query for each run."""
        found: set[str] = set()
        for run in {key[:2] for key in keys}:
            items = self._table.of_partition(_run_pk(*run), limit=RUN_LIMIT, wanted=("sk",))
            found.update(str(item["sk"]) for item in items)
        return {key for key in keys if key.diagnosis_id in found}

    def get(self, diagnosis_id: str) -> Record | None:
        """See `Store.get`."""
        claim = self._table.get(_claim_key(diagnosis_id))
        if claim is None:
            return None
        found = self._table.get(item_key(_run_pk(str(claim["dag_id"]), str(claim["run_id"])), diagnosis_id))
        return None if found is None else as_record(found)

    def recent(
        self, *, limit: int = 50, since: float = 0.0, dag_id: str = "", run_id: str = "", task_id: str = ""
    ) -> Sequence[Record]:
        """See `Store.recent`."""
        if dag_id and run_id:
            records = [r for r in self._of_run(dag_id, run_id) if r.diagnosed_at >= since]
            records = [r for r in records if task_id in ("", r.failure.key.task_id)]
        else:
            index, value = ("by_dag", dag_id) if dag_id else ("by_time", "record")
            narrowed = {name: text for name, text in (("run_id", run_id), ("task_id", task_id)) if text}
            found = self._table.indexed(index, value, since=since, limit=limit, equal=narrowed)
            records = [as_record(values) for values in found]
        return sorted(records, key=lambda r: (-r.diagnosed_at, r.id))[:limit]

    def first_of_run(self, dag_id: str, run_id: str, *, limit: int = 20) -> Sequence[Record]:
        """See `Store.first_of_run`."""
        return sorted(self._of_run(dag_id, run_id), key=lambda r: (r.diagnosed_at, r.id))[:limit]

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> Sequence[Record]:
        """See `Store.tries`."""
        tries = [r for r in self._of_run(dag_id, run_id) if r.failure.key[2:4] == (task_id, map_index)]
        return sorted(tries, key=lambda r: r.failure.key.try_number)[:100]

    def undelivered(self, *, limit: int = 100) -> Sequence[Incident]:
        """See `Store.undelivered`."""
        found = self._table.indexed("by_delivery", "yes", since=0.0, limit=10 * limit, up=True)
        incidents = [as_incident(values) for values in found]
        return sorted(incidents, key=lambda incident: incident.refused_at or 0.0)[:limit]

    def begin_post(
        self, incident_id: str, *, owner: str, now: float, stale_after: float, channel: str = ""
    ) -> PostTurn:
        """See `Store.begin_post`."""
        key, values = incident_key(incident_id), {"posting_by": owner, "posting_at": now}
        absent = "attribute_exists(pk) AND message_ts = :none"
        none, stale = {":none": ""}, {":stale": now - stale_after}
        first = self._table.change(
            key, values | {"channel": channel}, f"{absent} AND attribute_not_exists(posting_at)", none
        )
        mine = f"{absent} AND (#posting_by = :posting_by OR #posting_at < :stale)"
        again = self._table.change(key, values, mine, none | stale)
        turns: tuple[tuple[PostTurn, Item], ...] = (("first", first), ("again", again))
        for turn, write in turns:
            try:
                self._table.update(write)
            except Overtaken:
                continue
            return turn
        return "no"

    def shown(self, incident_id: str, *, revision: int, channel: str = "", message_ts: str = "") -> None:
        """See `Store.shown`."""
        values: dict[str, Any] = {"shown_revision": revision}
        if message_ts:
            values |= {"channel": channel, "message_ts": message_ts}
            self._point_from(channel, message_ts, incident_id)
        latest, behind = "revision <= :shown_revision", "attribute_exists(pk)"
        # another may have shown more meanwhile, which this edit took back
        writes = ("undelivered, refused_at", latest, values), ("refused_at", behind, values | {"undelivered": "yes"})
        for remove, condition, noted in writes:
            try:
                self._table.update(self._table.change(incident_key(incident_id), noted, condition, remove=remove))
                return
            except Overtaken:
                continue

    def _of_run(self, dag_id: str, run_id: str) -> list[Record]:
        return [as_record(found) for found in self._table.of_partition(_run_pk(dag_id, run_id))]

    def _record_values(self, record: Record, incident_id: str) -> dict[str, Any]:
        key = record.failure.key
        failure, diagnosis = _packed(record.failure.to_json()), _packed(record.diagnosis.to_json())
        if len(failure) + len(diagnosis) > ITEM_BYTES:
            failure = _packed(dataclasses.replace(record.failure, log_tail="").to_json())
        return {
            "pk": _run_pk(key.dag_id, key.run_id),
            "sk": record.id,
            "kind": "record",
            **key._asdict(),
            "cause": record.fingerprint,
            "incident_id": incident_id,
            "at": record.diagnosed_at,
            "expires": self._expires(),
            "failure": failure,
            "diagnosis": diagnosis,
        }


def _claim_key(diagnosis_id: str) -> Item:
    return item_key(f"try#{diagnosis_id}", "claim")


def _record_key(key: TaskKey) -> Item:
    return item_key(_run_pk(key.dag_id, key.run_id), key.diagnosis_id)


def _run_pk(dag_id: str, run_id: str) -> str:
    return f"run#{dag_id}#{run_id}"


def _packed(values: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(values).encode())


def _open_until(incident: Incident, window: float) -> float:
    """Until when a failure of the same cause belongs to an incident."""
    return incident.updated_at + window if incident.closed_at is None else incident.closed_at + REOPEN_SECONDS
