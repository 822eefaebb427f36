"""Diagnoses as messages: for Slack and for a terminal.

Rules kept here: the first line is the verdict; the message is short, its thread holds the rest; every text that stems
from a log, a template, a model or a person goes through `blocks`, so that it can neither ping, link nor overflow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from airflow_de_agent.core import blocks
from airflow_de_agent.core.blocks import Block, code, escaped, link, words
from airflow_de_agent.core.diagnosis import Diagnosis, Quote
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.failure_text import run_shown
from airflow_de_agent.core.incident import Incident, Record
from airflow_de_agent.core.plain import (
    kind,
    last_cure,
    others,
    plain,
    recovered,
    rerun_told,
    seconds_since,
    spaced,
    times_told,
    verdict,
)

__all__ = ["Message", "details", "escaped", "message", "plain", "seconds_since", "verdict"]

HELPFUL, NOT_HELPFUL, FIXED_BY, AGAIN, OPEN = (
    f"de_agent_{name}" for name in ("helpful", "not_helpful", "fixed_by", "again", "open")
)


@dataclasses.dataclass(frozen=True)
class Message:
    """A message: `text` for terminals, `blocks` for Slack, `incident_id` its mark."""

    text: str
    blocks: tuple[Block, ...]
    incident_id: str

    @property
    def fallback(self) -> str:
        """The text as Slack may have it, for notifications and screen readers."""
        return blocks.lines(self.text, blocks.FALLBACK)


def message(record: Record, incident: Incident, *, buttons: bool = True) -> Message:
    """The message of an incident, told by the record that leads it.

    `buttons` that ask something back need the companion Lambda; without it only the one that opens Airflow is shown.
    """
    diagnosis = record.diagnosis
    parts = [blocks.section(_headline(record, incident)), blocks.section("\n".join(_body(record, incident)))]
    parts.append(blocks.context(_about(record), *_history(diagnosis), *_first_gap(diagnosis)))
    row = _buttons(record, incident, asking=buttons)
    if row:
        parts.append(blocks.actions(f"de_agent:{incident.id}", row))
    return Message(plain(record, incident), blocks.fitted(parts), incident.id)


def _headline(record: Record, incident: Incident) -> str:
    said, label = verdict(record.diagnosis), words(record.failure.key.label, 250)
    cause = words(record.diagnosis.root_cause, 400)
    if incident.closed_at is not None:
        return f":white_check_mark: *{recovered(incident)}: {label}{others(incident)}*\n{cause}"
    back = " again" if incident.reopened else ""
    return f"{said.emoji} *{said.word}: {label}{others(incident)} failed{back}.* {cause}"


def _body(record: Record, incident: Incident) -> Iterator[str]:
    """Proof, what cured it, and what to do; of what is over nobody need be told what to do."""
    diagnosis = record.diagnosis
    yield from (_proof(quote, record.failure, 280) for quote in diagnosis.evidence[:1])
    if diagnosis.root_cause_task not in ("", record.failure.key.task_id):
        yield f"*Cause in* task {code(diagnosis.root_cause_task, 250)}"
    cure = last_cure(diagnosis)
    if incident.fixed_by:
        yield f"*Fixed by* {words(incident.fixed_by, 300)}"
    elif cure and incident.closed_at is None:
        yield f"*Last time fixed by* {words(cure, 300)}"
    if incident.closed_at is None:
        yield from _to_do(diagnosis)
    elif not diagnosis.evidence and not incident.fixed_by:
        yield "Its thread tells more."


def _to_do(diagnosis: Diagnosis) -> Iterator[str]:
    why = f": {words(diagnosis.rerun_is_safe_why, 200)}" if diagnosis.rerun_is_safe_why else "."
    yield f"*{rerun_told(diagnosis).capitalize()}*{why}"
    yield from (f"*Next* {words(step, 250)}" for step in diagnosis.next_steps[:2])


def _proof(quote: Quote, failure: TaskFailure, limit: int) -> str:
    where = words(quote.source, 60) + (f" line {quote.line}" if quote.line is not None else "")
    return f"*Proof* {link(failure.log_url, where)}: {code(quote.quote, limit)}"


def _about(record: Record) -> str:
    diagnosis, key = record.diagnosis, record.failure.key
    downstream = len(record.failure.downstream_task_ids)
    waits = f" · {downstream:,} downstream task{'s wait' if downstream > 1 else ' waits'}" if downstream else ""
    return (
        f"{kind(diagnosis)} · {diagnosis.confidence:.0%} sure{waits} · run "
        f"{words(run_shown(key.run_id), 250)}, try {key.try_number} · answered after {diagnosis.seconds:.1f} s by "
        f"{words(diagnosis.engine, 20)} · {record.id}"
    )


def _history(diagnosis: Diagnosis) -> list[str]:
    return (
        [f":repeat: {times_told(diagnosis)}, last {when(diagnosis.similar[0].get('when', ''))}"]
        if diagnosis.similar
        else []
    )


def when(time: str) -> str:
    """A time of ISO 8601 to the minute, as messages show it."""
    return words(time[:16].replace("T", " "), 16)


def _first_gap(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.evidence_gaps:
        return []
    more = len(diagnosis.evidence_gaps) - 1
    return [f"Not read: {words(diagnosis.evidence_gaps[0], 250)}" + (f" (and {more} more)" if more else "")]


def _buttons(record: Record, incident: Incident, *, asking: bool) -> Sequence[Block]:
    def counted(label: str, count: int) -> str:
        return f"{label} ({count})" if count else label

    row = []
    if asking:
        row += [
            blocks.button(counted("Helpful", incident.helpful), HELPFUL, incident.id),
            blocks.button(counted("Not helpful", incident.not_helpful), NOT_HELPFUL, incident.id),
            blocks.button("Fixed by …", FIXED_BY, incident.id),
            blocks.button("Diagnose again", AGAIN, incident.id),
        ]
    opens = blocks.open_button("Open in Airflow", OPEN, record.failure.log_url)
    return row + ([opens] if opens else [])


def details(record: Record, incident: Incident) -> Message:
    """What the message leaves out, for its thread."""
    diagnosis, failure = record.diagnosis, record.failure
    parts = [_proof(quote, failure, 500) for quote in diagnosis.evidence[:5]]
    parts += [f"*Next* {words(step, 400)}" for step in diagnosis.next_steps[:6]]
    sure = words(diagnosis.confidence_why, 600) if diagnosis.confidence_why else "no reason was given"
    parts.append(f"*{diagnosis.confidence:.0%} sure*: {sure}")
    parts += [f"*Not read* {words(gap, 500)}" for gap in diagnosis.evidence_gaps[:8]]
    parts += [_earlier(earlier) for earlier in diagnosis.similar[:5]]
    if incident.fixed_by:
        parts.append(f"*Fixed by* {words(incident.fixed_by, 500)}")
    if failure.downstream_task_ids:
        parts.append(f"*Downstream tasks that cannot run* {words(', '.join(failure.downstream_task_ids), 600)}")
    return Message(plain(record), blocks.fitted(map(blocks.section, parts)), incident.id)


def _earlier(earlier: Mapping[str, str]) -> str:
    cure = f"; fixed by “{words(earlier['fixed_by'], 300)}”" if earlier.get("fixed_by") else ""
    return f"*Before* {when(earlier.get('when', ''))} {words(earlier.get('label', ''), 250)}{cure}"


def entry(text: str, incident_id: str) -> Message:
    """A line of our own words (texts of others made safe already) for an incident's thread."""
    return Message(blocks.unescaped(text), (blocks.section(text),), incident_id)


def changed_entry(diagnosis: Diagnosis, before: str, incident_id: str) -> Message:
    """What to add to the thread when a closer look says otherwise than the first; `before` is the former category."""
    now = diagnosis.category.value
    instead = f"it is *{spaced(now)}*, not {spaced(words(before, 40))}. " if now != before else ""
    return entry(f":mag: After a closer look: {instead}{words(diagnosis.root_cause, 400)}", incident_id)


def growth_entry(incident: Incident, joined: Sequence[str]) -> Message:
    """What to add to the thread when an incident has grown notably, or tasks of further DAGs `joined`."""
    named = ", ".join(code(dag, 250) for dag in joined[:5])
    more = f" and {len(joined) - 5:,} more DAGs" if len(joined) > 5 else ""
    who = f", now in {named}{more} too" if joined else ""
    return entry(f":chart_with_upwards_trend: {incident.count:,} task instances have failed so far{who}.", incident.id)


def state_entry(incident: Incident) -> Message:
    """What to add to the thread when an incident has just recovered, or come back."""
    if incident.closed_at is not None:
        return entry(f":white_check_mark: {recovered(incident)}.", incident.id)
    return entry(f":repeat: It is back. {incident.count:,} task instances so far.", incident.id)
