"""What all hosts remember for a while on DynamoDB: counters and texts.

Items (pk, sk)::

    counter#NAME         counter  number, and `expires` as all items have it
    text#KEY             text     text
"""

from __future__ import annotations

from airflow_de_agent.adapters.dynamodb_table import DynamoDBTable, Item, Overtaken, item_key
from airflow_de_agent.core.errors import StoreError


class DynamoDBMemory:
    """The part of the store that keeps counters and texts.

    Raises:
        StoreError: on every call, when the table cannot be reached or refuses.
    """

    _table: DynamoDBTable

    def add_to_counter(self, name: str, amount: int, *, expires_at: float) -> int:
        """See `Store.add_to_counter`. An addition whose answer is lost on the way is made again and may count twice."""
        key, expires = item_key(f"counter#{name}", "counter"), int(expires_at)
        clock = {":clock": self._table.clock()}
        lives = "attribute_not_exists(pk) OR #expires >= :clock"
        add = self._table.change(key, {"expires": expires}, lives, clock, add={"number": amount})
        anew = self._table.change(key, {"expires": expires, "number": amount}, "#expires < :clock", clock)
        # an expired counter is begun anew by one host; those that it overtook add to it
        for write in (add, anew, add):
            try:
                return int(self._table.update(write, ReturnValues="ALL_NEW")["number"])
            except Overtaken:
                continue
        raise StoreError(f"the store cannot be used: counter {name} was overtaken by other writers")

    def recall(self, key: str, *, now: float) -> str | None:
        """See `Store.recall`."""
        found = self._table.get(_text_key(key))
        return None if found is None or found["expires"] < now else str(found["text"])

    def remember(self, key: str, text: str, *, expires_at: float) -> None:
        """See `Store.remember`."""
        self._table.update(self._table.change(_text_key(key), {"text": text, "expires": int(expires_at)}))


def _text_key(key: str) -> Item:
    return item_key(f"text#{key}", "text")
