"""`de-agent diagnose` and `replay`: one diagnosis of a log file, of a task instance, or of a stored bundle."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_de_agent import bootstrap
from airflow_de_agent.core import offline, render
from airflow_de_agent.core.bundle import Bundle
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.errors import DeAgentError, HostError, SettingsError
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Record
from airflow_de_agent.core.redaction import Redactor
from airflow_de_agent.core.task_log import TaskLog
from airflow_de_agent.evals import Answer
from airflow_de_agent.investigation import Investigation
from airflow_de_agent.settings import Settings
from airflow_de_agent.sources import Places

STANDARD_INPUT = Path("-")
_CHUNK_BYTES = 256 * 1024
_SOURCES = ("run_state", "recent_runs", "redshift", "lambda_errors")
_NAMED = f"{', '.join(_SOURCES[:-1])} or {_SOURCES[-1]}"


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print one diagnosis, or with ``--print-prompt`` what a model would be sent.

    Raises:
        DeAgentError: the evidence file is not one, or the task instance cannot be found.
        OSError: a file cannot be read.
    """
    began = time.monotonic()
    parts = bootstrap.Parts(settings)
    bootstrap.read_rules(settings.rules_file)  # a mistake in it is an error here, not a warning
    with contextlib.redirect_stdout(sys.stderr):  # where Airflow logs to, ours is for the answer
        failure = _of_file(arguments.log, _key(arguments)) if arguments.log else _of_host(arguments, parts)
    given = _evidence(arguments.evidence, Redactor().redact)
    places = None if arguments.log or arguments.offline else parts.places()
    model = None if arguments.offline or arguments.print_prompt else parts.model()
    read_log = _read_named if arguments.log else bootstrap.read_log
    look = Investigation(read_log, places, model, settings.log_token_budget, parts.extra_rules)
    if arguments.print_prompt:
        prompt = look.prompt(failure, given, seconds=settings.deadline_seconds)
        print(f"{prompt.system}\n\n{prompt.text}")
        return 0
    diagnosis, *_ = look(failure, given, seconds=settings.deadline_seconds)
    _print(failure, diagnosis, began, arguments.format)
    return 0


def replay(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the diagnosis that a stored bundle gives with the model of the settings.

    Raises:
        DeAgentError: it is no bundle.
        OSError: the file cannot be read.
    """
    began = time.monotonic()
    try:
        bundle = Bundle.from_json(json.loads(arguments.bundle.read_text()))
    except ValueError as exc:
        raise DeAgentError(f"{arguments.bundle}: {exc}") from exc
    model = bootstrap.Parts(settings).model()
    diagnosis = bundle.rules_diagnosis
    if model is not None:
        diagnosis = Investigation(bootstrap.read_log, None, model).ask(bundle, seconds=settings.deadline_seconds)
    _print(bundle.failure, diagnosis, began, arguments.format)
    return 0


def by_model(settings: Settings) -> Answer:
    """How `eval --engine gemini` has a case answered.

    Raises:
        SettingsError: there is no key for the model.
    """
    model = bootstrap.Parts(settings).model()
    if model is None:
        raise SettingsError("there is no key for the model: set GEMINI_API_KEY")
    look = Investigation(bootstrap.read_log, None, model, settings.log_token_budget)

    def ask(log: Path, failure: TaskFailure, evidence: Mapping[str, Any]) -> tuple[Diagnosis, TaskLog]:
        redact = Redactor().redact
        at = dataclasses.replace(failure, log_path=str(log))
        return look.answer(at, offline.read_evidence(evidence, redact), redact, seconds=settings.deadline_seconds)

    return ask


def _print(failure: TaskFailure, diagnosis: Diagnosis, began: float, form: str) -> None:
    diagnosis = dataclasses.replace(diagnosis, seconds=round(time.monotonic() - began, 3))
    if form == "json":
        print(json.dumps(diagnosis.to_json(), indent=1))
    else:
        print(render.plain(Record(failure, diagnosis, "", 0.0)))


def _of_file(log: Path, key: TaskKey) -> TaskFailure:
    if log != STANDARD_INPUT and not log.is_file():
        raise DeAgentError(f"{log} is not a file; - reads the log from standard input")
    name = "standard input" if log == STANDARD_INPUT else log.name
    return TaskFailure(key._replace(task_id=key.task_id or name), "cli", log_path=str(log))


def _read_named(failure: TaskFailure) -> Iterable[bytes] | Evidence:
    """The log that ``--log`` names."""
    if failure.log_path == str(STANDARD_INPUT):
        chunks = iter(lambda: sys.stdin.buffer.read(_CHUNK_BYTES), b"")
        if first := next(chunks, b""):
            return itertools.chain([first], chunks)
    elif Path(failure.log_path).stat().st_size:
        return bootstrap.read_log(failure)
    return Evidence.unavailable("task_log", "the log is empty.")


def _key(arguments: argparse.Namespace) -> TaskKey:
    number = 1 if arguments.try_number is None else arguments.try_number
    return TaskKey(arguments.dag_id, arguments.run_id, arguments.task_id, arguments.map_index, number)


def _of_host(arguments: argparse.Namespace, parts: bootstrap.Parts) -> TaskFailure:
    """The task instance as Airflow's database has it, else by its ids alone, to be looked up in AWS."""
    key, places = _key(arguments), parts.places()
    failure = None
    try:
        from airflow_de_agent.airflow import metadata, run_state

        with metadata.host_errors():
            failure = run_state.task_failure(*key[:4], arguments.try_number, source="cli")
    except HostError:
        if places is None:
            raise
    except ImportError:
        if places is None:
            raise DeAgentError(
                "there is neither an Airflow nor AWS access here to look a task instance up; use --log, "
                "or set [de_agent] mwaa_environment and AWS credentials"
            ) from None
    if failure is None and places is None:
        raise DeAgentError(f"there is no task instance {key.label} in run {key.run_id}")
    return failure or _of_mwaa(key, places, known_try=arguments.try_number is not None)


def _of_mwaa(key: TaskKey, places: Places | None, *, known_try: bool) -> TaskFailure:
    """A task instance by its ids, with the times and the try that MWAA's Airflow tells where it can be asked."""
    failure = TaskFailure(key, "cli")
    if places is None or not places.mwaa_environment:
        return failure
    from airflow_de_agent import tools

    found = tools.get_dag_run_status(
        places.clients("mwaa"), environment=places.mwaa_environment, dag_id=key.dag_id, run_id=key.run_id
    )
    for row in found.rows:
        if row.get("task_id") == key.task_id and row.get("map_index", -1) == key.map_index:
            number = key.try_number if known_try else row.get("try_number") or key.try_number
            return dataclasses.replace(
                failure,
                key=key._replace(try_number=number),
                start_date=str(row.get("start_date") or ""),
                failed_at=str(row.get("end_date") or ""),
            )
    return failure


def _evidence(path: Path | None, redact: offline.Redact) -> tuple[Evidence, ...]:
    if path is None:
        return ()
    try:
        values = json.loads(path.read_text())
    except ValueError as exc:
        raise DeAgentError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(values, dict):
        raise DeAgentError(f"{path} must hold an object with {_NAMED}")
    if strange := [str(name) for name in values if name not in _SOURCES]:
        print(f"de-agent: {path}: {', '.join(strange)} means nothing to the rules; they know {_NAMED}", file=sys.stderr)
    return offline.read_evidence(values, redact)
