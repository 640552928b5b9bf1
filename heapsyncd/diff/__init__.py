"""Differences between two texts and two lists of blocks, small and stable under concurrent edits.

``text``: word first, then by characters inside similar words; nearly as small as a character
diff, but two people's edits of one sentence merge to words. ``blocks``: equal subtrees fix
anchors, what lies between is paired by similarity, so that a changed paragraph stays the paragraph
it was. ``sequences``: the common subsequence both rest on, bounded in time. ``ends``: what two
texts at one place have in common. ``transplant``: an author's edits of one text, made in another.
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
