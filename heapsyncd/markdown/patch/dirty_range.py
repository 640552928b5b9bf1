"""Find the part of a body to patch: the sections of changed blocks or, in a long list, items."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from heapsyncd.diff import equal_ends
from heapsyncd.markdown.read.parse import Section, Sections
from heapsyncd.tree import LISTS, Block


class DirtyRange(Struct, frozen=True):
    """A range of a body's characters, and the blocks it must read as."""

    start: int
    end: int
    wanted: tuple[Block, ...]


class _PlacedSection(Struct, frozen=True):
    """A section, its offset in the body, and the index of its first block in the body."""

    section: Section
    at: int
    first: int
    continues_list: bool

    @property
    def end(self) -> int:
        return self.at + len(self.section.text)

    @property
    def stop(self) -> int:
        return self.first + len(self.section.blocks)


def dirty_ranges(
    found: Sections, old: Sequence[Block], wanted: Sequence[Block], same: tuple[int, int]
) -> Iterator[DirtyRange]:
    """Yield ranges that hold all changes, the smallest first.

    Args:
        found: the body.
        old: its blocks.
        wanted: the blocks it must become.
        same: how many blocks are equal at the start and at the end.
    """
    placed = list(_placed(found))
    first, last = same
    if first + last + 1 == len(old) == len(wanted):
        part = _item_range(placed, first, old[first], wanted[first])
        if part is not None:
            yield part
    yield _block_range(placed, first, len(old) - last, wanted)


def _placed(found: Sections) -> Iterator[_PlacedSection]:
    at = done = 0
    for section, continues_list in zip(found.found, found.continues_list, strict=True):
        one = _PlacedSection(section, at, done - continues_list, continues_list)
        yield one
        at, done = one.end, one.stop


def _block_range(
    placed: list[_PlacedSection], first: int, last: int, wanted: Sequence[Block]
) -> DirtyRange:
    """Return the range of the sections that hold the blocks ``first`` to ``last``.

    The sections beside them are included.
    """
    start = end = before = done = 0
    for one, following in zip(placed, [*placed[1:], None], strict=True):
        if following is not None and following.continues_list:
            continue  # a list that was cut is taken whole or not at all
        if one.stop < first:
            start, before = one.end, one.stop
        elif done > last:
            break
        done, end = one.stop, one.end
    total = placed[-1].stop if placed else 0
    return DirtyRange(start, end, tuple(wanted[before : len(wanted) - (total - done)]))


def _item_range(placed: list[_PlacedSection], k: int, old: Block, new: Block) -> DirtyRange | None:
    """Return the range of the sections that hold the changed items of list ``k``.

    The sections beside them are included. None if the list was not cut, or changes as a whole.
    """
    if old.kind not in LISTS or old.kind != new.kind or old.attrs != new.attrs:
        return None
    cuts = [one for one in placed if one.first <= k < one.stop]
    head, tail = equal_ends(old.children, new.children)
    ends: list[int] = []
    for one in cuts:
        ends.append((ends[-1] if ends else 0) + len(one.section.blocks[k - one.first].children))
    a = next(i for i, end in enumerate(ends) if end > max(head - 1, 0))
    b = next(i for i, end in enumerate(ends) if end > min(ends[-1] - tail, ends[-1] - 1))
    before, after = (ends[a - 1] if a else 0), ends[-1] - ends[b]
    items = new.children[before : len(new.children) - after]
    if len(cuts) == 1 or not items:
        return None
    first, last = cuts[a], cuts[b]
    # A part of a list reads as a list that begins with its own number.
    piece = first.section.blocks[k - first.first].with_children(items)
    lead = first.section.blocks[: k - first.first]
    return DirtyRange(
        first.at, last.end, (*lead, piece, *last.section.blocks[k - last.first + 1 :])
    )
