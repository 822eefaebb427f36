"""A model's opinion beside that of the rules: ask once, repair once, look further at most twice, then decide.

Rules kept here: there is always a diagnosis; nothing is begun that could not end before the deadline; whatever could
not be used is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from airflow_de_agent.core import prompt as prompts
from airflow_de_agent.core.answer import SCHEMA, SCHEMA_WITH_TOOLS, Answer, Unusable, parse
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.reply import Reply, cost_usd
from airflow_de_agent.core.tool_request import ToolRequest, grant
from airflow_de_agent.core.verdict import decide

OUTPUT_TOKENS = 8192  # thinking is charged as output; less than this and it can leave nothing for the answer


class Complete(Protocol):
    """Asks a model once (retries included) and never raises; `deadline` is on the caller's monotonic clock."""

    def __call__(self, prompt: Prompt, schema: Mapping[str, Any], *, deadline: float, max_output_tokens: int) -> Reply:
        """The reply to one prompt."""


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One question, word for word, and its reply."""

    prompt: Prompt
    reply: Reply


@dataclasses.dataclass(frozen=True)
class Opinion:
    """The diagnosis that stands, and what was sent and received on the way to it."""

    diagnosis: Diagnosis
    exchanges: tuple[Exchange, ...] = ()


def second_opinion(
    failure: TaskFailure,
    evidence: Iterable[Evidence],
    rules_diagnosis: Diagnosis,
    *,
    complete: Complete,
    deadline: float,
    clock: Callable[[], float],
    run_tool: Callable[[ToolRequest], Evidence] | None = None,
    tool_rounds: int = 2,
    budget: int = prompts.DEFAULT_BUDGET,
    today: str = "",
) -> Opinion:
    """Ask a model about a failure, and join its checked answer with the rules' diagnosis.

    `evidence` is redacted. `clock` and `deadline` are one monotonic clock, in seconds; `run_tool` obeys the same
    deadline. `today` (``YYYY-MM-DD``) prices the tokens.
    """
    session = _Session(failure, rules_diagnosis, complete, deadline, clock, budget)
    seen, asked, rounds = list(evidence), list[ToolRequest](), tool_rounds if run_tool else 0
    result = session.ask(seen, look=rounds > 0)
    best = result if isinstance(result, Answer) else None
    while run_tool and best and best.look_further and rounds > 0 and session.has_time:
        request = grant(*best.look_further, failure, session.exchanges[-1].prompt.evidence, asked=asked)
        if isinstance(request, Evidence):
            seen.append(request)
            break
        asked.append(request)
        seen.append(dataclasses.replace(run_tool(request), source=request.source))
        rounds -= 1
        result = session.ask(seen, look=rounds > 0)
        if not isinstance(result, Answer):
            break
        best = result
    diagnosis = decide(rules_diagnosis, best.diagnosis if best else None, session.exchanges[-1].prompt)
    return Opinion(_noted(diagnosis, result, seen, session.exchanges, today), tuple(session.exchanges))


@dataclasses.dataclass
class _Session:
    """One conversation within one deadline, with one repair."""

    failure: TaskFailure
    rules: Diagnosis
    complete: Complete
    deadline: float
    clock: Callable[[], float]
    budget: int
    repairs: int = 1
    exchanges: list[Exchange] = dataclasses.field(default_factory=list)

    @property
    def has_time(self) -> bool:
        """Whether a further answer may still come in time, if it takes as long as the last one."""
        return self.clock() + self.exchanges[-1].reply.seconds < self.deadline

    def ask(self, seen: Iterable[Evidence], *, look: bool) -> Answer | Unusable:
        seen = tuple(seen)
        result = self._once(seen, look, self.budget, OUTPUT_TOKENS, "")
        reply = self.exchanges[-1].reply
        if isinstance(result, Answer) or result.final or not reply.finish or not self.repairs or not self.has_time:
            return result
        self.repairs -= 1
        blocked = reply.finish not in ("stop", "max_tokens")
        # A blocked prompt would be blocked again: put half of it. A truncated answer needs more room.
        budget = self.budget // 2 if blocked else self.budget
        room = OUTPUT_TOKENS * 2 if reply.finish in ("max_tokens", "empty") else OUTPUT_TOKENS
        return self._once(seen, look, budget, room, "" if blocked else result.why)

    def _once(
        self, seen: tuple[Evidence, ...], look: bool, budget: int, room: int, complaint: str
    ) -> Answer | Unusable:
        prompt = prompts.build(
            self.failure, seen, self.rules, budget=budget, may_look_further=look, complaint=complaint
        )
        schema = SCHEMA_WITH_TOOLS if look else SCHEMA
        reply = self.complete(prompt, schema, deadline=self.deadline, max_output_tokens=room)
        self.exchanges.append(Exchange(prompt, reply))
        if not reply.text:
            return Unusable(reply.problem, final=not reply.finish)
        result = parse(reply.text, prompt)
        if isinstance(result, Unusable) and reply.finish == "max_tokens":
            return Unusable("it was cut off (MAX_TOKENS)")
        return result


def _noted(
    diagnosis: Diagnosis, last: Answer | Unusable, seen: Iterable[Evidence], exchanges: list[Exchange], today: str
) -> Diagnosis:
    """The diagnosis with its gaps, and with what the asking cost."""
    reply = exchanges[-1].reply
    gaps = list(diagnosis.evidence_gaps) + [item.gap for item in seen if item.gap]
    if isinstance(last, Unusable):
        gaps.append(reply.gap or f"gemini: the answer could not be used: {last.why}.")
    withheld = (source for source, _ in exchanges[-1].prompt.withheld if source != "rules_opinion")
    for source in dict.fromkeys(withheld):
        gaps.append(f"{source}: text that gives orders to its reader was withheld from the model.")
    return dataclasses.replace(
        diagnosis,
        evidence_gaps=tuple(dict.fromkeys(gaps)),
        tokens=sum(exchange.reply.tokens for exchange in exchanges),
        model_call=_model_call(exchanges, today),
    )


def _model_call(exchanges: list[Exchange], today: str) -> dict[str, Any]:
    replies = [exchange.reply for exchange in exchanges]
    costs = [cost_usd(reply, today) for reply in replies]
    return {
        "model": replies[-1].model,
        "sdk": replies[-1].sdk,
        "prompt_version": exchanges[-1].prompt.version,
        "finish": replies[-1].finish or "none",
        "calls": len(replies),
        "attempts": sum(reply.attempts for reply in replies),
        "input_tokens": sum(reply.input_tokens for reply in replies),
        "output_tokens": sum(reply.output_tokens for reply in replies),
        "thinking_tokens": sum(reply.thinking_tokens for reply in replies),
        "cost_usd": None if None in costs else round(sum(cost or 0.0 for cost in costs), 6),
        "seconds": round(sum(reply.seconds for reply in replies), 3),
    }
