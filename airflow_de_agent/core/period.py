"""Times as people write them: spans back from now, and when something failed. All in UTC unless a zone is written.

Rules kept here: what is not understood is None, never a guess; a clock time without a day is the last one that has
been; no pattern repeats over what another repetition may take.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple

SPAN = r"(?P<span>\d{1,4} ?(?:minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)|hour|day|night|week|today|yesterday)"
LAST = r"(?:in |for |over |of |since |from )?(?:the )?(?:last |past |this )?"
HALF_WINDOW = 3600.0  # a clock time means about then
DAY = 86400.0
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0, "t": 24.0, "n": 24.0, "y": 48.0}


class Period(NamedTuple):
    """From and until when, in Unix seconds."""

    since: float
    until: float


def hours(span: str) -> float:
    """The hours of a `SPAN`."""
    number = re.match(r"\d+", span)
    unit = span[number.end() :].strip() if number else span
    return (int(number[0]) if number else 1) * _HOURS[unit[0].lower()]


_AGO = re.compile(rf"{LAST}{SPAN}(?P<ago> ago)?", re.IGNORECASE)
_AN = re.compile(r"\ban? (?=minute|hour|day|week)")
_CLOCK = re.compile(
    r"(?:^| )(?:at |around |about )?(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2}))?(?::\d{2})?"
    r" ?(?P<half>am|pm)?(?: ?(?:utc|gmt|z))?$"
)
_WRITTEN = re.compile(
    r"(?:on |at )?(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[t ](?:at )?(?P<time>\d{2}:\d{2})(?::\d{2})?(?:\.\d{1,6})? ?(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2})?)?"
)
_DAYS_BACK = {"today": 0, "this morning": 0, "tonight": 0, "this afternoon": 0, "this evening": 0, "yesterday": 1,
              "yesterday morning": 1, "yesterday evening": 1, "yesterday afternoon": 1, "last night": 1}  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LATELY = ("", "again", "last time", "the last time", "recently", "lately", "now", "just now", "right now")
_AFTERNOON = ("this afternoon", "this evening", "yesterday afternoon", "yesterday evening")


def period(when: str, now: float) -> Period | None:
    """What a time in words means; None when it is not understood. Empty words mean the last seven days."""
    words = _AN.sub("1 ", " ".join(when.lower().split()))
    if words in _LATELY:
        return Period(now - 7 * DAY, now)
    if words in ("last week", "the last week"):
        return Period(now - 14 * DAY, now)
    written = _WRITTEN.fullmatch(words)
    if written:
        return _of_date(written)
    ago = _AGO.fullmatch(words)
    if ago and words not in _DAYS_BACK:
        return Period(now - hours(ago["span"]) * 3600 - (900 if ago["ago"] else 0), now)
    clock = _CLOCK.search(words)
    day = words[: clock.start()].strip(" ,") if clock else words
    return _of_day(day, clock, now)


def _of_date(written: re.Match[str]) -> Period | None:
    zone = (written["zone"] or "z").replace("utc", "z").replace("gmt", "z").replace("z", "+00:00")
    zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        at = dt.datetime.fromisoformat(f"{written['day']}T{written['time'] or '00:00'}{zone}").timestamp()
    except (ValueError, OverflowError):
        return None
    return _around(at) if written["time"] else Period(at, at + DAY)


def _of_day(day: str, clock: re.Match[str] | None, now: float) -> Period | None:
    midnight = now - now % DAY
    start = midnight if not day else _start_of(day, midnight)
    if start is None:
        return None
    if clock is None:
        return Period(start, now if day != "yesterday" and day in _DAYS_BACK else start + DAY)
    seconds = _seconds_of(clock, day)
    if seconds is None:
        return None
    if day == "last night" and seconds < DAY / 2:
        start += DAY  # a night's small hours belong to the next day
    at = start + seconds
    return _around(at - DAY if at > now and not day else at)


def _start_of(day: str, midnight: float) -> float | None:
    """The midnight a day begins with; of a weekday the last one before today."""
    if day in _DAYS_BACK:
        return midnight - _DAYS_BACK[day] * DAY
    name = re.sub(r"^(?:on )?(?:last )?", "", day)
    found = [number for number, weekday in enumerate(_WEEKDAYS) if name in (weekday, weekday[:3])]
    if not found:
        return None
    today = dt.datetime.fromtimestamp(midnight, dt.timezone.utc).weekday()
    return midnight - ((today - found[0] - 1) % 7 + 1) * DAY


def _seconds_of(clock: re.Match[str], day: str) -> float | None:
    """Seconds since midnight."""
    hour, minute, half = int(clock["hour"]), int(clock["minute"] or 0), clock["half"]
    if hour > (12 if half else 23) or minute > 59 or (half and hour == 0):
        return None
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    elif hour < 12 and day in _AFTERNOON:
        hour += 12
    return hour * 3600.0 + minute * 60


def _around(at: float) -> Period:
    return Period(at - HALF_WINDOW, at + HALF_WINDOW)
