"""`de-agent report`: what failed, how well it was diagnosed, and how soon it recovered."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_de_agent.core.blocks import unescaped, words
from airflow_de_agent.core.incident import Incident, Record, Store
from airflow_de_agent.core.listing import listed
from airflow_de_agent.core.plain import duration, spaced
from airflow_de_agent.core.render import Message
from airflow_de_agent.settings import Settings

MOST_RECORDS = 10_000
_SPAN = re.compile(r"(\d{1,4})([hdw])")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A cause that struck: how often, where first, and what cured it."""

    root_cause: str
    category: str
    label: str
    incidents: int
    task_instances: int
    fixed_by: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """Figures of a span of time (Unix seconds). Times to something are in seconds, None where nothing was measured.

    `recovery_helped` is over incidents that more people called helpful than not, `recovery_not_helped` over the rest.
    """

    since: float
    until: float
    diagnoses: int
    succeeded: int
    failed: int
    by_category: dict[str, int]
    incidents: int
    task_instances: int
    recovered: int
    helpful: int
    not_helpful: int
    fixes_noted: int
    tokens: int
    cost_usd: float
    diagnosis_median: float | None
    diagnosis_p95: float | None
    recovery_helped: float | None
    recovery_not_helped: float | None
    patterns: tuple[Pattern, ...]

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON types."""
        return dataclasses.asdict(self)


def of_store(store: Store, *, since: float, until: float) -> Report:
    """The figures of a span of time.

    Raises:
        StoreError: the store cannot be reached.
    """
    records = [r for r in store.recent(limit=MOST_RECORDS, since=since) if r.diagnosed_at <= until]
    incidents = [i for i in store.incidents(since=since) if i.opened_at <= until]
    leads = {record.id: record for record in records}
    leads |= {i.lead_id: lead for i in incidents if i.lead_id not in leads and (lead := store.get(i.lead_id))}
    seconds = sorted(record.diagnosis.seconds for record in records if record.diagnosis.seconds > 0)
    succeeded = sum(record.diagnosis.succeeded for record in records)
    return Report(
        since=since,
        until=until,
        diagnoses=len(records),
        succeeded=succeeded,
        failed=len(records) - succeeded,
        by_category=dict(Counter(record.diagnosis.category.value for record in records).most_common()),
        incidents=len(incidents),
        task_instances=sum(incident.count for incident in incidents),
        recovered=sum(incident.closed_at is not None for incident in incidents),
        helpful=sum(incident.helpful for incident in incidents),
        not_helpful=sum(incident.not_helpful for incident in incidents),
        fixes_noted=sum(bool(incident.fixed_by) for incident in incidents),
        tokens=sum(record.diagnosis.tokens for record in records),
        cost_usd=round(sum(_cost(record) for record in records), 4),
        diagnosis_median=_quantile(seconds, 0.5),
        diagnosis_p95=_quantile(seconds, 0.95),
        recovery_helped=_recovery(i for i in incidents if i.helpful > i.not_helpful),
        recovery_not_helped=_recovery(i for i in incidents if i.helpful <= i.not_helpful),
        patterns=_patterns(incidents, leads),
    )


def counters(records: Sequence[Record]) -> dict[str, float]:
    """The counters of diagnoses for metrics, by name; those without a category are there also where nothing failed."""
    succeeded = sum(record.diagnosis.succeeded for record in records)
    kinds = Counter(f"Diagnosed_{record.diagnosis.category.value}" for record in records)
    return {
        "DiagnosesSucceeded": succeeded,
        "DiagnosesFailed": len(records) - succeeded,
        "Tokens": sum(record.diagnosis.tokens for record in records),
        "CostUsd": sum(_cost(record) for record in records),
        **kinds,
    }


def _cost(record: Record) -> float:
    cost = record.diagnosis.model_call.get("cost_usd")
    return float(cost) if isinstance(cost, (int, float)) else 0.0


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3) if ordered else None


def _recovery(incidents: Iterable[Incident]) -> float | None:
    spans = [i.closed_at - i.opened_at for i in incidents if i.closed_at is not None]
    return round(statistics.median(spans), 3) if spans else None


def _patterns(incidents: Sequence[Incident], leads: dict[str, Record], most: int = 10) -> tuple[Pattern, ...]:
    by_cause: dict[str, list[Incident]] = {}
    for incident in incidents:
        by_cause.setdefault(incident.fingerprint, []).append(incident)
    ranked = sorted(by_cause.values(), key=lambda same: (-sum(i.count for i in same), same[0].id))
    return tuple(_pattern(same, leads[same[0].lead_id]) for same in ranked[:most] if same[0].lead_id in leads)


def _pattern(same: Sequence[Incident], lead: Record) -> Pattern:
    return Pattern(
        lead.diagnosis.root_cause,
        lead.diagnosis.category.value,
        lead.failure.key.label,
        len(same),
        sum(incident.count for incident in same),
        next((incident.fixed_by for incident in same if incident.fixed_by), ""),
    )


def message(report: Report) -> Message:
    """The report for Slack."""
    return listed(_title(report), _lines(report), most=30)


def text(report: Report) -> str:
    """The report for a terminal."""
    return unescaped("\n".join([_title(report), *_lines(report)]))


def _title(report: Report) -> str:
    return f"DE-Agent report, {duration(report.until - report.since)} until {_day(report.until)}"


def _lines(report: Report) -> list[str]:
    if not report.incidents and not report.diagnoses:
        return ["No failure was diagnosed."]
    kinds = ", ".join(f"{spaced(name)} {count:,}" for name, count in report.by_category.items())
    lines = [
        f"{_counted(report.task_instances, 'failed task instance')} in {_counted(report.incidents, 'incident')}, "
        f"{report.recovered:,} recovered",
        *_measured(report),
        f"Feedback: {report.helpful:,} helpful, {report.not_helpful:,} not; "
        f"{_counted(report.fixes_noted, 'cure')} noted",
    ]
    lines += [f"Model: {report.tokens:,} tokens, about {report.cost_usd:.2f} USD"] * bool(report.tokens)
    lines += [f"Kinds: {kinds}"] * bool(kinds)
    return lines + [_pattern_line(pattern) for pattern in report.patterns]


def _measured(report: Report) -> Iterator[str]:
    """The diagnoses, and the times of which there are any."""
    if report.diagnoses:
        found = f"cause found {report.succeeded:,} ({report.succeeded / report.diagnoses:.0%})"
        yield f"{report.diagnoses:,} diagnoses: {found}, not found {report.failed:,}"
    if report.diagnosis_median is not None:
        yield f"Time to diagnosis: median {_told(report.diagnosis_median)}, 95 % within {_told(report.diagnosis_p95)}"
    if report.recovery_helped is not None or report.recovery_not_helped is not None:
        yield (
            f"Time to recovery: median {_told(report.recovery_helped)} with a helpful diagnosis, "
            f"{_told(report.recovery_not_helped)} without"
        )


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _pattern_line(pattern: Pattern) -> str:
    cure = f"; fixed by “{words(pattern.fixed_by, 120)}”" if pattern.fixed_by else ""
    return (
        f"{pattern.task_instances:,}× {words(pattern.root_cause, 160)} "
        f"({words(spaced(pattern.category), 30)}, {words(pattern.label, 120)}){cure}"
    )


def _told(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """The options of the command."""
    sub.add_argument("--since", type=span_seconds, default=7 * 86400.0, metavar="7d", help="how far back: 24h, 7d, 4w")
    sub.add_argument("--format", choices=("text", "json"), default="text")
    sub.add_argument("--channel", default="", metavar="#CHANNEL", help="post it to this Slack channel too")


def span_seconds(text: str) -> float:
    """Seconds of a span such as ``24h``, ``7d`` or ``4w``.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    if not found or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time such as 24h, 7d or 4w")
    return int(found[1]) * {"h": 3600.0, "d": 86400.0, "w": 604_800.0}[found[2]]


def run(arguments: argparse.Namespace, settings: Settings, connections: Mapping[str, Any] | None = None) -> int:
    """Print the report, and post it where a channel is named; `connections` are the host's.

    Raises:
        StoreError: the store cannot be reached.
        SettingsError: a channel is named and there is no token for Slack.
        SlackError: Slack did not take it.
    """
    from airflow_de_agent import bootstrap

    now, parts = time.time(), bootstrap.Parts(settings, connections)
    report = of_store(parts.store(), since=now - arguments.since, until=now)
    print(json.dumps(report.to_json(), indent=1) if arguments.format == "json" else text(report))
    if arguments.channel:
        parts.slack().post(message(report), arguments.channel, look_first=False)
    return 0
