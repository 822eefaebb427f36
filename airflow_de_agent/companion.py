"""What the companion Lambda is made of, chosen from settings, environment and secrets."""

from __future__ import annotations

import time
from collections.abc import Callable

from airflow_de_agent.collect import Places, collect
from airflow_de_agent.core import offline
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.fingerprint import fingerprint
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.second_opinion import Complete, second_opinion

# what is kept of the time for an answer, so that a model may still be asked after the evidence is read
MODEL_SHARE = 0.5
Diagnose = Callable[[TaskFailure, float], tuple[Diagnosis, str]]


def diagnoser(places: Places, complete: Complete | None, log_token_budget: int) -> Diagnose:
    """A diagnosis from AWS alone: collect, distil, rules, and the model where there is one."""

    def diagnose(failure: TaskFailure, deadline: float) -> tuple[Diagnosis, str]:
        redact = Redactor().redact
        left = max(deadline - time.monotonic(), 1.0)
        until = deadline - left * MODEL_SHARE if complete else deadline
        found = collect(failure, places, deadline=until, redact=redact)
        logs = [item for item in found if item.source == "task_log" and item.lines]
        rest = tuple(item for item in found if item not in logs)
        chunks = ["\n".join(line.text for item in logs for line in item.lines).encode()] if logs else []
        diagnosis, log = offline.diagnose_log(chunks, failure, rest, log_token_budget, redact=redact)
        if complete is not None:
            evidence = (*offline.from_log(log), *offline.from_failure(failure), *rest)
            diagnosis = second_opinion(
                failure,
                evidence,
                diagnosis,
                complete=complete,
                deadline=deadline,
                clock=time.monotonic,
                today=time.strftime("%Y-%m-%d", time.gmtime()),
            ).diagnosis
        return diagnosis, fingerprint(failure, log, diagnosis)

    return diagnose
