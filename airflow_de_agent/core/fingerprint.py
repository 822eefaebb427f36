"""The key that joins failures of one cause.

Rules kept here: what a cause is named by (exception, error code, table, bucket, service, missing key) stays; what
differs between two occurrences of it (ids, numbers, dates, paths, machines, temporary names, data values) is masked.
A failing shared resource joins tasks of every DAG; an error in code carries its place in that code. The category is
no part of the key, so that history survives when a rule learns to name a cause better.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.failure import CapturedException, TaskFailure
from airflow_de_agent.core.task_log import TaskLog
from airflow_de_agent.core.traceback_text import is_user_code

Chain = tuple[CapturedException, ...]

# Causes outside the task: the same words from two DAGs are one cause.
_SHARED = frozenset(
    {
        Category.AUTHENTICATION,
        Category.DISK_FULL,
        Category.EXTERNAL_SERVICE,
        Category.INFRASTRUCTURE,
        Category.LOCK_CONFLICT,
        Category.MISSING_DEPENDENCY,
        Category.NETWORK,
        Category.PERMISSIONS,
        Category.QUOTA,
        Category.RATE_LIMIT,
    }
)
# The same, told from the words, for a cause that no rule names, or that names the shared thing it lacks.
_SHARED_WORDS = re.compile(
    r"connection (?:refused|reset|timed out|aborted)|could not connect|failed to connect|max retries exceeded"
    r"|name resolution|name or service not known|throttl|too many (?:requests|connections)|rate exceeded"
    r"|\b[45]\d\d (?:client|server) error|service unavailable|bad gateway|internal server error|deadlock detected"
    r"|no space left|expiredtoken|access ?denied|not authorized|incorrect username or password|low on resource"
    r"|conn_id .{1,200} (?:isn't|is not) defined|no module named"
    r"|(?:relation|table|schema|database|view|variable) .{1,200} does not exist"
    r"|violates (?:unique|foreign key|check|exclusion|not-null) constraint"
)
# Sentences that wrap any cause: alone they join nothing, so the task itself is named.
_EMPTY_WORDS = re.compile(
    r"bash command failed|returned a non-zero exit code|task (?:failed|exited)|job .{0,80}failed|trigger failure"
    r"|snap\. time is out|sensor has timed out|timeout, pid"
)

_HEAD = re.compile(r"(?:\d\d:\d\d:\d\d )?(?:\{[^}\n]{1,200}\} )?(?:(?:ERROR|WARNING|INFO|CRITICAL|DEBUG|FATAL) - )?")
_TYPE = re.compile(
    r"(?:[A-Za-z_]\w{0,80}\.){0,12}[A-Z]\w{1,80}(?:Error|Exception|Failure|Fault|Exit|Timeout)\w{0,20}: "
)
_AWS = re.compile(r"An error occurred \((\w{1,100})\) when calling the (\w{1,100}) operation")
_DATA_FILE = r"(?:csv|tsv|json[l]?|ndjson|parquet|avro|orc|gz|zip|txt|xml|xlsx?|sql|log|tmp|dat|bz2|snappy|zst)"

# In this order; each replaces what differs between two occurrences of one cause.
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(arn:[\w-]{1,20}:s3:::[^/\s'\"]{1,200})/[^\s'\"]{0,2000}"), r"\1"),
    (re.compile(r"(assumed-role/[\w+=,.@-]{1,100})/[\w+=,.@-]{1,200}"), r"\1"),
    (re.compile(r"\[redacted:[a-z_]{1,40}#\d{1,9}\]"), "<secret>"),
    (
        re.compile(
            r"(?:(?:extended )?request|host|trace|query|session|correlation|x-amzn-request|activity)[ _-]?id"
            r"[\"']?[:=]?\s{0,3}[\"']?[\w+/=:.-]{4,200}"
        ),
        "#",
    ),
    (re.compile(r"\b(s3[an]?|gs|abfss?|wasbs?|hdfs)://([^/\s'\"]{1,200})[^\s'\",)\]}]{0,2000}"), r"\1://\2"),
    (
        re.compile(
            r"\b(https?|wss?|jdbc:\w{1,20}|postgresql|redshift|mysql|amqp|redis|ftp|sftp)://(?:[^/\s@'\"]{1,200}@)?"
            r"([^/\s?'\"]{1,200})[^\s'\",)\]}]{0,2000}"
        ),
        r"\1://\2",
    ),
    (
        re.compile(
            r"(?<![\w/.<>])(?:[a-z]:\\|~?/)[\w.@%+=:{}~-]{1,255}(?:[/\\][\w.@%+=:{}~-]{0,255}){0,60}"
            r"(?:\?[^\s'\"]{0,500})?"
        ),
        "<path>",
    ),
    (re.compile(r"\b[\w=%+.-]{1,200}(?:/[\w=%+.-]{1,200}){0,40}\." + _DATA_FILE + r"\b"), "<file>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "#"),
    (
        re.compile(
            r"\bip-\d{1,3}(?:-\d{1,3}){3}[\w.-]{0,100}|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"
            r"|\b[\w-]{1,100}\.(?:ec2|compute)\.internal\b"
        ),
        "<host>",
    ),
    (re.compile(r"(?<![0-9a-z])[0-9a-f]{0,7}(?:[0-9a-f]{1}:){3,15}[0-9a-f]{0,4}(?![0-9a-z])"), "<host>"),
    (re.compile(r"\btmp(?=[a-z0-9_]{0,11}[0-9_])[a-z0-9_]{6,12}\b|\btmp[a-z0-9_]{8}\b"), "<tmp>"),
    (re.compile(r"\b0x[0-9a-f]{1,32}\b|(?<![0-9a-z])(?=[a-f]{0,63}\d)[0-9a-f]{8,128}(?![0-9a-z])"), "#"),
    (re.compile(r"(?<=-)(?=[a-z]{0,10}\d)(?=\d{0,10}[a-z])[a-z0-9]{5,10}\b"), "#"),
    (re.compile(r"\b(?=[a-z]{0,40}\d[a-z]{0,40}[a-z\d]{0,40}\d)[a-z0-9]{12,128}\b"), "#"),
    # data, not names
    (
        re.compile(
            r"((?:invalid literal for int\(\) with base \d{1,3}: |could not convert string to \w{1,20}: |time data "
            r"|invalid input syntax for (?:type )?[\w ]{1,40}: |duplicate entry |incorrect \w{1,20} value: "
            r"|out of range value ))('[^'\n]{0,500}'|\"[^\"\n]{0,500}\")"
        ),
        r"\1<value>",
    ),
    (re.compile(r"(key \([^)\n]{1,200}\)=)\([^)\n]{0,500}\)"), r"\1<value>"),
)
# Numbers that are names: error, status and exit codes.
_CODE_BEFORE = re.compile(
    r"(?:status(?: code)?|(?:exit|return|error|http)(?: ?code)?|errno|code|signal|sqlstate|ora)[\"']?[ :=-]{1,3}\Z"
)
_CODE_AFTER = re.compile(
    r" (?:client|server|error|too many|bad|service|internal|forbidden|unauthorized|not found|gateway)"
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_RUN = re.compile(r"#(?:[-_.:]?#)+")
_SPACE = re.compile(r"\s+")
_LENGTH = 320


def fingerprint(failure: TaskFailure, log: TaskLog, diagnosis: Diagnosis) -> str:
    """Sixteen hexadecimal digits: the same for the same cause, whatever its ids, numbers, dates, paths and hosts.

    `diagnosis` is the one that the rules gave: its first quote is taken for the words of the cause.
    """
    parts = _parts(failure, log, diagnosis)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def masked(text: str) -> str:
    """A message without what differs between two occurrences of one cause."""
    text = text[: 8 * _LENGTH].lower()
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    text = _RUN.sub("#", _NUMBER.sub(_number, text))
    return _SPACE.sub(" ", text).strip()[:_LENGTH]


def _number(match: re.Match[str]) -> str:
    start = match.start()
    is_code = _CODE_BEFORE.search(match.string[max(0, start - 24) : start]) or _CODE_AFTER.match(
        match.string, match.end()
    )
    return match[0] if is_code and len(match[0]) <= 5 else "#"


def _parts(failure: TaskFailure, log: TaskLog, diagnosis: Diagnosis) -> tuple[str, ...]:
    task = f"{failure.key.dag_id}.{failure.key.task_id}"
    if diagnosis.category is Category.UPSTREAM_FAILURE and diagnosis.root_cause_task not in ("", failure.key.task_id):
        return ("upstream", failure.key.dag_id, diagnosis.root_cause_task)
    chain, link = _cause(failure, log, diagnosis)
    words = masked(_words(link, diagnosis, log))
    if not words or _EMPTY_WORDS.search(words) and not _SHARED_WORDS.search(words):
        return ("task", task, words)
    if diagnosis.category in _SHARED or _SHARED_WORDS.search(words):
        return ("shared", words)
    return ("place", _place(chain, link) or task, link.name if link else "", words)


def _words(link: CapturedException | None, diagnosis: Diagnosis, log: TaskLog) -> str:
    """What names the cause: the proving quote, in the words of the exception that it quotes."""
    quote = _HEAD.sub("", diagnosis.evidence[0].quote, count=1) if diagnosis.evidence else ""
    text = link.message or link.type if link is not None and _tells(link, quote) else quote
    if not text:
        text = diagnosis.root_cause if diagnosis.category is not Category.UNKNOWN else _last_trouble(log)
    aws = _AWS.search(text)
    return text[aws.start() :] if aws else _TYPE.sub("", text, count=1)


def _cause(failure: TaskFailure, log: TaskLog, diagnosis: Diagnosis) -> tuple[Chain, CapturedException | None]:
    """The exception that the proving quote quotes; without one, the first of the chain that ended the task."""
    chains = [chain for chain in (*log.exceptions, failure.exceptions) if chain]
    quote = diagnosis.evidence[0].quote if diagnosis.evidence else ""
    for chain in reversed(chains):
        for link in chain:
            if quote and _tells(link, quote):
                return chain, link
    if quote or not chains:
        return (), None
    last = log.exceptions[-1] if log.exceptions else chains[-1]
    return last, last[0]


def _tells(link: CapturedException, quote: str) -> bool:
    if not quote:
        return True
    first = _squeezed(link.message.partition("\n")[0])[:200] or link.type
    text = _squeezed(quote)
    return (len(first) > 3 and first in text) or (len(text) > 12 and text in _squeezed(link.message))


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _place(chain: Chain, link: CapturedException | None) -> str:
    """The innermost function of the user's own code, of this exception or another of its chain."""
    links: Iterable[CapturedException] = [link, *chain] if link is not None else chain
    for one in links:
        for frame in reversed(one.frames):
            if is_user_code(frame.file):
                stem = frame.file.replace("\\", "/").rpartition("/")[2]
                return f"{stem}:{frame.function}"
    return ""


def _last_trouble(log: TaskLog) -> str:
    """The last line that a log marks as an error."""
    marked = [line.text for line in log.lines if "ERROR" in line.text or "CRITICAL" in line.text]
    return _HEAD.sub("", marked[-1], count=1) if marked else ""
