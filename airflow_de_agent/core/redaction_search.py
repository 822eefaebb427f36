"""Where the literals of the redaction table stand in a text.

A short text is searched for each literal in turn: that needs nothing built. A long one is read two characters at a
time: taken for UTF-16, each pair of letters is one character, and one class of such characters tells where a literal
may stand. Of every literal the class holds two pairs, one for where it begins at an even place and one for an odd one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, product

from airflow_de_agent.core.redaction_table import NAMES, SHAPES, SHORT_NAMES

SHORT = 100_000  # characters; below it, looking for each literal beats building the class of pairs
CHUNK = 128_000  # characters searched at a time, so that they stay in the processor's cache
OVERLAP = 32  # more than the longest literal
ADDRESS = 600  # characters before an @ that may belong to it
# These matter only before an @, which is rarer than they are; an @ itself is looked for as this one.
BEFORE_AT = ("://", ":\\/\\/", "thin:", "sqlplus", "sqlldr")
AT = ("@//", "@tcp(", ":1521")
LITERALS = tuple(dict.fromkeys(literal for shape in SHAPES for literal in shape.literals if literal not in BEFORE_AT))
LITERALS += (*NAMES, *SHORT_NAMES, "PRIVATE KEY")
ANY = tuple(map(chr, range(128)))
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~."
# Pairs of the literals, from the commonest in task logs on: each is worth a look only beside the right neighbour.
COMMON = """
in er lo py on as es ti -1 en sk al ed st ag te id re li ge ne pa nt am oc /a s/ ec de ho se ar to ce fi na
cu et ro at th da el ve ac si ut k_ d_ it ch co om s. ng pr ct e. ck _t ss rt sh ba 1/ e_ ri im ur la r. t_
ts ea ap mo ki be ic od r_ oa tu ub og of _p ke ft is ok ls eb ks so tc p_ a2 s_ 34 ie 41 9. cr 29 pt ql 48
sq m_ fc 13 pm gi lf pi ld // t- e- :5 54 32 43 39 un /s t" t' t= n_ i_ g_ _l .l ou po w= cm
ns vi gi ba if 2: 9: nn -p bc ry
"""
LATIN = {0x212A: "k", 0x0130: "i"}  # letters whose lower case is one of ASCII's
Owners = dict[str, list[tuple[str, int, bool]]]
Neighbours = dict[str, tuple[set[str], set[str]]]


def hits(text: str, *, long: bool) -> Iterator[tuple[int, str]]:
    """(position, literal) for every literal; those of one literal in ascending order. `long`: see the module."""
    found = _pair_hits(text) if long else _plain_hits(text)
    return chain(found, _at_hits(text)) if "@" in text else found


def finds(text: str, literal: str) -> Iterator[int]:
    """Where a string stands in a text."""
    at = text.find(literal)
    while at >= 0:
        yield at
        at = text.find(literal, at + len(literal))


def _plain_hits(text: str) -> Iterator[tuple[int, str]]:
    lowered = _lower(text)
    for literal in LITERALS:
        where = lowered if literal.islower() else text
        if literal in where:
            for at in finds(where, literal):
                yield at, literal


def _lower(text: str) -> str:
    """In lower case and of the same length: one letter's lower case is longer."""
    return text.lower() if text.isascii() else text.replace("\u0130", "I").lower()


def _at_hits(text: str) -> Iterator[tuple[int, str]]:
    for start, end in _before_at(text):
        before = _lower(text[start:end])
        for literal in BEFORE_AT:
            if literal in before:
                for at in finds(before, literal):
                    yield start + at, literal
    for literal in AT:
        for at in finds(text, literal):
            yield at, literal


def _before_at(text: str) -> Iterator[tuple[int, int]]:
    """What stands before each @; where several stand close together, before them all."""
    at = text.find("@")
    while at >= 0:
        end = at
        while (further := text.rfind("@", end + 1, end + ADDRESS)) >= 0:
            end = further
        yield max(0, at - ADDRESS), end
        at = text.find("@", end + 1)


def _pair_hits(text: str) -> Iterator[tuple[int, str]]:
    pattern, owners = _pairs()
    for base in range(0, len(text), CHUNK):
        chunk = text[base : base + CHUNK + 2 * OVERLAP]
        lowered = _lower(chunk)
        # one byte for each character, so that places stay
        data = (chunk if chunk.isascii() else chunk.translate(LATIN)).encode("ascii", "replace")
        first, last = OVERLAP if base else 0, CHUNK + OVERLAP
        for match in pattern.finditer((data + b" " * (len(data) % 2)).decode("utf-16-le")):
            pair = match.start() * 2
            if first <= pair < last:
                for literal, offset, lower in owners[match[0]]:
                    at = pair - offset
                    if at >= 0 and (lowered if lower else chunk).startswith(literal, at):
                        yield base + at, literal


@cache
def _pairs() -> tuple[re.Pattern[str], Owners]:
    """What finds the pairs, and by pair: (literal, the pair's offset in it, whether in any case)."""
    owners: Owners = {}
    rare: set[str] = set()
    after: Neighbours = {}
    before: Neighbours = {}
    for literal in LITERALS:
        any_case = literal.islower()
        for pair, offset in _rarest(literal):
            ways = set(map(_wide, _ways(pair, any_case)))
            for way in ways:
                owners.setdefault(way, []).append((literal, offset, any_case))
            next_to, previous = literal[offset + 2 : offset + 4], literal[max(0, offset - 2) : offset]
            if pair not in COMMON:
                rare |= ways
            elif next_to and len(next_to) >= len(previous):
                _note(after, next_to[0], ways, _ways(next_to.ljust(2, "\0"), any_case))
            else:
                _note(before, previous[-1], ways, _ways(previous.rjust(2, "\0"), any_case))
    return re.compile(_pattern(rare, after, before), re.DOTALL), owners


def _note(neighbours: Neighbours, group: str, pairs: set[str], beside: set[str]) -> None:
    """Add pairs and what stands beside them, where a NUL is for any character."""
    known_pairs, known_beside = neighbours.setdefault(group, (set(), set()))
    known_pairs |= pairs
    known_beside.update(_wide(way.replace("\0", other)) for way in beside for other in (ANY if "\0" in way else ("",)))


def _pattern(rare: set[str], after: Neighbours, before: Neighbours) -> str:
    """Any of the pairs: a rare one, or one beside a neighbour.

    Neighbours that share a character make a group of the pattern, so that few groups are tried in a place.
    """
    pairs = rare.union(*(of for of, _ in (*after.values(), *before.values())))
    following = "|".join(f"{_class(beside)}(?<={_class(of)}.)" for of, beside in after.values())
    previous = "|".join(f"(?<={_class(beside)}{_class(of)})" for of, beside in before.values())
    # any neighbour at all first: most pairs have none
    any_after, any_before = (_class(set[str]().union(*(b for _, b in g.values()))) for g in (after, before))
    alone = f"(?<={_class(rare)})"
    return f"{_class(pairs)}(?:(?={any_after})(?={following})|(?<={any_before}.)(?:{previous})|{alone})"


def _rarest(literal: str) -> Iterator[tuple[str, int]]:
    """The rarest pairs of a literal, one at an even offset and one at an odd one."""
    for shift in (0, 1):
        pairs = [(literal[i : i + 2], i) for i in range(shift, len(literal) - 1, 2)]
        if pairs:
            yield min(pairs, key=lambda pair: _commonness(pair[0]))
        else:  # of two characters only: whatever follows belongs to the pair
            yield from ((literal[1] + following, 1) for following in ALPHABET)


def _commonness(pair: str) -> int:
    at = COMMON.find(pair)
    return -at if at >= 0 else -len(COMMON)


def _ways(text: str, any_case: bool) -> set[str]:
    return set(map("".join, product(*({c, c.upper()} if any_case else {c} for c in text)))) if text else set()


def _wide(pair: str) -> str:
    """Two characters as the one that UTF-16 makes of them."""
    return pair.encode().decode("utf-16-le")


def _class(characters: Iterable[str]) -> str:
    return f"[{re.escape(''.join(sorted(characters)))}]"
