"""The adapter against a strict local Gemini, with the installed SDK; `.ci/run` repeats it with every SDK version."""

from __future__ import annotations

import json
import logging
import socket
import time
import warnings

import pytest

from airflow_de_agent.adapters import gemini
from airflow_de_agent.adapters.gemini_failure import seconds_of
from airflow_de_agent.adapters.gemini_retry import MOST_ATTEMPTS, with_retries
from airflow_de_agent.core.answer import SCHEMA, SCHEMA_WITH_TOOLS
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.reply import Reply, cost_usd
from tests import gemini_server as stand_in
from tests.gemini_server import KEY, GeminiServer

PROMPT = Prompt(
    "You diagnose.",
    "<<<untrusted rules_opinion\n    1| category network\nuntrusted>>>\n\n"
    "<<<untrusted task_log\n    7| ConnectionRefusedError: port 5439\nuntrusted>>>",
)


def ask(server, *, seconds=5.0, schema=SCHEMA, **target):
    """One call, with waits that cost nothing."""
    waits = []
    options = {"api_key": KEY, "base_url": server if isinstance(server, str) else server.url} | target
    reply = gemini.complete(
        PROMPT,
        schema,
        target=gemini.Target(**options),
        deadline=time.monotonic() + seconds,
        sleep=waits.append,
        random=lambda: 0.5,
    )
    return reply, waits


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """The first import of an SDK takes seconds and warns of the SDK's own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gemini.preload(gemini.Target(api_key=KEY))


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("schema", [SCHEMA, SCHEMA_WITH_TOOLS])
def test_a_good_answer_comes_with_its_tokens(schema):
    """A strict server accepts the request, and the reply holds text, finish, model and all three token counts."""
    with GeminiServer() as server:
        reply, waits = ask(server, schema=schema)
    assert not server.breaches
    assert "ConnectionRefusedError: port 5439" in reply.text
    assert (reply.finish, reply.model, reply.input_tokens, reply.thinking_tokens) == (
        "stop",
        "gemini-3.8-flash",
        900,
        40,
    )
    assert reply.output_tokens > 0
    assert (reply.attempts, reply.problem, waits) == (1, "", [])


def test_the_request_is_what_the_rest_interface_publishes():
    """One POST on the version we name, key in the header only, JSON by schema, no sampling parameter."""
    with GeminiServer() as server:
        ask(server)
    (request,) = server.requests
    assert request.path.startswith("/v1beta/models/gemini-3.8-flash:generateContent")
    assert KEY not in request.path
    assert request.headers["x-goog-api-key"] == KEY
    assert (request.system, request.prompt) == (PROMPT.system, PROMPT.text)
    assert not {"temperature", "topP", "topK"} & set(request.body["generationConfig"])
    assert "tools" not in request.body


def test_the_version_and_the_model_are_configurable():
    """`api_version` and `model` reach the path (the older SDK has one version only)."""
    with GeminiServer() as server:
        ask(server, api_version="v1", model="gemini-3.6-flash")
    version = "v1" if _sdk_name() == "google-genai" else "v1beta"
    assert server.requests[0].path.startswith(f"/{version}/models/gemini-3.6-flash")


def test_an_old_model_gets_no_thinking_level():
    """Gemini 2.5 refuses a thinking level, so it is not sent there."""
    with GeminiServer() as server:
        reply, _ = ask(server, model="gemini-2.5-flash")
    assert not server.breaches and reply.text


def test_the_environment_does_not_choose_vertex(monkeypatch):
    """A worker that uses Vertex AI for its own work does not send our calls there."""
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "another")
    with GeminiServer() as server:
        reply, _ = ask(server)
    assert reply.text and server.requests[0].headers["x-goog-api-key"] == KEY


PERMANENT = {
    "bad key": (stand_in.bad_key, "not valid", "gemini_conn_id"),
    "401": (stand_in.error(401, "UNAUTHENTICATED", "no"), "401 UNAUTHENTICATED", "gemini_conn_id"),
    "403": (stand_in.error(403, "PERMISSION_DENIED", "no"), "403 PERMISSION_DENIED", "Generative Language API"),
    "404": (stand_in.error(404, "NOT_FOUND", "gone"), "404 NOT_FOUND for model gemini-3.8-flash", "gemini_model"),
    "400": (stand_in.error(400, "INVALID_ARGUMENT", "no"), "400 INVALID_ARGUMENT", ""),
    "html": (stand_in.html, "no Gemini answer", "gemini_base_url"),
}


@pytest.mark.parametrize("name", PERMANENT)
def test_what_waiting_cannot_mend_is_asked_once(name):
    """One request, a sentence with the status, and the setting that cures it."""
    behaviour, problem, cure = PERMANENT[name]
    with GeminiServer(behaviour) as server:
        reply, _ = ask(server)
    # google-generativeai: its session refreshes credentials at a 401, twice, of its own accord
    asked = 3 if name == "401" and _sdk_name() == "google-generativeai" else 1
    assert len(server.requests) == asked and not reply.transient
    if _sdk_name() == "google-generativeai":  # it keeps the number, not always the word
        problem = problem.partition(" ")[0]
    assert problem in reply.problem and cure in reply.cure and not reply.text


@pytest.mark.parametrize("behaviour", [stand_in.overloaded, stand_in.throttled(), stand_in.error(408, "", "slow")])
def test_what_passes_is_asked_again(behaviour):
    """Two failures that pass, then an answer: three attempts, with full jitter between them."""
    with GeminiServer(behaviour, behaviour, stand_in.faithful) as server:
        reply, waits = ask(server)
    assert reply.text and reply.attempts == 3
    assert waits == [0.25, 0.5]


@pytest.mark.parametrize("behaviour", [stand_in.throttled(delay="3s"), stand_in.throttled(retry_after="3")])
def test_the_services_word_on_waiting_is_obeyed(behaviour):
    """RetryInfo and Retry-After set the least wait."""
    with GeminiServer(behaviour, stand_in.faithful) as server:
        reply, waits = ask(server)
    assert reply.text and waits == [3.25]


@pytest.mark.parametrize(("date", "waits"), [("Mon, 01 Jan 2001 00:00:00 GMT", [0.25]), ("yesterday", [0.25])])
def test_a_clock_that_differs_from_the_services_does_no_harm(date, waits):
    """A Retry-After date in our past, or no date at all, is a wait of our own making."""
    with GeminiServer(stand_in.throttled(retry_after=date), stand_in.faithful) as server:
        reply, waited = ask(server)
    assert reply.text and waited == waits


def test_no_wait_goes_past_the_deadline():
    """A RetryInfo beyond the deadline ends the attempts, and the reason says so."""
    with GeminiServer(stand_in.throttled(delay="40s")) as server:
        reply, waits = ask(server)
    assert len(server.requests) == 1 and waits == []
    assert "429" in reply.problem and "No time" in reply.problem and reply.retry_after == 40.0


def test_a_storm_of_503_ends():
    """The attempts are bounded even where time is not."""
    with GeminiServer(stand_in.overloaded) as server:
        reply, _ = ask(server)
    assert len(server.requests) == reply.attempts == MOST_ATTEMPTS
    assert "503" in reply.problem


@pytest.mark.parametrize("behaviour", [stand_in.hangs, stand_in.drips])
def test_a_server_that_never_ends_is_left_at_the_deadline(behaviour):
    """No byte, or a byte now and then: the reply comes when the deadline does."""
    with GeminiServer(behaviour) as server:
        reply, _ = ask(server, seconds=0.6)
    assert not reply.text and reply.problem
    assert "time" in reply.problem or "deadline" in reply.problem


def test_a_connection_reset_in_the_middle_is_tried_again():
    """Half a body is a transport error, and the next attempt answers."""
    with GeminiServer(stand_in.resets, stand_in.faithful) as server:
        reply, _ = ask(server)
    assert reply.text and reply.attempts == 2


def test_a_refused_connection_is_named():
    """Nobody listens: the reply says unreachable and names the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        reply, _ = ask(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "could not be reached" in reply.problem and "gemini_base_url" in reply.cure


FINISHES = {
    "max_tokens": stand_in.empty,
    "safety": stand_in.unsafe,
    "prohibited_content": stand_in.blocked,
}


@pytest.mark.parametrize("finish", FINISHES)
def test_an_answer_without_text_says_why(finish):
    """Thinking that ate the output, and both kinds of safety block, end as a named finish and no text."""
    with GeminiServer(FINISHES[finish]) as server:
        reply, _ = ask(server)
    if reply.sdk == "google-genai 1.2.0":
        finish = "empty"  # that version loses the reason
    assert (reply.text, reply.finish) == ("", finish)
    assert finish.upper() in reply.problem


def test_ten_megabytes_are_survived():
    """A huge answer arrives as text; refusing it is the parser's work."""
    with GeminiServer(stand_in.huge) as server:
        reply, _ = ask(server)
    assert len(reply.text) == 10_000_000 or reply.problem


@pytest.mark.parametrize(
    "behaviour", [stand_in.faithful, stand_in.bad_key, stand_in.echoing_key, stand_in.html, stand_in.resets]
)
def test_the_key_is_in_no_log_and_no_reply(behaviour, caplog):
    """Even at DEBUG, and even when a gateway echoes the request's headers."""
    caplog.set_level(logging.DEBUG)
    with GeminiServer(behaviour) as server:
        reply, _ = ask(server)
    assert KEY not in caplog.text and KEY not in repr(reply)
    assert KEY not in repr(gemini.Target(api_key=KEY))


def test_without_a_key_nobody_is_asked():
    """The reply names the settings that would give one."""
    with GeminiServer() as server:
        reply, _ = ask(server, api_key="")
    assert not server.requests and "GEMINI_API_KEY" in reply.cure


def test_a_retired_model_is_refused_by_name():
    """What a real 404 looks like: the model's name and the setting."""
    with GeminiServer() as server:
        reply, _ = ask(server, model="gemini-1.0-pro")
    assert "gemini-1.0-pro" in reply.problem and "gemini_model" in reply.cure


def test_tokens_of_all_attempts_are_counted():
    """An attempt that failed after it was charged still counts."""
    replies = iter([Reply(transient=True, problem="x", input_tokens=5), Reply("text", input_tokens=7, output_tokens=1)])
    reply = with_retries(
        lambda _left: next(replies), deadline=100.0, clock=lambda: 0.0, sleep=lambda _s: None, random=lambda: 0.0
    )
    assert (reply.input_tokens, reply.output_tokens, reply.attempts) == (12, 1, 2)


def test_prices_are_those_of_the_day():
    """The price of a model may change on a date; unknown models have none."""
    reply = Reply(model="gemini-3.8-flash", input_tokens=1_000_000, output_tokens=1_000_000)
    assert cost_usd(reply, "2026-12-31") == 4.5
    assert cost_usd(reply, "2027-01-01") == 9.0
    assert cost_usd(Reply(model="other"), "2027-01-01") is None


@pytest.mark.parametrize(("text", "seconds"), [("7s", 7.0), ("1.5s", 1.5), ("3", 3.0), ("soon", None), ("-1s", None)])
def test_durations_are_read_strictly(text, seconds):
    """Only a protobuf duration or a number of seconds is one."""
    assert seconds_of(text) == seconds


def test_vertex_ai_is_a_matter_of_configuration(tmp_path, monkeypatch):
    """With a project the call goes to Vertex AI's path, with the application default credentials."""
    if _sdk_name() == "google-generativeai":  # that SDK knows no Vertex AI, so the key is what it goes by
        reply, _ = ask("http://127.0.0.1:9", api_key="", vertex_project="acme")
        assert "google-genai" in reply.cure
        return
    with GeminiServer() as server:
        (tmp_path / "token").write_text("subject")
        credentials = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/aws",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{server.url}/token",
            "credential_source": {"file": str(tmp_path / "token")},
        }
        (tmp_path / "adc.json").write_text(json.dumps(credentials))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
        reply, _ = ask(server, api_key="", vertex_project="acme", vertex_location="europe-west4")
    assert reply.text, reply.problem
    path = server.requests[-1].path
    assert path == (
        "/v1/projects/acme/locations/europe-west4/publishers/google/models/gemini-3.8-flash:generateContent"
    )


def _sdk_name():
    ask_with = gemini._sdk()
    return {"_with_genai": "google-genai", "_with_generativeai": "google-generativeai"}[ask_with.__name__]
