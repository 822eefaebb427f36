"""Slack's Web API: post a message once, edit it in place."""

from __future__ import annotations

import http.client
import math
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_de_agent.adapters import console
from airflow_de_agent.core.blocks import lines
from airflow_de_agent.core.errors import SlackError
from airflow_de_agent.core.render import Message

if TYPE_CHECKING:
    from slack_sdk import WebClient

_TIMEOUT_SECONDS = 10
AGAIN_SECONDS, MOST_SECONDS = 10.0, 300.0  # where Slack does not say when, and whatever it says
PACE_SECONDS = 1.05
FREE_SECONDS = 0.25  # so short a wait is none
_UNAUTHORISED = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}
_PASSING = {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
# where the blocks are to blame, the text alone is taken
_UNLIKED = ("invalid_blocks", "msg_blocks_too_long", "msg_too_long")
PLAIN_TEXT = 1000  # far below what Slack cuts off or refuses
_UNEDITABLE = {"message_not_found", "cant_update_message", "edit_window_closed"}
_EVENT = "de_agent_incident"


class Slack:
    """A messenger with a bot token. What has no channel goes to the console.

    `clock` (seconds, whatever they count from) and `sleep` keep the pace.

    Raises:
        SlackError: on every call, when Slack refuses or cannot be reached.
    """

    def __init__(
        self,
        token: str,
        channel: str,
        base_url: str,
        fallback: console.Console,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._token, self._channel, self._base_url, self._fallback = token, channel, base_url, fallback
        self._client: WebClient | None = None
        self._wrote_at: dict[str, float] = {}
        self._ids: dict[str, str] = {}  # of channels by their names

    def post(self, message: Message, channel: str, *, look_first: bool) -> tuple[str, str]:
        """Post a message; its channel id and timestamp.

        With `look_first` a message of the same incident that a killed process left unnoted is looked for: before
        posting where the channel's id is known, else right after, as Slack tells the id of a named channel only then.
        """
        wanted = channel or self._channel
        if not wanted:
            return self._fallback.post(message, channel, look_first=look_first)
        known = self._ids.get(wanted, wanted)
        if look_first and known[:1] in "CG" and (former := self._former(known, message.incident_id)):
            self.edit(message, known, former)
            return known, former
        metadata = {"event_type": _EVENT, "event_payload": {"incident_id": message.incident_id}}
        where = {"channel": wanted, "metadata": metadata, "unfurl_links": False}
        sent = self._written("chat.postMessage", message, where)
        posted, ts = str(sent["channel"]), str(sent["ts"])
        self._ids[wanted], self._wrote_at[posted] = posted, self._clock()
        if look_first and (former := self._former(posted, message.incident_id, other_than=ts)):
            self._call("chat.delete", channel=posted, ts=ts)
            self.edit(message, posted, former)
            return posted, former
        return posted, ts

    def edit(self, message: Message, channel: str, message_ts: str) -> None:
        """Replace a message's text and blocks."""
        if channel == console.CHANNEL:
            self._fallback.edit(message, channel, message_ts)
        else:
            self._written("chat.update", message, {"channel": channel, "ts": message_ts})

    def is_free(self, channel: str) -> bool:
        """Whether a write to a channel would not have to wait."""
        return channel == console.CHANNEL or self._wait(channel) <= FREE_SECONDS

    def _written(self, method: str, message: Message, where: dict[str, Any]) -> Any:
        """Write a message; by its text alone where Slack does not take its blocks, so that it is seen all the same."""
        self._keep_pace(where["channel"])
        try:
            sent = self._call(method, text=message.fallback, blocks=list(message.blocks), **where)
        except SlackError as exc:
            if not any(reason in str(exc) for reason in _UNLIKED):
                raise
            text = lines(message.text, PLAIN_TEXT) if "too_long" in str(exc) else message.fallback
            sent = self._call(method, text=text, blocks=[], **where)
        if not (sent.get("channel") and sent.get("ts")):  # by something between Slack and us
            raise SlackError(f"{method}: the answer names no message", retry_after=AGAIN_SECONDS)
        return sent

    def _keep_pace(self, channel: str) -> None:
        """Wait until Slack takes a further message in a channel: one a second, or it refuses."""
        self._sleep(self._wait(channel))
        self._wrote_at[self._ids.get(channel, channel)] = self._clock()

    def _wait(self, channel: str) -> float:
        wrote_at = self._wrote_at.get(self._ids.get(channel, channel), -math.inf)
        return max(wrote_at + PACE_SECONDS - self._clock(), 0.0)

    def _former(self, channel_id: str, incident_id: str, other_than: str = "") -> str:
        """The timestamp of an earlier message of the incident, empty where there is none or it cannot be looked for.

        Of several, whose answers were all lost, the first is kept and the others are deleted.
        """
        try:
            seen = self._call("conversations.history", channel=channel_id, limit=100, include_all_metadata=True)
        except SlackError as exc:
            if exc.retry_after is not None and not other_than:
                raise
            return ""  # a channel that cannot be read may be written to; what was just posted must be noted
        found = [
            str(item["ts"])
            for item in seen.get("messages") or ()
            if item.get("metadata", {}).get("event_payload", {}).get("incident_id") == incident_id
        ]
        found = [ts for ts in found if ts != other_than]
        for ts in found[:-1]:
            self._call("chat.delete", channel=channel_id, ts=ts)
        return found[-1] if found else ""

    def _call(self, method: str, **arguments: Any) -> Any:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            if method.startswith("conversations."):  # Slack takes JSON for what writes only
                return self._opened().api_call(method, params=arguments)
            return self._opened().api_call(method, json=arguments)
        except SlackApiError as exc:
            raise _refusal(method, exc.response) from exc
        except (SlackClientError, OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # an answer may be cut off, or be no object, on which the SDK stumbles
            raise SlackError(f"{method}: {type(exc).__name__}: {exc}", retry_after=AGAIN_SECONDS) from exc

    def _opened(self) -> WebClient:
        from slack_sdk import WebClient

        if self._client is None:
            base_url = self._base_url or WebClient.BASE_URL
            self._client = WebClient(self._token, base_url=base_url, timeout=_TIMEOUT_SECONDS)
        return self._client


def _refusal(method: str, response: Any) -> SlackError:
    said = getattr(response, "data", None)  # a proxy's answer may be anything
    status, headers = getattr(response, "status_code", 200), getattr(response, "headers", {})
    reason = str((said.get("error") if isinstance(said, dict) else "") or f"HTTP {status}")
    wait = str(headers.get("Retry-After", ""))
    if not re.fullmatch(r"[a-z_]{1,60}|HTTP \d+", reason):  # what stands between us and Slack may say anything
        reason = "service_unavailable (the answer is not one of Slack's)"
    passing = reason.partition(" ")[0] in _PASSING or bool(wait) or status >= 500
    seconds = min(float(wait), MOST_SECONDS) if re.fullmatch("[0-9]{1,20}", wait) else AGAIN_SECONDS
    return SlackError(
        f"{method}: {reason}",
        seconds if passing else None,
        unauthorised=reason in _UNAUTHORISED,
        uneditable=reason in _UNEDITABLE,
    )
