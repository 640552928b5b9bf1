"""What both sides moved, retyped, split or joined stands once: where others have it. Pure.

We would clone a text out of a node, and others did: two copies. Ours is not made, and what we
wrote in it goes into theirs (``reapply_lost``).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from heapsyncd.diff import align
from heapsyncd.document.inline.visible_text import merged, with_additions, without_lacking
from heapsyncd.document.plan.clone_sources import Fresh, Gone, Step, fresh_step, with_content
from heapsyncd.document.plan.moved_text import PART, MovedText
from heapsyncd.document.plan.node_identity import Path
from heapsyncd.document.plan.reapply_lost import LostEdit
from heapsyncd.document.plan.remote_changes import adds, content, holds, is_opaque
from heapsyncd.tree import CONTAINERS, LEAVES, Block

_EMPTY = Block("cell")


@dataclass(slots=True)
class Deduplicate:
    """Decides who of both sides has what; ``lost`` is what is to be said on the live document."""

    went: MovedText
    lost: list[LostEdit] = field(default_factory=list)
    edited: list[Step] = field(default_factory=list)
    """Leaves that stay and that we changed."""
    _cut: set[int] = field(default_factory=set)
    """Lost leaves that we cut into parts."""
    _joins: list[tuple[Step | LostEdit, list[Gone]]] = field(default_factory=list)

    def homed(
        self, old: Block, new: Block, near: Sequence[Block], lost: Block | None = None
    ) -> Block:
        """An edit of a lost block without what can be said where its leaves went.

        Args:
            old: the block in the base.
            new: what we made of it.
            near: the live blocks that came to stand about where it was.
            lost: the outermost lost block above it, when that is another.
        """
        lost = lost or old
        if old == new or old.kind != new.kind:
            return new
        if new.kind in LEAVES:
            return old if self._moved(old, new, near) else new
        children: list[Block | None] = []
        pairs = align(old.children, new.children)
        gone = [old.children[i] for i, j in pairs if i is not None and j is None]
        for i, j in pairs:
            if j is not None and i is not None:
                child = self._unjoined(new.children[j], gone)
                children.append(self.homed(old.children[i], child, near, lost))
            elif j is not None:
                children.append(self._own(lost, new.children[j], gone))
        return _of_these(new, children)

    def _own(self, lost: Block, child: Block, gone: Sequence[Block] = ()) -> Block | None:
        """What is new in a block put into a lost one; None: all of it was only moved there.

        Args:
            lost: the lost one.
            child: what was put into it.
            gone: what vanished beside it: it may be one of these, of another kind and grown.
        """
        if child.kind in LEAVES:
            source = next((b for b in lost.walk() if b.kind in LEAVES and holds(b, child)), None)
            if source is not None:
                return None if self._moved(source, child, part=True) else child
            grown = next((b for b in gone if b.kind in LEAVES and holds(child, b)), None)
            return None if grown is not None and self._moved(grown, child) else child
        children = [self._own(lost, c) for c in child.children]
        if child.kind in CONTAINERS and not any(children):
            return None
        return _of_these(child, children)

    def _unjoined(self, block: Block, gone: Sequence[Block]) -> Block:
        """A block in a lost one, without what was joined to it and stands elsewhere now."""
        for other in gone:
            if other.kind in LEAVES and holds(block, other) and self.went.find(other) is not None:
                block = with_content(block, merged(content(other), content(block), ()))
        return block

    def _moved(
        self, old: Block, new: Block, near: Sequence[Block] = (), *, part: bool = False
    ) -> bool:
        """Whether others took a lost leaf elsewhere; our edit of it is noted.

        Of a ``part`` of the leaf what is missing is no deletion.
        """
        became = self.went.find(old, new, near)
        if became is None:
            return False
        if part and id(old) not in self._cut:
            self._cut.add(id(old))
            for one in self.lost:
                one.new = self._edited(old, one.new) if one.old is old else one.new
        edited = self._edited(old, new)
        if adds([old], [edited]):
            self.lost.append(LostEdit(old, edited, became=became))
        return True

    def _edited(self, old: Block, new: Block) -> Block:
        """A leaf edited: of one that we cut, the parts lack nothing."""
        is_cut = id(old) in self._cut
        items = with_additions(content(old), content(new)) if is_cut else content(new)
        return with_content(old, items)

    def joined(self, step: Step | LostEdit, gone: Iterable[Gone]) -> None:
        """Note that vanishing leaves may have become part of one that stays."""
        self._joins.append((step, list(gone)))

    def settle(self, fresh: Iterable[Fresh], gone: Iterable[Gone]) -> None:
        """Decide about everything noted, once it is known what is cloned from what."""
        free = {g.block.words(): g for g in gone if g.block.kind in LEAVES and not g.used}
        for one in self.lost:
            if one.became is None:
                one.new = self._taking(one.new, free) or one.old
        for step, vanished in self._joins:
            for old in vanished:
                self._join(step, old)
        for new in fresh:
            self._once(new.step)

    def _taking(self, block: Block, free: dict[str, Gone]) -> Block | None:
        """A block to be brought back, with what others did to the leaves that moved into it.

        Returns:
            None when others moved all of it too.
        """
        if block.kind not in LEAVES:
            children = [self._taking(c, free) for c in block.children]
            return _of_these(block, children) if not children or any(children) else None
        found = free.pop(block.words(), None) if block.words() else None
        if found is None:
            return block
        if self.went.is_lost(found.block):
            return None if self._moved(found.block, block, found.near) else block
        found.used = True
        theirs = content(found.live or found.block)
        return with_content(block, merged(content(found.block), content(block), theirs))

    def _join(self, step: Step | LostEdit, gone: Gone) -> None:
        """Take others' edits of a joined leaf in; leave its text out where they took it."""
        lost = self.went.is_lost(gone.block)
        if gone.used or not holds(step.new, gone.block):
            return
        if not lost and gone.live is None:
            gone.used = gone.block.words().strip() in step.new.words()
            return
        if lost and self.went.find(gone.block) is None:
            return
        theirs = content(gone.live) if gone.live is not None else ()
        items = merged(content(gone.block), content(step.new), theirs)
        step.new = with_content(step.new, items)
        gone.used = True

    def join_far(self, found: Iterable[Gone]) -> None:
        """Find leaves that became part of one that they did not stand beside."""
        for gone in (g for g in found if g.block.kind in LEAVES and not g.used):
            words = gone.block.words().strip()
            for step in self.edited if len(words) >= PART else ():
                had = step.old.words() if step.old is not None else ""
                if words in step.new.words() and words not in had:
                    self._join(step, gone)
                    break

    def left(self, found: Sequence[Gone], lost: LostEdit) -> bool:
        """Bring back what others gave to a block that we took apart, without what we took.

        Returns:
            False when that can't be: we took nothing, others took all of it too (it may be in here
            still), or a node that can't be made anew is in it.
        """
        block, live = found[0].block, found[0].live
        if found[0].used:
            return True
        used = {g.block.path for g in found if g.used}
        if live is None or not used:
            return False
        leaves = [g.block for g in found if g.used and g.block.kind in LEAVES]
        if leaves and all(self.went.is_lost(b) and self.went.find(b) for b in leaves):
            return False
        there = {self.went.same.get(path) for path in used if path is not None}
        lost.old, lost.new = _without(block, used), _without(live, there)
        if not adds([lost.old], [lost.new]):
            return True
        if any(is_opaque(b) for b in lost.new.walk()):
            return False
        self.lost.append(lost)
        return True

    def _once(self, step: Step) -> None:
        """Don't make what others have made, nor a container of nothing else."""
        source = step.source
        if isinstance(source, Gone) and self.went.is_lost(source.block):
            if step.new.kind in LEAVES:
                step.dropped = self._moved(source.block, step.new, source.near)
                return
            if step.whole:
                self._open(step, source)
        elif isinstance(source, Block) and step.new.kind in LEAVES:
            self._split(step, source)
        children = step.children or []
        for child in children:
            self._once(child)
        if children:
            step.dropped = all(c.dropped for c in children)
        if children and step.new.kind == "row":
            step.children = [fresh_step(_EMPTY) if c.dropped else c for c in children]

    def _open(self, step: Step, source: Gone) -> None:
        """Look at the blocks of a container that was to be cloned whole, one by one."""
        leaves = [b for b in source.block.walk() if b.kind in LEAVES and b.words().strip()]
        taken = {id(b) for b in leaves if self.went.find(b) is not None}
        if taken:
            step.whole = False
            step.children = [_opened(b, taken) for b in source.block.children]

    def _split(self, step: Step, source: Block) -> None:
        """A part of a leaf, without what others took out of it."""
        if self.went.is_lost(source):
            step.dropped = self._moved(source, step.new, part=True)
            return
        live = self.went.now(source)
        if live is not None and live != source:
            items = without_lacking(content(source), content(step.new), content(live))
            step.new = with_content(step.new, items)
            step.dropped = not items


def _opened(block: Block, taken: set[int]) -> Step:
    step = fresh_step(block)
    step.dropped = id(block) in taken
    if block.children:
        step.children = [_opened(c, taken) for c in block.children]
    return step


def _without(block: Block, paths: Collection[Path | None]) -> Block:
    """The block without some of the leaves below it."""
    if not block.children:
        return block
    below = [None if c.path in paths else _without(c, paths) for c in block.children]
    return _of_these(block, below)


def _of_these(block: Block, children: Iterable[Block | None]) -> Block:
    """The block with those children that are left; a row stays as wide as it was."""
    if block.kind == "row":
        return block.with_children([_EMPTY if c is None else c for c in children])
    return block.with_children([c for c in children if c is not None])
