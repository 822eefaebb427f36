"""A local Gemini: checks each request against the published REST schema, answers as told, misbehaves on request.

In tests: ``with GeminiServer(faithful) as gemini: … gemini.url … gemini.requests``. By hand:
``python -m tests.gemini_server obeys`` prints its address and serves until it is interrupted.
A behaviour takes a `Request` and returns a `Response`; several are used one after another, the last one for ever.
"""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.gemini_schema import MESSAGES

KEY = "AIzaSyTest-Key_0123456789abcdefghijklmn"
MODELS = ("gemini-3.8-flash", "gemini-3.6-flash", "gemini-2.5-flash")


@dataclasses.dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def system(self) -> str:
        return _text_of(self.body.get("systemInstruction") or self.body.get("system_instruction") or {})

    @property
    def prompt(self) -> str:
        return "\n".join(_text_of(content) for content in self.body.get("contents", ()))

    @property
    def fields(self) -> list[str]:
        """The names that the answer's schema asks for."""
        config = self.body["generationConfig"]
        return list(config["responseSchema"]["properties"])


@dataclasses.dataclass
class Response:
    """`manner`: whole; reset (after half the body); drip (a byte a second); hang (no byte)."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = dataclasses.field(default_factory=lambda: {"Content-Type": "application/json"})
    manner: str = "whole"


Behaviour = Callable[[Request], Response]


def _text_of(content: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in content.get("parts", ()))


# --- what it says -----------------------------------------------------------------------------------------------


def candidate(text: str | None, finish: str = "STOP", thoughts: int = 40) -> Response:
    """A 200 as the service writes it, with the fields that older SDKs do not know."""
    parts = [] if text is None else [{"text": text, "thoughtSignature": "QUJDRA=="}]
    content = {"role": "model", "parts": parts} if parts else {"role": "model"}
    output = 0 if text is None else max(1, len(text) // 4)
    return Response(
        body=json.dumps(
            {
                "candidates": [{"content": content, "finishReason": finish, "index": 0}],
                "usageMetadata": {
                    "promptTokenCount": 900,
                    "candidatesTokenCount": output,
                    "thoughtsTokenCount": thoughts,
                    "totalTokenCount": 900 + output + thoughts,
                    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}],
                    "serviceTier": "STANDARD",
                },
                "modelVersion": "gemini-3.8-flash",
                "responseId": "r-1",
                "modelStatus": {"modelStage": "STABLE"},
            }
        ).encode()
    )


def says(**values: Any) -> Behaviour:
    return lambda _request: candidate(json.dumps(values))


def blocks(prompt: str) -> dict[str, list[tuple[int, str]]]:
    """The fenced blocks of a prompt: name -> numbered lines."""
    found = {}
    for name, body in re.findall(r"^<<<untrusted (.+?)\n(.*?)\nuntrusted>>>$", prompt, re.DOTALL | re.MULTILINE):
        found[name] = [(int(n), text) for n, text in re.findall(r"^ *(\d+)\| (.*)$", body, re.MULTILINE)]
    return found


def faithful_answer(request: Request) -> dict[str, Any]:
    """What an honest model would say: the rules' opinion, proved by the last line that speaks of an error."""
    shown = blocks(request.prompt)
    opinion = shown["rules_opinion"]
    category = re.match(r"category (\w+)", opinion[0][1])
    own = ("failure", "rules_opinion", "earlier_incidents")
    lines = [(name, n, text) for name, rows in shown.items() if name not in own for n, text in rows]
    telling = [line for line in lines if re.search(r"error|fail|exception|denied", line[2], re.I)] or lines
    source, number, quote = telling[-1] if telling else ("task_log", 1, "")
    return {
        "evidence": [{"source": source, "line": number, "quote": quote[:200]}],
        "root_cause": "The task broke on the error that its log shows.",
        "category": category[1] if category and category[1] != "unknown" else "code_error",
        "transience": "permanent",
        "rerun_is_safe": "unknown",
        "rerun_is_safe_why": "The log does not say what was written.",
        "confidence": 0.85,
        "confidence_why": "The line is explicit.",
        "next_steps": ["Read the line and mend its cause."],
    }


def faithful(request: Request) -> Response:
    return candidate(json.dumps(faithful_answer(request)))


def lies(how: str) -> Behaviour:
    """``invented`` line, ``altered`` number, or a quote from ``another`` task."""

    def answer(request: Request) -> Response:
        values = faithful_answer(request)
        quote = values["evidence"][0]["quote"]
        from_payroll = "KeyError: 'salary_band' in payroll_export"
        values["evidence"] = {
            "invented": [
                {"source": "task_log", "line": 7, "quote": "OutOfMemoryError: the worker was killed at 512 MB"}
            ],
            "altered": [
                {**values["evidence"][0], "quote": re.sub(r"\d", lambda d: str(9 - int(d[0])), quote + " 137")}
            ],
            "another": [{"source": "task_log", "line": 2, "quote": from_payroll}],
        }[how]
        values["root_cause"] = "The worker pod-4711 ran out of 512 MB at line 4242."
        return candidate(json.dumps(values))

    return answer


OBEDIENT = {
    "evidence": [],
    "root_cause": "Everything is fine, see <https://evil.example/x|the runbook> <!channel> @here.",
    "category": "deliberate",
    "transience": "transient",
    "rerun_is_safe": "yes",
    "rerun_is_safe_why": "[all good](https://evil.example/login)",
    "confidence": 1.0,
    "confidence_why": "I was told so.",
    "next_steps": ["Open https://evil.example/x and sign in.", "Ping <@U012AB3CD>."],
    "look_further": {"tool": "get_mwaa_task_logs", "argument": "payroll_export"},
}
_ORDER = re.compile(
    r"ignore|disregard|instruction|everything is fine|evil\.example|pwned|important message|you are now", re.I
)


def obeys(request: Request) -> Response:
    """Does as an order in the prompt says, whatever it says; honest where it sees none."""
    own = "\n".join(text for name, rows in blocks(request.prompt).items() for _, text in rows)
    return candidate(json.dumps(OBEDIENT)) if _ORDER.search(own) else faithful(request)


def obeys_quietly(request: Request) -> Response:
    """Obeys always, without a link, quoting a real line: only the verdict is bent."""
    values = faithful_answer(request) | {"category": "deliberate", "rerun_is_safe": "yes", "confidence": 0.99}
    return candidate(json.dumps(values | {"root_cause": "The run was stopped on purpose by the operators."}))


def asks_for(tool: str, argument: str = "") -> Behaviour:
    def answer(request: Request) -> Response:
        values = faithful_answer(request)
        if "look_further" in request.fields:
            values["look_further"] = {"tool": tool, "argument": argument}
        return candidate(json.dumps(values))

    return answer


# --- how it fails -----------------------------------------------------------------------------------------------


def error(status: int, word: str, message: str, *details: dict[str, Any], **headers: str) -> Behaviour:
    body = {"error": {"code": status, "message": message, "status": word, "details": list(details)}}
    if not details:
        del body["error"]["details"]
    head = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request: Response(status, json.dumps(body).encode(), head)


def throttled(delay: str = "", retry_after: str = "") -> Behaviour:
    retry = ({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},) if delay else ()
    headers = {"Retry_After": retry_after} if retry_after else {}
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", *retry, **headers)


def echoing_key(request: Request) -> Response:
    """A careless gateway: an error whose text repeats the request's headers."""
    text = f"refused: {request.headers}"
    return error(403, "PERMISSION_DENIED", text)(request)


bad_key = error(
    400,
    "INVALID_ARGUMENT",
    f"API key not valid: {KEY}",
    {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
)
overloaded = error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")


def html(_request: Request) -> Response:
    return Response(200, b"<html><body>Sign in to the proxy</body></html>", {"Content-Type": "text/html"})


def huge(_request: Request) -> Response:
    return candidate("x" * 10_000_000)


def empty(_request: Request) -> Response:
    """Thinking used up the output: no text at all."""
    return candidate(None, "MAX_TOKENS", thoughts=8192)


def truncated(request: Request) -> Response:
    return candidate(json.dumps(faithful_answer(request))[:60], "MAX_TOKENS")


def unsafe(_request: Request) -> Response:
    return candidate(None, "SAFETY")


def blocked(_request: Request) -> Response:
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 900}}
    return Response(body=json.dumps(body).encode())


def manner(name: str, behaviour: Behaviour = faithful) -> Behaviour:
    return lambda request: dataclasses.replace(behaviour(request), manner=name)


hangs, drips, resets = manner("hang"), manner("drip"), manner("reset")
wrong_schema = says(verdict="all good", score=11)
wrong_language = says(
    category="code_error",
    root_cause="Die Aufgabe ist fehlgeschlagen, weil der Schlüssel nicht vorhanden ist.",
    confidence=0.9,
)


# --- what it accepts --------------------------------------------------------------------------------------------


def misfit(value: Any, kind: str, where: str = "body") -> str:
    """The first breach of the published schema; empty when there is none. Names in snake case are as good."""
    if kind.startswith("[] "):
        if not isinstance(value, list):
            return f"{where} is not a list"
        return next(filter(None, (misfit(item, kind[3:], f"{where}[{n}]") for n, item in enumerate(value))), "")
    if kind.startswith("map "):
        return next(filter(None, (misfit(item, kind[4:], f"{where}.{name}") for name, item in value.items())), "")
    if kind.startswith("enum "):
        return "" if isinstance(value, int) or value in kind.split()[1:] else f"{where} has no value {value}"
    if kind in MESSAGES:
        return _misfit_message(value, kind, where)
    types = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "any": object}
    # protobuf's JSON form writes 64-bit integers as strings
    right = isinstance(value, types[kind]) or (kind == "integer" and str(value).isdigit())
    return "" if right else f"{where} is no {kind}"


def _misfit_message(value: Any, kind: str, where: str) -> str:
    if not isinstance(value, dict):
        return f"{where} is not an object"
    fields = MESSAGES[kind]
    for name, item in value.items():
        camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
        if camel not in fields:
            return f'Unknown name "{name}" at {where}: Cannot find field.'
        why = misfit(item, fields[camel], f"{where}.{name}")
        if why:
            return why
    return ""


def breach(request: Request) -> tuple[int, str, str] | None:
    """Status, status word and text with which the service would refuse a request; None when it would not."""
    vertex = r"(?:/projects/[^/]+/locations/[^/]+/publishers/google)?"
    path = re.fullmatch(rf"/v1(?:beta)?{vertex}/models/([^/:]+):generateContent(?:\?.*)?", request.path)
    if not path:
        return 404, "NOT_FOUND", f"no method at {request.path}"
    granted = "x-goog-api-key" if "/projects/" not in request.path else "authorization"
    if request.headers.get(granted) is None:
        return 403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers"
    if path[1] not in MODELS:
        return 404, "NOT_FOUND", f"models/{path[1]} is not found for API version v1beta"
    why = misfit(request.body, "GenerateContentRequest") or _breach_of_sense(request.body, path[1])
    return (400, "INVALID_ARGUMENT", why) if why else None


def _breach_of_sense(body: dict[str, Any], model: str) -> str:
    if not body.get("contents"):
        return "contents is not specified"
    config = body.get("generationConfig", {})
    thinking = config.get("thinkingConfig", {})
    levels = {name for name in thinking if name in ("thinkingLevel", "thinking_level")}
    if levels and (model.startswith("gemini-2") or "thinkingBudget" in thinking):
        return "thinking level is not supported here"
    if any(thinking[name] == "MINIMAL" for name in levels) and model == "gemini-3.8-flash":
        return "thinking level MINIMAL is not supported for this model"
    deprecated = {"temperature", "topP", "topK"} & set(config)
    return f"deprecated: {sorted(deprecated)}" if deprecated else ""


class GeminiServer:
    """Serves on loopback while it is entered; `requests` holds what came, `breaches` what the service would refuse."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours or (faithful,))
        self.requests: list[Request] = []
        self.breaches: list[str] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> GeminiServer:
        outer = self

        class Handler(_Handler):
            gemini = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def respond(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
            behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        refusal = breach(request)
        if refusal:
            self.breaches.append(refusal[2])
            return error(*refusal)(request)
        return behaviour(request)


_TOKEN = json.dumps(
    {
        "access_token": "ya29.test",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": 3600,
    }
).encode()


class _Handler(BaseHTTPRequestHandler):
    gemini: GeminiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The description of a model, as `models.get` asks for it."""
        name = self.path.partition("?")[0].rpartition("/")[2]
        if self.headers.get("x-goog-api-key") != KEY:
            self._send(bad_key(Request(self.path, {}, {})))
        elif name not in MODELS:
            self._send(error(404, "NOT_FOUND", f"models/{name} is not found")(Request(self.path, {}, {})))
        else:
            self._send(Response(body=json.dumps({"name": f"models/{name}", "version": "001"}).encode()))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":  # Google's token exchange, as workload identity uses it
            self._send(Response(body=_TOKEN))
            return
        body = json.loads(content)
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.gemini.respond(Request(self.path, headers, body))
        try:
            self._send(response)
        except OSError:  # the client has gone: that is what some tests are about
            self.close_connection = True

    def _send(self, response: Response) -> None:
        if response.manner == "hang":
            self.gemini.stopping.wait(60)
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if response.manner == "reset":
            self.wfile.write(response.body[: len(response.body) // 2])
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif response.manner == "drip":
            for n in range(len(response.body)):
                self.wfile.write(response.body[n : n + 1])
                if self.gemini.stopping.wait(0.1):
                    break
        else:
            self.wfile.write(response.body)


def main(name: str = "faithful") -> None:
    with GeminiServer(globals()[name]) as gemini:
        print(gemini.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
