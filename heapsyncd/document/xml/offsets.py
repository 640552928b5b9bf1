"""Convert text positions: code points outside, UTF-8 bytes inside pycrdt.

pycrdt 0.14.13 counts text in UTF-8 bytes, and an offset inside a character corrupts the text
without an error. All conversions are made here; ``replica.self_test`` checks the assumption.
"""

from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate

_WALKS = 8
"""A table is built once queries have walked the text's length this many times."""


class Offsets:
    """Code point positions of one text and their UTF-8 byte offsets, both ways.

    ASCII text, the common case, costs nothing. Other text is walked from the last known position,
    so queries in order, in either direction, walk it once. Many queries out of order build a
    table.

    Args:
        text: the text, with one non-ASCII character for each embedded object.
        objects: the positions of embedded objects; each counts one byte.
    """

    __slots__ = ("_at", "_byte", "_bytes", "_data", "_left", "_length", "_objects", "_text")

    def __init__(self, text: str, objects: Collection[int] = ()) -> None:
        self._length = len(text)
        self._text = "" if text.isascii() else text
        self._objects = objects
        self._bytes: list[int] | None = None
        self._data = b""
        self._at = self._byte = 0
        """The last known position, in code points and in bytes."""
        self._left = 0 if objects else _WALKS * self._length

    def byte(self, at: int) -> int:
        """Return the byte offset of a code point position from 0 to the text's length."""
        assert 0 <= at <= self._length
        if not self._text or not at:
            return at
        first, last = sorted((at, self._at))
        self._left -= last - first
        if self._left < 0:
            return self._table()[at]
        width = len(self._text[first:last].encode("utf-8", "surrogatepass"))
        self._byte += width if at > self._at else -width
        self._at = at
        return self._byte

    def char(self, offset: int) -> int:
        """Return the code point position of a byte offset that lies between two characters."""
        if not self._text or not offset:
            return offset
        first, last = sorted((offset, self._byte))
        self._left -= last - first
        if self._left < 0:
            table = self._table()
            at = bisect_left(table, offset)
            assert table[at] == offset, "an offset inside a character"
            return at
        if not self._data:
            self._data = self._text.encode("utf-8", "surrogatepass")
        # An offset inside a character makes decoding raise.
        width = len(self._data[first:last].decode("utf-8", "surrogatepass"))
        self._at += width if offset > self._byte else -width
        self._byte = offset
        return self._at

    def _table(self) -> list[int]:
        if self._bytes is None:
            widths = [_width(ch) for ch in self._text]
            for at in self._objects:
                widths[at] = 1
            self._bytes = [0, *accumulate(widths)]
        return self._bytes


def _width(ch: str) -> int:
    code = ord(ch)
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
