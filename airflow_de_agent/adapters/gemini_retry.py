"""Tries again, within one deadline, what may succeed when tried again.

Rules kept here: only what is transient is tried again; the service's own word on when (RetryInfo, Retry-After) is
obeyed; nothing is begun that could not end before the deadline, and a call that hangs is left behind, not waited for.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable

from airflow_de_agent.core.reply import Reply

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 8.0
MOST_ATTEMPTS = 5


def with_retries(
    attempt: Callable[[float], Reply],
    *,
    deadline: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    random: Callable[[], float],
) -> Reply:
    """Call `attempt` with the seconds left until it answers, fails for good, or time or attempts are used up.

    Waits are exponential with full jitter: uniform between 0 and the step, so that hosts do not return in step.
    """
    tokens = (0, 0, 0)
    for number in range(1, MOST_ATTEMPTS + 1):
        reply = bounded(attempt, deadline - clock())
        tokens = (tokens[0] + reply.input_tokens, tokens[1] + reply.output_tokens, tokens[2] + reply.thinking_tokens)
        reply = dataclasses.replace(
            reply, attempts=number, input_tokens=tokens[0], output_tokens=tokens[1], thinking_tokens=tokens[2]
        )
        if not reply.transient or number == MOST_ATTEMPTS:
            return reply
        jitter = random() * min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (number - 1))
        wait = jitter if reply.retry_after is None else reply.retry_after + jitter
        if clock() + wait >= deadline:
            return dataclasses.replace(reply, problem=f"{reply.problem} No time was left to try again.")
        sleep(wait)
    raise AssertionError("unreachable: the last attempt returns")


def bounded(attempt: Callable[[float], Reply], seconds: float) -> Reply:
    """What `attempt` returns within the time; else a Reply that says it did not.

    The SDKs' timeout bounds each read, not the whole: a server that drips a byte a second holds them for ever. So the
    attempt runs in a thread of its own, which is left behind (a daemon: it keeps no process alive).
    """
    late = Reply(
        problem="no answer came before the deadline.", cure="raise [de_agent] deadline_seconds", transient=True
    )
    if seconds <= 0:
        return late
    answers: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(attempt(seconds)), name="gemini", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return late
