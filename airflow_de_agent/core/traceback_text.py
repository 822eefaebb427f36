"""Python tracebacks: from text and from Airflow 3's `error_detail`, and the few of their lines that matter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from airflow_de_agent.core.evidence import Line
from airflow_de_agent.core.failure import CapturedException, Frame

START = "Traceback (most recent call last):"
CAUSE = "The above exception was the direct cause of the following exception:"
CONTEXT = "During handling of the above exception, another exception occurred:"

_FRAME = re.compile(r'\s+File "([^"\n]{1,500})", line (\d{1,9})(?:, in (.{1,300}))?')
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]{0,200}?(?:\.<locals>\.[\w.]+)?)(?::(?: (.*)|\Z)|\Z)", re.DOTALL)
_BARE = re.compile(r"(?:[\w.]+\.)?[A-Z]\w*")
_LOG_HEAD = re.compile(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_GROUP_EDGE = re.compile(r"^\s*(?:\+-?\+?-{4,}.*|\+ (?=Exception Group)|\| ?)")
_LIBRARY = (
    "site-packages",
    "dist-packages",
    "/lib/python3",
    "<frozen",
    "/airflow/sdk/",
    "/airflow/models/",
    "/bin/airflow",
)
_MESSAGE_LINES = 200
_MESSAGE_CHARS = 8000
_DEPTH = 20


def is_traceback_start(text: str) -> bool:
    """Whether a line opens a traceback."""
    return START in text[-200:] or (START[:-1] in text and text.rstrip().endswith(START))


def is_frame(text: str) -> bool:
    """Whether a line names a frame of a Python stack."""
    return _FRAME.match(text) is not None


def is_user_code(file: str) -> bool:
    """Whether a frame's file is neither Python's, Airflow's nor an installed library's."""
    return not any(part in file for part in _LIBRARY)


def traceback_of_detail(detail: Sequence[Any], depth: int = 0) -> str:
    """Airflow 3's `error_detail` (the exception that was raised first, its causes after it) as Python prints it."""
    parts: list[str] = []
    links = [link for link in detail if isinstance(link, dict)][:_DEPTH]
    for n, link in reversed(list(enumerate(links))):
        parts.append(_link_text(link, depth))
        if n:
            parts.append(f"\n{CAUSE if link.get('is_cause') else CONTEXT}\n")
    return "\n".join(parts)


def _link_text(link: dict[str, Any], depth: int) -> str:
    lines = [START]
    frames = link.get("frames")
    for frame in frames if isinstance(frames, list) else ():
        if isinstance(frame, dict):
            lines.append(f'  File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}')
            if frame.get("line"):
                lines.append(f"    {str(frame['line']).strip()}")
    syntax = link.get("syntax_error")
    if isinstance(syntax, dict):
        lines.append(f'  File "{syntax.get("filename")}", line {syntax.get("lineno")}, in <module>')
        lines.append(f"    {str(syntax.get('line') or '').strip()}")
    value = str(link.get("exc_value") or "")
    lines.append(f"{link.get('exc_type')}: {value}" if value else str(link.get("exc_type")))
    notes = link.get("exc_notes")
    lines.extend(str(note) for note in (notes if isinstance(notes, list) else ()))
    inner = link.get("exceptions")
    if isinstance(inner, list) and depth < _DEPTH:
        # the members of an exception group come first: they are its causes
        members = [traceback_of_detail(item, depth + 1) for item in inner if isinstance(item, list)][:_DEPTH]
        return f"\n\n{CAUSE}\n\n".join([*members, "\n".join(lines)])
    return "\n".join(lines)


def chains(lines: Sequence[Line]) -> list[tuple[CapturedException, ...]]:
    """The exception chains that the lines of one record print, each from first cause to last."""
    if any("Exception Group Traceback" in line.text for line in lines):
        lines = [Line(line.number, _GROUP_EDGE.sub("", line.text)) for line in lines]
    found: list[list[CapturedException]] = []
    joined = quoted = False
    i = 0
    while i < len(lines):
        text = lines[i].text
        if is_traceback_start(text):
            exception, quoting, i = _one(lines, i + 1)
            if exception is not None:
                _join(found, exception, joined=joined, quoted=quoted)
                quoted = quoting
            joined = False
            continue
        joined = text.strip() in (CAUSE, CONTEXT) or (joined and not text.strip())
        quoted = quoted and not joined
        i += 1
    return [tuple(chain) for chain in found]


def _join(found: list[list[CapturedException]], new: CapturedException, *, joined: bool, quoted: bool) -> None:
    if quoted and found:
        # a message that quotes the traceback of another process: that one happened first
        found[-1].insert(-1, new)
    elif joined and found:
        found[-1].append(new)
    else:
        found.append([new])


def _one(lines: Sequence[Line], i: int) -> tuple[CapturedException | None, bool, int]:
    """The exception whose frames begin at line i, whether its message quotes a traceback, and the line after it."""
    frames, i = _frames(lines, i)
    if i >= len(lines):
        return None, False, i
    match = _EXCEPTION.match(lines[i].text)
    if not match or (match[2] is None and not _BARE.fullmatch(match[1])):
        return None, False, i if is_traceback_start(lines[i].text) else i + 1
    number = lines[i].number
    parts = [match[2] or ""]
    i += 1
    while i < len(lines) and not _ends_message(lines[i].text):
        if len(parts) < _MESSAGE_LINES:
            parts.append(lines[i].text)
        i += 1
    message = "\n".join(parts).strip()
    if len(message) > _MESSAGE_CHARS:
        message = message[: _MESSAGE_CHARS * 3 // 4] + " … " + message[-_MESSAGE_CHARS // 4 :]
    quoting = i < len(lines) and is_traceback_start(lines[i].text) and ("\n" in message or message.endswith(":"))
    return CapturedException(match[1], message, tuple(frames), number), quoting, i


def _frames(lines: Sequence[Line], i: int) -> tuple[list[Frame], int]:
    frames: list[Frame] = []
    while i < len(lines):
        text = lines[i].text
        match = _FRAME.match(text)
        if match:
            frames.append(Frame(match[1], int(match[2]), (match[3] or "").strip()))
        elif text.strip() and not text[:1].isspace():
            break
        elif frames and text.strip() and not frames[-1].code and not _is_marker(text):
            frames[-1] = frames[-1]._replace(code=text.strip())
        i += 1
    return frames, i


def _is_marker(text: str) -> bool:
    return set(text.strip()) <= set("^~")


def _ends_message(text: str) -> bool:
    return text.strip() in (CAUSE, CONTEXT) or is_traceback_start(text) or bool(_LOG_HEAD.match(text))


def without_library_frames(lines: Sequence[Line]) -> list[Line]:
    """A record's lines without the frames of libraries, save the one that raised; user code stays, with its source."""
    kept: list[Line] = []
    i = 0
    while i < len(lines):
        if not _FRAME.match(lines[i].text):
            if not lines[i].text.strip() or _is_marker(lines[i].text):
                i += 1
                continue
            kept.append(lines[i])
            i += 1
            continue
        blocks, i = _frame_blocks(lines, i)
        kept.extend(line for block in _worth(blocks) for line in block)
    return kept


def _frame_blocks(lines: Sequence[Line], i: int) -> tuple[list[list[Line]], int]:
    """The frames from line i on, each with its source line."""
    blocks: list[list[Line]] = []
    while i < len(lines):
        text = lines[i].text
        if _FRAME.match(text):
            blocks.append([lines[i]])
        elif text.strip() and not text.startswith("  "):
            break
        elif text.strip() and len(blocks[-1]) < 2 and not _is_marker(text):
            blocks[-1].append(lines[i])
        i += 1
    return blocks, i


def _worth(blocks: list[list[Line]]) -> list[list[Line]]:
    if len(blocks) <= 3:
        return blocks
    own = [n for n, block in enumerate(blocks) if is_user_code(block[0].text)]
    if len(own) > 6:
        own = own[:2] + own[-4:]
    shown = sorted({*own, len(blocks) - 1})
    return [blocks[n] for n in shown]
