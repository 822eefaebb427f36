"""One pass over a log of any size that keeps the lines worth reading later.

Rules kept here: time grows linearly with size and memory does not grow at all; a line keeps the number it has in the
log as it was read; what varies between lines of one template (digits, hexadecimal letters) is ignored, so a template
costs Python work once, however often it is repeated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from airflow_de_agent.core.log_blocks import VARYING, blocks
from airflow_de_agent.core.log_window import REACH_ON, Window
from airflow_de_agent.core.log_words import FEW_WORDS, STRONG_WORDS, WEAK_WORDS, positions

SMALL_LOG_BYTES = 256 * 1024
SMALL_LOG_LINES = 10_000

# Bytes of lines of new templates that get the long lists; beyond them a log of random text would cost too much.
_WEAK_LIMIT = 2 * 2**20
_STRONG_LIMIT = 4 * 2**20
_WEAK_KEPT = 128 * 1024

_TEMPLATES = 50_000
_FIRST_OF_A_KIND = 6
_ENOUGH = 5000  # a loud line that comes so often is noise; its last occurrence is no longer looked for
_TAIL_LINES = 150
_QUIET_LINES = 250
_HITS = 200
_FEW_HITS = 4  # once there is no room left for the first ones
# After so many blocks of almost only new lines counting templates no longer pays; it is tried again ever more seldom.
_FLOOD = 6
_MOST_SKIPS = 128
_SHORT = 12  # bytes a line: such blocks hold so many lines that they are taken for a flood as well


class Scan(NamedTuple):
    """What is left of a log: `lines` in order with their numbers, and how often each template occurs."""

    lines: list[tuple[int, bytes]]
    total_lines: int
    counts: Mapping[int, int]

    def count(self, line: bytes) -> int:
        """How often the template of a line occurs; at least 1."""
        return max(1, self.counts.get(template(line), 0))


def template(line: bytes) -> int:
    """A number that lines of one template share."""
    return hash(line.translate(None, VARYING))


def scan(chunks: Iterable[bytes]) -> Scan:
    """Read a log once. Logs of up to 256 KiB and 10,000 lines are kept whole."""
    scanner = _Scanner()
    found = blocks(chunks)
    head = b""
    for block in found:
        head += block
        if len(head) > SMALL_LOG_BYTES or head.count(b"\n") > SMALL_LOG_LINES:
            break
    else:
        lines = head.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        return Scan(list(enumerate(lines, 1)), len(lines), Counter(map(template, lines)))
    scanner.read(head)
    for block in found:
        scanner.read(block)
    return scanner.finish()


class _Kept:
    """Lines by number, within a number of bytes; when full it refuses, or forgets its oldest."""

    def __init__(self, limit: int, *, newest: bool) -> None:
        self.lines: deque[tuple[int, bytes]] = deque()
        self.full = False
        self._limit = limit
        self._newest = newest
        self._bytes = 0

    def add(self, run: Sequence[tuple[int, bytes]]) -> bool:
        size = sum(len(line) for _, line in run) + 160 * len(run)
        self.full = self.full or (bool(self.lines) and self._bytes + size > self._limit)
        if self.full and not self._newest:
            return False
        self.lines.extend(run)
        self._bytes += size
        while self._bytes > self._limit and len(self.lines) > len(run):
            self._bytes -= len(self.lines.popleft()[1]) + 160
        return True


class _Scanner:
    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._loud: dict[int, int] = {}
        self._last: dict[int, tuple[int, bytes]] = {}
        self._first_loud = _Kept(512 * 1024, newest=False)
        self._last_loud = _Kept(256 * 1024, newest=True)
        self._first_quiet = _Kept(16 * 1024, newest=False)
        self._last_quiet = _Kept(64 * 1024, newest=True)
        self._last_weak = _Kept(_WEAK_KEPT, newest=True)
        self._rare = _Kept(256 * 1024, newest=False)
        self._hits: Counter[bytes] = Counter()
        self._before = b""
        self._total = 0
        self._flood = 0
        self._skips = 0
        self._next_skips = _FLOOD
        self._open = False
        self._strong_bytes = 0
        self._weak_bytes = 0

    def read(self, block: bytes) -> None:
        """Take a block of whole lines."""
        if block.endswith(b"\n"):
            block = block[:-1]
        if self._skips:
            self._skips -= 1
            lines = self._skim(block)
        else:
            lines = self._count(block)
        self._total += lines
        joined = self._total > lines and len(block) < 32768
        self._before = _last_lines(self._before + b"\n" + block if joined else block)
        if len(self._counts) > _TEMPLATES:
            self._forget()

    def _count(self, block: bytes) -> int:
        """Count the templates of a block, and look at new ones."""
        keys = block.translate(None, VARYING).split(b"\n")
        present = Counter(keys)
        counts = self._counts
        by_hash = dict(zip(map(hash, present), present, strict=True))
        new = [number for number in by_hash if number not in counts]
        hot = {by_hash[number] for number in by_hash.keys() & self._loud.keys() if counts.get(number, 0) < _ENOUGH}
        counts.update({number: counts.get(number, 0) + present[key] for number, key in by_hash.items()})
        if new or hot or self._open:
            self._look(block, keys, [by_hash[number] for number in new], hot)
        self._watch_flood(len(new), len(keys), len(block))
        return len(keys)

    def _watch_flood(self, new: int, lines: int, size: int) -> None:
        if new * 4 <= lines * 3 and lines * _SHORT <= size:
            self._flood, self._next_skips = 0, _FLOOD
            return
        self._flood += 1
        if self._flood >= _FLOOD:
            self._skips = self._next_skips
            self._next_skips = min(2 * self._next_skips, _MOST_SKIPS)

    def _skim(self, block: bytes) -> int:
        """Look for the loudest words only: in a flood of ever new lines."""
        found = self._places(block.lower(), FEW_WORDS)
        # the rare ones last: of a line that holds words of both kinds they decide
        starts = {block.rfind(b"\n", 0, at) + 1: rare for rare in (False, True) for at in found if found[at] is rare}
        if starts or self._open:
            window = self._window(block)
            i = reached = 0
            for start in sorted(starts):
                i += block.count(b"\n", reached, start)
                reached = start
                key = template(window.lines[i])
                self._counts[key] = self._counts.get(key, 0) + 1
                if self._counts[key] == 1:
                    self._keep(window, *window.span(i), rare=starts[start])
        return block.count(b"\n") + 1

    def _places(self, text: bytes, words: Iterable[bytes]) -> dict[int, bool]:
        """Where the first and the last lines with any of the words hold it, and whether it was seldom seen so far."""
        most = _FEW_HITS if self._first_loud.full else _HITS // 2 + 1
        places: dict[int, bool] = {}
        for word in words:
            found = positions(text, word, most)
            self._hits[word] += len(found)
            rare = self._hits[word] <= _HITS
            places.update((at, rare or places.get(at, False)) for at in found)
        return places

    def finish(self) -> Scan:
        kept: dict[int, bytes] = dict(self._last.values())
        for store in (
            self._first_quiet,
            self._last_quiet,
            self._last_weak,
            self._last_loud,
            self._first_loud,
            self._rare,
        ):
            kept.update(store.lines)
        tail = self._before.split(b"\n")[-_TAIL_LINES:]
        kept.update(zip(range(self._total - len(tail) + 1, self._total + 1), tail, strict=True))
        return Scan(sorted(kept.items()), self._total, self._counts)

    def _window(self, block: bytes) -> Window:
        """The lines of a block; what the block before left open is continued."""
        window = Window(self._before.split(b"\n") if self._before else [], block.split(b"\n"), self._total)
        if self._open:
            self._open = False
            self._keep(window, 0, window.reach_on(-1))
        return window

    def _look(self, block: bytes, keys: list[bytes], fresh: list[bytes], hot: set[bytes]) -> None:
        window = self._window(block)
        first_seen = _first_positions(keys, fresh)
        rare, strong, weak = self._loud_among([window.lines[i] for i in first_seen])
        known = hot
        for n in sorted(rare | strong):
            key = keys[first_seen[n]]
            number = hash(key)
            once = self._counts[number] == 1
            self._loud[number] = int(once)
            if not once:
                known.add(key)
            self._keep(window, *window.span(first_seen[n]), rare=n in rare)
        self._keep_quiet(
            window,
            [i for n, i in enumerate(first_seen) if n not in strong],
            {first_seen[n] for n in weak},
        )
        for key, found in _occurrences(keys, known).items():
            self._repeat(window, hash(key), found)

    def _keep_quiet(self, window: Window, found: list[int], weak: set[int]) -> None:
        """Of new lines that tell little, the first of the log and the last."""
        for i in found[:_QUIET_LINES]:
            if not self._first_quiet.add(window.numbered(i, i + 1)):
                break
        last_weak = [i for i in found if i in weak][-_QUIET_LINES:]
        self._last_weak.add([line for i in last_weak for line in window.numbered(max(i - 1, 0), i + 1)])
        first = window.start + 1
        self._last_quiet.add([(first + i, window.lines[i]) for i in found[-_QUIET_LINES:]])

    def _repeat(self, window: Window, key: int, found: list[int]) -> None:
        """Keep the first few lines of a loud template, and its last."""
        more = max(0, _FIRST_OF_A_KIND - self._loud[key])
        for i in found[:more]:
            self._keep(window, i, i + 1)
        if found[more:]:
            self._last[key] = (window.start + found[-1] + 1, window.lines[found[-1]])
        self._loud[key] += len(found)

    def _keep(self, window: Window, start: int, end: int, *, rare: bool = False) -> None:
        run = window.numbered(start, end)
        if not (rare and self._rare.add(run)) and not self._first_loud.add(run):
            self._last_loud.add(run)
        self._open = self._open or (end >= len(window.lines) and end - start < REACH_ON)

    def _loud_among(self, lines: list[bytes]) -> tuple[set[int], set[int], set[int]]:
        """Indexes of the lines that hold a strong word seldom seen so far, any strong word, or a weak one only."""
        rare: set[int] = set()
        strong: set[int] = set()
        if not lines:
            return rare, strong, set()
        text = b"\n".join(lines).lower()
        starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
        self._strong_bytes += len(text)
        flooded = self._flood >= _FLOOD or self._strong_bytes >= _STRONG_LIMIT
        for at, is_rare in self._places(text, FEW_WORDS if flooded else STRONG_WORDS).items():
            (rare if is_rare else strong).add(bisect_right(starts, at) - 1)
        weak = set() if flooded else self._weak_among(text, starts)
        return rare, strong - rare, weak - strong - rare

    def _weak_among(self, text: bytes, starts: Sequence[int]) -> set[int]:
        """Indexes of the lines that hold a weak word, among the last that there is room for."""
        first = bisect_right(starts, max(0, len(text) - _WEAK_KEPT)) - 1
        text = text[starts[first] :]
        self._weak_bytes += len(text)
        if self._weak_bytes >= _WEAK_LIMIT:
            return set()
        starts = [start - starts[first] for start in starts[first:]]
        found = (at for word in WEAK_WORDS for at in positions(text, word, _QUIET_LINES))
        return {first + bisect_right(starts, at) - 1 for at in found}

    def _forget(self) -> None:
        """Drop templates seen once: a log of ever new lines must not grow the table."""
        kept = {key: count for key, count in self._counts.items() if count > 1 or key in self._loud}
        self._counts = kept if len(kept) < _TEMPLATES // 2 else {}
        if len(self._loud) > _TEMPLATES // 4:
            self._loud.clear()
            self._last.clear()


def _first_positions(keys: list[bytes], fresh: list[bytes]) -> list[int]:
    """Where each new template first occurs."""
    if len(fresh) < 8:
        return sorted(keys.index(key) for key in fresh)
    last = len(keys) - 1
    # read from the end, so that the first place of each is the one that stays
    first = dict(zip(reversed(keys), range(last, -1, -1), strict=True))
    return sorted(first[key] for key in fresh)


def _occurrences(keys: list[bytes], known: set[bytes]) -> dict[bytes, list[int]]:
    """Where known templates occur."""
    found: dict[bytes, list[int]] = {}
    if known:
        for i, key in enumerate(keys):
            if key in known:
                found.setdefault(key, []).append(i)
    return found


def _last_lines(block: bytes) -> bytes:
    """The last whole lines, at most 32 KiB of them where lines are of ordinary length."""
    if len(block) <= 32768:
        return block
    cut = block.find(b"\n", len(block) - 32768)
    return block[cut + 1 :] if cut >= 0 else block[block.rfind(b"\n") + 1 :]
