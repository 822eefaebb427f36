"""Text that others wrote: made visible before a model reads it, made plain before a person does.

Logs, rows, DAG docs and Slack messages may carry orders to whoever reads them. Rules kept here: what is hidden from
the eye is hidden from the model; a sentence that gives orders to a reader does not reach the model, and everything
around it does, because the cause may stand in the same line.

The list below is what attack collections share (orders to forget, false roles, chat control tokens, "do this before
your task"). No list is complete; what gets through meets the checks in `second_opinion`.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable

from airflow_de_agent.core.evidence import Evidence, Line

WITHHELD = "[withheld: gives orders to the reader]"

_GAP = r"[\W_]+(?:\w+[\W_]+){0,4}?"
_ORDERS = (
    # file and key names write orders with underscores, so words end at anything but a letter
    rf"(?<![a-z])(?:ignore|disregard|forget|override|bypass|stop following|do(?:n'?t| not) (?:follow|obey)){_GAP}"
    r"(?:instructions?|instructed|prompts?|directions|directives|guidelines)(?![a-z])",
    r"\b(?:ignore|disregard|forget|override)[\W_]+(?:all[\W_]+|any[\W_]+)?(?:of[\W_]+)?(?:the[\W_]+|your[\W_]+|my[\W_]+)?"
    r"(?:above|previous|prior|earlier|preceding|other)[\W_]+(?:\w+[\W_]+)?(?:rules|commands|orders|context|text|tasks?|messages?)\b",
    r"\b(?:ignore|disregard|forget) (?:everything|anything|all of) (?:above|before|else|you|that|the)\b",
    r"\byou(?:'re| are)[\W_]+now[\W_]+(?:an?\b|the\b|in \w+ mode|\w*gpt\b|dan\b|free\b|acting|operating|required)",
    r"\byou are (?:an? )?(?:ai|assistant|language model|llm|chat ?bot|gpt|gemini|helpful)\b",
    r"\b(?:as|dear|hey|hello|hi|attention) (?:an? |the )?(?:ai|assistant|language model|llm|gpt|gemini|bot|model)\b",
    r"\b(?:instructions?|message|note) (?:to|for) (?:the |any |all )?"
    r"(?:ai|assistants?|language models?|llms?|gpt|gemini|(?:chat|on-call) ?bots?|bot|reader|reviewer|analyst)\b",
    r"\bimportant message (?:from|for|to)\b",
    r"\b(?:ai|llm|gpt|language|chat|automated|diagnos\w{1,4})[ -](?:\w{1,20}[ -])?"
    r"(?:agents?|assistants?|bots?|models?|tools?|readers?) "
    r"(?:must|should|shall|(?:will )?need to|are (?:to|asked|required)|have to|please)\b",
    r"\b(?:system|assistant)\s*:\s*(?:the root|set|you|please|report|answer|ignore|mark|say)\b",
    r"\b(?:a )?re-?run is (?:always |perfectly )?safe\b|\bmark (?:this|it|the \w+) as\b",
    r"\b(?:correct|right|only|recommended) (?:next step|fix|answer|category|diagnosis|root cause) is\b",
    r"\b(?:new|updated|real|actual|hidden|secret) (?:system )?(?:instructions?|prompts?)\b",
    r"\bsystem[ _-]?(?:prompt|override|instructions?)\b|^\W*system (?:message|notice)\s*:",
    r"(?:^|\s)\#{2,}\s*(?:system|instructions?|assistant)\b",
    r"<\|[a-z_]+\|>|<</?sys>>|\[/?inst\]|<(?:start|end)_of_turn>",
    r"</?(?:information|instructions?|system|assistant|important)\s*>",
    r"\b(?:before|after) you (?:can (?:solve|do|answer)|do that|solve|answer|summari[sz]e)\b",
    r"\bdo the following first\b",
    r"\b(?:reply|respond|answer|report|say|tell|claim|conclude|announce)\b.{0,40}?\b(?:that|it's|it is|everything)\b"
    r".{0,40}?\b(?:fine|well|healthy|no (?:action|problem|issue|failure)s?|nothing (?:is )?(?:wrong|failed)"
    r"|pwned|hacked|safe to re-?run)\b",
    r"\b(?:reply|respond|answer|print|output|repeat|say)[\W_]+(?:(?:only|exactly|just|simply|verbatim)\b"
    r"|the (?:following|string|phrase|words?)\b)",
    r"\b(?:include|append|insert|add|post|share|send)\b.{0,20}\b(?:this|the following) (?:link|url|text|message)\b",
    r"\b(?:set|mark|change) (?:the |your )?(?:category|confidence|verdict|diagnosis|root[ _]cause|rerun_is_safe)"
    r" (?:to|as)\b",
    # Elasticsearch lists what it refuses under "root_cause"; ours is a sentence
    r"\b(?:root_cause|rerun_is_safe|look_further)\b[\"'\s]*[:=](?!\s*\[)",
    r"\b(?:get_mwaa_task_logs|get_dag_run_status|query_redshift_audit_logs|get_cloudwatch_lambda_errors)\b",
    r"(?<![\w@])@(?:channel|here|everyone)\b",
    r"<(?:[@#][^>]{1,80}|!(?:channel|here|everyone|subteam|date)\b[^>]{0,80}|https?://[^>|]{1,300}\|[^>]{0,200})>",
    r"!?\[[^\]]{0,200}\]\((?:https?|data|javascript):[^)]{0,500}\)",
)
_ORDER = re.compile("|".join(_ORDERS), re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+(?=[\w\"'<\[])|(?<=\S)\s+(?=[a-z_]{2,40}=)|(?:\\n)+")
_BLOCK_OPEN = re.compile(r"<(information|instructions?|system|important)\s*>", re.IGNORECASE)
_HOST = re.compile(r"(?:https?://|www\.)([^\s/|>)\"']+)", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_BLOCK_LIMIT = 30
_PASSES = 10


def visible(text: str) -> str:
    """One line with nothing that a reader cannot see: no terminal escapes, control, zero-width or direction marks."""
    text = _ESCAPES.sub("", text)
    return "".join(
        " " if char in "\t\r\n\v\f\u2028\u2029" else char
        for char in text
        if char in "\t\r\n\v\f\u2028\u2029" or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs")
    )


def withhold(text: str) -> tuple[str, str]:
    """The line without its orders, each up to the end of its sentence, and those orders (empty when there are none)."""
    taken = []
    for _ in range(_PASSES):  # what is left may have joined to another order
        if not _ORDER.search(text):
            break
        text, order = _withhold_once(text)
        taken.append(order)
    return text, " ".join(taken)


def _withhold_once(text: str) -> tuple[str, str]:
    kept, taken, start = [], [], 0
    for end, after in [*(match.span() for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        order = _ORDER.search(text, start, end)
        if order:
            kept.append(text[start : order.start()] + WITHHELD)
            taken.append(text[order.start() : end])
        else:
            kept.append(text[start:end])
        start = after
    if not taken:  # the order spans a sentence end
        return WITHHELD, text
    return _ADDRESS.sub("[link]", " ".join(kept)), " ".join(taken)


@dataclasses.dataclass(frozen=True)
class Screened:
    """Evidence as a model may see it. `withheld` holds what was taken out, with the source it stood in."""

    evidence: tuple[Evidence, ...]
    withheld: tuple[tuple[str, str], ...] = ()


def screen(evidence: tuple[Evidence, ...]) -> Screened:
    """Make evidence visible, and withhold what gives orders to its reader."""
    shown, withheld = [], []
    for item in evidence:
        lines, taken = _screen_lines(item.lines)
        shown.append(dataclasses.replace(item, lines=lines))
        withheld += [(item.source, text) for text in taken]
    return Screened(tuple(shown), tuple(withheld))


def planted_hosts(withheld: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Hosts of links that stood in withheld text."""
    return frozenset(host.lower() for _, text in withheld for host in _HOST.findall(text))


def _screen_lines(lines: tuple[Line, ...]) -> tuple[tuple[Line, ...], list[str]]:
    shown, taken, closing, left = [], [], "", 0
    for line in lines:
        text = visible(line.text)
        if closing and left:
            closing, left = ("" if closing in text.lower() else closing), left - 1
            kept, order = WITHHELD, text
        else:
            kept, order = withhold(text)
            opened = _BLOCK_OPEN.search(text)
            closing = f"</{opened[1].lower()}" if opened else ""
            left = _BLOCK_LIMIT if closing and closing not in text.lower() else 0
        shown.append(Line(line.number, kept))
        if order:
            taken.append(order)
    return tuple(shown), taken


_SLACK_LINK = re.compile(r"<(?:https?|mailto):[^>|]*\|([^>]*)>")
_MARKDOWN_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ADDRESS = re.compile(
    r"(?:https?|ftp|slack|file)://[^\s<>\"')]*|\b(?:mailto:|javascript:|tel:|data:\w+/)[^\s<>\"')]+|www\.[^\s<>\"')]+",
    re.I,
)
_ANGLED = re.compile(r"<[!@#/a-zA-Z][^<>]*>")
_MENTION = re.compile(r"(?<![\w.])@(?=\w)")
_MARKUP = re.compile(r"`+|\*\*+|~~+|^\s*(?:#+|>+)\s+|&(?:lt|gt|amp);")
_PING = re.compile(r"<[!@#][^>]{1,80}>|<https?://[^>|]*\|[^>]*>|(?<![\w@])@(?:channel|here|everyone)\b", re.I)
_LINE_NUMBERS = re.compile(r"[\r\n]+(?: *\d+\| )?|^ *\d+\| ")
_ANY_LINK = re.compile("|".join(p.pattern for p in (_SLACK_LINK, _MARKDOWN_LINK, _ADDRESS, _ANGLED)) + r"|@\w+", re.I)


def plain(text: str, limit: int, hosts: frozenset[str] = frozenset()) -> str:
    """A model's sentence without links, mentions and markup, at most `limit` characters.

    `hosts` are names that must not appear even without a scheme.
    """
    text = visible(text)
    for _ in range(_PASSES):
        before, text = text, _stripped(text, hosts)
        if text == before:
            break
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _stripped(text: str, hosts: frozenset[str]) -> str:
    """One pass; taking one thing out can join the halves of another (``@`` and ``here`` around a backtick)."""
    text = _MARKUP.sub("", text)
    for pattern, kept in ((_SLACK_LINK, r"\1"), (_MARKDOWN_LINK, r"\1"), (_ADDRESS, "[link]"), (_ANGLED, "")):
        text = pattern.sub(kept, text)
    for host in sorted(hosts, key=len, reverse=True):
        text = re.sub(rf"{re.escape(host)}\S*", "[link]", text, flags=re.IGNORECASE)
    return " ".join(_MENTION.sub("", text).split())


def plain_piece(quote: str, limit: int = 400) -> str:
    """The longest piece of a quote without links, mentions, line numbers and ends of lines: still verbatim."""
    quote = _LINE_NUMBERS.sub("\0", quote.replace(WITHHELD, "\0").replace(" … ", "\0"))
    pieces = (piece.strip() for piece in _ANY_LINK.sub("\0", quote).split("\0"))
    return max(pieces, key=len, default="")[:limit]


def gives_orders(text: str) -> bool:
    """Whether a text tries to direct its reader."""
    return bool(_ORDER.search(text))


def pings(text: str, hosts: frozenset[str]) -> bool:
    """Whether a model's text carries what only a planted order puts there: a mention, a Slack link, a planted host."""
    low = text.lower()
    return bool(_PING.search(text)) or any(host in low for host in hosts)
