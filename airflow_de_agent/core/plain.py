"""Diagnoses in plain words, for terminals, notifications and screen readers: the verdict first."""

from __future__ import annotations

from typing import NamedTuple

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.failure_text import run_shown
from airflow_de_agent.core.incident import Incident, Record
from airflow_de_agent.core.moment import moment

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


class Verdict(NamedTuple):
    """What to do, in a word, and its sign."""

    word: str
    emoji: str


ACT, RERUN, WAIT, ELSEWHERE = (
    Verdict("Act now", ":rotating_light:"),
    Verdict("Rerun is safe", ":arrows_counterclockwise:"),
    Verdict("Wait", ":hourglass_flowing_sand:"),
    Verdict("Not yours", ":arrow_upper_right:"),
)


def verdict(diagnosis: Diagnosis) -> Verdict:
    """Act now, rerun, wait, or leave it to somebody else."""
    if diagnosis.category in (Category.UPSTREAM_FAILURE, Category.DELIBERATE):
        return ELSEWHERE
    if diagnosis.rerun_is_safe == "yes" and diagnosis.transience != "permanent":
        return RERUN
    return WAIT if diagnosis.transience == "transient" else ACT


def kind(diagnosis: Diagnosis) -> str:
    """Of which kind a failure is, and whether it passes by itself where that is known."""
    passes = "" if diagnosis.transience == "unknown" else f", {diagnosis.transience}"
    return f"{spaced(diagnosis.category.value)}{passes}"


def spaced(category: str) -> str:
    """The name of a category as people read it."""
    return category.replace("_", " ")


def rerun_told(diagnosis: Diagnosis) -> str:
    """Whether a rerun is safe, in words."""
    known = {"yes": "a rerun is safe", "no": "a rerun is not safe"}
    return known.get(diagnosis.rerun_is_safe, "whether a rerun is safe is not known")


def others(incident: Incident | None) -> str:
    """How many task instances joined the first."""
    more = incident.count - 1 if incident else 0
    return f" and {more:,} more task instance{'s' if more > 1 else ''}" if more > 0 else ""


def recovered(incident: Incident) -> str:
    """That a closed incident is over, and how long it took."""
    return f"Recovered after {duration((incident.closed_at or incident.opened_at) - incident.opened_at)}"


def times_told(diagnosis: Diagnosis) -> str:
    """How often this cause has struck."""
    times = len(diagnosis.similar) + 1
    ending = "th" if times % 100 in (11, 12, 13) else _ORDINALS.get(times % 10, "th")
    return f"{times}{ending} time in 7 days"


def last_cure(diagnosis: Diagnosis) -> str:
    """What a person noted as the cure of an earlier incident; empty where nobody did."""
    return next((str(earlier["fixed_by"]) for earlier in diagnosis.similar if earlier.get("fixed_by")), "")


def plain(record: Record, incident: Incident | None = None) -> str:
    """A diagnosis as text: the verdict first, then cause, proof, next steps and what could not be read."""
    diagnosis, failure = record.diagnosis, record.failure
    lines = [
        _plain_headline(record, incident),
        _plain_verdict(record),
        _plain_answered(record),
    ]
    lines += [
        f"Proof ({q.source}{f' line {q.line}' if q.line is not None else ''}): {_one_line(q.quote)}"
        for q in diagnosis.evidence
    ]
    lines += [f"Next: {_one_line(step)}" for step in diagnosis.next_steps]
    if failure.downstream_task_ids:
        lines.append(f"Downstream tasks that cannot run: {len(failure.downstream_task_ids)}")
    if diagnosis.similar:
        cure = last_cure(diagnosis)
        fixed = f"; fixed by: {_one_line(cure)}" if cure else ""
        lines.append(
            f"{times_told(diagnosis)}, last {diagnosis.similar[0].get('when', '')[:16].replace('T', ' ')}{fixed}"
        )
    if incident is not None and incident.fixed_by:
        lines.append(f"Fixed by: {_one_line(incident.fixed_by)}")
    lines += [f"Not read: {_one_line(gap, 1000)}" for gap in diagnosis.evidence_gaps]
    return "\n".join(lines)


def _plain_headline(record: Record, incident: Incident | None) -> str:
    label, cause = record.failure.key.label, _one_line(record.diagnosis.root_cause)
    if incident is not None and incident.closed_at is not None:
        return f"{recovered(incident)}: {label}{others(incident)} failed: {cause}"
    return f"{verdict(record.diagnosis).word}: {label}{others(incident)} failed: {cause}"


def _plain_verdict(record: Record) -> str:
    diagnosis, own = record.diagnosis, record.failure.key.task_id
    why = f" ({_one_line(diagnosis.rerun_is_safe_why)})" if diagnosis.rerun_is_safe_why else ""
    elsewhere = diagnosis.root_cause_task not in ("", own)
    task = f"; the cause lies in task {diagnosis.root_cause_task}" if elsewhere else ""
    return f"{kind(diagnosis)}; {rerun_told(diagnosis)}{why}{task}"


def _plain_answered(record: Record) -> str:
    """Which try, who answered, how sure; the id only where `show` would find it."""
    key, diagnosis = record.failure.key, record.diagnosis
    which = f"Run {run_shown(key.run_id)}, try {key.try_number}" if key.run_id else f"Try {key.try_number}"
    stored = f" Diagnosis {record.id}" if record.diagnosed_at else ""
    return (
        f"{which}; answered after {diagnosis.seconds:.1f} s by {diagnosis.engine}, "
        f"confidence {diagnosis.confidence:.0%}.{stored}"
    )


def duration(seconds: float) -> str:
    """A span of time as people say it."""
    for unit, size, until in (("s", 1, 60), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{max(seconds, 0) / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def seconds_since(failure: TaskFailure, now: float) -> float:
    """Seconds from the failure until `now` (Unix time); 0 when the failure's time cannot be read."""
    failed_at = moment(failure.failed_at)
    return 0.0 if failed_at is None else round(max(now - failed_at, 0.0), 3)


def _one_line(text: str, limit: int = 500) -> str:
    return " ".join(text.split())[:limit]
