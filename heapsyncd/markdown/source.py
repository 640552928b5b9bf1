"""The text being read, and what a patch remembers of it beyond the tree."""

from dataclasses import dataclass, field

from heapsyncd.markdown.links import Links
from heapsyncd.tree import Mark, Span


@dataclass(frozen=True, slots=True)
class MarkRange:
    """A mark's whole range in the source, delimiters included, and what is inside them."""

    outer: Span
    inner: Span
    mark: Mark


@dataclass(slots=True)
class Trace:
    """Ends of odd pieces by their offset, ranges of all marks, starts of indented code and of the
    blocks that stand in a footnote below its text.
    """

    piece_ends: dict[int, int] = field(default_factory=dict)
    mark_ranges: list[MarkRange] = field(default_factory=list)
    indented_code: set[int] = field(default_factory=set)
    in_footnote: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Source:
    """The text as bytes, and how its names resolve; ``trace`` is filled when there is one."""

    data: bytes
    links: Links
    trace: Trace | None = None

    def record_mark(self, start: int, end: int, before: int, after: int, mark: Mark) -> None:
        """Note a mark's range and the lengths of its delimiters."""
        if self.trace is not None:
            inner = Span(start + before, end - after)
            self.trace.mark_ranges.append(MarkRange(Span(start, end), inner, mark))
