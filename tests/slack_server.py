"""A Slack Web API on loopback that checks what it gets against the published limits and can be told to refuse.

It keeps each channel's messages, so that a test sees what a person would see.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from tests import slack_limits

TOKEN = "xoxb-" + "test-token-of-the-stand-in"
# Slack reads the arguments of these from the address or a form, never from a JSON body.
READING = ("conversations.history", "conversations.replies", "conversations.info", "users.info")
BOT = {"user_id": "UBOT", "bot_id": "BBOT", "user": "de-agent", "team": "T", "team_id": "T1"}


class SlackServer:
    """`written` is all that stands there, `messages` in channels and `replies` in threads; `calls` all that was asked.

    `refused` is what came too fast; threads count as their channel. `spoken` makes other bytes of an answer.
    """

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.calls: list[tuple[float, str, dict[str, Any]]] = []
        self.refuse: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda method, arguments: None
        self.spoken: Callable[[str, bytes], bytes] = lambda method, answer: answer
        self.per_second_and_channel: float | None = None
        self.refused: list[str] = []
        self.delay = 0.0
        self.url = ""
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for message in self.written if message.get("thread_ts", message["ts"]) == message["ts"]]

    @property
    def replies(self) -> list[dict[str, Any]]:
        return [message for message in self.written if message.get("thread_ts", message["ts"]) != message["ts"]]

    def texts(self) -> list[str]:
        return [message["text"] for message in self.messages]

    def count(self, method: str) -> int:
        return sum(called == method for _, called, _ in self.calls)

    def answer(self, method: str, token: str, arguments: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
        time.sleep(self.delay)
        with self._lock:
            self.calls.append((time.time(), method, arguments))
            if method in READING and "channel" not in arguments:
                return 200, {}, {"ok": False, "error": "invalid_arguments"}
            if token != TOKEN:
                return 200, {}, {"ok": False, "error": "invalid_auth"}
            refusal = self.refuse(method, arguments)
            if refusal is not None:
                status = int(refusal.pop("status", 200))
                headers = refusal.pop("headers", {})
                return status, headers, {"ok": False, **refusal}
            if self._too_fast(method, arguments):
                self.refused.append(method)
                return 429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"}
            return 200, {}, self._do(method, arguments)

    def _too_fast(self, method: str, arguments: dict[str, Any]) -> bool:
        if self.per_second_and_channel is None or method != "chat.postMessage":
            return False
        channel = channel_id(arguments["channel"])
        last, now = self._last.get(channel, 0.0), time.monotonic()
        self._last[channel] = now
        return now - last < self.per_second_and_channel

    def _do(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        known = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "views.open": self._open_view,
            "auth.test": lambda arguments: dict(BOT),
        }
        if method not in known:
            return {"ok": False, "error": "unknown_method"}
        answer = known[method](arguments)
        return answer if "error" in answer else {"ok": True, **answer}

    def _post(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if _wrong(arguments):
            return {"ok": False, "error": "invalid_blocks"}
        channel = channel_id(arguments["channel"])
        message = {**arguments, "channel": channel, "ts": f"{time.time():.6f}", "user": BOT["user_id"], **_BOT_MARK}
        self.written.append(message)
        return {"channel": channel, "ts": message["ts"]}

    def _update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if _wrong(arguments):
            return {"ok": False, "error": "invalid_blocks"}
        for message in self._of(arguments["channel"]):
            if message["ts"] == arguments["ts"]:
                message.update(arguments)
                return {"channel": message["channel"], "ts": message["ts"]}
        return {"ok": False, "error": "message_not_found"}

    def _delete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.written = [m for m in self.written if m["ts"] != arguments["ts"]]
        return {}

    def _history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        top = [m for m in self.messages if m["channel"] == arguments["channel"]]
        return {"messages": top[::-1][: int(arguments.get("limit", 100))]}

    def _replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        thread = [m for m in self._of(arguments["channel"]) if m.get("thread_ts", m["ts"]) == arguments["ts"]]
        return {"messages": thread} if thread else {"ok": False, "error": "thread_not_found"}

    def _open_view(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"view": {"id": "V1", **arguments["view"]}}

    def _of(self, channel: str) -> list[dict[str, Any]]:
        return [m for m in self.written if m["channel"] == channel]

    def say(self, channel: str, text: str, thread_ts: str = "", user: str = "U1") -> str:
        """A person's message in a channel; its timestamp."""
        ts = f"{time.time():.6f}"
        thread = {"thread_ts": thread_ts} if thread_ts else {}
        self.written.append({"channel": channel, "text": text, "ts": ts, "user": user, **thread})
        return ts


def channel_id(channel: str) -> str:
    """The id of a channel that is given by its name or its id."""
    return "C" + channel[1:].upper().replace("-", "") if channel.startswith("#") else channel


_BOT_MARK = {"bot_id": BOT["bot_id"]}


def _wrong(arguments: dict[str, Any]) -> bool:
    blocks = arguments.get("blocks") or []
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks  # as Slack's own notifier sends them
    return bool(blocks and slack_limits.broken(blocks, arguments.get("text", "")))


def _form(text: str) -> dict[str, Any]:
    """Fields of a form; those that hold JSON (blocks, view) are read."""
    fields = dict(urllib.parse.parse_qsl(text))
    return {name: json.loads(value) if value[:1] in "[{" else value for name, value in fields.items()}


@contextlib.contextmanager
def running() -> Iterator[SlackServer]:
    """The server on a free port, until the block ends."""
    slack = SlackServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            self.answer(json.loads(body or b"{}") if is_json else _form(body.decode()), is_json=is_json)

        def answer(self, arguments: dict[str, Any], is_json: bool = False) -> None:
            address = urllib.parse.urlsplit(self.path)
            method = address.path.rpartition("/")[2]
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            read = {} if is_json and method in READING else arguments
            status, headers, answer = slack.answer(method, token, _form(address.query) | read)
            data = slack.spoken(method, json.dumps(answer).encode())
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # a killed drainer does not wait for its answer
                self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            del arguments

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    slack.url = f"http://127.0.0.1:{server.server_port}/api/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def connection(url: str) -> str:
    """An Airflow connection to this server, as the value of AIRFLOW_CONN_SLACK_API_DEFAULT."""
    return json.dumps({"conn_type": "slack", "password": TOKEN, "extra": {"base_url": url}})
