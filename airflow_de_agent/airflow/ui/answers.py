"""Records as the plain dicts that the page reads. Every text in them is untrusted: the page shows it as text only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow_de_agent.core.diagnosis import Category
from airflow_de_agent.core.incident import Incident, Record

_SUMMARY = (
    "category",
    "root_cause",
    "root_cause_task",
    "transience",
    "rerun_is_safe",
    "confidence",
    "engine",
    "seconds",
)


def summary(record: Record) -> dict[str, Any]:
    """One line of a list: which try, what, how sure."""
    diagnosis = record.diagnosis.to_json()
    return _place(record) | {name: diagnosis[name] for name in _SUMMARY}


def full(record: Record, incident: Incident | None, similar: Sequence[dict[str, str]]) -> dict[str, Any]:
    """All that is known of one diagnosis; `similar` are the earlier incidents that the reader may see."""
    failure = record.failure
    return (
        _place(record)
        | record.diagnosis.to_json()
        | {
            "times": len(record.diagnosis.similar) + 1,
            "similar": list(similar),
            "incident_count": incident.count if incident else 1,
            "operator": failure.operator,
            "on_request": failure.source in ("ui", "cli"),
            "downstream_count": len(failure.downstream_task_ids),
        }
    )


def groups(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The records of one run by incident, earliest failure first; in each the root cause, then what it entailed."""
    incidents: dict[str, list[Record]] = {}
    for record in sorted(_latest_tries(records), key=_rank):
        incidents.setdefault(record.incident_id or record.id, []).append(record)
    ordered = sorted(incidents.values(), key=lambda members: min(m.failure.failed_at for m in members))
    return [{"lead": summary(members[0]), "symptoms": [summary(m) for m in members[1:]]} for members in ordered]


def _latest_tries(records: Iterable[Record]) -> Iterable[Record]:
    latest: dict[tuple[str, int], Record] = {}
    for record in records:
        key = record.failure.key
        known = latest.get((key.task_id, key.map_index))
        if known is None or known.failure.key.try_number < key.try_number:
            latest[key.task_id, key.map_index] = record
    return latest.values()


def _rank(record: Record) -> tuple[bool, str, str, int]:
    """Causes before symptoms, then by time, then by name."""
    key, diagnosis = record.failure.key, record.diagnosis
    elsewhere = diagnosis.root_cause_task not in ("", key.task_id)
    symptom = elsewhere or diagnosis.category is Category.UPSTREAM_FAILURE
    return symptom, record.failure.failed_at, key.task_id, key.map_index


def _place(record: Record) -> dict[str, Any]:
    times = {"failed_at": record.failure.failed_at, "diagnosed_at": record.diagnosed_at}
    return {"id": record.id, **record.failure.key._asdict(), "state": record.failure.state, **times}
