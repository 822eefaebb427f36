"""What the companion Lambda adds to the parts of every process.

Rules kept here: what verifies and acknowledges a request needs the signing secret and nothing else; everything that
asks AWS or Slack has a timeout of its own.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_de_agent import tools
from airflow_de_agent.adapters.console import Console
from airflow_de_agent.adapters.secrets import SlackSecret
from airflow_de_agent.adapters.slack_thread import SlackThread
from airflow_de_agent.answers import Answers, Made
from airflow_de_agent.bootstrap import Parts, read_log
from airflow_de_agent.companion import Companion
from airflow_de_agent.core import offline
from airflow_de_agent.core.bundle import Bundle
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.fingerprint import fingerprint
from airflow_de_agent.investigation import Investigation
from airflow_de_agent.settings import Settings
from airflow_de_agent.sources import Places

Count = Callable[[str, float], object]


def of_environment(settings: Settings) -> Settings:
    """The settings, with the log group that Amazon MWAA gives the tasks of the named environment."""
    if settings.task_log_group or not settings.mwaa_environment:
        return settings
    return dataclasses.replace(settings, task_log_group=f"airflow-{settings.mwaa_environment}-Task")


def companion(parts: Parts, count: Count) -> Companion:
    """What answers in Slack; `count` counts what happened.

    Raises:
        SettingsError: a secret is missing or may not be read.
    """
    settings = parts.settings
    slack = SlackThread(
        slack_secret(parts).bot_token, settings.slack_channel, settings.slack_base_url, Console(lambda text: None)
    )
    return Companion(answers(parts, count), slack, count)


def answers(parts: Parts, count: Count) -> Answers:
    """What commands are answered with."""
    settings = parts.settings
    places = parts.places() or Places(parts.clients)
    investigation = parts.investigation() or Investigation(read_log, None, None, settings.log_token_budget)
    return Answers(
        parts.store,
        places,
        maker(investigation, count),
        time.time,
        float(settings.deadline_seconds),
        settings.incident_minutes * 60.0,
    )


def maker(investigation: Investigation, count: Count) -> Callable[[TaskFailure, float], Made]:
    """Makes a diagnosis within so many seconds, with its fingerprint and what it was made from."""

    def make(failure: TaskFailure, seconds: float) -> Made:
        diagnosis, bundle = investigation(failure, seconds=seconds)
        count(f"Diagnosed_{diagnosis.category.value}", 1)
        count("Tokens", diagnosis.tokens)
        count("CostUsd", float(diagnosis.model_call.get("cost_usd") or 0.0))
        return Made(diagnosis, _mark(bundle), json.dumps(bundle.to_json()))

    return make


def _mark(bundle: Bundle) -> str:
    """The fingerprint of what a bundle holds."""
    lines = [line.text for item in bundle.evidence if item.source == "task_log" for line in item.lines]
    _, log = offline.diagnose_log(["\n".join(lines).encode()], bundle.failure)
    return fingerprint(bundle.failure, log, bundle.rules_diagnosis)


def slack_secret(parts: Parts) -> SlackSecret:
    """The Slack app's secrets.

    Raises:
        SettingsError: they are nowhere, or may not be read.
    """
    secret = parts.secrets.slack()
    if secret is None:
        raise SettingsError("there is no secret de-agent/slack; create it with bot_token and signing_secret")
    return secret


def table(parts: Parts) -> str:
    """The DynamoDB table of the store; empty where the store is another."""
    url = parts.settings.store_url
    return url.partition("://")[2].partition("?")[0] if url.startswith("dynamodb://") else ""


def task_states(parts: Parts, complain: Callable[[str], object]) -> Callable[[str, str], Sequence[Mapping[str, Any]]]:
    """Gives the task instances of a run as Airflow on MWAA shows them; none where it cannot be asked."""

    def states(dag_id: str, run_id: str) -> Sequence[Mapping[str, Any]]:
        environment = parts.settings.mwaa_environment
        if not environment:
            return ()
        found = tools.get_dag_run_status(parts.clients("mwaa"), environment=environment, dag_id=dag_id, run_id=run_id)
        if found.gap:
            complain(found.gap)
        return [row for row in found.rows if row.get("view") == "task_instance"]

    return states
