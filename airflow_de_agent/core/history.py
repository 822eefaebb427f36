"""What struck before: earlier incidents of one cause, with what cured them."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_de_agent.core.failure import TaskKey
from airflow_de_agent.core.incident import Store

HISTORY_SECONDS = 7 * 86400


def earlier(
    store: Store, fingerprint: str, key: TaskKey, *, now: float, incident_seconds: float
) -> tuple[Mapping[str, str], ...]:
    """`Diagnosis.similar` of a failure: incidents of the last seven days that were over, but its own, newest first.

    Raises:
        StoreError: the store cannot be reached.
    """
    found = []
    for incident in store.earlier_incidents(fingerprint, since=now - HISTORY_SECONDS):
        lead = store.get(incident.lead_id)
        over = incident.updated_at < now - incident_seconds
        if over and lead is not None and lead.failure.key != key:
            told = {"id": incident.id, "when": lead.failure.failed_at, "label": lead.failure.key.label}
            found.append(told | {"fixed_by": incident.fixed_by})
    return tuple(found)
