"""What a Command is answered with: from the store where it is known, else from AWS.

Rules kept here: there is always an answer, be it the reason why there is none; what is already diagnosed is not
diagnosed again unless asked for; everything ends at one deadline.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_de_agent import report, tools
from airflow_de_agent.aws.calls import CallFailed
from airflow_de_agent.core import follow_up, listing, render
from airflow_de_agent.core.blocks import code, words
from airflow_de_agent.core.bundle import KEPT_SECONDS, Bundle, kept_as
from airflow_de_agent.core.diagnosis import Diagnosis
from airflow_de_agent.core.errors import DeAgentError
from airflow_de_agent.core.failed_task import meant
from airflow_de_agent.core.failure import TaskFailure
from airflow_de_agent.core.history import earlier
from airflow_de_agent.core.incident import Incident, Record, Store
from airflow_de_agent.core.mention import Command
from airflow_de_agent.core.moment import moment
from airflow_de_agent.core.period import Period, period
from airflow_de_agent.core.render import Message
from airflow_de_agent.investigation import Found
from airflow_de_agent.sources import Places

Progress = Callable[[str], object]
EXPIRED = "What was stored of this incident has expired."


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers commands.

    `diagnose` makes a diagnosis anew within so many seconds. `clock` gives Unix time; `seconds` is how long an answer
    may take, `incident_seconds` how long an incident stays open.
    """

    open_store: Callable[[], Store]
    places: Places
    diagnose: Callable[[TaskFailure, float], Found]
    clock: Callable[[], float]
    seconds: float = 25.0
    incident_seconds: float = 3600.0

    def answer(
        self, command: Command, incident: Incident | None = None, progress: Progress = lambda _: None
    ) -> Message:
        """The answer to a command; `incident` is the one whose thread it was given in.

        `progress` is told what is being done where that takes a while. Never raises a `DeAgentError`.
        """
        answers: Mapping[str, Callable[[Command, Incident | None, Progress], Message]] = {
            "why": self._why,
            "diagnose": self._diagnose,
            "status": self._status,
            "recent": self._recent,
            "lambda_errors": self._lambda_errors,
            "report": self._report,
            "ask": self._ask,
            "thanks": lambda *_: listing.said(
                "Glad to help. *Helpful* or a 👍 below the message tells me so for good."
            ),
        }
        try:
            known = answers.get(command.name)
            return known(command, incident, progress) if known else listing.help_text()
        except CallFailed as exc:
            return listing.said(f"That could not be read: {words(f'{exc.reason} {exc.cure}', 600)}")
        except DeAgentError as exc:
            return not_answered(exc)

    def again(self, incident: Incident, progress: Progress = lambda _: None) -> Message:
        """Diagnose the try that leads an incident anew."""
        return self.answer(Command("diagnose"), incident, progress)

    def _why(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        if not command.dag_id:
            return self._of_incident(incident, "") if incident else listing.help_text("why did <dag> fail")
        span = period(command.when, self.clock())
        if span is None:
            return listing.said(f"When is {code(command.when, 80)}? Try `yesterday`, `2 hours ago` or `2026-11-21`.")
        command = self._split(command)
        record = self._latest(command, span)
        if record is not None:
            return self._told(record)
        if command.when:
            place = words(command.dag_id, 250)
            return listing.said(
                f"No failure of {place} is known of that time. `why did {place} fail` takes the latest."
            )
        return self._diagnosed(command, incident, progress)

    def _split(self, command: Command) -> Command:
        """``dag.task`` as people copy it from our messages, where no DAG of that whole name is known."""
        dag_id, dot, task_id = command.dag_id.partition(".")
        store = self.open_store()
        if not dot or command.task_id or store.recent(limit=1, dag_id=command.dag_id):
            return command
        known = store.recent(limit=1, dag_id=dag_id)
        return dataclasses.replace(command, dag_id=dag_id, task_id=task_id) if known else command

    def _latest(self, command: Command, span: Period) -> Record | None:
        """The latest failure of that time; of a DAG's run the one that leads its incident."""
        wanted = {"dag_id": command.dag_id, "run_id": command.run_id, "task_id": command.task_id}
        store = self.open_store()
        found = [r for r in store.recent(limit=200, since=span.since, **wanted) if _is_meant(r, command, span)]
        if not found or command.task_id:
            return found[0] if found else None
        incident = store.incident(found[0].incident_id)
        lead = store.get(incident.lead_id) if incident else None
        return lead if lead and lead.failure.key.dag_id == command.dag_id else found[0]

    def _told(self, record: Record) -> Message:
        incident = self.open_store().incident(record.incident_id)
        return render.message(record, incident or _alone(record))

    def _of_incident(self, incident: Incident, question: str) -> Message:
        store = self.open_store()
        lead = store.get(incident.lead_id)
        if lead is None:
            return listing.said(EXPIRED)
        if not question:
            return render.details(lead, incident)
        kept = store.recall(kept_as(lead.id), now=self.clock())
        return follow_up.answer(question, lead, incident, Bundle.from_json(json.loads(kept)).evidence if kept else ())

    def _ask(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        del progress
        is_question = command.text.lower().startswith("why ")  # not each is about a DAG: why was the file missing?
        if incident is None or (command.suggestion and not is_question):
            return listing.help_text(command.suggestion)
        return self._of_incident(incident, command.text)

    def _diagnose(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        if command.dag_id:
            return self._diagnosed(self._split(command), incident, progress)
        lead = self.open_store().get(incident.lead_id) if incident else None
        if lead is None:
            return listing.help_text("diagnose dag=… task=… run=…")
        progress(f"Diagnosing {words(lead.failure.key.label, 250)} anew …")
        return self._kept(lead.failure)

    def _diagnosed(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        """Find the failed task instance in the store or in Airflow, and diagnose it.

        A question in a thread may only look as if it named a DAG: why did the file fail to load?
        """
        known = self._latest(command, Period(0.0, self.clock())) if command.name == "diagnose" else None
        progress(f"Looking at {words(command.dag_id, 250)} …")
        failure = known.failure if known else self._failed_in_airflow(command)
        if isinstance(failure, Message):
            is_question = incident is not None and command.name == "why" and not self._meant(command)
            return self._of_incident(incident, command.text) if incident and is_question else failure
        progress(f"Reading the logs of {words(failure.key.label, 250)} …")
        return self._kept(failure)

    def _kept(self, failure: TaskFailure) -> Message:
        began = time.monotonic()
        found = self.diagnose(failure, self.seconds)
        diagnosis = dataclasses.replace(found.diagnosis, seconds=round(time.monotonic() - began, 3))
        store, now = self.open_store(), self.clock()
        first = store.find(failure.key)
        if first and first.diagnosis.succeeded and not diagnosis.succeeded:
            return self._stands(first, diagnosis)
        mark = first.fingerprint if first else found.fingerprint
        similar = earlier(store, mark, failure.key, now=now, incident_seconds=self.incident_seconds)
        record = Record(failure, dataclasses.replace(diagnosis, similar=similar), mark, now)
        incident = store.add(record, window=self.incident_seconds)
        store.remember(kept_as(record.id), json.dumps(found.bundle.to_json()), expires_at=now + KEPT_SECONDS)
        return render.message(dataclasses.replace(record, incident_id=incident.id), incident)

    def _stands(self, first: Record, second: Diagnosis) -> Message:
        """A look that found less, as where the worker's log is out of reach, takes nothing from the first answer."""
        gaps = ("A second look found no cause, so the first answer stands.", *second.evidence_gaps)
        return self._told(
            dataclasses.replace(first, diagnosis=dataclasses.replace(first.diagnosis, evidence_gaps=gaps))
        )

    def _failed_in_airflow(self, command: Command) -> TaskFailure | Message:
        if not self.places.mwaa_environment:
            known = f"No failure of {words(command.dag_id, 250)} is stored"
            return listing.said(f"{known}, and Airflow cannot be asked: set [de_agent] mwaa_environment.")
        state = self._run_state(command)
        return meant(command, state.rows) or self._nothing_failed(command, state.gap)

    def _run_state(self, command: Command) -> Any:
        return tools.get_dag_run_status(
            self.places.clients("mwaa"),
            environment=self.places.mwaa_environment,
            dag_id=command.dag_id,
            run_id=command.run_id or None,
            deadline=time.monotonic() + self.seconds / 2,
        )

    def _nothing_failed(self, command: Command, gap: str) -> Message:
        place = ".".join(filter(None, (command.dag_id, command.task_id)))
        index = f"[{command.map_index}]" if command.map_index >= 0 else ""
        text = f"No failed task of {words(place + index, 400)} was found."
        near = self._meant(command)
        if near:
            text += f" Did you mean {code(near, 250)}?"
        return listing.said(text + (f" Not read: {words(gap, 400)}" if gap else ""))

    def _meant(self, command: Command) -> str:
        """A DAG with failures whose name is like what was said; empty where there is none."""
        dag_ids = (record.failure.key.dag_id for record in self.open_store().recent(limit=200))
        known = {dag_id.casefold(): dag_id for dag_id in dag_ids if dag_id != command.dag_id}
        for said in filter(None, (command.dag_id, command.task_id)):
            near = difflib.get_close_matches(said.casefold(), known, n=1, cutoff=0.6)
            if near:
                return known[near[0]]
        return ""

    def _status(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        if not command.dag_id:
            lead = self.open_store().get(incident.lead_id) if incident else None
            if lead is None:
                return listing.help_text("status <dag>")
            command = dataclasses.replace(command, dag_id=lead.failure.key.dag_id)
        diagnosed = {r.failure.key.task_id: r for r in self.open_store().recent(limit=50, dag_id=command.dag_id)[::-1]}
        if not self.places.mwaa_environment:
            return listing.failures(diagnosed.values(), 24.0)
        progress(f"Asking Airflow about {words(command.dag_id, 250)} …")
        return listing.runs(command.dag_id, self._run_state(command), diagnosed)

    def _recent(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        del incident, progress
        since = self.clock() - command.hours * 3600
        return listing.failures(self.open_store().recent(limit=500, since=since), command.hours)

    def _lambda_errors(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        del incident
        progress(f"Reading the log of {words(command.function, 250)} …")
        now = dt.datetime.fromtimestamp(self.clock(), dt.timezone.utc)
        groups = dict(item.split("=", 1) for item in self.places.lambda_log_groups if "=" in item)
        found = tools.get_cloudwatch_lambda_errors(
            self.places.clients("logs"),
            functions=[command.function],
            since=now - dt.timedelta(hours=command.hours),
            until=now,
            log_groups=groups,
            deadline=time.monotonic() + self.seconds,
        )
        return listing.log_lines(f"Failed invocations of {words(command.function, 250)}", found)

    def _report(self, command: Command, incident: Incident | None, progress: Progress) -> Message:
        del incident, progress
        since = self.clock() - command.hours * 3600
        return report.message(report.of_store(self.open_store(), since=since, until=self.clock()))


def not_answered(exc: DeAgentError) -> Message:
    """Why there is no answer."""
    return listing.said(f"That could not be answered: {words(str(exc), 600)}")


def _is_meant(record: Record, command: Command, span: Period) -> bool:
    """Whether it failed in that time, and is the mapped task instance and the try that were named."""
    failed_at = moment(record.failure.failed_at)
    at = record.diagnosed_at if failed_at is None else failed_at
    return (
        span.since <= at <= span.until
        and command.map_index in (-1, record.failure.key.map_index)
        and command.try_number in (None, record.failure.key.try_number)
    )


def _alone(record: Record) -> Incident:
    return Incident(record.id, record.fingerprint, record.id, record.diagnosed_at, record.diagnosed_at)
