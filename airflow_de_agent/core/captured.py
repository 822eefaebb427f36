"""What the sentences of a diagnosis are filled with: what a pattern captured, and objects named near it."""

from __future__ import annotations

import re

from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.matching import Match
from airflow_de_agent.core.statements import Statement

_URI = re.compile(r"(?:s3[an]?|gs|hdfs|abfss?|wasbs?|dbfs|sftp|file)://[^\s'\",;)\]}>]{1,200}")
_POKED = re.compile(
    r"(?:[Pp]oking for (?:the )?(?:file |key |object |prefix )?:?|waiting for) ?"
    r"(tasks? \[[^\]\n]{1,80}\] in dag [\w.-]{1,100}|DAG [\w.-]{1,100}|"
    r"(?!(?:DAG|tasks?|task_groups?|keys?|files?|the)\b)[\w:/.*{}=+-]{3,200})"
)
_HOST = re.compile(r"(?:https?://(?:[^\s/@]{1,80}@)?|host[='\" ]{1,4})([\w.-]{3,120})")
_MANUAL = re.compile(r"airflow\.apache\.org|docs\.|cloud\.google\.com|console\.|[\w-]{0,20}\.?console\.aws")
_ROW_NAMES = {
    "table_name": "table",
    "file_name": "file",
    "line_number": "line",
    "column_name": "column",
    "colname": "column",
    "filename": "file",
}


def values(best: Match, said: list[Statement], failure: TaskFailure | None) -> dict[str, str]:
    """Captured groups, then the columns of the matched row, then objects named near the match."""
    values = dict(best.values)
    for name, value in (best.statement.values or {}).items():
        if value is not None:
            values.setdefault(_ROW_NAMES.get(name, name), str(value))
    before = said[: said.index(best.statement) + 1]
    values.setdefault("object", _nearest(before, _URI) or _nearest(before, _POKED) or _field_object(failure))
    hosts = (found.group(1) for found in _HOST.finditer(best.statement.text) if not _MANUAL.match(found.group(1)))
    values.setdefault("host", next(hosts, ""))
    frame = _own_frame(best.statement)
    values.setdefault("frame", frame)
    return values


def _nearest(before: list[Statement], pattern: re.Pattern[str]) -> str:
    """The last mention up to the match, within the lines close before it."""
    for statement in reversed(before[-60:]):
        mentions = pattern.findall(statement.text[:4000])
        if mentions:
            return str(mentions[-1]).rstrip(".:")
    return ""


def _field_object(failure: TaskFailure | None) -> str:
    fields = failure.fields if failure is not None else {}
    bucket = fields.get("bucket_name") or fields.get("bucket", "")
    key = fields.get("bucket_key") or fields.get("key", "")
    if bucket and key and "://" not in key:
        return f"s3://{bucket}/{key}"
    return key or bucket or fields.get("filepath") or fields.get("path") or fields.get("external_task_id", "")


def _own_frame(statement: Statement) -> str:
    """The last line of the user's own code in the traceback of the matched exception."""
    frames = statement.link.frames if statement.link is not None else ()
    own = [frame for frame in frames if not re.search(r"site-packages|/lib/python3|<frozen|<template>", frame.file)]
    return f"{own[-1].file.rpartition('/')[2]}, line {own[-1].line} ({own[-1].function})" if own else ""
