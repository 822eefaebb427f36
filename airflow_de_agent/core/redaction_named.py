"""Values assigned to a secret-like name: `'db_password': 'x'`, `--token x`, `SECRET_KEY 'x'`.

Read by hand and not by one pattern: it runs in the task process for an exception's text, where to compile a pattern
costs more than to read the text. Bounds: a name has 40 characters after its word, a value 8,192.
"""

from __future__ import annotations

import re
from functools import cache

from airflow_de_agent.core.redaction_table import (
    ABOUT,
    AUTH_ENDINGS,
    CODE_OWNERS,
    KEY_OWNERS,
    NAME_ENDINGS,
    NO_VALUE_STARTS,
    NO_VALUES,
    SCHEMES,
    SIGNS,
)

WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
DIGITS = "0123456789"
PROSE = WORD + "-"
NAME = WORD + ".-"
FOLLOWING = NAME + " \t=:,%>?+\\\"'`]"  # after the word, where it is assigned to
SIGN_STARTS = frozenset(sign[0] for sign in SIGNS)
SIGN_CHARACTERS = frozenset("".join(SIGNS))
CODE_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
QUOTES = ('"', "'", "`")
OPENERS = {")": "(", "]": "[", "}": "{"}
# [{"name": "DB_PASSWORD", "value": "x"}]
VALUE_KEY = r",?[ \t]{0,4}\\{0,7}[\"']?[Vv]alue\\{0,7}[\"']?[ \t]{0,2}[:=][ \t]{0,2}"
# By what a value starts with. Quotes may never close: the text was cut.
QUOTED = {
    '"': r'"(?P<v>(?:[^"\\\n]|\\.){1,8192})',
    "'": r"'(?P<v>(?:[^'\\\n]|\\.){1,8192})",
    "`": r"`(?P<v>[^`\n]{1,8192})",
    "\\": r"(?P<q>\\{1,7}[\"'`])(?P<v>(?:(?!(?<!\\)(?P=q))[^\n]){1,4096})",  # JSON within JSON
}
BARE = r"(?P<v>(?:[^\s\"'`,;&<>\\|=:]{1,4096}|[=:])(?:(?:[=:]|&(?![\w.%-]{1,40}=))[^\s\"'`,;&<>\\|]{0,200}){0,2})"


@cache
def regex(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled when it is first needed."""
    return re.compile(pattern)


def named_span(text: str, at: int, word: str) -> tuple[int, int, str] | None:
    """(start, end, kind) of the value assigned to the name around `word`; a bare one that is no secret has no kind."""
    end = at + len(word)
    if text[end : end + 1] not in FOLLOWING:
        return None
    head = text[max(0, at - 48) : at]
    prefix = head[len(head.rstrip(NAME)) :]
    if prefix and head[: -len(prefix)].endswith("\\"):
        prefix = prefix[1:]  # the n of an escaped newline
    after = _ending(text[end : end + 20])
    if after is None or not _may_name(prefix, text[at : end + 3]):
        return None
    if after[:1] == " " and after[1:2].isalnum() and prefix[:1] != "-" and not after.startswith(" string "):
        return None  # prose
    tail = _run(text, end, NAME, 41)
    if tail and (len(tail) > 40 or _about(word, tail)):
        return None
    found = _separator(text, end + len(tail))
    if found is None or no_value(text, found[2] + len(_quote(text, found[2]))):
        return None
    sep, closed, begin = found
    quote = text[begin : begin + 1]
    value = regex(QUOTED.get(quote, BARE)).match(text, begin)
    if value is None:
        return None
    start, stop = value.span("v")
    quoted = quote in QUOTED
    if not quoted:
        stop = start + len(_without_closers(value["v"]))
    if _assigns(text, at, prefix, (sep, closed, begin, tail), text[start:stop], quoted):
        return start, stop, _kind(prefix + word + tail, word)
    return None if quoted else (start, stop, "")


def _run(text: str, at: int, characters: str, most: int) -> str:
    """As many of the characters as stand there together."""
    if text[at : at + 1] not in characters:
        return ""
    rest = text[at : at + most]
    return rest[: len(rest) - len(rest.lstrip(characters))]


def _ending(rest: str) -> str | None:
    """What follows the word with its ending, or None if it is another word."""
    if not rest[:1].isalpha():
        return rest
    lowered = rest.lower()
    for ending in NAME_ENDINGS:
        if lowered.startswith(ending) and not "a" <= rest[len(ending) : len(ending) + 1] <= "z":
            return rest[len(ending) :]
    return None


def _may_name(prefix: str, word: str) -> bool:
    """What can be told of a name by its beginning: "key" needs an owner, "pass" and "auth" may not end another word."""
    start = word[:4].lower()
    if start.startswith("key"):
        owner = prefix[-14:].lower()
        return (owner[:-1] if owner[-1:] in ("_", ".", "-") else owner).endswith(KEY_OWNERS)
    if (
        start in ("pass", "auth", "cred")
        and prefix[-1:].isalpha()
        and word[4:6].lower() not in ("wo", "wd", "ph", "or", "en")
    ):
        return prefix[-1].islower() and word[0].isupper()
    return True


def _about(word: str, tail: str) -> bool:
    """Whether the name is only about a secret: token_count, authentication."""
    lowered = tail.lower()
    if word == "auth" and not _auth_ending(lowered):
        return True
    parts = lowered.replace("-", "_").replace(".", "_").split("_")
    if parts[-1] in ABOUT or (parts[-1][:1] == "s" and parts[-1][1:] in ABOUT):
        return True
    return tail.endswith(".") or any(part.startswith(("expir", "sexpir")) for part in parts)


def _auth_ending(tail: str) -> bool:
    rest = tail[1:] if tail[:1] in ("_", ".", "-") else tail
    if not tail[:1].isalpha() or (tail.startswith("orization") and not tail[9:10].isalpha()):
        return True
    return any(rest.startswith(ending) and not rest[len(ending) :][:1].isalpha() for ending in AUTH_ENDINGS)


def _separator(text: str, at: int) -> tuple[str, bool, int] | None:
    """What assigns, after a name that ends at `at`: (sign, whether the name was in quotes, where the value begins)."""
    if text[at : at + 1] in ("=", ":", ">"):
        return _sign(text, at, False)
    quote = _quote(text, at)
    closed = quote[-1:] in QUOTES and len(quote) < 9
    at += len(quote) if closed else 0
    at += text.startswith("]", at)
    blanks = len(_run(text, at, " \t", 3))
    if 1 <= blanks <= 2 and text.startswith("string", at + blanks):
        at += blanks + 6
    if "alue" in text[at : at + 24]:
        named = regex(VALUE_KEY).match(text, at)
        if named is not None:
            return named[0].strip(), closed, _value_start(text, named.end())
    return _sign(text, at, closed)


def _sign(text: str, at: int, closed: bool) -> tuple[str, bool, int] | None:
    blanks = len(_run(text, at, " \t", 9))
    if blanks > 8:
        return None
    at += blanks
    first = text[at : at + 1]
    if first == ">":
        rest = text[at + 1 : at + 81]
        return ">", closed, _value_start(text, at + 1 + len(rest) - len(rest.lstrip()))
    sign = ""
    if first in SIGN_STARTS:
        alone = first in "=:," and text[at + 1 : at + 2] not in SIGN_CHARACTERS
        sign = first if alone else next((sign for sign in SIGNS if text.startswith(sign, at)), "")
    if not sign and not blanks:
        return None
    at += len(sign)
    return sign, closed, _value_start(text, at + (len(_run(text, at, " \t", 8)) if sign else 0))


def _value_start(text: str, at: int) -> int:
    """Past what may stand before the value: b'', SecretStr(''), the scheme of an Authorization header."""
    if not text[at : at + 1].isalpha():
        return at
    call, bracket, rest = text[at : at + 22].partition("(")
    if text[at] in "bBuUrRfF" and text[at + 1 : at + 2] in ('"', "'"):
        return at + 1
    if bracket and rest[:1] in ('"', "'") and len(call) <= 20 and call.isascii() and call.isalpha():
        return at + len(call) + 1
    scheme = text[at : at + 10].partition(" ")[0]
    if scheme.lower() in SCHEMES:
        blanks = len(_run(text, at + len(scheme), " ", 5))
        following = text[at + len(scheme) + blanks : at + len(scheme) + blanks + 1]
        if 1 <= blanks <= 4 and following.strip() not in ("", '"', "'"):
            at += len(scheme) + blanks
    return at


def _quote(text: str, at: int) -> str:
    """The quote that opens a value, with the backslashes before it."""
    slashes = _run(text, at, "\\", 8)
    after = text[at + len(slashes) : at + len(slashes) + 1]
    return slashes + after if after in QUOTES else slashes


def no_value(text: str, at: int) -> bool:
    """Whether what stands there is no secret whatever its name: a mask, a template, a variable, code, prose."""
    rest = text[at : at + 210]
    if rest.startswith(NO_VALUE_STARTS) or _run(rest, 0, PROSE, 30).lower() in NO_VALUES:
        return True
    if rest[:1] == "$":
        name = rest.split(None, 1)[0][1:]
        return name.replace("_", "a").isalnum() and len(name) <= 80
    mask = _run(rest, 0, "*x•.", 200) if rest[1:2] in "*x•." else ""
    if len(mask) >= 3 and (
        not (rest[len(mask) :][:1].isalnum() or rest[len(mask) :][:1] == "_") or mask[3:].strip("x")
    ):
        return True
    return _is_code(rest)


def _is_code(rest: str) -> bool:
    """`get_token(`, `tokens[`, `self.password`."""
    name = _run(rest, 0, CODE_NAME, 62)
    if name[:1] in ("", "."):
        return False
    if 3 <= len(name) <= 61 and rest[len(name) : len(name) + 1] in ("(", "[", "{"):
        return True
    owner, dot, attribute = rest[:12].partition(".")
    return bool(dot) and owner in CODE_OWNERS and (attribute[:1] == "_" or "a" <= attribute[:1] <= "z")


def _without_closers(value: str) -> str:
    """A bare value without the brackets and full stops of what is around it: `Connection(password=x).`."""
    while value and value[-1] in ")]}.:" and value.count(value[-1]) > value.count(OPENERS.get(value[-1], "\0")):
        value = value[:-1]
    return value


def _kind(name: str, word: str) -> str:
    name = name.lower().replace("-", "_")
    if "secret" in name and "access" in name and "key" in name:
        return "aws_secret_key"
    if "session_token" in name or "security_token" in name:
        return "aws_session_token"
    if word.startswith(("pass", "pwd")):
        return "password"
    return {"key": "api_key", "auth": "authorization", "cred": "credential"}.get(word, word)


def _assigns(text: str, at: int, prefix: str, found: tuple[str, bool, int, str], value: str, quoted: bool) -> bool:
    """Whether this is an assignment of a secret, and not prose or code about one."""
    if not value or "[REDACTED:" in value:
        return False
    sep, closed, begin, tail = found
    strong = text[at : at + 3].lower() in ("pas", "pwd")
    if sep == ">":
        return text[begin + len(value) : begin + len(value) + 80].lstrip().startswith("</")
    if sep == ",":
        return quoted and closed and (prefix.startswith("-") or odd(value))
    if sep == "":
        option = prefix.startswith("-") and value[0] != "-"
        return option or (quoted and " " not in value and (strong or "_" in prefix + tail))
    if value.isdecimal() and len(value) < 7 and not prefix + tail and text.startswith("PASS=", at):
        return False  # dbt counts its tests: PASS=12 WARN=0
    if sep == ":" and not closed and not quoted:
        return odd(value) and not text.startswith(":", at - 1)
    return strong or odd(value) or (quoted and len(value) >= 6 and " " not in value and "/" not in value)


def odd(value: str) -> bool:
    """Whether a value looks made by a machine, or by somebody who was told to use digits."""
    value = value[:200]
    if len(value) < 6 or "://" in value or _date_or_number(value):
        return False
    if any(map(str.isdecimal, value)):
        return True
    return len(value) >= 16 and value.lower() != value != value.upper() and " " not in value


def _date_or_number(value: str) -> bool:
    if value.isdecimal():
        return len(value) <= 12
    if not value.strip(DIGITS + ".,:%+-"):
        return True
    return value[4:5] == value[7:8] == "-" and (value[:4] + value[5:7] + value[8:10]).isdecimal() and len(value) >= 10
