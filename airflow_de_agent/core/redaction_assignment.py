"""What stands between a secret-like name and its value: `=`, `": "`, `, "value": `, a new line, colours."""

from __future__ import annotations

from airflow_de_agent.core.redaction_table import SCHEMES, SIGNS, regex
from airflow_de_agent.core.redaction_values import DIGITS, odd, run

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
CODES = r"(?:\x1b\[[\d;]{0,16}m|\0){1,4}"  # of a terminal, within an assignment


def separator(text: str, at: int) -> tuple[str, bool, int] | None:
    """What assigns, after a name that ends at `at`: (sign, whether the name was in quotes, where the value begins)."""
    if text[at : at + 1] in ("=", ":", ">"):
        return _sign(text, at, False)
    at = _past_codes(text, at)
    at += 3 * text.startswith(("%22", "%27"), at)
    quote = quote_at(text, at)
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


def quote_at(text: str, at: int) -> str:
    """The quote that opens a value, with the backslashes before it."""
    slashes = run(text, at, "\\", 8)
    after = text[at + len(slashes) : at + len(slashes) + 1]
    return slashes + after if after in QUOTES else slashes
