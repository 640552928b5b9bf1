"""Show a difference of two texts to people: the changed lines, with the changed words marked."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from heapsyncd.diff.text import line_hunks

Part = tuple[str, str]
"""A piece of a line and what happened to it: ``=`` kept, ``-`` removed, ``+`` added. ``@``: lines
are left out here; the piece is the number of the next line in the new text.
"""
Line = list[Part]

CONTEXT: Final = 2
"""How many unchanged lines are shown around changed ones."""
MOST: Final = 1000
"""The most lines of one difference that are shown."""
_LINE_END: Final = re.compile(r"\r\n|\r")


def shown(old: str, new: str) -> list[Line]:
    """Return the lines that show how old became new; [] if they differ at most in line ends.

    The values are the same after a way through JSON, apart from tuples that become lists.
    """
    old, new = (_LINE_END.sub("\n", text) for text in (old, new))
    numbered = list(_lines(_parts(old, new)))
    changed = [k for k, (_, line) in enumerate(numbered) if any(sign != "=" for sign, _ in line)]
    out: list[Line] = []
    at = 0
    for start, end in _ranges(changed, len(numbered)):
        if start > at:
            out.append([("@", str(numbered[start][0]))])
        out += [line for _, line in numbered[start:end]]
        at = end
    if len(out) > MOST:
        return [*out[:MOST], [("@", str(numbered[-1][0]))]]
    return out


def _parts(old: str, new: str) -> Iterator[Part]:
    at = 0
    for hunk in line_hunks(old, new, letters=False):
        yield "=", old[at : hunk.start]
        yield "-", old[hunk.start : hunk.end]
        yield "+", hunk.text
        at = hunk.end
    yield "=", old[at:]


def _lines(parts: Iterator[Part]) -> Iterator[tuple[int, Line]]:
    """Yield lines of parts with their numbers in the new text."""
    number = 1
    line: Line = []
    for sign, text in parts:
        *ended, rest = text.split("\n")
        for piece in ended:
            # A marked piece may be empty: then the line end is what was removed or added.
            if piece or sign != "=":
                line.append((sign, piece))
            yield number, line
            number += sign != "-"
            line = []
        if rest:
            line.append((sign, rest))
    if line:
        yield number, line


def _ranges(changed: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of lines to show: the changed ones with their context."""
    start = end = -1
    for k in changed:
        if start >= 0 and k - CONTEXT > end:
            yield start, end
            start = -1
        if start < 0:
            start = max(0, k - CONTEXT)
        end = min(count, k + CONTEXT + 1)
    if start >= 0:
        yield start, end
