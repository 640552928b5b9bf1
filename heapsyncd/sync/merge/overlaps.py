"""Find where two people changed the same words at once. Pure.

A merge keeps what both typed. Where they typed in one place the result can read oddly, and a
person should look at it.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from heapsyncd.diff import align, text_hunks
from heapsyncd.tree import LEAVES, Block

Range = tuple[int, int]


class Overlap(Struct, frozen=True):
    """One block's text on either side and after the merge; empty where a side deleted it."""

    ours: str
    theirs: str
    merged: str
    start: int | None = None
    """The byte offset of our text in the file's body; None if it has none."""


def overlaps(before: Block, ours: Block, theirs: Block, merged: Block) -> list[Overlap]:
    """Return the blocks in which our changes and theirs touch.

    Changes of two different words of a sentence do not touch. Changes at one place or of the same
    words do, unless both are the same.

    Args:
        before: the tree both sides knew.
        ours: with our changes only.
        theirs: with their changes only.
        merged: with both.
    """
    if ours in (before, merged) or theirs == before:
        return []
    old, here, there, now = (_leaves(b) for b in (before, ours, theirs, merged))
    our_old, now_of, their_of = _partners(here, old), _partners(here, now), _partners(old, there)
    found = []
    for k, leaf in enumerate(here):
        if k not in our_old:
            continue
        known = old[our_old[k]]
        other = there[their_of[our_old[k]]] if our_old[k] in their_of else None
        result = now[now_of[k]] if k in now_of else None
        if known in (leaf, other):
            continue
        if other is None or (result is not None and _touch(known, leaf, result)):
            start = None if leaf.span is None else leaf.span.start
            found.append(Overlap(_text(leaf), _text(other), _text(result), start))
    return [*found, *_deleted_here(old, here, there, now)]


def _deleted_here(
    old: Sequence[Block], here: Sequence[Block], there: Sequence[Block], now: Sequence[Block]
) -> Iterator[Overlap]:
    """Yield the blocks that we deleted and they changed: their text stays."""
    ours, theirs = _partners(old, here), _partners(old, there)
    for i, j in theirs.items():
        if i not in ours and there[j] != old[i] and there[j] in now:
            yield Overlap("", _text(there[j]), _text(there[j]))


def _leaves(block: Block) -> list[Block]:
    return [b for b in block.walk() if b.kind in LEAVES]


def _partners(one: Sequence[Block], other: Sequence[Block]) -> dict[int, int]:
    return {i: j for i, j in align(one, other) if i is not None and j is not None}


def _text(block: Block | None) -> str:
    return "" if block is None else block.words()


def _touch(known: Block, ours: Block, merged: Block) -> bool:
    """Return whether a change of theirs touches one of ours."""
    before, text = _text(known), _text(ours)
    foreign = text_hunks(text, _text(merged))
    return any(
        start <= h.end and h.start <= end for start, end in _changed(before, text) for h in foreign
    )


def _changed(before: str, after: str) -> Iterator[Range]:
    """Yield the ranges of ``after`` that differ from ``before``."""
    shift = 0
    for hunk in text_hunks(before, after):
        start = hunk.start + shift
        yield start, start + len(hunk.text)
        shift += len(hunk.text) - (hunk.end - hunk.start)
