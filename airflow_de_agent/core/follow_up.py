"""Questions in an incident's thread, answered from what is stored of it.

Rules kept here: nothing is made up and nobody is asked; what is shown is the stored diagnosis, or lines that stand in
the stored evidence; every text goes through `blocks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from airflow_de_agent.core import blocks
from airflow_de_agent.core.blocks import code, words
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.incident import Incident, Record
from airflow_de_agent.core.plain import last_cure, recovered, rerun_told, times_told
from airflow_de_agent.core.render import Message, details, when

_WORD = re.compile(r"[\w.]{3,60}")
_DULL = re.compile(
    r"the|and|was|were|did|does|has|had|for|not|are|but|any|all|can|could|should|would|this|that|what|which|when|where"
    r"|why|who|how|there|here|with|from|into|about|file|line|log|task|dag|please|show|tell|give|find|you"
)
_MOST = 8


def answer(question: str, record: Record, incident: Incident, evidence: Sequence[Evidence] = ()) -> Message:
    """What the stored diagnosis and its `evidence` say to a question; the whole diagnosis where no part fits."""
    told = [part for pattern, tell in _TOPICS if pattern.search(question) for part in tell(record, incident)]
    told += list(_lines_about(question, record, evidence))
    if not told:
        return details(record, incident)
    return Message(blocks.unescaped("\n".join(told)), blocks.fitted(map(blocks.section, told)), incident.id)


def _rerun(record: Record, incident: Incident) -> Iterator[str]:
    del incident
    why = record.diagnosis.rerun_is_safe_why
    yield f"*{rerun_told(record.diagnosis).capitalize()}*" + (f": {words(why, 300)}" if why else ".")


def _steps(record: Record, incident: Incident) -> Iterator[str]:
    yield from (f"*Next* {words(step, 400)}" for step in record.diagnosis.next_steps[:6])
    cure = last_cure(record.diagnosis)
    if incident.fixed_by:
        yield f"*Fixed by* {words(incident.fixed_by, 500)}"
    elif cure:
        yield f"*Last time fixed by* {words(cure, 500)}"


def _confidence(record: Record, incident: Incident) -> Iterator[str]:
    del incident
    diagnosis = record.diagnosis
    yield f"*{diagnosis.confidence:.0%} sure*: {words(diagnosis.confidence_why or 'no reason was given', 600)}"
    yield from (f"*Not read* {words(gap, 500)}" for gap in diagnosis.evidence_gaps[:6])


def _history(record: Record, incident: Incident) -> Iterator[str]:
    del incident
    yield f"{times_told(record.diagnosis)}."
    for earlier in record.diagnosis.similar[:6]:
        cure = f"; fixed by “{words(earlier['fixed_by'], 300)}”" if earlier.get("fixed_by") else ""
        yield f"{when(earlier.get('when', ''))} {words(earlier.get('label', ''), 250)}{cure}"


def _impact(record: Record, incident: Incident) -> Iterator[str]:
    downstream = record.failure.downstream_task_ids
    yield f"{incident.count:,} task instance{'s' if incident.count > 1 else ''} failed of this cause."
    if downstream:
        yield f"{len(downstream)} downstream tasks cannot run: {words(', '.join(downstream), 600)}"


def _proof(record: Record, incident: Incident) -> Iterator[str]:
    del incident
    for quote in record.diagnosis.evidence[:6]:
        line = f" line {quote.line}" if quote.line is not None else ""
        yield f"{words(quote.source, 60)}{line}: {code(quote.quote, 500)}"


def _times(record: Record, incident: Incident) -> Iterator[str]:
    failure, started = record.failure, when(record.failure.start_date)
    began = f", begun {started}" if failure.start_date else ""
    yield f"*Failed* {when(failure.failed_at)}{began}, try {failure.key.try_number}."
    yield f"*Run* {words(failure.key.run_id, 250)}"
    if incident.closed_at is not None:
        yield f"{recovered(incident)}."


def _people(record: Record, incident: Incident) -> Iterator[str]:
    del incident
    tags = f"; tags {words(', '.join(record.failure.tags), 300)}" if record.failure.tags else ""
    yield f"*Owner* {words(record.failure.owner or 'none is known', 250)}{tags}"


_TOPICS: tuple[tuple[re.Pattern[str], Callable[[Record, Incident], Iterator[str]]], ...] = (
    (re.compile(r"\bre-?run|\bre-?try|\bsafe\b|\bclear\b", re.IGNORECASE), _rerun),
    (re.compile(r"\bfix|\bhow (?:do|can|to|should)|\bnext\b|\bwhat (?:now|to do)|\bsolve", re.IGNORECASE), _steps),
    (re.compile(r"\bsure\b|\bcertain|\bconfiden|\bmissing\b|\bgaps?\b", re.IGNORECASE), _confidence),
    (re.compile(r"\bbefore\b|\bhistory|\bhow often|\bearlier|\blast time|\bagain\b", re.IGNORECASE), _history),
    (re.compile(r"\bimpact|\bdownstream|\bhow many|\baffect|\bwhat else", re.IGNORECASE), _impact),
    (re.compile(r"^(?:and |since )?when\b|\bwhat time\b|\bwhich run\b|\bhow long", re.IGNORECASE), _times),
    (re.compile(r"^who(?:se)?\b|\bowns?\b|\bowner", re.IGNORECASE), _people),
    (re.compile(r"\bproof|\bprove|\bevidence|\bquote|\bhow do you know", re.IGNORECASE), _proof),
)


def _lines_about(question: str, record: Record, evidence: Sequence[Evidence]) -> Iterator[str]:
    """Stored lines that share the question's telling words, the most telling ones first."""
    said = (word.lower().strip(".") for word in _WORD.findall(question[:1000]))
    asked = {word for word in said if not _DULL.fullmatch(word)}
    scored = []
    for number, (source, line) in enumerate(_stored_lines(record, evidence)):
        shared = sum(word in line.lower() for word in asked)
        if shared:
            scored.append((-shared, number, source, line))
    for _, _, source, line in sorted(scored)[:_MOST]:
        yield f"{source}: {code(line, 400)}"


def _stored_lines(record: Record, evidence: Sequence[Evidence]) -> Iterator[tuple[str, str]]:
    failure = record.failure
    yield from ((f"{words(item.source, 60)} line {line.number}", line.text) for item in evidence for line in item.lines)
    for exception in failure.exceptions:
        yield "exception", f"{exception.type}: {exception.message}"
    yield from (("log", line) for line in failure.log_tail.splitlines())
    for state in failure.run_state:
        yield "run state", f"{state.task_id} {state.state} try {state.try_number} {state.start_date} {state.end_date}"
    yield from (("field", f"{name} = {value}") for name, value in failure.fields.items())
