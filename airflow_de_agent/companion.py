"""What the companion Lambda is made of, and what it does with a mention, a reaction, a click and the clock.

Rules kept here: every piece of work may be cut off and come again; a person gets one answer, be it that there is none;
what waiting cannot mend is recorded and not tried again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_de_agent import report, weekly
from airflow_de_agent.adapters.slack_thread import Conversation, SlackThread
from airflow_de_agent.answers import EXPIRED, Answers, not_answered
from airflow_de_agent.core import listing, mention, render
from airflow_de_agent.core.blocks import words
from airflow_de_agent.core.bundle import KEPT_SECONDS
from airflow_de_agent.core.delivery import Delivery
from airflow_de_agent.core.errors import HostError, StoreError
from airflow_de_agent.core.incident import Incident, Vote
from airflow_de_agent.core.recovery import Host, close_recovered

Body = Mapping[str, Any]
_REACTIONS: Mapping[str, Vote] = {
    "+1": "helpful",
    "thumbsup": "helpful",
    "-1": "not_helpful",
    "thumbsdown": "not_helpful",
}
_CLICKS: Mapping[str, Vote] = {render.HELPFUL: "helpful", render.NOT_HELPFUL: "not_helpful"}
NOTE_LENGTH = 500
SETTLED_SECONDS = 300.0
_COUNTED = "counted-until"


@dataclasses.dataclass(frozen=True)
class Companion:
    """Answers in Slack. `count` counts what happened, by name, for metrics."""

    answers: Answers
    slack: SlackThread
    delivery: Delivery
    count: Callable[[str, float], object]

    def mentioned(self, body: Body) -> None:
        """Answer a mention in its thread.

        Raises:
            SlackError: Slack did not take the answer.
        """
        event = body["event"]
        channel, thread = str(event["channel"]), str(event.get("thread_ts") or event["ts"])
        command = mention.parse(str(event.get("text") or ""))
        reply = self.slack.conversation(channel, thread, str(body["event_id"]))
        began = time.monotonic()
        try:
            incident = self._incident_of(channel, thread) if command.means_thread else None
            answer = self.answers.answer(command, incident, lambda text: reply.progress(listing.said(text)))
        except StoreError as exc:
            answer = not_answered(exc)
        reply.say(answer)
        self.count(f"Mention_{command.name}", 1)
        self.count("AnswerSeconds", time.monotonic() - began)
        if answer.incident_id:
            self._note_places(answer.incident_id, reply)
            self._refresh(answer.incident_id)

    def reacted(self, body: Body) -> None:
        """Count 👍 and 👎 on an incident's message as feedback; taking them back withdraws it."""
        event = body["event"]
        vote = _REACTIONS.get(str(event.get("reaction")).partition("::")[0])
        item = event.get("item") or {}
        is_message = vote and item.get("ts")
        incident = self._incident_of(str(item.get("channel")), str(item["ts"])) if is_message else None
        if incident is not None and vote:
            self._vote(incident, str(event["user"]), vote if event["type"] == "reaction_added" else "")

    def clicked(self, body: Body) -> None:
        """Do what a button asks: note a vote, or diagnose again.

        Raises:
            SlackError: Slack did not take the answer.
        """
        action = body["actions"][0]
        incident = self.answers.open_store().incident(str(action.get("value")))
        reply = self.slack.conversation(*_place(body), str(action["action_ts"]))
        if incident is None:
            reply.say(listing.said(EXPIRED))
        elif action["action_id"] in _CLICKS:
            self._vote(incident, str(body["user"]["id"]), _CLICKS[action["action_id"]])
        elif action["action_id"] == render.AGAIN:
            reply.say(self.answers.again(incident, lambda text: reply.progress(listing.said(text))))
            self._note_places(incident.id, reply)
            self._refresh(incident.id)

    def noted(self, body: Body) -> None:
        """Keep what a person wrote into the form as the cure, and show it in the thread."""
        view = body["view"]
        incident_id, channel, thread = str(view["private_metadata"]).split(" ")
        incident = self.answers.open_store().incident(incident_id)
        note = str(view["state"]["values"]["note"]["text"].get("value") or "").strip()[:NOTE_LENGTH]
        reply = self.slack.conversation(channel, thread, str(view["id"]))
        if incident is None:
            reply.say(listing.said(EXPIRED))
            return
        if not note:
            return
        self.answers.open_store().note_fix(incident.id, note=note)
        self.count("FixesNoted", 1)
        reply.say(listing.said(f"Noted as the cure: “{words(note, NOTE_LENGTH)}”. It is shown when this fails again."))
        self._refresh(incident.id)

    def ask_for_note(self, body: Body) -> None:
        """Open the form; within three seconds of the click.

        Raises:
            SlackError: Slack did not take the form.
        """
        self.slack.open_form(str(body["trigger_id"]), note_form(str(body["actions"][0]["value"]), *_place(body)))

    def _vote(self, incident: Incident, person: str, vote: Vote) -> None:
        self.answers.open_store().vote(incident.id, person=person, vote=vote)
        self.count(f"Feedback_{vote or 'withdrawn'}", 1)
        self._refresh(incident.id)

    def _incident_of(self, channel: str, message_ts: str) -> Incident | None:
        """The incident of a message or its thread, be it the incident's own or one in which it was told of.

        Raises:
            StoreError: the store cannot be reached.
        """
        store = self.answers.open_store()
        found = store.incident_of(channel, message_ts)
        told = None if found else store.recall(_told_in(channel, message_ts), now=self.answers.clock())
        return store.incident(told) if told else found

    def _note_places(self, incident_id: str, reply: Conversation) -> None:
        """That further questions in this thread, and reactions to the reply, are about the incident."""
        store, expires = self.answers.open_store(), self.answers.clock() + KEPT_SECONDS
        with contextlib.suppress(StoreError):  # the person has the answer
            if store.incident_of(reply.channel, reply.thread_ts) is None:
                store.remember(_told_in(reply.channel, reply.thread_ts), incident_id, expires_at=expires)
            store.remember(_told_in(reply.channel, reply.ts), incident_id, expires_at=expires)

    def _refresh(self, incident_id: str) -> None:
        """Bring an incident's message up to date; the sweep does it where Slack does not take it now."""
        store = self.answers.open_store()
        incident = store.incident(incident_id)
        if incident is not None and incident.message_ts:
            self.delivery.settle(store, incident_id)

    def swept(self, host: Host | None, complain: Callable[[str], object], seconds: float) -> dict[str, int]:
        """What the clock asks for: incidents that recovered, messages that are behind.

        What is not delivered within `seconds` is left to the next sweep.
        """
        store, now, end = self.answers.open_store(), self.answers.clock(), time.monotonic() + seconds
        recovered: list[Incident] = []
        try:
            recovered = close_recovered(store, host, now) if host else []
        except HostError as exc:
            complain(str(exc))
        delivered = 0
        # first messages come first; what Slack has refused comes last
        for incident in sorted(store.undelivered(), key=lambda one: (one.refused_at is not None, bool(one.message_ts))):
            if time.monotonic() > end:
                break
            delivered += self.delivery.settle(store, incident.id)
        waiting = sum(not incident.message_ts for incident in store.undelivered())
        return {"recovered": len(recovered), "delivered": delivered, "waiting": waiting}

    def counted(self) -> int:
        """Count, for metrics, what both sides have diagnosed since the last sweep; how many those are.

        The latest minutes are left to the next sweep, as a deeper look may be under way.
        """
        store, now = self.answers.open_store(), self.answers.clock()
        until = now - SETTLED_SECONDS
        since = float(store.recall(_COUNTED, now=now) or until - SETTLED_SECONDS)
        records = [r for r in store.recent(limit=report.MOST_RECORDS, since=since) if since <= r.diagnosed_at < until]
        store.remember(_COUNTED, str(until), expires_at=now + KEPT_SECONDS)
        for name, value in report.counters(records).items():
            self.count(name, value)
        return len(records)

    def weekly(self, channel: str) -> bool:
        """Post the report of the last week to a channel, once a week from Monday on; whether it was posted now.

        Raises:
            SlackError: Slack did not take it.
        """
        return weekly.post(self.answers.open_store(), lambda: self.slack, channel, self.answers.clock())


def _told_in(channel: str, message_ts: str) -> str:
    return f"told-{channel}-{message_ts}"


def _place(body: Body) -> tuple[str, str]:
    """Channel and thread of the message whose button was clicked."""
    where = body["container"]
    return str(where["channel_id"]), str(where.get("thread_ts") or where["message_ts"])


def note_form(incident_id: str, channel: str, thread_ts: str) -> dict[str, Any]:
    """The form behind “Fixed by …”; it knows where the button was clicked."""
    field = {"type": "plain_text_input", "action_id": "text", "multiline": True, "max_length": NOTE_LENGTH}
    label = {"type": "plain_text", "text": "What fixed it?"}
    return {
        "type": "modal",
        "callback_id": render.FIXED_BY,
        "private_metadata": f"{incident_id} {channel} {thread_ts}",
        "title": {"type": "plain_text", "text": "Fixed by …"},
        "submit": {"type": "plain_text", "text": "Note it"},
        "blocks": [{"type": "input", "block_id": "note", "label": label, "element": field}],
    }
