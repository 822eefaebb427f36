"""Offline diagnosis from a table of signatures.

How it reasons: every row of the table is tried on everything that was said (the exceptions that ended the task, the
lines before, Redshift rows, Lambda lines). A row has a strength, a place has a weight; the highest product is the
cause. So a definite error code in the last exception wins; a typical consequence (``NoneType``, a missing file, a
timeout) yields to a definite error in a warning before it; a symptom (``Bash command failed``) yields to anything.
What another task of the run did is asked when the rest is weak. Where nothing is strong enough, the answer is
``unknown`` with what would settle it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_de_agent.core import captured, wording
from airflow_de_agent.core.diagnosis import Category, Diagnosis, Quote
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.first_failure import earlier_failure
from airflow_de_agent.core.matching import Match, matches
from airflow_de_agent.core.passing import RECOVERED
from airflow_de_agent.core.signatures import table
from airflow_de_agent.core.signatures.signature import Signature
from airflow_de_agent.core.statements import WEIGHTS, Statement, statements
from airflow_de_agent.core.task_log import TaskLog

# Below this score nothing is said with a straight face: the answer is unknown.
ANSWERED = 33.0
# Below this score the cause may well lie in another task of the run.
WEAK = 68.5
OWN = 55.0
# From this strength on a row means one thing.
DEFINITE = 85
# From this strength on an error that was logged explains what often is a consequence.
USUAL = 72
# Said among the last lines before the end, a hint in a warning explains an end below OPEN, and what usually is a cause
# explains an end below VAGUE though it was said as a mere information.
NEAR = 8
HINT = 46
OPEN = 75
VAGUE = 62


def diagnose(
    failure: TaskFailure | None,
    log: TaskLog,
    evidence: Sequence[Evidence] = (),
    *,
    extra_rules: Sequence[Signature] = (),
) -> Diagnosis:
    """The best answer that the table gives, or an honest `unknown`; `extra_rules` are a user's own rows."""
    said = statements(failure, log, evidence)
    operator = _operator(failure, log)
    found = _yielding(matches(said, (*extra_rules, *table()), operator), said)
    gaps = tuple(item.gap for item in evidence if item.gap)
    other = earlier_failure(failure, log, evidence)
    if other is not None and (not found or found[0].score < WEAK) and not _own_cause(found):
        return dataclasses.replace(_blamed(other, found, said), evidence_gaps=gaps)
    if _breaks_off(said, log) and (not found or found[0].score < OWN):
        return dataclasses.replace(_vanished(log, failure), evidence_gaps=gaps)
    if not found or found[0].score < ANSWERED:
        return dataclasses.replace(_unknown(found, said, failure, evidence), evidence_gaps=gaps)
    return dataclasses.replace(_answer(found, said, failure, operator), evidence_gaps=gaps)


def _yielding(found: list[Match], said: Sequence[Statement]) -> list[Match]:
    """The matches with the cause first: an end that often is a consequence yields to what explains it."""
    if not found or not found[0].signature.follows:
        return found
    before = _before_the_end(said)
    cause = next((match for match in found[1:] if _explains(match, found[0], before)), None)
    return [cause, *(match for match in found if match is not cause)] if cause is not None else found


def _explains(match: Match, end: Match, before: Sequence[Statement]) -> bool:
    """Whether a trouble that was told earlier is what the end follows from: the nearer, the less sure it need be."""
    place, strength, weight = match.statement.place, match.signature.strength, match.statement.weight
    if place in ("exception", "verdict", "echo") or match.signature.category in (end.signature.category, "unknown"):
        return False
    if strength >= USUAL and weight >= WEIGHTS["warning" if strength >= DEFINITE else "error"]:
        return True
    if match.statement not in before:
        return False
    bound = OPEN if strength >= DEFINITE else VAGUE
    vague = end.signature.strength < bound or match.signature.name.startswith("http.")
    if strength >= USUAL and weight >= WEIGHTS["warning"] * RECOVERED and vague:
        return True
    return strength >= HINT and weight >= WEIGHTS["warning"] and end.signature.strength < OPEN


def _before_the_end(said: Sequence[Statement]) -> Sequence[Statement]:
    """The last things the log says before it tells that the task failed."""
    told = [one for one in said if one.source == "task_log"]
    end = next((n for n, one in enumerate(told) if "Task failed with exception" in one.text), 0)
    return told[max(0, end - NEAR) : end]


# --- the answer ---


def _answer(found: list[Match], said: list[Statement], failure: TaskFailure | None, operator: str) -> Diagnosis:
    best = found[0]
    category = Category(best.signature.category)
    values = captured.values(best, said, failure)
    passing = wording.transience(best)
    rerun = wording.rerun(category, best.signature.name, passing, operator)
    confidence, why = _confidence(found)
    return Diagnosis(
        category=category,
        root_cause=wording.sentence(best.signature.cause, values),
        root_cause_task=failure.key.task_id if failure is not None else "",
        transience=passing,
        rerun_is_safe=rerun.safe,
        rerun_is_safe_why=rerun.why,
        confidence=confidence,
        confidence_why=why,
        evidence=_quotes(found, said),
        next_steps=wording.steps(best, values),
    )


def _confidence(found: list[Match]) -> tuple[float, str]:
    """The score of the best match, less where another category comes close."""
    best = found[0]
    rival = next((match for match in found[1:] if match.signature.category != best.signature.category), None)
    close = rival is not None and rival.signature.strength >= 40 and best.score - rival.score < 6
    confidence = min(0.95, best.score / 100) - (0.1 if close else 0.0)
    why = _PLACES[best.statement.place]
    if best.signature.strength < 60:
        why += " Such words often are a consequence of something that the log does not show."
    if close and rival is not None:
        why += f" It could also be {rival.signature.category} ({rival.signature.name})."
    return round(max(confidence, 0.1), 2), why


_PLACES: Mapping[str, str] = {
    "exception": "The exception that ended the task says so.",
    "verdict": "The platform's own record says so.",
    "redshift": "Redshift's own record says so.",
    "lambda_errors": "The Lambda function's log says so.",
    "evidence": "Collected evidence says so.",
    "error": "An error logged before the end says so.",
    "warning": "A warning before the end explains what followed.",
    "output": "The output of the program that the task ran says so.",
    "info": "A line before the end says so; the error at the end is less specific.",
    "echo": "Only the command or query itself hints at it.",
}


def _quotes(found: list[Match], said: list[Statement]) -> tuple[Quote, ...]:
    """What proves the cause, what ended the task where that is something else, and what else was said of the cause."""
    # Of the readings of one line the last is the line itself, which alone can be quoted.
    lines = {(one.source, one.line): one for one in said if one.link is None}.values()
    ended = next((match for match in found if match.statement.place in ("exception", "verdict")), None)
    shown = [found[0]] + ([ended] if ended is not None and ended.statement != found[0].statement else [])
    shown += itertools.islice((match for match in found[1:] if _bears_out(match, found[0])), 1)
    quotes = (wording.quote(match, lines) for match in shown)
    return tuple(dict.fromkeys(quote for quote in quotes if quote is not None))


def _bears_out(match: Match, cause: Match) -> bool:
    """Whether an earlier line tells more of the same kind of cause."""
    before = match.statement.place in ("error", "warning", "redshift", "lambda_errors")
    return before and match.signature.category == cause.signature.category and match.text not in cause.statement.text


def _unknown(
    found: list[Match], said: list[Statement], failure: TaskFailure | None, evidence: Sequence[Evidence]
) -> Diagnosis:
    """No cause in sight: what is known, and what would settle it."""
    last = next((statement for statement in reversed(said) if statement.place in ("exception", "verdict")), None)
    symptom = wording.sentence(found[0].signature.cause, found[0].values) if found else ""
    told = wording.printable(last.text) if last is not None else ""
    cause = symptom or (f"The task ended with {told}; nothing shows why." if told else "The log does not say why.")
    settle = ["Read the log of the job or program that the task started: the task log does not name the cause."]
    settle += [f"{item.source} could not be read: {item.cure}" for item in evidence if item.gap and item.cure]
    if not said:
        settle = ["Look at the worker and the scheduler at that time: the task left no log."]
    quotes = _quotes(found, said) if found else ()
    return Diagnosis(
        Category.UNKNOWN,
        cause,
        root_cause_task=failure.key.task_id if failure is not None else "",
        confidence=0.2,
        confidence_why="Only symptoms were found.",
        rerun_is_safe_why="The cause is not known.",
        evidence=quotes,
        next_steps=tuple(settle),
    )


# --- a log without an end ---

_STARTED = re.compile(
    r"Starting attempt \d|Executing <(?:Task|Mapped)|Running <TaskInstance|Worker startup|DAG bundles loaded"
)
_OVER = re.compile(
    r"exited with return code|Task failed|Marking task as|[Tt]raceback|Exception|Error|ERROR|CRITICAL|FATAL"
    r"|terminat|SIGTERM|[Ff]ailed|return code|exit code|upstream_failed"
)


def _breaks_off(said: list[Statement], log: TaskLog) -> bool:
    """Whether a task began to speak and then fell silent: neither an error nor an end."""
    lines = [statement.text for statement in said if statement.source == "task_log"]
    if len(lines) != len(said) or log.exceptions or not any(map(_STARTED.search, lines)):
        return False
    return not any(map(_OVER.search, lines))


def _vanished(log: TaskLog, failure: TaskFailure | None) -> Diagnosis:
    last = log.lines[-1]
    return Diagnosis(
        Category.INFRASTRUCTURE,
        "The log breaks off without an error and without an end: the task's process or its worker vanished.",
        root_cause_task=failure.key.task_id if failure is not None else "",
        transience="unknown",
        rerun_is_safe="unknown",
        rerun_is_safe_why="The task may have written part of its result before it vanished.",
        confidence=0.5,
        confidence_why="Inferred from what is missing; the platform's own records would settle it.",
        evidence=tuple(filter(None, (wording.line_quote(last.text, last.number),))),
        next_steps=(
            "Look at the worker's memory, replacement and scale-in, and at the scheduler's log for a lost heartbeat, "
            "at the time of the last line.",
        ),
    )


_OPERATOR = re.compile(r"<(?:Task|Mapped)\((\w{1,80})\)")


def _operator(failure: TaskFailure | None, log: TaskLog) -> str:
    if failure is not None and failure.operator:
        return failure.operator
    named = (found.group(1) for line in log.lines[:40] if (found := _OPERATOR.search(line.text)))
    return next(named, "")


# --- another task of the run ---

# Rows that name a defect of this task itself, however weak their strength, unless an input is missing.
_CAN_FOLLOW = re.compile(
    r"python\.(?:none|required_none|key|index|types|attribute|assertion|removed_api|system_exit)|"
    r"airflow\.(?:xcom|sensor_timeout|upstream|job|bash|trigger|check|no_rows|external)|"
    r"http\.(?:schema|400|404)|os\.(?:file_missing|config_file)|generic\.|frame\.(?:empty|corrupt|json)|s3\.|validate\.|sql\.aborted"
)


def _own_cause(found: list[Match]) -> bool:
    """Whether the best match is a defect of this task, and not what a missing input looks like."""
    if not found or found[0].score < OWN:
        return False
    nothing = re.search(r"\bNone\b|\bnull\b|NoneType", found[0].statement.text[:600])
    return nothing is None and not _CAN_FOLLOW.match(found[0].signature.name)


def _blamed(other: tuple[Mapping[str, Any], Quote | None], found: list[Match], said: list[Statement]) -> Diagnosis:
    """The task failed because another one had; that one's cause is not in sight here."""
    row, proof = other
    task = wording.printable(str(row.get("task_id", ""))) or "another task"
    symptom = found[0].signature.cause if found else ""
    shown = wording.sentence(symptom, found[0].values) if symptom else ""
    return Diagnosis(
        Category.UPSTREAM_FAILURE,
        f"Task {task} of the same run had failed before; this task only met the consequence.",
        root_cause_task=task,
        transience="unknown",
        rerun_is_safe="no",
        rerun_is_safe_why="It would work on the missing or old result of the failed task; clear that one first.",
        confidence=0.75,
        confidence_why="The run's states show the earlier failure." + (f" Here: {shown}" if shown else ""),
        evidence=tuple(filter(None, (proof, *(_quotes(found, said) if found else ())))),
        next_steps=(f"Diagnose {task} and clear it with its downstream tasks.",),
    )
