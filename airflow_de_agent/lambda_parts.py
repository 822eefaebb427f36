"""What the companion Lambda adds to the parts of every process.

Rules kept here: what verifies and acknowledges a request needs the signing secret and nothing else; everything that
asks AWS or Slack has a timeout of its own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from airflow_de_agent.adapters.console import Console
from airflow_de_agent.adapters.secrets import SlackSecret
from airflow_de_agent.adapters.slack_thread import SlackThread
from airflow_de_agent.answers import Answers
from airflow_de_agent.aws.mwaa_instances import MwaaInstances
from airflow_de_agent.aws.mwaa_rest import MwaaRest
from airflow_de_agent.bootstrap import Parts, read_log
from airflow_de_agent.companion import Companion
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.investigation import Found, Investigation
from airflow_de_agent.sources import Places

Count = Callable[[str, float], object]
Note = Callable[[str], object]
LOOK_SECONDS = 60.0  # half of what the function has


def companion(parts: Parts, count: Count, note: Note) -> Companion:
    """What answers in Slack; `count` counts what happened, `note` takes a line for each diagnosis.

    Raises:
        SettingsError: a secret is missing or may not be read.
    """
    settings = parts.settings
    slack = SlackThread(
        slack_secret(parts).bot_token, settings.slack_channel, settings.slack_base_url, Console(lambda text: None)
    )
    delivery = parts.delivery(slack, uuid.uuid4().hex, buttons=True)
    return Companion(answers(parts, note), slack, delivery, count)


def answers(parts: Parts, note: Note) -> Answers:
    """What commands are answered with."""
    settings = parts.settings
    places = parts.places() or Places(parts.clients)
    investigation = parts.investigation() or Investigation(read_log, None, None, settings.log_token_budget)
    return Answers(
        parts.store,
        places,
        noted(investigation, note),
        time.time,
        float(settings.deadline_seconds),
        settings.incident_minutes * 60.0,
    )


def noted(investigation: Investigation, note: Note) -> Callable[[TaskFailure, float], Found]:
    """Makes a diagnosis within so many seconds, and notes whether the agent succeeded; the sweep counts it."""

    def make(failure: TaskFailure, seconds: float) -> Found:
        found = investigation(failure, seconds=seconds)
        told, key = found.diagnosis, failure.key
        word = "succeeded" if told.succeeded else "failed"
        note(f"diagnosis {key.diagnosis_id} {word}: {told.category.value} by {told.engine}, {told.tokens} tokens")
        return found

    return make


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


def host(parts: Parts) -> MwaaInstances | None:
    """Where task instances are looked up; None where no environment is named."""
    environment = parts.settings.mwaa_environment
    if not environment:
        return None
    return MwaaInstances(MwaaRest(parts.clients("mwaa"), environment, time.monotonic() + LOOK_SECONDS))
