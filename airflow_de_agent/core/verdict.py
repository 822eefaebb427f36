"""Which diagnosis stands: that of the rules or that of a model, whose quotes have been checked.

Rules kept here: a model may overrule the rules only with quotes that hold, and never where the evidence tried to give
it orders; the more careful word on a rerun wins; what was not used is named.
"""

from __future__ import annotations

import dataclasses
import re

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.prompt import Prompt


def decide(rules: Diagnosis, model: Diagnosis | None, prompt: Prompt) -> Diagnosis:
    """Which of the two diagnoses stands, and how sure we are of it. `model` is checked, or None without an answer."""
    if model is None:
        return rules
    objection = _objection(model, rules, prompt)
    if objection:
        return _kept(rules, f"Gemini's answer ({model.category.value}) was not used: {objection}.")
    if model.category is rules.category:
        return _joined(rules, model, max(model.confidence, rules.confidence), "The offline rules agree.", prompt)
    if rules.category is Category.UNKNOWN:
        confidence = min(model.confidence, 0.6) if prompt.withheld else model.confidence
        return _joined(rules, model, confidence, "", prompt)
    doubt = f"The offline rules say {rules.category.value} ({rules.confidence:.2f})."
    return _joined(rules, model, model.confidence * (1 - 0.4 * rules.confidence), doubt, prompt)


def _objection(model: Diagnosis, rules: Diagnosis, prompt: Prompt) -> str:
    """Why the model's answer may not replace the rules'; empty when it may."""
    if _DENIAL.search(model.root_cause):
        return "it denies that the task failed"
    if model.category is Category.UNKNOWN:
        return "" if rules.category is Category.UNKNOWN else "it found the evidence insufficient"
    if not model.evidence:
        return "none of its quotes stands in the evidence"
    if not _fits(model.category, prompt):
        return "the evidence shows nothing of that kind"
    if model.category is rules.category or rules.category is Category.UNKNOWN:
        return ""
    if prompt.withheld:
        return "the evidence carries text that gives orders to its reader, so only a confirmation would count"
    return "" if model.confidence >= min(0.5, rules.confidence) else "too little of it is supported"


_DENIAL = re.compile(
    r"\b(?:everything|all|pipeline|task|system|run|it)\b.{0,20}\b(?:is|are|was|looks?|'s)\b.{0,10}"
    r"\b(?:fine|well|ok|okay|healthy|successful|good)\b"
    r"|\bno (?:action|error|problem|issue|failure)s?\b.{0,20}\b(?:needed|required|necessary|found|occurred|exists?)\b"
    r"|\bnothing (?:is |has |was )?(?:wrong|failed)\b|\b(?:succeeded|completed) (?:successfully|normally)\b[^,;]*$",
    re.IGNORECASE,
)

# Categories whose cause always leaves its name somewhere: without it, the category contradicts the evidence.
_SIGNS = {
    Category.OUT_OF_MEMORY: r"memory|heap|\boom|137|sigkill|killed|-9\b|\brss\b",
    Category.DISK_FULL: r"space|disk|enospc|quota|storage|volume",
    Category.LOCK_CONFLICT: r"lock|serializ|conflict|concurrent|1023",
    Category.RATE_LIMIT: r"429|throttl|rate|too many|slow ?down|limit",
    Category.UPSTREAM_FAILURE: r"upstream|xcom|external|depend|trigger|parent|child|previous|job|run_state|failed",
    Category.MISSING_DEPENDENCY: r"module|import|command|library|version|not found|package|no such|symbol|class",
}


def _fits(category: Category, prompt: Prompt) -> bool:
    sign = _SIGNS.get(category)
    text = "\n".join(line.text for item in prompt.evidence for line in item.lines)
    return sign is None or bool(re.search(sign, text, re.IGNORECASE))


def _joined(rules: Diagnosis, model: Diagnosis, confidence: float, why: str, prompt: Prompt) -> Diagnosis:
    rerun = _careful(rules.rerun_is_safe, model.rerun_is_safe, trusted=not prompt.withheld)
    return dataclasses.replace(
        model,
        root_cause_task=_known_task(model.root_cause_task, prompt) or rules.root_cause_task,
        transience=rules.transience if model.transience == "unknown" else model.transience,
        rerun_is_safe=rerun,
        rerun_is_safe_why=model.rerun_is_safe_why if rerun == model.rerun_is_safe else rules.rerun_is_safe_why,
        confidence=round(min(confidence, 0.97), 2),
        confidence_why=f"{model.confidence_why} {why}".strip(),
        evidence=model.evidence or rules.evidence,
        evidence_gaps=(*rules.evidence_gaps, *model.evidence_gaps),
        next_steps=model.next_steps or rules.next_steps,
        similar=rules.similar,
    )


def _careful(rules: str, model: str, *, trusted: bool) -> str:
    if "no" in (rules, model):
        return "no"
    return model if trusted and model != "unknown" else rules


def _known_task(task_id: str, prompt: Prompt) -> str:
    return task_id if task_id and re.search(rf"(?<![\w.-]){re.escape(task_id)}(?![\w-])", prompt.text) else ""


def _kept(rules: Diagnosis, why: str) -> Diagnosis:
    return dataclasses.replace(rules, confidence_why=f"{rules.confidence_why} {why}".strip())
