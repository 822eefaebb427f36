"""What a model's service said, or why it said nothing: a value, never an exception.

Rules kept here: `problem` and `cure` are our own sentences, so no key, header or body of the service enters them.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Reply:
    """The answer of one `complete` call, its retries included.

    `text` is the model's text, empty when there is none; then `problem` says why in one sentence and `cure` what would
    mend it (a setting, a key). `finish` is the service's finish or block reason in lower case (``stop``,
    ``max_tokens``, ``safety``, …). `transient` says that the same call may succeed later, `retry_after` after how many
    seconds where the service said so. `seconds` is from the call to this value.
    """

    text: str = ""
    finish: str = ""
    problem: str = ""
    cure: str = ""
    transient: bool = False
    retry_after: float | None = None
    model: str = ""
    sdk: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    seconds: float = 0.0
    attempts: int = 0

    @property
    def tokens(self) -> int:
        """All tokens that are charged."""
        return self.input_tokens + self.output_tokens + self.thinking_tokens

    @property
    def gap(self) -> str:
        """One sentence for `evidence_gaps`; empty when there is a text."""
        if not self.problem:
            return ""
        return f"gemini: {self.problem}" + (f" Cure: {self.cure}" if self.cure else "")


# USD per million tokens (input, output and thinking), each valid until the day before the date; Google's price page
# of 2026-10.
_PRICES = {
    "gemini-3.8-flash": (("2027-01-01", 0.75, 3.75), ("", 1.50, 7.50)),
    "gemini-3.6-flash": (("", 1.50, 7.50),),
    "gemini-3.5-flash-lite": (("", 0.30, 2.50),),
    "gemini-3.1-pro": (("", 2.00, 12.00),),
}


def cost_usd(reply: Reply, day: str) -> float | None:
    """The estimated price of a reply in US dollars on a day (``YYYY-MM-DD``); None where no price is known."""
    for name, periods in _PRICES.items():
        if reply.model.startswith(name):
            per_input, per_output = next((i, o) for end, i, o in periods if not end or day < end)
            output = reply.output_tokens + reply.thinking_tokens
            return round((reply.input_tokens * per_input + output * per_output) / 1e6, 6)
    return None
