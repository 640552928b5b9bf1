"""Text positions: code points outside, UTF-8 bytes inside pycrdt.

pycrdt 0.14.13 counts text in UTF-8 bytes, and an offset inside a character corrupts the text
without an error. All conversions are made here; ``replica.self_test`` checks that the rule holds.
"""

from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate


class Offsets:
    """Code point positions of one text and their UTF-8 byte offsets, both ways.

    ASCII text, which is most text, costs nothing; other text one list.

    Args:
        text: the text, each embedded object in it as one non-ASCII character.
        objects: the positions of embedded objects, which count one.
    """

    __slots__ = ("_bytes", "_length")

    def __init__(self, text: str, objects: Collection[int] = ()) -> None:
        self._length = len(text)
        self._bytes: list[int] | None = None
        if not text.isascii():
            widths = [_width(ch) for ch in text]
            for at in objects:
                widths[at] = 1
            self._bytes = [0, *accumulate(widths)]

    def byte(self, at: int) -> int:
        """The byte offset of a code point position, 0 to the text's length."""
        assert 0 <= at <= self._length
        return at if self._bytes is None else self._bytes[at]

    def char(self, offset: int) -> int:
        """The code point position of a byte offset that stands between two characters."""
        if self._bytes is None:
            return offset
        at = bisect_left(self._bytes, offset)
        assert self._bytes[at] == offset, "an offset inside a character"
        return at


def _width(ch: str) -> int:
    code = ord(ch)
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
