"""Which block of the goal is made from which of the base; decided before anything is built. Pure.

Three views go in: the base, the goal, and (optionally) the live document, which may hold edits
that the base has not. What both sides did alike is left out. What one side edited and the other
deleted stays: a deletion of ours is not made, one of others' is noted for ``reapply_lost``.
"""

from dataclasses import dataclass, field

from heapsyncd.diff import align
from heapsyncd.document.inline.visible_text import meet, without_repeats
from heapsyncd.document.plan.clone_sources import (
    Fresh,
    Gone,
    Sources,
    Step,
    fresh_step,
    kept_step,
    with_content,
)
from heapsyncd.document.plan.deduplicate import Deduplicate
from heapsyncd.document.plan.moved_text import MovedText
from heapsyncd.document.plan.node_identity import Same
from heapsyncd.document.plan.reapply_lost import LostEdit
from heapsyncd.document.plan.remote_changes import RemoteChanges, adds, content, drops_text
from heapsyncd.tree import LEAVES, Block, Text

Column = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """``lost``: edits of blocks that others deleted; an update of the base can't hold them."""

    top: Step
    lost: tuple[LostEdit, ...] = ()


def plan(old: Block, new: Block, live: Block | None, same: Same) -> Plan:
    """Decide how ``old`` (the base) becomes ``new`` (the goal) beside ``live``.

    Args:
        old: the base's view.
        new: the goal.
        live: the live document's view; None when it is the base.
        same: which node of the live document is which of the base.
    """
    if old == new:
        return Plan(kept_step(old))
    planner = _Planner(MovedText(old, live, same))
    top = Step(new, old, planner.children(old, new, live))
    planner.sources.resolve()
    planner.settle()
    _without_dropped(top)
    return Plan(top, tuple(planner.lost))


def _without_dropped(step: Step) -> None:
    if step.children is not None:
        step.children = [c for c in step.children if not c.dropped]
        for child in step.children:
            _without_dropped(child)


class _Planner:
    def __init__(self, went: MovedText) -> None:
        self._same = went.same
        self._doubles = Deduplicate(went)
        self.sources = Sources(went.same)
        self.lost = self._doubles.lost
        self._deleted: list[_Deleted] = []
        self._lost_by_step: dict[int, LostEdit] = {}

    def pair(self, old: Block, new: Block, live: Block | None) -> Step:
        """A block that stays the block it was."""
        if old == new:
            return kept_step(old)
        if new.kind in LEAVES:
            if live is not None and live.kind in LEAVES and live != old:
                items = without_repeats(content(old), content(new), content(live))
                new = with_content(new, items)
            step = Step(new, old)
            self._doubles.edited.append(step)
            return step
        step = Step(new, old)
        if new.kind == "table":
            step.children = self._rows(old, new, live)
        elif new.kind not in {"files", "rule", "opaque", "row"}:
            step.children = self.children(old, new, live)
        return step

    def children(self, old: Block, new: Block, live: Block | None) -> list[Step]:
        """The steps for a container's children."""
        pairs = align(old.children, new.children)
        theirs = RemoteChanges(old, live, self._same)
        kept = {i for i, j in pairs if i is not None and j is not None}
        steps: list[Step] = []
        gap = _Gap()
        last = -1
        for i, j in pairs:
            if i is not None:
                last = i
            if i is not None and j is not None:
                if live is None and gap.is_empty and old.children[i] is new.children[j]:
                    steps.append(kept_step(old.children[i]))
                    continue
                step = self._stay(old.children[i], new.children[j], theirs, i)
                self._close(gap, step)
                steps.append(step)
            elif i is not None:
                near = theirs.beside(i) if theirs.lost(i) else ()
                found = self.sources.record(old.children[i], theirs.partner(i), near)
                gap.gone += [g for g in found if g.block.kind in LEAVES]
                gap.last = old.children[i]
                place = LostEdit(old.children[i], old.children[i], theirs.live, theirs.place(i))
                self._deleted.append(_Deleted(steps, steps[-1] if steps else None, found, place))
            elif j is not None and not theirs.has(new.children[j], last, kept):
                step = fresh_step(new.children[j])
                step.instead = gap.last
                gap.fresh.append(step)
                steps.append(step)
        self._close(gap, None)
        return steps

    def _stay(self, old: Block, new: Block, theirs: RemoteChanges, i: int) -> Step:
        partner = theirs.partner(i)
        if old == new or theirs.live is None:
            return self.pair(old, new, partner)
        # A node that stands but is hidden was emptied: the texts in it may be gone.
        lost = theirs.lost(i) or (partner is None and self._lacks_text(old))
        if lost and adds([old], [new]):
            left = self._doubles.homed(old, new, theirs.beside(i))
            if adds([old], [left]):
                self.lost.append(LostEdit(old, left, theirs.live, theirs.place(i)))
            self.sources.taken_out(old, new)
            return self._kept(old)
        if partner is not None and self._meets(old, new, partner):
            self.lost.append(LostEdit(old, new, became=partner))
            return self._kept(old)
        return self.pair(old, new, partner)

    def _kept(self, old: Block) -> Step:
        """A step that changes nothing, where our edit is made on the live document."""
        step = kept_step(old)
        if self.lost and self.lost[-1].old is old:
            self._lost_by_step[id(step)] = self.lost[-1]
        return step

    def _meets(self, old: Block, new: Block, live: Block) -> bool:
        """Whether both sides edited a leaf, and an update of the base would not do.

        A text of it is deleted by either (two became one, say), and what the other typed into it
        would vanish; or both began with the same words, which would stand twice.
        """
        if new.kind not in LEAVES or live == old or content(live) == content(old):
            return False
        if self._lacks_text(old) or drops_text(old, new):
            return True
        return live.kind in LEAVES and meet(content(old), content(new), content(live))

    def _lacks_text(self, old: Block) -> bool:
        """Whether others deleted a text of a block, or of one in it."""
        items = (i for b in old.walk() for i in b.inline if isinstance(i, Text))
        return any(p.path not in self._same for i in items for p in i.pieces)

    def _close(self, gap: "_Gap", step: Step | None) -> None:
        """A gap between two blocks that stay is complete."""
        edited = step if step is not None and self._is_edited(step) else None
        beside = [s for s in (gap.before, edited) if s is not None and s.new.kind in LEAVES]
        for fresh in gap.fresh:
            split = [s.old for s in beside if s.old is not None]
            self.sources.fresh.append(Fresh(fresh, list(gap.gone), split))
            if fresh.new.kind in LEAVES:
                self._doubles.joined(fresh, gap.gone)
        for joined in beside:
            joined.donors += [g.block for g in gap.gone]
            self._doubles.joined(self._lost_by_step.get(id(joined), joined), gap.gone)
        gap.fresh, gap.gone, gap.before, gap.last = [], [], edited, None

    def _is_edited(self, step: Step) -> bool:
        return not step.stays or id(step) in self._lost_by_step

    def _rows(self, old: Block, new: Block, live: Block | None) -> list[Step]:
        """Rows as any children; cells by column, so that all rows agree on which column is new."""
        columns = _columns(old, new)
        steps = self.children(old, new, live)
        theirs = RemoteChanges(old, live, self._same)
        rows = {id(r): k for k, r in enumerate(old.children)}
        for step in steps:
            if step.old is not None and not step.stays:
                partner = theirs.partner(rows[id(step.old)])
                step.children = self._cells(step.old, step.new, columns, partner)
        return steps

    def _cells(
        self, old: Block, new: Block, columns: list[Column], live: Block | None
    ) -> list[Step]:
        out = []
        for i, j in columns:
            if j is not None and i is None:
                out.append(fresh_step(new.children[j]))
            elif j is not None and i is not None:
                same_width = live is not None and len(live.children) == len(old.children)
                partner = live.children[i] if live is not None and same_width else None
                cell, goal = old.children[i], new.children[j]
                if partner is not None and cell != goal and self._meets(cell, goal, partner):
                    self.lost.append(LostEdit(cell, goal, became=partner))
                    goal = cell
                out.append(self.pair(cell, goal, partner))
        return out

    def settle(self) -> None:
        """What both sides took apart stands once, and what others gave to a block stays."""
        self._doubles.settle(self.sources.fresh, self.sources.gone)
        for deleted in reversed(self._deleted):
            gone = deleted.found[0]
            if gone.live is None or gone.used or gone.block.kind in {"row", "cell"}:
                continue
            if adds([gone.block], [gone.live]):
                self._doubles.join_far(deleted.found)
                if not self._doubles.left(deleted.found, deleted.place):
                    deleted.undo()


@dataclass(slots=True)
class _Deleted:
    """A block that we delete."""

    steps: list[Step]
    after: Step | None
    found: list[Gone]
    """It and all below it."""
    place: LostEdit
    """Where it stands in the live document."""

    def undo(self) -> None:
        """Leave it where it is."""
        at = next((k + 1 for k, s in enumerate(self.steps) if s is self.after), 0)
        self.steps.insert(at, kept_step(self.found[0].block))


@dataclass(slots=True)
class _Gap:
    before: Step | None = None
    fresh: list[Step] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    last: Block | None = None
    """The last block deleted in it."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of it: then a block that stays as it is closes it for free."""
        return self.before is None and self.last is None and not self.fresh


def _columns(old: Block, new: Block) -> list[Column]:
    """The columns of two tables, paired."""
    width_old, width_new = (len(t.children[0].children) if t.children else 0 for t in (old, new))
    if width_old == width_new:
        return [(k, k) for k in range(width_old)]
    before, after = (
        [Block("row", children=tuple(r.children[k] for r in t.children)) for k in range(width)]
        for t, width in ((old, width_old), (new, width_new))
    )
    return align(before, after)
