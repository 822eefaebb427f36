"""What may stop a call to a model before it is made: the day's budget over all hosts, and a circuit that is open.

Rules kept here: tokens are reserved before a call and settled after it, so that hosts that call at once see each
other; a counter out of reach stops no call; a refusal is a `Reply` that says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from airflow_de_agent.core.errors import StoreError
from airflow_de_agent.core.prompt import Prompt
from airflow_de_agent.core.reply import Reply
from airflow_de_agent.core.second_opinion import Complete


class Counter(Protocol):
    """Adds to a shared counter, atomically over all hosts, and gives its new value; `expires_at` is Unix time."""

    def __call__(self, name: str, amount: int, *, expires_at: float) -> int:
        """The value after adding."""


@dataclasses.dataclass(frozen=True)
class DailyBudget:
    """`complete`, as long as today's calls and tokens allow. `None` or 0 is no limit; `now` gives Unix time in UTC."""

    complete: Complete
    add: Counter
    now: Callable[[], float]
    tokens: int | None = None
    calls: int | None = None

    def __call__(self, prompt: Prompt, schema: Mapping[str, Any], *, deadline: float, max_output_tokens: int) -> Reply:
        """Reserve what the prompt will cost, call, and settle with what was charged."""
        reserved = prompt.tokens
        refusal = self._reserve(reserved)
        if refusal:
            return Reply(problem=refusal, cure="raise [de_agent] daily_token_budget, or wait for midnight UTC")
        reply = self.complete(prompt, schema, deadline=deadline, max_output_tokens=max_output_tokens)
        # a reply that tells no tokens, of a service that answered, is charged as its prompt was estimated
        charged = reply.tokens or (reserved if reply.finish else 0)
        self._count("tokens", charged - reserved)
        return reply

    def _reserve(self, tokens: int) -> str:
        if self.calls and self._count("calls", 1) > self.calls:
            return f"today's {self.calls:,} calls are used up."
        if self.tokens and self._count("tokens", tokens) > self.tokens:
            self._count("tokens", -tokens)
            return f"today's {self.tokens:,} tokens are used up."
        return ""

    def _count(self, what: str, amount: int) -> int:
        day = int(self.now() // 86400)
        if what == "tokens" and not self.tokens:
            return 0
        try:
            return self.add(f"gemini-{what}-{day}", amount, expires_at=(day + 2) * 86400.0)
        except StoreError:
            return 0


@dataclasses.dataclass
class Circuit:
    """`complete`, until it has failed several times in a row: then refused for a while, and said so.

    After the rest one call is let through; `clock` is monotonic, in seconds. One process, one circuit.
    """

    complete: Complete
    clock: Callable[[], float]
    failures: int = 3
    rest: float = 120.0
    _failed: int = 0
    _opened_at: float = 0.0
    _last: str = ""

    def __call__(self, prompt: Prompt, schema: Mapping[str, Any], *, deadline: float, max_output_tokens: int) -> Reply:
        """Call unless the circuit is open. A service that answers, be it nothing, has not failed."""
        left = self._opened_at + self.rest - self.clock()
        if self._failed >= self.failures and left > 0:
            why = f"not asked, since it failed {self._failed} times in a row (last: {self._last.rstrip('.')})."
            return Reply(problem=f"{why} Asked again in {left:.0f} s.")
        reply = self.complete(prompt, schema, deadline=deadline, max_output_tokens=max_output_tokens)
        if reply.finish or not reply.problem:
            self._failed = 0
        else:
            self._failed, self._opened_at, self._last = self._failed + 1, self.clock(), reply.problem
        return reply
