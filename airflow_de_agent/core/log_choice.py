"""Which records of a log are shown within a budget of tokens, and how much of each.

A record's weight says how likely it carries the cause: exceptions and errors first, the warning before them, what
happened just before, then what is rare. Of a record only its telling lines are shown, of a long line its telling parts.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from airflow_de_agent.core.evidence import Line
from airflow_de_agent.core.log_record import Record
from airflow_de_agent.core.traceback_text import chains, is_frame, without_library_frames

_NOISE = re.compile(
    r"::group::|::endgroup::|Dependencies all met for|Started process \d+ to run task|Running: \['airflow', 'tasks'"
    r"|Job \d+: Subtask|Exporting env vars: |Exporting the following env vars|Filling up the DagBag|DAG bundles loaded"
    r"|Worker startup parse complete|\d+ downstream tasks scheduled|Task exited with return code 0\b"
    r"|Running <TaskInstance|Marking task as (?:FAILED|UP_FOR_RETRY|SUCCESS)|Tmp dir root location|Output:\Z"
    r"|Retrieving connection '|Task instance in (?:failure|success) state|Executing callback at index"
    r"|\*\*\* (?:Reading|Found|Log message source)|Pre task execution logs|Post task execution logs"
    r"|Using connection ID |Found credentials in |AWS Connection \(conn_id"
)
_ECHO = re.compile(
    r"Failed to execute (?:job|task)|Task failed with exception\Z|Traceback \(most recent call last\):\Z"
)
_PYTHON_WARNING = re.compile(r"(?:Deprecation|Future|RemovedIn\w{1,40}|User|Resource)Warning\b")
# These two are matched against lower-case text: ignoring case would be several times slower.
_ERROR = re.compile(
    r"\b(?:error|exception|fatal|critical|panic|traceback)\b|[a-z](?:error|exception|fault)\b|\[errno"
    r"|caused by|command not found|out ?of ?memory|\boom\b|segmentation fault|no space left|\bkilled\b",
)
_CASED_ERROR = re.compile(r"(?:Error|Exception)\b|\bERROR\b|\bFATAL\b|\bE[A-Z]{4,}\b")
_TROUBLE = re.compile(
    r"fail|den(?:ied|y)|timed? ?out|not found|no such|unable|refused|cannot|can't|could ?n.t|could not|abort|sigterm"
    r"|sigkill|invalid|expired|exceed|quota|throttl|missing|unknown|undefined|forbidden|unauthori|not authori"
    r"|not permitted|insufficient|violat|deadlock|reject|terminat|\blost\b|(?:exit|return|status) ?code|non-zero"
    r"|unreachable|reset by|roll(?:ed)? ?back|conflict|mismatch|duplicate|does ?n.t|does not|is not|isn't|overflow"
    r"|truncat|evict|unavailable|externally set|too (?:many|long|large|old)|unexpected|unrecogni|unsupported"
    r"|no module|cancel|skipp|retr(?:y|ies|ying)|giv(?:e|ing) up|incorrect|bad |wrong|malformed|corrupt|stopped|signal"
    r"|must |\bnull\b|\bnone\b|\bempty\b|\b0 rows|\(0,\)|\b[45]\d\d\b|warn|reason|limit",
)
_NUMBERS = re.compile(r"\d{4,}|\d+\.\d+|0x[0-9a-f]+|[0-9a-f]{8,}|\d+(?=[a-z%/])")
_DIGITS = re.compile(r"\d+")
_CODE = re.compile(r"[45]\d\d\b|code [01]\b|0 rows|\(0,\)")  # numbers that the patterns above tell from others
_LEVELS = {"CRITICAL": 85.0, "FATAL": 85.0, "ERROR": 80.0, "WARNING": 45.0, "WARN": 45.0}

_LINE = 1500
_MESSAGE_LINE = 3000
_RECORD_LINES = 24
_CROWD = 12
_KEY_LENGTH = 400
_PREFIX = 7  # what `TaskLog.text` puts before a line, and its newline


@dataclasses.dataclass
class _Unit:
    """A record as it would be shown, its weight, and its place among the records."""

    at: int
    lines: list[Line]
    weight: float


def tokens_of(lines: Sequence[Line]) -> int:
    """The tokens that lines cost, taken as a quarter of their bytes."""
    return (sum(_cost(line) for line in lines) + 3) // 4


def _cost(line: Line) -> int:
    return len(line.text.encode("utf-8", "replace")) + _PREFIX + 1


def choose(found: Sequence[Record], counts: Sequence[int], budget: int) -> list[Line]:
    """The lines of the weightiest records, in order, within `budget` tokens."""
    keys = list(map(_fold_key, found))
    if keys:
        keys[-1] += "|last"  # how far the task came is told as it stands
    units = _folded(_units(found, counts, keys, budget * 4), found, counts, keys)
    room = budget * 4
    quiet_room = room * 4 // 10
    weak_room = room * 7 // 10
    spent = 0
    chosen: list[_Unit] = []
    for unit in sorted(units, key=lambda unit: (-unit.weight, unit.at)):
        cost = sum(map(_cost, unit.lines))
        limit = room if unit.weight >= 60 else weak_room if unit.weight >= 30 else quiet_room
        if spent + cost > limit:
            if unit.weight < 60 or not (unit := _cut(unit, room - spent)).lines:
                continue
            cost = sum(map(_cost, unit.lines))
        chosen.append(unit)
        spent += cost
    return [line for unit in sorted(chosen, key=lambda unit: unit.at) for line in unit.lines]


def _cut(unit: _Unit, room: int) -> _Unit:
    """As much of a weighty record as fits: its last lines name the exception."""
    kept: list[Line] = []
    for line in reversed(unit.lines):
        room -= _cost(line)
        if room < 0:
            break
        kept.append(line)
    return dataclasses.replace(unit, lines=kept[::-1])


def _units(found: Sequence[Record], counts: Sequence[int], keys: Sequence[str], room: int) -> list[_Unit]:
    weights = _weights(found, counts, keys)
    attempt = max((i for i, record in enumerate(found) if "Starting attempt " in record.first), default=0)
    loud = [i for i, weight in enumerate(weights) if weight >= 60]
    _thin_crowds(weights, found)
    _raise_neighbours(weights, loud)
    told: set[tuple[tuple[str, str], ...]] = set()
    units: list[_Unit] = []
    raised = [i for i, record in enumerate(found) if record.traceback]
    for i, record in enumerate(found):
        weight = weights[i]
        if weight <= 0:
            continue
        lines = _shown(record, room)
        if record.traceback:
            chain = tuple((link.type, link.message) for chain in chains(record.lines) for link in chain)
            if chain and chain in told:
                lines = lines[:1] if not _ECHO.search(record.first) else []
            told.add(chain)
            weight += 40 if i in (raised[0], raised[-1]) else 0
        elif loud and i in (loud[0], loud[-1]):
            weight += 20
        if i < attempt:
            weight -= 30
        if lines:
            units.append(_Unit(i, lines, weight))
    return units


def _thin_crowds(weights: list[float], found: Sequence[Record]) -> None:
    """Where one line of code has much to say, the middle of it weighs less: it must not crowd out the rest."""
    crowds: dict[tuple[str, str], list[int]] = {}
    for i, record in enumerate(found):
        if 0 < weights[i] < 60 and record.time:
            crowds.setdefault((record.place, record.level), []).append(i)
    for members in crowds.values():
        for i in members[_CROWD:-_CROWD]:
            weights[i] = max(1.0, weights[i] - 25)


def _raise_neighbours(weights: list[float], loud: Sequence[int]) -> None:
    """What stands just before an error may explain it; so may what stands last."""
    for i in (*loud[:40], *loud[-40:]):
        for distance in range(1, 7):
            if i - distance >= 0 and 0 < weights[i - distance] < 60:
                weights[i - distance] += (14 - 2 * distance) / 2
    for distance, i in enumerate(range(len(weights) - 1, max(-1, len(weights) - 20), -1)):
        if 0 < weights[i] < 60:
            weights[i] += max(0, 6 - distance / 3)


def _weights(found: Sequence[Record], counts: Sequence[int], keys: Sequence[str]) -> list[float]:
    """The weight of each record; short lines that differ in numbers only are weighed once, codes among them apart."""
    known: dict[tuple[str, int, bool], float] = {}
    weights: list[float] = []
    for record, count, key in zip(found, counts, keys, strict=True):
        if len(record.lines) > 1 or len(record.first) > _KEY_LENGTH or record.traceback:
            weights.append(_weight(record, count))
            continue
        like = (key, count, _CODE.search(record.first) is not None)
        if like not in known:
            known[like] = _weight(record, count)
        weights.append(known[like])
    return weights


def _weight(record: Record, count: int) -> float:
    text = record.first
    lines = _own_lines(record)
    if not lines:
        return 0
    if record.traceback:
        return 100
    weight = _LEVELS.get(record.level, 0.0)
    if _PYTHON_WARNING.search(text):
        return 12
    body = text if len(record.lines) == 1 else "\n".join(line.text for line in lines)
    body = body[:20000]
    lower = body.lower()
    if _CASED_ERROR.search(body):
        weight = max(weight, 65)
    elif _ERROR.search(lower):
        weight = max(weight, 55)
    elif _TROUBLE.search(lower):
        weight = max(weight, 30)
    if not weight:
        weight = 12 if count == 1 else 8 if count < 10 else 4
    elif count > 20:
        weight -= 4
    if not body.strip():
        return 0
    return weight


def _own_lines(record: Record) -> Sequence[Line]:
    """The lines that are not Airflow's own noise: a library's print without a head hangs on to the record before."""
    if not _NOISE.search(record.first[:300]):
        return record.lines
    rest = record.lines[1:]
    return rest if any(_is_loud(line.text[:2000].lower()) for line in rest) else ()


def _folded(units: list[_Unit], found: Sequence[Record], counts: Sequence[int], keys: Sequence[str]) -> list[_Unit]:
    """Of units that differ in numbers only: the first, a count, and those few whose numbers may be codes."""
    groups: dict[str, list[_Unit]] = {}
    for unit in units:
        groups.setdefault(keys[unit.at], []).append(unit)
    kept: list[_Unit] = []
    for group in groups.values():
        count = max(len(group), counts[group[0].at])
        kept.extend(group if count < 3 else _fold(group, count, found))
    return kept


def _fold(group: list[_Unit], count: int, found: Sequence[Record]) -> list[_Unit]:
    first, last = group[0], group[-1]
    note = f"({count - 1} more lines like {first.lines[0].number}, among them {last.lines[0].number})"
    lines = [*first.lines, Line(last.lines[0].number, note)]
    kinds = {_NUMBERS.sub("#", found[unit.at].first[:400]): unit for unit in group}
    others = [unit for unit in kinds.values() if unit is not first] if 1 < len(kinds) < 4 else []
    return [_Unit(first.at, lines, max(unit.weight for unit in group)), *others]


def _fold_key(record: Record) -> str:
    text = record.first if record.first.strip() else record.lines[-1].text
    if record.traceback:
        text += "|" + record.lines[-1].text
    return f"{record.level}|{record.place}|{_DIGITS.sub('0', _NUMBERS.sub('0', text[:_KEY_LENGTH]))}"


def _shown(record: Record, room: int) -> list[Line]:
    """The telling lines of a record."""
    lines = [Line(record.number, record.head + record.first), *record.lines[1:]]
    if any(is_frame(line.text) for line in lines):
        lines = without_library_frames(lines)
    lines = [line for n, line in enumerate(lines) if n == 0 or line.text.strip()]
    if len(lines) > _RECORD_LINES:
        lines = _telling(lines)
    grave = record.traceback or record.level in _LEVELS
    limit = max(200, min(_MESSAGE_LINE, room // 5) if grave else min(_LINE, room // 10))
    return [Line(line.number, _shortened(line.text, limit)) for line in lines]


def _telling(lines: list[Line]) -> list[Line]:
    """The first and last lines of many, and those between that speak of trouble."""
    first, last = 8, 8
    loud = [n for n in range(first, len(lines) - last) if _is_loud(lines[n].text[:2000].lower())]
    middle = loud[: _RECORD_LINES // 2] + loud[-_RECORD_LINES // 2 :]
    kept = sorted({*range(first), *middle, *range(len(lines) - last, len(lines))})
    return [lines[n] for n in kept]


def _is_loud(lower: str) -> bool:
    return bool(_ERROR.search(lower) or _TROUBLE.search(lower))


def _shortened(text: str, limit: int) -> str:
    """A long line's beginning, the parts around its telling words, and its end."""
    if len(text) <= limit:
        return text
    parts = [(0, limit // 3), (len(text) - limit // 6, len(text))]
    lower = text.lower()
    found = [*_few(_CASED_ERROR, text), *_few(_ERROR, lower), *_few(_TROUBLE, lower)]
    room = limit // 2
    for at in found:
        start, end = max(0, at - 60), min(len(text), at + 180)
        if any(a <= start and end <= b for a, b in parts):
            continue
        if room < end - start:
            break
        parts.append((start, end))
        room -= end - start
    return _joined(text, sorted(parts))


def _few(pattern: re.Pattern[str], text: str) -> list[int]:
    found: list[int] = []
    at = 0
    while len(found) < 5 and (match := pattern.search(text, at)):
        found.append(match.start())
        at = match.end() + 150
    return found


def _joined(text: str, parts: Sequence[tuple[int, int]]) -> str:
    done = ""
    reached = 0
    for start, end in parts:
        if end <= reached:
            continue
        done += text[reached:end] if start <= reached else " … " + text[start:end]
        reached = end
    return done
