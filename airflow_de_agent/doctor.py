"""`de-agent doctor`: what is well, what is doubtful, what is broken, each with what mends it.

Rules kept here: checks run side by side, each for `SECONDS` at most; none changes anything or costs anything; no
finding tells a secret.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from airflow_de_agent import dry_calls, host
from airflow_de_agent import settings as configuration
from airflow_de_agent.aws.calls import CallFailed, within
from airflow_de_agent.bootstrap import Connections, Parts, read_rules
from airflow_de_agent.core.errors import DeAgentError
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

SECONDS = 5.0
_LAST_LINES = 5
_ENTRY_POINTS = {
    "airflow.policy": "no failure is captured by itself",
    "airflow.plugins": "there is no Diagnose view",
    "apache_airflow_provider": "`airflow config list` does not show the options",
}
Status = Literal["ok", "warning", "failed"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line: `about` which part, what is `told` of it, and the `cure` where it is not ok."""

    status: Status
    about: str
    told: str
    cure: str = ""

    @property
    def line(self) -> str:
        """The finding as a person reads it."""
        return f"{self.status:<8}{self.about}: {self.told}" + (f" -> {self.cure}" if self.cure else "")


Check = Callable[[Parts], Iterator[Finding]]


def findings(settings: Settings, connections: Connections | None = None) -> list[Finding]:
    """What every check found. `connections` are the host's, as a drainer gets them."""
    parts = Parts(settings, connections)
    redact = Redactor().redact
    with _quiet(), ThreadPoolExecutor(len(CHECKS)) as pool:
        found = list(pool.map(lambda item: _checked(item[0], item[1], parts), CHECKS.items()))
    return [dataclasses.replace(one, told=redact(one.told), cure=redact(one.cure)) for some in found for one in some]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing beside the findings: what a part would log of itself, a finding says."""
    log = logging.getLogger("de_agent")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _checked(about: str, check: Check, parts: Parts) -> list[Finding]:
    try:
        return within(SECONDS, lambda: list(check(parts)))
    except CallFailed as exc:
        return [Finding("failed", about, exc.reason, exc.cure)]
    except DeAgentError as exc:
        return [Finding("failed", about, str(exc), _CURES.get(about, ""))]
    except TimeoutError:
        return [Finding("failed", about, f"no answer within {SECONDS:.0f} s", "check the way there: network, proxy")]
    except Exception as exc:  # noqa: BLE001 - whatever breaks one check, the others' findings reach the reader
        return [Finding("failed", about, f"{type(exc).__name__}: {exc}", _CURES.get(about, ""))]


# --- this host -------------------------------------------------------------------------------------------------------


def _spool(parts: Parts) -> Iterator[Finding]:
    spool = Spool(parts.settings.spool_path)
    try:
        spool.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = spool.directory / ".doctor.tmp"
        probe.write_text("")
        probe.unlink()
    except OSError as exc:
        told = f"spool_dir {spool.directory} cannot be written to ({exc.strerror})"
        yield Finding("failed", "spool", told, "make it writable, or set spool_dir")
        return
    yield Finding("ok", "spool", f"{spool.directory}, {len(spool.pending())} entries wait")
    for name, reason in spool.rejected():
        cure = f"look at {spool.directory / 'rejected'}, then delete it"
        yield Finding("failed", "spool", f"entry {name} was set aside: {reason}", cure)


def _drainer(parts: Parts) -> Iterator[Finding]:
    spool = Spool(parts.settings.spool_path)
    lock = spool.take_lock()
    if lock is None:
        yield Finding("ok", "drainer", "at work")
        return
    os.close(lock)
    if not (spool.directory / ".starting").exists():
        yield Finding("ok", "drainer", "none at work; the next failure starts one")
        return
    log = spool.directory / "drainer.log"
    said = log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.exists() else []
    told = f"the drainer does not start; {log} ends with: {' | '.join(said) or '(nothing)'}"
    yield Finding("failed", "drainer", told, "mend what it says; starts are tried again by themselves")


def _airflow(parts: Parts) -> Iterator[Finding]:
    if not host.is_here():
        yield Finding("ok", "airflow", "not installed here; the command and the Lambda do without")
        return
    for group, lost in _ENTRY_POINTS.items():
        if not any(point.name == _name(group) for point in importlib.metadata.entry_points(group=group)):
            told = f"our entry point {group} is not found: {lost}"
            yield Finding("failed", "airflow", told, "install the wheel into the environment that Airflow runs in")
    from airflow_de_agent.airflow import plugin, policy

    yield Finding("ok", "airflow", f"{policy.__name__} and {plugin.__name__} can be loaded")
    if not parts.settings.attach:
        cure = "set attach = True, unless callbacks are set by hand on purpose"
        yield Finding("warning", "airflow", "attach is off, so no DAG is covered by itself", cure)


def _options(parts: Parts) -> Iterator[Finding]:
    del parts
    if strange := configuration.unknown():
        cure = "correct or remove them; `airflow config list --section de_agent` shows the options"
        yield Finding("warning", "options", f"{', '.join(strange)}: no such option, so without effect", cure)


def _rules(parts: Parts) -> Iterator[Finding]:
    if path := parts.settings.rules_file:
        count = len(read_rules(path))
        yield Finding("ok", "rules_file", f"{path} has {count} rule{'s' * (count != 1)} of your own")


def _name(group: str) -> str:
    return "provider_info" if group == "apache_airflow_provider" else "de_agent"


# --- what it talks to ------------------------------------------------------------------------------------------------


def _store(parts: Parts) -> Iterator[Finding]:
    url = parts.settings.store_in_force
    kind = url.partition(":")[0]
    if kind.startswith("sqlite") and configuration.on_mwaa():
        told = "SQLite is a file of one host, and the workers and web server of Amazon MWAA share no disk"
        cure = "set store_url to dynamodb://TABLE?region=REGION, then run `de-agent store create`"
        yield Finding("failed", "store", told, cure)
        return
    parts.store().recent(limit=1)
    yield Finding("ok", "store", f"{kind} answers")


def _slack(parts: Parts) -> Iterator[Finding]:
    secret = parts.secrets.slack()
    if secret is None or not secret.bot_token:
        name = parts.settings.slack_conn_id
        cure = f"create the secret de-agent/slack or the connection {name}, if they shall go to Slack"
        yield Finding("warning", "slack", "no bot token is known, so diagnoses stand in drainer.log only", cure)
        return
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError

    try:
        known = WebClient(secret.bot_token, base_url=parts.slack_url or WebClient.BASE_URL, timeout=4).auth_test()
    except SlackApiError as exc:
        told = f"Slack refuses the token: {exc.response.get('error', 'no reason given')}"
        yield Finding("failed", "slack", told, "put the bot token (xoxb-) of the installed app in its place")
        return
    yield Finding("ok", "slack", f"the token is of {known.get('user')} in {known.get('team')}")
    if not parts.settings.slack_channel:
        cure = "set slack_channel, unless every DAG has a channel of its own"
        yield Finding("warning", "slack", "slack_channel is empty", cure)


def _gemini(parts: Parts) -> Iterator[Finding]:
    target = parts.gemini_target(parts.secrets.gemini())
    if target is None:
        name = parts.settings.gemini_conn_id
        cure = f"create the secret de-agent/gemini or the connection {name}, if a model shall be asked"
        yield Finding("warning", "gemini", "no API key is known, so the rules answer alone", cure)
        return
    from airflow_de_agent.adapters import gemini

    reply = gemini.look_up(target, SECONDS - 0.5)
    if reply.problem:
        yield Finding("failed", "gemini", f"{target.model}: {reply.problem}", reply.cure)
    else:
        yield Finding("ok", "gemini", f"{target.model} is served to this key")


def _aws(parts: Parts) -> Iterator[Finding]:
    if not parts.on_aws:
        yield Finding("ok", "aws", "no sign of AWS here, so nothing is asked there")
        return
    yield Finding("ok", "aws", f"we are {dry_calls.identity(parts.clients)}")


def _task_logs(parts: Parts) -> Iterator[Finding]:
    places = parts.places()
    if places is not None and places.task_log_group:
        yield from _tried("task logs", dry_calls.task_logs(places))
    elif places is not None:
        cure = "set task_log_group (airflow-ENVIRONMENT-Task), where logs go to CloudWatch"
        yield Finding("warning", "task logs", "task_log_group is not set: only logs on the host itself are read", cure)


def _lambda_logs(parts: Parts) -> Iterator[Finding]:
    places = parts.places()
    if places is not None:
        yield from _tried("lambda logs", dry_calls.lambda_logs(places))


def _redshift(parts: Parts) -> Iterator[Finding]:
    target = parts.secrets.redshift()  # says what is wrong with the secret
    places = parts.places()
    if places is not None and target is not None:
        yield from _tried("redshift", dry_calls.redshift(places))


def _airflow_api(parts: Parts) -> Iterator[Finding]:
    places = parts.places()
    if places is None or not places.mwaa_environment:
        return
    found = dry_calls.airflow_api(places)
    if found.status == "unavailable":
        yield Finding("failed", "airflow API", found.reason, found.cure)
    else:
        yield Finding("ok", "airflow API", f"{places.mwaa_environment} answers")


def _tried(about: str, tried: Iterator[dry_calls.Tried]) -> Iterator[Finding]:
    for what, failed in tried:
        if failed is None:
            yield Finding("ok", about, what)
        else:
            yield Finding("failed", about, failed.reason, failed.cure)


CHECKS: dict[str, Check] = {
    "spool": _spool,
    "drainer": _drainer,
    "airflow": _airflow,
    "options": _options,
    "rules_file": _rules,
    "store": _store,
    "slack": _slack,
    "gemini": _gemini,
    "aws": _aws,
    "task logs": _task_logs,
    "lambda logs": _lambda_logs,
    "redshift": _redshift,
    "airflow API": _airflow_api,
}
_CURES = {
    "store": "correct store_url or the database's access",
    "drainer": "make the spool writable",
    "rules_file": "correct the file; until then drainers go on without it",
}
