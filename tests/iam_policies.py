"""The IAM policies of the deployment as plain JSON: CloudFormation's functions resolved with sample values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOYMENT = Path(__file__).parents[1] / "deployment"
VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::URLSuffix": "amazonaws.com",
    "Environment": "prod",
    "MwaaEnvironment": "airflow-prod",
    "RedshiftCluster": "analytics",
    "Table": "de-agent-prod",
    "Table.Arn": "arn:aws:dynamodb:eu-west-1:123456789012:table/de-agent-prod",
    "Later.Arn": "arn:aws:sqs:eu-west-1:123456789012:de-agent-prod-later",
    "FunctionLog.Arn": "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/de-agent-prod:*",
}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, as ``{"Fn::Sub": …}``."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)


def template() -> dict[str, Any]:
    """The SAM template, its short forms unresolved."""
    loaded: dict[str, Any] = yaml.load((DEPLOYMENT / "template.yaml").read_text(), _Loader)
    return loaded


def resolved(value: Any, defaults: dict[str, str]) -> Any:
    """A value of the template with its functions resolved; conditions are taken as true."""
    if isinstance(value, list):
        return [resolved(item, defaults) for item in value]
    if not isinstance(value, dict):
        return value
    if "Sub" in value:
        return re.sub(r"\$\{(?!aws:)([\w.:]+)\}", lambda m: VALUES.get(m[1]) or defaults[m[1]], value["Sub"])
    if "GetAtt" in value:
        return VALUES[value["GetAtt"]]
    if "If" in value:
        return resolved(value["If"][1], defaults)
    return {name: resolved(item, defaults) for name, item in value.items()}


def policies() -> dict[str, dict[str, Any]]:
    """Each policy document by name."""
    whole = template()
    defaults = {name: str(given.get("Default", "")) for name, given in whole["Parameters"].items()}
    role = whole["Resources"]["FunctionRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    mwaa = json.loads((DEPLOYMENT / "mwaa_policy.json").read_text())
    return {"function": resolved(role, defaults), "mwaa": mwaa}
