"""What an exception of either Gemini SDK means: a sentence, its cure, and whether waiting helps.

Rules kept here: nothing of an exception's own text is repeated except Google's status word, since that text holds the
whole body, and a gateway may echo the request's headers in it; exceptions are told apart by what they carry, because
their classes differ between the SDKs and their versions.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_de_agent.core.reply import Reply

_CURES = {
    401: "put a valid key in [de_agent] gemini_conn_id, the secret de-agent/gemini or GEMINI_API_KEY",
    403: "let the key call the Generative Language API (key restrictions, API enabled, billing)",
    404: "set [de_agent] gemini_model to a model that is served; this one may be retired",
    429: "raise the project's Gemini quota, or lower [de_agent] daily_token_budget",
}
_TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))
_TRANSPORTS = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "ssl", "socket", "http")


def reply_to(exc: BaseException, model: str) -> Reply:
    """The Reply for an exception that an SDK raised."""
    status = _status(exc)
    if status is not None:
        return _refused(exc, status, model)
    if type(exc).__module__ == "google.auth.exceptions":
        cure = "give this host Google application default credentials for [de_agent] gemini_vertex_project"
        return Reply(problem=f"Google did not accept our identity ({type(exc).__name__}).", cure=cure, model=model)
    if _is_transport(exc):
        slow = "timeout" in type(exc).__name__.lower()
        what = "the service did not answer in time" if slow else "the service could not be reached, or broke off"
        cure = "allow outbound HTTPS to the Gemini endpoint, or set [de_agent] gemini_base_url"
        return Reply(problem=f"{what} ({type(exc).__name__}).", cure=cure, transient=True, model=model)
    cure = "check what answers at [de_agent] gemini_base_url (a proxy's page?)"
    return Reply(problem=f"what came back was no Gemini answer ({type(exc).__name__}).", cure=cure, model=model)


def _refused(exc: BaseException, status: int, model: str) -> Reply:
    error = _error(exc)
    word = str(error.get("status", ""))
    named = f" {word}" if re.fullmatch(r"[A-Z_]{3,40}", word) else ""
    details = [item for item in error.get("details") or () if isinstance(item, Mapping)]
    bad_key = any(item.get("reason") in ("API_KEY_INVALID", "API_KEY_EXPIRED") for item in details)
    cure = _CURES[401] if bad_key else _CURES.get(status, "")
    about = {404: f" for model {model}"}.get(status, ": the API key is not valid" if bad_key else "")
    return Reply(
        problem=f"the service answered {status}{named}{about}.",
        cure=cure,
        transient=status in _TRANSIENT,
        retry_after=_retry_info(details) if _retry_info(details) is not None else _retry_after(exc),
        model=model,
    )


def _status(exc: BaseException) -> int | None:
    code = getattr(exc, "code", None)
    code = getattr(code, "value", code)  # google-api-core gives an HTTPStatus
    return int(code) if isinstance(code, int) and 300 <= code < 600 else None


def _error(exc: BaseException) -> Mapping[str, Any]:
    """The ``error`` object of the body: a dict in google-genai, parts of one in google-api-core."""
    details = getattr(exc, "details", None)
    if isinstance(details, Mapping):
        error = details.get("error", details)
        return error if isinstance(error, Mapping) else {}
    if isinstance(details, Iterable) and not isinstance(details, str):
        word = getattr(getattr(exc, "grpc_status_code", None), "name", "")
        return {"details": list(details), "status": word}
    return {}


def _retry_info(details: Iterable[Mapping[str, Any]]) -> float | None:
    for item in details:
        if str(item.get("@type", "")).endswith("google.rpc.RetryInfo"):
            return seconds_of(str(item.get("retryDelay", "")))
    return None


def _retry_after(exc: BaseException) -> float | None:
    headers: Any = getattr(getattr(exc, "response", None), "headers", None) or {}
    value = headers.get("retry-after")
    if value is None or seconds_of(str(value)) is not None:
        return None if value is None else seconds_of(str(value))
    try:
        return max(0.0, email.utils.parsedate_to_datetime(str(value)).timestamp() - time.time())
    except ValueError:
        return None


def seconds_of(text: str) -> float | None:
    """A protobuf duration (``7.5s``) or a number of seconds; None for anything else."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)s?", text.strip())
    return float(match[1]) if match else None


def _is_transport(exc: BaseException) -> bool:
    if isinstance(exc, ValueError):  # a body that could not be read; requests' class for it is an OSError as well
        return False
    return isinstance(exc, OSError) or type(exc).__module__.partition(".")[0] in _TRANSPORTS
