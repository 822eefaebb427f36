"""`de-agent diagnose`: one diagnosis of a log file, or of a task instance through the host."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from airflow_de_agent import bootstrap
from airflow_de_agent.core import offline, render
from airflow_de_agent.core.errors import DeAgentError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Record
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.settings import Settings


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print one diagnosis.

    Raises:
        DeAgentError: the evidence file is not one, or the task instance cannot be found.
        OSError: a file cannot be read.
    """
    began = time.monotonic()
    redact = Redactor().redact
    failure = _of_file(arguments) if arguments.log else _of_host(arguments)
    evidence = _evidence(arguments.evidence, redact)
    chunks = bootstrap.read_log(failure)
    if isinstance(chunks, Evidence):
        if arguments.log:
            raise DeAgentError(f"{arguments.log} is not a file that can be read")
        chunks, evidence = (), (*evidence, chunks)
    diagnosis, _ = offline.diagnose_log(chunks, failure, evidence, settings.log_token_budget, redact=redact)
    diagnosis = dataclasses.replace(diagnosis, seconds=round(time.monotonic() - began, 3))
    if arguments.format == "json":
        print(json.dumps(diagnosis.to_json(), indent=1))
    else:
        print(render.plain(Record(failure, diagnosis, "", 0.0)))
    return 0


def _of_file(arguments: argparse.Namespace) -> TaskFailure:
    key = TaskKey(
        arguments.dag_id or "(dag unknown)",
        arguments.run_id or "(run unknown)",
        arguments.task_id or arguments.log.name,
        arguments.map_index,
        1 if arguments.try_number is None else arguments.try_number,
    )
    return TaskFailure(key, "cli", "", log_path=str(arguments.log))


def _of_host(arguments: argparse.Namespace) -> TaskFailure:
    try:
        from airflow_de_agent.airflow import run_state
    except ImportError as exc:
        raise DeAgentError("Airflow is not installed here, so a task instance cannot be looked up; use --log") from exc
    key = (arguments.dag_id, arguments.run_id, arguments.task_id, arguments.map_index)
    failure = run_state.task_failure(*key, arguments.try_number, source="cli")
    if failure is None:
        raise DeAgentError(f"there is no task instance {key[0]}.{key[2]} (map index {key[3]}) in run {key[1]}")
    return failure


def _evidence(path: Path | None, redact: offline.Redact) -> tuple[Evidence, ...]:
    if path is None:
        return ()
    try:
        values = json.loads(path.read_text())
    except ValueError as exc:
        raise DeAgentError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(values, dict):
        raise DeAgentError(f"{path} must hold an object with run_state, recent_runs, redshift or lambda_errors")
    return offline.read_evidence(values, redact)
