"""Values assigned to a secret-like name: `'db_password': 'x'`, `--token x`, `SECRET_KEY 'x'`.

Read by hand and not by one pattern: it runs in the task process for an exception's text, where to compile a pattern
costs more than to read the text. Bounds: a name has 40 characters after its word, a value 8,192.
"""

from __future__ import annotations

from airflow_de_agent.core.redaction_table import (
    ABOUT,
    AUTH_ENDINGS,
    KEY_OWNERS,
    NAME_ENDINGS,
    PASS_OWNERS,
    SCHEMES,
    SIGNS,
    regex,
)
from airflow_de_agent.core.redaction_values import DIGITS, NAME, made, no_value, odd, run, token_like, without_closers

FOLLOWING = NAME + " \t=:,%>?+\\\"'`]|│\n<\x1b\0"  # after the word, where it is assigned to
PADDING = 40  # blanks beside a sign, in a table
SIGN_STARTS = frozenset(sign[0] for sign in SIGNS)
SIGN_CHARACTERS = frozenset("".join(SIGNS))
QUOTES = ('"', "'", "`")
# [{"name": "DB_PASSWORD", "value": "x"}], the same in YAML, <name>db.password</name><value>x</value>
VALUE_KEY = (
    r",?\s{0,40}(?:\\{0,7}[\"']?[Tt]ype\\{0,7}[\"']?: ?\\{0,7}[\"']?\w{1,20}\\{0,7}[\"']?,?\s{1,40})?"
    r"\\{0,7}[\"']?\w{0,12}[Vv]alue\\{0,7}[\"']?[ \t]{0,2}[:=][ \t]{0,2}|</\w{1,20}>\s{0,40}<[Vv]alue>"
)
NEXT_LINE = r"(?:[|>][+-]?|\\)?[ \t]{0,8}\r?\n[ \t]{1,40}"  # before a value that stands in the next line
SET_FOR = (  # SET PASSWORD FOR 'etl'@'%' = 'x'
    r"(?i:for [^\s\"'`=]{0,60}(?:[\"'`][^\"'`\n]{0,60}[\"'`]@?){0,2} ?(?:=|to) ?(?:\w{1,20}\()?)"
    r"[\"'](?P<v>[^\"'\n]{1,200})"
)
# Vault's secret_id is a secret itself, and not the name of one.
ROLE_SECRET = r"[_-][Ii][Dd][\\\"'\s:=]{1,8}[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SAYING = ("is", "is:", "was", "was:", "to:")  # words between a name and its value in prose
CODES = r"(?:\x1b\[[\d;]{0,16}m|\0){1,4}"  # of a terminal, within an assignment
# By what a value starts with. Quotes may never close: the text was cut.
QUOTED = {
    '"': r'"(?P<v>(?:[^"\\\n]|\\.){1,8192})',
    "'": r"'(?P<v>(?:[^'\\\n]|\\.){1,8192})",
    "`": r"`(?P<v>[^`\n]{1,8192})",
    "\\": r"(?P<q>\\{1,7}[\"'`])(?P<v>(?:(?!(?<!\\)(?P=q))[^\n]){1,4096})",  # JSON within JSON
}
BARE = r"(?P<v>(?:[^\s\"'`,;&<>\\|=:]{1,4096}|[=:])(?:(?:[=:]|&(?![\w.%-]{1,40}=))[^\s\"'`,;&<>\\|]{0,200}){0,2})"


def named_span(text: str, at: int, word: str) -> tuple[int, int, str] | None:
    """(start, end, kind) of the value assigned to the name around `word`; a bare one that is no secret has no kind."""
    name = _name(text, at, word)
    if name is None:
        return None
    prefix, tail = name
    end = at + len(word) + len(tail)
    dotted = tail.endswith("...")  # password..............x
    prose = text[end : end + 1] == " " and text[end + 1 : end + 2].isalnum() and prefix[:1] != "-"
    if prose and not dotted and not text.startswith(" string ", end):
        return _said(text, end, word)
    found = ("|", False, end) if dotted else _separator(text, end)
    if found is None or no_value(text, found[2] + len(_quote(text, found[2]))):
        return None
    sep, closed, begin = found
    value = _value(text, begin)
    if value is None:
        return None
    start, stop, quoted = value
    if _assigns(text, at, prefix, (sep, closed, begin, tail), text[start:stop], quoted):
        return start, stop, _kind(prefix + word + tail, word)
    return None if quoted else (start, stop, "")


def _name(text: str, at: int, word: str) -> tuple[str, str] | None:
    """What of a secret-like name stands before and after its word; None if it is another name."""
    end = at + len(word)
    if text[end : end + 1] not in FOLLOWING:
        return None
    head = text[max(0, at - 48) : at]
    prefix = head[len(head.rstrip(NAME)) :]
    if prefix and head[: -len(prefix)].endswith("\\"):
        prefix = prefix[1:]  # the n of an escaped newline
    following = text[end : end + 20]
    after = _ending(following)
    if after is None or not _may_name(prefix or head[-7:], text[at : end + 3]):
        return None
    tail = run(text, end, NAME, 41)
    if not tail or (word == "secret" and tail[1:].lower() == "id" and regex(ROLE_SECRET).match(text, end)):
        return prefix, tail
    about = len(tail) > 40 or _about(word, tail, tail[len(following) - len(after) :])
    return None if about else (prefix, tail)


def _value(text: str, at: int) -> tuple[int, int, bool] | None:
    """(start, end, whether in quotes) of the value that begins there with its quote."""
    quote = text[at : at + 1]
    match = regex(QUOTED.get(quote, BARE)).match(text, at)
    if match is None:
        return None
    start, stop = match.span("v")
    if quote not in QUOTED:
        return start, start + len(without_closers(match["v"])), False
    if text.startswith(' -> "', stop + 1):  # of a plan: the old one and the new one
        stop = max(stop, text.find('"', stop + 6, stop + 8192))
    return start, stop, True


def _said(text: str, at: int, word: str) -> tuple[int, int, str] | None:
    """The value that prose tells of, if it is none of the words of prose."""
    words = text[at : at + 300].partition("\n")[0].split(" ")[1:12]
    setting = "set pass" in text[max(0, at - 16) : at].lower() and regex(SET_FOR).match(text, at + 1)
    if setting:
        return None if no_value(text, setting.start("v")) else (*setting.span("v"), "password")
    if words[:2] == ["with", "value"]:
        words = words[2:]
    elif words[0] == "for":  # Password for user 'admin': x
        words = words[next((n for n, said in enumerate(words) if said[-1:] == ":" or said in SAYING), 12) :][1:]
    elif words[0] in SAYING:
        words = words[1:]
    value = words[0].strip("\"'`,;)") if words else ""
    if not (made(value) and not any(c in value for c in "/:[") if _strong(word) else token_like(value)):
        return None
    start = text.index(value, at)
    return None if no_value(text, start) else (start, start + len(value), _kind(word, word))


def _strong(word: str) -> bool:
    """Whether the value of such a name is a secret whatever it looks like."""
    return word in ("pass", "pwd", "pw")


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
        if owner[-1:] == " ":  # in prose
            return owner.endswith(("api ", "access "))
        return (owner[:-1] if owner[-1:] in ("_", ".", "-") else owner).endswith(KEY_OWNERS)
    if start == "pass" and prefix.lower().endswith(PASS_OWNERS):
        return True
    ends_another = start in ("pass", "auth", "cred") and word[4:6].lower() not in ("wo", "wd", "ph", "or", "en")
    if prefix[-1:].isalpha() and (ends_another or (start[:2] == "pw" and start[2:3] != "d")):
        return prefix[-1].islower() and word[0].isupper()
    return True


def _about(word: str, tail: str, rest: str) -> bool:
    """Whether the name is only about a secret: token_count, authentication. `rest`: the tail without its ending."""
    if word == "auth" and not _auth_ending(tail.lower()):
        return True
    name = rest.rstrip(".") if rest.endswith("...") else rest
    parts = name.lower().replace("-", "_").replace(".", "_").split("_")
    return parts[-1] in ABOUT or name.endswith(".") or any(part.startswith("expir") for part in parts)


def _auth_ending(tail: str) -> bool:
    rest = tail[1:] if tail[:1] in ("_", ".", "-") else tail
    if not tail[:1].isalpha() or (tail.startswith("orization") and not tail[9:10].isalpha()):
        return True
    return any(rest.startswith(ending) and not rest[len(ending) :][:1].isalpha() for ending in AUTH_ENDINGS)


def _separator(text: str, at: int) -> tuple[str, bool, int] | None:
    """What assigns, after a name that ends at `at`: (sign, whether the name was in quotes, where the value begins)."""
    if text[at : at + 1] in ("=", ":", ">"):
        return _sign(text, at, False)
    at = _past_codes(text, at)
    at += 3 * text.startswith(("%22", "%27"), at)
    quote = _quote(text, at)
    closed = quote[-1:] in QUOTES and len(quote) < 9
    at += len(quote) if closed else 0
    at += text.startswith("]", at)
    blanks = len(run(text, at, " \t", 3))
    if 1 <= blanks <= 2 and text.startswith("string", at + blanks):
        at += blanks + 6
    if "alue" in text[at : at + 90]:
        named = regex(VALUE_KEY).match(text, at)
        if named is not None and ("\n" not in named[0] or _is_a_value(text, at)):
            return named[0].strip(), closed, _value_start(text, named.end())
    return _sign(text, at, closed)


def _is_a_value(text: str, at: int) -> bool:
    """Whether the name that ends there is itself the value of `name:` or `key:`, whose value the next line gives."""
    line = text[max(0, at - 120) : at].rpartition("\n")[2].lower()
    return any(end in line for end in ("name:", 'name"', "name'", "name>", "key:", 'key"', "key'", "key>"))


def _sign(text: str, at: int, closed: bool) -> tuple[str, bool, int] | None:
    blanks = len(run(text, at, " \t", PADDING + 1))
    if blanks > PADDING:
        return None
    at += blanks
    first = text[at : at + 1]
    if first == ">":
        rest = text[at + 1 : at + 81]
        return ">", closed, _value_start(text, at + 1 + len(rest) - len(rest.lstrip()))
    sign = ""
    if first in SIGN_STARTS:
        alone = first in "=:,|│" and text[at + 1 : at + 2] not in SIGN_CHARACTERS
        sign = first if alone else next((sign for sign in SIGNS if text.startswith(sign, at)), "")
    if not sign and not blanks:
        return None
    at += len(sign)
    at += len(run(text, at, " \t", PADDING)) if sign else 0
    if text[at : at + 1] in ("\n", "\r", "|", ">", "\\") and sign in ("", ":", "="):
        broken = regex(NEXT_LINE).match(text, at)
        if broken:
            return sign + "\n", closed, _value_start(text, broken.end())
    return sign, closed, _value_start(text, at)


def _past_codes(text: str, at: int) -> int:
    """Past what colours a terminal."""
    if text[at : at + 1] not in ("\x1b", "\0"):
        return at
    codes = regex(CODES).match(text, at)
    return codes.end() if codes else at


def _value_start(text: str, at: int) -> int:
    """Past what may stand before the value: b'', SecretStr(''), [''], the scheme of an Authorization header."""
    at = _past_codes(text, at)
    at += 3 * text.startswith(("%22", "%27"), at)
    at += 9 * text.startswith("<![CDATA[", at)
    if text.startswith(("['", '["'), at):
        return at + odd(text[at + 2 : at + 202].partition(text[at + 1])[0])
    if not text[at : at + 1].isalpha():
        return at
    call, bracket, rest = text[at : at + 22].partition("(")
    if text.startswith("string(", at) and text.startswith(') "', at + 7 + len(run(text, at + 7, DIGITS, 6))):
        return at + 9 + len(run(text, at + 7, DIGITS, 6))
    if text[at] in "bBuUrRfFN" and text[at + 1 : at + 2] in ('"', "'"):
        return at + 1
    if bracket and rest[:1] in ('"', "'") and len(call) <= 20 and call.isascii() and call.isalpha():
        return at + len(call) + 1
    scheme = text[at : at + 20].partition(" ")[0]
    if scheme.lower() in SCHEMES or scheme.lower().endswith(("-key", "-token")):
        blanks = len(run(text, at + len(scheme), " ", 5))
        following = text[at + len(scheme) + blanks : at + len(scheme) + blanks + 1]
        if 1 <= blanks <= 4 and following.strip() not in ("", '"', "'"):
            at += len(scheme) + blanks
    return at


def _quote(text: str, at: int) -> str:
    """The quote that opens a value, with the backslashes before it."""
    slashes = run(text, at, "\\", 8)
    after = text[at + len(slashes) : at + len(slashes) + 1]
    return slashes + after if after in QUOTES else slashes


def _kind(name: str, word: str) -> str:
    name = name.lower().replace("-", "_")
    if "secret" in name and "access" in name and "key" in name:
        return "aws_secret_key"
    if "session_token" in name or "security_token" in name:
        return "aws_session_token"
    if _strong(word):
        return "password"
    return {"key": "api_key", "auth": "authorization", "cred": "credential"}.get(word, word)


def _assigns(text: str, at: int, prefix: str, found: tuple[str, bool, int, str], value: str, quoted: bool) -> bool:
    """Whether this is an assignment of a secret, and not prose or code about one."""
    if not value or "[REDACTED:" in value:
        return False
    sep, closed, begin, tail = found
    strong = text[at : at + 2].lower() in ("pa", "pw")
    if sep == ">":
        return text[begin + len(value) : begin + len(value) + 80].lstrip("]> \t\r\n").startswith("</")
    if sep == "," and not quoted:  # (spark.hadoop.fs.s3a.secret.key,x)
        return (
            text[at - len(prefix) - 1 : at - len(prefix)] == "("
            and text.startswith(")", begin + len(value))
            and token_like(value)
        )
    if sep == ",":
        pair = closed or text.startswith("{", at - 1)
        return pair and (prefix.startswith("-") or odd(value.rstrip(DIGITS)) or (strong and made(value)))
    if sep in ("|", "│", ":: ", "->") or "\n" in sep:
        return odd(value) or (strong and made(value))
    if sep == "":
        usage = value.lower() == text[at : at + len(value)].lower() and value.isupper()  # [--token TOKEN]
        option = prefix.startswith("-") and value[0] != "-" and not usage
        named = quoted and " " not in value and (strong or "_" in prefix + tail)
        return option or named or (strong and made(value))
    if not prefix + tail and text.startswith("PASS:" if not value.isdecimal() or len(value) > 6 else "PASS", at):
        return False  # dbt counts its tests: PASS=12 WARN=0; Go names them: PASS: TestLoad
    if text[at : at + 2].lower() == "pw" and not value.strip(DIGITS + ".-"):
        return False
    if sep == ":" and not closed and not quoted:
        return (odd(value) or (strong and made(value))) and (text[at - 1 : at] != ":" or text[begin - 1] == " ")
    return strong or odd(value) or (quoted and len(value) >= 6 and " " not in value and "/" not in value)
