"""Tell which line ends inside a paragraph mean a break and are more than wrapping.

Markdown reads a line end as a space. Its users write some line by line all the same, because the
programs they write for read it so: the head of a callout, properties, comments. The rule looks at
lines alone, so every reader decides alike. Formulas have a rule of their own (``formulas``).
"""

import re
from collections.abc import Sequence

_CALLOUT = re.compile(r"\[![^\[\]\s][^\[\]]*\][+-]?(?:\s|\Z)")
_PROPERTY = re.compile(r"[*_]{0,3}\w[\w /-]{0,60}?[*_]{0,3}::(?:\s|\Z)")
_COMMENT = re.compile("%%")
_HINTS = (b"::", b"%%", b"[!")


def may_mean_breaks(data: bytes) -> bool:
    """Return whether any line end of a source may mean a break. False is certain."""
    return any(hint in data for hint in _HINTS)


def meaningful(lines: Sequence[str]) -> list[bool]:
    """Return for each line of a paragraph whether the line end after it means a break.

    A line end means a break after the head of a callout (``[!note] Title``), before and after a
    line ``key:: value``, and inside ``%% ... %%``.

    Args:
        lines: the paragraph's source without its container's prefixes.
    """
    bare = [line.strip(" \t\r") for line in lines]
    means = [False] * len(bare)
    means[0] = _CALLOUT.match(bare[0]) is not None
    for k, line in enumerate(bare):
        # The markers of a comment over several paragraphs stand on lines of their own.
        if line == "%%" or _PROPERTY.match(line):
            means[max(k - 1, 0) : k + 1] = [True] * (k + 1 - max(k - 1, 0))
    for first, last in _comments(bare):
        means[first:last] = [True] * (last - first)
    return means


def _comments(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first and the last line of each comment.

    One that is left open counts only if it begins a line: in the middle of one, ``%%`` may be
    just text.
    """
    found: list[tuple[int, int]] = []
    opened: tuple[int, int] | None = None
    for k, line in enumerate(lines):
        for match in _COMMENT.finditer(line):
            if opened is None:
                opened = k, match.start()
            else:
                found.append((opened[0], k))
                opened = None
    if opened is not None and not opened[1]:
        found.append((opened[0], len(lines) - 1))
    return found
