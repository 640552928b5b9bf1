"""Represent a leaf's content as a row of characters and atoms with marks and source bytes.

Rows are stored in stretches, so the cost depends on the number of runs, not of characters.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, field

from heapsyncd.markdown.source import Trace
from heapsyncd.tree import Atom, Inline, Marks, Piece, Text

CharOf = Callable[[Atom], str]
"""Returns the character that stands for an atom."""


class Stretch(Struct, frozen=True):
    """A stretch of a row: the characters from index ``at`` up to the next stretch.

    ``start`` to ``end`` are its source bytes. If ``literal``, they are the characters' own UTF-8.
    Otherwise the stretch is one character written differently, or an atom. New content has no
    bytes (-1).
    """

    at: int
    text: str
    item: Inline
    start: int = -1
    end: int = -1
    literal: bool = False

    @property
    def marks(self) -> Marks:
        """The marks on the whole stretch."""
        return self.item.marks if isinstance(self.item, Text) else ()

    def byte(self, k: int) -> int:
        """Return the offset of character ``k``; ``k`` may equal the length."""
        if not self.literal:
            return self.end if k else self.start
        return self.start + (k if self.text.isascii() else len(self.text[:k].encode()))


class TokenRow(Struct):
    """Content as one string, with the stretches behind it."""

    chars: str = ""
    stretches: list[Stretch] = field(default_factory=list)
    _firsts: list[int] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.chars)

    def _at(self, k: int) -> Stretch:
        return self.stretches[bisect_right(self._firsts, k) - 1]

    def marks(self, k: int) -> Marks:
        """Return the marks on character ``k``."""
        return self._at(k).marks

    def stretch_end(self, k: int) -> int:
        """Return the index at which the stretch of character ``k`` ends."""
        stretch = self._at(k)
        return stretch.at + len(stretch.text)

    def start(self, k: int) -> int:
        """Return the first byte of character ``k``."""
        stretch = self._at(k)
        return stretch.byte(k - stretch.at)

    def end(self, k: int) -> int:
        """Return the byte after character ``k``."""
        stretch = self._at(k)
        return stretch.byte(k - stretch.at + 1)

    def index(self, byte: int) -> int:
        """Return the index of the first character that begins at this byte or later."""
        k = bisect_right(self._starts, byte) - 1
        if k < 0:
            return 0
        stretch = self.stretches[k]
        if byte <= stretch.start:
            return stretch.at
        if not stretch.literal or byte >= stretch.end:
            return stretch.at + len(stretch.text)
        inside = stretch.text.encode()[: byte - stretch.start].decode(errors="ignore")
        return stretch.at + len(inside)

    def parts(self, a: int, b: int) -> Iterator[tuple[int, str, Inline]]:
        """Yield each item in the characters ``a`` to ``b``: first index, its text there, item."""
        k = max(bisect_right(self._firsts, a) - 1, 0)
        while k < len(self.stretches) and self.stretches[k].at < b:
            stretch = self.stretches[k]
            first, last = max(a, stretch.at), min(b, stretch.at + len(stretch.text))
            if first < last:
                yield first, self.chars[first:last], stretch.item
            k += 1


def _row(stretches: list[Stretch]) -> TokenRow:
    text = "".join(s.text for s in stretches)
    return TokenRow(text, stretches, [s.at for s in stretches], [s.start for s in stretches])


def new_row(items: Sequence[Inline], char_of: CharOf) -> TokenRow:
    """Return a row for content that is not in the source."""
    stretches, at = [], 0
    for item in items:
        text = item.text if isinstance(item, Text) else char_of(item)
        stretches.append(Stretch(at, text, item))
        at += len(text)
    return _row(stretches)


def source_row(
    data: bytes, items: Sequence[Inline], trace: Trace, char_of: CharOf
) -> TokenRow | None:
    """Return a row for parsed content, None if a character has no bytes of its own."""
    stretches: list[Stretch] = []
    at = 0
    for item in items:
        if isinstance(item, Text):
            if not item.pieces or item.pieces[0].at != 0:
                return None
            for piece, text in _pieces(item):
                stretch = _stretch(data, trace, at, item, piece, text)
                if stretch is None:
                    return None
                stretches.append(stretch)
                at += len(text)
        elif item.span is None or item.span.start == item.span.end:
            return None
        else:
            stretches.append(Stretch(at, char_of(item), item, item.span.start, item.span.end))
            at += 1
    return _row(stretches)


def _pieces(run: Text) -> Iterator[tuple[Piece, str]]:
    ends = [p.at for p in run.pieces[1:]] + [len(run.text)]
    for piece, stop in zip(run.pieces, ends, strict=True):
        yield piece, run.text[piece.at : stop]


def _stretch(
    data: bytes, trace: Trace, at: int, run: Text, piece: Piece, text: str
) -> Stretch | None:
    raw = text.encode()
    if data.startswith(raw, piece.offset):
        return Stretch(at, text, run, piece.offset, piece.offset + len(raw), literal=True)
    end = trace.piece_ends.get(piece.offset)
    if end is None or len(text) != 1:
        return None
    return Stretch(at, text, run, piece.offset, end)
