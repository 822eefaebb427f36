"""What is deployed: a template without findings, least privilege, and a package that needs no Airflow."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_de_agent import settings
from airflow_de_agent.adapters.dynamodb_table import INDEXES
from airflow_de_agent.adapters.secrets import Secrets
from airflow_de_agent.core import mention
from deployment import prune, sign_sample
from tests import aws_servers, iam_policies

aws = aws_servers.aws
ROOT = Path(__file__).parents[1]
DEPLOYMENT = ROOT / "deployment"
# what AWS gives no resource for: only statements of the caller's own session are meant, by condition
NO_RESOURCE = {"redshift-data:CancelStatement", "redshift-data:DescribeStatement", "redshift-data:GetStatementResult"}

# the IAM actions of each method that is called (AWS service authorization reference)
ACTIONS = {
    "get_item": "dynamodb:GetItem",
    "query": "dynamodb:Query",
    "update_item": "dynamodb:UpdateItem",
    "transact_write_items": "dynamodb:ConditionCheckItem dynamodb:PutItem dynamodb:UpdateItem",
    "describe_log_streams": "logs:DescribeLogStreams",
    "filter_log_events": "logs:FilterLogEvents",
    "get_log_events": "logs:GetLogEvents",
    "execute_statement": "redshift-data:ExecuteStatement",
    "describe_statement": "redshift-data:DescribeStatement",
    "get_statement_result": "redshift-data:GetStatementResult",
    "cancel_statement": "redshift-data:CancelStatement",
    "invoke_rest_api": "airflow:InvokeRestApi",
    "get_secret_value": "secretsmanager:GetSecretValue",
}
# `de-agent store create`, the role of a connection, a hint, the way where InvokeRestApi is not to be had, who we are
BY_A_PERSON = {"create_table", "describe_table", "update_time_to_live", "assume_role", "describe_log_groups",
               "create_web_login_token", "get_caller_identity"}  # fmt: skip
# its log, its queue, itself, the record of what was done (Powertools), an MWAA that knows web logins only
FUNCTION_ONLY = {
    "logs:CreateLogStream", "logs:PutLogEvents", "lambda:InvokeFunction", "dynamodb:DeleteItem",
    "airflow:CreateWebLoginToken", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
    "sqs:SendMessage",
}  # fmt: skip
# the scope that Slack asks for each method and event (its reference, one page each); none for a form
SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "views.open": "",
    "app_mention": "app_mentions:read",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
}


def resource(name: str) -> dict[str, Any]:
    found: dict[str, Any] = iam_policies.template()["Resources"][name]["Properties"]
    return found


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_template_has_no_findings() -> None:
    """cfn-lint, which knows SAM, finds nothing."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(DEPLOYMENT / "template.yaml")]
    linted = subprocess.run(command, capture_output=True, text=True)
    assert (linted.stdout, linted.returncode) == ("", 0), linted.stderr


@pytest.mark.parametrize("name", ["function", "mwaa"])
def test_privileges_are_least(name: str) -> None:
    """No action has a wildcard, and no resource is one that could be named."""
    for statement in iam_policies.policies()[name]["Statement"]:
        actions, resources = as_list(statement["Action"]), as_list(statement["Resource"])
        assert not any("*" in action for action in actions), statement["Sid"]
        assert all(resource.startswith("arn:aws:") for resource in resources) or set(actions) <= NO_RESOURCE
        assert "*" not in resources or "Condition" in statement


@pytest.mark.parametrize("name", ["function", "mwaa"])
def test_parliament_has_no_findings(name: str) -> None:
    """Every action exists, fits its resources, and has no wildcard for a resource that could be named."""
    assert found_by_parliament(iam_policies.policies()[name]) == ("", 0)


def test_parliament_would_find_what_is_wrong() -> None:
    """An action that does not exist, a resource of another kind and a needless wildcard are findings."""
    policy = iam_policies.policies()["mwaa"]
    for change in (
        {"Action": "logs:ReadAll"},
        {"Action": "airflow:InvokeRestApi", "Resource": "arn:aws:airflow:eu-west-1:123456789012:environment/x"},
        {"Action": "dynamodb:GetItem", "Resource": "*"},
    ):
        wrong = {**policy, "Statement": [policy["Statement"][0] | change]}
        assert found_by_parliament(wrong)[1] == 1, change


def found_by_parliament(policy: dict[str, Any]) -> tuple[str, int]:
    """What it prints and its exit code."""
    command = [str(Path(sys.executable).with_name("parliament")), "--string", json.dumps(policy)]
    checked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return checked.stdout, checked.returncode


def test_the_policies_allow_what_is_called_and_no_more() -> None:
    """Each operation of the instruments and the store is allowed to both; the rest is the function's own."""
    rooms = (ROOT / "airflow_de_agent" / room for room in ("adapters", "aws"))
    code = "".join(path.read_text() for room in rooms for path in room.glob("*.py"))
    methods = set(re.findall(r'(?:calls?|\))\(\s*"([a-z_]+)"', code)) - BY_A_PERSON
    assert methods <= set(ACTIONS), methods - set(ACTIONS)
    called = {action for name in methods for action in ACTIONS[name].split()}
    allowed = {
        name: {action for statement in policy["Statement"] for action in as_list(statement["Action"])}
        for name, policy in iam_policies.policies().items()
    }
    assert allowed == {"mwaa": called, "function": called | FUNCTION_ONLY}


def test_the_table_is_the_one_of_the_store() -> None:
    """Keys, indexes and expiry are those that the store uses."""
    table = resource("Table")
    indexes = {
        index["IndexName"]: tuple(key["AttributeName"] for key in index["KeySchema"])
        for index in table["GlobalSecondaryIndexes"]
    }
    assert indexes == INDEXES
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


def test_the_function_is_configured_by_settings_that_exist() -> None:
    """Each DE_AGENT_ variable is an option; the handler is where the template says."""
    function = resource("Function")
    options = {f"DE_AGENT_{name.upper()}" for name in settings.Settings().to_json()}
    given = {name for name in function["Environment"]["Variables"] if name.startswith("DE_AGENT_")}
    assert given <= options
    assert function["Handler"] == "airflow_de_agent.lambda_handler.handler"
    assert function["AutoPublishAlias"] == "live" and function["Architectures"] == ["arm64"]


def test_the_dashboard_is_json() -> None:
    """It shows invocations, errors, duration, cost and tokens, diagnoses by category, and feedback."""
    body = iam_policies.resolved(resource("Dashboard")["DashboardBody"], {})
    titles = " ".join(widget["properties"]["title"] for widget in json.loads(body)["widgets"])
    for shown in ("Invocations", "Error rate", "Duration", "tokens", "category", "feedback"):
        assert shown in titles


def test_what_fails_is_kept_and_rings() -> None:
    """Work that failed thrice is done later, then goes to the dead-letter queue; each alarm has its measure and bar."""
    function, later = resource("Function"), resource("Later")
    on_failure = function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert on_failure == {"Type": "SQS", "Destination": {"GetAtt": "Later.Arn"}}
    assert function["Events"]["Again"]["Properties"]["Queue"] == {"GetAtt": "Later.Arn"}
    assert later["RedrivePolicy"]["deadLetterTargetArn"] == {"GetAtt": "DeadLetters.Arn"}
    assert later["VisibilityTimeout"] >= 6 * function["Timeout"]  # as AWS asks of a queue that calls a function
    bars = {
        name: (alarm.get("MetricName") or alarm["Metrics"][0]["Id"], alarm["Threshold"], alarm["ComparisonOperator"])
        for name in iam_policies.template()["Resources"]
        if name.endswith("Alarm")
        for alarm in [resource(name)]
    }
    assert bars == {
        "ErrorAlarm": ("rate", 1, "GreaterThanThreshold"),
        "SlowAlarm": ("Duration", 30000, "GreaterThanThreshold"),
        "ConcurrencyAlarm": ("share", 80, "GreaterThanThreshold"),
        "ThrottleAlarm": ("Throttles", 0, "GreaterThanThreshold"),
        "WaitingAlarm": ("Sweep_waiting", 0, "GreaterThanThreshold"),
        "DeadLetterAlarm": ("ApproximateNumberOfMessagesVisible", 0, "GreaterThanThreshold"),
    }
    share = resource("ConcurrencyAlarm")["Metrics"][0]["Expression"]
    assert share == {"Sub": "100 * used / ${ReservedConcurrency}"}
    assert function["ReservedConcurrentExecutions"] == {"Ref": "ReservedConcurrency"}
    assert resource("SlowAlarm")["ExtendedStatistic"] == "p95"
    assert resource("FunctionLog")["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_schedule_calls_what_the_handler_knows() -> None:
    """EventBridge sweeps every five minutes, with the input that the handler takes for a sweep."""
    schedule = resource("Function")["Events"]["Sweep"]["Properties"]
    assert (schedule["Schedule"], json.loads(schedule["Input"])) == ("rate(5 minutes)", {"de_agent": "sweep"})
    slack = resource("Function")["Events"]["Slack"]["Properties"]
    assert (slack["Path"], slack["Method"]) == ("/slack/events", "POST")


@pytest.mark.parametrize("environment", ["test", "prod"])
def test_both_environments_are_configured(environment: str) -> None:
    """samconfig.toml names only parameters of the template; test posts to its own channel."""
    text = (DEPLOYMENT / "samconfig.toml").read_text()
    section = text.partition(f"[{environment}.deploy.parameters]")[2].partition("\n[")[0]
    given = dict(line.strip(' ",').split("=", 1) for line in section.splitlines() if line.startswith('    "'))
    assert set(given) <= set(iam_policies.template()["Parameters"])
    assert given["Environment"] == environment
    assert f'stack_name = "de-agent-{environment}"' in section
    assert environment == "prod" or given["SlackChannel"] == "#de-agent-test"


def test_slack_is_asked_for_no_more_than_is_used() -> None:
    """The scopes are those of the methods that are called and of the events that are listened to."""
    manifest = yaml.safe_load((DEPLOYMENT / "slack_manifest.yaml").read_text())
    subscribed = manifest["settings"]["event_subscriptions"]
    code = "".join(path.read_text() for path in (ROOT / "airflow_de_agent").rglob("*.py"))
    methods = set(re.findall(r'"((?:chat|conversations|views|reactions|users|auth|files|team)\.\w+)"', code))
    assert methods <= set(SCOPES), methods
    used = {SCOPES[name] for name in (*methods, *subscribed["bot_events"])} - {""}
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == used | {"chat:write.public"}  # where nobody invited it
    assert set(subscribed["bot_events"]) == set(re.findall(r'"(app_mention|reaction_\w+)"', code))
    assert subscribed["request_url"] == manifest["settings"]["interactivity"]["request_url"]


def test_lambda_local_serves_the_function_over_http() -> None:
    """What `make lambda-local` runs answers the challenge to a plain curl."""
    assert "-m deployment.local_lambda --port" in (ROOT / "Makefile").read_text()
    challenge = ROOT / "tests" / "verification_challenge.json"
    command = [sys.executable, "-m", "deployment.local_lambda", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        try:
            address = it.stdout.readline().split()[-1]
            with urllib.request.urlopen(address, challenge.read_bytes()) as answer:  # with curl's content type
                said = json.loads(answer.read())
        finally:
            it.terminate()
    assert said["challenge"] == json.loads(challenge.read_text())["challenge"]


def test_the_package_needs_neither_airflow_nor_sqlalchemy() -> None:
    """The function starts with what its requirements file names, and nothing of the Airflow room."""
    names = [
        line.split(">")[0] for line in (DEPLOYMENT / "requirements.txt").read_text().splitlines() if line[0] != "#"
    ]
    assert not {"apache-airflow", "SQLAlchemy"} & set(names)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['airflow', 'sqlalchemy', 'yaml', 'airflow_de_agent.airflow',"
        " 'airflow_de_agent.ui'])); from airflow_de_agent import lambda_handler, lambda_parts;"
        " from airflow_de_agent.adapters import dynamodb_store, gemini"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_pruning_leaves_what_is_called(tmp_path: Path) -> None:
    """Of botocore's data the services that are called stay."""
    for service in ("dynamodb", "ec2", "logs"):
        (tmp_path / "botocore" / "data" / service / "v1").mkdir(parents=True)
        (tmp_path / "botocore" / "data" / service / "v1" / "service.json").write_text("{}")
    (tmp_path / "botocore" / "data" / "endpoints.json").write_text("{}")
    assert prune.prune(tmp_path) == 6
    assert sorted(path.name for path in (tmp_path / "botocore" / "data").iterdir()) == [
        "dynamodb",
        "endpoints.json",
        "logs",
    ]
    assert prune.prune(tmp_path / "botocore" / "data") == 6


def test_the_secrets_of_the_readme_are_those_that_are_read(aws: aws_servers.AwsServer) -> None:
    """Created as the README says, each is found, with the fields that it names."""
    commands = re.findall(
        r"--name (de-agent/\w+)[\s\\]+--secret-string '([^']+)'", (DEPLOYMENT / "README.md").read_text()
    )
    for name, values in commands:
        aws.client("secretsmanager").create_secret(Name=name, SecretString=values)
    found = Secrets(lambda: aws.client("secretsmanager"), environ={}, connections={})
    slack, redshift = found.slack(), found.redshift()
    assert slack and all((slack.bot_token, slack.signing_secret, slack.verification_token)) and found.gemini()
    assert redshift and all((redshift.cluster_id, redshift.database, redshift.secret_arn))


def test_the_sample_is_signed_afresh() -> None:
    """The command prints the event that Slack would send now, each time with an id of its own."""
    environment = {"SLACK_SIGNING_SECRET": "s", "PATH": ""}
    command = [sys.executable, str(DEPLOYMENT / "sign_sample.py"), "--text", "<@U0BOT> status sales_etl"]
    first, second = (
        json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
        for _ in range(2)
    )
    timestamp = first["headers"]["x-slack-request-timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    assert first["headers"]["x-slack-signature"] == sign_sample.signature("s", timestamp, first["body"])
    bodies = [json.loads(event["body"]) for event in (first, second)]
    assert bodies[0]["event_id"] != bodies[1]["event_id"]
    assert mention.parse(bodies[0]["event"]["text"]).dag_id == "sales_etl"


def test_without_a_signing_secret_one_line_says_where_it_is_looked_for() -> None:
    """No traceback of an SDK, and nothing on standard output that could be taken for an event."""
    done = subprocess.run(
        [sys.executable, str(DEPLOYMENT / "sign_sample.py")], env={"PATH": ""}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "SLACK_SIGNING_SECRET" in done.stderr and "de-agent/slack" in done.stderr


def test_a_port_that_is_taken_is_told() -> None:
    """The local function says which option helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "deployment.local_lambda", "--port", port]
        done = subprocess.run(command, cwd=DEPLOYMENT.parent, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"port {port}" in done.stderr and "--port" in done.stderr
