"""Values assigned to a secret-like name: `'db_password': 'x'`, `--token x`, `SECRET_KEY 'x'`.

Read by hand and not by one pattern: it runs in the task process for an exception's text, where to compile a pattern
costs more than to read the text. Bounds: a name has 40 characters after its word, a value 8,192.
"""

from __future__ import annotations

from airflow_de_agent.core.redaction_assignment import quote_at, separator
from airflow_de_agent.core.redaction_table import (
    ABOUT,
    AUTH_ENDINGS,
    KEY_OWNERS,
    NAME_ENDINGS,
    PASS_OWNERS,
    regex,
)
from airflow_de_agent.core.redaction_values import DIGITS, NAME, made, no_value, odd, run, token_like, without_closers

FOLLOWING = NAME + " \t=:,%>?+\\\"'`]|│\n<\x1b\0"  # after the word, where it is assigned to
SET_FOR = (  # SET PASSWORD FOR 'etl'@'%' = 'x'
    r"(?i:for [^\s\"'`=]{0,60}(?:[\"'`][^\"'`\n]{0,60}[\"'`]@?){0,2} ?(?:=|to) ?(?:\w{1,20}\()?)"
    r"[\"'](?P<v>[^\"'\n]{1,200})"
)
# Vault's secret_id is a secret itself, and not the name of one.
ROLE_SECRET = r"[_-][Ii][Dd][\\\"'\s:=]{1,8}[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SAYING = ("is", "is:", "was", "was:", "to:")  # words between a name and its value in prose
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
    found = ("|", False, end) if dotted else separator(text, end)
    if found is None or no_value(text, found[2] + len(quote_at(text, found[2]))):
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
        named_alike = not strong and text[at : at + 4].lower() in value.lower() and value.replace(".", "a").isalpha()
        # as a type's name is: credentials: ReadOnlyCredentials
        of_its_own = text[at - 1 : at] != ":" or text[begin - 1] == " "
        return of_its_own and not named_alike and (odd(value) or (strong and made(value)))
    return strong or odd(value) or (quoted and len(value) >= 6 and " " not in value and "/" not in value)
