"""One DynamoDB table: its keys and indexes, and the calls on it with errors that name their cure.

Rules kept here: nothing is ever scanned; an item whose time has expired is not there, even while DynamoDB has it still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core.errors import StoreError

# name of the index: its partition key (text) and its sort key (a number)
INDEXES = {
    "by_time": ("kind", "at"),
    "by_dag": ("dag_id", "at"),
    "by_fingerprint": ("fingerprint", "opened_at"),
    "by_delivery": ("undelivered", "opened_at"),
    "by_incident": ("incident_id", "at"),
}
CREATE_SECONDS = 60.0
CONDITIONS = ("ConditionalCheckFailedException", "TransactionCanceledException", "TransactionConflictException")

Item = dict[str, Any]  # as DynamoDB writes it, {"name": {"S": "text"}}


class Overtaken(Exception):
    """A condition does not hold any more; `there` is the item in the way, where the service sent it along."""

    def __init__(self, there: Mapping[str, Any]) -> None:
        super().__init__("a condition does not hold")
        self.there = there


class DynamoDBTable:
    """A table by name; `clock` gives Unix time, for expiry alone.

    Raises:
        StoreError: on every call, when the table cannot be reached or refuses.
    """

    def __init__(self, client: Any, name: str, clock: Callable[[], float], call_seconds: float = 10.0) -> None:
        self.name, self.clock = name, clock
        self._client, self._call_seconds = client, call_seconds

    def create(self) -> None:
        """Create the table with its indexes and its expiry, billed by request; one that exists is left as it is."""
        keys = ["pk", "sk", *(index[0] for index in INDEXES.values())]
        numbers = {index[1] for index in INDEXES.values()}
        attributes = [(name, "S") for name in dict.fromkeys(keys)] + [(name, "N") for name in sorted(numbers)]
        try:
            self._call(
                "create_table",
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in attributes],
                KeySchema=_schema("pk", "sk"),
                GlobalSecondaryIndexes=[
                    {"IndexName": name, "KeySchema": _schema(*index), "Projection": {"ProjectionType": "ALL"}}
                    for name, index in INDEXES.items()
                ],
            )
        except StoreError as exc:
            if not isinstance(exc.__cause__, CallFailed) or exc.__cause__.code != "ResourceInUseException":
                raise
            return
        until = time.monotonic() + CREATE_SECONDS
        while self._call("describe_table")["Table"]["TableStatus"] != "ACTIVE" and time.monotonic() < until:
            time.sleep(1)
        self._call("update_time_to_live", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})

    def get(self, key: Item) -> dict[str, Any] | None:
        """The item as it is now, or None."""
        values = from_item(self._call("get_item", Key=key, ConsistentRead=True).get("Item", {}))
        return values if values and self._lives(values) else None

    def update(self, write: Item, **options: Any) -> dict[str, Any]:
        """Make one change that `change` describes; the attributes that DynamoDB gives back.

        Raises:
            Overtaken: its condition does not hold.
        """
        answer = self._call("update_item", **write["Update"], **options)
        return from_item(answer.get("Attributes", {}))

    def transact(self, writes: list[Item]) -> None:
        """Make several changes, or none.

        Raises:
            Overtaken: a condition does not hold, or somebody else is writing there.
        """
        self._call("transact_write_items", named=False, TransactItems=writes)

    def change(
        self,
        key: Item,
        values: Mapping[str, Any],
        condition: str = "",
        extra: Mapping[str, Any] | None = None,
        *,
        remove: str = "",
        add: Mapping[str, Any] | None = None,
    ) -> Item:
        """Setting some attributes, of an item that is made where it is not there.

        `add` holds numbers to add and sets of texts to join. `condition` may use ``#name`` and ``:name`` of every
        value, and the names in `extra`.
        """
        given = {**values, **(add or {})}
        parts = ["SET " + ", ".join(f"#{name} = :{name}" for name in values)]
        parts += ["ADD " + ", ".join(f"#{name} :{name}" for name in add)] if add else []
        parts += [f"REMOVE {remove}"] if remove else []
        update: Item = {
            "TableName": self.name,
            "Key": key,
            "UpdateExpression": " ".join(parts),
            "ExpressionAttributeNames": {f"#{name}": name for name in given},
            "ExpressionAttributeValues": to_item({f":{name}": given[name] for name in given} | dict(extra or {})),
        }
        return {"Update": update | ({"ConditionExpression": condition} if condition else {})}

    def put(self, values: Mapping[str, Any], *, absent: bool = False) -> Item:
        """Writing a whole item; `absent`: only where there is none that lives."""
        put: Item = {"TableName": self.name, "Item": to_item(values)}
        if absent:
            put["ConditionExpression"] = "attribute_not_exists(pk) OR expires < :clock"
            put["ExpressionAttributeValues"] = to_item({":clock": self.clock()})
        return {"Put": put}

    def check(self, key: Item, name: str, value: str) -> Item:
        """That an attribute still has a value."""
        held = {"ExpressionAttributeNames": {"#n": name}, "ExpressionAttributeValues": to_item({":v": value})}
        return {"ConditionCheck": {"TableName": self.name, "Key": key, "ConditionExpression": "#n = :v", **held}}

    def of_partition(self, pk: str, *, limit: int = 1000, wanted: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The items of one partition as they are now; of each its `wanted` attributes, or all."""
        return self._query("pk", pk, "", {}, limit, wanted=wanted, ConsistentRead=True)

    def indexed(
        self,
        index: str,
        value: str,
        *,
        since: float,
        limit: int,
        equal: Mapping[str, str] | None = None,
        up: bool = False,
        wanted: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Items of an index from its end (`up`: its beginning); `equal` narrows them, at the cost of reading more.

        Of each its `wanted` attributes, or all.
        """
        partition, sort = INDEXES[index]
        return self._query(
            partition, value, sort, equal or {}, limit, since, wanted, IndexName=index, ScanIndexForward=up
        )

    def _query(
        self,
        partition: str,
        value: str,
        sort: str,
        equal: Mapping[str, str],
        limit: int,
        since: float = 0.0,
        wanted: Sequence[str] = (),
        **options: Any,
    ) -> list[dict[str, Any]]:
        """Pages until there is enough; what has expired is left out."""
        given = {partition: value, **equal} | ({sort: since} if sort else {})
        shown = dict.fromkeys((*wanted, "expires")) if wanted else {}
        options["ExpressionAttributeNames"] = {f"#{name}": name for name in (*given, *shown)}
        options["ExpressionAttributeValues"] = to_item({f":{name}": given[name] for name in given})
        options["KeyConditionExpression"] = f"#{partition} = :{partition}" + (
            f" AND #{sort} >= :{sort}" if sort else ""
        )
        if equal:
            options["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in equal)
        if shown:
            options["ProjectionExpression"] = ", ".join(f"#{name}" for name in shown)
        found: list[dict[str, Any]] = []
        while True:
            page = self._call("query", expects="Items", **options)
            found += filter(self._lives, map(from_item, page["Items"]))
            if len(found) >= limit or "LastEvaluatedKey" not in page:
                return found[:limit]
            options["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _lives(self, values: Mapping[str, Any]) -> bool:
        return bool(values.get("expires", self.clock()) >= self.clock())

    def _call(self, method: str, /, expects: str = "", named: bool = True, **arguments: Any) -> dict[str, Any]:
        resource = f"arn:aws:dynamodb:{self._client.meta.region_name}:*:table/{self.name}"
        calls = Calls(self._client, time.monotonic() + self._call_seconds, resource=resource)
        try:
            return calls(method, expects=expects, **arguments | ({"TableName": self.name} if named else {}))
        except CallFailed as exc:
            if exc.code in CONDITIONS:
                raise Overtaken(from_item(getattr(exc.__cause__, "response", {}).get("Item", {}))) from exc
            cure = exc.cure
            if exc.code == "ResourceNotFoundException":
                cure = "create the table with: de-agent store create; or correct the table and region of store_url."
            raise StoreError(f"the store cannot be used: {exc.reason} {cure}".strip()) from exc


def item_key(pk: str, sk: str) -> Item:
    """The key of an item."""
    return to_item({"pk": pk, "sk": sk})


def to_item(values: Mapping[str, Any]) -> Item:
    """Python values as DynamoDB's; None is left out."""
    return {name: _attribute(value) for name, value in values.items() if value is not None}


def from_item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """DynamoDB's attributes as Python values."""
    return {name: _number(held["N"]) if "N" in held else next(iter(held.values())) for name, held in item.items()}


def _schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, set):
        return {"SS": sorted(value)}
    return {"N": repr(value)} if isinstance(value, int | float) else {"S": str(value)}


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
