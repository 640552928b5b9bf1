"""Edits of blocks that others deleted meanwhile: an edit wins over a deletion. Pure.

An update of the base can't hold them, for they would land in a node that is no more. So they are
made second, on the live document: in the block of another kind that the old one became, or as a
block of its own where the old one stood.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from heapsyncd.diff import align
from heapsyncd.document.sources import with_content
from heapsyncd.document.theirs import content, edited_part
from heapsyncd.document.visible import merged
from heapsyncd.tree import Block


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """An edit of a block that the live document no longer has."""

    old: Block
    new: Block
    parent: Block
    """The live block that would hold it."""
    place: int
    """Where among its children."""
    became: Block | None = None
    """The live block of another kind that the old one was made into."""


def rescued(live: Block, now: Block, lost: Sequence[Lost]) -> Block:
    """The goal for the live document with what was lost.

    Args:
        live: the view in which the losses were found.
        now: the view with the rest of the edit in it.
        lost: what to bring back.
    """
    return _Rescue(lost).block(live, now)


class _Rescue:
    def __init__(self, lost: Sequence[Lost]) -> None:
        self._by_parent: dict[int, list[Lost]] = {}
        for one in lost:
            self._by_parent.setdefault(id(one.parent), []).append(one)

    def block(self, live: Block, now: Block) -> Block:
        """``now`` is what ``live`` has become by the edit."""
        if not self._is_above(live):
            return now
        mine = self._by_parent.get(id(live), [])
        out: list[Block] = []
        at = 0
        for i, j in [*align(live.children, now.children), (len(live.children), None)]:
            if i is not None:
                out += [_alone(o) for o in mine if at <= o.place <= i and o.became is None]
                at = i + 1
            if j is not None:
                child = now.children[j]
                if i is not None:
                    child = _with_edits(live.children[i], child, mine)
                    child = self.block(live.children[i], child)
                out.append(child)
        return now.with_children(out)

    def _is_above(self, live: Block) -> bool:
        return any(id(b) in self._by_parent for b in live.walk())


def _alone(lost: Lost) -> Block:
    return edited_part(lost.old, lost.new)


def _with_edits(live: Block, now: Block, mine: Sequence[Lost]) -> Block:
    for one in mine:
        if one.became is live:
            now = with_content(now, merged(content(one.old), content(one.new), content(now)))
    return now
