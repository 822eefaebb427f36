"""Whatever text a service returns becomes an answer or a reason, and what is shown of it is verbatim and plain."""

from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_de_agent.core.answer import Answer, parse
from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.evidence import Evidence
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.prompt import build
from airflow_de_agent.core.untrusted import plain, visible, withhold

LOG = [
    "INFO - reading https://lake.example/part-0001.csv with 17 columns",
    "ERROR - ValueError: could not convert string to float: 'n/a' in column 'amount' at row 4711",
]
EVIDENCE = [Evidence.of_lines("task_log", LOG)]
PROMPT = build(
    TaskFailure(TaskKey("d", "r", "t"), "task", "2026-11-22T03:14:15+00:00"),
    EVIDENCE,
    Diagnosis(Category.DATA_QUALITY, "A value is not a number."),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [*LOG, "<!channel>", "https://evil.example/x", "17", "4711", "'amount'", "@here", " ", "\n", "`"]
)
TEXT = st.lists(PIECES | st.text(max_size=12), max_size=5).map("".join)
ANSWERS = st.fixed_dictionaries(
    {"category": st.sampled_from([category.value for category in Category]), "root_cause": TEXT | JSON},
    optional={
        "confidence": st.floats(0, 1) | JSON,
        "evidence": st.lists(st.fixed_dictionaries({"source": st.just("task_log"), "quote": TEXT}) | JSON, max_size=4)
        | JSON,
        "next_steps": st.lists(TEXT | JSON, max_size=5) | JSON,
        "rerun_is_safe": st.sampled_from(["yes", "no"]) | JSON,
        "look_further": JSON,
        "root_cause_task": JSON,
    },
)


@given(st.text() | JSON.map(json.dumps))
def test_no_text_raises(text):
    """Any text at all is an answer or a reason."""
    parse(text, PROMPT)


@settings(max_examples=300)
@given(ANSWERS)
def test_what_is_shown_is_verbatim_and_plain(values):
    """Every quote is a piece of its line; no sentence holds a link or a mention; the confidence stays in 0 to 1."""
    result = parse(json.dumps(values), PROMPT)
    if not isinstance(result, Answer):
        assert result.why
        return
    diagnosis = result.diagnosis
    for quote in diagnosis.evidence:
        assert quote.line is not None
        assert "".join(quote.quote.split()) in "".join(LOG[quote.line - 1].split())
    shown = json.dumps(diagnosis.to_json())
    assert not re.search(r"https?://|evil\.example|<[!@#]|(?<![\w.])@(?:here|channel)", shown)
    assert 0 <= diagnosis.confidence <= 1
    assert Diagnosis.from_json(json.loads(shown)) == diagnosis


@given(TEXT)
def test_screening_is_stable(text):
    """Made visible, withheld from or made plain twice is as once."""
    assert visible(visible(text)) == visible(text)
    assert withhold(withhold(text)[0])[0] == withhold(text)[0]
    assert plain(plain(text, 100), 100) == plain(text, 100)
