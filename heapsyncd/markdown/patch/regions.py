"""Describe what changed in a leaf as ranges of tokens and bytes."""

from msgspec import Struct

from heapsyncd.markdown.patch.tokens import TokenRow
from heapsyncd.tree import Span


class Region(Struct):
    """The old tokens ``a`` to ``b`` become the new tokens ``c`` to ``d``.

    ``start`` to ``end`` are the bytes to replace, delimiters included. They are -1 for an
    insertion, whose place is chosen last.
    """

    a: int
    b: int
    c: int
    d: int
    start: int
    end: int


def region_of(row: TokenRow, a: int, b: int, c: int, d: int) -> Region:
    """Return a region for the tokens ``a`` to ``b`` with exactly their own bytes."""
    if a < b:
        return Region(a, b, c, d, row.start(a), row.end(b - 1))
    return Region(a, b, c, d, -1, -1)


def joined(row: TokenRow, first: Region, second: Region) -> Region:
    """Return two regions as one. Between them, old and new content are equal."""
    a, b = min(first.a, second.a), max(first.b, second.b)
    c = first.c - max(first.a - second.a, 0)
    d = second.d + max(first.b - second.b, 0)
    region = region_of(row, a, b, c, d)
    if a < b:
        starts = [r.start for r in (first, second) if r.start >= 0]
        region.start = min([region.start, *starts])
        region.end = max(region.end, first.end, second.end)
    return region


def extend(row: TokenRow, region: Region, outer: Span) -> None:
    """Extend a region to a whole source range.

    The added characters are equal in the new content.
    """
    a = min(region.a, row.index(outer.start))
    b = max(region.b, row.index(outer.end))
    region.c -= region.a - a
    region.d += b - region.b
    region.a, region.b = a, b
    region.start = min(region.start, outer.start)
    region.end = max(region.end, outer.end)


def fills_mark(row: TokenRow, region: Region, inner: Span) -> bool:
    """Return whether the region is all there is between a mark's delimiters."""
    starts_it = not region.a or row.end(region.a - 1) <= inner.start
    return starts_it and (region.b == len(row) or row.start(region.b) >= inner.end)
