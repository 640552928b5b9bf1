"""Change a leaf by the smallest edits of its source; wrapping and delimiters stay.

The old content is a row of tokens, characters and atoms, each with its source bytes. What differs
from the new content is cut out between the existing delimiters and rewritten. The caller reads
the result back before using it.
"""

from bisect import bisect_left
from collections.abc import Callable

from msgspec.structs import replace

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.markdown import escaping as esc
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.patch.edit_buffer import Edit
from heapsyncd.markdown.patch.regions import Region, extend, fills_mark, joined, region_of
from heapsyncd.markdown.patch.tokens import TokenRow, new_row, source_row
from heapsyncd.markdown.source import MarkRange, Trace
from heapsyncd.markdown.style import DEFAULT, LINE_BREAK, Style
from heapsyncd.markdown.write.inline import InlineWriter
from heapsyncd.tree import Atom, Block, Inline, Mark, Marks, Text

_MAX_COST = 1_000_000
"""Changes times marks. A leaf with more is rewritten as a whole."""
Cut = tuple[int, int, Marks]
"""The bytes to replace, and the marks around them that stay."""

_MAX_SLIDE = 80
"""How many characters an insertion may be moved to the left."""
_ATOM = 0xF0000
"""Atoms are compared as characters of a private plane, from this one on."""


class LeafDiff:
    """The old and the new content of one leaf.

    Args:
        data: the source.
        old: the leaf as parsed.
        new: its new content.
        trace: positions of marks and rewritten text.
    """

    def __init__(self, data: bytes, old: Block, new: tuple[Inline, ...], trace: Trace) -> None:
        self._data = data
        self._old = old
        self._new = new
        self._trace = trace
        self._atoms: dict[tuple[str, object], str] = {}
        self._old_row = source_row(data, old.inline, trace, self._char)
        self._new_row = new_row(new, self._char)
        self._with_marks = self._bare_breaks = False
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
        bare_breaks: bool = False,
    ) -> list[Edit] | None:
        """Return the edits, None if the source is not understood.

        Args:
            links: for mentions.
            body_style: returns the style for new text.
            escape_level: for new text.
            with_marks: rewrite the marks beside a change with it.
            bare_breaks: write a break as a line end without a notation.

        Returns:
            The edits. After a newline in an edit's text the caller must add the line's prefix.
        """
        self._with_marks, self._bare_breaks = with_marks, bare_breaks
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
        """Return the character that stands for an atom; equal atoms share one."""
        key = (atom.kind, atom.attrs)
        return self._atoms.setdefault(key, chr(_ATOM + len(self._atoms)))

    # What changed

    def _regions(self, row: TokenRow) -> list[Region] | None:
        """Return the changed regions in order, None if there are too many."""
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
        """Return the place of an insertion that fits the marks best of those that read the same.

        ``new word`` may be reported as inserting ``new `` or `` word``. Only one may have been
        bold.
        """
        start, width = hunk.start, len(hunk.text)
        if hunk.end > start or not width:
            return start, hunk.end
        best, cost, misfits = start, 0, 0
        for at in range(start - 1, max(i, start - _MAX_SLIDE) - 1, -1):
            # One step to the left: the character there now follows the insertion.
            new = j + at - i
            if row.chars[at] != self._new_row.chars[new + width]:
                break
            misfits += row.marks(at) != self._new_row.marks(new + width)
            misfits -= row.marks(at) != self._new_row.marks(new)
            if misfits < cost:
                best, cost = at, misfits
        return best, best

    def _mark_changes(self, row: TokenRow, i: int, end: int, j: int, found: list[Region]) -> None:
        """Add regions for characters that stayed but carry other marks now."""
        move, k = j - i, i
        while k < end:
            stop = min(row.stretch_end(k), self._new_row.stretch_end(k + move) - move, end)
            if row.marks(k) != self._new_row.marks(k + move):
                found.append(region_of(row, k, stop, k + move, stop + move))
            k = stop

    def _widen_and_join(self, row: TokenRow, found: list[Region]) -> list[Region]:
        """Widen regions until none cuts through a delimiter, and join those that meet."""
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
        """Extend a region until every mark lies completely inside or completely around it."""
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
        """Return whether a mark may stay: it lies inside, around or outside the region."""
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
            # The target of `[text]` is its text: the link must be rewritten with it.
            return False
        # A mark around the region stays if it keeps some content and all new content may carry it.
        emptied = region.c == region.d and fills_mark(row, region, inner)
        return not emptied and self._fits(region, wrap.mark)

    def _fits(self, region: Region, mark: Mark) -> bool:
        """Return whether all new content of the region may carry a mark that lies around it."""
        return all(
            mark in item.marks if isinstance(item, Text) else mark.kind not in {"link", "code"}
            for _, _, item in self._new_row.parts(region.c, region.d)
        )

    # Cutting and writing

    def _cut(self, row: TokenRow, region: Region) -> Cut | None:
        """Return the bytes to replace and the marks around them, None if there is no place."""
        if region.start >= 0:
            return region.start, region.end, self._marks_around(region.start, region.end)
        return self._insertion_point(row, region)

    def _marks_around(self, start: int, end: int) -> Marks:
        """Return the marks that enclose a byte range."""
        return tuple(
            w.mark for w in self._mark_ranges if w.inner.start <= start and end <= w.inner.end
        )

    def _insertion_point(self, row: TokenRow, region: Region) -> Cut | None:
        """Return the best place between two tokens: where most of its marks already apply."""
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
        """Return whether a place is not inside a delimiter."""
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
        """Return a region's new content as text, None if it cannot be written there."""
        items: list[Inline] = [
            Text(text, item.marks) if isinstance(item, Text) else item
            for _, text, item in self._new_row.parts(region.c, region.d)
        ]
        in_table = self._old.kind == "cell"
        if any(m.kind == "code" for m in cut[2]):
            text = "".join(i.text for i in items if isinstance(i, Text))
            return None if "`" in text else esc.escape_pipes(text) if in_table else text
        # Text that adds no marks depends on no style, so the body's style need not be detected.
        bare = all(isinstance(i, Text) and set(i.marks) <= set(cut[2]) for i in items)
        if escape_level == 0 and self._is_in_formula(cut[0], cut[1]):
            # A formula is edited as the text it is. Reading it back tells of anything else.
            text = "".join(i.text if isinstance(i, Text) else "\n" for i in items)
            return esc.escape_pipes(text) if in_table else text
        style = replace(DEFAULT if bare else body_style(), width=None)
        flat = self._old.kind != "paragraph"
        writer = InlineWriter(links, style, escape_level, flat=flat, in_table=in_table)
        written = writer.write(
            items,
            cut[2],
            before=self._char_before(cut[0]),
            after=self._char_after(cut[1]) if region.b < len(row) else "",
        )
        is_bare = self._bare_breaks or style.line_breaks == "break"
        return written.replace(LINE_BREAK, "\n" if is_bare else f"{style.hard_break}\n")

    def _is_in_formula(self, start: int, end: int) -> bool:
        """Return whether a byte range lies inside a formula, between its dollars."""
        formulas = self._trace.formulas
        k = bisect_left(formulas, start, key=lambda f: f.start) - 1
        return k >= 0 and end < formulas[k].end

    def _char_before(self, at: int) -> str:
        assert self._old.span is not None, "every parsed block has its span"
        start = max(self._old.span.start, at - 4)
        return self._data[start:at].decode(errors="ignore")[-1:]

    def _char_after(self, at: int) -> str:
        return self._data[at : at + 4].decode(errors="ignore")[:1]
