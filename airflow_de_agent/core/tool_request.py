"""What a model may look at when it asks to: the failing run, its tables, its Lambda functions, and nothing else.

Rules kept here: a request is granted only for a name that this run itself showed (its task list, its operator's
fields, evidence that was not withheld); everything else is refused as a value that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure


class ToolRequest(NamedTuple):
    """A granted look: the tool's name and the one thing in this run that it may look at (empty for the run itself)."""

    tool: str
    argument: str = ""

    @property
    def source(self) -> str:
        """How its evidence is named, so that a quote from another task's log is never taken for this task's."""
        return f"{_SOURCES[self.tool]} of {self.argument}" if self.argument else f"{_SOURCES[self.tool]} again"


_SOURCES = {
    "get_mwaa_task_logs": "task_log",
    "get_dag_run_status": "run_state",
    "query_redshift_audit_logs": "redshift",
    "get_cloudwatch_lambda_errors": "lambda_errors",
}
TOOLS = tuple(_SOURCES)
_NAME = re.compile(r"[\w.$:-]{1,250}")


def grant(
    tool: str, argument: str, failure: TaskFailure, shown: Iterable[Evidence], *, asked: Iterable[ToolRequest] = ()
) -> ToolRequest | Evidence:
    """The request, bounded to this run, or unavailable evidence that says why it was refused."""
    if tool == "get_dag_run_status":
        request = ToolRequest(tool)
    elif tool in _SOURCES and _NAME.fullmatch(argument) and argument in _allowed(tool, argument, failure, tuple(shown)):
        request = ToolRequest(tool, argument)
    else:
        return Evidence.unavailable(
            "tool_request", "the model asked for something outside this run, which was refused."
        )
    if request in set(asked):
        return Evidence.unavailable("tool_request", "the model asked for the same look twice.")
    return request


def _allowed(tool: str, argument: str, failure: TaskFailure, shown: tuple[Evidence, ...]) -> set[str]:
    if tool == "get_mwaa_task_logs":
        return _task_ids(failure, shown)
    text = "\n".join([*failure.fields.values(), *(line.text for item in shown for line in item.lines)])
    name = re.escape(argument)
    if tool == "get_cloudwatch_lambda_errors":
        pattern = rf"(?:/aws/lambda/|:function:|function_?name['\"\s=:]+){name}(?![\w-])"
        named = argument == failure.fields.get("function_name") or re.search(pattern, text, re.IGNORECASE)
    else:
        pattern = rf"(?:\b(?:from|into|join|update|table|copy|relation|table_name)\b['\"\s=:]+){name}(?![\w.])"
        named = re.search(pattern, text, re.IGNORECASE)
    return {argument} if named else set()


def _task_ids(failure: TaskFailure, shown: tuple[Evidence, ...]) -> set[str]:
    ids = {failure.key.task_id, *failure.upstream_task_ids, *failure.downstream_task_ids}
    ids |= {state.task_id for state in failure.run_state}
    rows = (row for item in shown if item.source == "run_state" for row in item.rows)
    return ids | {str(row["task_id"]) for row in rows if "task_id" in row}
