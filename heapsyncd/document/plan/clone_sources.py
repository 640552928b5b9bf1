"""Where new blocks may be cloned from: what vanishes elsewhere, exact copies first. Pure.

Yjs can't move a node or change its kind. A clone keeps what markdown can't say of it, and takes in
what others did to the live one meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from heapsyncd.diff import similarity
from heapsyncd.document.inline.visible_text import merged
from heapsyncd.document.plan.moved_text import PART
from heapsyncd.document.plan.node_identity import Same
from heapsyncd.document.plan.remote_changes import content, holds, partners
from heapsyncd.tree import LEAVES, Atom, Block, Inline, Text, inline, plain

_RETYPED = 0.5
_MOVED = 0.6
_MOVED_TEXT = 12
_MOST_COMPARISONS = 10_000


@dataclass(slots=True, eq=False)
class Gone:
    """A block of the base that the goal no longer has in its place."""

    block: Block
    live: Block | None = None
    """What others made of it, when that differs."""
    used: bool = False
    near: Sequence[Block] = ()
    """The live blocks that others put about where it stood."""
    became: "Step | None" = None
    """The leaf that is made from it."""


@dataclass(slots=True, eq=False)
class Step:
    """One block of the goal. ``old``: made from it in place; ``source``: cloned from it."""

    new: Block
    old: Block | None = None
    children: "list[Step] | None" = None
    """None: the children are as ``new`` has them, and need no steps."""
    source: Gone | Block | None = None
    whole: bool = False
    """The source is cloned as it is."""
    stays: bool = False
    """``old`` is kept as it is; ``new`` is the same."""
    instead: Block | None = None
    """The deleted block in whose place a new one comes."""
    donors: list[Block] = field(default_factory=list)
    """Leaves that vanish beside it: their text may come to stand in it."""
    dropped: bool = False
    """Not made after all: others have it elsewhere."""

    def below(self) -> list["Step"]:
        """The steps for the children; those of a new block are made when first asked for."""
        if self.children is None and self.old is None and not self.whole:
            self.children = [fresh_step(c) for c in self.new.children]
        return self.children or []

    def goal(self) -> Block:
        """The block as it will be seen."""
        if self.whole and isinstance(self.source, Gone) and self.source.live is not None:
            return self.source.live
        if self.children is None:
            return self.old if self.stays and self.old is not None else self.new
        below = [c.goal() for c in self.children if not c.dropped]
        return self.new.with_children([b for b in below if b.kind != "paragraph" or b.inline])


def kept_step(block: Block) -> Step:
    """A step that changes nothing."""
    return Step(block, block, stays=True)


def fresh_step(block: Block) -> Step:
    """A step that makes a block and all below it anew."""
    return Step(block)


def with_content(block: Block, items: Sequence[Inline]) -> Block:
    """The leaf with other content, in the leaf's own terms: a line's end in code is a break."""
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


@dataclass(slots=True)
class Fresh:
    """A new block, and what its gap holds."""

    step: Step
    near: list[Gone]
    """Leaves that vanish in the same gap."""
    beside: list[Block]
    """Leaves that are edited right before and after: one of them may have been split."""


class Sources:
    """What vanishes in one edit, and what is new in it.

    Args:
        same: which node of the live document is which of the base.
    """

    def __init__(self, same: Same) -> None:
        self._same = same
        self.gone: list[Gone] = []
        self.fresh: list[Fresh] = []

    def record(self, block: Block, live: Block | None, near: Sequence[Block] = ()) -> list[Gone]:
        """Note a block that vanishes with all below it; returns the notes, its own first."""
        found = [Gone(b, other, near=near) for b, other in partners(block, live, self._same)]
        self.gone += found
        return found

    def taken_out(self, old: Block, new: Block) -> None:
        """Note the leaves that we took out of a block which others deleted."""
        left = set(new.walk())
        self.gone += [Gone(b) for b in old.walk() if b.kind in LEAVES and b not in left]

    def resolve(self) -> None:
        """Find for every new block what it may be cloned from."""
        if not self.gone and not any(f.beside for f in self.fresh):
            return
        whole: dict[Block, list[Gone]] = {}
        for gone in self.gone:
            whole.setdefault(gone.block, []).append(gone)
        for fresh in self.fresh:
            self._exact(fresh.step, whole)
        words: dict[str, list[Gone]] = {}
        for gone in self.gone if self.fresh else ():
            words.setdefault(gone.block.words(), []).append(gone)
        leaves = [g for g in self.gone if g.block.kind in LEAVES]
        if len(leaves) * len(self.fresh) > _MOST_COMPARISONS:
            leaves = []
        for fresh in self.fresh:
            self._inexact(fresh, words, leaves)

    def _exact(self, step: Step, whole: dict[Block, list[Gone]]) -> None:
        found = next((g for g in whole.get(step.new, ()) if not g.used), None)
        if found is not None:
            step.source, step.whole, step.children = found, True, None
            inside = {id(b) for b in found.block.walk()}
            for gone in self.gone:
                gone.used = gone.used or id(gone.block) in inside
            return
        for child in step.below():
            self._exact(child, whole)

    def _inexact(self, fresh: Fresh, words: dict[str, list[Gone]], leaves: list[Gone]) -> None:
        stack = [fresh.step]
        while stack:
            step = stack.pop()
            if step.whole:
                continue
            stack += step.below()
            text = step.new.words()
            same = [g for g in words.get(text, ()) if not g.used] if text else []
            if step.new.kind in LEAVES:
                found = _leaf_source(step.new, same, fresh.near, leaves)
                split = (b for b in (*fresh.beside, *_cut(step.new, fresh)) if holds(b, step.new))
                step.source = found or next(split, None)
                _take_in(step, found)
            else:
                # A container that moved or changed inside: its hidden attributes come along.
                step.source = next((g for g in same if g.block.kind == step.new.kind), None)


def _leaf_source(
    block: Block, same: Iterable[Gone], near: Sequence[Gone], all_leaves: Sequence[Gone]
) -> Gone | None:
    found = next((g for g in same if g.block.kind in LEAVES), None) or _best(block, near, _RETYPED)
    found = found or _shrunk(block, near)
    if found is None and len(block.words()) >= _MOVED_TEXT:
        found = _best(block, all_leaves, _MOVED)
    return found


def _shrunk(block: Block, near: Sequence[Gone]) -> Gone | None:
    """An unused leaf in the same gap of which only a part was left."""
    words = block.words().strip()
    if len(words) < PART:
        return None
    return next((g for g in near if not g.used and words in g.block.words()), None)


def _cut(block: Block, fresh: Fresh) -> Iterator[Block]:
    """The leaves that were cut, when one part has them as its source already."""
    words = block.words()
    for gone in fresh.near:
        if gone.became is not None and words not in gone.became.new.words():
            yield gone.block


def _take_in(step: Step, found: Gone | None) -> None:
    """Merge what others did to the source into what it becomes."""
    if found is None:
        return
    found.used = True
    found.became = step
    if found.live is not None and found.live.kind in LEAVES:
        items = merged(content(found.block), content(step.new), content(found.live))
        step.new = with_content(step.new, items)


def _best(block: Block, among: Sequence[Gone], least: float) -> Gone | None:
    """The unused leaf most like a block, at least so much."""
    best, found = least, None
    for gone in among:
        if not gone.used:
            alike = similarity(gone.block, block)
            if alike >= best and (found is None or alike > best):
                best, found = alike, gone
    return found
