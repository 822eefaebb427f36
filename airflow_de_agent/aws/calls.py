"""Calls to AWS: clients with timeouts, one deadline, backoff with full jitter, errors in words with their cure.

Rules kept here: only this module waits between tries (the clients are built without retries of their own); a call
that hangs is left behind in a thread of its own when the deadline comes; every error becomes a `CallFailed`.
"""

from __future__ import annotations

import dataclasses
import functools
import queue
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from airflow_de_agent.aws.remedies import Remedy, remedy_of
from airflow_de_agent.core.errors import DeAgentError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.redaction import Redactor

T = TypeVar("T")
P = ParamSpec("P")
Redact = Callable[[str], str]

SECONDS = 20.0  # the time an instrument has when it is used by hand, without a deadline
REASON_CHARS = 500


class CallFailed(DeAgentError):
    """AWS did not answer, or refused. `code` is the service's own, or the name of botocore's exception."""

    def __init__(self, reason: str, cure: str = "", code: str = "") -> None:
        super().__init__(reason)
        self.reason, self.cure, self.code = reason, cure, code


_OUT_OF_TIME = ("Hanging", "NoTime")
_DENIED = re.compile(r"(?:User: (?P<user>\S+) )?is not authorized to perform: (?P<action>[\w-]+:\w+)")
_DENIED_RESOURCE = re.compile(r"on resource: (arn:\S+)")


class Calls:
    """Calls through one client until one deadline (of `time.monotonic`).

    `resource` is the ARN, or what is known of it, that IAM would have to allow. `per_second` keeps a quota of the
    service: never more calls than that.
    """

    def __init__(self, client: Any, deadline: float, *, resource: str = "*", per_second: float = 0.0) -> None:
        self.client, self.deadline, self._resource = client, deadline, resource
        self._gap = 1 / per_second if per_second else 0.0
        self._last = 0.0

    @property
    def region(self) -> str:
        """The region of the client."""
        return str(getattr(self.client.meta, "region_name", None) or "*")

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def __call__(self, method: str, /, expects: str = "", **arguments: Any) -> dict[str, Any]:
        """One answer of the service; `expects` is a field without which an answer is half an answer.

        Raises:
            CallFailed: it was refused, or there was no answer in time.
        """
        tried = 0
        said: _Failure | None = None
        while True:
            tried += 1
            try:
                return self._once(method, expects, arguments)
            except _Failure as failure:
                # what the service said at an earlier try tells more than that the time then ran out
                said = failure if said is None or failure.code not in _OUT_OF_TIME else said
                remedy = remedy_of(said.code)
                wait = random.uniform(0, min(4.0, 0.1 * 2**tried))
                if tried >= remedy.tries or wait >= self.left:
                    raise self._explained(method, remedy, said) from said.__cause__
                time.sleep(wait)

    def wait(self, seconds: float) -> bool:
        """Sleep; False, at once, when the deadline would pass meanwhile."""
        if seconds >= self.left:
            return False
        time.sleep(seconds)
        return True

    def _once(self, method: str, expects: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        function = getattr(self.client, method, None)
        if function is None:
            raise _Failure("UnknownMethod", f"it has no {method}")
        pause = self._last + self._gap - time.monotonic()
        if self.left <= 0 or (pause > 0 and not self.wait(pause)):
            raise _Failure("NoTime")
        self._last = time.monotonic()
        try:
            answer: dict[str, Any] = within(self.left, lambda: function(**arguments))
        except ClientError as exc:
            error = exc.response.get("Error", {})
            raise _Failure(str(error.get("Code", "")), str(error.get("Message", ""))) from exc
        except BotoCoreError as exc:
            raise _Failure(type(exc).__name__, str(exc)) from exc
        except TimeoutError as exc:
            raise _Failure("Hanging") from exc
        if expects and expects not in answer:
            raise _Failure("HalfAnswer")
        return answer

    def _explained(self, method: str, remedy: Remedy, failure: _Failure) -> CallFailed:
        meta = self.client.meta
        operation = meta.method_to_api_mapping.get(method) or "".join(map(str.title, method.split("_")))
        denied = _DENIED.search(failure.message)
        resource = _DENIED_RESOURCE.search(failure.message)
        words = {
            "code": failure.code,
            "message": " ".join(failure.message.split()),
            "action": denied["action"] if denied else f"{meta.service_model.signing_name}:{operation}",
            "resource": resource[1] if resource else self._resource,
            "principal": f"{denied['user']} " if denied and denied["user"] else "the caller ",
            "region": self.region,
            "service": str(meta.service_model.service_name),
            "endpoint": str(meta.endpoint_url),
        }
        return CallFailed(remedy.reason.format(**words), remedy.cure.format(**words), failure.code)


class _Failure(Exception):
    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code)
        self.code, self.message = code, message


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of work done in a daemon thread.

    Raises:
        TimeoutError: it takes longer; the thread is left behind.
    """
    results: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((True, work()))
        except BaseException as exc:  # noqa: BLE001 - it is raised again where it belongs, in the caller's thread
            results.put((False, exc))

    threading.Thread(target=run, daemon=True, name="de-agent-call").start()
    try:
        good, value = results.get(timeout=max(seconds, 0.001))
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.1f} s") from None
    if not good:
        raise value
    return value  # type: ignore[no-any-return]


def deadline_or_default(deadline: float | None) -> float:
    """The deadline given, or `SECONDS` from now."""
    return time.monotonic() + SECONDS if deadline is None else deadline


def evidence_of(source: str) -> Callable[[Callable[P, Evidence]], Callable[P, Evidence]]:
    """Make an instrument answer always: what cannot be had becomes `unavailable`, and the seconds are noted.

    Reasons quote what a service said, so they are redacted, and only then cut.
    """

    def decorate(read: Callable[P, Evidence]) -> Callable[P, Evidence]:
        @functools.wraps(read)
        def answer(*args: P.args, **kwargs: P.kwargs) -> Evidence:
            began = time.monotonic()
            redact: Any = kwargs.get("redact") or Redactor().redact
            try:
                evidence = read(*args, **kwargs)
            except CallFailed as exc:
                evidence = Evidence.unavailable(source, exc.reason, exc.cure)
            reason, cure = shortened(redact(evidence.reason), REASON_CHARS), redact(evidence.cure)
            return dataclasses.replace(evidence, reason=reason, cure=cure, seconds=round(time.monotonic() - began, 3))

        return answer

    return decorate


def shortened(text: str, chars: int) -> str:
    """A text of at most so many characters, and how many it had. Cut only what has been redacted."""
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def with_gaps(evidence: Evidence, failures: list[CallFailed]) -> Evidence:
    """Evidence that is not whole: what was found stands, and the reasons say what is missing.

    Raises:
        CallFailed: nothing was found, so the first reason is all there is to say.
    """
    if not failures:
        return evidence
    if evidence.status == "empty" and not evidence.reason:
        raise failures[0]
    reason = " ".join(dict.fromkeys(filter(None, [evidence.reason, *(item.reason for item in failures)])))
    cure = " ".join(dict.fromkeys(filter(None, [evidence.cure, *(item.cure for item in failures)])))
    return dataclasses.replace(evidence, reason=reason, cure=cure)


class Clients:
    """boto3 clients by service name, built when first asked for, without retries of their own, with short timeouts.

    `session` holds the arguments of `boto3.Session` (region_name, aws_access_key_id, …), and with them ``role_arn`` and
    ``external_id`` of a role to take; what is absent boto3 finds by its own rules, among them AWS_ENDPOINT_URL.
    """

    def __init__(self, session: Mapping[str, Any] | None = None, endpoint_url: str | None = None) -> None:
        self._arguments, self._endpoint_url = dict(session or {}), endpoint_url
        self._session: Any = None
        self._built: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, service: str) -> Any:
        """The client of one service.

        Raises:
            CallFailed: it cannot be built: no region, an unknown profile, a boto3 without the service.
        """
        with self._lock:
            if service not in self._built:
                self._built[service] = self._new(service)
            return self._built[service]

    def _new(self, service: str) -> Any:
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            self._session = self._session or self._opened(boto3.Session)
            client = self._build(service)
            if "amazonaws." not in client.meta.endpoint_url:
                # a gateway or a test answers under one name: no "env." or "api." may be put before it
                client = self._build(service, inject_host_prefix=False)
            return client
        except (BotoCoreError, ValueError) as exc:
            remedy = remedy_of(type(exc).__name__)
            words = {name: "" for name in ("action", "resource", "principal", "region", "endpoint")}
            words |= {"service": service, "code": type(exc).__name__, "message": str(exc), "action": f"use {service}"}
            raise CallFailed(remedy.reason.format(**words), remedy.cure.format(**words), words["code"]) from exc

    def _opened(self, session: Callable[..., Any]) -> Any:
        """A session, under the role of the connection where it names one (for an hour)."""
        arguments = dict(self._arguments)
        role, external_id = arguments.pop("role_arn", ""), arguments.pop("external_id", "")
        self._session = session(**arguments)
        if not role:
            return self._session
        calls = Calls(self._build("sts"), time.monotonic() + 5.0, resource=role)
        more = {"ExternalId": external_id} if external_id else {}
        answer = calls("assume_role", expects="Credentials", RoleArn=role, RoleSessionName="de-agent", **more)
        keys = answer["Credentials"]
        return session(
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            region_name=self._session.region_name,
        )

    def _build(self, service: str, **options: Any) -> Any:
        from botocore.config import Config

        config = Config(connect_timeout=3, read_timeout=12, retries={"total_max_attempts": 1}, **options)
        return self._session.client(service, config=config, endpoint_url=self._endpoint_url)
