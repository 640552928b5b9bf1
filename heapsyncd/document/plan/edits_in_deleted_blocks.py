"""Apply our edits of blocks that others deleted meanwhile: an edit wins over a deletion. Pure.

An update of the base cannot hold them, because they would be part of a deleted node. So they are
made in a second step on the live document: in the block that now holds the old one's text, or as a
block of their own where the old one was.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from heapsyncd.document.inline.visible_text import merged
from heapsyncd.document.plan.clone_sources import with_content
from heapsyncd.document.plan.node_identity import NodeMap
from heapsyncd.document.plan.remote_changes import content, edited_part
from heapsyncd.tree import LEAVES, Block, Text, inline


class EditToReapply(Struct, eq=False):
    """Our edit of a block that the live document no longer has."""

    old: Block
    """The block in the base."""
    new: Block
    """What we made of it."""
    parent: Block | None = None
    """The live block that would contain it."""
    place: int = 0
    """Its index among the parent's children."""
    became: Block | None = None
    """The live leaf that holds the old block's text."""


def with_reapplied(
    live: Block, now: Block, edits: Sequence[EditToReapply], node_map: NodeMap
) -> Block:
    """Return the goal for the live document: its view with the given edits in it.

    Args:
        live: the view that the edits refer to.
        now: the view with the rest of our edit in it.
        edits: what to apply again.
        node_map: the node in ``now`` of each node in ``live``.
    """
    reapply = _Reapply(edits, node_map)
    made = reapply.block(live, now)
    for one in [x for x in reapply.left if x.became is not None]:
        made, found = _apply_to_text(made, one)
        if found:
            reapply.left.remove(one)
    # What no longer has a place goes to the end.
    left = [b for one in reapply.left for b in _free_blocks(_as_block(one))]
    return made.with_children([*made.children, *left])


def with_text_appended(now: Block, edits: Sequence[EditToReapply]) -> Block:
    """Return the live view with the words of the edited blocks as paragraphs at its end."""
    lines = [line for one in edits for line in _as_block(one).words().split("\n")]
    found = [inline([Text(line)]) for line in lines]
    left = [Block("paragraph", inline=items) for items in found if items]
    return now.with_children([*now.children, *left])


def _apply_to_text(block: Block, edit: EditToReapply) -> tuple[Block, bool]:
    """Apply an edit to the leaf that holds its text now, because we moved the text, too.

    Returns:
        The block, and whether such a leaf was in it.
    """
    if block.kind in LEAVES:
        words = edit.old.words().strip()
        return (_merge_into(block, edit), True) if words in block.words() else (block, False)
    for k, child in enumerate(block.children):
        made, found = _apply_to_text(child, edit)
        if found:
            return block.with_children([*block.children[:k], made, *block.children[k + 1 :]]), True
    return block, False


def _merge_into(now: Block, edit: EditToReapply) -> Block:
    """Return a live leaf with an edit merged into it."""
    return with_content(now, merged(content(edit.old), content(edit.new), content(now)))


class _Reapply:
    def __init__(self, edits: Sequence[EditToReapply], node_map: NodeMap) -> None:
        self.left = list(edits)
        self._node_map = node_map
        self._targets = {id(x.became or x.parent) for x in edits}

    def block(self, live: Block, now: Block) -> Block:
        """Return ``now`` with the edits applied; ``live`` is the same block before the rest of our
        edit.
        """
        if not any(id(b) in self._targets for b in live.walk()):
            return now
        for one in self._take(live, became=True):
            now = _merge_into(now, one)
        mine = list(self._take(live, became=False))
        if not mine and not live.children:
            return now
        here = {self._node_map.get(c.path or ()): i for i, c in enumerate(live.children)}
        out: list[Block] = []
        at = 0
        for child in now.children:
            i = here.get(child.path)
            if i is None or child.path is None:
                out.append(child)
                continue
            out += [_as_block(o) for o in mine if at <= o.place <= i]
            at = i + 1
            out.append(self.block(live.children[i], child))
        made = now.with_children([*out, *(_as_block(o) for o in mine if o.place >= at)])
        return _pad_rows(made) if made.kind == "table" else made

    def _take(self, live: Block, *, became: bool) -> Iterator[EditToReapply]:
        """Yield the edits that refer to a block, and remove them from the list."""
        for one in list(self.left):
            if live is (one.became if became else one.parent) and (became or one.became is None):
                self.left.remove(one)
                yield one


def _pad_rows(table: Block) -> Block:
    """Return a table with all rows as wide as the widest."""
    width = max(len(row.children) for row in table.children)
    rows = [
        row.with_children([*row.children, *[Block("cell")] * (width - len(row.children))])
        for row in table.children
    ]
    return table.with_children(rows)


def _as_block(edit: EditToReapply) -> Block:
    """Return an edit as a block of its own, with only the parts that it added or changed."""
    return edited_part(edit.old, edit.new)


def _free_blocks(block: Block) -> list[Block]:
    """Return a block as blocks that any container accepts."""
    if block.kind in {"item", "row"}:
        return [free for child in block.children for free in _free_blocks(child)]
    if block.kind == "cell":
        return [Block("paragraph", inline=block.inline)] if block.inline else []
    return [block]
