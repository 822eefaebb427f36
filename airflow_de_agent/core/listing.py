"""Lists as messages: failures, runs, log lines, help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airflow_de_agent.core import blocks
from airflow_de_agent.core.blocks import code, words
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.incident import Record
from airflow_de_agent.core.mention import COMMANDS
from airflow_de_agent.core.plain import verdict
from airflow_de_agent.core.render import Message, when

_MOST = 15


def said(text: str, *, incident_id: str = "") -> Message:
    """A sentence of our own; texts of others in it are safe already."""
    return Message(blocks.unescaped(text), (blocks.section(text),), incident_id)


def listed(title: str, lines: Sequence[str], *, most: int = _MOST) -> Message:
    """A title and some lines, each safe already."""
    more = [f"… and {len(lines) - most:,} more"] if len(lines) > most else []
    shown = [*lines[:most], *more]
    text = blocks.unescaped("\n".join([title, *shown]))
    return Message(text, blocks.fitted(map(blocks.section, [f"*{title}*", *shown])), "")


def help_text(suggestion: str = "") -> Message:
    """What can be asked."""
    lead = [f"I did not understand that. Did you mean {code(suggestion, 60)}?"] if suggestion else []
    lines = [f"{code(f'@DE-Agent {command}', 80)} {told}" for command, told in COMMANDS.items()]
    text = "\n".join([*lead, "What you can ask me:", *lines, "In the thread of an incident or of an answer, just ask."])
    return said(text)


def failures(records: Iterable[Record], hours: float) -> Message:
    """What failed lately, one line for each incident."""
    incidents: dict[str, list[Record]] = {}
    for record in records:
        incidents.setdefault(record.incident_id or record.id, []).append(record)
    if not incidents:
        return said(f"Nothing was diagnosed in the last {_span(hours)}.")
    lines = [_incident_line(members) for members in incidents.values()]
    return listed(f"{len(lines)} incident{'s' if len(lines) > 1 else ''} in the last {_span(hours)}", lines)


def _incident_line(members: Sequence[Record]) -> str:
    lead = members[-1]  # the list runs from new to old, and the first failure speaks for all
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    failed = when(lead.failure.failed_at)
    cause = words(lead.diagnosis.root_cause, 160)
    return f"{verdict(lead.diagnosis).emoji} {failed} {words(lead.failure.key.label, 200)}{more}: {cause}"


def runs(dag_id: str, evidence: Evidence, diagnosed: Mapping[str, Record]) -> Message:
    """A DAG's recent runs, and the tasks of its latest failed one; `diagnosed` are records by task id."""
    rows = evidence.rows
    lines = [_run_line(row) for row in rows if row.get("view") == "dag_run"][:5]
    failed = [row for row in rows if row.get("view") == "task_instance" and "failed" in str(row.get("state"))]
    for row in failed[:10]:
        known = diagnosed.get(str(row.get("task_id")))
        cause = f": {words(known.diagnosis.root_cause, 160)}" if known else ""
        lines.append(f":x: {words(str(row.get('task_id')), 200)} {words(str(row.get('state')), 30)}{cause}")
    lines += [f":warning: {words(str(row.get('filename')), 200)} cannot be read" for row in rows if "filename" in row]
    if evidence.gap:
        lines.append(f"Not read: {words(evidence.gap, 400)}")
    return listed(f"{words(dag_id, 250)}", lines or ["Airflow shows no run of it."])


def _run_line(row: Mapping[str, object]) -> str:
    sign = {"success": ":white_check_mark:", "failed": ":x:", "running": ":hourglass_flowing_sand:"}
    started = when(str(row.get("start_date") or ""))
    emoji = sign.get(str(row.get("state")), ":grey_question:")
    return f"{emoji} {words(str(row.get('run_id')), 250)} {words(str(row.get('state')), 30)}, started {started}"


def log_lines(title: str, evidence: Evidence) -> Message:
    """Lines of a log, letter by letter."""
    lines = [code(line.text, 400) for line in evidence.lines if line.text.strip()]
    if evidence.gap:
        lines.append(f"Not read: {words(evidence.gap, 400)}")
    return listed(title, lines or ["Nothing was found."], most=20)


def _span(hours: float) -> str:
    return f"{hours / 24:.0f} days" if hours > 48 else f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
