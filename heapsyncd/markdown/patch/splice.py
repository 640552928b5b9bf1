"""A changed leaf as the smallest edits of its source: wrapping and delimiters stay as they are.

The old content is a row of tokens, characters and atoms, each with its source bytes. What differs
from the new content is cut out between the delimiters that stand, and written anew; the result is
read back on its own before it counts.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.markdown import escaping as esc
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.edit_buffer import Edit
from heapsyncd.markdown.patch.regions import Region, extend, fills_mark, joined, region_of
from heapsyncd.markdown.patch.tokens import TokenRow, new_row, source_row
from heapsyncd.markdown.source import MarkRange, Trace
from heapsyncd.markdown.style import DEFAULT, Style
from heapsyncd.markdown.write.inline import InlineWriter
from heapsyncd.tree import Atom, Block, Inline, Mark, Marks, Text

_MAX_COST = 1_000_000
"""Changes times marks; a leaf with more is written anew."""
Cut = tuple[int, int, Marks]
"""The bytes to replace, and the marks that lie around them and stay."""

_MAX_SLIDE = 80
_ATOM = 0xF0000
"""Atoms as characters of a private plane, for comparing."""


class LeafDiff:
    """One leaf's old and new content side by side.

    Args:
        data: the source.
        old: the leaf as parsed.
        new: its new content.
        trace: where marks and odd pieces stand.
    """

    def __init__(self, data: bytes, old: Block, new: tuple[Inline, ...], trace: Trace) -> None:
        self._data = data
        self._old = old
        self._new = new
        self._trace = trace
        self._atoms: dict[tuple[str, object], str] = {}
        self._old_row = source_row(data, old.inline, trace, self._char)
        self._new_row = new_row(new, self._char)
        self._with_marks = False
        assert old.span is not None, "every parsed block has its span"
        ends = (old.span.start, old.span.end)
        first, last = (
            bisect_left(trace.mark_ranges, at, key=lambda w: w.outer.start) for at in ends
        )
        self._mark_ranges = trace.mark_ranges[first:last]

    def edits(
        self,
        links: Links,
        body_style: Callable[[], Style],
        escape_level: int,
        *,
        with_marks: bool = False,
    ) -> list[Edit] | None:
        """The edits with new text at a rung; None when the source is not understood.

        ``wide`` takes the marks beside a change into it. A newline in an edit's text wants its
        line's prefix put behind it.
        """
        self._with_marks = with_marks
        row = self._old_row
        regions = self._regions(row) if row is not None else None
        if row is None or regions is None:
            return None
        out: list[Edit] = []
        for region in regions:
            cut = self._cut(row, region)
            text = (
                None
                if cut is None
                else self._write(row, region, cut, links, body_style, escape_level)
            )
            if cut is None or text is None:
                return None
            out.append(Edit(cut[0], cut[1], text.encode()))
        return out

    def _char(self, atom: Atom) -> str:
        key = (atom.kind, atom.attrs)
        return self._atoms.setdefault(key, chr(_ATOM + len(self._atoms)))

    # What changed

    def _regions(self, row: TokenRow) -> list[Region] | None:
        found: list[Region] = []
        i = j = 0
        for hunk in text_hunks(row.chars, self._new_row.chars):
            start, end = self._best_insertion(row, i, j, hunk)
            self._mark_changes(row, i, start, j, found)
            j += start - i
            found.append(region_of(row, start, end, j, j + len(hunk.text)))
            i, j = end, j + len(hunk.text)
        self._mark_changes(row, i, len(row), j, found)
        if len(found) * len(self._mark_ranges) > _MAX_COST:
            return None
        return self._widen_and_join(row, found)

    def _best_insertion(self, row: TokenRow, i: int, j: int, hunk: Hunk) -> tuple[int, int]:
        """Where a bare insertion fits the marks best, of the places that read the same.

        ``new word`` may have come as ``new `` or as `` word``: only one of them was bold, say.
        """
        start, width = hunk.start, len(hunk.text)
        if hunk.end > start or not width:
            return start, hunk.end
        best, cost, misfits = start, 0, 0
        for at in range(start - 1, max(i, start - _MAX_SLIDE) - 1, -1):
            # One step to the left: the character there now stands behind the insertion.
            new = j + at - i
            if row.chars[at] != self._new_row.chars[new + width]:
                break
            misfits += row.marks(at) != self._new_row.marks(new + width)
            misfits -= row.marks(at) != self._new_row.marks(new)
            if misfits < cost:
                best, cost = at, misfits
        return best, best

    def _mark_changes(self, row: TokenRow, i: int, end: int, j: int, found: list[Region]) -> None:
        """Characters that stayed but lie under other marks now."""
        move, k = j - i, i
        while k < end:
            stop = min(row.stretch_end(k), self._new_row.stretch_end(k + move) - move, end)
            if row.marks(k) != self._new_row.marks(k + move):
                found.append(region_of(row, k, stop, k + move, stop + move))
            k = stop

    def _widen_and_join(self, row: TokenRow, found: list[Region]) -> list[Region]:
        """Regions widened until none cuts through a delimiter, and joined where they meet."""
        out: list[Region] = []
        for each in found:
            region = each
            self._widen(row, region)
            while out and region.a <= out[-1].b:
                region = joined(row, out.pop(), region)
                self._widen(row, region)
            out.append(region)
        return out

    def _widen(self, row: TokenRow, region: Region) -> None:
        """Outward, until every mark's range lies wholly inside or wholly around the region."""
        if region.start < 0 and self._with_marks:
            cut = self._insertion_point(row, region)
            region.start = region.end = cut[0] if cut else -1
        if region.start < 0:
            return
        again = True
        while again:
            again = False
            for wrap in reversed(self._mark_ranges):
                if not self._is_compatible(row, region, wrap):
                    extend(row, region, wrap.outer)
                    again = True

    def _is_compatible(self, row: TokenRow, region: Region, wrap: MarkRange) -> bool:
        start, end, outer, inner = region.start, region.end, wrap.outer, wrap.inner
        if self._with_marks and (outer.end == start or outer.start == end):
            return False
        if outer.end <= start or outer.start >= end:
            return True
        if start <= outer.start and outer.end <= end:
            return True
        if not (inner.start <= start and end <= inner.end):
            return False
        if self._with_marks and wrap.mark.kind == "link":
            # `[text]` alone is a link by its very text.
            return False
        # A mark around the region stays if something is left under it and all that is new fits.
        emptied = region.c == region.d and fills_mark(row, region, inner)
        return not emptied and self._fits(region, wrap.mark)

    def _fits(self, region: Region, mark: Mark) -> bool:
        """Whether everything new in the region may stand under a mark that lies around it."""
        return all(
            mark in item.marks if isinstance(item, Text) else mark.kind not in {"link", "code"}
            for _, _, item in self._new_row.parts(region.c, region.d)
        )

    # Cutting and writing

    def _cut(self, row: TokenRow, region: Region) -> Cut | None:
        """The bytes to replace and the marks that lie around them."""
        if region.start >= 0:
            return region.start, region.end, self._marks_around(region.start, region.end)
        return self._insertion_point(row, region)

    def _marks_around(self, start: int, end: int) -> Marks:
        return tuple(
            w.mark for w in self._mark_ranges if w.inner.start <= start and end <= w.inner.end
        )

    def _insertion_point(self, row: TokenRow, region: Region) -> Cut | None:
        """The best place for an insertion between two tokens: where its marks already are."""
        at = region.a
        if not len(row):
            return None
        low = (
            row.end(at - 1)
            if at
            else min([row.start(0), *(w.outer.start for w in self._mark_ranges)])
        )
        high = row.start(at) if at < len(row) else row.end(at - 1)
        if at == len(row):
            high = max([high, *(w.outer.end for w in self._mark_ranges)])
        edges = (e for w in self._mark_ranges for e in (w.outer.start, w.outer.end))
        inner = (e for w in self._mark_ranges for e in (w.inner.start, w.inner.end))
        best: Cut | None = None
        for place in sorted({low, high, *(e for e in (*edges, *inner) if low <= e <= high)}):
            base = self._marks_around(place, place)
            fits = self._is_outside_delimiters(place) and all(
                self._fits(region, mark) for mark in base
            )
            if fits and (best is None or len(base) > len(best[2])):
                best = place, place, base
        return best

    def _is_outside_delimiters(self, place: int) -> bool:
        """Whether a place lies in no delimiter."""
        return not any(
            w.outer.start < place < w.inner.start or w.inner.end < place < w.outer.end
            for w in self._mark_ranges
        )

    def _write(
        self,
        row: TokenRow,
        region: Region,
        cut: Cut,
        links: Links,
        body_style: Callable[[], Style],
        escape_level: int,
    ) -> str | None:
        items: list[Inline] = [
            Text(text, item.marks) if isinstance(item, Text) else item
            for _, text, item in self._new_row.parts(region.c, region.d)
        ]
        in_table = self._old.kind == "cell"
        if any(m.kind == "code" for m in cut[2]):
            text = "".join(i.text for i in items if isinstance(i, Text))
            return None if "`" in text else esc.escape_pipes(text) if in_table else text
        # Text under the marks that are there has no style of its own.
        bare = all(isinstance(i, Text) and set(i.marks) <= set(cut[2]) for i in items)
        style = replace(DEFAULT if bare else body_style(), width=None)
        flat = self._old.kind != "paragraph"
        writer = InlineWriter(links, style, escape_level, flat=flat, in_table=in_table)
        return writer.write(
            items,
            cut[2],
            before=self._char_before(cut[0]),
            after=self._char_after(cut[1]) if region.b < len(row) else "",
        )

    def _char_before(self, at: int) -> str:
        assert self._old.span is not None, "every parsed block has its span"
        start = max(self._old.span.start, at - 4)
        return self._data[start:at].decode(errors="ignore")[-1:]

    def _char_after(self, at: int) -> str:
        return self._data[at : at + 4].decode(errors="ignore")[:1]
