"""Where secrets come from: the environment, connections that the host handed over, AWS Secrets Manager.

Rules kept here: the first of the three that has a value counts, whole; no content of a secret ever enters an error or a
log; what Secrets Manager said is kept for `max_age` seconds, and while it cannot be reached for as long as need be.

The secrets, each a JSON object of texts::

    de-agent/slack      bot_token, signing_secret, verification_token
    de-agent/gemini     api_key
    de-agent/redshift   cluster_id (or workgroup), database, secret_arn (or db_user)
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_de_agent.aws.calls import CallFailed, Calls
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.redshift_views import RedshiftTarget

SLACK, GEMINI, REDSHIFT = "de-agent/slack", "de-agent/gemini", "de-agent/redshift"
# secret: its required fields, then those it may have
FIELDS = {
    SLACK: (("bot_token",), ("signing_secret", "verification_token")),
    GEMINI: (("api_key",), ()),
    REDSHIFT: (("database",), ("cluster_id", "workgroup", "secret_arn", "db_user")),
}
CALL_SECONDS = 5.0
Connection = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SlackSecret:
    """What Slack knows the app by; a part that is not known here is empty."""

    bot_token: str = dataclasses.field(default="", repr=False)
    signing_secret: str = dataclasses.field(default="", repr=False)
    verification_token: str = dataclasses.field(default="", repr=False)


class Secrets:
    """Reads each secret when it is first needed.

    `client` gives a Secrets Manager client, None where AWS is not to be asked; `environ` is the environment;
    `connections` holds Airflow connections under ``slack``, ``gemini`` and ``redshift``: mappings with ``login``,
    ``password``, ``host``, ``schema`` and ``extra`` (an object).

    Raises:
        SettingsError: on every call, when a secret is malformed or may not be read; the text names the secret, the
            place of the error and the cure.
    """

    def __init__(
        self,
        client: Callable[[], Any] | None,
        *,
        environ: Mapping[str, str],
        connections: Mapping[str, Connection | None] | None = None,
        max_age: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._environ, self._clock, self._max_age = client, environ, clock, max_age
        self._connections = connections or {}
        self._kept: dict[str, tuple[float, dict[str, str]]] = {}

    def slack(self) -> SlackSecret | None:
        """The Slack app's secrets; None when they are nowhere."""
        names = ("bot_token", "signing_secret", "verification_token")
        given = {name: self._environ.get(f"SLACK_{name.upper()}", "").strip() for name in names}
        if any(given.values()):
            return SlackSecret(**given)
        connection = self._connections.get("slack")
        if connection and connection.get("password"):
            extra = connection.get("extra") or {}
            return SlackSecret(str(connection["password"]), *(str(extra.get(name) or "") for name in names[1:]))
        fields = self._managed(SLACK)
        return None if fields is None else SlackSecret(**fields)

    def gemini(self) -> str:
        """The Gemini API key; empty when it is nowhere."""
        connection = self._connections.get("gemini") or {}
        given = self._environ.get("GEMINI_API_KEY", "").strip() or str(connection.get("password") or "")
        return given or (self._managed(GEMINI) or {}).get("api_key", "")

    def redshift(self) -> RedshiftTarget | None:
        """Which Redshift to ask, and as whom; None when it is nowhere."""
        connection = self._connections.get("redshift")
        if connection:
            return redshift_of_connection(connection)
        fields = self._managed(REDSHIFT)
        return None if fields is None else RedshiftTarget(**fields)

    def forget(self) -> None:
        """Read anew at the next call: what was kept was refused, so it may have been rotated."""
        self._kept.clear()

    def _managed(self, name: str) -> dict[str, str] | None:
        kept = self._kept.get(name)
        if kept and self._clock() - kept[0] < self._max_age:
            return kept[1]
        if self._client is None:
            return None
        try:
            text, place = _text(name, self._client())
        except CallFailed as exc:
            if exc.code == "ResourceNotFoundException":
                return None
            if kept:
                return kept[1]
            raise SettingsError(f"the secret {name} cannot be read: {exc.reason} {exc.cure}".strip()) from exc
        fields = parsed(name, text, place)
        self._kept[name] = (self._clock(), fields)
        return fields


def _text(name: str, client: Any) -> tuple[str, str]:
    region = client.meta.region_name
    calls = Calls(
        client, time.monotonic() + CALL_SECONDS, resource=f"arn:aws:secretsmanager:{region}:*:secret:{name}-*"
    )
    answer = calls("get_secret_value", expects="ARN", SecretId=name)
    return str(answer.get("SecretString", "")), f"Secrets Manager in {region}"


def parsed(name: str, text: str, place: str) -> dict[str, str]:
    """The fields of a secret.

    Raises:
        SettingsError: it is not an object of texts with the fields it must have; the text says where, not what.
    """
    required, optional = FIELDS[name]
    where = f"the secret {name} ({place})"
    shape = json.dumps(dict.fromkeys((*required, *optional), "…"), ensure_ascii=False)
    try:
        values = json.loads(text.lstrip("\ufeff"))
    except json.JSONDecodeError as exc:
        at = f"line {exc.lineno} column {exc.colno}"
        # the cause is left out on purpose: it carries the whole secret
        raise SettingsError(f"{where} is not JSON: {exc.msg} at {at}. It must read {shape}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{where} is a JSON {type(values).__name__}, not an object. It must read {shape}")
    wrong = [field for field in (*required, *optional) if not isinstance(values.get(field, ""), str)]
    missing = [field for field in required if field not in wrong and not str(values.get(field, "")).strip()]
    if wrong or missing:
        said = [f"{field} is not a text" for field in wrong] + [f"{field} is missing or empty" for field in missing]
        raise SettingsError(f"{where}: {', '.join(said)}. It must read {shape}")
    return {field: values[field].strip() for field in (*required, *optional) if field in values}


def redshift_of_connection(connection: Connection) -> RedshiftTarget:
    """The target of an Airflow connection of type Redshift or Amazon Web Services.

    A host such as ``analytics.abc123.eu-west-1.redshift.amazonaws.com`` names the cluster, and
    ``analytics.123456789012.eu-west-1.redshift-serverless.amazonaws.com`` the workgroup.
    """
    extra = connection.get("extra") or {}
    host = str(connection.get("host") or "")
    name = host.partition(".")[0]
    serverless = ".redshift-serverless." in host
    return RedshiftTarget(
        database=str(extra.get("database") or connection.get("schema") or "dev"),
        cluster_id=str(extra.get("cluster_identifier") or extra.get("cluster_id") or ("" if serverless else name)),
        workgroup=str(extra.get("workgroup_name") or extra.get("workgroup") or (name if serverless else "")),
        secret_arn=str(extra.get("secret_arn") or ""),
        db_user=str(extra.get("db_user") or connection.get("login") or ""),
    )


def session_of_connection(connection: Connection) -> dict[str, str]:
    """What an Airflow connection of type Amazon Web Services says, as the arguments of `aws.calls.Clients`."""
    extra = connection.get("extra") or {}
    named = {
        "aws_access_key_id": connection.get("login") or extra.get("aws_access_key_id"),
        "aws_secret_access_key": connection.get("password") or extra.get("aws_secret_access_key"),
        "aws_session_token": extra.get("aws_session_token"),
        "region_name": extra.get("region_name"),
        "profile_name": extra.get("profile_name"),
        "role_arn": extra.get("role_arn"),
        "external_id": (extra.get("assume_role_kwargs") or {}).get("ExternalId") or extra.get("external_id"),
    }
    return {name: str(value) for name, value in named.items() if value}
