"""The companion Lambda over HTTP on this machine, with the part of AWS Lambda that it calls: invoking itself.

    python -m deployment.local_lambda --port 3000
    curl -d @tests/verification_challenge.json http://127.0.0.1:3000/slack/events

Settings and secrets come from the environment (DE_AGENT_*, SLACK_*, GEMINI_API_KEY); what is absent gets the values of
the samples and a SQLite store in a temporary directory, so that nothing of AWS is needed to try it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.server
import json
import os
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:de-agent-local:live"
RETRIES = 2  # as AWS Lambda does with an asynchronous invocation
TEXTS = ("application/json", "text/")


class Context:
    """What AWS Lambda tells a handler about its invocation."""

    function_name = "de-agent-local"
    function_version = "1"
    memory_limit_in_mb = 512
    invoked_function_arn = ARN

    def __init__(self, seconds: float = 60.0) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """What is left of the invocation's time."""
        return max(0, int((self._until - time.monotonic()) * 1000))


class LocalLambda:
    """One function. `lost` are the payloads that a dead-letter queue would hold; `retry_seconds` lies between tries."""

    def __init__(self, handler: Callable[[dict[str, Any], Any], Any]) -> None:
        self.handler = handler
        self.url = ""
        self.lost: list[dict[str, Any]] = []
        self.started: list[dict[str, Any]] = []
        self.retry_seconds = 1.0
        self._running = 0
        self._idle = threading.Condition()

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """What the HTTP API makes of a request, and the function of that."""
        is_text = headers.get("content-type", "").startswith(TEXTS)
        event = {
            "version": "2.0",
            "routeKey": f"{method} {path}",
            "rawPath": path,
            "headers": headers,
            "requestContext": {"http": {"method": method, "path": path}, "requestId": str(uuid.uuid4())},
            "body": body.decode(errors="replace") if is_text else base64.b64encode(body).decode(),
            "isBase64Encoded": not is_text,
        }
        try:
            answer: dict[str, Any] = self.handler(event, Context())
        except Exception:  # noqa: BLE001 - the runtime of AWS Lambda answers 500 for whatever a handler raises
            traceback.print_exc()
            return {"statusCode": 500, "headers": {}, "body": "Internal Server Error"}
        return answer

    def invoke(self, payload: dict[str, Any]) -> None:
        """Start an asynchronous invocation."""
        with self._idle:
            self._running += 1
            self.started.append(payload)
        threading.Thread(target=self._tries, args=(payload,), daemon=True).start()

    def _tries(self, payload: dict[str, Any]) -> None:
        try:
            for left in range(RETRIES, -1, -1):
                try:
                    self.handler(json.loads(json.dumps(payload)), Context())
                    return
                except Exception:  # noqa: BLE001 - and it tries asynchronous invocations again
                    if left:
                        time.sleep(self.retry_seconds)
            self.lost.append(payload)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def wait(self, seconds: float = 30.0) -> bool:
        """Until nothing runs; whether that came in time."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, seconds)


@contextlib.contextmanager
def serving(handler: Callable[[dict[str, Any], Any], Any], port: int = 0) -> Iterator[LocalLambda]:
    """The function at `url` until the block ends."""
    function = LocalLambda(handler)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.endswith("/invocations"):
                function.invoke(json.loads(body))
                self._send(202, {}, b"")
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = function.request("POST", self.path, headers, body)
            self._send(int(answer["statusCode"]), answer.get("headers", {}), str(answer.get("body", "")).encode())

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            del arguments

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    function.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield function
    finally:
        server.shutdown()
        server.server_close()


def sample_environment(url: str, directory: str) -> dict[str, str]:
    """What the function needs to run here."""
    return {
        "AWS_ENDPOINT_URL_LAMBDA": url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "SLACK_BOT_TOKEN": "xoxb-sample",
        "SLACK_SIGNING_SECRET": "sample-signing-secret",
        "SLACK_VERIFICATION_TOKEN": "sample-verification-token",
        "DE_AGENT_STORE_URL": f"sqlite:///{Path(directory) / 'diagnoses.db'}",
        "POWERTOOLS_METRICS_DISABLED": "true",
        "POWERTOOLS_SERVICE_NAME": "de-agent-local",
    }


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the companion Lambda over HTTP.")
    parser.add_argument("--port", type=int, default=3000)
    port = parser.parse_args().port

    def handler(event: dict[str, Any], context: Any) -> Any:
        from airflow_de_agent import lambda_handler  # once the environment is set

        return lambda_handler.handler(event, context)

    try:
        _serve(handler, port)
    except OSError as exc:
        raise SystemExit(f"port {port} cannot be used ({exc.strerror}): take another with --port") from None


def _serve(handler: Callable[[dict[str, Any], Any], Any], port: int) -> None:
    with tempfile.TemporaryDirectory() as directory, serving(handler, port) as function:
        for name, value in sample_environment(function.url, directory).items():
            os.environ.setdefault(name, value)
        print(f"serving {function.url}/slack/events", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
