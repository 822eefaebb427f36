"""The companion Lambda against signed events: Slack, AWS and the invocation of itself are servers on loopback."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import logging
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_de_agent import lambda_handler, once
from airflow_de_agent.adapters.dynamodb_store import DynamoDBStore
from airflow_de_agent.core import render
from airflow_de_agent.core.errors import SlackError
from airflow_de_agent.core.incident import Incident
from deployment import local_lambda
from deployment.sign_sample import sample, signed
from tests import aws_servers, slack_server
from tests.test_render import RECORD, check_snapshot
from tests.test_tools import put_log

aws, mwaa = aws_servers.aws, aws_servers.mwaa
# here invocations share one process, so one may flush the other's metrics; on AWS each has its own
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")
ROOT = Path(__file__).parents[1]
SECRET = "signing-" + "secret-of-the-tests"
GROUP = "airflow-prod-3-Task"
AT = dt.datetime(2026, 11, 22, 14, 44, 40, tzinfo=dt.timezone.utc)
RUN = "manual__2026-11-22T14:44:35.008861+00:00"
STREAM = f"dag_id=sales_etl/run_id={RUN.replace(':', '_')}/task_id=load.copy_orders/attempt=1.log"


class Desk:
    """A function with everything around it; `post` is what Slack does, `store` what Airflow shares with it."""

    def __init__(self, function: local_lambda.LocalLambda, slack: slack_server.SlackServer, aws: Any) -> None:
        self.function, self.slack, self.aws = function, slack, aws
        self.store = DynamoDBStore(aws.client("dynamodb"), "de-agent")
        self.store.create_table()

    def post(self, event: dict[str, Any], path: str = "/slack/events") -> tuple[int, str]:
        """Deliver an HTTP API event as HTTP; status and body."""
        request = urllib.request.Request(self.function.url + path, event["body"].encode(), event["headers"])
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def sample(self, text: str) -> dict[str, Any]:
        """A mention that stands in the channel."""
        event = sample(text, "C1")
        self.slack.written.append(
            json.loads(event["body"])["event"] | {"thread_ts": json.loads(event["body"])["event"]["ts"]}
        )
        return event

    def mention(self, text: str) -> tuple[int, str]:
        return self.post(signed(self.sample(text), SECRET, time.time()))

    def events(self, **event: Any) -> tuple[int, str]:
        """Deliver an event of another kind."""
        body = json.loads(sample()["body"]) | {"event": event}
        return self.post(signed({**sample(), "body": json.dumps(body)}, SECRET, time.time()))

    def click(self, payload: dict[str, Any]) -> tuple[int, str]:
        """Deliver an interaction, a form as Slack sends it."""
        body = urllib.parse.urlencode({"payload": json.dumps(payload)})
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return self.post(signed({"body": body, "headers": headers}, SECRET, time.time()))

    def button(self, action_id: str, value: str, on: dict[str, Any], user: str = "U1") -> tuple[int, str]:
        """Click a button of a message."""
        where = {"type": "message", "channel_id": on["channel"], "message_ts": on["ts"]}
        where |= {"thread_ts": on["thread_ts"]} if "thread_ts" in on else {}
        action = {"type": "button", "action_id": action_id, "value": value, "action_ts": f"{time.time():.6f}"}
        payload = {"type": "block_actions", "user": {"id": user}, "team": {"id": "T1"}, "trigger_id": "1.2.3",
                   "actions": [action], "channel": {"id": on["channel"]}, "container": where,
                   "api_app_id": "A1", "token": "t"}  # fmt: skip
        return self.click(payload)

    def incident(self) -> Incident:
        """An incident whose message stands in the channel."""
        opened = self.store.add(dataclasses.replace(RECORD, diagnosed_at=time.time()), window=3600)
        ts = self.slack.say("C1", "the message", user="UBOT")
        self.store.shown(opened.id, revision=opened.revision, channel="C1", message_ts=ts)
        found = self.store.incident(opened.id)
        assert found is not None
        return found

    def message_of(self, incident: Incident) -> dict[str, Any]:
        """Where an incident's message stands."""
        return {"channel": incident.channel, "ts": incident.message_ts}

    def says(self, text: str, thread_ts: str) -> str:
        """A mention in a thread; the last answer."""
        event = sample(text, "C1")
        body = json.loads(event["body"])
        body["event"]["thread_ts"] = thread_ts
        assert self.post(signed({**event, "body": json.dumps(body)}, SECRET, time.time()))[0] == 200
        return str(self.answers()[-1]["text"])

    def answers(self) -> list[dict[str, Any]]:
        """What the companion said, when it is done."""
        assert self.function.wait()
        return [m for m in self.slack.replies if m.get("metadata", {}).get("event_type") == "de_agent_reply"]


def forget() -> None:
    """Make the next call a first one, as in a new instance of the function."""
    for made in (lambda_handler.parts, lambda_handler.app, once._layer):
        made.cache_clear()


@pytest.fixture
def desk(
    slack: slack_server.SlackServer,
    aws: aws_servers.AwsServer,
    mwaa: aws_servers.MwaaApi,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Desk]:
    with local_lambda.serving(lambda_handler.handler) as function:
        function.retry_seconds = 0.2
        environment = local_lambda.sample_environment(function.url, "/nonexistent") | {
            "AWS_ENDPOINT_URL": aws.url,
            "SLACK_BOT_TOKEN": slack_server.TOKEN,
            "SLACK_SIGNING_SECRET": SECRET,
            "DE_AGENT_STORE_URL": "dynamodb://de-agent?region=eu-west-1",
            "DE_AGENT_SLACK_BASE_URL": slack.url,
            "DE_AGENT_MWAA_ENVIRONMENT": "prod-3",
            "DE_AGENT_TASK_LOG_GROUP": GROUP,
            "POWERTOOLS_METRICS_DISABLED": "false",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for first in (True, False):  # a busy machine is not what these tests are about
            monkeypatch.setitem(lambda_handler.HAND_OVER_SECONDS, first, 20.0)
        forget()
        desk = Desk(function, slack, aws)
        yield desk
        assert function.wait()


def test_the_challenge_needs_the_token_or_a_signature(desk: Desk) -> None:
    """A plain curl is answered only if it knows the verification token; a signed one always."""
    body = (Path(__file__).parent / "verification_challenge.json").read_text()
    challenge = json.loads(body)["challenge"]
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, said = desk.post({"body": body, "headers": form})
    assert (status, json.loads(said)["challenge"]) == (200, challenge)
    wrong = body.replace("sample-verification-token", "guess")
    assert desk.post({"body": wrong, "headers": form})[0] == 401
    status, said = desk.post(
        signed({"body": wrong, "headers": {"content-type": "application/json"}}, SECRET, time.time())
    )
    assert status == 200 and challenge in said


def test_a_mention_is_answered_in_its_thread(desk: Desk) -> None:
    """Airflow and CloudWatch are asked, progress is shown, and one message holds the answer in the end."""
    put_log(desk.aws.client("logs"), STREAM, ["Traceback (most recent call last):", "KeyError: 'order_id'"], GROUP, AT)
    assert desk.mention("<@U0BOT> why did sales_etl fail?")[0] == 200
    (answer,) = desk.answers()
    assert "sales_etl.load.copy_orders failed" in answer["text"] and "order_id" in answer["text"]
    assert answer["channel"] == "C1" and answer["thread_ts"]
    assert desk.slack.count("chat.update") >= 1  # what there is no time to read is not shown
    assert len(desk.store.recent()) == 1


def test_an_event_delivered_four_times_is_handled_once(desk: Desk) -> None:
    """Slack repeats what it thinks was lost; one answer stands, also when all four come at once."""
    event = signed(desk.sample("help"), SECRET, time.time())
    threads = [threading.Thread(target=desk.post, args=(event,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(desk.answers()) == 1
    assert desk.post(event)[0] == 200
    assert len(desk.answers()) == 1
    assert len(desk.function.started) == 5


def test_work_cut_off_in_the_middle_is_done_by_the_next_delivery(desk: Desk) -> None:
    """The record of work under way expires with its invocation, and progress already shown is taken over."""
    event = desk.sample("why did sales_etl fail?")
    body = json.loads(event["body"])

    def out_of_time(method: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        return {"error": "fatal_error", "status": 500} if method == "chat.update" else None

    desk.slack.refuse = out_of_time
    desk.function.retry_seconds = 0.0
    assert desk.post(signed(event, SECRET, time.time()))[0] == 200
    assert len(desk.answers()) == 1 and len(desk.function.lost) == 1
    desk.slack.refuse = lambda method, arguments: None
    desk.function.invoke({"de_agent_work": "mentioned", "body": body})
    (answer,) = desk.answers()
    assert "failed" in answer["text"]


def test_a_timed_out_invocation_does_not_block_its_event_for_ever(desk: Desk) -> None:
    """In DynamoDB the work stands as under way until the invocation's own end; then it is free again."""
    body = json.loads(desk.sample("help")["body"])
    ended = local_lambda.Context(seconds=0.0)
    table = desk.aws.client("dynamodb")
    before = {"pk": {"S": "once"}}
    lambda_handler.handler({"de_agent_work": "mentioned", "body": body}, ended)
    items = table.query(
        TableName="de-agent", KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": before["pk"]}
    )
    (item,) = items["Items"]
    key = {name: item[name] for name in ("pk", "sk")}
    values = {":s": {"S": "INPROGRESS"}, ":past": {"N": str(int(time.time() * 1000) - 1000)}}
    table.update_item(TableName="de-agent", Key=key, UpdateExpression="SET #s = :s, in_progress_expiration = :past",
                      ExpressionAttributeNames={"#s": "status"}, ExpressionAttributeValues=values)  # fmt: skip
    assert lambda_handler.handler({"de_agent_work": "mentioned", "body": body}, local_lambda.Context()) == {
        "done": "mentioned"
    }
    assert len(desk.answers()) == 1


@pytest.mark.parametrize(
    "case", ["bad", "stale", "future", "no number", "missing", "body changed", "lazy header", "work in the body"]
)
def test_what_is_not_signed_and_fresh_is_refused(
    desk: Desk, case: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Bad, stale, absent or foreign signatures get 401, start nothing, and leave no body or secret in the log."""
    caplog.set_level(logging.DEBUG)
    event = signed(sample("help secret-words", "C1"), SECRET, time.time())
    if case == "bad":
        event["headers"]["x-slack-signature"] = "v0=" + "0" * 64
    elif case in ("stale", "future"):
        event = signed(event, SECRET, time.time() + (-400 if case == "stale" else 400))
    elif case == "no number":
        event["headers"]["x-slack-request-timestamp"] = "now"
    elif case == "missing":
        event["headers"] = {"content-type": "application/json"}
    elif case == "body changed":
        event["body"] = event["body"].replace("help", "report")
    elif case == "lazy header":
        event = signed(event, "another secret", time.time())
        event["headers"] |= {"x-slack-bolt-lazy-only": "1", "x-slack-bolt-lazy-function-name": "mentioned"}
    else:
        work = json.dumps({"de_agent_work": "mentioned", "body": json.loads(event["body"])})
        event = {"body": work, "headers": {"content-type": "application/json"}}
    assert desk.post(event)[0] in (400, 401)
    assert desk.function.started == [] and desk.slack.calls == []
    logged = "".join(capsys.readouterr()) + "".join(r.getMessage() for r in caplog.records if r.name != "urllib3")
    assert "secret-words" not in logged and SECRET not in logged and "v0=" not in logged


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ("", 400),
        ("payload=%7B", 400),
        ("\0" * 10, 400),
        ("{}", 404),
        ("x" * 300_000, 413),
        ('{"type": "event_callback", "event": null}', 400),
        ('{"type": "event_callback", "event": {"type": "app_mention"}, "authorizations": "x"}', 400),
        ("payload=" + urllib.parse.quote('{"type": "block_actions", "actions": []}'), 400),
        ('{"type": "event_callback", "event": {"type": {}}}', 500),
    ],
)
def test_a_malformed_or_giant_body_does_no_harm(desk: Desk, body: str, status: int) -> None:
    """Signed nonsense is answered without a crash and starts nothing."""
    event = signed({"body": body, "headers": {"content-type": "application/json"}}, SECRET, time.time())
    assert desk.post(event)[0] == status
    assert desk.function.started == []


def test_a_body_that_is_no_base64_is_refused(desk: Desk) -> None:
    """A broken transport encoding is a bad request."""
    event = sample() | {"body": "%%%", "isBase64Encoded": True}
    assert lambda_handler.handler(event, local_lambda.Context())["statusCode"] == 400
    event["body"] = base64.b64encode(b"\xff\xfe").decode()
    assert lambda_handler.handler(event, local_lambda.Context())["statusCode"] == 400
    assert "refused" in lambda_handler.handler({"odd": 1}, local_lambda.Context())


@pytest.mark.parametrize(
    "event",
    [
        {"type": "team_join", "user": {"id": "U9"}},
        {"type": "app_mention", "bot_id": "BBOT", "user": "UBOT", "text": "help", "channel": "C1", "ts": "1.2"},
        {"type": "message", "subtype": "bot_message", "text": "help", "channel": "C1", "ts": "1.2"},
        {
            "type": "reaction_added",
            "user": "U1",
            "reaction": "+1",
            "item": {"type": "message", "channel": "C1", "ts": "9.9"},
        },
        {"type": "reaction_added", "user": "U1", "reaction": "eyes", "item": {"type": "file", "file": "F1"}},
    ],
)
def test_what_does_not_concern_us_is_acknowledged(desk: Desk, event: dict[str, Any]) -> None:
    """Unknown events, our own messages and foreign reactions are acknowledged and answered with nothing."""
    assert desk.events(**event)[0] == 200
    assert desk.answers() == [] and desk.function.lost == []


def test_reactions_count_as_feedback(desk: Desk) -> None:
    """A thumb up on the incident's message is a vote, whatever its skin tone; taking it back withdraws it."""
    incident = desk.incident()
    item = {"type": "message", "channel": "C1", "ts": incident.message_ts}
    for user, reaction in (("U1", "+1"), ("U2", "thumbsup::skin-tone-3"), ("U3", "-1")):
        desk_status = desk.post(_reaction("reaction_added", user, reaction, item))
        assert desk_status[0] == 200
    assert desk.function.wait()
    voted = desk.store.incident(incident.id)
    assert (voted.helpful, voted.not_helpful) == (2, 1)
    desk.post(_reaction("reaction_removed", "U1", "+1", item))
    assert desk.function.wait()
    assert desk.store.incident(incident.id).helpful == 1
    shown = next(m for m in desk.slack.messages if m["ts"] == incident.message_ts)
    labels = [button["text"]["text"] for button in shown["blocks"][-1]["elements"]]
    assert labels[:2] == ["Helpful (1)", "Not helpful (1)"]


def _reaction(kind: str, user: str, reaction: str, item: dict[str, str]) -> dict[str, Any]:
    event = sample()
    body = json.loads(event["body"]) | {"event": {"type": kind, "user": user, "reaction": reaction, "item": item}}
    return signed({**event, "body": json.dumps(body)}, SECRET, time.time())


def test_buttons_vote_and_diagnose_again(desk: Desk) -> None:
    """A click is a vote, or a new diagnosis in the thread; the message shows both."""
    incident = desk.incident()
    message = desk.message_of(incident)
    assert desk.button(render.HELPFUL, incident.id, message)[0] == 200
    assert desk.button(render.HELPFUL, incident.id, message)[0] == 200
    assert desk.button(render.OPEN, "", message)[0] == 200
    assert desk.button(render.AGAIN, incident.id, message)[0] == 200
    (answer,) = desk.answers()
    assert answer["thread_ts"] == incident.message_ts
    assert desk.store.incident(incident.id).helpful == 1
    assert list(desk.store.undelivered()) == []


def test_a_cure_is_asked_for_and_noted(desk: Desk) -> None:
    """“Fixed by …” opens a form; what is written there is kept, shown, and cannot ping."""
    incident = desk.incident()
    assert desk.button(render.FIXED_BY, incident.id, desk.message_of(incident))[0] == 200
    (view,) = [arguments["view"] for _, method, arguments in desk.slack.calls if method == "views.open"]
    check_snapshot("form", {**view, "private_metadata": "…"})
    assert view["private_metadata"] == f"{incident.id} C1 {incident.message_ts}"
    assert view["callback_id"] == render.FIXED_BY
    state = {"values": {"note": {"text": {"type": "plain_text_input", "value": "doubled the memory <!channel>"}}}}
    submitted = {"type": "view_submission", "user": {"id": "U1"}, "team": {"id": "T1"}, "token": "t",
                 "view": {**view, "id": "V1", "type": "modal", "state": state}}  # fmt: skip
    assert desk.click(submitted)[0] == 200
    (answer,) = desk.answers()
    assert "doubled the memory &lt;!channel&gt;" in answer["blocks"][0]["text"]["text"]
    assert desk.store.incident(incident.id).fixed_by == "doubled the memory <!channel>"


def test_a_question_in_the_thread_is_about_its_incident(desk: Desk) -> None:
    """A bare why, and free text, mean the incident whose thread it is."""
    incident = desk.incident()
    assert "amount got" in desk.says("<@U0BOT> why?", incident.message_ts)
    assert "A rerun is not safe" in desk.says("<@U0BOT> is it safe to rerun?", incident.message_ts)
    assert "A rerun is not safe" in desk.says("<@U0BOT> why is a rerun not safe?", incident.message_ts)


def test_the_thread_of_an_answer_is_about_what_was_answered(desk: Desk) -> None:
    """Who asked for a DAG asks on, clicks and reacts below that answer; all of it stays there, and is kept."""
    put_log(desk.aws.client("logs"), STREAM, ["KeyError: 'order_id'"], GROUP, AT)
    desk.mention("why did sales_etl fail?")
    (answer,) = desk.answers()
    assert "A rerun is not safe" in desk.says("<@U0BOT> is it safe to rerun?", answer["thread_ts"])
    assert "KeyError" in desk.says("<@U0BOT> why?", answer["thread_ts"])
    incident_id = answer["blocks"][-1]["elements"][0]["value"]
    item = {"type": "message", "channel": "C1", "ts": answer["ts"]}
    desk.post(_reaction("reaction_added", "U1", "+1", item))
    desk.button(render.NOT_HELPFUL, incident_id, answer, "U2")
    desk.button(render.AGAIN, incident_id, answer)
    assert {reply["thread_ts"] for reply in desk.answers()} == {answer["thread_ts"]}
    assert len(desk.answers()) == 4 and desk.function.lost == []
    voted = desk.store.incident(incident_id)
    assert (voted.helpful, voted.not_helpful) == (1, 1)


@pytest.mark.parametrize("action", [render.HELPFUL, render.AGAIN])
def test_a_click_on_what_has_expired_is_answered(desk: Desk, action: str) -> None:
    """Three months later nothing is stored of an old message; its buttons say so."""
    desk.button(action, "0123456789abcdef", {"channel": "C1", "ts": desk.slack.say("C1", "old", user="UBOT")})
    (answer,) = desk.answers()
    assert "expired" in answer["text"] and desk.function.lost == []


def test_a_store_that_is_away_is_said_in_the_thread(desk: Desk) -> None:
    """A bare why whose incident cannot be looked up is not answered as if it had not been understood."""
    incident = desk.incident()
    desk.aws.misbehave("AccessDenied", r"DynamoDB.*")
    assert "the store cannot be used" in desk.says("<@U0BOT> why?", incident.message_ts)
    assert "What you can ask me" in desk.says("<@U0BOT> help", incident.message_ts)


@pytest.mark.parametrize(
    ("error", "tries"),
    [("channel_not_found", 1), ("is_archived", 1), ("token_revoked", 1), ("invalid_auth", 1), ("internal_error", 3)],
)
def test_a_refusal_is_recorded_and_tried_again_only_where_that_helps(
    desk: Desk, error: str, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A deleted channel or a revoked token is one clear record; an error of Slack's is tried again, then kept."""
    desk.slack.refuse = lambda method, arguments: {"error": error} if method.startswith("chat.") else None
    assert desk.mention("help")[0] == 200
    assert desk.answers() == []
    assert desk.slack.count("chat.postMessage") == tries
    assert len(desk.function.lost) == (1 if tries == 3 else 0)
    logged = caplog.text
    assert error in logged and slack_server.TOKEN not in logged


@pytest.mark.parametrize("method", ["conversations.replies", "chat.postMessage", "chat.update"])
def test_a_rate_limit_on_the_way_is_not_the_answer(desk: Desk, method: str) -> None:
    """Slack's refusal of a progress message costs that message; the person gets what was asked for, once."""
    put_log(desk.aws.client("logs"), STREAM, ["KeyError: 'order_id'"], GROUP, AT)
    refusals = [{"status": 429, "error": "ratelimited", "headers": {"Retry-After": "1"}}]
    desk.slack.refuse = lambda called, arguments: refusals.pop() if called == method and refusals else None
    desk.mention("why did sales_etl fail?")
    (answer,) = desk.answers()
    assert "load.copy_orders failed" in answer["text"] and not refusals and desk.function.lost == []


@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_that_is_not_slacks_is_an_outage(desk: Desk, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A page of a proxy between us and Slack is tried again and kept for later; the log does not repeat the page."""
    desk.slack.refuse = lambda method, arguments: {"error": "x", "status": status}
    desk.slack.spoken = lambda method, answer: b"<html>Proxy login of ACME</html>"
    desk.mention("help")
    assert desk.answers() == [] and len(desk.function.lost) == 1
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("slack_sdk")]
    assert any("not one of Slack's" in line for line in ours) and not any("ACME" in line for line in ours)


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long"])
def test_blocks_that_slack_does_not_like_become_text(desk: Desk, error: str) -> None:
    """The answer arrives without its blocks rather than not at all."""
    desk.slack.refuse = lambda method, arguments: {"error": error} if arguments.get("blocks") else None
    desk.mention("help")
    (answer,) = desk.answers()
    assert "What you can ask me" in answer["text"]


def test_slack_down_for_a_while_gets_the_answer_once(desk: Desk) -> None:
    """The work waits in the queue of the invocation, and is answered when Slack is back."""
    until = time.monotonic() + 0.5
    desk.function.retry_seconds = 0.4
    desk.slack.refuse = lambda method, arguments: {"error": "x", "status": 503} if time.monotonic() < until else None
    desk.mention("help")
    assert len(desk.answers()) == 1 and desk.function.lost == []


def test_slack_down_for_long_gets_the_answer_once(desk: Desk) -> None:
    """What AWS Lambda gave up is done again from the queue, until Slack takes it; once, though the queue repeats it."""
    desk.function.retry_seconds = 0.0
    desk.slack.refuse = lambda method, arguments: {"error": "x", "status": 503}
    desk.mention("help")
    assert desk.answers() == [] and len(desk.function.lost) == 1
    body = json.dumps({"version": "1.0", "requestPayload": desk.function.lost[0]})
    queued = {"Records": [{"eventSource": "aws:sqs", "body": body}]}
    with pytest.raises(SlackError):
        lambda_handler.handler(queued, local_lambda.Context())
    desk.slack.refuse = lambda method, arguments: None
    assert lambda_handler.handler(queued, local_lambda.Context()) == {"again": [{"done": "mentioned"}]}
    assert lambda_handler.handler(queued, local_lambda.Context()) == {"again": [{"repeated": "mentioned"}]}
    assert len(desk.answers()) == 1


def test_a_record_that_cannot_be_taken_back_hides_no_failure(desk: Desk) -> None:
    """Slack is down and DynamoDB denies: the work counts as failed, so that it is kept and done later."""
    desk.aws.misbehave("AccessDenied", r"DynamoDB\.DeleteItem")
    desk.slack.refuse = lambda method, arguments: {"error": "x", "status": 503}
    event = {"de_agent_work": "mentioned", "body": json.loads(desk.sample("help")["body"])}
    with pytest.raises(SlackError):
        lambda_handler.handler(event, local_lambda.Context())
    assert any("DeleteItem" in call for call in desk.aws.calls) and desk.aws.troubles[-1].seen


def test_a_message_edited_away_is_no_obstacle(desk: Desk) -> None:
    """A vote counts though the message it was given on is gone."""
    incident = desk.incident()
    desk.slack.written.clear()
    desk.button(render.HELPFUL, incident.id, desk.message_of(incident))
    assert desk.function.wait()
    assert desk.store.incident(incident.id).helpful == 1


@pytest.mark.parametrize("error", ["message_not_found", "edit_window_closed", "cant_update_message"])
def test_an_answer_whose_progress_cannot_be_edited_is_posted_anew(desk: Desk, error: str) -> None:
    """Progress that was deleted, or that the workspace lets nobody edit, leaves the answer to be posted, once."""
    put_log(desk.aws.client("logs"), STREAM, ["KeyError: 'order_id'"], GROUP, AT)
    desk.slack.refuse = lambda method, arguments: {"error": error} if method == "chat.update" else None
    desk.mention("why did sales_etl fail?")
    assert sum("load.copy_orders failed" in message["text"] for message in desk.answers()) == 1
    assert desk.function.lost == []


@pytest.mark.parametrize("first", [0, 1])
def test_half_of_the_calls_denied_is_one_answer(desk: Desk, first: int) -> None:
    """Whichever half it is, the person gets one answer, with what could be read and what could not."""
    put_log(desk.aws.client("logs"), STREAM, ["KeyError: 'order_id'"], GROUP, AT)
    desk.aws.misbehave("AccessDenied", every=2)
    desk.aws.troubles[-1].seen = first
    assert desk.mention("why did sales_etl fail?")[0] == 200
    (answer,) = desk.answers()
    assert "AccessDenied" in answer["text"] or "access denied" in json.dumps(answer["blocks"])
    assert desk.function.lost == []


@pytest.mark.parametrize("trouble", ["AccessDenied", "hang"])
def test_dead_aws_is_an_answer(desk: Desk, trouble: str) -> None:
    """Without store, logs and Airflow the person is told so; the request is acknowledged all the same."""
    desk.aws.misbehave(trouble)
    assert desk.mention("why did sales_etl fail")[0] == 200
    assert desk.function.wait(60)
    (answer,) = desk.answers()
    assert "cannot be used" in answer["text"]


def test_work_that_cannot_be_handed_over_is_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the function cannot invoke itself Slack is told to deliver the event again."""
    forget()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    assert desk.mention("help")[0] == 503
    assert desk.function.started == []


def test_the_sweep_delivers_and_closes(desk: Desk) -> None:
    """What Slack refused is posted; an incident whose tasks succeeded is closed with a check mark."""
    waiting = desk.store.add(dataclasses.replace(RECORD, fingerprint="f2", diagnosed_at=time.time()), window=3600)
    event = {"source": "aws.events", "detail-type": "Scheduled Event"}
    lead = dataclasses.replace(
        RECORD.failure,
        slack_channel="#data",
        key=RECORD.failure.key._replace(task_id="load.extract", run_id=RUN, dag_id="sales_etl"),
    )
    done = desk.store.add(dataclasses.replace(RECORD, failure=lead, diagnosed_at=time.time() - 60), window=3600)
    ts = desk.slack.say("C1", "the message", user="UBOT")
    desk.store.shown(done.id, revision=0, channel="C1", message_ts=ts)
    lambda_handler._companion().delivery.settle(desk.store, done.id)  # its thread has the details, as it had in life
    nothing = {"counted": 0, "recovered": 0, "delivered": 0, "waiting": 0, "reports": 0}
    assert lambda_handler.handler(event, local_lambda.Context()) == nothing | {"recovered": 1, "delivered": 2}
    assert lambda_handler.handler(event, local_lambda.Context()) == nothing
    closed = next(m for m in desk.slack.messages if m["ts"] == ts)
    assert closed["blocks"][0]["text"]["text"].startswith(":white_check_mark: *Recovered after")
    assert any("Recovered after" in m["text"] for m in desk.slack.replies if m["thread_ts"] == ts)
    assert desk.store.incident(waiting.id).message_ts


def test_what_cannot_be_delivered_is_counted_as_waiting(desk: Desk) -> None:
    """A revoked token is no error of the function: the number of first messages that wait is what rings."""
    failure = dataclasses.replace(RECORD.failure, slack_channel="#data")
    desk.store.add(dataclasses.replace(RECORD, failure=failure, diagnosed_at=time.time()), window=3600)
    desk.slack.refuse = lambda method, arguments: {"error": "token_revoked"}
    assert lambda_handler.handler({"de_agent": "sweep"}, local_lambda.Context())["waiting"] == 1


def test_the_dashboard_names_what_is_emitted(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Each metric of ours in the template is one that the handler emits, whichever side made the diagnosis, once."""
    named = set(re.findall(r'"DEAgent", "(\w+)"', (ROOT / "deployment" / "template.yaml").read_text()))
    before = dataclasses.replace(RECORD.failure, key=RECORD.failure.key._replace(run_id="r0"))
    desk.store.add(dataclasses.replace(RECORD, failure=before, diagnosed_at=time.time() - 400), window=3600)
    incident = desk.incident()
    sweeps = [lambda_handler.handler({"de_agent": "sweep"}, local_lambda.Context()) for _ in range(2)]
    assert [sweep["counted"] for sweep in sweeps] == [1, 0]
    message = desk.message_of(incident)
    for action in (render.HELPFUL, render.NOT_HELPFUL):
        desk.button(action, incident.id, message)
    view = {"id": "V1", "type": "modal", "callback_id": render.FIXED_BY, "private_metadata": f"{incident.id} C1 1.2",
            "state": {"values": {"note": {"text": {"value": "cleared it"}}}}}  # fmt: skip
    desk.click({"type": "view_submission", "user": {"id": "U1"}, "team": {"id": "T1"}, "token": "t", "view": view})
    desk.mention("help")
    desk.answers()
    desk.slack.refuse = lambda method, arguments: {"error": "channel_not_found"}
    desk.mention("help")
    desk.answers()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    emitted = {metric["Name"] for line in lines for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert named <= emitted, named - emitted
    assert "Diagnosed_data_quality" in emitted
    assert {line["_aws"]["CloudWatchMetrics"][0]["Namespace"] for line in lines} == {"DEAgent"}


def test_metrics_carry_the_name_of_the_function() -> None:
    """Alarms and dashboard look for them by their service, which is the function's name."""
    code = (
        "from airflow_de_agent import lambda_handler; from deployment.local_lambda import Context;"
        "lambda_handler.handler({'odd': 1}, Context())"
    )
    environment = {"POWERTOOLS_SERVICE_NAME": "de-agent-test", "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    emitted = json.loads(ran.stdout.splitlines()[-1])
    assert emitted["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert emitted["service"] == "de-agent-test"


def test_a_deleted_channel_holds_up_no_other(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """One incident's channel is gone: that is recorded, and the messages of the others go out in the same sweep."""

    def gone(method: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        return {"error": "channel_not_found"} if arguments.get("channel") == "CGONE" else None

    desk.slack.refuse = gone
    dead = desk.incident()
    desk.store.shown(dead.id, revision=0, channel="CGONE", message_ts="1.2")
    desk.store.vote(dead.id, person="U1", vote="helpful")
    failure = dataclasses.replace(RECORD.failure, key=RECORD.failure.key._replace(run_id="r2"), slack_channel="#data")
    desk.store.add(dataclasses.replace(RECORD, failure=failure, fingerprint="f2", diagnosed_at=time.time()), window=60)
    told = lambda_handler.handler({"de_agent": "sweep"}, local_lambda.Context())
    assert told["delivered"] == 1 and "channel_not_found" in caplog.text
    assert [m["channel"] for m in desk.slack.messages if m["channel"] != "C1"] == ["CDATA"]


def test_a_sweep_ends_before_its_invocation_does(desk: Desk) -> None:
    """What is not delivered in time is left to the next sweep."""
    desk.store.add(dataclasses.replace(RECORD, diagnosed_at=time.time()), window=3600)
    assert lambda_handler.handler({"de_agent": "sweep"}, local_lambda.Context(seconds=10.0))["delivered"] == 0
    assert lambda_handler.handler({"de_agent": "sweep"}, local_lambda.Context())["delivered"] == 1


def test_the_report_of_the_week_is_posted_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep posts it where the configuration says, once a week, however many sweeps there are."""
    monkeypatch.setenv("DE_AGENT_REPORT_CHANNEL", "#data-weekly")
    forget()
    for _ in range(3):
        lambda_handler.handler({"de_agent": "sweep"}, local_lambda.Context())
    posted = [m["text"] for m in desk.slack.messages if m["channel"] == "CDATAWEEKLY"]
    assert len(posted) == 1 and posted[0].startswith("DE-Agent report, 7 days")
