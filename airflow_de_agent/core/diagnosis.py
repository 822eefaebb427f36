"""The answer: what failed, why, how sure we are, what proves it, and what to do.

Rules kept here: every quote stands in the collected evidence, or `check_quotes` drops it and lowers the confidence;
the category is that of the root cause, not of the symptom.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from airflow_de_agent.core.evidence import Evidence


class Category(str, Enum):
    """Kinds of root cause. The value is what JSON and messages show."""

    CODE_ERROR = "code_error"
    MISSING_DEPENDENCY = "missing_dependency"
    CONFIGURATION = "configuration"
    AUTHENTICATION = "authentication"
    PERMISSIONS = "permissions"
    NETWORK = "network"
    MISSING_DATA = "missing_data"
    DATA_QUALITY = "data_quality"
    SQL_ERROR = "sql_error"
    LOCK_CONFLICT = "lock_conflict"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    EXTERNAL_SERVICE = "external_service"
    INFRASTRUCTURE = "infrastructure"
    UPSTREAM_FAILURE = "upstream_failure"
    DELIBERATE = "deliberate"
    UNKNOWN = "unknown"


class Quote(NamedTuple):
    """A verbatim piece of evidence: where it stands, and its line there (None where the source has no lines)."""

    source: str
    quote: str
    line: int | None = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """One answer.

    `transience` is ``permanent``, ``transient`` or ``unknown``; `rerun_is_safe` is ``yes``, ``no`` or ``unknown``;
    `confidence` lies in 0–1; `similar` holds earlier incidents (``{"id", "when", "label", "fixed_by"}``); `engine` is
    ``rules`` or ``gemini``; `seconds` is from the failure to this answer where the failure's time is known, else what
    the answer itself took; `tokens` are those a model charged, and `model_call` says of which model, prompt
    version, price (``cost_usd``, estimated) and finish.
    """

    category: Category
    root_cause: str
    root_cause_task: str = ""
    transience: str = "unknown"
    rerun_is_safe: str = "unknown"
    rerun_is_safe_why: str = ""
    confidence: float = 0.0
    confidence_why: str = ""
    evidence: tuple[Quote, ...] = ()
    evidence_gaps: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    similar: tuple[Mapping[str, str], ...] = ()
    engine: str = "rules"
    seconds: float = 0.0
    tokens: int = 0
    model_call: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether the agent did its work: it names a cause. One that is ``unknown`` counts as our failure."""
        return self.category is not Category.UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """Every field, as JSON types."""
        values = dataclasses.asdict(self)
        values["category"] = self.category.value
        values["evidence"] = [quote._asdict() for quote in self.evidence]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Diagnosis:
        """Read what `to_json` wrote; unknown names are ignored.

        Raises:
            ValueError: a field is absent or has a value that no diagnosis can have.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            fields = {name: value for name, value in values.items() if name in known}
            fields["category"] = Category(values["category"])
            fields["evidence"] = tuple(
                Quote(item["source"], item["quote"], item.get("line")) for item in values.get("evidence", ())
            )
            for name in ("evidence_gaps", "next_steps", "similar"):
                fields[name] = tuple(values.get(name, ()))
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as exc:
            raise ValueError(f"not a diagnosis: {type(exc).__name__}: {exc}") from exc


def check_quotes(diagnosis: Diagnosis, evidence: Iterable[Evidence]) -> Diagnosis:
    """Keep only the quotes that stand verbatim (white space apart) in the evidence of the source they name.

    Each dropped quote takes a fifth off the confidence, and the reason says so.
    """
    texts: dict[str, str] = {}
    for item in evidence:
        texts[item.source] = texts.get(item.source, "") + _squeezed("\n".join(line.text for line in item.lines))
    kept = tuple(quote for quote in diagnosis.evidence if _squeezed(quote.quote) in texts.get(quote.source, ""))
    dropped = len(diagnosis.evidence) - len(kept)
    if not dropped:
        return diagnosis
    why = f"{diagnosis.confidence_why} {dropped} quote(s) could not be found in the evidence and were dropped.".strip()
    return dataclasses.replace(
        diagnosis, evidence=kept, confidence=round(diagnosis.confidence * 0.8**dropped, 2), confidence_why=why
    )


def _squeezed(text: str) -> str:
    return "".join(text.split())
