"""Incidents into messages: each is posted once, edited in place, and its thread tells what is notable.

Rules kept here: what the store holds decides what is still to be told, so that who comes after a crash or an outage
goes on where it stopped; `Delivery.deliver` writes once at most, so that no message waits for another's thread; while
Slack is away all wait, and go out in their order when it is back; what Slack refuses for good waits behind the rest.

To tell that an incident recovered, close it in the store: its message and its thread follow from that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from airflow_de_agent.core import render, thread
from airflow_de_agent.core.errors import SlackError, StoreError
from airflow_de_agent.core.failure import ASKED
from airflow_de_agent.core.incident import Incident, Record, Store
from airflow_de_agent.core.moment import moment

POST_STALE_SECONDS = 120.0
EDIT_SECONDS = 1.0
ROUND_SECONDS = 2.0  # a new failure is not kept waiting for messages of former ones
REFUSED_SECONDS = 300.0  # where waiting does not help, until a person has mended it
GIVE_UP_SECONDS = 86400.0
STANDS_SECONDS = 600.0
PAST_SECONDS = 3600.0
_ENTRIES_AT_ONCE = 6


class Messenger(Protocol):
    """Where messages go. Every call but `is_free` may raise `SlackError`."""

    def post(self, message: render.Message, channel: str, *, look_first: bool) -> tuple[str, str]:
        """Post a first message; its channel and timestamp. `look_first`: a former post may have gone unnoted."""

    def edit(self, message: render.Message, channel: str, message_ts: str) -> None:
        """Replace a message."""

    def reply(
        self, message: render.Message, channel: str, message_ts: str, *, mark: str, look_first: bool = False
    ) -> str:
        """Write into a message's thread; the timestamp. `mark` is what a former reply, gone unnoted, is known by."""

    def is_free(self, channel: str) -> bool:
        """Whether a channel takes a message now; else writing there would mean waiting."""


@dataclasses.dataclass(frozen=True)
class Posted:
    """A message sent while the store was out of reach: kept with the entry, taken over when the store is back."""

    fingerprint: str
    channel: str
    message_ts: str


@dataclasses.dataclass
class Delivery:
    """Tells of incidents. `channel_for` names the channel of a first message, empty for the messenger's own.

    `unauthorised` becomes true when Slack refuses the token; `queued` says that first messages wait for Slack.
    """

    messenger: Messenger
    clock: Callable[[], float]
    complain: Callable[[str], None]
    owner: str
    buttons: bool = False
    channel_for: Callable[[Record], str] = lambda record: record.failure.slack_channel
    unauthorised: bool = False
    queued: bool = False
    _posted: dict[str, Posted] = dataclasses.field(default_factory=dict)
    _not_before: dict[str, float] = dataclasses.field(default_factory=dict)
    # what a message shows, with the revision that the store had noted then; and whose thread is next
    _shown: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    _thread_next: set[str] = dataclasses.field(default_factory=set)
    # when an open incident of a fingerprint was seen to have its message
    _stood_at: dict[str, float] = dataclasses.field(default_factory=dict)
    _away_until: float = 0.0

    def tell(self, store: Store, incident: Incident) -> None:
        """Bring a message up to date, unless others that an outage held up come first."""
        if not self.queued:
            self.deliver(store, incident)

    def deliver_due(self, store: Store) -> bool:
        """Bring messages up to date, for about `ROUND_SECONDS`; whether more is to do soon."""
        if self._is_away():
            return False
        began, self.queued = self.clock(), False
        due = left = sorted(store.undelivered(), key=self._urgency)
        while left and not self._is_away() and self.clock() - began <= ROUND_SECONDS:
            self.deliver(store, left[0])
            left = left[1:]
        held_up = due if self._is_away() else left
        self.queued = any(not incident.message_ts and incident.refused_at is None for incident in held_up)
        soon = self.clock() + EDIT_SECONDS
        return not self._is_away() and any(self._time_of(incident) <= soon for incident in due)

    def settle(self, store: Store, incident_id: str) -> bool:
        """Bring one incident's message and thread up to date now, though that takes a second for each write.

        Whether all is told.
        """
        for _ in range(_ENTRIES_AT_ONCE):
            incident = store.incident(incident_id)
            if incident is None or incident.shown_revision >= incident.revision:
                return incident is not None
            if incident.refused_at is None and incident.message_ts:
                self._not_before.pop(incident.id, None)
            if self._is_away() or not self.deliver(store, incident, patient=True):
                return False
        return False

    def deliver(self, store: Store, incident: Incident, *, patient: bool = False) -> bool:
        """Write what an incident needs next, if it is time for it; whether something was done.

        `patient`: also where the channel is not free, which means waiting.
        """
        now = self.clock()
        if self._is_away() or now < self._time_of(incident):
            return False
        if incident.message_ts and not patient and not self.messenger.is_free(incident.channel):
            return False
        if incident.message_ts and incident.closed_at is None:
            self._stood_at[incident.fingerprint] = now
        lead = self._lead(store, incident)
        if lead is None:
            store.refused(incident.id, now=now)  # nothing can be told; it shall not stand in others' way
            return False
        self._not_before[incident.id] = now + EDIT_SECONDS
        try:
            if not incident.message_ts:
                incident = self.adopt(store, incident)
            if incident.message_ts:
                return self._bring_up(store, incident, lead)
            return self._post(store, incident, lead)
        except SlackError as exc:
            self._refused(store, incident, lead, exc)
            return False
        except StoreError:
            raise
        except Exception:  # what cannot be made into a message shall not come first again and again
            self._not_before[incident.id] = now + REFUSED_SECONDS
            raise

    def adopt(self, store: Store, incident: Incident) -> Incident:
        """Take over a message that was sent while the store was away; the incident as it is then."""
        posted = self._posted.get(incident.fingerprint)
        if posted is None:
            return incident
        if incident.message_ts:
            del self._posted[incident.fingerprint]
            return incident
        store.shown(incident.id, revision=0, channel=posted.channel, message_ts=posted.message_ts)
        del self._posted[incident.fingerprint]  # noted, not before
        return dataclasses.replace(incident, channel=posted.channel, message_ts=posted.message_ts)

    def remember(self, posted: Posted) -> None:
        """A message that was sent while the store was away, to be adopted."""
        self._posted[posted.fingerprint] = posted

    def tell_without_store(self, record: Record) -> Posted | None:
        """Send a diagnosis though it cannot be kept; once for each cause.

        None where Slack does not take it, or where the incident's message stood there a moment ago: the store, when it
        is back, knows more of it.
        """
        if record.fingerprint in self._posted:
            return self._posted[record.fingerprint]
        if self.clock() - self._stood_at.get(record.fingerprint, 0.0) < STANDS_SECONDS:
            return None
        incident = Incident(record.id, record.fingerprint, record.id, record.diagnosed_at, record.diagnosed_at)
        message = render.message(record, incident, buttons=False)
        try:
            where = self._sent(message, self.channel_for(record), look_first=False)
        except SlackError as exc:
            self.complain(f"Slack did not take the diagnosis of {record.failure.key.label}: {exc}\n{message.text}")
            return None
        self._posted[record.fingerprint] = Posted(record.fingerprint, *where)
        return self._posted[record.fingerprint]

    def _lead(self, store: Store, incident: Incident) -> Record | None:
        """The record that speaks for an incident; one that is gone or cannot be read is left alone for a while."""
        before = self._not_before.get(incident.id, 0.0)
        self._not_before[incident.id] = self.clock() + REFUSED_SECONDS
        try:
            return store.get(incident.lead_id)
        except StoreError:
            self._not_before[incident.id] = before
            raise

    # --- one write ---------------------------------------------------------------------------------------------------

    def _post(self, store: Store, incident: Incident, lead: Record) -> bool:
        if _is_of_the_past(lead, incident):
            store.shown(incident.id, revision=incident.revision)
            return True
        channel = self.channel_for(lead)  # once, as a later diagnosis might choose another
        turn = store.begin_post(
            incident.id, channel=channel, owner=self.owner, now=self.clock(), stale_after=POST_STALE_SECONDS
        )
        if turn == "no":
            return False
        again = turn == "again"
        if again:
            channel = (store.incident(incident.id) or incident).channel
        message = render.message(lead, incident, buttons=self.buttons)
        where = self._sent(message, channel, look_first=again)
        self._posted[incident.fingerprint] = Posted(incident.fingerprint, *where)
        store.shown(incident.id, revision=incident.shown_revision, channel=where[0], message_ts=where[1])
        del self._posted[incident.fingerprint]  # noted; else `tell_without_store` would post it again
        self._shown[incident.id] = (incident.revision, incident.shown_revision)
        self._stood_at[incident.fingerprint] = self.clock()
        return True

    def _sent(self, message: render.Message, channel: str, *, look_first: bool) -> tuple[str, str]:
        """Post a first message; to the messenger's own channel where the one of a rule or a DAG refuses it."""
        try:
            return self.messenger.post(message, channel, look_first=look_first)
        except SlackError as exc:
            if exc.retry_after is not None or exc.unauthorised or not channel:
                raise
            self.complain(f"{exc}; the message of incident {message.incident_id} goes to slack_channel, not {channel}")
            return self.messenger.post(message, "", look_first=look_first)

    def _bring_up(self, store: Store, incident: Incident, lead: Record) -> bool:
        """Edit the message, or write the next thing into its thread; they take turns."""
        told_all = thread.next_step(store.thread(incident.id), lead, incident) is None
        up_to_date = self._shown.get(incident.id) == (incident.revision, incident.shown_revision)
        if not told_all and (up_to_date or incident.id in self._thread_next):
            self._thread_next.discard(incident.id)
            return self._add_entry(store, incident.id)
        if not up_to_date:
            self._edited(render.message(lead, incident, buttons=self.buttons), incident)
            self._shown[incident.id] = (incident.revision, incident.shown_revision)
        if told_all:
            store.shown(incident.id, revision=incident.revision)
        else:
            self._thread_next.add(incident.id)
        return True

    def _edited(self, message: render.Message, incident: Incident) -> None:
        """Edit a message; one that cannot be edited any more stays, and its thread tells what is new."""
        try:
            self.messenger.edit(message, incident.channel, incident.message_ts)
        except SlackError as exc:
            if not exc.uneditable:
                raise
            self.complain(f"{exc}; the message of incident {incident.id} stays as it is")

    def _add_entry(self, store: Store, incident_id: str) -> bool:
        now = self.clock()
        turn = store.begin_entry(incident_id, owner=self.owner, now=now, stale_after=POST_STALE_SECONDS)
        incident = store.incident(incident_id)
        lead = store.get(incident.lead_id) if incident else None
        if turn == "no" or incident is None or lead is None:
            self._not_before[incident_id] = now + 5 * EDIT_SECONDS  # another is at it, and will not be long
            return False
        so_far = store.thread(incident_id)
        step = thread.next_step(so_far, lead, incident)
        told = so_far.told if step is None else self._written(step, incident, look_first=turn == "again")
        store.end_entry(incident_id, told=told)
        return True

    def _written(self, step: thread.Step, incident: Incident, *, look_first: bool) -> str:
        """Write one step of a thread; what has been told by then."""
        if not step.replaces:
            ts = self.messenger.reply(
                step.message, incident.channel, incident.message_ts, mark=step.mark, look_first=look_first
            )
            return step.done(ts).to_text()
        try:
            self.messenger.edit(step.message, incident.channel, step.replaces)
        except SlackError as exc:
            if exc.retry_after is not None or exc.unauthorised:
                raise
            self.complain(f"{exc}; the details of incident {incident.id} stay as they are")  # somebody deleted them
        return step.done(step.replaces).to_text()

    # --- when --------------------------------------------------------------------------------------------------------

    def _is_away(self) -> bool:
        return 0.0 < self._away_until - self.clock() <= REFUSED_SECONDS

    def _time_of(self, incident: Incident) -> float:
        """When an incident's next write is due; nothing waits longer, unless a clock has been set back since."""
        refused = 0.0 if incident.refused_at is None else incident.refused_at + REFUSED_SECONDS
        at = max(refused, self._not_before.get(incident.id, 0.0))
        return at if at <= self.clock() + REFUSED_SECONDS else 0.0

    def _urgency(self, incident: Incident) -> tuple[bool, bool, float]:
        """First messages in their order, then those whose last write is longest ago; the refused last."""
        written = self._not_before.get(incident.id, 0.0) if incident.message_ts else 0.0
        return incident.refused_at is not None, bool(incident.message_ts), written

    def _refused(self, store: Store, incident: Incident, lead: Record, exc: SlackError) -> None:
        now = self.clock()
        said = f"Slack did not take what incident {incident.id} has to tell: {exc}"
        if exc.unauthorised or exc.retry_after is not None:
            self.unauthorised = self.unauthorised or exc.unauthorised
            self._away_until = now + (REFUSED_SECONDS if exc.retry_after is None else exc.retry_after)
            self._not_before[incident.id] = self._away_until
            self.queued = True
        elif now - incident.updated_at > GIVE_UP_SECONDS:
            store.shown(incident.id, revision=incident.revision)
            said += "; it is given up"
        else:
            store.refused(incident.id, now=now)
            self._not_before[incident.id] = now + REFUSED_SECONDS
        self.complain(f"{said}\n{render.message(lead, incident).text}")


def _is_of_the_past(lead: Record, incident: Incident) -> bool:
    """Whether it is one old failure that a person asked for: who asked has the answer, and nobody else is called."""
    failed_at = moment(lead.failure.failed_at)
    alone = lead.failure.source == ASKED and incident.count == 1
    return alone and failed_at is not None and incident.opened_at - failed_at > PAST_SECONDS
