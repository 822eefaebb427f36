"""Slack text into a Command.

Rules kept here: the text is untrusted; it is cut to `TEXT_LIMIT` and its white space squeezed first, and no pattern
repeats over what another repetition may take, so the time to read it is linear; what is not understood becomes help,
with the nearest command as a suggestion, never a guess that acts.
"""

from __future__ import annotations

import dataclasses
import difflib
import html
import re

from airflow_de_agent.core.period import LAST, SPAN, hours

TEXT_LIMIT = 1000


@dataclasses.dataclass(frozen=True)
class Command:
    """What somebody asked.

    `name` is ``why``, ``diagnose``, ``status``, ``recent``, ``lambda_errors``, ``report``, ``help``, ``thanks`` or
    ``ask`` (free text; an answer is possible only in an incident's thread). `when` is as written, `hours` a
    span back from now. `suggestion` is a command that may have been meant.
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

    @property
    def means_thread(self) -> bool:
        """Whether it may be about the incident in whose thread it was said."""
        return self.name in ("why", "diagnose", "status", "ask")


_STOP = (
    r"(?!(?:did|does|has|is|was|fail\w*|the|in|of|from|on|at|today|yesterday|last|dag|task|it|this|that|these|they|keeps?"
    r"|kept|not|a|an|my|our)\b)"
)
_NAME = rf"{_STOP}[\w.:+~-]{{1,250}}"
_INDEX = r"(?:\[(?P<index>\d{1,6})\])?"
_DAG = rf"(?P<dag>{_NAME}){_INDEX}"
_AUX = r"(?: (?:did|has|does|is|was|do|have|will)(?:nt| not)?)?"
_FAILED = (
    r"(?:keeps? |kept |get |got )?(?:go wrong|went wrong|fail(?:ed|ing|s|ure)?|br(?:eak|eaking|oke|oken)"
    r"|crash(?:ed|ing)?|die[ds]?|dying|dead|error(?:ed|ing)?|stop(?:ped)?|stuck|red|killed|time[ds]? out"
    r"|retr(?:y|ying|ied)|run(?:ning)?|succeed(?:ed)?|finish(?:ed)?|complete[ds]?|work(?:ed|ing)?|start(?:ed)?)"
)
_WHEN = r"(?:,? (?P<when>[\w :+.,-]{1,60}))?"
_IT = r"(?:it|this|that|they|these)(?: (?:dag|task|run|job|one|happen(?:ed)?))?"

_PATTERNS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("why", rf"(?:but )?why{_AUX}(?: {_IT})?(?: {_FAILED}| happen(?:ed)?)?(?: again)?"),
        (
            "why",
            rf"why{_AUX}(?: the)?(?: task)? (?P<task>{_NAME}){_INDEX}(?: task)? (?:in|of|from)(?: the)?(?: dag)? "
            rf"(?P<dag>{_NAME})(?: dag)?(?: {_FAILED})?{_WHEN}",
        ),
        (
            "why",
            rf"why{_AUX}(?: the)?(?: dag)? (?P<dag>{_NAME})(?: dag)?(?:(?: task)? (?P<task>{_NAME}))?{_INDEX}"
            rf"(?: task)? {_FAILED}{_WHEN}",
        ),
        ("why", rf"why {_DAG}"),
        (
            "why",
            rf"what(?:s| is| has)? (?:happened|(?:went |gone )?wrong) (?:to|with|in)(?: the)?(?: dag)? {_DAG}{_WHEN}",
        ),
        ("diagnose", rf"(?:re-?)?diagnose(?: {_IT})?(?: again| anew)?"),
        ("diagnose", rf"(?:re-?)?diagnose (?P<dag>{_NAME})(?: (?P<task>{_NAME}))?{_INDEX}(?: again| anew)?"),
        ("status", rf"(?:status|state)(?:(?: of)?(?: the)?(?: dag)? (?P<dag>{_NAME}))?"),
        ("recent", rf"(?:recent|latest|last|list|show)?(?: recent| latest)? ?fail(?:ures?|ed|s)(?:,? {LAST}{SPAN})?"),
        ("recent", rf"what(?:s| is| has| have)? (?:failed|failing|broke|broken)(?:,? {LAST}{SPAN})?"),
        ("recent", rf"(?:recent|latest)(?: {LAST}{SPAN})?"),
        (
            "lambda_errors",
            rf"lambda(?: errors?)?(?: of| in| for)? (?P<function>(?!errors?\b)[\w:/.-]{{1,250}})(?:,? {LAST}{SPAN})?",
        ),
        ("report", rf"(?:weekly )?report(?:,? {LAST}{SPAN})?"),
        ("thanks", r"(?:many )?(?:thanks|thank you|thx|cheers|well done|good bot)(?: (?:a lot|so much|very much))?"),
        ("help", r"(?:help(?: me)?|hi|hello|hey|commands|usage|what can you do|who are you)?"),
    )
)
_PAIR = re.compile(
    r"\b(dag|task|run|map|try)(?:_id|_index|_number)? ?[=:] ?([\w.:+~-]{1,250})(?:\[(\d{1,6})\])?", re.IGNORECASE
)
_SEEN_AS_LINK = re.compile(r"<(?:https?|mailto):[^<>|]{0,400}\|([^<>|]{0,400})>")
_MENTION = re.compile(r"<[@!#][^<>]{0,100}>")
_POLITE = re.compile(
    r"^(?:@?(?:hey|hi|hello|please|pls|ok|okay|so|and|can|could|would|you|kindly|tell|show|explain|to|me|us|de-?agent)"
    r"\b[ ,:;!.-]*){1,8}(?=\w)",
    re.IGNORECASE,
)
_THANKS = re.compile(r"[ ,.?!;:]+(?:please|pls|thanks|thank you|thx|cheers)$", re.IGNORECASE)

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
    pairs: dict[str, str] = {}
    for pair, value, index in _PAIR.findall(said):
        pairs |= {pair.lower(): value} | ({"map": index} if index else {})
    if "dag" in pairs:
        return _of_pairs(said, pairs)
    for name, pattern in _PATTERNS:
        match = pattern.fullmatch(said)
        if match:
            return _of_match(name, match, said)
    return Command("ask", text=said, suggestion=_nearest(said))


def _cleaned(text: str) -> str:
    """The words of a message as its author meant them, without the mention, formatting marks and politeness."""
    text = _SEEN_AS_LINK.sub(r"\1", text[:TEXT_LIMIT])
    text = html.unescape(_MENTION.sub(" ", text)).translate(_ALIKE)
    text = re.sub(r"(?<=\w)'s\b", "", text).translate(_QUOTES)
    words = " ".join(map(_unformatted, text.split())).strip(_ENDS)
    return _POLITE.sub("", _THANKS.sub("", words), count=1).strip(_ENDS) if words else ""


_ENDS = " ?!.,;:"
_ALIKE = str.maketrans(
    {"\u2010": "-", "\u2011": "-", "’": "'", "‘": "'", "\u200b": None, "\u2060": None, "\ufeff": None}
)
_QUOTES = str.maketrans(dict.fromkeys("`'\"“”„«»*", None))


def _unformatted(word: str) -> str:
    """A word without Slack's marks for italics and strike-through around it."""
    word = word.strip("~")
    return word[1:-1] if len(word) > 2 and word[0] == word[-1] == "_" and word[1] != "_" else word


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
    span = hours(given["span"]) if "span" in given else default
    return Command(
        name,
        given.get("dag", ""),
        given.get("task", ""),
        map_index=int(given.get("index", -1)),
        function=given.get("function", ""),
        when=given.get("when", ""),
        hours=min(max(span, 1 / 60), 24 * 92),
        text=said,
    )


def _nearest(said: str) -> str:
    """The command whose first words are nearly those that were said; empty when none is."""
    first = said.lower().split(" ")[0][:40]
    starts = {command.split(" ")[0]: command for command in COMMANDS}
    near = difflib.get_close_matches(first, starts, n=1, cutoff=0.7)
    return starts[near[0]] if near else ""
