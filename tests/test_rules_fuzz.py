"""Any input at all gives a diagnosis."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_de_agent.core import rules
from airflow_de_agent.core.diagnosis import Diagnosis, check_quotes
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import CapturedException, Frame, TaskFailure, TaskKey
from airflow_de_agent.core.offline import from_failure, from_log
from airflow_de_agent.core.signatures import table
from airflow_de_agent.core.task_log import distil

HINTS = st.sampled_from(sorted({hint for row in table() for hint in row.hints}))
TEXT = st.lists(st.one_of(st.text(max_size=30), HINTS), max_size=6).map(" ".join)
ROW = st.dictionaries(
    st.sampled_from(("task_id", "state", "end_date", "error_message", "table_name", "raw_line", "x")),
    st.one_of(st.none(), st.integers(), TEXT),
    max_size=4,
)
SOURCES = ("run_state", "recent_runs", "redshift", "lambda_errors", "task_log", "other")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(TEXT, max_size=8),
    st.lists(st.tuples(TEXT, TEXT), max_size=3),
    st.lists(st.tuples(st.sampled_from(SOURCES), st.lists(ROW, max_size=3)), max_size=3),
)
@example([], [], [("redshift", [{"x": "available memory exhausted", "raw_line": 0, "task_id": 0}])])
def test_any_input_gives_a_diagnosis_whose_quotes_hold(
    lines: list[str], links: list[tuple[str, str]], sources: list[tuple[str, list[dict[str, Any]]]]
) -> None:
    """Words of the table in any mixture give an answer within bounds, and no quote that is not in the evidence."""
    log = distil(["\n".join(lines).encode("utf-8", "replace")], redact=lambda text: text)
    chain = tuple(CapturedException(kind, message, (Frame(kind, 1, "f"),)) for kind, message in links)
    failure = TaskFailure(TaskKey("d", "r", "t"), "task", "", exceptions=chain)
    evidence = [Evidence.of_rows(name, rows) for name, rows in sources]
    diagnosis = rules.diagnose(failure, log, evidence)
    assert isinstance(diagnosis, Diagnosis) and diagnosis.root_cause and diagnosis.next_steps
    assert 0 < diagnosis.confidence <= 1 and "\n" not in diagnosis.root_cause
    checked = check_quotes(diagnosis, (*from_log(log), *from_failure(failure), *evidence))
    assert checked.evidence == diagnosis.evidence
