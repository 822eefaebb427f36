"""Every option, read once, all errors at once. The only place that reads the environment.

An option is looked up as ``DE_AGENT_<OPTION>``, then ``AIRFLOW__DE_AGENT__<OPTION>``, then in section ``[de_agent]`` of
the Airflow configuration, then its default counts.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_de_agent.core.errors import SettingsError

SECTION = "de_agent"
_MAY_BE_ZERO = {"tool_rounds", "daily_token_budget", "daily_call_budget"}
_AWS_SIGNS = (
    "AWS_EXECUTION_ENV",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
Lookup = Callable[[str], "str | None"]


def _option(
    default: str | int | bool,
    description: str,
    choices: tuple[str, ...] = (),
    check: Callable[[str], object] | None = None,
) -> Any:
    return dataclasses.field(default=default, metadata={"help": description, "choices": choices, "check": check})


def _channels(text: str) -> object:
    from airflow_de_agent.core import channels  # every `airflow` command imports this module: little else with it

    return channels.parse(text)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All options with their defaults; the help texts are what ``airflow config list`` shows."""

    attach: bool = _option(True, "Attach the failure callback to every task and DAG; a tag no-de-agent opts a DAG out.")
    diagnose_retries: bool = _option(False, "Diagnose failures that will be retried too, not only the final one.")
    drain: str = _option(
        "detached",
        "Where diagnoses are made: detached (one process beside the workers of a host) or inline (inside the task "
        "process, for pods that end with their task).",
        ("detached", "inline"),
    )
    spool_dir: str = _option("", "Directory of the queue of failures. Default: AIRFLOW_HOME/de_agent/spool.")
    store_url: str = _option(
        "",
        "Where diagnoses are kept: a SQLAlchemy URL, or dynamodb://TABLE?region=REGION. Default: a SQLite file in "
        "AIRFLOW_HOME/de_agent, for one host.",
    )
    deadline_seconds: int = _option(25, "Seconds from a failure to its final answer, at most.")
    log_token_budget: int = _option(4000, "How much of a task log is kept as evidence, in tokens.")
    redact_emails: bool = _option(False, "Replace e-mail addresses too, wherever secrets are replaced.")
    rules_file: str = _option("", "A YAML file with rules of your own, which come before ours.")
    incident_minutes: int = _option(60, "Failures of one cause join one incident until it was quiet for so long.")
    idle_seconds: int = _option(300, "Seconds after which the detached drainer with nothing to do ends.")
    slack_conn_id: str = _option("slack_api_default", "Airflow connection that holds the Slack bot token.")
    slack_channel: str = _option("", "Slack channel for diagnoses, such as #data-oncall. Empty: no Slack.")
    slack_channels: str = _option(
        "",
        "Channels by dag, tag, owner or category, by comma, such as dag:sales_*=#sales, owner:ann=#ann. "
        "The first that fits counts, else slack_channel.",
        check=_channels,
    )
    report_channel: str = _option("", "Slack channel for the report of the week, posted on Mondays. Empty: none.")
    slack_base_url: str = _option("", "Base URL of the Slack API, for gateways and tests.")
    slack_buttons: bool = _option(False, "Show the buttons that ask something back; they need the companion Lambda.")
    gemini_model: str = _option("gemini-3.8-flash", "The Gemini model that gives the second opinion.")
    gemini_conn_id: str = _option("gemini_default", "Airflow connection whose password is the Gemini API key.")
    gemini_base_url: str = _option("", "Base URL of the Gemini API, for private gateways and tests.")
    gemini_api_version: str = _option("", "API version of the Gemini endpoint. Default: v1beta, on Vertex AI v1.")
    gemini_thinking_level: str = _option(
        "low",
        "How long the model thinks: low, medium, high, or empty for its own default.",
        ("low", "medium", "high", ""),
    )
    gemini_vertex_project: str = _option("", "Google Cloud project, to use Gemini through Vertex AI.")
    gemini_vertex_location: str = _option("global", "Location of the model on Vertex AI.")
    tool_rounds: int = _option(2, "How often the model may ask for one more look at the evidence; 0: never.")
    daily_token_budget: int = _option(2_000_000, "Tokens that all hosts together may use in a day; 0: no limit.")
    daily_call_budget: int = _option(
        1_000, "Calls of the model that all hosts together may make in a day; 0: no limit."
    )
    aws_conn_id: str = _option("aws_default", "Airflow connection for AWS; without it boto3 finds credentials itself.")
    redshift_conn_id: str = _option("redshift_default", "Airflow connection that names the Redshift to ask.")
    redshift_audit_sql: str = _option(
        "", "A query on your own audit tables; it may use :since, :until, :dag_id, :run_id and :task_id."
    )
    task_log_group: str = _option("", "CloudWatch log group of task logs. Default on MWAA: the environment's own.")
    mwaa_environment: str = _option("", "Name of the MWAA environment. Default on MWAA: the one this runs in.")
    lambda_log_groups: str = _option(
        "", "Further log groups of Lambda functions, by comma: GROUP, or FUNCTION=GROUP for one function."
    )

    @property
    def spool_path(self) -> Path:
        """The spool directory in force."""
        return Path(self.spool_dir) if self.spool_dir else airflow_home() / "de_agent" / "spool"

    @property
    def store_in_force(self) -> str:
        """The store URL in force."""
        return self.store_url or f"sqlite:///{airflow_home() / 'de_agent' / 'diagnoses.db'}"

    def to_json(self) -> dict[str, Any]:
        """Every option, as JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Read what `to_json` wrote."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def airflow_home() -> Path:
    """AIRFLOW_HOME, or Airflow's own default for it."""
    return Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()


def environment(name: str) -> str:
    """One variable of the environment, empty where it is not set."""
    return os.environ.get(name, "")


def surroundings() -> Mapping[str, str]:
    """The environment as a whole, for what reads several variables of somebody else's naming."""
    return os.environ


def on_aws() -> bool:
    """Whether this process shows signs of AWS credentials, so that asking AWS is more than waiting for a time-out."""
    return any(os.environ.get(name) for name in _AWS_SIGNS)


def on_mwaa() -> bool:
    """Whether this is a container of Amazon MWAA."""
    return any(_of_mwaa().values())


def load() -> Settings:
    """Read every option; the host's own configuration is airflow.cfg.

    Raises:
        SettingsError: some values are wrong; the text names each, where it is set and what it may be.
    """
    settings, errors = load_what_is_right(_configuration_file())
    if errors:
        raise SettingsError("\n".join(errors))
    return settings


def load_what_is_right(host: Lookup) -> tuple[Settings, tuple[str, ...]]:
    """Read every option, the default taking the place of a value that is wrong; and what is wrong with each of those.

    `host` looks an option up in the host's own configuration (Airflow's `conf`); it may raise ValueError.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    for field in dataclasses.fields(Settings):
        raw: str | None = None
        try:
            raw = _raw(field.name, host)
            if raw is not None:
                values[field.name] = _parsed(raw, field)
        except ValueError as exc:
            errors.append(f"[{SECTION}] {field.name}{'' if raw is None else f' = {raw!r}'}: {exc}")
    return Settings(**(_of_mwaa() | values)), tuple(errors)


def unknown() -> tuple[str, ...]:
    """Names that look like options of ours and are none, as they are written in the environment and the file.

    Raises:
        SettingsError: the configuration file cannot be read.
    """
    ours = {field.name for field in dataclasses.fields(Settings)}
    file = _configuration()
    in_file = file.options(SECTION) if file.has_section(SECTION) else []
    strange = [f"[{SECTION}] {name}" for name in in_file if name not in ours | set(file.defaults())]
    prefixes = (f"AIRFLOW__{SECTION.upper()}__", "DE_AGENT_")
    for name in sorted(os.environ):
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        if prefix and name.removeprefix(prefix).lower() not in ours:
            strange.append(name)
    return tuple(strange)


def _of_mwaa() -> dict[str, str]:
    """What an MWAA container says of itself in its environment."""
    arn = environment("MWAA__LOGGING__AIRFLOW_TASK_LOG_GROUP_ARN")
    name = environment("AIRFLOW_ENV_NAME")
    group = arn.partition(":log-group:")[2].partition(":")[0] or (f"airflow-{name}-Task" if name else "")
    return {"task_log_group": group, "mwaa_environment": name}


def _raw(name: str, lookup: Lookup) -> str | None:
    for variable in (f"DE_AGENT_{name.upper()}", f"AIRFLOW__{SECTION.upper()}__{name.upper()}"):
        if variable in os.environ:
            return os.environ[variable].strip()
    value = lookup(name)
    return None if value is None else str(value).strip()


def _parsed(raw: str, field: dataclasses.Field[Any]) -> str | int | bool:
    if isinstance(field.default, bool):
        if raw.lower() not in ("true", "false", "1", "0", "yes", "no", "on", "off", "t", "f"):
            raise ValueError("must be True or False")
        return raw.lower() in ("true", "1", "yes", "on", "t")
    if isinstance(field.default, int):
        if not raw.isdigit() or (int(raw) == 0 and field.name not in _MAY_BE_ZERO):
            raise ValueError("must be a whole number" + ("" if field.name in _MAY_BE_ZERO else " above 0"))
        return int(raw)
    choices = field.metadata["choices"]
    if choices and raw not in choices:
        raise ValueError(f"must be one of {', '.join(choice or 'or empty' for choice in choices)}")
    if field.metadata["check"]:
        field.metadata["check"](raw)
    return raw


def _configuration_file() -> Lookup:
    parser = _configuration()
    return lambda name: parser.get(SECTION, name, fallback=None)


def _configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    path = os.environ.get("AIRFLOW_CONFIG") or airflow_home() / "airflow.cfg"
    try:
        parser.read(path)
    except (configparser.Error, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} cannot be read: {exc}") from exc
    return parser


def child_environment(package_parent: str) -> dict[str, str]:
    """What the detached drainer inherits: no AIRFLOW_* variable (they may hold connections) but AIRFLOW_HOME."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW"))}
    kept["AIRFLOW_HOME"] = str(airflow_home())
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
    return kept
