"""Where two people changed the same words at once. Pure.

A merge keeps what both typed, and can read oddly where they typed in one place: somebody should
look at it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heapsyncd.diff import align, text_hunks
from heapsyncd.tree import LEAVES, Block

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """One block's text on either side and as it reads now; empty where a side deleted it."""

    ours: str
    theirs: str
    merged: str
    start: int | None = None
    """The byte at which our text begins in the file's body; None when there is none."""


def overlaps(before: Block, ours: Block, theirs: Block, merged: Block) -> list[Overlap]:
    """The blocks in which our changes and theirs touch.

    Args:
        before: what both sides knew.
        ours: with our changes alone.
        theirs: with theirs alone.
        merged: with both.

    Changes of two words of a sentence are none; at one place, or of the same words, they are,
    unless both are the same.
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
    """What we deleted and they changed: their text stays."""
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
    """Whether what they changed of our text meets what we changed of the known one."""
    before, text = _text(known), _text(ours)
    foreign = text_hunks(text, _text(merged))
    return any(
        start <= h.end and h.start <= end for start, end in _changed(before, text) for h in foreign
    )


def _changed(before: str, after: str) -> Iterator[Range]:
    """The ranges of a text that differ from the one before."""
    shift = 0
    for hunk in text_hunks(before, after):
        start = hunk.start + shift
        yield start, start + len(hunk.text)
        shift += len(hunk.text) - (hunk.end - hunk.start)
