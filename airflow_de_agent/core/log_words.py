"""The words by which a line of a log is taken to be worth reading, and where they stand."""

from __future__ import annotations

# Lower case; a line that holds one of them may carry the cause.
STRONG_WORDS: tuple[bytes, ...] = (
    b"error",
    b"exception",
    b"traceback",
    b"fail",
    b"fatal",
    b"critical",
    b"warn",
    b"denied",
    b"caused by",
    b"killed",
    b"timed out",
    b"timeout",
    b"not found",
    b"unable",
    b"refused",
)
FEW_WORDS = (b"error", b"exception", b"traceback", b"fail", b"fatal")
WEAK_WORDS: tuple[bytes, ...] = (
    b"no such",
    b"cannot",
    b"can't",
    b"could not",
    b"couldn't",
    b"abort",
    b"sigterm",
    b"sigkill",
    b"signal",
    b"out of memory",
    b"invalid",
    b"expired",
    b"exceed",
    b"quota",
    b"throttl",
    b"missing",
    b"unknown",
    b"undefined",
    b"forbidden",
    b"unauthori",
    b"not authori",
    b"not permitted",
    b"no space",
    b"violat",
    b"deadlock",
    b"reject",
    b"terminat",
    b" lost",
    b"exit code",
    b"return code",
    b"non-zero",
    b"panic",
    b"segmentation",
    b"unreachable",
    b"reset by",
    b"rollback",
    b"rolled back",
    b"conflict",
    b"mismatch",
    b"duplicate",
    b"does not",
    b"doesn't",
    b"is not",
    b"isn't",
    b"overflow",
    b"truncat",
    b"evict",
    b"unavailable",
    b"externally set",
    b"too many",
    b"too long",
    b"too large",
    b"unexpected",
    b"mandatory",
    b"not exist",
    b"cancel",
    b"skipp",
    b"retry",
    b"retries",
    b"giving up",
    b"incorrect",
    b"unrecognized",
    b"unsupported",
    b"no module",
)


def positions(text: bytes, word: bytes, most: int) -> list[int]:
    """Where lines hold a word, one place a line: the first `most` and the last `most` of them."""
    found: list[int] = []
    at = text.find(word)
    while at >= 0 and len(found) < most:
        found.append(at)
        end = text.find(b"\n", at)
        at = text.find(word, end) if end >= 0 else -1
    reached, stop = at, len(text)
    for _ in range(most if at >= 0 else 0):
        at = text.rfind(word, reached, stop)
        if at < 0:
            break
        found.append(at)
        stop = text.rfind(b"\n", reached, at)
        if stop < 0:
            break
    return found
