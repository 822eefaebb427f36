"""Messages to a terminal or a log file, where there is no Slack."""

from __future__ import annotations

from collections.abc import Callable

from airflow_de_agent.core.render import Message
from airflow_de_agent.core.thread import DETAILS

CHANNEL = "console"


class Console:
    """Prints each message once, and again when it changed."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def post(self, message: Message, channel: str, *, look_first: bool) -> tuple[str, str]:
        """Print a message."""
        self._write(message.text)
        return CHANNEL, message.incident_id

    def reply(self, message: Message, channel: str, message_ts: str, *, mark: str, look_first: bool = False) -> str:
        """Print what a thread would tell; not the details, as the message was printed with them."""
        if mark != DETAILS:
            self._write(message.text)
        return message_ts

    def is_free(self, channel: str) -> bool:
        """A terminal takes everything."""
        return True

    def edit(self, message: Message, channel: str, message_ts: str) -> None:
        """Print what a message has become, by its first line."""
        self._write(message.text.partition("\n")[0])
