"""Diagnoses as messages: for Slack and for a terminal.

Rules kept here: everything that stems from a log, a template or a model is escaped, so that it can neither ping nor
link; a message always fits Slack's limits, by cutting.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.incident import Incident, Record

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}


@dataclasses.dataclass(frozen=True)
class Message:
    """A message: `text` for terminals, notifications and screen readers, `blocks` for Slack, `incident_id` its mark."""

    text: str
    blocks: tuple[dict[str, Any], ...]
    incident_id: str


def message(record: Record, incident: Incident) -> Message:
    """The message of an incident, told by the record that leads it."""
    text = plain(record, incident)
    head, _, rest = text.partition("\n")
    blocks = (_section(f"*{escaped(head)[:2900]}*"), _section(escaped(rest)[:2900] or "-"))
    return Message(text, blocks, incident.id)


def plain(record: Record, incident: Incident | None = None) -> str:
    """A diagnosis as text: the verdict first, then cause, proof, next steps and what could not be read."""
    diagnosis, failure = record.diagnosis, record.failure
    many = f" and {incident.count - 1} more task instances" if incident and incident.count > 1 else ""
    lines = [
        f"{failure.key.label}{many} failed: {diagnosis.root_cause}",
        _verdict(diagnosis),
        f"Run {failure.key.run_id}, try {failure.key.try_number}; answered after {diagnosis.seconds:.1f} s "
        f"by {diagnosis.engine}, confidence {diagnosis.confidence:.0%}. Diagnosis {record.id}",
    ]
    lines += [
        f"Proof ({q.source}{f' line {q.line}' if q.line else ''}): {_one_line(q.quote)}" for q in diagnosis.evidence
    ]
    lines += [f"Next: {step}" for step in diagnosis.next_steps]
    if failure.downstream_task_ids:
        lines.append(f"Downstream tasks that cannot run: {len(failure.downstream_task_ids)}")
    if diagnosis.similar:
        times = len(diagnosis.similar) + 1
        lines.append(f"{times}{_ORDINALS.get(times, 'th')} time in 7 days, last {diagnosis.similar[0]['when'][:16]}")
    lines += [f"Not read: {gap}" for gap in diagnosis.evidence_gaps]
    return "\n".join(lines)


def _verdict(diagnosis: Diagnosis) -> str:
    rerun = {"yes": "a rerun is safe", "no": "a rerun is not safe"}.get(diagnosis.rerun_is_safe, "rerun safety unknown")
    why = f" ({diagnosis.rerun_is_safe_why})" if diagnosis.rerun_is_safe_why else ""
    task = f"; the cause lies in task {diagnosis.root_cause_task}" if diagnosis.root_cause_task else ""
    return f"{diagnosis.category.value}, {diagnosis.transience}; {rerun}{why}{task}"


def seconds_since(failure: TaskFailure, now: float) -> float:
    """Seconds from the failure until `now` (Unix time); 0 when the failure's time cannot be read."""
    try:
        failed_at = datetime.datetime.fromisoformat(failure.failed_at.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    if failed_at.tzinfo is None:
        failed_at = failed_at.replace(tzinfo=datetime.timezone.utc)
    return round(max(now - failed_at.timestamp(), 0.0), 3)


def escaped(text: str) -> str:
    """Text that Slack shows as it is: no mention, link or entity can arise from it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
