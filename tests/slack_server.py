"""A Slack Web API on loopback that checks what it gets against the published limits and can be told to refuse.

It keeps each channel's messages, so that a test sees what a person would see.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

TOKEN = "xoxb-" + "test-token-of-the-stand-in"


class SlackServer:
    """`messages` are those that stand in the channels; `calls` all that was asked, with its time."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.calls: list[tuple[float, str, dict[str, Any]]] = []
        self.refuse: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda method, arguments: None
        self.per_second_and_channel: float | None = None
        self.delay = 0.0
        self.url = ""
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def texts(self) -> list[str]:
        return [message["text"] for message in self.messages]

    def count(self, method: str) -> int:
        return sum(called == method for _, called, _ in self.calls)

    def answer(self, method: str, token: str, arguments: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
        time.sleep(self.delay)
        with self._lock:
            self.calls.append((time.time(), method, arguments))
            if token != TOKEN:
                return 200, {}, {"ok": False, "error": "invalid_auth"}
            refusal = self.refuse(method, arguments)
            if refusal is not None:
                status = int(refusal.pop("status", 200))
                headers = refusal.pop("headers", {})
                return status, headers, {"ok": False, **refusal}
            if self._too_fast(method, arguments):
                return 429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"}
            return 200, {}, self._do(method, arguments)

    def _too_fast(self, method: str, arguments: dict[str, Any]) -> bool:
        if self.per_second_and_channel is None or method != "chat.postMessage":
            return False
        last, now = self._last.get(arguments["channel"], 0.0), time.monotonic()
        self._last[arguments["channel"]] = now
        return now - last < self.per_second_and_channel

    def _do(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        wrong = _wrong(arguments)
        if wrong:
            return {"ok": False, "error": wrong}
        if method == "chat.postMessage":
            channel = "C" + arguments["channel"].lstrip("#C").upper().replace("-", "")
            message = {**arguments, "channel": channel, "ts": f"{time.time():.6f}"}
            self.messages.append(message)
            return {"ok": True, "channel": channel, "ts": message["ts"]}
        if method == "chat.update":
            for message in self.messages:
                if (message["channel"], message["ts"]) == (arguments["channel"], arguments["ts"]):
                    message.update(arguments)
                    return {"ok": True, "channel": message["channel"], "ts": message["ts"]}
            return {"ok": False, "error": "message_not_found"}
        if method == "chat.delete":
            self.messages = [m for m in self.messages if m["ts"] != arguments["ts"]]
            return {"ok": True}
        if method == "conversations.history":
            return {"ok": True, "messages": [m for m in self.messages if m["channel"] == arguments["channel"]][::-1]}
        return {"ok": True} if method == "auth.test" else {"ok": False, "error": "unknown_method"}


def _wrong(arguments: dict[str, Any]) -> str:
    blocks = arguments.get("blocks", [])
    texts = [block.get("text", {}).get("text", "") for block in blocks]
    if len(blocks) > 50 or any(not 0 < len(text) <= 3000 for text in texts) or sum(map(len, texts)) > 12000:
        return "invalid_blocks"
    return ""


@contextlib.contextmanager
def running() -> Iterator[SlackServer]:
    """The server on a free port, until the block ends."""
    slack = SlackServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, headers, answer = slack.answer(self.path.rpartition("/")[2], token, json.loads(body or b"{}"))
            data = json.dumps(answer).encode()
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
