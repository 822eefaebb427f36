r"""Private keys over many lines: whole, cut, with log prefixes, or in one line with their newlines escaped as `\n`."""

from __future__ import annotations

from airflow_de_agent.core.redaction_table import Span, regex

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
KEY_LENGTH = 16_384  # characters; a 4096-bit RSA key has 3,300, its log prefixes not counted
# A line of a private key, with the prefix of a log line or as the message of a JSON line, a header of it, or its end.
KEY_LINE = (
    r"[^\n]{0,300}?(?<![\w/+.-])[A-Za-z0-9+/]{40,200}={0,2}(?![\w/+.-])[^\n]{0,300}"
    r"|[^\n]{0,300}?(?<![\w/+.-])[A-Za-z0-9+/]{8,80}={1,2}\s{0,4}"
    r"|\s{0,40}[A-Za-z0-9+/]{0,80}={0,2}\s{0,40}|\s{0,40}(?:Proc-Type|DEK-Info|Version|Comment|Hash):[^\n]{0,200}"
)


def private_key_span(text: str, at: int) -> Span | None:
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
        line = regex(r"\r?\n(?:" + KEY_LINE + r")(?=\r?\n|\Z)").match(text, end)
        if line is None or line.end() == end:
            break
        end = line.end()
    return end


def _key_start(text: str, end: int) -> int:
    """Where the base64 begins that END closes: real lines, or lines escaped as `\\n` within one."""
    first = max(0, end - KEY_LENGTH, text.rfind("-----", max(0, end - KEY_LENGTH), end) + 5)
    if text.endswith(("\\n", "\\r"), first, end):
        return first + len(text[first:end].rstrip(BASE64 + "\\"))
    start = text.rfind("\n", first, end) + 1
    if not start:
        return end
    while start > first + 1:
        line = max(first, text.rfind("\n", first, start - 1) + 1)
        if not regex(KEY_LINE).fullmatch(text, line, start - 1):
            break
        start = line
    return start
