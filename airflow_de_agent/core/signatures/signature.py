"""What one row of the table is."""

from __future__ import annotations

from typing import NamedTuple


class Signature(NamedTuple):
    r"""One failure family: how it shows in a log, and what an engineer says of it.

    Attributes:
        name: unique, ``family.problem``.
        category: a value of `Category`; that of the root cause, not of the symptom.
        strength: 0-100, how surely these words name a *cause*. 85 and more: an error code or text that means one thing.
            60-84: the usual meaning. 40-59: a common consequence of something else, which yields to a cause found
            elsewhere. Under 40: a symptom, such as ``Bash command failed``, that never is the cause.
        hints: literal texts in lower case; the row is looked at only where one of them stands. Give the rarest words.
        pattern: regular expression on the text around the hint (case ignored, white space folded to single blanks);
            empty: the hint is enough. Named groups fill `cause` and `steps`. Keep repeats bounded (``\S{1,80}``).
        cause: one sentence. ``{name|words}`` is the captured value, or the words where nothing was captured.
        steps: what to do, naming the object; empty: the usual steps of the category.
        transience: ``permanent``, ``transient`` or ``unknown``; empty: the usual one of the category.
        unless: literal texts in lower case that speak against the row when they stand beside the hint.
        needs: literal texts in lower case, one of which must stand somewhere in the log or the evidence.
        operators: parts of operator names in lower case; the row holds only for these where the operator is known.
        frames: parts of file names in lower case; the row holds only for an exception that was raised through one of
            these files, such as ``pandas/``: a missing key means something else there than in a task's own dictionary.
        follows: often the consequence of an error logged before, such as a table or file that was never made: as the
            end of a task it yields to a definite cause of another category in an earlier line.
    """

    name: str
    category: str
    strength: int
    hints: tuple[str, ...]
    pattern: str = ""
    cause: str = ""
    steps: tuple[str, ...] = ()
    transience: str = ""
    unless: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    follows: bool = False
