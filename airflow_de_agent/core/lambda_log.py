"""What AWS Lambda writes to CloudWatch about a failed invocation, in the text and in the JSON log format.

The server-side filter pattern only saves reading; which lines tell of a failure is decided here. JSON system events are
put into the words of the text format, so that one reader understands both.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# CloudWatch joins ?terms by OR; matching is case-sensitive, for text and JSON events alike
FILTER_TERMS = (
    "ERROR",
    "Error",
    "Exception",
    "Traceback",
    "FATAL",
    "CRITICAL",
    "Task timed out",
    "Runtime exited",
    "Status: ",
    '\\"status\\":\\"timeout',
    '\\"status\\":\\"failure',
    '\\"status\\":\\"error',
    "signal: killed",
)
_ERROR_LINE = re.compile(
    r"Task timed out after|Runtime exited|Runtime\.\w+|Traceback \(most recent call last\)|signal: killed"
    r"|^\[?(?:ERROR|CRITICAL|FATAL)\b|\t(?:ERROR|FATAL)\t|\bUncaught Exception\b"
    r"|Status: (?:timeout|error)|Error Type: "
    r"|^\w*(?:Error|Exception)\b|\b(?:[a-z]\w*\.)+\w*(?:Error|Exception)\b",
    re.MULTILINE,
)
_REPORT = re.compile(r"Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB")
_REQUEST = re.compile(rf"(?:RequestId: |\A\S+\s|\t)({UUID})")
_ARN = re.compile(r"arn:aws[\w-]*:lambda:[\w-]*:\d*:function:([\w-]{1,140})")
_GROUP = re.compile(r"/aws/lambda/([\w-]{1,140})")
_LOG_RESULT = re.compile(r"(?:x-amz-log-result|LogResult)\\?['\"]:\s*\\?['\"]([A-Za-z0-9+/=]{24,})")
_LOGGED_REQUEST = re.compile(rf"RequestId\\?['\"]?:\s*\\?['\"]?({UUID})")


class LambdaEvent(NamedTuple):
    """One log event; `at` is Unix time in milliseconds."""

    at: int
    stream: str
    text: str


def filter_pattern(request_ids: Sequence[str] = ()) -> str:
    """The server-side filter, at most 1,024 characters: any sign of a failure, or one of the requests."""
    terms = [*FILTER_TERMS, *request_ids[:8]]
    return " ".join(f'?"{term}"' for term in terms)


def functions_in(text: str) -> tuple[str, ...]:
    """Names of functions that a log or an operator field mentions by ARN or log group."""
    return tuple(dict.fromkeys([*_ARN.findall(text), *_GROUP.findall(text)]))


def function_name(function: str) -> str:
    """The bare name of a function given by name, partial or full ARN, with or without a version."""
    found = _ARN.search(function)
    if found:
        return found[1]
    return function.rpartition("function:")[2].partition(":")[0]


def request_ids_in(text: str) -> tuple[str, ...]:
    """Request ids that a task log mentions; those of the log tail that Lambda sent back come first."""
    return tuple(dict.fromkeys(_LOGGED_REQUEST.findall("\n".join([*returned_tail(text), text]))))


def returned_tail(text: str) -> tuple[str, ...]:
    """The last 4 KB of the function's log, which Lambda returns in base64 when the operator asks for it."""
    lines: list[str] = []
    for encoded in dict.fromkeys(_LOG_RESULT.findall(text)):
        try:
            lines += base64.b64decode(encoded, validate=True).decode("utf-8", "replace").splitlines()
        except (binascii.Error, ValueError):
            continue
    return tuple(line for line in lines if line.strip())


def as_text(message: str) -> str:
    """An event as the text format would have it; text stays as it is, with ``\\r`` between lines made whole."""
    message = message.strip().replace("\r\n", "\n").replace("\r", "\n")
    if not message.startswith("{"):
        return message
    try:
        fields = json.loads(message)
    except ValueError:
        return message
    if not isinstance(fields, dict):
        return message
    record = fields.get("record")
    if isinstance(record, dict) and str(fields.get("type", "")).startswith("platform."):
        return _platform_text(str(fields["type"]).partition(".")[2], record)
    return _application_text(fields, message)


def _platform_text(kind: str, record: Mapping[str, Any]) -> str:
    head = {"report": "REPORT", "initReport": "INIT_REPORT", "start": "START", "runtimeDone": "END"}.get(kind, kind)
    metrics = record.get("metrics") if isinstance(record.get("metrics"), dict) else {}
    parts = [f"{head} RequestId: {record['requestId']}" if record.get("requestId") else head]
    shown = (("durationMs", "Duration", "ms"), ("memorySizeMB", "Memory Size", "MB"))
    for field, name, unit in (*shown, ("maxMemoryUsedMB", "Max Memory Used", "MB")):
        if metrics and metrics.get(field) is not None:
            parts.append(f"{name}: {metrics[field]} {unit}")
    status = record.get("status")
    if status and status != "success":
        parts.append(f"Status: {'error' if status == 'failure' else status}")
    if record.get("errorType"):
        parts.append(f"Error Type: {record['errorType']}")
    return "\t".join(parts)


def _application_text(fields: Mapping[str, Any], message: str) -> str:
    level = str(fields.get("level") or fields.get("log_level") or "").upper()
    kind = fields.get("errorType") or fields.get("exception_name") or ""
    said = fields.get("errorMessage") or fields.get("message") or ""
    request = fields.get("requestId") or fields.get("function_request_id") or fields.get("AWSRequestId")
    if not (level or kind):
        return message
    said = said if isinstance(said, str) else json.dumps(said)
    head = f"[{level or 'ERROR'}]" + (f" RequestId: {request}" if request else "")
    named = f"{kind}: {said}" if kind and not said.startswith(str(kind)) else said
    stack = fields.get("stackTrace") or fields.get("exception") or fields.get("stack") or ""
    lines = stack if isinstance(stack, list) else [str(stack)]
    return "\n".join([f"{head} {named}", *(str(line).rstrip("\n") for line in lines if line)])


def is_error(text: str) -> bool:
    """Whether an event (as text) tells of a failure; a REPORT does when it has a bad status or memory was used up."""
    if text.startswith(("REPORT ", "INIT_REPORT")):
        memory = _REPORT.search(text)
        return "Status: " in text or "Error Type: " in text or (memory is not None and memory[1] == memory[2])
    if text.startswith(("[INFO]", "[DEBUG]", "START ", "END ")):
        return False
    return _ERROR_LINE.search(text) is not None


def request_of(text: str) -> str:
    """The request id that an event names, or nothing."""
    found = _REQUEST.search(text)
    return found[1] if found else ""


def failing(events: Iterable[LambdaEvent], request_ids: Sequence[str] = ()) -> list[LambdaEvent]:
    """The events that tell of a failure, in order of time, as text.

    When some belong to one of the requests only those are kept. An uncaught exception names no request in the text
    format: it belongs to the request that its stream was serving, between START and END or REPORT.
    """
    wanted, serving = set(request_ids), dict[str, str]()
    errors: list[tuple[str, LambdaEvent]] = []
    for event in sorted(events, key=lambda event: event.at):
        text = as_text(event.text)
        request = request_of(text)
        serving[event.stream] = request or serving.get(event.stream, "")
        if is_error(text):
            errors.append((serving[event.stream], event._replace(text=text)))
    return [event for request, event in errors if request in wanted] or [event for _, event in errors]


def last_invocation(events: Sequence[LambdaEvent], lines: int = 30) -> list[str]:
    """The lines of a stream's last invocation: from its START on, at most so many from the end."""
    texts = [as_text(event.text) for event in sorted(events, key=lambda event: event.at)]
    starts = [n for n, text in enumerate(texts) if text.startswith("START ")]
    whole = "\n".join(texts[starts[-1] if starts else 0 :]).splitlines()
    return [line for line in whole if line.strip()][-lines:]
