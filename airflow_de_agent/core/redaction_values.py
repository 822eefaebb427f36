"""What a value looks like, whatever stands before it: a mask, a template, code, a date, or made by a machine."""

from __future__ import annotations

from airflow_de_agent.core.redaction_table import CODE_OWNERS, NO_VALUE_STARTS, NO_VALUES

DIGITS = "0123456789"
WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + DIGITS + "_"
PROSE = WORD + "-"
NAME = WORD + ".-"
CODE_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
ATTRIBUTES = (".password", ".passwd", ".pwd", ".token", ".secret")
SYMBOLS = tuple("!#$%&*+/@?^~")  # within a value, not after a word
VARIABLE_ENDS = " \t\r\n\"'`,;)]}"
OPENERS = {")": "(", "]": "[", "}": "{"}


def run(text: str, at: int, characters: str, most: int) -> str:
    """As many of the characters as stand there together."""
    if text[at : at + 1] not in characters:
        return ""
    rest = text[at : at + most]
    return rest[: len(rest) - len(rest.lstrip(characters))]


def no_value(text: str, at: int) -> bool:
    """Whether what stands there is no secret whatever its name: a mask, a template, a variable, code, prose."""
    rest = text[at : at + 210]
    word = run(rest, 0, PROSE, 30)
    if rest.startswith(NO_VALUE_STARTS) or (word.lower() in NO_VALUES and rest[len(word) :][:1] not in SYMBOLS):
        return True
    if rest[:1] == "{":  # a template, unless ODBC's quotes
        inner = rest[1:].partition("}")[0]
        return not odd(inner) or _is_code(inner) or inner[:1] in "{%\"'"
    if rest[:1] == "/" and text.endswith(("PWD=", "pwd="), 0, at):
        return True  # the working directory
    if rest[:1] == "$":
        name = run(rest, 1, WORD, 81)
        return 0 < len(name) <= 80 and rest[len(name) + 1 :][:1] in VARIABLE_ENDS
    mask = run(rest, 0, "*x•.", 200) if rest[1:2] in "*x•." else ""
    if len(mask) >= 3 and (
        not (rest[len(mask) :][:1].isalnum() or rest[len(mask) :][:1] == "_") or mask[3:].strip("x")
    ):
        return True
    return _is_code(rest)


def _is_code(rest: str) -> bool:
    """`get_token(`, `tokens[`, `self.password`, `boto3.Session(`, `t.password`."""
    name = run(rest, 0, CODE_NAME, 62)
    if name[:1] in ("", "."):
        return False
    if 3 <= len(name) <= 61 and rest[len(name) : len(name) + 1] in ("(", "[", "{"):
        return True
    if rest[len(name) : len(name) + 2] in ("['", '["'):
        return True
    whole = run(rest, 0, NAME, 62)
    if "." in whole and (rest[len(whole) :][:1] == "(" or name.lower().endswith(ATTRIBUTES)):
        return True
    owner, dot, attribute = rest[:12].partition(".")
    return bool(dot) and owner in CODE_OWNERS and (attribute[:1] == "_" or "a" <= attribute[:1] <= "z")


def without_closers(value: str) -> str:
    """A bare value without the brackets and full stops of what is around it: `Connection(password=x).`."""
    while value and value[-1] in ")]}.:" and value.count(value[-1]) > value.count(OPENERS.get(value[-1], "\0")):
        value = value[:-1]
    return value


def odd(value: str) -> bool:
    """Whether a value looks made by a machine, or by somebody who was told to use digits."""
    value = value[:200]
    if len(value) < 6 or "://" in value or _date_or_number(value):
        return False
    if any(map(str.isdecimal, value)):
        return True
    return len(value) >= 16 and value.lower() != value != value.upper() and " " not in value


def made(value: str) -> bool:
    """Whether a value changes between kinds of characters as words, names and versions do not: cdthmR9g$9."""
    characters = "".join(c for c in value[:200] if c not in "_-.")
    if len(characters) < 8 or "://" in value or _date_or_number(value):
        return False
    kinds = [_character_kind(c) for c in characters]
    runs = 1 + sum(a != b for a, b in zip(kinds, kinds[1:], strict=False))
    return runs * (3 if len(set(kinds)) > 2 else 2) > len(kinds)


def token_like(value: str) -> bool:
    """Whether a value is so long and so mixed that it is no word of prose whatever it stands beside."""
    plain = "".join(character for character in value.rstrip("=") if character not in "+/_-")
    return len(plain) >= 20 and plain.isalnum() and made(plain) and len(set(map(_character_kind, plain))) > 2


def _character_kind(character: str) -> str:
    return "0" if character.isdecimal() else "a" if character.islower() else "A" if character.isupper() else "$"


def _date_or_number(value: str) -> bool:
    if value.isdecimal():
        return len(value) <= 12
    if not value.strip(DIGITS + ".,:%+-"):
        return True
    return value[4:5] == value[7:8] == "-" and (value[:4] + value[5:7] + value[8:10]).isdecimal() and len(value) >= 10
