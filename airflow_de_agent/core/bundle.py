"""Everything that a diagnosis was made from, redacted, as one JSON value: to be shown, sent on, or replayed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.evidence import Evidence, Line
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.second_opinion import Exchange

_FORMAT = 1
KEPT_SECONDS = 30 * 86400


@dataclasses.dataclass(frozen=True)
class Bundle:
    """What `second_opinion` takes; `sent` is what went out and came back then, which a replay does not need."""

    failure: TaskFailure
    evidence: tuple[Evidence, ...]
    rules_diagnosis: Diagnosis
    sent: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return {
            "format": _FORMAT,
            "failure": self.failure.to_json(),
            "evidence": [dataclasses.asdict(item) for item in self.evidence],
            "rules_diagnosis": self.rules_diagnosis.to_json(),
            "sent": [dict(item) for item in self.sent],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Bundle:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is no bundle, or of a newer format.
        """
        if not isinstance(values, Mapping) or values.get("format") != _FORMAT:
            raise ValueError(f"not a bundle of format {_FORMAT}")
        try:
            evidence = tuple(_evidence(item) for item in values["evidence"])
            failure, rules = TaskFailure.from_json(values["failure"]), Diagnosis.from_json(values["rules_diagnosis"])
            return cls(failure, evidence, rules, tuple(values.get("sent", ())))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a bundle: {type(exc).__name__}: {exc}") from exc


def kept_as(diagnosis_id: str) -> str:
    """The key under which a store keeps the bundle of a diagnosis, for `KEPT_SECONDS`."""
    return f"bundle-{diagnosis_id}"


def sent(exchanges: tuple[Exchange, ...]) -> tuple[dict[str, Any], ...]:
    """What went to the model and what came back, word for word."""
    return tuple(
        {
            "system": exchange.prompt.system,
            "text": exchange.prompt.text,
            "prompt_version": exchange.prompt.version,
            "reply": dataclasses.asdict(exchange.reply),
        }
        for exchange in exchanges
    )


def _evidence(values: Mapping[str, Any]) -> Evidence:
    # JSON has turned each line into a list of two
    lines = tuple(Line(int(number), str(text)) for number, text in values.get("lines", ()))
    return Evidence(**{**values, "lines": lines, "rows": tuple(values.get("rows", ()))})
