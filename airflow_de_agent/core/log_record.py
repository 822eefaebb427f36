"""Log lines of every host as records of one shape.

Airflow 2 text, Airflow 3 JSON lines, CloudWatch events of either and plain text all become
``HH:MM:SS {file.py:12} LEVEL - message`` with the lines that continue it; what follows the time stands verbatim in the
log (unescaped, where that is JSON). Airflow 3's ``error_detail`` becomes a Python traceback.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from airflow_de_agent.core.evidence import Line
from airflow_de_agent.core.log_blocks import RUN, excerpts
from airflow_de_agent.core.traceback_text import is_traceback_start, traceback_of_detail

_TEXT = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)[^\]\n]{0,20}\] "
    r"(?:\{+(?P<place>[^}\n]{1,200})\}+ )?(?P<level>[A-Z]{4,8}) - ?"
)
_PLAIN = re.compile(
    r"\[?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)[.,\d]*(?:Z|[+-]\d\d:?\d\d)?\]?[ :|-]{1,3}"
    r"(?P<rest>\[?(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b.*)",
    re.DOTALL,
)
# `aws logs tail` puts the event's time and its stream before the message
_TAILED = re.compile(r"\d{4}-\d\d-\d\dT\S{8,30} (?:\S{1,512} )?(?=\[\d{4}-\d\d-\d\d|\{\")")
_EVENT_FIELD = re.compile(r'\s*"message":\s*"')
_TERMINAL_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1d\x7f]")
_STRUCTURAL = frozenset(
    [
        "timestamp",
        "level",
        "event",
        "logger",
        "filename",
        "lineno",
        "ti_id",
        "dag_id",
        "task_id",
        "run_id",
        "map_index",
        "try_number",
        "error_detail",
        "exception",
        "exc_info",
        "chan",
        "loc",
        "func_name",
        "pathname",
        "process",
        "thread",
        "ingestionTime",
        "eventId",
        "logStreamName",
    ]
)
_CONTINUED = re.compile(r"[ \t]|Caused by: |The above exception was|During handling of the above|\Z")
_JAVA_FRAME = re.compile(r"\s+at [\w.$<>/]+\(|\s+\.\.\. \d+ more|Caused by: ")
_JSON = json.JSONDecoder(strict=False)
_LONGEST = 32 * 1024


@dataclasses.dataclass
class Record:
    """One message: `head` is what stands before it on its first line, `lines` its text by log line number."""

    time: str
    place: str
    level: str
    lines: list[Line]
    raw: bytes = b""
    traceback: bool = False

    def __post_init__(self) -> None:
        self.traceback = any(is_traceback_start(line.text) for line in self.lines)

    def extend(self, other: Record) -> None:
        """Take the lines of a record that continues this one."""
        self.lines.extend(other.lines)
        self.traceback = self.traceback or other.traceback

    @property
    def head(self) -> str:
        """Time, place and level as they are shown."""
        place = f"{{{self.place}}} " if self.place else ""
        level = f"{self.level} - " if self.level else ""
        return f"{self.time[11:19]} {place}{level}".lstrip()

    @property
    def number(self) -> int:
        """The log line where it begins."""
        return self.lines[0].number

    @property
    def first(self) -> str:
        """The first line of the message."""
        return self.lines[0].text

    @property
    def last_number(self) -> int:
        """The log line where it ends."""
        return self.lines[-1].number


def decode(line: bytes) -> str:
    """UTF-8 where it is that, else Windows-1252: one log may hold both."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("cp1252", "replace")
    return text.lstrip("\ufeff")


def records(lines: Iterable[tuple[int, bytes]]) -> list[Record]:
    """Join lines to records: continuation lines to their record, a traceback printed line by line to its first."""
    found: list[Record] = []
    for number, raw in lines:
        for record in _parsed(number, raw):
            if found and _belongs(found[-1], record):
                found[-1].extend(record)
            else:
                found.append(record)
    return found


def _belongs(before: Record, record: Record) -> bool:
    adjacent = record.number - before.last_number <= 1
    if not adjacent or len(before.lines) > 2000:
        return False
    if not record.time:
        return bool(before.time) or _continues_text(before, record.first)
    same = (record.place, record.level) == (before.place, before.level)
    return same and _continues_text(before, record.first)


def _continues_text(before: Record, text: str) -> bool:
    """Whether a line continues a traceback (Python's or Java's) that was printed line by line."""
    if _JAVA_FRAME.match(text):
        return True
    if not before.traceback:
        return False
    if is_traceback_start(text) or _CONTINUED.match(text):
        return True
    # the line after the frames names the exception
    return before.lines[-1].text[:1].isspace()


def _parsed(number: int, raw: bytes) -> Iterator[Record]:
    runs = [part for part in raw.split(RUN) if part] or [b""]
    for part in runs:
        yield _record(number, decode(part), part)


def _record(number: int, text: str, raw: bytes) -> Record:
    text = _without_stream(text)
    if text.startswith("{") and (fields := _json_object(text)) is not None:
        return _of_fields(number, fields, raw)
    match = _TEXT.match(text)
    if match:
        rest = text[match.end() :]
        return Record(match["time"], match["place"] or "", match["level"], _numbered(number, rest), raw)
    match = _PLAIN.match(text)
    if match:
        # the level stays where the line has it, in the text
        return Record(match["time"], "", "", _numbered(number, match["rest"]), raw)
    return Record("", "", "", _numbered(number, text), raw)


def _without_stream(text: str) -> str:
    match = _TAILED.match(text)
    if match:
        return text[match.end() :]
    match = _EVENT_FIELD.match(text)
    if match:
        try:
            return str(_JSON.raw_decode(text, match.end() - 1)[0])
        except ValueError:
            return text
    return text


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        fields, end = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    told = isinstance(fields, dict) and ("event" in fields or "message" in fields)
    return fields if told and not text[end : end + 40].strip(' ,]}\n"') else None


def _of_fields(number: int, fields: dict[str, Any], raw: bytes) -> Record:
    message = fields["event"] if "event" in fields else fields["message"]
    if "event" not in fields and isinstance(message, str):
        # a CloudWatch event holds a line of the log, text or JSON
        return (
            _record(number, message, raw)
            if not message.startswith('{"message"')
            else Record("", "", "", _numbered(number, message), raw)
        )
    others = [
        f"{name}={_value(value)}"
        for name, value in fields.items()
        if name not in _STRUCTURAL and value not in (None, "")
    ]
    text = message if isinstance(message, str) else _value(message)
    first, _, rest = text.partition("\n")
    shown = " ".join([first, *others]) + ("\n" + rest if rest else "")
    for name in ("exception", "exc_info"):
        if isinstance(fields.get(name), str):
            shown += "\n" + fields[name]
    detail = fields.get("error_detail")
    if isinstance(detail, list) and detail:
        shown += "\n" + traceback_of_detail(detail)
    place = str(fields.get("filename") or fields.get("logger") or "")
    if fields.get("filename") and fields.get("lineno") is not None:
        place = f"{fields['filename']}:{fields['lineno']}"
    if str(fields.get("logger", "")).startswith("task.std"):
        place = str(fields["logger"])
    return Record(
        str(fields.get("timestamp") or "0000-00-00T"),
        place[:200],
        str(fields.get("level") or "").upper()[:10],
        _numbered(number, shown),
        raw,
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _numbered(number: int, text: str) -> list[Line]:
    """The lines of a text, all under the number of the log line that held it."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) < _LONGEST and "\n" not in text and text.isprintable():
        return [Line(number, text.rstrip())]
    if not text.isascii():
        # JSON may name half a surrogate pair, which no output can hold
        text = text.encode("utf-8", "replace").decode()
    return [Line(number, _TERMINAL_CODES.sub("", _thinned(part)).rstrip()) for part in text.split("\n")]


def _thinned(text: str) -> str:
    if len(text) < _LONGEST:
        return text
    data = text.encode()
    return decode(data[: _LONGEST // 2] + b" ... " + excerpts(data[_LONGEST // 2 :]))
