"""Which block of the goal is made from which of the base; decided before anything is built. Pure.

Three views go in: the base, the goal, and (optionally) the live document, which may hold edits
that the base has not. What both sides did alike is left out. What moves or changes its kind is
cloned, because Yjs can't move a node; the clone takes in what others did to the live one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from heapsyncd.diff import align, similarity
from heapsyncd.document.visible import merged, without_repeats
from heapsyncd.tree import Block, Inline, Text

LEAVES = frozenset({"paragraph", "heading", "code", "cell"})
"""Kinds whose content is inline (a code block's is one text)."""

_RETYPED = 0.5
_MOVED = 0.9
_MOVED_TEXT = 20
_MOST_COMPARISONS = 10_000


@dataclass(slots=True, eq=False)
class Gone:
    """A block of the base that the goal no longer has in its place."""

    block: Block
    live: Block | None = None
    """What others made of it, when that differs."""
    used: bool = False


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
    donors: list[Block] = field(default_factory=list)
    """Leaves that vanish beside it: their text may come to stand in it."""

    @property
    def stays(self) -> bool:
        """Whether nothing changes."""
        return self.old is not None and self.old == self.new and self.children is None

    def goal(self) -> Block:
        """The block as it will be seen."""
        if self.whole and isinstance(self.source, Gone) and self.source.live is not None:
            return self.source.live
        if self.children is None:
            return self.new
        below = [c.goal() for c in self.children]
        return self.new.with_children([b for b in below if b.kind != "paragraph" or b.inline])


def content(block: Block) -> tuple[Inline, ...]:
    """A leaf's content; a code block's text as one run."""
    if block.kind != "code":
        return block.inline
    return (Text(block.text),) if block.text else ()


def with_content(block: Block, items: Sequence[Inline]) -> Block:
    """The leaf with other content."""
    if block.kind != "code":
        return replace(block, inline=tuple(items))
    return replace(block, text="".join(i.text for i in items if isinstance(i, Text)))


def plan(old: Block, new: Block, live: Block | None = None) -> Step:
    """Decide how ``old`` (the base) becomes ``new`` (the goal) beside ``live``."""
    planner = _Planner()
    top = Step(new, old)
    if old != new:
        top.children = planner.children(old, new, live)
        planner.resolve()
    return top


@dataclass(slots=True)
class _Fresh:
    step: Step
    near: list[Gone]
    """Leaves that vanish in the same gap."""
    beside: list[Block]
    """Leaves that are edited right before and after: one of them may have been split."""


class _Planner:
    def __init__(self) -> None:
        self._gone: list[Gone] = []
        self._fresh: list[_Fresh] = []

    def pair(self, old: Block, new: Block, live: Block | None) -> Step:
        """A block that stays the block it was."""
        if old == new:
            return Step(new, old)
        if new.kind in LEAVES:
            if live is not None and live.kind in LEAVES and live != old:
                items = without_repeats(content(old), content(new), content(live))
                new = with_content(new, items)
            return Step(new, old)
        step = Step(new, old)
        if new.kind == "table":
            step.children = self._rows(old, new, live)
        elif new.kind not in {"files", "rule", "opaque", "row"}:
            step.children = self.children(old, new, live)
        return step

    def children(self, old: Block, new: Block, live: Block | None) -> list[Step]:
        """The steps for a container's children."""
        theirs = _Theirs(old, live)
        pairs = align(old.children, new.children)
        kept = {i for i, j in pairs if i is not None and j is not None}
        steps: list[Step] = []
        gap = _Gap()
        last = -1
        for i, j in pairs:
            if i is not None:
                last = i
            if i is not None and j is not None:
                step = self.pair(old.children[i], new.children[j], theirs.partner(i))
                self._close(gap, step)
                steps.append(step)
            elif i is not None:
                gap.gone += self._record(old.children[i], theirs.partner(i))
            elif j is not None and not theirs.has(new.children[j], last, kept):
                step = fresh_step(new.children[j])
                gap.fresh.append(step)
                steps.append(step)
        self._close(gap, None)
        return steps

    def _close(self, gap: "_Gap", step: Step | None) -> None:
        """A gap between two blocks that stay is complete."""
        edited = step if step is not None and not step.stays else None
        beside = [s for s in (gap.before, edited) if s is not None and s.new.kind in LEAVES]
        for fresh in gap.fresh:
            split = [s.old for s in beside if s.old is not None]
            self._fresh.append(_Fresh(fresh, list(gap.gone), split))
        for joined in beside:
            joined.donors += [g.block for g in gap.gone]
        gap.fresh, gap.gone, gap.before = [], [], edited

    def _rows(self, old: Block, new: Block, live: Block | None) -> list[Step]:
        """Rows as any children; cells by column, so that all rows agree on which column is new."""
        columns = _columns(old, new)
        steps = self.children(old, new, None)
        theirs = _Theirs(old, live)
        rows = {id(r): k for k, r in enumerate(old.children)}
        for step in steps:
            if step.old is None or step.old == step.new:
                continue
            row = step.old
            partner = theirs.partner(rows[id(row)])
            step.children = []
            for i, j in columns:
                if j is None:
                    continue
                cell = step.new.children[j]
                if i is None:
                    step.children.append(fresh_step(cell))
                else:
                    other = partner.children[i] if partner and i < len(partner.children) else None
                    step.children.append(self.pair(row.children[i], cell, other))
        return steps

    def _record(self, block: Block, live: Block | None) -> list[Gone]:
        """Note a block that vanishes with all below it; returns its leaves."""
        found = [Gone(b, other) for b, other in _partners(block, live)]
        self._gone += found
        return [g for g in found if g.block.kind in LEAVES]

    def resolve(self) -> None:
        """Find for every new block what it may be cloned from, exact copies first."""
        if not self._gone:
            for fresh in self._fresh:
                self._leaves(fresh, {}, [])
            return
        whole: dict[Block, list[Gone]] = {}
        for gone in self._gone:
            whole.setdefault(gone.block, []).append(gone)
        for fresh in self._fresh:
            self._exact(fresh.step, whole)
        words: dict[str, list[Gone]] = {}
        for gone in self._gone:
            words.setdefault(gone.block.words(), []).append(gone)
        leaves = [g for g in self._gone if g.block.kind in LEAVES]
        if len(leaves) * len(self._fresh) > _MOST_COMPARISONS:
            leaves = []
        for fresh in self._fresh:
            self._leaves(fresh, words, leaves)

    def _exact(self, step: Step, whole: dict[Block, list[Gone]]) -> None:
        found = next((g for g in whole.get(step.new, ()) if not g.used), None)
        if found is not None:
            step.source, step.whole, step.children = found, True, None
            inside = {id(b) for b in found.block.walk()}
            for gone in self._gone:
                gone.used = gone.used or id(gone.block) in inside
            return
        for child in step.children or ():
            self._exact(child, whole)

    def _leaves(self, fresh: _Fresh, words: dict[str, list[Gone]], leaves: list[Gone]) -> None:
        stack = [fresh.step]
        while stack:
            step = stack.pop()
            if step.whole:
                continue
            stack += step.children or ()
            text = step.new.words()
            same = [g for g in words.get(text, ()) if not g.used] if text else []
            if step.new.kind not in LEAVES:
                # A container moved or changed inside: its hidden attributes come along.
                step.source = next((g for g in same if g.block.kind == step.new.kind), None)
                continue
            self._leaf(step, fresh, [g for g in same if g.block.kind in LEAVES], leaves)

    def _leaf(self, step: Step, fresh: _Fresh, same: list[Gone], leaves: list[Gone]) -> None:
        found = same[0] if same else _best(step.new, fresh.near, _RETYPED)
        if found is None and len(step.new.words()) >= _MOVED_TEXT:
            found = _best(step.new, leaves, _MOVED)
        if found is None:
            step.source = next((b for b in fresh.beside if _is_part(step.new, b)), None)
            return
        found.used = True
        step.source = found
        if found.live is not None and found.live.kind in LEAVES:
            items = merged(content(found.block), content(step.new), content(found.live))
            step.new = with_content(step.new, items)


@dataclass(slots=True)
class _Gap:
    before: Step | None = None
    fresh: list[Step] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)


class _Theirs:
    """What others did to the children of one block."""

    def __init__(self, old: Block, live: Block | None) -> None:
        self._partners: dict[int, Block] = {}
        self._arrived: list[tuple[int, Block]] = []
        self._kept: set[int] = set()
        if live is None or live == old:
            return
        last = -1
        for i, j in align(old.children, live.children):
            if i is not None:
                last = i
            if i is not None and j is not None:
                self._partners[i] = live.children[j]
                self._kept.add(i)
            elif j is not None:
                self._arrived.append((last, live.children[j]))

    def partner(self, i: int) -> Block | None:
        """The live counterpart of a child, None when it is equal, gone or unknown."""
        return self._partners.get(i)

    def has(self, block: Block, last: int, kept: set[int]) -> bool:
        """Whether others inserted the same block in the same gap; answered once for each."""
        for k, (at, arrived) in enumerate(self._arrived):
            between = range(min(at, last) + 1, max(at, last) + 1)
            if arrived == block and not any(i in kept and i in self._kept for i in between):
                del self._arrived[k]
                return True
        return False


def _partners(old: Block, live: Block | None) -> Iterator[tuple[Block, Block | None]]:
    """Every block below ``old`` with what it is in ``live``, None where nothing differs."""
    stack = [(old, None if live == old else live)]
    while stack:
        block, other = stack.pop()
        yield block, other
        if other is None or not block.children:
            stack += [(c, None) for c in reversed(block.children)]
            continue
        theirs = _Theirs(block, other)
        for i, child in enumerate(block.children):
            partner = theirs.partner(i)
            stack.append((child, None if partner == child else partner))


def fresh_step(block: Block) -> Step:
    """A step that makes a block and all below it anew."""
    return Step(block, None, [fresh_step(c) for c in block.children] if block.children else None)


def _best(block: Block, among: Sequence[Gone], least: float) -> Gone | None:
    """The unused leaf most like a block, at least so much."""
    best, found = least, None
    for gone in among:
        if not gone.used:
            alike = similarity(gone.block, block)
            if alike >= best and (found is None or alike > best):
                best, found = alike, gone
    return found


def _is_part(part: Block, whole: Block) -> bool:
    """Whether a leaf's text was cut out of another's."""
    text = part.words()
    return bool(text.strip()) and text.strip() in whole.words()


def _columns(old: Block, new: Block) -> list[tuple[int | None, int | None]]:
    """The columns of two tables, paired."""
    width_old, width_new = (len(t.children[0].children) if t.children else 0 for t in (old, new))
    if width_old == width_new:
        return [(k, k) for k in range(width_old)]
    before, after = (
        [Block("row", children=tuple(r.children[k] for r in t.children)) for k in range(width)]
        for t, width in ((old, width_old), (new, width_new))
    )
    return align(before, after)
