"""The companion Lambda's entry: ``airflow_de_agent.lambda_handler.handler``.

It is called four ways: by Slack through the HTTP API, by itself for the work that takes longer than Slack waits, by a
queue for such work that failed and is done again later, and by a schedule for the sweep. Rules kept here: nothing is
done for a request that is not signed and fresh; Slack gets its answer first; what Slack delivers several times is done
once; no body, token or signature is ever logged.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.lazy_listener import LazyListenerRunner

from airflow_de_agent import lambda_parts
from airflow_de_agent import settings as configuration
from airflow_de_agent.aws.calls import CallFailed, within
from airflow_de_agent.bootstrap import Parts
from airflow_de_agent.companion import Companion
from airflow_de_agent.core import render
from airflow_de_agent.core.errors import DeAgentError, SlackError, StoreError
from airflow_de_agent.once import Memory, once

Event = dict[str, Any]
Answer = dict[str, Any]

BODY_BYTES = 256_000  # Slack's own are far below
HAND_OVER_SECONDS = {True: 1.5, False: 0.45}  # the first time (a connection is to be made), and later
SWEEP_END_SECONDS = 20.0  # kept for the last message under way, and for the report of the week

logger = Logger(level="INFO")
metrics = Metrics(namespace="DEAgent")
_quiet = logging.getLogger("de-agent.bolt")
_quiet.setLevel(logging.CRITICAL)  # Bolt logs bodies and signatures of refused requests


def _count(name: str, value: float) -> None:
    seconds = name.endswith("Seconds")
    metrics.add_metric(name=name, unit=MetricUnit.Seconds if seconds else MetricUnit.Count, value=value)


@functools.cache
def parts() -> Parts:
    """The parts of this function instance."""
    return Parts(configuration.load())


def _companion() -> Companion:
    return lambda_parts.companion(parts(), _count, logger.info)


@metrics.log_metrics
def handler(event: Event, context: Any) -> Answer:
    """Handle one call; an HTTP answer, or what was done."""
    _count("Calls", 1)
    if "Records" in event:
        return {"again": [_handled(payload, context) for payload in _kept(event)]}
    return _handled(event, context)


def _handled(event: Event, context: Any) -> Answer:
    if "requestContext" in event:
        return _received(event, context)
    if "de_agent_work" in event:
        return _worked(event, context)
    if event.get("source") == "aws.events" or event.get("de_agent") == "sweep":
        return _swept(context)
    logger.error("an event of an unknown kind was refused", keys=sorted(map(str, event))[:20])
    return {"refused": "neither a Slack request nor a scheduled event"}


def _kept(event: Event) -> list[Event]:
    """What AWS Lambda gave up after its own tries, as its destination for failures wrote it into the queue."""
    return [json.loads(record["body"])["requestPayload"] for record in event["Records"]]


def _received(event: Event, context: Any) -> Answer:
    body = _body(event)
    if body is None:
        _count("Refused", 1)
        return _answer(413 if len(event.get("body") or "") > BODY_BYTES else 400, "the body cannot be read")
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    try:
        if "x-slack-signature" not in headers:
            return _verified_by_token(body)
        return _signed(body, headers, context)
    except DeAgentError as exc:
        logger.error(str(exc))
        return _answer(503, "not set up")


def _body(event: Event) -> str | None:
    """The body as text; None when it is too large or no text."""
    raw = event.get("body") or ""
    if not isinstance(raw, str) or len(raw) > BODY_BYTES:
        return None
    try:
        return base64.b64decode(raw, validate=True).decode() if event.get("isBase64Encoded") else raw
    except (binascii.Error, ValueError):
        return None


def _verified_by_token(body: str) -> Answer:
    """Answer an unsigned url_verification (a plain `curl`) if it knows the verification token; nothing else."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict) and values.get("type") == "url_verification":
        token = lambda_parts.slack_secret(parts()).verification_token
        if token and hmac.compare_digest(str(values.get("token")).encode(), token.encode()):
            return _answer(200, json.dumps({"challenge": str(values.get("challenge"))[:500]}), "application/json")
    _count("Refused", 1)
    return _answer(401, "not signed")


def _signed(body: str, headers: Mapping[str, str], context: Any) -> Answer:
    if not headers.get("x-slack-request-timestamp", "").isdigit() or not _is_slack(body):
        _count("Refused", 1)
        return _answer(400, "not a request of Slack")
    lost = _Lost()
    try:
        response = _dispatched(body, headers, context, lost)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        logger.error(f"Slack's request has an unknown shape: {type(exc).__name__}")  # Bolt trusts what is signed
        _count("Refused", 1)
        return _answer(400, "not a request of Slack")
    if response.status == 401:
        _count("Refused", 1)
    if lost.work:
        return _answer(503, "try again")  # Slack delivers it again
    return _answer(response.status, response.body or "", response.first_headers().get("content-type", "text/plain"))


def _dispatched(body: str, headers: Mapping[str, str], context: Any, lost: _Lost) -> BoltResponse:
    kept: dict[str, str | Sequence[str]] = {n: v for n, v in headers.items() if not n.startswith("x-slack-bolt-")}
    request = BoltRequest(body=body, headers=kept)
    request.context["de_agent_arn"] = context.invoked_function_arn
    request.context["de_agent_lost"] = lost
    return app().dispatch(request)


class _Lost:
    """Whether work could not be handed over; Bolt copies a request's context, so it must be the same object."""

    work = False

    def __deepcopy__(self, memo: object) -> _Lost:
        return self


def _is_slack(body: str) -> bool:
    """Whether a body is a JSON object, or a form that holds one; Bolt stumbles over anything else."""
    try:
        text = parse_qs(body)["payload"][0] if body.startswith("payload=") else body
        return isinstance(json.loads(text), dict)
    except (ValueError, KeyError, RecursionError):
        return False


def _answer(status: int, body: str, content_type: str = "text/plain") -> Answer:
    return {"statusCode": status, "headers": {"content-type": content_type}, "body": body}


class _HandOver(LazyListenerRunner):
    """Starts a listener's work in an invocation of its own, and says so where that failed."""

    def __init__(self) -> None:
        self.logger = _quiet
        self._first = True

    def start(self, function: Callable[..., None], request: BoltRequest) -> None:
        payload = {"de_agent_work": function.__name__, "body": request.body}
        seconds, self._first = HAND_OVER_SECONDS[self._first], False
        try:
            client = parts().clients("lambda")
            within(seconds, functools.partial(_invoke, client, str(request.context["de_agent_arn"]), payload))
        except Exception as exc:  # noqa: BLE001 - botocore's errors share no class; Slack is to deliver it again
            logger.error("the work could not be handed over", error=type(exc).__name__)
            _count("HandOverFailed", 1)
            request.context["de_agent_lost"].work = True


def _invoke(client: Any, arn: str, payload: Event) -> None:
    client.invoke(FunctionName=arn, InvocationType="Event", Payload=json.dumps(payload).encode())


def _by_bolt(name: str) -> Callable[..., None]:
    """A listener that Bolt starts lazily; its work is done by the invocation that is handed `name`."""

    def work() -> None:
        raise AssertionError("handed over, never run here")

    work.__name__ = name
    return work


@functools.cache
def app() -> App:
    """Bolt checks the signature and its age, answers url_verification, and picks the listener."""
    secret = lambda_parts.slack_secret(parts())
    authorized = AuthorizeResult(
        enterprise_id=None, team_id=None, bot_token=secret.bot_token, bot_id="", bot_user_id=""
    )
    app = App(
        signing_secret=secret.signing_secret or "\0absent",
        authorize=lambda: authorized,
        logger=_quiet,
        process_before_response=True,
        ignoring_self_events_enabled=False,  # it would ask Slack who we are
    )
    app.listener_runner.lazy_listener_runner = _HandOver()
    app.error(_failed)
    app.event("app_mention", matchers=[_of_a_person])(ack=_ack, lazy=[_by_bolt("mentioned")])
    for kind in ("reaction_added", "reaction_removed"):
        app.event(kind)(ack=_ack, lazy=[_by_bolt("reacted")])
    app.event(re.compile(".*"))(_ack)
    for action in (render.HELPFUL, render.NOT_HELPFUL, render.AGAIN):
        app.action(action)(ack=_ack, lazy=[_by_bolt("clicked")])
    app.action(render.FIXED_BY)(_ask_for_note)
    app.action(re.compile(".*"))(_ack)
    app.view(render.FIXED_BY)(ack=_ack, lazy=[_by_bolt("noted")])
    return app


def _failed(error: Exception) -> None:
    logger.error(f"a request could not be taken: {type(error).__name__}")


def _ack(ack: Callable[[], object]) -> None:
    ack()


def _of_a_person(event: Mapping[str, Any]) -> bool:
    return not event.get("bot_id") and event.get("subtype") != "bot_message"


def _ask_for_note(ack: Callable[[], object], body: Mapping[str, Any]) -> None:
    """A form opens within three seconds of the click or not at all, so it is not handed over."""
    try:
        within(1.5, lambda: _companion().ask_for_note(body))
    except (DeAgentError, TimeoutError) as exc:
        logger.error(f"the form could not be opened: {exc}")
    ack()


_WORK: Mapping[str, Callable[[Companion, Mapping[str, Any]], None]] = {
    "mentioned": Companion.mentioned,
    "reacted": Companion.reacted,
    "clicked": Companion.clicked,
    "noted": Companion.noted,
}


def _memory() -> Memory:
    return Memory(lambda_parts.table(parts()), logger.warning)


def _worked(event: Event, context: Any) -> Answer:
    """Work that was handed over; raises what Lambda shall try again."""
    name, body = str(event["de_agent_work"]), event["body"]
    work = _WORK.get(name)
    if work is None:
        return {"refused": name}
    began = time.monotonic()
    try:
        done = once(_memory(), name, body, context, lambda: work(_companion(), body))
    except SlackError as exc:
        if exc.unauthorised:
            parts().secrets.forget()
        logger.error(f"Slack did not take the answer: {exc}", work=name)
        _count("SlackFailed", 1)
        if exc.retry_after is not None:
            raise
        return {"failed": name}
    except (StoreError, CallFailed) as exc:
        logger.error(f"work failed and is tried again: {exc}", work=name)
        raise
    _count("WorkSeconds" if done else "Repeated", time.monotonic() - began if done else 1)
    return {"done" if done else "repeated": name}


def _swept(context: Any) -> Answer:
    seconds = context.get_remaining_time_in_millis() / 1000 - SWEEP_END_SECONDS
    try:
        companion = _companion()
        counted = companion.counted()
        done = {"counted": counted} | companion.swept(lambda_parts.host(parts()), logger.warning, seconds)
        done["reports"] = int(companion.weekly(parts().settings.report_channel))
    except DeAgentError as exc:
        logger.error(f"the sweep failed and is done again next time: {exc}")
        _count("SweepFailed", 1)
        return {"failed": "sweep"}
    for name, number in done.items():
        _count(f"Sweep_{name}", number)
    return dict(done)
