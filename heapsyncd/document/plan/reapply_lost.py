"""Edits of blocks that others deleted meanwhile: an edit wins over a deletion. Pure.

An update of the base can't hold them, for they would land in a node that is no more. So they are
made second, on the live document: in the block that now holds the old one's text, or as a block of
its own where the old one stood.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heapsyncd.document.inline.visible_text import merged
from heapsyncd.document.plan.clone_sources import with_content
from heapsyncd.document.plan.node_identity import Same
from heapsyncd.document.plan.remote_changes import content, edited_part
from heapsyncd.tree import LEAVES, Block, Text, inline


@dataclass(slots=True, eq=False)
class LostEdit:
    """An edit of a block that the live document no longer has."""

    old: Block
    new: Block
    parent: Block | None = None
    """The live block that would hold it."""
    place: int = 0
    """Where among its children."""
    became: Block | None = None
    """The live leaf that holds the old one's text."""


def rescued(live: Block, now: Block, lost: Sequence[LostEdit], same: Same) -> Block:
    """The goal for the live document with what was lost.

    Args:
        live: the view in which the losses were found.
        now: the view with the rest of the edit in it.
        lost: what to bring back.
        same: which node is which, from ``live`` to ``now``.
    """
    rescue = _Rescue(lost, same)
    made = rescue.block(live, now)
    for one in [x for x in rescue.left if x.became is not None]:
        made, found = _put(made, one)
        if found:
            rescue.left.remove(one)
    # What finds no place any more stands at the end.
    left = [b for one in rescue.left for b in _free(_alone(one))]
    return made.with_children([*made.children, *left])


def salvaged(now: Block, lost: Sequence[LostEdit]) -> Block:
    """The live document with the words of what was lost at its end, whatever they were in."""
    lines = [line for one in lost for line in _alone(one).words().split("\n")]
    found = [inline([Text(line)]) for line in lines]
    left = [Block("paragraph", inline=items) for items in found if items]
    return now.with_children([*now.children, *left])


def _put(block: Block, lost: LostEdit) -> tuple[Block, bool]:
    """Make an edit in the leaf that holds the text now (we have moved it too)."""
    if block.kind in LEAVES:
        words = lost.old.words().strip()
        return (_with(block, lost), True) if words in block.words() else (block, False)
    for k, child in enumerate(block.children):
        made, found = _put(child, lost)
        if found:
            return block.with_children([*block.children[:k], made, *block.children[k + 1 :]]), True
    return block, False


def _with(now: Block, lost: LostEdit) -> Block:
    return with_content(now, merged(content(lost.old), content(lost.new), content(now)))


class _Rescue:
    def __init__(self, lost: Sequence[LostEdit], same: Same) -> None:
        self.left = list(lost)
        self._same = same
        self._targets = {id(x.became or x.parent) for x in lost}

    def block(self, live: Block, now: Block) -> Block:
        """``now`` is what ``live`` has become by the edit."""
        if not any(id(b) in self._targets for b in live.walk()):
            return now
        for one in self._taken(live, became=True):
            now = _with(now, one)
        mine = list(self._taken(live, became=False))
        if not mine and not live.children:
            return now
        here = {self._same.get(c.path or ()): i for i, c in enumerate(live.children)}
        out: list[Block] = []
        at = 0
        for child in now.children:
            i = here.get(child.path)
            if i is None or child.path is None:
                out.append(child)
                continue
            out += [_alone(o) for o in mine if at <= o.place <= i]
            at = i + 1
            out.append(self.block(live.children[i], child))
        made = now.with_children([*out, *(_alone(o) for o in mine if o.place >= at)])
        return _even(made) if made.kind == "table" else made

    def _taken(self, live: Block, *, became: bool) -> Iterator[LostEdit]:
        """What is to be done with a block, taken off the list."""
        for one in list(self.left):
            if live is (one.became if became else one.parent) and (became or one.became is None):
                self.left.remove(one)
                yield one


def _even(table: Block) -> Block:
    """A table whose rows are as wide as the widest."""
    width = max(len(row.children) for row in table.children)
    rows = [
        row.with_children([*row.children, *[Block("cell")] * (width - len(row.children))])
        for row in table.children
    ]
    return table.with_children(rows)


def _alone(lost: LostEdit) -> Block:
    return edited_part(lost.old, lost.new)


def _free(block: Block) -> list[Block]:
    """A block as blocks that may stand anywhere."""
    if block.kind in {"item", "row"}:
        return [free for child in block.children for free in _free(child)]
    if block.kind == "cell":
        return [Block("paragraph", inline=block.inline)] if block.inline else []
    return [block]
