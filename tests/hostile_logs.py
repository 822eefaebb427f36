"""Logs that are meant to hurt: each name with as many bytes as are asked for."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

from airflow_de_agent.core.redaction_table import SHAPES
from airflow_de_agent.core.signatures import table

SIZE = 1_000_000

HEAD = "[2026-11-22T10:08:51.775+0000] {load.py:12} ERROR - "
TRACEBACK = "Traceback (most recent call last):"
CONTEXT = "During handling of the above exception, another exception occurred:"
CAUSE = "The above exception was the direct cause of the following exception:"
FRAME = '  File "/usr/local/airflow/dags/load.py", line 7, in f\n    g()\n'

REPEATED = {
    "line feeds": "\n",
    "braces": "{",
    "brackets": "[",
    "one letter": "a",
    "one digit": "7",
    "blanks": " ",
    "tabs": "\t",
    "quotes": '"',
    "backslashes": "\\",
    "dots": ".",
    "slashes": "/",
    "dashes": "-",
    "equal signs": "=",
    "colons": ": ",
    "NUL bytes": "\0",
    "carriage returns": "\r",
    "progress states": "\r 10% done",
    "line ends of Windows": "\r\n",
    "escapes": "\x1b",
    "colours": "\x1b[31mred\x1b[0m ",
    "open escapes": "\x1b]0;",
    "open colours": "\x1b[1;",
    "half surrogates": '{"event": "\\ud800"}\n',
    "lines of one letter": "x\n",
    "tracebacks' first lines": TRACEBACK + "\n",
    "tracebacks on one line": TRACEBACK + " ",
    "contexts": CONTEXT + "\n",
    "contexts with blank lines": "\n" + CONTEXT + "\n\n",
    "causes": CAUSE + "\n",
    "frames": FRAME,
    "frames in one traceback on one line": FRAME.replace("\n", " "),
    "whole tracebacks": f"{TRACEBACK}\n{FRAME}ValueError: no\n",
    "one chain": f"{TRACEBACK}\n{FRAME}ValueError: no\n\n{CONTEXT}\n\n",
    "tracebacks within messages": f"{TRACEBACK}\n{FRAME}ValueError:\n",
    "group edges": "  | ",
    "groups": "  + Exception Group Traceback (most recent call last):\n",
    "group members": "+-+---------------- 1 ----------------\n    | " + TRACEBACK + "\n",
    "Java causes": "Caused by: java.lang.Error: no\n\tat a.b.C(D.java:1)\n",
    "private keys' first lines": "-----BEGIN RSA PRIVATE KEY-----\n",
    "private keys' first words": "-----BEGIN PRIVATE KEY",
    "placeholders": "[REDACTED:password#1] ",
    "records": HEAD + "no\n",
    "records on one line": HEAD,
    "record heads": "[2026-11-22T10:08:51.775+0000] ",
    "dates": "2026-11-22T10:08:51 ",
    "addresses": "https://",
    "credentials": "://a:b@",
    "open credentials": "://a:",
    "passwords": "password=",
    "assignments": "auth='",
    "quoted credentials": 'cred="',
    "capitals": "SK-",
    "pairs": "key: 'value', ",
    "errors": "ERROR ",
    "Errors": "Error: ",
    "failed": "failed\n",
    "attempts": HEAD.replace("ERROR", "INFO") + "Starting attempt 1 of 2\n",
    "groups of Airflow 3": "::group::Log message source details\n",
    "events": '{"event": "no", "level": "error", "timestamp": "2026-11-22T10:08:51Z"}\n',
    "events without end": '{"event": "',
    "CloudWatch events": '{"message": "ERROR - no", "timestamp": 1}, ',
    "messages in messages": '{"message": "{',
    "Latin-1": "é",
    "arns": "arn:aws:iam::123456789012:role/",
    "e-mail": "a@b.",
    "at signs": "@",
    "ids of AWS": "AKIAIOSFODNN7EXAMPLE ",
    "tokens": "eyJ",
    "dots of tokens": "eyJhbGciOiJIUzI1NiJ9.",
    "key lines of YAML": "password:\n",
    "commas": "x, ",
    "exponents": "1e9",
    "Spark": "org.apache.spark.SparkException: Job aborted due to stage failure: ",
}


def hostile_logs(size: int = SIZE) -> Iterator[tuple[str, bytes]]:
    """All of them; the rows of the two tables give some each."""
    for name, text in REPEATED.items():
        yield name, repeated(text, size)
    yield from nested(size)
    yield from many_words(size)
    for word in sorted({literal for shape in SHAPES for literal in shape.literals}):
        yield f"secret {word!r}", repeated(word, size)
        yield f"secret {word!r} before letters", repeated(word + "aB3" * 9 + " ", size)
    for row in table():
        told = " ".join(row.hints)
        yield f"rule {row.name} on one line", repeated(told + " ", size)
        yield f"rule {row.name} in records", repeated(f"{HEAD}{told}\n", size)


def repeated(text: str, size: int) -> bytes:
    data = text.encode()
    return (data * (size // len(data) + 1))[:size]


def nested(size: int) -> Iterator[tuple[str, bytes]]:
    """What is deep rather than long."""
    half = size // 2
    yield "nested arrays in an event", b'{"event": ' + b"[" * half + b"]" * half + b"}"
    yield "nested objects", b'{"event":' * (size // 10) + b"1" + b"}" * (size // 10)
    depth = 200
    groups = '{"exc_type": "G", "exc_value": "no", "exceptions": [[' * depth + "{}" + "]]}" * depth
    yield "deep exception groups", f'{{"event": "x", "error_detail": [{groups}]}}\n'.encode() * (size // 60 // depth)
    text = json.dumps({"event": "Task failed", "error_detail": [{"exc_type": "E", "exceptions": [[]] * (size // 10)}]})
    yield "a broad exception group", text.encode()
    link = {"exc_type": "E", "exc_value": "no", "frames": [{"filename": "a.py", "lineno": 1, "name": "f"}]}
    yield "a long chain in an event", json.dumps({"event": "x", "error_detail": [link] * (size // 100)}).encode()
    frames = link | {"frames": [{"filename": "a.py", "lineno": 1, "name": "f"}] * (size // 60)}
    yield "a deep stack in an event", json.dumps({"event": "x", "error_detail": [frames]}).encode()
    deep = "\n".join("  " * n + "| " * n + TRACEBACK for n in range(int((size / 2) ** 0.5)))
    yield "ever deeper groups", deep.encode()[:size]
    yield "one text of an event", json.dumps({"event": "no\n" * (size // 4)}).encode()
    yield "a traceback's message", f"{TRACEBACK}\n{FRAME}ValueError: {'x' * size}".encode()
    yield (
        "a traceback's message of lines",
        f"{TRACEBACK}\n{FRAME}ValueError: no\n{'line' * 3}\n".encode() + b"y\n" * half,
    )
    yield "a traceback's frames", f"{TRACEBACK}\n{FRAME * (size // len(FRAME))}ValueError: no\n".encode()


def many_words(size: int) -> Iterator[tuple[str, bytes]]:
    """What does not repeat."""
    draw = random.Random(5)
    noise = draw.randbytes(size)
    yield "noise", noise
    yield "base64 on one line", base64.b64encode(noise)[:size]
    yield "base64", base64.encodebytes(noise)[:size]
    yield "hexadecimal", noise.hex().encode()[:size]
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randrange(1, 12))) for _ in range(size // 7)]
    for name, before, after in (
        ("words on one line", "", " "),
        ("words in lines", "", "\n"),
        ("errors of ever new words", HEAD, "\n"),
        ("exceptions of ever new types", "", "Error: no\n"),
        ("tracebacks of ever new types", f"{TRACEBACK}\n{FRAME}", "Error: no\n"),
        ("keys and values", "", "=aB3dE5fG7 "),
        ("secret names", "my_", "_password='x y' "),
        ("keys of ever new names", "", ": 'aB3dE5fG7hJ9kL1mN3'\n"),
        ("hosts", "https://", ".example.com/x?token=abc "),
    ):
        yield name, "".join(f"{before}{word}{after}" for word in words).encode()[:size]
