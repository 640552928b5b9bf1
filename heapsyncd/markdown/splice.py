"""A changed leaf as the smallest edits of its source: wrapping and delimiters stay as they are.

The old content is a row of tokens, characters and atoms, each with its source bytes. What differs
from the new content is cut out between the delimiters that stand, and written anew; the result is
read back on its own before it counts.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from heapsyncd.diff import Hunk, text_hunks
from heapsyncd.markdown import escape as esc
from heapsyncd.markdown.sheet import Edit
from heapsyncd.markdown.source import Trace, Wrap
from heapsyncd.markdown.spans import SpanWriter
from heapsyncd.markdown.style import Style
from heapsyncd.markdown.tokens import Token, read_row
from heapsyncd.tree import Atom, Block, Inline, Mark, Marks, Span, Text

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

_MOST = 1_000_000
"""Changes times marks; a leaf with more is written anew."""
Cut = tuple[int, int, Marks]
"""The bytes to replace, and the marks that lie around them and stay."""

_MOST_SLIDE = 80
_ATOM = 0xF0000
"""Atoms as characters of a private plane, for comparing."""


@dataclass(slots=True)
class Region:
    """Old tokens ``a`` to ``b`` become new tokens ``c`` to ``d``.

    ``start`` to ``end`` are the bytes to replace, delimiters included; -1 for a bare insertion,
    whose place is found last.
    """

    a: int
    b: int
    c: int
    d: int
    start: int
    end: int


class Splice:
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
        self._row: list[Token] = []
        self._new_row: list[tuple[str, Marks, Inline]] = []
        self._wraps: list[Wrap] = []
        self._starts: list[int] = []
        self._wide = False

    def edits(
        self, links: "Links", style: Style, rung: int, *, wide: bool = False
    ) -> list[Edit] | None:
        """The edits with new text at a rung; None when the source is not understood.

        ``wide`` takes the marks beside a change into it. A newline in an edit's text wants its
        line's prefix put behind it.
        """
        self._wide = wide
        if not self._read():
            return None
        out: list[Edit] = []
        regions = self._regions()
        if regions is None:
            return None
        for region in regions:
            cut = self._cut(region)
            if cut is None:
                return None
            text = self._write(region, cut, links, style, rung)
            if text is None:
                return None
            out.append(Edit(cut[0], cut[1], text.encode()))
        return out

    def _read(self) -> bool:
        """Fill both rows; False when some old character has no bytes of its own."""
        assert self._old.span is not None, "every parsed block has its span"
        row = read_row(self._data, self._old.inline, self._trace, self._char)
        if row is None:
            return False
        self._row = row
        self._starts = [t.start for t in row]
        self._new_row = []
        for item in self._new:
            if isinstance(item, Atom):
                self._new_row.append((self._char(item), (), item))
            else:
                self._new_row += [(c, item.marks, item) for c in item.text]
        wraps, ends = self._trace.wraps, (self._old.span.start, self._old.span.end)
        first, last = (bisect_left(wraps, at, key=lambda w: w.outer.start) for at in ends)
        self._wraps = wraps[first:last]
        return True

    def _char(self, atom: Atom) -> str:
        key = (atom.kind, atom.attrs)
        return self._atoms.setdefault(key, chr(_ATOM + len(self._atoms)))

    # What changed

    def _regions(self) -> list[Region] | None:
        old = "".join(t.char for t in self._row)
        new = "".join(c for c, _, _ in self._new_row)
        found: list[Region] = []
        i = j = 0
        for hunk in text_hunks(old, new):
            start, end = self._slid(i, j, hunk)
            self._mark_changes(i, start, j, found)
            j += start - i
            found.append(self._region(start, end, j, j + len(hunk.text)))
            i, j = end, j + len(hunk.text)
        self._mark_changes(i, len(old), j, found)
        if len(found) * len(self._wraps) > _MOST:
            return None
        return self._settled(found)

    def _slid(self, i: int, j: int, hunk: Hunk) -> tuple[int, int]:
        """Where a bare insertion fits the marks best, of the places that read the same.

        ``new word`` may have come as ``new `` or as `` word``: only one of them was bold, say.
        """
        start, width = hunk.start, len(hunk.text)
        if hunk.end > start or not width:
            return start, hunk.end
        best, cost, misfits = start, 0, 0
        for at in range(start - 1, max(i, start - _MOST_SLIDE) - 1, -1):
            # One step to the left: the character there now stands behind the insertion.
            new = j + at - i
            if self._row[at].char != self._new_row[new + width][0]:
                break
            misfits += self._row[at].marks != self._new_row[new + width][1]
            misfits -= self._row[at].marks != self._new_row[new][1]
            if misfits < cost:
                best, cost = at, misfits
        return best, best

    def _region(self, a: int, b: int, c: int, d: int) -> Region:
        if a < b:
            return Region(a, b, c, d, self._row[a].start, self._row[b - 1].end)
        return Region(a, b, c, d, -1, -1)

    def _mark_changes(self, i: int, end: int, j: int, found: list[Region]) -> None:
        """Characters that stayed but lie under other marks now."""
        move = j - i
        found += [
            self._region(k, k + 1, k + move, k + move + 1)
            for k in range(i, end)
            if self._row[k].marks != self._new_row[k + move][1]
        ]

    def _settled(self, found: list[Region]) -> list[Region]:
        """Regions widened until none cuts through a delimiter, and joined where they meet."""
        out: list[Region] = []
        for each in found:
            region = each
            self._widen(region)
            while out and region.a <= out[-1].b:
                region = self._joined(out.pop(), region)
                self._widen(region)
            out.append(region)
        return out

    def _joined(self, first: Region, second: Region) -> Region:
        """Both as one; between and around what changed, old and new are the same."""
        a, b = min(first.a, second.a), max(first.b, second.b)
        c = first.c - max(first.a - second.a, 0)
        d = second.d + max(first.b - second.b, 0)
        region = self._region(a, b, c, d)
        if a < b:
            starts = [r.start for r in (first, second) if r.start >= 0]
            region.start = min([region.start, *starts])
            region.end = max(region.end, first.end, second.end)
        return region

    def _widen(self, region: Region) -> None:
        """Outward, until every mark's range lies wholly inside or wholly around the region."""
        if region.start < 0 and self._wide:
            cut = self._gap(region)
            region.start = region.end = cut[0] if cut else -1
        if region.start < 0:
            return
        again = True
        while again:
            again = False
            for wrap in reversed(self._wraps):
                if not self._agrees(region, wrap):
                    self._stretch(region, wrap.outer)
                    again = True

    def _agrees(self, region: Region, wrap: Wrap) -> bool:
        start, end, outer, inner = region.start, region.end, wrap.outer, wrap.inner
        if self._wide and (outer.end == start or outer.start == end):
            return False
        if outer.end <= start or outer.start >= end:
            return True
        if start <= outer.start and outer.end <= end:
            return True
        if not (inner.start <= start and end <= inner.end):
            return False
        if self._wide and wrap.mark.kind == "link":
            # `[text]` alone is a link by its very text.
            return False
        # A mark around the region stays if something is left under it and all that is new fits.
        emptied = region.c == region.d and self._is_all(region, inner)
        return not emptied and self._fits(region, wrap.mark)

    def _is_all(self, region: Region, inner: Span) -> bool:
        """Whether the region is all there is inside a mark's delimiters."""
        before = self._row[region.a - 1] if region.a else None
        after = self._row[region.b] if region.b < len(self._row) else None
        return (before is None or before.end <= inner.start) and (
            after is None or after.start >= inner.end
        )

    def _fits(self, region: Region, mark: Mark) -> bool:
        """Whether everything new in the region may stand under a mark that lies around it."""
        return all(
            mark in marks if isinstance(item, Text) else mark.kind not in {"link", "code"}
            for _, marks, item in self._new_row[region.c : region.d]
        )

    def _stretch(self, region: Region, outer: Span) -> None:
        """Take in a whole range and the tokens in it, which are the same in the new content."""
        a = min(region.a, bisect_left(self._starts, outer.start))
        b = max(region.b, bisect_left(self._starts, outer.end))
        region.c -= region.a - a
        region.d += b - region.b
        region.a, region.b = a, b
        region.start = min(region.start, outer.start)
        region.end = max(region.end, outer.end)

    # Cutting and writing

    def _cut(self, region: Region) -> Cut | None:
        """The bytes to replace and the marks that lie around them."""
        if region.start >= 0:
            return region.start, region.end, self._around(region.start, region.end)
        return self._gap(region)

    def _around(self, start: int, end: int) -> Marks:
        return tuple(w.mark for w in self._wraps if w.inner.start <= start and end <= w.inner.end)

    def _gap(self, region: Region) -> Cut | None:
        """The best place for an insertion between two tokens: where its marks already are."""
        row, at = self._row, region.a
        if not row:
            return None
        low = row[at - 1].end if at else min([row[0].start, *(w.outer.start for w in self._wraps)])
        high = row[at].start if at < len(row) else row[-1].end
        if at == len(row):
            high = max([high, *(w.outer.end for w in self._wraps)])
        edges = (e for w in self._wraps for e in (w.outer.start, w.outer.end))
        inner = (e for w in self._wraps for e in (w.inner.start, w.inner.end))
        best: Cut | None = None
        for place in sorted({low, high, *(e for e in (*edges, *inner) if low <= e <= high)}):
            base = self._around(place, place)
            fits = self._is_between(place) and all(self._fits(region, mark) for mark in base)
            if fits and (best is None or len(base) > len(best[2])):
                best = place, place, base
        return best

    def _is_between(self, place: int) -> bool:
        """Whether a place lies in no delimiter."""
        return not any(
            w.outer.start < place < w.inner.start or w.inner.end < place < w.outer.end
            for w in self._wraps
        )

    def _write(
        self, region: Region, cut: Cut, links: "Links", style: Style, rung: int
    ) -> str | None:
        items: list[Inline] = []
        for char, marks, item in self._new_row[region.c : region.d]:
            last = items[-1] if items else None
            if isinstance(item, Atom):
                items.append(item)
            elif isinstance(last, Text) and last.marks == marks:
                items[-1] = Text(last.text + char, marks)
            else:
                items.append(Text(char, marks))
        in_table = self._old.kind == "cell"
        if any(m.kind == "code" for m in cut[2]):
            text = "".join(i.text for i in items if isinstance(i, Text))
            return None if "`" in text else esc.pipes(text) if in_table else text
        flat = self._old.kind != "paragraph"
        writer = SpanWriter(links, replace(style, width=None), rung, flat=flat, in_table=in_table)
        return writer.write(
            items,
            cut[2],
            before=self._char_before(cut[0]),
            after=self._char_after(cut[1]) if region.b < len(self._row) else "",
        )

    def _char_before(self, at: int) -> str:
        assert self._old.span is not None, "every parsed block has its span"
        start = max(self._old.span.start, at - 4)
        return self._data[start:at].decode(errors="ignore")[-1:]

    def _char_after(self, at: int) -> str:
        return self._data[at : at + 4].decode(errors="ignore")[:1]
