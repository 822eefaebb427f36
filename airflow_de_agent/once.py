"""Work that is done once, however often Slack delivers its event.

The record of an event stands in the store's table (``once`` in its key). While work is under way its record expires
with the invocation's own time, so that an invocation that was cut off is followed by one that works.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from airflow_de_agent.core.errors import DeAgentError

KEPT_SECONDS = 86_400
CALL_SECONDS = 2.0
_done_here: dict[str, None] = {}


class Memory(NamedTuple):
    """Where it is kept what was done: the table's name, empty where there is none; `complain` says what went wrong."""

    table: str
    complain: Callable[[str], object]


def once(memory: Memory, name: str, body: Mapping[str, Any], context: Any, work: Callable[[], None]) -> bool:
    """Do the work unless it was done or is being done elsewhere; whether it was done now.

    Where the table cannot be reached the memory of this process must do.
    """
    from aws_lambda_powertools.utilities.idempotency.exceptions import (
        IdempotencyAlreadyInProgressError,
        IdempotencyPersistenceLayerError,
    )

    mark = f"{name}:{_identity(body)}"
    ran: list[bool] = []
    failed: list[Exception] = []

    def run() -> None:
        ran.append(True)
        try:
            work()
        except DeAgentError as exc:
            failed.append(exc)
            raise

    try:
        if memory.table:
            _guarded(memory.table, context, run, mark)
        else:
            _remembered(run, mark)
    except IdempotencyAlreadyInProgressError:
        return False
    except IdempotencyPersistenceLayerError as exc:
        memory.complain(f"whether {name} was done before cannot be read: {type(exc.__cause__ or exc).__name__}")
        if failed:  # that the record could not be taken back must not hide that the work is to be done again
            raise failed[0] from exc
        if not ran:
            _remembered(run, mark)
    return bool(ran)


def _identity(body: Mapping[str, Any]) -> str:
    """What Slack calls this event, click or form."""
    if "event_id" in body:
        return str(body["event_id"])
    if "actions" in body:
        return f"{body['actions'][0].get('action_ts')}:{body.get('user', {}).get('id')}"
    return str(body.get("view", {}).get("id"))


def _remembered(run: Callable[[], None], mark: str) -> None:
    if mark in _done_here:
        return
    run()
    _done_here[mark] = None
    while len(_done_here) > 1000:
        del _done_here[next(iter(_done_here))]


def _guarded(table: str, context: Any, run: Callable[[], None], mark: str) -> None:
    from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function

    config = IdempotencyConfig(event_key_jmespath="mark", expires_after_seconds=KEPT_SECONDS)
    config.register_lambda_context(context)

    def marked(*, what: Mapping[str, str]) -> str:
        run()
        return what["mark"]

    guarded = idempotent_function(marked, data_keyword_argument="what", persistence_store=_layer(table), config=config)
    guarded(what={"mark": mark})


@functools.cache
def _layer(table: str) -> Any:
    """The record of what was done; where it cannot be had soon, the person's answer comes first."""
    from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer
    from botocore.config import Config

    retries: Any = {"total_max_attempts": 1}
    return DynamoDBPersistenceLayer(
        table_name=table,
        key_attr="pk",
        sort_key_attr="sk",
        static_pk_value="once",
        expiry_attr="expires",
        boto_config=Config(connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS, retries=retries),
    )
