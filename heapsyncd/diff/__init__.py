"""Compute differences between texts and between lists of blocks, stable under concurrent edits.

``text``: by words first, then by characters inside similar words; nearly as small as a character
diff, but two people's edits of one sentence merge to words. ``blocks``: equal subtrees are
anchors, and what lies between them is paired by similarity, so that a changed paragraph keeps its
identity. ``sequences``: the common subsequence that both build on, bounded in time. ``ends``: what
two texts inserted at one position have in common. ``transplant``: an author's edits of one text,
applied to another. ``shown``: a difference as lines for people.
"""

from heapsyncd.diff.blocks import SIMILAR, align, equal_ends, similarity
from heapsyncd.diff.text import (
    Hunk,
    line_hunks,
    lines_of,
    text_hunks,
    with_hunks,
    without_convergent,
)

__all__ = [
    "SIMILAR",
    "Hunk",
    "align",
    "equal_ends",
    "line_hunks",
    "lines_of",
    "similarity",
    "text_hunks",
    "with_hunks",
    "without_convergent",
]
