"""What people and the sweep do with incidents on DynamoDB: find, vote, note a cure, close.

Items (pk, sk)::

    incident#ID          vote#PERSON  whether the diagnosis helped that person
    message#CHANNEL#TS   message      the incident that a Slack message tells of
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_de_agent.adapters.dynamodb_table import DynamoDBTable, Item, Overtaken, item_key
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Incident, Joined, PostTurn, Record, Thread, Vote

RACES = 40
MOST_JOINED = 100_000
_INCIDENT_FIELDS = tuple(field.name for field in dataclasses.fields(Incident))


class DynamoDBIncidents:
    """The part of the store that reads incidents and takes feedback on them.

    Raises:
        StoreError: on every call, when the table cannot be reached or refuses.
    """

    _table: DynamoDBTable
    _retention: float

    def earlier_incidents(self, fingerprint: str, *, since: float) -> Sequence[Incident]:
        """See `Store.earlier_incidents`."""
        found = self._table.indexed("by_fingerprint", fingerprint, since=since, limit=100)
        return [as_incident(values) for values in found]

    def incident(self, incident_id: str) -> Incident | None:
        """See `Store.incident`."""
        found = self._table.get(incident_key(incident_id))
        return None if found is None else as_incident(found)

    def incident_of(self, channel: str, message_ts: str) -> Incident | None:
        """See `Store.incident_of`."""
        pointer = self._table.get(_message_key(channel, message_ts))
        return None if pointer is None else self.incident(str(pointer["incident_id"]))

    def incidents(self, *, since: float, still_open: bool = False, limit: int = 1000) -> Sequence[Incident]:
        """See `Store.incidents`."""
        most = 1000 if still_open else limit
        found = self._table.indexed("by_time", "incident", since=since, limit=most)
        return [as_incident(values) for values in found if not still_open or "closed_at" not in values][:limit]

    def joined(self, incident_id: str) -> Sequence[Joined]:
        """See `Store.joined`; by the index, which may lag."""
        wanted = (*TaskKey._fields, "at")
        found = self._table.indexed("by_incident", incident_id, since=0.0, limit=MOST_JOINED, wanted=wanted)
        return [Joined(TaskKey(*(values[name] for name in TaskKey._fields)), float(values["at"])) for values in found]

    def vote(self, incident_id: str, *, person: str, vote: Vote) -> None:
        """See `Store.vote`."""
        key = item_key(f"incident#{incident_id}", f"vote#{person}")
        for race in range(RACES):
            before = self._table.get(key)
            former = str(before["vote"]) if before else ""
            if former == vote:
                return
            counts = {name: by for name, by in (("revision", 1), (former, -1), (str(vote), 1)) if name}
            same = "#vote = :former" if before else "attribute_not_exists(pk) OR #expires < :clock"
            limits: dict[str, Any] = {":former": former} if before else {":clock": self._table.clock()}
            cast = self._table.change(key, {"vote": vote, "expires": self._expires()}, same, limits)
            try:
                self._table.transact([cast, self._behind(incident_id, counts)])
                return
            except Overtaken:
                if self.incident(incident_id) is None:
                    return
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**race)))
        raise StoreError(f"the store cannot be used: a vote was overtaken {RACES} times by other writers")

    def note_fix(self, incident_id: str, *, note: str) -> None:
        """See `Store.note_fix`."""
        self._changed(self._behind(incident_id, {"revision": 1}, {"fixed_by": note}))

    def close(self, incident_id: str, *, now: float, count: int | None = None) -> bool:
        """See `Store.close`."""
        still_open = "attribute_exists(pk) AND attribute_not_exists(closed_at)"
        values: dict[str, Any] = {"closed_at": now}
        if count is not None:
            values, still_open = values | {"count": count}, f"{still_open} AND #count = :count"
        return self._changed(self._behind(incident_id, {"revision": 1}, values, still_open))

    def refused(self, incident_id: str, *, now: float) -> None:
        """See `Store.refused`."""
        self._changed(self._table.change(incident_key(incident_id), {"refused_at": now}, "attribute_exists(pk)"))

    def thread(self, incident_id: str) -> Thread:
        """See `Store.thread`."""
        found = self._table.get(incident_key(incident_id)) or {}
        return Thread(str(found.get("told", "")), tuple(sorted(found.get("dags", ()))))

    def begin_entry(self, incident_id: str, *, owner: str, now: float, stale_after: float) -> PostTurn:
        """See `Store.begin_entry`."""
        free = (
            "attribute_exists(pk) AND (attribute_not_exists(writing_at)"
            " OR #writing_by = :writing_by OR #writing_at < :stale)"
        )
        values = {"writing_by": owner, "writing_at": now}
        write = self._table.change(incident_key(incident_id), values, free, {":stale": now - stale_after})
        try:
            before = self._table.update(write, ReturnValues="ALL_OLD")
        except Overtaken:
            return "no"
        return "again" if "writing_at" in before else "first"

    def end_entry(self, incident_id: str, *, told: str) -> None:
        """See `Store.end_entry`."""
        there = "attribute_exists(pk)"
        write = self._table.change(incident_key(incident_id), {"told": told}, there, remove="writing_by, writing_at")
        self._changed(write)

    def _changed(self, write: Item) -> bool:
        try:
            self._table.update(write)
        except Overtaken:
            return False
        return True

    def _behind(
        self,
        incident_id: str,
        counts: Mapping[str, int],
        values: Mapping[str, Any] | None = None,
        condition: str = "attribute_exists(pk)",
    ) -> Item:
        """A change of an incident that its message is to show."""
        shown = {**(values or {}), "undelivered": "yes"}
        return self._table.change(incident_key(incident_id), shown, condition, add=counts)

    def _point_from(self, channel: str, message_ts: str, incident_id: str) -> None:
        """Let a message be followed to its incident."""
        values = {"incident_id": incident_id, "expires": self._expires()}
        self._table.update(self._table.change(_message_key(channel, message_ts), values))

    def _expires(self) -> int:
        return int(self._table.clock() + self._retention)


def incident_key(incident_id: str) -> Item:
    """The key of an incident's item."""
    return item_key(f"incident#{incident_id}", "incident")


def _message_key(channel: str, message_ts: str) -> Item:
    return item_key(f"message#{channel}#{message_ts}", "message")


def as_incident(values: Mapping[str, Any]) -> Incident:
    """An incident from its item."""
    fields: dict[str, Any] = {name: values[name] for name in _INCIDENT_FIELDS if name in values}
    for name in ("opened_at", "updated_at", "closed_at", "refused_at"):
        if name in fields:
            fields[name] = float(fields[name])
    return Incident(**fields)


def as_record(values: Mapping[str, Any]) -> Record:
    """A record from its item."""
    failure = TaskFailure.from_json(_unpacked(values["failure"]))
    diagnosis = Diagnosis.from_json(_unpacked(values["diagnosis"]))
    return Record(failure, diagnosis, str(values["cause"]), float(values["at"]), str(values["incident_id"]))


def _unpacked(data: Any) -> Any:
    return json.loads(zlib.decompress(bytes(data)))
