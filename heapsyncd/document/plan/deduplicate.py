"""Keep one copy of what both sides moved, retyped, split or joined: the others' copy. Pure.

Both sides would clone a text out of its node, which gives two copies. Ours is not made, and what
we wrote in it is applied to theirs (``edits_in_deleted_blocks``).
"""

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct, field

from heapsyncd.diff import align
from heapsyncd.document.inline.visible_text import merged, with_additions, without_removed
from heapsyncd.document.plan.clone_sources import (
    NewBlock,
    RemovedBlock,
    Step,
    new_step,
    with_content,
)
from heapsyncd.document.plan.edits_in_deleted_blocks import EditToReapply
from heapsyncd.document.plan.moved_text import MIN_PART_LETTERS, MovedText
from heapsyncd.document.plan.node_identity import Path
from heapsyncd.document.plan.remote_changes import (
    adds_content,
    content,
    has_words_of,
    is_opaque,
)
from heapsyncd.tree import CONTAINERS, LEAVES, Block

_EMPTY = Block("cell")


class Deduplicate(Struct):
    """Decides which side's copy stays."""

    moved_text: MovedText
    to_reapply: list[EditToReapply] = field(default_factory=list)
    """Our edits to make on the live document."""
    edited: list[Step] = field(default_factory=list)
    """Leaves that keep their node and that we edited."""
    _cut: set[int] = field(default_factory=set)
    """Deleted leaves that we split, by ``id()``."""
    _joins: list[tuple[Step | EditToReapply, list[RemovedBlock]]] = field(default_factory=list)
    """Leaves that may have taken in others, with those."""

    def without_moved(
        self, old: Block, new: Block, near: Sequence[Block], deleted: Block | None = None
    ) -> Block:
        """Remove from an edit of a deleted block what is applied where others moved its leaves.

        Args:
            old: the block in the base.
            new: what we made of it.
            near: the live blocks that others inserted about where it was.
            deleted: the outermost deleted block around it, if that is another.

        Returns:
            The block with the rest of the edit.
        """
        deleted = deleted or old
        if old == new or old.kind != new.kind:
            return new
        if new.kind in LEAVES:
            return old if self._moved(old, new, near) else new
        children: list[Block | None] = []
        pairs = align(old.children, new.children)
        gone = [old.children[i] for i, j in pairs if i is not None and j is None]
        for i, j in pairs:
            if j is not None and i is not None:
                child = self._without_joined(new.children[j], gone)
                children.append(self.without_moved(old.children[i], child, near, deleted))
            elif j is not None:
                children.append(self._new_parts(deleted, new.children[j], gone))
        return _with_children(new, children)

    def _new_parts(self, deleted: Block, child: Block, gone: Sequence[Block] = ()) -> Block | None:
        """Return what is new in a block that we put into a deleted one; None if it was only moved.

        Args:
            deleted: the deleted block.
            child: what we put into it.
            gone: blocks that we deleted beside it; it may be one of them, retyped and extended.
        """
        if child.kind in LEAVES:
            source = next(
                (b for b in deleted.walk() if b.kind in LEAVES and has_words_of(b, child)), None
            )
            if source is not None:
                return None if self._moved(source, child, part=True) else child
            grown = next((b for b in gone if b.kind in LEAVES and has_words_of(child, b)), None)
            return None if grown is not None and self._moved(grown, child) else child
        children = [self._new_parts(deleted, c) for c in child.children]
        if child.kind in CONTAINERS and not any(children):
            return None
        return _with_children(child, children)

    def _without_joined(self, block: Block, gone: Sequence[Block]) -> Block:
        """Return a block without the text joined to it that others moved elsewhere."""
        for other in gone:
            if (
                other.kind in LEAVES
                and has_words_of(block, other)
                and self.moved_text.find(other) is not None
            ):
                block = with_content(block, merged(content(other), content(block), ()))
        return block

    def _moved(
        self, old: Block, new: Block, near: Sequence[Block] = (), *, part: bool = False
    ) -> bool:
        """Tell whether others moved a deleted leaf elsewhere, and record our edit of it.

        With ``part``, ``new`` is one part of the leaf that we split, so that missing text is not
        deleted.
        """
        became = self.moved_text.find(old, new, near)
        if became is None:
            return False
        if part and id(old) not in self._cut:
            self._cut.add(id(old))
            for one in self.to_reapply:
                one.new = self._edited(old, one.new) if one.old is old else one.new
        edited = self._edited(old, new)
        if adds_content([old], [edited]):
            self.to_reapply.append(EditToReapply(old, edited, became=became))
        return True

    def _edited(self, old: Block, new: Block) -> Block:
        """Return a leaf with our edit; the parts of one that we split delete nothing."""
        is_cut = id(old) in self._cut
        items = with_additions(content(old), content(new)) if is_cut else content(new)
        return with_content(old, items)

    def note_join(self, step: Step | EditToReapply, gone: Iterable[RemovedBlock]) -> None:
        """Record that deleted leaves may have become part of a leaf that stays."""
        self._joins.append((step, list(gone)))

    def finish(self, fresh: Iterable[NewBlock], gone: Iterable[RemovedBlock]) -> None:
        """Decide about everything recorded, once the source of each new block is known."""
        free = {g.block.words(): g for g in gone if g.block.kind in LEAVES and not g.used}
        for one in self.to_reapply:
            if one.became is None:
                one.new = self._with_moved_in(one.new, free) or one.old
        for step, vanished in self._joins:
            for old in vanished:
                self._join(step, old)
        for new in fresh:
            self._drop_duplicates(new.step)

    def _with_moved_in(self, block: Block, free: dict[str, RemovedBlock]) -> Block | None:
        """Return a deleted block that our edit brings back, with others' edits of its leaves.

        Returns:
            None when others moved all of it as well.
        """
        if block.kind not in LEAVES:
            children = [self._with_moved_in(c, free) for c in block.children]
            return _with_children(block, children) if not children or any(children) else None
        found = free.pop(block.words(), None) if block.words() else None
        if found is None:
            return block
        if self.moved_text.is_deleted(found.block):
            return None if self._moved(found.block, block, found.near) else block
        found.used = True
        theirs = content(found.live or found.block)
        return with_content(block, merged(content(found.block), content(block), theirs))

    def _join(self, step: Step | EditToReapply, gone: RemovedBlock) -> None:
        """Merge others' edits of a joined leaf into it; drop its text if they moved it away."""
        is_deleted = self.moved_text.is_deleted(gone.block)
        if gone.used or not has_words_of(step.new, gone.block):
            return
        if not is_deleted and gone.live is None:
            gone.used = gone.block.words().strip() in step.new.words()
            return
        if is_deleted and self.moved_text.find(gone.block) is None:
            return
        theirs = content(gone.live) if gone.live is not None else ()
        items = merged(content(gone.block), content(step.new), theirs)
        step.new = with_content(step.new, items)
        gone.used = True

    def join_distant(self, found: Iterable[RemovedBlock]) -> None:
        """Find deleted leaves that became part of a leaf that was not beside them."""
        for gone in (g for g in found if g.block.kind in LEAVES and not g.used):
            words = gone.block.words().strip()
            for step in self.edited if len(words) >= MIN_PART_LETTERS else ():
                had = step.old.words() if step.old is not None else ""
                if words in step.new.words() and words not in had:
                    self._join(step, gone)
                    break

    def keep_additions(self, found: Sequence[RemovedBlock], edit: EditToReapply) -> bool:
        """Bring back what others added to a block that we took apart, without what we took out.

        Returns:
            Whether it is settled. False if it cannot be: we took nothing out, others took all of
            it out as well (it may still be here), or it holds a node that cannot be made anew.
        """
        block, live = found[0].block, found[0].live
        if found[0].used:
            return True
        used = {g.block.path for g in found if g.used}
        if live is None or not used:
            return False
        leaves = [g.block for g in found if g.used and g.block.kind in LEAVES]
        if leaves and all(
            self.moved_text.is_deleted(b) and self.moved_text.find(b) for b in leaves
        ):
            return False
        there = {self.moved_text.node_map.get(path) for path in used if path is not None}
        edit.old, edit.new = _without(block, used), _without(live, there)
        if not adds_content([edit.old], [edit.new]):
            return True
        if any(is_opaque(b) for b in edit.new.walk()):
            return False
        self.to_reapply.append(edit)
        return True

    def _drop_duplicates(self, step: Step) -> None:
        """Drop the steps that make what others made, and containers of nothing else."""
        source = step.source
        if isinstance(source, RemovedBlock) and self.moved_text.is_deleted(source.block):
            if step.new.kind in LEAVES:
                step.dropped = self._moved(source.block, step.new, source.near)
                return
            if step.whole:
                self._expand(step, source)
        elif isinstance(source, Block) and step.new.kind in LEAVES:
            self._trim_split_part(step, source)
        children = step.children or []
        for child in children:
            self._drop_duplicates(child)
        if children:
            step.dropped = all(c.dropped for c in children)
        if children and step.new.kind == "row":
            step.children = [new_step(_EMPTY) if c.dropped else c for c in children]

    def _expand(self, step: Step, source: RemovedBlock) -> None:
        """Replace a container that was to be cloned whole by steps for its blocks."""
        leaves = [b for b in source.block.walk() if b.kind in LEAVES and b.words().strip()]
        taken = {id(b) for b in leaves if self.moved_text.find(b) is not None}
        if taken:
            step.whole = False
            step.children = [_expanded(b, taken) for b in source.block.children]

    def _trim_split_part(self, step: Step, source: Block) -> None:
        """Remove from a part of a split leaf what others took out of the leaf."""
        if self.moved_text.is_deleted(source):
            step.dropped = self._moved(source, step.new, part=True)
            return
        live = self.moved_text.live_block(source)
        if live is not None and live != source:
            items = without_removed(content(source), content(step.new), content(live))
            step.new = with_content(step.new, items)
            step.dropped = not items


def _expanded(block: Block, taken: set[int]) -> Step:
    step = new_step(block)
    step.dropped = id(block) in taken
    if block.children:
        step.children = [_expanded(c, taken) for c in block.children]
    return step


def _without(block: Block, paths: Collection[Path | None]) -> Block:
    """Return the block without the leaves at some paths."""
    if not block.children:
        return block
    below = [None if c.path in paths else _without(c, paths) for c in block.children]
    return _with_children(block, below)


def _with_children(block: Block, children: Iterable[Block | None]) -> Block:
    """Return the block with the children that are not None; a row keeps its width."""
    if block.kind == "row":
        return block.with_children([_EMPTY if c is None else c for c in children])
    return block.with_children([c for c in children if c is not None])
