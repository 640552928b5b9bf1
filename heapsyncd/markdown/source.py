"""The source text of a parse, and positions that a patch needs beyond the tree."""

from msgspec import Struct, field

from heapsyncd.markdown.links import Links
from heapsyncd.model import LineBreaks
from heapsyncd.tree import Mark, Span


class MarkRange(Struct, frozen=True):
    """A mark's source range.

    ``outer`` includes the delimiters, ``inner`` is what lies between them.
    """

    outer: Span
    inner: Span
    mark: Mark


class Trace(Struct):
    """Source positions recorded while reading, for a patch. All offsets are bytes.

    ``piece_ends``: for text whose source differs from what it reads as (an escape, an entity, a
    line break), the end of each piece by its start. ``mark_ranges``: the ranges of all marks.
    ``indented_code``: starts of indented code blocks. ``in_footnote``: starts of the blocks of a
    footnote after its first paragraph. ``formulas``: the ranges of formulas.
    """

    piece_ends: dict[int, int] = field(default_factory=dict)
    mark_ranges: list[MarkRange] = field(default_factory=list)
    indented_code: set[int] = field(default_factory=set)
    in_footnote: set[int] = field(default_factory=set)
    formulas: list[Span] = field(default_factory=list)


class Source(Struct):
    """A text as bytes, how its names resolve, and an optional ``trace`` to record positions in.

    ``line_breaks``: what a line end inside a paragraph means.
    """

    data: bytes
    links: Links
    trace: Trace | None = None
    line_breaks: LineBreaks = "space"

    def record_mark(self, start: int, end: int, before: int, after: int, mark: Mark) -> None:
        """Record a mark's range in the trace.

        Args:
            start: first byte of the opening delimiter.
            end: byte after the closing delimiter.
            before: length of the opening delimiter.
            after: length of the closing delimiter.
            mark: the mark.
        """
        if self.trace is not None:
            inner = Span(start + before, end - after)
            self.trace.mark_ranges.append(MarkRange(Span(start, end), inner, mark))
