"""What slipped through: the clock that does not depend on a next failure.

Spool entries whose drainer was killed, messages that Slack refused, failed task instances of which nothing told,
incidents that are over, the report of the week. Each is a step of its own: one that cannot be taken stops no other.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

from airflow_de_agent import drainer, host, weekly
from airflow_de_agent.bootstrap import Parts
from airflow_de_agent.core.errors import DeAgentError, HostError
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.recovery import close_recovered
from airflow_de_agent.settings import Settings
from airflow_de_agent.spool import Spool

SINCE_HOURS = 24


@dataclasses.dataclass
class Swept:
    """What a sweep did, and what it should have done and could not; a line each."""

    done: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)


def run(settings: Settings) -> Swept:
    """Sweep once."""
    swept = Swept()
    parts = Parts(settings)
    steps: tuple[Callable[[Parts], Iterator[str]], ...] = (_missed, _recovered, _handed_on, _reported)
    if host.is_here():
        from airflow_de_agent.airflow import compat

        compat.act_as_a_command()
    else:
        swept.done.append("no Airflow here, so no task instances were looked for")
        steps = (_worked_on, _reported)
    for step in steps:
        try:
            swept.done += step(parts)
        except (DeAgentError, OSError) as exc:
            expected = isinstance(exc, HostError) and exc.by_design
            lines = swept.done if expected else swept.failed
            lines += [] if str(exc) in lines else [str(exc)]
    return swept


def _missed(parts: Parts) -> Iterator[str]:
    """Put failures into the spool that nobody diagnosed; an entry for each run."""
    from airflow_de_agent.airflow import callback, metadata

    failures = metadata.recent_failures(SINCE_HOURS, parts.store().known)
    by_run: dict[tuple[str, str], list[TaskFailure]] = {}
    for failure in failures:
        by_run.setdefault(failure.key[:2], []).append(failure)
    for run_failures in by_run.values():
        callback.record_run(run_failures)
    yield f"{len(failures)} task instances failed within {SINCE_HOURS} hours and are not diagnosed yet; they will be"


def _recovered(parts: Parts) -> Iterator[str]:
    """Close what is over; the drainer shows it."""
    from airflow_de_agent.airflow.metadata import Metadata

    yield f"{len(close_recovered(parts.store(), Metadata(), time.time()))} incidents have recovered"


def _handed_on(parts: Parts) -> Iterator[str]:
    """Have the host's drainer work on the spool and on messages that are behind."""
    from airflow_de_agent.airflow import callback

    waiting = len(Spool(parts.settings.spool_path).pending())
    callback.see_to_it(parts.settings, in_task=True)  # the sweep's own task, or a command: either may take its time
    yield f"{waiting} entries were waiting and are worked on"


def _worked_on(parts: Parts) -> Iterator[str]:
    """Work on the spool here, where there is no Airflow."""
    waiting = len(Spool(parts.settings.spool_path).pending())
    drainer.drain_foreground(parts.settings)
    yield f"{waiting} entries were waiting and are worked on"


def _reported(parts: Parts) -> Iterator[str]:
    """Post the report of the week where the configuration says."""
    settings = parts.settings
    if settings.report_channel and weekly.post(
        parts.store(), lambda: Parts(settings, host.connections(settings)).slack(), settings.report_channel, time.time()
    ):
        yield f"the report of the week was posted to {settings.report_channel}"
