"""Which Slack channel an incident belongs to, by the option `slack_channels`.

``dag:sales_*=#sales, tag:finance=#finance, owner:ann=#ann-alerts, category:permissions=#platform``: a channel that the
DAG itself names comes first, then the first rule that fits; where none does, `slack_channel` is meant.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from airflow_de_agent.core.diagnosis import Category
from airflow_de_agent.core.incident import Record

_CHANNEL = re.compile(r"#[^\s#@<>|,=]{1,80}|[CG][A-Z0-9]{5,20}")
_LONGEST = 100  # characters; Slack's names have 80 at most, so a longer one is none, and no store need keep it
_EXAMPLE = "such as dag:sales_*=#sales, tag:finance=#finance, owner:ann=#ann-alerts, category:permissions=#platform"


class Rule(NamedTuple):
    """Incidents whose `kind` fits `pattern` (as file names do: ``*``, ``?``) go to `channel`."""

    kind: str
    pattern: str
    channel: str


def parse(text: str) -> tuple[Rule, ...]:
    """The rules that an option holds, in their order.

    Raises:
        ValueError: some are not rules; the text names each, and says how one is written.
    """
    rules, wrong = [], []
    for item in filter(None, (part.strip() for part in text.split(","))):
        what, equals, channel = (part.strip() for part in item.rpartition("="))
        kind, _, pattern = (part.strip() for part in what.partition(":"))
        rule = Rule(kind, pattern, channel)
        reason = "it has no =" if not equals else _wrong(rule)
        if reason:
            wrong.append(f"{item!r}: {reason}")
        rules.append(rule)
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}. Write rules as KIND:PATTERN=CHANNEL by comma, {_EXAMPLE}")
    return tuple(rules)


def _wrong(rule: Rule) -> str:
    if rule.kind not in _VALUES:
        return f"the part before the colon must be one of {', '.join(_VALUES)}"
    if not rule.pattern:
        return f"{rule.kind}: names nothing; write {rule.kind}:* for all"
    if not _CHANNEL.fullmatch(rule.channel):
        return "the channel must be #name or the id of one, such as C0123456789"
    known = [category.value for category in Category]
    if rule.kind == "category" and not fnmatch.filter(known, rule.pattern):
        return f"there is no such category; there are {', '.join(known)}"
    return ""


def channel_of(record: Record, rules: Sequence[Rule]) -> str:
    """The channel that the DAG itself names, else that of the first rule that fits; empty where none does."""
    if 0 < len(record.failure.slack_channel) <= _LONGEST:
        return record.failure.slack_channel
    for rule in rules:
        if any(fnmatch.fnmatchcase(value, rule.pattern) for value in _VALUES[rule.kind](record)):
            return rule.channel
    return ""


# Airflow joins the owners of a task with commas
_VALUES: Mapping[str, Callable[[Record], Sequence[str]]] = {
    "dag": lambda record: [record.failure.key.dag_id],
    "tag": lambda record: record.failure.tags,
    "owner": lambda record: [owner.strip() for owner in record.failure.owner.split(",")],
    "category": lambda record: [record.diagnosis.category.value],
}
