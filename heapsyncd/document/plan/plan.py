"""Decide from which block of the base each block of the goal is made. Pure.

The inputs are three views: the base, the goal, and optionally the live document, which may hold
edits that the base does not. What both sides did alike is left out. What one side edited and the
other deleted stays: our deletion is not made, and our edit of what others deleted is recorded to
be applied again (``edits_in_deleted_blocks``).
"""

from msgspec import Struct, field

from heapsyncd.diff import align
from heapsyncd.document.inline.visible_text import collide, without_shared_edits
from heapsyncd.document.plan.clone_sources import (
    CloneSources,
    NewBlock,
    RemovedBlock,
    Step,
    kept_step,
    new_step,
    with_content,
)
from heapsyncd.document.plan.deduplicate import Deduplicate
from heapsyncd.document.plan.edits_in_deleted_blocks import EditToReapply
from heapsyncd.document.plan.moved_text import MovedText
from heapsyncd.document.plan.node_identity import NodeMap
from heapsyncd.document.plan.remote_changes import (
    RemoteChanges,
    adds_content,
    content,
    drops_text,
)
from heapsyncd.tree import LEAVES, Block, Text

Column = tuple[int | None, int | None]
"""The index of a column in the old and in the new table; None where it has none."""


class Plan(Struct, frozen=True):
    """The step for the root, and what an update of the base cannot hold.

    ``to_reapply``: our edits of blocks that others deleted; they are made on the live document.
    """

    top: Step
    to_reapply: tuple[EditToReapply, ...] = ()


def plan(old: Block, new: Block, live: Block | None, node_map: NodeMap) -> Plan:
    """Decide how ``old`` (the base) becomes ``new`` (the goal) beside ``live``.

    Args:
        old: the base's view.
        new: the goal.
        live: the live document's view; None when it equals the base.
        node_map: the live node of each node of the base.
    """
    if old == new:
        return Plan(kept_step(old))
    planner = _Planner(MovedText(old, live, node_map))
    top = Step(new, old, planner.children(old, new, live))
    planner.sources.resolve()
    planner.finish()
    _without_dropped(top)
    return Plan(top, tuple(planner.to_reapply))


def _without_dropped(step: Step) -> None:
    if step.children is not None:
        step.children = [c for c in step.children if not c.dropped]
        for child in step.children:
            _without_dropped(child)


class _Planner:
    def __init__(self, moved_text: MovedText) -> None:
        self._node_map = moved_text.node_map
        self._dedup = Deduplicate(moved_text)
        self.sources = CloneSources(moved_text.node_map)
        self.to_reapply = self._dedup.to_reapply
        self._deleted: list[_Deleted] = []
        self._reapply_by_step: dict[int, EditToReapply] = {}

    def pair(self, old: Block, new: Block, live: Block | None) -> Step:
        """Return the step for a block that keeps its node."""
        if old == new:
            return kept_step(old)
        if new.kind in LEAVES:
            if live is not None and live.kind in LEAVES and live != old:
                items = without_shared_edits(content(old), content(new), content(live))
                new = with_content(new, items)
            step = Step(new, old)
            self._dedup.edited.append(step)
            return step
        step = Step(new, old)
        if new.kind == "table":
            step.children = self._rows(old, new, live)
        elif new.kind not in {"files", "rule", "opaque", "row"}:
            step.children = self.children(old, new, live)
        return step

    def children(self, old: Block, new: Block, live: Block | None) -> list[Step]:
        """Return the steps for a container's children."""
        pairs = align(old.children, new.children)
        theirs = RemoteChanges(old, live, self._node_map)
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
                step = self._pair_or_reapply(old.children[i], new.children[j], theirs, i)
                self._close_gap(gap, step)
                steps.append(step)
            elif i is not None:
                near = theirs.inserted_near(i) if theirs.is_deleted(i) else ()
                found = self.sources.record(old.children[i], theirs.partner(i), near)
                gap.gone += [g for g in found if g.block.kind in LEAVES]
                gap.last = old.children[i]
                place = EditToReapply(
                    old.children[i], old.children[i], theirs.live, theirs.place(i)
                )
                self._deleted.append(_Deleted(steps, steps[-1] if steps else None, found, place))
            elif j is not None and not theirs.has(new.children[j], last, kept):
                step = new_step(new.children[j])
                step.replaces = gap.last
                gap.fresh.append(step)
                steps.append(step)
        self._close_gap(gap, None)
        return steps

    def _pair_or_reapply(self, old: Block, new: Block, theirs: RemoteChanges, i: int) -> Step:
        """Return the step for a child that stays; our edit is deferred if others deleted the
        child.
        """
        partner = theirs.partner(i)
        if old == new or theirs.live is None:
            return self.pair(old, new, partner)
        # A live node that is hidden was emptied; the texts in it may be deleted.
        is_deleted = theirs.is_deleted(i) or (partner is None and self._lacks_text(old))
        if is_deleted and adds_content([old], [new]):
            left = self._dedup.without_moved(old, new, theirs.inserted_near(i))
            if adds_content([old], [left]):
                self.to_reapply.append(EditToReapply(old, left, theirs.live, theirs.place(i)))
            self.sources.record_taken_out(old, new)
            return self._kept(old)
        if partner is not None and self._conflicts(old, new, partner):
            self.to_reapply.append(EditToReapply(old, new, became=partner))
            return self._kept(old)
        return self.pair(old, new, partner)

    def _kept(self, old: Block) -> Step:
        """Return a step without changes for a block whose edit is made on the live document."""
        step = kept_step(old)
        if self.to_reapply and self.to_reapply[-1].old is old:
            self._reapply_by_step[id(step)] = self.to_reapply[-1]
        return step

    def _conflicts(self, old: Block, new: Block, live: Block) -> bool:
        """Tell whether both sides edited a leaf in a way that an update of the base cannot merge.

        Either side deleted one of its texts (two texts became one, for example), and what the
        other side typed into it would vanish; or their insertions would be merged badly
        (``collide``).
        """
        if new.kind not in LEAVES or live == old or content(live) == content(old):
            return False
        if self._lacks_text(old) or drops_text(old, new):
            return True
        return live.kind in LEAVES and collide(content(old), content(new), content(live))

    def _lacks_text(self, old: Block) -> bool:
        """Tell whether others deleted a text of a block, or of a block inside it."""
        items = (i for b in old.walk() for i in b.inline if isinstance(i, Text))
        return any(p.path not in self._node_map for i in items for p in i.pieces)

    def _close_gap(self, gap: "_Gap", step: Step | None) -> None:
        """Finish a gap between two blocks that stay.

        The new blocks in it may be cloned from the deleted ones, and the edited blocks beside it
        may have been split into, or joined with, blocks of the gap.
        """
        edited = step if step is not None and self._is_edited(step) else None
        beside = [s for s in (gap.before, edited) if s is not None and s.new.kind in LEAVES]
        for fresh in gap.fresh:
            split = [s.old for s in beside if s.old is not None]
            self.sources.fresh.append(NewBlock(fresh, list(gap.gone), split))
            if fresh.new.kind in LEAVES:
                self._dedup.note_join(fresh, gap.gone)
        for joined in beside:
            joined.donors += [g.block for g in gap.gone]
            self._dedup.note_join(self._reapply_by_step.get(id(joined), joined), gap.gone)
        gap.fresh, gap.gone, gap.before, gap.last = [], [], edited, None

    def _is_edited(self, step: Step) -> bool:
        return not step.stays or id(step) in self._reapply_by_step

    def _rows(self, old: Block, new: Block, live: Block | None) -> list[Step]:
        """Return the steps for a table's rows.

        Rows are aligned like other children, cells by column, so that all rows agree on new
        columns.
        """
        columns = _columns(old, new)
        steps = self.children(old, new, live)
        theirs = RemoteChanges(old, live, self._node_map)
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
                out.append(new_step(new.children[j]))
            elif j is not None and i is not None:
                same_width = live is not None and len(live.children) == len(old.children)
                partner = live.children[i] if live is not None and same_width else None
                cell, goal = old.children[i], new.children[j]
                if partner is not None and cell != goal and self._conflicts(cell, goal, partner):
                    self.to_reapply.append(EditToReapply(cell, goal, became=partner))
                    goal = cell
                out.append(self.pair(cell, goal, partner))
        return out

    def finish(self) -> None:
        """Decide what was recorded, once all steps exist.

        A block that both sides took apart is kept once, and a block that we delete but others
        edited stays.
        """
        self._dedup.finish(self.sources.fresh, self.sources.gone)
        for deleted in reversed(self._deleted):
            gone = deleted.found[0]
            if gone.live is None or gone.used or gone.block.kind in {"row", "cell"}:
                continue
            if adds_content([gone.block], [gone.live]):
                self._dedup.join_distant(deleted.found)
                if not self._dedup.keep_additions(deleted.found, deleted.place):
                    deleted.undo()


class _Deleted(Struct):
    """A block that we delete."""

    steps: list[Step]
    """The steps of its siblings."""
    after: Step | None
    """The step before it; None at the start."""
    found: list[RemovedBlock]
    """The block and all blocks below it."""
    place: EditToReapply
    """Where it would be in the live document."""

    def undo(self) -> None:
        """Keep the block where it is."""
        at = next((k + 1 for k, s in enumerate(self.steps) if s is self.after), 0)
        self.steps.insert(at, kept_step(self.found[0].block))


class _Gap(Struct):
    """What lies between two blocks that stay."""

    before: Step | None = None
    """The edited step before the gap."""
    fresh: list[Step] = field(default_factory=list)
    gone: list[RemovedBlock] = field(default_factory=list)
    last: Block | None = None
    """The last deleted block in the gap."""

    @property
    def is_empty(self) -> bool:
        """Whether the gap holds nothing, so that an unchanged block needs no further work."""
        return self.before is None and self.last is None and not self.fresh


def _columns(old: Block, new: Block) -> list[Column]:
    """Align the columns of two tables."""
    width_old, width_new = (len(t.children[0].children) if t.children else 0 for t in (old, new))
    if width_old == width_new:
        return [(k, k) for k in range(width_old)]
    before, after = (
        [Block("row", children=tuple(r.children[k] for r in t.children)) for k in range(width)]
        for t, width in ((old, width_old), (new, width_new))
    )
    return align(before, after)
