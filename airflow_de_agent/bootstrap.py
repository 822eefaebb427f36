"""The only place where adapters are chosen and joined."""

from __future__ import annotations

import functools
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_de_agent import settings as configuration
from airflow_de_agent.core import channels
from airflow_de_agent.core.agent import Agent
from airflow_de_agent.core.delivery import Delivery, Messenger
from airflow_de_agent.core.errors import SettingsError, StoreError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.incident import Store
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.intake import Intake
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

if TYPE_CHECKING:
    from airflow_de_agent.adapters.gemini import Target
    from airflow_de_agent.adapters.secrets import Secrets
    from airflow_de_agent.adapters.slack_thread import SlackThread
    from airflow_de_agent.core.second_opinion import Complete
    from airflow_de_agent.core.signatures.signature import Signature
    from airflow_de_agent.investigation import Investigation, Model
    from airflow_de_agent.sources import Places

log = logging.getLogger("de_agent")
Connections = Mapping[str, Any]


def intake(settings: Settings, connections: Connections | None = None) -> Intake:
    """A drainer's work on the spool. `connections` are those that only the host could give; None: none could be."""
    parts = Parts(settings, connections)
    return Intake(
        Spool(settings.spool_path),
        parts.agent(),
        parts.investigation(),
        settings.idle_seconds,
        settings.deadline_seconds,
    )


def open_store(settings: Settings) -> Store:
    """The store that `store_url` names.

    Raises:
        StoreError: it cannot be reached.
        SettingsError: the URL is not one.
    """
    if settings.store_url.startswith("dynamodb:"):
        from airflow_de_agent.adapters.dynamodb_store import DynamoDBStore

        return DynamoDBStore.from_url(settings.store_url)
    from airflow_de_agent.adapters.sql_store import SqlStore

    return SqlStore(settings.store_in_force)


def create_store(settings: Settings) -> None:
    """Make the store's tables where they are absent.

    Raises:
        StoreError: it cannot be reached, or may not be made.
        SettingsError: the URL is not one.
    """
    store: Any = open_store(settings)
    if settings.store_url.startswith("dynamodb:"):
        store.create_table()


def read_log(failure: TaskFailure) -> Iterable[bytes] | Evidence:
    """The task log: the file where it is on this host, else the tail that was captured, else why there is none."""
    from airflow_de_agent.adapters.log_file import read_ends

    path = Path(failure.log_path) if failure.log_path else None
    if path is not None and path.is_file() and path.stat().st_size:
        return read_ends(path)
    if failure.log_tail:
        return [failure.log_tail.encode()]
    where = f"{Redactor().redact(str(path))} is not on this host" if path else "it has no file on this host"
    return Evidence.unavailable("task_log", f"the task log could not be read: {where}.")


def read_rules(path: str) -> tuple[Signature, ...]:
    """The rules of a YAML file; none where no file is named.

    Raises:
        SettingsError: it cannot be read, or has mistakes; the text names each.
    """
    if not path:
        return ()
    try:
        import yaml
    except ImportError as exc:
        raise SettingsError("rules_file needs PyYAML: pip install PyYAML") from exc
    from airflow_de_agent.core.signatures.user_rules import user_rules

    try:
        parsed = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(f"rules_file {path} cannot be read: {exc.strerror}") from exc
    except (UnicodeDecodeError, yaml.YAMLError) as exc:
        raise SettingsError(f"rules_file {path} cannot be read: {exc}") from exc
    if isinstance(parsed, dict) and "rules" not in parsed:
        raise SettingsError(f"rules_file {path} has no `rules:` at its top, below which the rules stand")
    return user_rules(parsed)


class Parts:
    """What one process needs, made from settings when it is first asked for."""

    def __init__(self, settings: Settings, connections: Connections | None = None) -> None:
        self.settings, self.connections = settings, connections or {}
        Redactor.emails_too = settings.redact_emails
        self.store = _once(functools.partial(open_store, settings))

    def agent(self) -> Agent:
        """The agent with the adapters that the settings ask for."""
        return Agent(
            open_store=self.store,
            read_log=read_log,
            delivery=self.delivery(self.messenger(), socket.gethostname(), buttons=self.settings.slack_buttons),
            clock=time.time,
            complain=_complain,
            note=log.info,
            owner=socket.gethostname(),
            incident_seconds=self.settings.incident_minutes * 60.0,
            log_token_budget=self.settings.log_token_budget,
            extra_rules=self.extra_rules,
        )

    def delivery(self, messenger: Messenger, owner: str, *, buttons: bool) -> Delivery:
        """How incidents become messages; `owner` is who tells of them."""
        rules = channels.parse(self.settings.slack_channels)
        return Delivery(
            messenger, time.time, _complain, owner, buttons, functools.partial(channels.channel_of, rules=rules)
        )

    @functools.cached_property
    def extra_rules(self) -> tuple[Signature, ...]:
        """The user's own rules; none where their file is wrong, which is said."""
        return _or_none(lambda: read_rules(self.settings.rules_file)) or ()

    def messenger(self) -> Messenger:
        """Slack where a token is known, else the console."""
        try:
            return self.slack()
        except SettingsError as exc:
            from airflow_de_agent.adapters.console import Console

            log.info("%s. Until then messages stand here.", exc)
            return Console(log.info)

    def slack(self) -> SlackThread:
        """Slack; what has no channel goes to the console.

        Raises:
            SettingsError: no token is known, or its secret is wrong.
        """
        secret = self.secrets.slack()
        if secret is None or not secret.bot_token:
            name = self.settings.slack_conn_id
            cure = f"set SLACK_BOT_TOKEN, or make the connection {name} or the secret de-agent/slack"
            raise SettingsError(f"there is no Slack token: {cure}")
        from airflow_de_agent.adapters.console import Console
        from airflow_de_agent.adapters.slack_thread import SlackThread

        return SlackThread(secret.bot_token, self.settings.slack_channel, self.slack_url, Console(log.info))

    @property
    def slack_url(self) -> str:
        """The base URL of Slack's API; empty for Slack's own."""
        extra = (self.connections.get("slack") or {}).get("extra") or {}
        return self.settings.slack_base_url or str(extra.get("base_url", ""))

    def investigation(self) -> Investigation | None:
        """How to look deeper; None where neither AWS nor a model is set up."""
        places, model = self.places(), self.model()
        if places is None and model is None:
            return None
        from airflow_de_agent.investigation import Investigation

        return Investigation(read_log, places, model, self.settings.log_token_budget, self.extra_rules)

    @functools.cached_property
    def on_aws(self) -> bool:
        """Whether AWS is worth asking."""
        settings = self.settings
        named = (
            settings.mwaa_environment,
            settings.task_log_group,
            settings.lambda_log_groups,
            self.connections.get("aws"),
        )
        return any(named) or settings.store_url.startswith("dynamodb:") or configuration.on_aws()

    @functools.cached_property
    def clients(self) -> Callable[[str], Any]:
        """boto3 clients by service name, as the AWS connection says."""
        from airflow_de_agent.adapters.secrets import session_of_connection
        from airflow_de_agent.aws.calls import Clients

        connection = self.connections.get("aws")
        return Clients(session_of_connection(connection) if connection else {})

    @functools.cached_property
    def secrets(self) -> Secrets:
        """Tokens and keys: from the environment, the host's connections, or Secrets Manager."""
        from airflow_de_agent.adapters.secrets import Secrets

        client = (lambda: self.clients("secretsmanager")) if self.on_aws else None
        return Secrets(client, environ=configuration.surroundings(), connections=self.connections)

    def places(self) -> Places | None:
        """Where evidence is to be had in AWS."""
        if not self.on_aws:
            return None
        from airflow_de_agent.sources import Places

        settings = self.settings
        groups = tuple(name.strip() for name in settings.lambda_log_groups.split(",") if name.strip())
        return Places(
            self.clients,
            settings.task_log_group,
            settings.mwaa_environment,
            _or_none(self.secrets.redshift),
            settings.redshift_audit_sql,
            groups,
        )

    def model(self) -> Model | None:
        """The model with its budgets and its cache; None where there is no key for it."""
        target = self.gemini_target(_or_none(self.secrets.gemini) or "")
        if target is None:
            return None
        from airflow_de_agent.adapters import gemini
        from airflow_de_agent.core.opinion_cache import OpinionCache
        from airflow_de_agent.investigation import Model

        settings = self.settings
        return Model(
            self._within_budgets(functools.partial(gemini.complete, target=target)),
            functools.partial(gemini.preload, target),
            lambda: OpinionCache(self.store(), time.time, settings.gemini_model),
            settings.tool_rounds,
        )

    def gemini_target(self, key: str) -> Target | None:
        """Which model is asked, and where; None where there is neither a key nor a Vertex AI project."""
        settings = self.settings
        if not key and not settings.gemini_vertex_project:
            return None
        from airflow_de_agent.adapters.gemini import Target

        return Target(
            key,
            settings.gemini_model,
            settings.gemini_base_url,
            settings.gemini_api_version,
            settings.gemini_thinking_level,
            settings.gemini_vertex_project,
            settings.gemini_vertex_location,
        )

    def _within_budgets(self, complete: Complete) -> Complete:
        from airflow_de_agent.core.model_budget import Circuit, DailyBudget

        def add(name: str, amount: int, *, expires_at: float) -> int:
            return self.store().add_to_counter(name, amount, expires_at=expires_at)

        settings = self.settings
        budget = DailyBudget(complete, add, time.time, settings.daily_token_budget, settings.daily_call_budget)
        return Circuit(budget, time.monotonic)


def _complain(text: str) -> None:
    """A line in the drainer's log; a traceback may quote what a log or a connection held."""
    log.warning("%s", Redactor().redact(text))


def _or_none(read: Callable[[], Any]) -> Any:
    """A secret, or None where it is wrong, which is said."""
    try:
        return read()
    except SettingsError as exc:
        log.warning("%s", exc)
        return None


def _once(open_it: Callable[[], Store]) -> Callable[[], Store]:
    """Open at first use; a failure to open is tried again at the next."""
    opened: list[Store] = []

    def store() -> Store:
        if not opened:
            try:
                opened.append(open_it())
            except SettingsError as exc:  # the first message goes out without a store, whatever is wrong with it
                raise StoreError(str(exc)) from exc
        return opened[0]

    return store
