"""Text positions: code points outside, UTF-8 bytes inside pycrdt.

pycrdt 0.14.13 counts text in UTF-8 bytes, and an offset inside a character corrupts the text
without an error. All conversions are made here; ``replica.self_test`` checks that the rule holds.
"""

from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate

_FEW = 8
"""Questions about one text that are answered without a table."""


class Offsets:
    """Code point positions of one text and their UTF-8 byte offsets, both ways.

    ASCII text, which is most text, costs nothing; the first few questions about other text an
    encoding each, more of them one list.

    Args:
        text: the text, each embedded object in it as one non-ASCII character.
        objects: the positions of embedded objects, which count one.
    """

    __slots__ = ("_asked", "_bytes", "_length", "_objects", "_text")

    def __init__(self, text: str, objects: Collection[int] = ()) -> None:
        self._length = len(text)
        self._text = "" if text.isascii() else text
        self._objects = objects
        self._bytes: list[int] | None = None
        self._asked = 0

    def byte(self, at: int) -> int:
        """The byte offset of a code point position, 0 to the text's length."""
        assert 0 <= at <= self._length
        if not self._text or not at:
            return at
        if self._asked < _FEW and not self._objects:
            self._asked += 1
            return len(self._text[:at].encode("utf-8", "surrogatepass"))
        return self._table()[at]

    def char(self, offset: int) -> int:
        """The code point position of a byte offset that stands between two characters."""
        if not self._text or not offset:
            return offset
        table = self._table()
        at = bisect_left(table, offset)
        assert table[at] == offset, "an offset inside a character"
        return at

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
