"""Secrets from the environment, from connections and from moto's Secrets Manager."""

from __future__ import annotations

import json
import traceback

import pytest

from airflow_de_agent.adapters import secrets
from airflow_de_agent.adapters.secrets import Secrets, SlackSecret
from airflow_de_agent.aws.calls import Clients
from airflow_de_agent.core.errors import SettingsError
from airflow_de_agent.core.redshift_views import RedshiftTarget
from tests import aws_servers

aws = aws_servers.aws
TOKEN = "not-a-real-bot-token-4711"


def put(aws, name, text):
    aws.client("secretsmanager").create_secret(Name=name, SecretString=text)
    aws.calls.clear()


def managed(aws, **options):
    return Secrets(lambda: aws.client("secretsmanager"), environ={}, **options)


def test_secrets_manager_holds_all_three(aws):
    """Each secret is read with the fields it is documented with; blanks around a value do not count."""
    put(
        aws,
        "de-agent/slack",
        json.dumps({"bot_token": f" {TOKEN}\n", "signing_secret": "s", "verification_token": "v"}),
    )
    put(aws, "de-agent/gemini", '{"api_key": "k"}')
    put(
        aws,
        "de-agent/redshift",
        '{"cluster_id": "analytics", "database": "warehouse", "secret_arn": "arn:x", "port": 1}',
    )
    found = managed(aws)
    assert found.slack() == SlackSecret(TOKEN, "s", "v")
    assert found.gemini() == "k"
    assert found.redshift() == RedshiftTarget("warehouse", cluster_id="analytics", secret_arn="arn:x")


def test_what_is_nowhere_is_none(aws):
    """A secret that nobody made is no error: that part of the product is not set up."""
    found = managed(aws)
    assert (found.slack(), found.gemini(), found.redshift()) == (None, "", None)
    assert Secrets(None, environ={}).slack() is None


def test_the_environment_comes_first(aws):
    """For local runs three variables are enough, and AWS is not asked."""
    environ = {"SLACK_BOT_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": "s", "GEMINI_API_KEY": "k"}
    found = Secrets(
        lambda: aws.client("secretsmanager"), environ=environ, connections={"gemini": {"password": "other"}}
    )
    assert found.slack() == SlackSecret(TOKEN, "s") and found.gemini() == "k"
    assert aws.calls == []


def test_connections_come_before_secrets_manager(aws):
    """What the host handed over is used as it is."""
    put(aws, "de-agent/gemini", '{"api_key": "of the manager"}')
    connections = {
        "slack": {"password": TOKEN, "extra": {"signing_secret": "s"}},
        "gemini": {"password": "of the connection"},
        "redshift": {
            "host": "analytics.abc.eu-west-1.redshift.amazonaws.com",
            "schema": "warehouse",
            "login": "etl",
            "extra": {},
        },
    }
    found = managed(aws, connections=connections)
    assert found.slack() == SlackSecret(TOKEN, "s") and found.gemini() == "of the connection"
    assert found.redshift() == RedshiftTarget("warehouse", cluster_id="analytics", db_user="etl")
    assert aws.calls == []


@pytest.mark.parametrize(
    ("connection", "target"),
    [
        (
            {"extra": {"cluster_identifier": "c", "database": "d", "db_user": "u", "region": "eu-west-1"}},
            RedshiftTarget("d", cluster_id="c", db_user="u"),
        ),
        (
            {"host": "w.123456789012.eu-west-1.redshift-serverless.amazonaws.com", "schema": "d"},
            RedshiftTarget("d", workgroup="w"),
        ),
        (
            {"extra": {"workgroup_name": "w", "secret_arn": "arn:x"}, "schema": "d"},
            RedshiftTarget("d", workgroup="w", secret_arn="arn:x"),
        ),
    ],
)
def test_redshift_connections_of_every_kind(connection, target):
    """By host, by cluster and by workgroup."""
    assert secrets.redshift_of_connection(connection) == target


def test_a_secret_is_kept_and_read_again_after_a_while(aws):
    """One call in `max_age` seconds; a rotated secret is seen then, or at once when the old one was refused."""
    put(aws, "de-agent/gemini", '{"api_key": "old"}')
    now = [0.0]
    found = managed(aws, max_age=300, clock=lambda: now[0])
    assert [found.gemini() for _ in range(3)] == ["old"] * 3 and len(aws.calls) == 1
    aws.client("secretsmanager").put_secret_value(SecretId="de-agent/gemini", SecretString='{"api_key": "new"}')
    assert found.gemini() == "old"
    now[0] = 301.0
    assert found.gemini() == "new"
    aws.client("secretsmanager").put_secret_value(SecretId="de-agent/gemini", SecretString='{"api_key": "newest"}')
    found.forget()
    assert found.gemini() == "newest"


def test_what_was_kept_bridges_an_outage(aws):
    """While Secrets Manager does not answer the last value goes on being used."""
    put(aws, "de-agent/gemini", '{"api_key": "k"}')
    now = [0.0]
    found = managed(aws, clock=lambda: now[0])
    assert found.gemini() == "k"
    now[0] = 1000.0
    aws.misbehave("AccessDenied")
    assert found.gemini() == "k"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"bot_token": "%s"}}', "Extra data at line 1 column 43"),
        ('{"bot_token": "%s",\n "signing_secret": }', "at line 2 column 20"),
        ("%s", "is not JSON"),
        ('["%s"]', "a JSON list, not an object"),
        ('{"botToken": "%s"}', "bot_token is missing or empty"),
        ('{"bot_token": ["%s"]}', "bot_token is not a text"),
        ('{"bot_token": "%s", "signing_secret": 7}', "signing_secret is not a text"),
    ],
)
def test_a_malformed_secret_is_named_without_its_content(aws, text, said):
    """The error names the secret, where it is kept and the place of the error; nothing of it shows in a traceback."""
    put(aws, "de-agent/slack", text % TOKEN)
    with pytest.raises(SettingsError) as caught:
        managed(aws).slack()
    assert said in str(caught.value)
    assert "de-agent/slack (Secrets Manager in eu-west-1)" in str(caught.value)
    assert '"bot_token": "…"' in str(caught.value)
    chain = [caught.value, caught.value.__cause__]
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) and chain[1] is None


def test_a_secret_that_may_not_be_read_names_the_permission(aws):
    """The cure is the IAM action on that secret."""
    put(aws, "de-agent/slack", "{}")
    aws.misbehave("AccessDenied")
    with pytest.raises(SettingsError, match="allow secretsmanager:GetSecretValue on arn:aws:"):
        managed(aws).slack()


def test_tokens_are_not_printed():
    """Printing the secret object shows nothing."""
    assert TOKEN not in repr(SlackSecret(TOKEN, TOKEN, TOKEN))


def test_an_aws_connection_opens_a_session_under_its_role(aws):
    """Keys, region and role of the connection are used; the role is taken through STS."""
    connection = {
        "login": "AKIDEXAMPLE",
        "password": "not-a-real-key",
        "extra": {
            "region_name": "eu-west-1",
            "role_arn": "arn:aws:iam::123456789012:role/reader",
            "external_id": "outsider",
        },
    }
    clients = Clients(secrets.session_of_connection(connection), endpoint_url=aws.url)
    assert clients("sts").get_caller_identity()["Arn"].endswith("assumed-role/reader/de-agent")
    assert clients("logs").meta.region_name == "eu-west-1"
