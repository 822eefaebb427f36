"""From a match to words: captured values into sentences, quotes, steps, and whether a rerun is safe.

Rules kept here: what a log says is data. A captured value is one line of sane length without links; a value or a
quote that gives orders or calls people is not used; advice comes from the table only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from airflow_de_agent.core.diagnosis import Category, Quote
from airflow_de_agent.core.evidence import cells
from airflow_de_agent.core.matching import Match
from airflow_de_agent.core.statements import Statement

VALUE_LENGTH, QUOTE_BEFORE, QUOTE_AFTER = 140, 120, 200

_ORDERS = re.compile(
    r"<!|<@|<#|@(?:here|channel|everyone)\b|\|[^|>\n]{1,80}>|"
    r"(?:ignore|disregard|forget|override)\b[^\n]{0,30}\b(?:instructions?|rules?|prompts?|above|previous)|"
    r"you are now|system prompt|new instructions|as an ai|tell the (?:channel|user|team)|maintenance mode: report|"
    r"\b(?:curl|wget)\b[^\n]{0,80}\|\s*(?:ba)?sh",
    re.IGNORECASE,
)
_LINK = re.compile(r"\b(?:https?|ftp)://(?:[^\s/@]{1,80}@)?", re.IGNORECASE)
_SEGMENT = re.compile(r"\[([^\[\]]*\{[^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?:\|([^{}]*))?\}")
_SQUEEZE = re.compile(r"\s+([.,;:)])|\s\(\s*\)")
_BRACKETS = (("[", "]"), ("(", ")"), ("{", "}"))

STEPS: Mapping[str, tuple[str, ...]] = {
    "code_error": ("Correct the code at {frame|the last line of the DAG's own code in the traceback} and deploy it.",),
    "missing_dependency": ("Install what is missing where the task runs, with a version that fits, and redeploy.",),
    "configuration": ("Correct the setting named in the quoted line, then clear the task.",),
    "authentication": ("Renew the credentials that the task uses, then clear the task.",),
    "permissions": ("Grant the right named in the quoted line to the identity named there.",),
    "network": ("Check from the worker's network whether the server can be reached; then clear the task.",),
    "missing_data": ("Check whether the data is there now; look at the job that produces it.",),
    "data_quality": ("Look at the rows named in the quoted line and at what their producer changed.",),
    "sql_error": ("Run the rendered statement by hand and correct it.",),
    "lock_conflict": ("Find the other session, then clear the task; keep the two from overlapping.",),
    "out_of_memory": ("Give the work more memory or less data at a time.",),
    "disk_full": ("Free space or enlarge the disk before clearing the task.",),
    "timeout": ("Compare with the duration of earlier runs and look at what the work waited for.",),
    "rate_limit": ("Slow the calls down; clear the task later.",),
    "quota": ("Free what is in use or raise the limit named in the quoted line.",),
    "external_service": ("Look at the service's status; clear the task when it has recovered.",),
    "infrastructure": (
        "Look at the worker and its platform at that time; check for half-done writes, then clear the task.",
    ),
    "upstream_failure": ("Diagnose {root_cause_task|the first failed task} and clear it with its downstream tasks.",),
    "deliberate": ("Ask who or what stopped it, and why, before running it again.",),
    "unknown": ("Read the log of the job or program that the task started: the task log does not name the cause.",),
}

_TRANSIENT = ("network", "lock_conflict", "rate_limit", "external_service", "infrastructure")
_OPEN = ("missing_data", "timeout", "quota", "upstream_failure", "unknown")

# Operators that only read: running them twice changes nothing.
_READERS = re.compile(r"sensor|check|branch|shortcircuit|list\w*operator$|describe", re.IGNORECASE)
# Causes that strike before a task has done anything.
_BEFORE_WORK = re.compile(
    r"airflow\.(?:connection|variable|hook_type|template|params|dag_missing|external_missing|fernet|bad_argument)|"
    r"python\.(?:module|import|syntax|circular)|sql\.(?:login|hba|database_missing)|snowflake\.(?:login|role|network)"
)


class Rerun(NamedTuple):
    """``yes``, ``no`` or ``unknown``, and why."""

    safe: str
    why: str


def sentence(template: str, values: Mapping[str, str]) -> str:
    """A template filled in: ``{name|words}`` is a value or words, ``[ … {name} … ]`` goes when its value is unknown."""
    clean = {name: value for name, raw in values.items() if (value := printable(raw))}
    text = _SEGMENT.sub(lambda found: found.group(1) if _known(found.group(1), clean) else "", template)
    text = _FIELD.sub(lambda found: clean.get(found.group(1), found.group(2) or ""), text)
    return _SQUEEZE.sub(lambda found: found.group(1) or "", " ".join(text.split()))


def _known(segment: str, values: Mapping[str, str]) -> bool:
    return all(name in values for name, _ in _FIELD.findall(segment))


def printable(value: str) -> str:
    """A captured value as it may stand in a sentence; empty if it gives orders or is nothing but marks."""
    text = _LINK.sub("", " ".join(str(value).split())).strip(" \t,;:[(")
    text = _unquoted(_closed("".join(character for character in text if character.isprintable()).rstrip(".")))
    if _ORDERS.search(text) or not any(character.isalnum() for character in text):
        return ""
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1].rstrip() + "…"


def _closed(text: str) -> str:
    """Without a closing bracket at the end that nothing opens."""
    for opening, closing in _BRACKETS:
        if text.endswith(closing) and text.count(closing) > text.count(opening):
            text = text[:-1].rstrip()
    return text


def _unquoted(text: str) -> str:
    """Without quotation marks around it, or one left over from a cut."""
    for mark in "'\"`":
        if text[:1] == mark and (text.count(mark) % 2 or (text[-1:] == mark and text.count(mark) == 2)):
            text = text[1:].removesuffix(mark)
        elif text[-1:] == mark and text.count(mark) % 2:
            text = text[:-1]
    return text


_CELL_BEGIN = 12  # characters by which a column is known


def quote(match: Match, log_lines: Collection[Statement]) -> Quote | None:
    """The words that prove the match, with some of their surroundings, from the place where they stand."""
    statement = match.statement
    if statement.link is not None and statement.source == "task_log":
        statement = _same_in_log(match, log_lines) or statement
    if statement.link is not None and statement.source == "task_log":
        statement = statement._replace(text=" ".join(statement.link.message.split()))
    if statement.values is not None:
        return _row_quote(match, statement)
    if statement.link is None:
        at = (statement.source, statement.line)
        statement = next((one for one in log_lines if (one.source, one.line) == at), statement)
    return _around(statement, match.text)


def _same_in_log(match: Match, log_lines: Collection[Statement]) -> Statement | None:
    """The distilled line that holds the text of an exception, the nearest after the exception's own line."""
    number = match.statement.line or 0
    holds = [said for said in log_lines if said.source == "task_log" and match.text in said.text]
    return min(holds, key=lambda said: abs((said.line or 0) - number), default=None)


def _row_quote(match: Match, statement: Statement) -> Quote | None:
    """The matched words; where columns between them were left out when it was matched, those of the first column."""
    text = match.text.strip()
    row = cells(statement.values or {})
    if text not in " ".join(row):
        begin = text[:_CELL_BEGIN]
        text = next((cell[cell.find(begin) :][: len(text)] for cell in row if begin in cell), "")
    return Quote(statement.source, text, statement.line) if text and not _ORDERS.search(text) else None


def _around(statement: Statement, text: str) -> Quote | None:
    at = statement.text.find(text)
    if at < 0:
        at, text = _piece(statement.text, text)
    wide = statement.text[_word_start(statement.text, at - QUOTE_BEFORE) : at + len(text) + QUOTE_AFTER].strip()
    for piece in (wide, text.strip()):
        if piece and not _ORDERS.search(piece) and not re.search(r"<https?:", piece):
            return Quote(statement.source, piece, statement.line)
    return None


def _piece(held: str, text: str) -> tuple[int, str]:
    """The longest piece of `text`, cut at quotation marks, that `held` has as it is; else how `held` begins."""
    pieces = sorted(re.split(r"['\"\\]+", text), key=len, reverse=True)
    found = next((piece for piece in pieces if len(piece) > 8 and piece in held), held[:QUOTE_AFTER])
    return held.find(found), found


def line_quote(text: str, number: int) -> Quote | None:
    """A line of the task log as a quote, unless it gives orders."""
    piece = text.strip()[:QUOTE_AFTER]
    return Quote("task_log", piece, number) if piece and not _ORDERS.search(piece) else None


def _word_start(text: str, at: int) -> int:
    return 0 if at <= 0 else text.find(" ", at) + 1


def steps(match: Match, values: Mapping[str, str]) -> tuple[str, ...]:
    """The row's own steps, or the usual ones of its category."""
    own = match.signature.steps
    return tuple(sentence(step, values) for step in own or STEPS[match.signature.category])


def transience(match: Match) -> str:
    """Whether the failure will pass by itself."""
    category = match.signature.category
    usual = "transient" if category in _TRANSIENT else "unknown" if category in _OPEN else "permanent"
    return match.signature.transience or usual


def rerun(category: Category, signature_name: str, passing: str, operator: str) -> Rerun:
    """Whether running the task again can do harm; writes are not taken to be repeatable unless something says so."""
    if category is Category.DELIBERATE:
        return Rerun("no", "It was stopped on purpose; a rerun would undo that decision.")
    if category is Category.UPSTREAM_FAILURE:
        return Rerun("no", "It would work on the missing or old result of the failed task; clear that one first.")
    if passing == "permanent":
        early = "It failed before doing any work, but " if _BEFORE_WORK.match(signature_name) else ""
        same = "it would fail in the same way until the cause is removed."
        return Rerun("no", early + same if early else same.capitalize())
    if _READERS.search(operator):
        return Rerun("yes", f"{operator} only reads.")
    if signature_name in ("sql.deadlock", "sql.serialization", "redshift.serializable") and "sql" in operator.lower():
        return Rerun("yes", "The database rolled the transaction back; nothing of it was kept.")
    return Rerun(
        "unknown", "The task may have written part of its result; nothing shows that its writes can be repeated."
    )
