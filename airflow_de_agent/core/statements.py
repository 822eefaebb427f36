"""What a failure says, as single statements with the weight of the place where each was said.

Rules kept here: what ended the task weighs most; what it said before weighs by level; what recovered, what belongs to
an earlier attempt and what merely echoes a command or a query weighs little; frames and code of tracebacks are not
statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_de_agent.core.evidence import Evidence, Line
from airflow_de_agent.core.failure import CapturedException, TaskFailure
from airflow_de_agent.core.passing import share
from airflow_de_agent.core.task_log import TaskLog

# How far a statement of each place counts as the cause of the failure.
WEIGHTS = {
    "exception": 1.0,
    "verdict": 1.0,
    "redshift": 0.97,
    "lambda_errors": 0.97,
    "evidence": 0.85,
    "error": 0.86,
    "warning": 0.76,
    "output": 0.8,
    "info": 0.62,
    "echo": 0.2,
}
EARLIER_ATTEMPT = 0.5
AFTER_THE_END = 0.45
LAST_LINES = 15
OFTEN = 2
END_LENGTH = 8_000
LINES_OF_EVIDENCE = 300


class Statement(NamedTuple):
    """One thing said: `text` with white space folded, `place` a key of `WEIGHTS`, `line` its number in `source`.

    `link` is the exception it is the text of; `values` are the columns of the row it is made of.
    """

    text: str
    place: str
    weight: float
    source: str
    line: int | None
    link: CapturedException | None = None
    values: Mapping[str, Any] | None = None


def statements(failure: TaskFailure | None, log: TaskLog, evidence: Sequence[Evidence]) -> list[Statement]:
    """All statements, in the order in which they were said; what ended the task last."""
    final = final_chain(failure, log)
    said = list(_from_log(log))
    for chain in log.exceptions:
        if chain is not final:
            after = bool(final) and _line_of(chain) > _line_of(final) > 0
            said += [_of_link(link, "error", "task_log", AFTER_THE_END if after else 1.0) for link in chain]
    for item in evidence:
        said += _from_evidence(item)
    source = "exception" if failure is not None and final is failure.exceptions else "task_log"
    said += [_of_link(link, "exception", source) for link in final]
    if failure is not None and failure.reason:
        said.append(Statement(_folded(failure.reason), "verdict", 1.0, "exception", None))
    return [variant for statement in said for variant in _variants(statement)]


# A text that was printed as a Python or JSON value: long strings cut into adjacent literals, quotes escaped.
_CUT = re.compile(r"(?<=[\w .,:;-])['\"] ['\"](?=[\w.-])")
_ESCAPED = re.compile(r"\\{1,6}(?=['\"])|(?:\\{1,4}[nrt])+")
PRINTED = 0.98
# The error with which a Lambda function answers, wherever its answer is printed.
_FUNCTION_ERROR = re.compile(r'"errorMessage": ?"(.{0,2000}?)", ?"errorType": ?"([\w.:]{1,120})"')


def _variants(statement: Statement) -> tuple[Statement, ...]:
    """The statement, before it what it says when a printed value in it is read as the text it was.

    A Lambda function's answer, printed so, tells its error as well.
    """
    if (
        statement.place == "echo"
        or statement.values is not None
        or ("\\" not in statement.text and "' '" not in statement.text)
    ):
        return (statement,)
    plain = _folded(_ESCAPED.sub(lambda found: " " if found.group()[-1] in "nrt" else "", _CUT.sub("", statement.text)))
    if plain == statement.text:
        return (statement,)
    error = _FUNCTION_ERROR.search(plain)
    inner = (statement._replace(text=f"{error[2]}: {error[1]}"),) if error else ()
    return (*inner, statement._replace(text=plain, weight=statement.weight * PRINTED), statement)


def final_chain(failure: TaskFailure | None, log: TaskLog) -> tuple[CapturedException, ...]:
    """The exceptions that ended the task, first cause first; empty when it was ended from outside.

    In a log it is the first chain that follows the record of the end: what comes later, such as a failure callback's
    own trouble, is a consequence. Equal chains are read once only, so the chain may stand before that record.
    """
    if failure is not None and failure.exceptions:
        return failure.exceptions
    if not log.exceptions:
        return ()
    ends = [line.number for line in log.lines if _ENDED.search(line.text)]
    if not ends:
        last = log.exceptions[-1]
        return last if _line_of(last) >= log.total_lines - LAST_LINES else ()
    return next((chain for chain in log.exceptions if _line_of(chain) >= ends[0]), log.exceptions[-1])


def _line_of(chain: tuple[CapturedException, ...]) -> int:
    return max((link.line or 0 for link in chain), default=0)


# The records in which Airflow 2 and 3 say that the task's own code raised.
_ENDED = re.compile(r"(?:ERROR|CRITICAL|FATAL)\W{1,4}Task failed with exception|Failed to execute (?:job|task)")
_HEAD = re.compile(
    r"(?:\[?[\d:.,+TZ -]{8,35}\]? )?(?:\{{1,2}[^}\n]{1,120}\}{1,2} )?"
    r"(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b[ :-]"
)
_INNER = re.compile(
    r"\b(?:(ERROR|FATAL|CRITICAL|SEVERE|Error|Exception|Traceback|Errno|[Ff]atal|[Ff]ailed|FAILED|FAIL|Caused by)"
    r"|(WARN(?:ING)?)|(INFO|DEBUG))\b|\w(Error|Exception)\b"
)
_OUTPUT = re.compile(
    r"subprocess|pod_manager|glue\.py|ecs\.py|batch|task_log_fetcher|emr|spark|ssh|docker|lambda_function|databricks"
    r"|\[base\]|dbt|stdout|stderr"
)
_ECHO = re.compile(
    r"Executing|Running statement|Running command|Running: |Exporting env vars|Rendered|Spark-Submit cmd"
    r"|EcsOperator overrides|Using command"
)
_VERDICT = re.compile(
    r"return code -\d|Process terminated by signal|externally set to|shouldn't be running anymore|Task killed|"
    r"heartbeat|zombie|killed externally|return code 143|return code 137|"
    r"DagRun timed out after|no longer in the running state"
)
_ATTEMPT = re.compile(r"Starting attempt (\d+) of")
_FOLDED_AWAY = re.compile(r"\((\d{1,9}) more lines? like (\d{1,9})")


def _from_log(log: TaskLog) -> Iterator[Statement]:
    last_start = max((line.number for line in log.lines if _ATTEMPT.search(line.text)), default=0)
    repeated = _repeated(log)
    place, frame, ended = "output", False, _End()
    for line in log.lines:
        text = _folded(line.text)
        was_frame, frame = frame, line.text.lstrip().startswith('File "')
        if frame or (was_frame and line.text.startswith("    ")) or _FOLDED_AWAY.match(text):
            continue
        place = _place(text, place)
        weight = WEIGHTS[place] * share(text, line.number in repeated)
        weight *= AFTER_THE_END if ended.is_past(text) and place != "verdict" else 1.0
        weight *= EARLIER_ATTEMPT if line.number < last_start else 1.0
        # the name of the file that logs it says nothing of what it says
        head = _HEAD.match(text)
        yield Statement(text[head.end() :].lstrip("- ") if head else text, place, weight, "task_log", line.number)


def _repeated(log: TaskLog) -> set[int]:
    """Lines said again and again: not a passing trouble that a retry had cured."""
    told = (_FOLDED_AWAY.match(line.text) for line in log.lines)
    return {int(found.group(2)) for found in told if found is not None and int(found.group(1)) >= OFTEN}


class _End:
    """Knows whether the records read so far have passed the one that says that the task failed."""

    def __init__(self) -> None:
        self._said = self._past = False

    def is_past(self, text: str) -> bool:
        headed = _HEAD.match(text) is not None
        if _ENDED.search(text):
            self._said, self._past = True, False
        elif self._said and headed:
            self._past = True
        return self._past


def _place(text: str, before: str) -> str:
    """The place of a line; one without a head of its own belongs to the record before."""
    if text.startswith("***"):
        return "echo"  # Airflow's notes on where it read the log from
    head = _HEAD.match(text)
    if _VERDICT.search(text[:600]):
        return "verdict"
    if head is None:
        return before if before == "echo" or not _INNER.search(text[:200]) else _inner(text, before)
    if _ECHO.search(text[: head.end() + 60]):
        return "echo"
    level = head.group(1)
    if level in ("INFO", "DEBUG"):
        return _inner(text[head.end() :], "output" if _OUTPUT.search(text[: head.end()]) else "info")
    return "warning" if level.startswith("WARN") else "error"


def _inner(text: str, otherwise: str) -> str:
    """What a line says of its own level: programs started by a task log through it at INFO."""
    found = _INNER.search(text[:300])
    if found is None:
        return "warning" if _ANSWER.search(text[:400]) else otherwise
    if found.group(1) or found.group(4):
        return "error"
    return "warning" if found.group(2) else "info"


# What a service answered, printed as it came: it speaks of trouble in whatever words it likes.
_ANSWER = re.compile(r"[{,] ?[\"'](?:detail|message|error\w{0,12}|errorMessages?|fault\w{0,8}|reason)[\"'] ?:")


def _of_link(link: CapturedException, place: str, source: str, share: float = 1.0) -> Statement:
    return Statement(_folded(f"{link.type}: {link.message}"), place, WEIGHTS[place] * share, source, link.line, link)


def _from_evidence(item: Evidence) -> Iterator[Statement]:
    if item.source in ("run_state", "recent_runs", "task_log", "exception"):
        return
    place = item.source if item.source in WEIGHTS else "evidence"
    for n, line in enumerate(item.lines[:LINES_OF_EVIDENCE]):
        row = item.rows[n] if n < len(item.rows) else None
        yield Statement(_row_text(row, line), place, WEIGHTS[place], item.source, line.number, None, row)


# Columns that hold data or the query itself, whose words say nothing of the cause.
_DATA_COLUMNS = re.compile(r"raw_|query_text|querytxt|sql|value", re.I)


def _row_text(row: Mapping[str, Any] | None, line: Line) -> str:
    if row is None:
        return _folded(line.text)
    told = {name: value for name, value in row.items() if value is not None and not _DATA_COLUMNS.search(name)}
    return " ".join(f"{name}={_folded(str(value))}" for name, value in told.items())


def _folded(text: str) -> str:
    """White space folded; of a text of unreasonable length both ends, where causes stand."""
    if len(text) > 2 * END_LENGTH:
        text = f"{text[:END_LENGTH]} {text[-END_LENGTH:]}"
    return _ROW.sub("Failing row contains", " ".join(text.split()))


# PostgreSQL quotes the row that it refused: data, whose words say nothing of the cause.
_ROW = re.compile(r"Failing row contains \([^\n]{0,4000}\)")
