"""Slack's Web API in a thread: reply once, show progress in the same message, ask with a form."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from airflow_de_agent.adapters import console
from airflow_de_agent.adapters.slack import Slack
from airflow_de_agent.core.errors import SlackError
from airflow_de_agent.core.render import Message

_ANSWER, _ENTRY = "de_agent_reply", "de_agent_entry"


class SlackThread(Slack):
    """What is told in threads, and what the companion says.

    Raises:
        SlackError: on every call, when Slack refuses or cannot be reached.
    """

    def conversation(self, channel: str, thread_ts: str, mark: str) -> Conversation:
        """A reply in a thread, known by its `mark` (an event id), so that it is there once."""
        return Conversation(self, channel, thread_ts, mark)

    def reply(self, message: Message, channel: str, message_ts: str, *, mark: str, look_first: bool = False) -> str:
        """Write into a message's thread; the timestamp, with `look_first` that of a former reply of the same mark."""
        if channel == console.CHANNEL:
            return self._fallback.reply(message, channel, message_ts, mark=mark)
        former = self.said(channel, message_ts, mark) if look_first else ""
        return former or self._send(message, channel, message_ts, mark, _ENTRY)

    def send(self, message: Message, channel: str, thread_ts: str, mark: str) -> str:
        """Post a message in a thread; its timestamp. Text alone, where Slack does not like the blocks."""
        return self._send(message, channel, thread_ts, mark, _ANSWER)

    def _send(self, message: Message, channel: str, thread_ts: str, mark: str, event: str) -> str:
        metadata = {"event_type": event, "event_payload": {"mark": mark}}
        where = {"channel": channel, "thread_ts": thread_ts, "metadata": metadata, "unfurl_links": False}
        return str(self._written("chat.postMessage", message, where)["ts"])

    def replace(self, message: Message, channel: str, message_ts: str) -> None:
        """Replace a message, as `send` sends it."""
        self._written("chat.update", message, {"channel": channel, "ts": message_ts})

    def said(self, channel: str, thread_ts: str, mark: str) -> str:
        """The timestamp of the reply with this mark; empty where there is none."""
        where = {"channel": channel, "ts": thread_ts, "limit": 200, "include_all_metadata": True}
        try:
            thread = self._call("conversations.replies", **where)
        except SlackError as exc:
            if exc.retry_after is not None:
                raise
            return ""  # a thread that cannot be read may still be written to
        for item in thread.get("messages") or ():
            if item.get("metadata", {}).get("event_payload", {}).get("mark") == mark:
                return str(item["ts"])
        return ""

    def open_form(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Open a form for the person who clicked, within three seconds of the click."""
        self._call("views.open", trigger_id=trigger_id, view=view)


@dataclasses.dataclass
class Conversation:
    """One reply, which shows progress first and the answer in the end; `ts` is its timestamp, once it stands there."""

    slack: SlackThread
    channel: str
    thread_ts: str
    mark: str
    ts: str = ""

    def say(self, message: Message) -> None:
        """Post the reply, or replace what it says so far, also what a run that was cut off had said."""
        self.ts = self.ts or self.slack.said(self.channel, self.thread_ts, self.mark)
        if not (self.ts and self._replaced(message)):
            self.ts = self.slack.send(message, self.channel, self.thread_ts, self.mark)

    def _replaced(self, message: Message) -> bool:
        """Whether the reply could be replaced; it may be deleted, or the workspace lets nobody edit what is older."""
        try:
            self.slack.replace(message, self.channel, self.ts)
        except SlackError as exc:
            if not exc.uneditable:
                raise
            return False
        return True

    def progress(self, message: Message) -> None:
        """Say what is being done, unless that would mean waiting; where Slack does not take it the answer will do."""
        if self.slack.is_free(self.channel):
            with contextlib.suppress(SlackError):
                self.say(message)
