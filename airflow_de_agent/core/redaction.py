r"""Secrets out, before anything is truncated, stored, sent or shown.

Rules kept here:
- a secret becomes `[REDACTED:kind#n]`; equal secrets get equal placeholders within one `Redactor`;
- a placeholder that already stands in the text stays, so that redacting twice changes nothing;
- the number of newlines stays, so that line numbers stay true;
- no pattern is tried where its literal does not stand, and every quantifier is bounded: time is linear in the text.

How it works: `SHAPES` are secrets that one recognises by themselves, `NAMES` are words after which a secret is
assigned. Each row is looked for by a literal; only where a literal stands is the row's pattern compiled and matched.
A literal in lower case is looked for in any case, one with a capital letter as it is written.
"""

from __future__ import annotations

import re
import sys
from binascii import Error as Base64Error
from binascii import a2b_base64
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

PLACEHOLDER = r"\[REDACTED:([a-z0-9_]{1,40})#(\d{1,9})\]"


class Shape(NamedTuple):
    """A secret with a form of its own; `pattern` starts at the literal and its group `v`, if any, is the secret."""

    kind: str
    literals: tuple[str, ...]
    pattern: str
    why: str
    lead: int = 0  # characters before the literal that belong to the match


# Not the middle of a word or blob; an escaped newline or byte before it is no letter.
B = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
E = r"(?![A-Za-z0-9])"
WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

SHAPES: tuple[Shape, ...] = (
    # cloud
    Shape(
        "aws_access_key",
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        B + r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}" + E,
        "AWS access key ids",
    ),
    Shape(
        "aws_secret_key",
        ("AKIA", "ASIA"),
        r"A[KS]IA[A-Z0-9]{16}[^A-Za-z0-9/+][\s\S]{0,120}?(?<![A-Za-z0-9/+=_-])"
        r"(?P<v>(?=[^a-z]{0,39}[a-z])(?=[^A-Z]{0,39}[A-Z])(?=[^0-9]{0,39}[0-9])[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=_-])",
        "forty characters close after their key id",
    ),
    Shape(
        "aws_session_token",
        ("IQoJb3JpZ2lu", "FwoGZXIvYXdz", "FQoGZXIvYXdz"),
        r"[IF](?:QoJb3JpZ2lu|woGZXIvYXdz|QoGZXIvYXdz)[A-Za-z0-9/+=%_-]{20,4096}",
        "STS tokens start so",
    ),
    Shape(
        "aws_bedrock_key",
        ("ABSKQmVkcm9ja", "bedrock-api-key-"),
        r"(?:ABSKQmVkcm9ja|bedrock-api-key-)[A-Za-z0-9+/=]{20,4096}",
        "Bedrock API keys",
    ),
    Shape("google_api_key", ("AIza",), B + r"AIza[\w-]{35}", "Google API keys, Gemini's among them"),
    Shape("google_oauth_token", ("ya29.", "GOCSPX-"), B + r"(?:ya29\.|GOCSPX-)[\w.-]{20,2048}", "Google OAuth"),
    Shape("google_refresh_token", ("1//0",), B + r"1//0[\w-]{30,512}", "Google OAuth refresh tokens"),
    Shape(
        "azure_client_secret",
        ("Q~",),
        r"(?:(?<![\w~.])|(?<=\\[nrt]))[\w~.]{3}\dQ~[\w~.-]{31,34}(?![\w~-])",
        "Entra client secrets",
        lead=4,
    ),
    Shape(
        "databricks_token",
        ("dapi",),
        B + r"dapi[0-9a-f]{32}(?:-\d{1,3})?" + E,
        "Databricks tokens",
    ),
    # code hosts and registries
    Shape("github_token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), B + r"gh[pousr]_[A-Za-z0-9]{20,255}", "GitHub"),
    Shape("github_token", ("github_pat_",), B + r"github_pat_\w{22,255}", "GitHub fine-grained tokens"),
    Shape(
        "gitlab_token",
        ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glimt-", "glagent-", "glffct-", "gloas-"),
        B + r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|ffct|oas)-[\w.-]{15,320}",
        "GitLab",
    ),
    Shape("gitlab_token", ("GR1348941",), B + r"GR1348941[\w-]{20}", "GitLab runner registration"),
    Shape("npm_token", ("npm_",), B + r"npm_[A-Za-z0-9]{30,255}", "npm"),
    Shape("pypi_token", ("pypi-",), B + r"pypi-[\w-]{40,1000}", "PyPI"),
    # chat, mail, payments, models, operations
    Shape("slack_token", ("xox",), B + r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9%-]{8,512}", "Slack tokens"),
    Shape("slack_token", ("xapp-",), B + r"xapp-\d-[A-Za-z0-9-]{8,512}", "Slack app tokens"),
    Shape(
        "slack_webhook",
        ("hooks.slack.com",),
        r"hooks\.slack\.com/(?P<v>(?:services|workflows|triggers)/[\w/+-]{8,200})",
        "who has it can post",
    ),
    Shape("teams_webhook", ("webhook.office.com",), r"webhook\.office\.com/(?P<v>webhookb2/[\w/@-]{20,400})", "same"),
    Shape("discord_webhook", ("/api/webhooks/",), r"/api/webhooks/(?P<v>\d{5,30}/[\w-]{20,200})", "same"),
    Shape("sendgrid_key", ("SG.",), B + r"SG\.[\w-]{16,64}\.?[\w.-]{16,128}", "SendGrid"),
    Shape("twilio_key", ("SK",), B + r"SK[0-9a-fA-F]{32}" + E, "Twilio API keys"),
    Shape(
        "stripe_key",
        ("sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_", "whsec_"),
        B + r"(?:[sr]k_(?:live|test|prod)_|whsec_)[A-Za-z0-9+/=]{10,255}",
        "Stripe",
    ),
    Shape("model_api_key", ("sk-",), B + r"sk-(?=[\w-]{0,50}\d)[\w-]{20,255}", "OpenAI, Anthropic"),
    Shape("huggingface_token", ("hf_",), B + r"hf_[A-Za-z]{30,40}" + E, "Hugging Face"),
    Shape("vault_token", ("hvs.", "hvb.", "hvr."), B + r"hv[sbr]\.[\w-]{20,1000}", "HashiCorp Vault"),
    Shape("dbt_token", ("dbtc_", "dbtu_", "dbts_"), B + r"dbt[cus]_[\w-]{20,200}", "dbt Cloud"),
    Shape("age_key", ("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "age"),
    # headers and tickets
    Shape("jwt", ("eyJ",), B + r"eyJ[\w-]{8,300}\.[\w-]{4,8192}(?:\.[\w-]{0,4096}){0,3}", "three parts with dots"),
    Shape(
        "bearer_token",
        ("bearer",),
        B + r"(?i:bearer)(?:\s|%20|\+){1,4}(?P<v>(?=[^\s\d]{0,200}\d)[\w.~+/=:-]{8,8192})",
        "a digit tells it from 'bearer token'",
    ),
    Shape("basic_auth", ("basic ",), B + r"(?i:basic)\s{1,4}(?P<v>[A-Za-z0-9+/]{6,2000}={0,2})", "checked by decoding"),
    Shape(
        "cookie",
        ("cookie",),
        r"(?i:cookie2?)\\{0,7}[\"']?\s{0,3}[:=,]\s{0,3}\\{0,7}[\"']?(?P<v>[^\s\"'=;,\\]{1,200}=[^\n\"'\\]{4,8192})",
        "Cookie and Set-Cookie, to the end of the value",
    ),
    # addresses
    Shape(
        "password",
        ("://", ":\\/\\/"),
        r":\\?/\\?/[^\s/:@\"'<>\\]{0,200}:(?P<v>[^\s/\"'<>]{1,256}|(?!\d{1,5}[/?#])(?:(?!:\\?/\\?/)[^\s\"'<>]){1,256})"
        r"@(?=[\w.\[%*$-])",
        "user:password@host, whatever the scheme, a raw / or @ in it included",
    ),
    Shape("token", ("://",), r"://(?P<v>(?=[^\s/:@]{0,200}\d)[\w.~%+-]{20,512})@(?=\w)", "token@host"),
    Shape(
        "password",
        ("thin:",),
        r"(?i:thin):[^\s/@:\"']{1,100}/(?P<v>[^\s@\"']{1,200})@",
        "jdbc:oracle:thin:user/password@",
    ),
    Shape(
        "signature",
        ("signature", "sig=", "sig%3d", "x-amz-credential", "x-amz-security-token"),
        r"(?i:(?:(?<=[?&;])sig|(?<=\\u0026)sig|signature|x-amz-credential|x-amz-security-token))"
        r"(?:=|%3[Dd]|\\u003[Dd]|\\{0,7}[\"']:\s?\\{0,7}[\"'])(?P<v>[\w%+/=.~-]{16,8192})",
        "presigned addresses: S3, Google Cloud Storage, Azure SAS, and the AWS4 header",
    ),
    # commands and statements
    Shape(
        "password",
        ("mysql", "mongo", "sshpass", "docker login", "beeline", "az login"),
        r"(?i:mysql|mongo|sshpass|docker login|beeline|az login)[^\n|;]{0,180}?"
        r"[\s\"']-p(?!ort\b)[\s\"',]{0,5}(?P<v>(?!\d{1,5}(?!\w))[^\s\"',-][^\s\"',]{0,200})",
        "-p of the clients whose -p is a password",
    ),
    Shape(
        "password",
        ("redis-cli", "sqlcmd", "ldapsearch"),
        r"(?:redis-cli|sqlcmd|ldapsearch)[^\n|;]{0,180}?[\s\"']-[aPw][\s\"',]{0,5}(?P<v>[^\s\"',-][^\s\"',]{2,200})",
        "-a, -P, -w of the clients whose option is a password",
    ),
    Shape(
        "password",
        ("curl",),
        r"curl[\s\"'][\s\S]{0,180}?(?<=[\s\"'])(?:-u|--user|--proxy-user)[\s\"',=]{1,5}[^\s\"':]{0,100}\"?:\"?"
        r"(?P<v>[^\s\"']{2,200})",
        "curl -u user:password",
    ),
    Shape(
        "password",
        ("identified by", "identified with"),
        r"(?i:identified(?:\s{1,5}with\s{1,5}\S{1,60})?\s{1,5}by\s{1,5}(?:password\s{1,5})?)"
        r"(?:\\{0,7}[\"'])?(?P<v>[^\s\"'\\;]{1,200})",
        "CREATE USER … IDENTIFIED BY",
    ),
)

# Words that name a secret. "key" does so only after an owner (`api_key`, not `sort_key`).
NAMES = ("pass", "pwd", "secret", "token", "key", "cred", "auth")
KEY_OWNER = (
    r"(?i:api|access|private|account|encryption|decryption|signing|shared|master|symmetric|app|application|auth|service|"
    r"storage|subscription|license|fernet|ssh|rsa|deploy|functions|consumer|hmac|session|write|admin|client|bot)[_.-]?$"
)
# What may follow the word without a break; anything else makes it another word: passenger, tokenizer, keyword.
NAME_ENDING = (
    r"(?i:w(?:or)?ds?|phrase|code|entials?|d|s|ed|key|value|string|text|data|token|base64|orization|access_?key)?"
    r"(?![a-z])"
)
AUTH_ENDING = r"(?i:orization|[_.-]?(?:code|header|string|data|value|basic|\d))?(?![A-Za-z])"
# Names about a secret rather than of one: secret_name, token_count, KmsKeyId.
ABOUT = (
    r"(?i:(?:.{0,40}[_.-])?s?_?(?:id|ids|name|names|arn|arns|count|counts|type|types|ur[il]s?|paths?|files?|filename|length|"
    r"len|size|limit|budget|usage|used|version|expir\w*|ttl|policy|manager|providers?|backends?|fields?|columns?|format|"
    r"endpoint|status|errors?|scopes?|alg|algorithm|rotation|enabled|required|index|methods?|mode|lifetime|timeout|"
    r"created|updated|alias|label|description|region|class|source|hint)$)"
)
# After the word: the rest of the name, what assigns, and what may stand before the value.
ASSIGNED = r"""(?x)
(?P<tail>[A-Za-z0-9_.-]{0,40})(?![A-Za-z0-9_.-])
(?P<close>\\{0,7}["'`])?\]?
(?:[ \t]{1,2}string)?
(?P<sep>,?[ \t]{0,4}\\{0,7}["']?[Vv]alue\\{0,7}["']?[ \t]{0,2}[:=][ \t]{0,2}
  |[ \t]{0,8}(?:={1,2}>?|:{1,3}=|[?+.]=|:|,|%3[Dd]|\\u003[Dd])[ \t]{0,8}|[ \t]{0,8}>\s{0,80}|[ \t]{1,8})
(?:[bBuUrRfF](?=["'])|[A-Za-z]{1,20}\((?=["']))?
(?:(?i:basic|bearer|(?:api-?)?token|api-?key|digest)[ ]{1,4}(?=[^\s"']))?
"""
# The value itself: in escaped quotes (JSON within JSON), in quotes, or bare. Quotes may never close: the text was cut.
VALUE = r"""(?x)
  (?P<q>\\{1,7}["'`]) (?P<escaped>(?:(?!(?<!\\)(?P=q))[^\n]){1,4096})
| "(?P<double>(?:[^"\\\n]|\\.){1,8192})
| '(?P<single>(?:[^'\\\n]|\\.){1,8192})
| `(?P<tick>[^`\n]{1,8192})
| (?P<bare>(?:[^\s"'`,;&<>\\|=:]{1,4096}|[=:]) (?:(?:[=:]|&(?![\w.%-]{1,40}=))[^\s"'`,;&<>\\|]{0,200}){0,2})
"""
# Values that are no secret whatever the name: masks, templates, variables, code, words of prose.
NO_VALUE = (
    r"(?i:none|null|nil|true|false|yes|no|str|string|bytes|int|optional|required|missing|invalid|expired|empty|unset|"
    r"default|not|is|was|and|or|the|for|in|must|cannot|failed|basic|bearer|iam|sasl|oauth2?|password|self|args|kwargs|"
    r"masked|hidden|redacted|filtered|disable|aws4-hmac-sha256)(?![\w-])"
    r"|[*x•.]{3,200}(?!\w)|arn:|\$\{|\$\w{1,80}(?!\S)|\{|%\(|<|\[?REDACTED|[A-Za-z_][A-Za-z_.]{2,60}[(\[{]"
    r"|(?:self|cls|conn|connection|os|config|conf|settings|args|kwargs|var|env|context)\.[a-z_]"
)
DATE_OR_NUMBER = r"\d{4}-\d\d-\d\d|\d{1,12}$|[\d.,:%+-]{0,30}[.,:%+-][\d.,:%+-]{0,30}$"
OPENERS = {")": "(", "]": "[", "}": "{"}

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
KEY_LENGTH = 16_384  # characters; a 4096-bit RSA key has 3,300, its log prefixes not counted
# A line of a private key, with the prefix of a log line or as the message of a JSON line, a header of it, or its end.
KEY_LINE = (
    r"[^\n]{0,300}?(?<![\w/+.-])[A-Za-z0-9+/]{40,200}={0,2}(?![\w/+.-])[^\n]{0,300}"
    r"|[^\n]{0,300}?(?<![\w/+.-])[A-Za-z0-9+/]{8,80}={1,2}\s{0,4}"
    r"|\s{0,40}[A-Za-z0-9+/]{0,80}={0,2}\s{0,40}|\s{0,40}(?:Proc-Type|DEK-Info|Version|Comment|Hash):[^\n]{0,200}"
)

Span = tuple[int, int, str]
SMALL = 20_000  # characters; below it, looking for each literal by itself beats compiling the gates
CHUNK = 250_000  # characters searched at a time, so that they stay in the processor's cache
REMEMBERED = 100  # secrets looked for where they stand bare; a bound, so that time stays linear
# A literal is looked for by the first of these that it holds: few letters, since each is one pass, and rare in logs.
ANCHORS = "AKJGQEBxkyghbpcd/"


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@cache
def _rows() -> dict[str, tuple[Shape, ...]]:
    """The rows of each literal."""
    literals = {literal: None for shape in SHAPES for literal in shape.literals}
    return {literal: tuple(shape for shape in SHAPES if literal in shape.literals) for literal in literals}


@cache
def _literals() -> tuple[str, ...]:
    return (*_rows(), *NAMES, "PRIVATE KEY")


@cache
def _gates() -> tuple[tuple[bool, re.Pattern[str], tuple[tuple[str, int], ...]], ...]:
    """One pattern for all literals with the same rarest letter.

    `re` looks for a single first letter ten times as fast as for an alternation, and tries the choices only there.
    """
    groups: dict[tuple[bool, str], list[tuple[str, int]]] = {}
    for literal in _literals():
        anchor = next(letter for letter in ANCHORS if letter in literal)
        groups.setdefault((literal == literal.lower(), anchor), []).append((literal, literal.index(anchor)))
    gates = []
    for (lower, anchor), members in groups.items():
        members.sort(key=lambda member: member[1] + 1 == len(member[0]))
        choices = (f"{re.escape(x[i + 1 :])}(?<={re.escape(x)})()" for x, i in members)
        gates.append((lower, re.compile(f"{re.escape(anchor)}(?:{'|'.join(choices)})"), tuple(members)))
    return tuple(gates)


def _hits(text: str) -> Iterator[tuple[int, str]]:
    """Where the literals stand: (position, literal)."""
    if len(text) < SMALL:
        lowered = _lower(text)
        for literal in _literals():
            for at in _finds(lowered if literal == literal.lower() else text, literal):
                yield at, literal
        return
    for base in range(0, len(text), CHUNK):
        chunk = text[base : base + CHUNK + 32]  # no literal is longer than the overlap
        lowered = _lower(chunk)
        for lower, gate, members in _gates():
            for match in gate.finditer(lowered if lower else chunk):
                literal, offset = members[(match.lastindex or 1) - 1]
                yield base + match.start() - offset, literal


def _lower(text: str) -> str:
    """In lower case and of the same length: one letter's lower case is longer."""
    return text.replace("\u0130", "I").lower()


def _finds(text: str, literal: str) -> Iterator[int]:
    at = text.find(literal)
    while at >= 0:
        yield at
        at = text.find(literal, at + len(literal))


def _spans(text: str) -> Iterator[Span]:
    """Every secret that a row knows, in no order; they may overlap."""
    done: dict[str, int] = {}  # by literal: the end of the last value it told of, within which it is not tried again
    for at, literal in _hits(text):
        if at < done.get(literal, 0):
            continue
        for span in _spans_at(text, at, literal):
            done[literal] = max(done.get(literal, 0), span[1])
            if span[2]:
                yield span


def _spans_at(text: str, at: int, literal: str) -> Iterator[Span]:
    for shape in _rows().get(literal, ()):
        span = _shape_span(text, at, shape)
        if span:
            yield span
    if literal in NAMES:
        span = _named_span(text, at, literal)
    else:
        span = _private_key_span(text, at) if literal == "PRIVATE KEY" else None
    if span:
        yield span


def _shape_span(text: str, at: int, shape: Shape) -> Span | None:
    match = _regex(shape.pattern).match(text, max(0, at - shape.lead))
    if match is None:
        return None
    start, end = match.span(match.re.groupindex.get("v", 0))
    value = text[start:end]
    if "[REDACTED:" in value or (shape.kind == "basic_auth" and not _is_basic(value)):
        return None
    if shape.kind == "password" and _regex(NO_VALUE).match(text, start):
        return None
    return start, end, shape.kind


def _is_basic(value: str) -> bool:
    """Whether a value decodes to `user:password`."""
    try:
        return b":" in a2b_base64(value)
    except Base64Error:
        return False


def _named_span(text: str, at: int, word: str) -> Span | None:
    """The value assigned to a secret-like name, such as `'db_password': 'x'`; a bare one that is none has no kind."""
    head = text[max(0, at - 48) : at]
    prefix = head[len(head.rstrip(WORD + "-.")) :]
    end = at + len(word)
    if prefix and head[: -len(prefix)].endswith("\\"):
        prefix = prefix[1:]  # the n of an escaped newline
    ending = _regex(NAME_ENDING).match(text, end)
    if ending is None or not _may_name(prefix, text[at : end + 3]):
        return None
    after = text[ending.end() : ending.end() + 8]
    if after[:1] == " " and after[1:2].isalnum() and prefix[:1] != "-" and after != " string ":
        return None  # prose, and not worth compiling more
    assigned = _regex(ASSIGNED).match(text, end)
    if assigned is None or _about(word, assigned["tail"]):
        return None
    value = _regex(VALUE).match(text, assigned.end())
    if value is None or _regex(NO_VALUE).match(text, value.start(value.lastgroup or 0)):
        return None
    style = value.lastgroup or "bare"
    start, stop = value.span(style)
    if style == "bare":
        stop = start + len(_without_closers(value[style]))
    if _assigns(text, at, prefix, assigned, text[start:stop], style):
        return start, stop, _kind(prefix + word + assigned["tail"], word)
    return (start, stop, "") if style == "bare" else None


def _may_name(prefix: str, word: str) -> bool:
    """What can be told of a name by its beginning: "key" needs an owner, "pass" and "auth" may not end another word."""
    start = word[:4].lower()
    if start.startswith("key"):
        return _regex(KEY_OWNER).search(prefix[-14:]) is not None
    if (
        start in ("pass", "auth", "cred")
        and prefix[-1:].isalpha()
        and word[4:6].lower() not in ("wo", "wd", "ph", "or", "en")
    ):
        return prefix[-1].islower() and word[0].isupper()
    return True


def _about(word: str, tail: str) -> bool:
    """Whether the name is only about a secret: token_count, authentication."""
    if word == "auth" and not _regex(AUTH_ENDING).match(tail):
        return True
    return tail.endswith(".") or _regex(ABOUT).match(tail) is not None


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


def _assigns(text: str, at: int, prefix: str, assigned: re.Match[str], value: str, style: str) -> bool:
    """Whether this is an assignment of a secret, and not prose or code about one."""
    if not value or "[REDACTED:" in value:
        return False
    sep, quoted, closed = assigned["sep"].strip(), style != "bare", assigned["close"] is not None
    strong = text[at : at + 3].lower() in ("pas", "pwd")
    if sep == ">":
        return text[assigned.end() + len(value) :][:80].lstrip().startswith("</")
    if sep == ",":
        return quoted and closed and (prefix.startswith("-") or _odd(value))
    if sep == "":
        option = prefix.startswith("-") and value[0] != "-"
        return option or (quoted and " " not in value and (strong or "_" in prefix + assigned["tail"]))
    if sep == ":" and not closed and not quoted:
        return _odd(value) and not text.startswith(":", at - 1)
    return strong or _odd(value) or (quoted and len(value) >= 6 and " " not in value and "/" not in value)


def _odd(value: str) -> bool:
    """Whether a value looks made by a machine, or by somebody who was told to use digits."""
    value = value[:200]
    if len(value) < 6 or "://" in value or _regex(DATE_OR_NUMBER).match(value):
        return False
    if _regex(r"\D{0,200}\d").match(value):
        return True
    return len(value) >= 16 and value.lower() != value != value.upper() and " " not in value


def _private_key_span(text: str, at: int) -> Span | None:
    """The lines of a private key; where the text was cut before BEGIN or after END, the base64 lines that are left."""
    dashes = text.find("-----", at, at + 40)
    if dashes < 0:
        return None
    begin, end = text.rfind("-----BEGIN", max(0, at - 40), at), text.rfind("-----END", max(0, at - 40), at)
    if begin > end:
        return begin, _key_end(text, dashes + 5), "private_key"
    return (_key_start(text, end), dashes + 5, "private_key") if end >= 0 else None


def _key_end(text: str, body: int) -> int:
    limit = body + KEY_LENGTH
    another = text.find("-----BEGIN", body, limit)
    end = text.find("-----END", body, limit if another < 0 else another)
    if end >= 0:
        closing = text.find("-----", end + 8, end + 60)
        return closing + 5 if closing >= 0 else end + 8
    if text.startswith("\\", body):
        rest = text[body:limit]
        return (
            limit - len(rest.lstrip(BASE64 + "\\"))
            if len(rest) == KEY_LENGTH
            else len(text) - len(rest.lstrip(BASE64 + "\\"))
        )
    end = body
    while end < min(limit, len(text)):
        line = _regex(r"\r?\n(?:" + KEY_LINE + r")(?=\r?\n|\Z)").match(text, end)
        if line is None or line.end() == end:
            break
        end = line.end()
    return end


def _key_start(text: str, end: int) -> int:
    """Where the base64 begins that END closes: real lines, or lines escaped as `\\n` within one."""
    first = max(0, end - KEY_LENGTH, text.rfind("-----", max(0, end - KEY_LENGTH), end) + 5)
    if text.endswith(("\\n", "\\r"), first, end):
        return first + len(text[first:end].rstrip(BASE64 + "\\"))
    start = text.rfind("\n", first, end) + 1 or end
    while start > first + 1:
        line = max(first, text.rfind("\n", first, start - 1) + 1)
        if not _regex(KEY_LINE).fullmatch(text, line, start - 1):
            break
        start = line
    return start


def _merged(spans: Iterable[Span], kept: list[tuple[int, int]]) -> list[Span]:
    """Spans in order, overlapping ones made one with the kind of the outer, those over a kept placeholder dropped."""
    merged: list[Span] = []
    for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1], _rank(span[2]))):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
        else:
            merged.append((start, end, kind))
    return [span for span in merged if not _touches(span, kept)]


def _touches(span: Span, kept: list[tuple[int, int]]) -> bool:
    """Whether a kept placeholder stands in or right beside a span: what was no secret within a word is none now."""
    last = bisect_right(kept, (span[1], sys.maxsize)) - 1
    return last >= 0 and kept[last][1] >= span[0]


@cache
def _rank(kind: str) -> int:
    """Kinds with a form of their own say more than a name does."""
    return next((n for n, shape in enumerate(SHAPES) if shape.kind == kind), len(SHAPES))


def _safe_alone(value: str) -> bool:
    """Whether a secret may be replaced wherever it stands, without touching words and ids that only look like it."""
    return len(value) >= 8 and "/" not in value[:1] and " " not in value and value.count("\n") == 0 and _odd(value)


def _spellings(secret: str) -> Iterator[str]:
    """A known secret as it is, as JSON and URLs write it."""
    if len(secret) < 4:  # what is shorter would tear words apart
        return
    yield secret
    if not secret.isalnum():
        from urllib.parse import quote

        yield secret.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        yield quote(secret, safe="")


EMAIL_LOCAL = WORD + ".+%-"
EMAIL = r"[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}"


class Redactor:
    """Replaces secrets by stable placeholders; equal secrets get equal placeholders within one redactor.

    `known`: secrets to replace wherever they stand, such as those that Airflow's own masker has been told.
    `emails`: whether e-mail addresses are replaced too.
    """

    def __init__(self, *, known: Iterable[str] = (), emails: bool = False) -> None:
        self._known = {spelling: "known" for secret in known for spelling in _spellings(secret)}
        self._emails = emails
        self._placeholders: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._remembered: dict[str, str] = {}

    def redact(self, text: str) -> str:
        """The text without its secrets; as many newlines as before."""
        kept = self._standing(text)
        spans = _merged([*_spans(text), *self._email_spans(text), *_literal_spans(text, self._known)], kept)
        for start, end, kind in spans:
            if len(self._remembered) < REMEMBERED and _safe_alone(text[start:end]):
                self._remembered.setdefault(text[start:end], kind)
        if self._remembered:
            spans = _merged([*spans, *_literal_spans(text, self._remembered)], kept)
        return self._replaced(text, spans)

    def _standing(self, text: str) -> list[tuple[int, int]]:
        """Where placeholders stand already; their numbers are not given to other secrets."""
        kept = []
        for match in _regex(PLACEHOLDER).finditer(text) if "[REDACTED:" in text else ():
            kept.append(match.span())
            self._numbers[match[1]] = max(self._numbers.get(match[1], 0), int(match[2]))
        return kept

    def _email_spans(self, text: str) -> Iterator[Span]:
        for at in _finds(text, "@") if self._emails else ():
            head = text[max(0, at - 64) : at]
            match = _regex(EMAIL).match(text, at - len(head) + len(head.rstrip(EMAIL_LOCAL)))
            if match:
                yield *match.span(), "email"

    def _replaced(self, text: str, spans: list[Span]) -> str:
        pieces, last = [], 0
        for start, end, kind in spans:
            value = text[start:end]
            pieces += [text[last:start], self._placeholder(kind, value), "\n" * value.count("\n")]
            last = end
        return "".join([*pieces, text[last:]])

    def _placeholder(self, kind: str, value: str) -> str:
        if value not in self._placeholders:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            self._placeholders[value] = f"[REDACTED:{kind}#{self._numbers[kind]}]"
        return self._placeholders[value]


def _literal_spans(text: str, secrets: dict[str, str]) -> Iterator[Span]:
    for secret, kind in secrets.items():
        for at in _finds(text, secret):
            end = at + len(secret)
            if (
                len(secret) >= 16
                or kind == "known"
                or not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum())
            ):
                yield at, end, kind
