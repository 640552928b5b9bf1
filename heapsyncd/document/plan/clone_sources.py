"""Find what new blocks may be cloned from: blocks that vanish elsewhere, exact copies first. Pure.

Yjs cannot move a node or change its tag. A clone keeps what markdown cannot express of the old
node, and takes in what others did to the live one meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from heapsyncd.diff import similarity
from heapsyncd.document.inline.visible_text import merged
from heapsyncd.document.plan.moved_text import MIN_PART_LETTERS
from heapsyncd.document.plan.node_identity import NodeMap
from heapsyncd.document.plan.remote_changes import content, has_words_of, partners
from heapsyncd.tree import LEAVES, Atom, Block, Inline, Text, inline, plain

_RETYPED = 0.5
"""The least similarity of a deleted leaf in the same gap."""
_MOVED = 0.6
"""The least similarity of a deleted leaf anywhere else."""
_MOVED_TEXT = 12
"""The least length of a text that is looked for outside its gap."""
_GROWN_TEXT = 5
"""The least length of a text that others edited and that is looked for inside longer ones."""
_MOST_COMPARISONS = 10_000
"""The most pairs of new and deleted leaves that are compared across gaps."""


class RemovedBlock(Struct, eq=False):
    """A block of the base that is no longer in its place in the goal."""

    block: Block
    live: Block | None = None
    """What others made of it; None when that does not differ."""
    used: bool = False
    """Whether a new block is made from it."""
    near: Sequence[Block] = ()
    """The live blocks that others inserted about where it was."""
    became: "Step | None" = None
    """The step of the leaf that is made from it."""


class Step(Struct, eq=False):
    """How one block of the goal is made: in place from ``old``, cloned from ``source``, or new."""

    new: Block
    old: Block | None = None
    children: "list[Step] | None" = None
    """The steps for the children; None when they are as in ``new`` and need no steps."""
    source: RemovedBlock | Block | None = None
    whole: bool = False
    """Whether the source is cloned unchanged."""
    stays: bool = False
    """Whether ``old`` is kept unchanged; ``new`` equals it."""
    replaces: Block | None = None
    """The deleted block whose place this new block takes."""
    donors: list[Block] = field(default_factory=list)
    """Deleted leaves beside it, whose text may have moved into it."""
    dropped: bool = False
    """Whether the block is not made after all, because others have its text elsewhere."""

    def below(self) -> list["Step"]:
        """Return the steps for the children; those of a new block are made on first access."""
        if self.children is None and self.old is None and not self.whole:
            self.children = [new_step(c) for c in self.new.children]
        return self.children or []

    def goal(self) -> Block:
        """Return the block as the document will show it."""
        if self.whole and isinstance(self.source, RemovedBlock) and self.source.live is not None:
            return self.source.live
        if self.children is None:
            return self.old if self.stays and self.old is not None else self.new
        below = [c.goal() for c in self.children if not c.dropped]
        return self.new.with_children([b for b in below if b.kind != "paragraph" or b.inline])


def kept_step(block: Block) -> Step:
    """Return a step that changes nothing."""
    return Step(block, block, stays=True)


def new_step(block: Block) -> Step:
    """Return a step that makes a block and everything below it anew."""
    return Step(block)


def with_content(block: Block, items: Sequence[Inline]) -> Block:
    """Return the leaf with other inline content; line ends become breaks outside code."""
    if block.kind == "code":
        return replace(block, text="".join(map(plain, items)))
    return replace(block, inline=inline(x for item in items for x in _lines(item)))


def _lines(item: Inline) -> Iterator[Inline]:
    if not isinstance(item, Text) or "\n" not in item.text:
        yield item
        return
    for k, line in enumerate(item.text.split("\n")):
        if k:
            yield Atom("break")
        yield Text(line, item.marks)


class NewBlock(Struct):
    """A new block, and what it may have been made from."""

    step: Step
    near: list[RemovedBlock]
    """The leaves that are deleted in the same gap."""
    beside: list[Block]
    """Edited leaves right before and after the gap; one of them may have been split."""


class CloneSources:
    """The deleted and the new blocks of one edit.

    Args:
        node_map: the live node of each node of the base.
    """

    def __init__(self, node_map: NodeMap) -> None:
        self._node_map = node_map
        self.gone: list[RemovedBlock] = []
        self.fresh: list[NewBlock] = []

    def record(
        self, block: Block, live: Block | None, near: Sequence[Block] = ()
    ) -> list[RemovedBlock]:
        """Record a deleted block and all blocks below it; returns the records, its own first."""
        found = [
            RemovedBlock(b, other, near=near) for b, other in partners(block, live, self._node_map)
        ]
        self.gone += found
        return found

    def record_taken_out(self, old: Block, new: Block) -> None:
        """Record the leaves that we took out of a block which others deleted."""
        left = set(new.walk())
        self.gone += [RemovedBlock(b) for b in old.walk() if b.kind in LEAVES and b not in left]

    def resolve(self) -> None:
        """Find the source of every new block."""
        if not self.gone and not any(f.beside for f in self.fresh):
            return
        whole: dict[Block, list[RemovedBlock]] = {}
        for gone in self.gone:
            whole.setdefault(gone.block, []).append(gone)
        for fresh in self.fresh:
            self._exact(fresh.step, whole)
        words: dict[str, list[RemovedBlock]] = {}
        for gone in self.gone if self.fresh else ():
            words.setdefault(gone.block.words(), []).append(gone)
        leaves = [g for g in self.gone if g.block.kind in LEAVES]
        if len(leaves) * len(self.fresh) > _MOST_COMPARISONS:
            leaves = []
        for fresh in self.fresh:
            self._inexact(fresh, words, leaves)

    def _exact(self, step: Step, whole: dict[Block, list[RemovedBlock]]) -> None:
        found = next((g for g in whole.get(step.new, ()) if not g.used), None)
        if found is not None:
            step.source, step.whole, step.children = found, True, None
            inside = {id(b) for b in found.block.walk()}
            for gone in self.gone:
                gone.used = gone.used or id(gone.block) in inside
            return
        for child in step.below():
            self._exact(child, whole)

    def _inexact(
        self, fresh: NewBlock, words: dict[str, list[RemovedBlock]], leaves: list[RemovedBlock]
    ) -> None:
        stack = [fresh.step]
        while stack:
            step = stack.pop()
            if step.whole:
                continue
            stack += step.below()
            text = step.new.words()
            identical = [g for g in words.get(text, ()) if not g.used] if text else []
            if step.new.kind in LEAVES:
                found = _leaf_source(step.new, identical, fresh.near, leaves)
                split = (
                    b
                    for b in (*fresh.beside, *_split_leaves(step.new, fresh))
                    if has_words_of(b, step.new)
                )
                step.source = found or next(split, None)
                _use_source(step, found)
            else:
                # A container that moved or changed inside keeps its hidden attributes.
                step.source = next((g for g in identical if g.block.kind == step.new.kind), None)


def _leaf_source(
    block: Block,
    identical: Iterable[RemovedBlock],
    near: Sequence[RemovedBlock],
    all_leaves: Sequence[RemovedBlock],
) -> RemovedBlock | None:
    """Return the deleted leaf to clone: with equal words, or similar, or containing the block."""
    found = next((g for g in identical if g.block.kind in LEAVES), None) or _best(
        block, near, _RETYPED
    )
    found = found or _shrunk(block, near)
    if found is None and len(block.words()) >= _MOVED_TEXT:
        found = _best(block, all_leaves, _MOVED)
    return found or _grown(block, all_leaves)


def _grown(block: Block, among: Sequence[RemovedBlock]) -> RemovedBlock | None:
    """Return the unused leaf that others edited and of whose text a block is a longer state.

    It does not matter where it was: as a block of its own it would say the text twice.
    """
    words = block.words()
    found = [
        (len(text), -k)
        for k, gone in enumerate(among)
        if gone.live is not None and not gone.used
        if len(text := gone.block.words().strip()) >= _GROWN_TEXT and text in words
    ]
    return among[-max(found)[1]] if found else None


def _shrunk(block: Block, near: Sequence[RemovedBlock]) -> RemovedBlock | None:
    """Return an unused leaf of the same gap of which the block is a remaining part."""
    words = block.words().strip()
    if len(words) < MIN_PART_LETTERS:
        return None
    return next((g for g in near if not g.used and words in g.block.words()), None)


def _split_leaves(block: Block, fresh: NewBlock) -> Iterator[Block]:
    """Yield the leaves of the gap that were split, and are the source of another part already."""
    words = block.words()
    for gone in fresh.near:
        if gone.became is not None and words not in gone.became.new.words():
            yield gone.block


def _use_source(step: Step, found: RemovedBlock | None) -> None:
    """Record a step's source, and merge others' edits of it into the step."""
    if found is None:
        return
    found.used = True
    found.became = step
    if found.live is not None and found.live.kind in LEAVES:
        items = merged(content(found.block), content(step.new), content(found.live))
        step.new = with_content(step.new, items)


def _best(block: Block, among: Sequence[RemovedBlock], least: float) -> RemovedBlock | None:
    """Return the unused leaf that is most similar to a block, at least by ``least``."""
    best, found = least, None
    for gone in among:
        if not gone.used:
            alike = similarity(gone.block, block)
            if alike >= best and (found is None or alike > best):
                best, found = alike, gone
    return found
