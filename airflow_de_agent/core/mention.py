"""Slack text into a Command.

Rules kept here: the text is untrusted; it is cut to `TEXT_LIMIT` and its white space squeezed first, and no pattern
repeats over what another repetition may take, so the time to read it is linear; what is not understood becomes help,
with the nearest command as a suggestion, never a guess that acts.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import html
import re
from typing import NamedTuple

TEXT_LIMIT = 1000


@dataclasses.dataclass(frozen=True)
class Command:
    """What somebody asked.

    `name` is ``why``, ``diagnose``, ``status``, ``recent``, ``lambda_errors``, ``report``, ``help`` or ``ask`` (free
    text; an answer is possible only in an incident's thread). `when` is as written, `hours` a span back from now.
    `suggestion` is a command that may have been meant.
    """

    name: str
    dag_id: str = ""
    task_id: str = ""
    run_id: str = ""
    map_index: int = -1
    try_number: int | None = None
    function: str = ""
    when: str = ""
    hours: float = 24.0
    text: str = ""
    suggestion: str = ""


_STOP = r"(?!(?:did|does|has|is|was|fail\w*|the|in|of|from|on|at|today|yesterday|last|dag|task)\b)"
_NAME = rf"{_STOP}[\w.:+~-]{{1,250}}"
_FAILED = r"(?:fail(?:ed|ing|s)?|br(?:eak|oke|oken)|crash(?:ed|ing)?|die[ds]?)"
_WHEN = r"(?: (?P<when>[\w :+.-]{1,60}))?"
_SPAN = r"(?P<span>\d{1,4} ?(?:minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w))"
_LAST = r"(?:in |for |over |of |since )?(?:the )?(?:last |past )?"

_PATTERNS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("why", r"why(?: did (?:it|this|that) fail)?"),
        (
            "why",
            rf"why(?: did| has| does| is| was)?(?: the)?(?: task)? (?P<task>{_NAME}) (?:in|of|from)(?: the)?(?: dag)? "
            rf"(?P<dag>{_NAME})(?: {_FAILED})?{_WHEN}",
        ),
        (
            "why",
            rf"why(?: did| has| does| is| was)?(?: the)?(?: dag)? (?P<dag>{_NAME})(?:(?: task)? (?P<task>{_NAME}))? "
            rf"{_FAILED}{_WHEN}",
        ),
        ("why", rf"why (?P<dag>{_NAME})"),
        ("diagnose", rf"diagnose (?P<dag>{_NAME})(?: (?P<task>{_NAME}))?"),
        ("status", rf"(?:status|state)(?: of)?(?: the)?(?: dag)? (?P<dag>{_NAME})"),
        ("recent", rf"(?:recent|latest|last|list|show)?(?: recent| latest)? ?failures?(?: {_LAST}{_SPAN})?"),
        ("recent", rf"(?:recent|latest)(?: {_LAST}{_SPAN})?"),
        ("lambda_errors", rf"lambda(?: errors?)?(?: of| in| for)? (?P<function>[\w:/.-]{{1,250}})(?: {_LAST}{_SPAN})?"),
        ("report", rf"(?:weekly )?report(?: {_LAST}{_SPAN})?"),
        ("help", r"(?:help|hi|hello|commands|usage|what can you do)?"),
    )
)
_PAIR = re.compile(r"\b(dag|task|run|map|try)(?:_id|_index|_number)? ?= ?([\w.:+~-]{1,250})", re.IGNORECASE)
_SEEN_AS_LINK = re.compile(r"<(?:https?|mailto):[^<>|]{0,400}\|([^<>|]{0,400})>")
_MENTION = re.compile(r"<[@!#][^<>]{0,100}>")
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0}

# what may be asked, as help shows it; the first word of each is what near-misses are compared with
COMMANDS = {
    "why did <dag> [task] fail [when]": "the diagnosis of its latest failure",
    "diagnose dag=… task=… run=…": "look at one task instance anew",
    "status <dag>": "its recent runs and what failed in them",
    "recent failures [24h]": "what failed lately",
    "lambda errors <function> [1h]": "failed invocations of a Lambda function",
    "report [7d]": "failures, feedback and recovery times",
    "help": "this list",
}


def parse(text: str) -> Command:
    """The command in a message; never raises."""
    said = _cleaned(text)
    pairs = {name.lower(): value for name, value in _PAIR.findall(said)}
    if "dag" in pairs:
        return _of_pairs(said, pairs)
    for name, pattern in _PATTERNS:
        match = pattern.fullmatch(said)
        if match:
            return _of_match(name, match, said)
    return Command("ask", text=said, suggestion=_nearest(said))


def _cleaned(text: str) -> str:
    """The words of a message as its author typed them, without the mention."""
    text = _SEEN_AS_LINK.sub(r"\1", text[:TEXT_LIMIT])
    text = html.unescape(_MENTION.sub(" ", text))
    text = text.translate(_QUOTES)
    return " ".join(text.split()).strip(" ?!.,;:")


_QUOTES = str.maketrans(dict.fromkeys("`'\"“”‘’*", None))


def _of_pairs(said: str, pairs: dict[str, str]) -> Command:
    index, number = pairs.get("map", ""), pairs.get("try", "")
    name = "why" if said.lower().startswith("why") else "diagnose"
    return Command(
        name,
        pairs["dag"],
        pairs.get("task", ""),
        pairs.get("run", ""),
        int(index) if index.isdigit() else -1,
        int(number) if number.isdigit() else None,
        text=said,
    )


def _of_match(name: str, match: re.Match[str], said: str) -> Command:
    given = {key: value for key, value in match.groupdict().items() if value}
    default = {"recent": 24.0, "lambda_errors": 1.0, "report": 168.0}.get(name, 24.0)
    span = given.get("span", "").replace(" ", "")
    number = re.match(r"\d+", span)
    hours = int(number[0]) * _HOURS[span[number.end()].lower()] if number else default
    return Command(
        name,
        given.get("dag", ""),
        given.get("task", ""),
        function=given.get("function", ""),
        when=given.get("when", ""),
        hours=min(max(hours, 1 / 60), 24 * 92),
        text=said,
    )


def _nearest(said: str) -> str:
    """The command whose first words are nearly those that were said; empty when none is."""
    first = said.lower().split(" ")[0][:40]
    starts = {command.split(" ")[0]: command for command in COMMANDS}
    near = difflib.get_close_matches(first, starts, n=1, cutoff=0.7)
    return starts[near[0]] if near else ""


class Period(NamedTuple):
    """From and until when, in Unix seconds."""

    since: float
    until: float


_AGO = re.compile(rf"{_LAST}{_SPAN}(?: ago)?", re.IGNORECASE)
_DAY = re.compile(r"(?:on |at )?(\d{4}-\d{2}-\d{2})(?:[t ](\d{2}):(\d{2}).{0,20})?", re.IGNORECASE)
_DAYS_BACK = {"today": 0, "this morning": 0, "tonight": 0, "yesterday": 1, "last night": 1}


def period(when: str, now: float) -> Period | None:
    """What a time in words means, in UTC; None when it is not understood. Empty words mean the last seven days."""
    words = " ".join(when.lower().split())
    if not words or words in ("again", "last time", "the last time", "recently", "now"):
        return Period(now - 7 * 86400, now)
    midnight = now - now % 86400
    if words in _DAYS_BACK:
        return Period(midnight - _DAYS_BACK[words] * 86400, now if words != "yesterday" else midnight)
    ago = _AGO.fullmatch(words)
    if ago:
        command = _of_match("recent", ago, words)
        return Period(now - command.hours * 3600 - (900 if words.endswith("ago") else 0), now)
    return _of_day(words)


def _of_day(words: str) -> Period | None:
    found = _DAY.fullmatch(words)
    if not found:
        return None
    try:
        day = dt.datetime.fromisoformat(found[1]).replace(tzinfo=dt.timezone.utc).timestamp()
    except ValueError:
        return None
    if found[2] is None:
        return Period(day, day + 86400)
    moment = day + int(found[2]) * 3600 + int(found[3]) * 60
    return Period(moment - 3600, moment + 3600)
