"""A source text with its lines, and replacements that are collected and applied together."""

import re

from msgspec import Struct

from heapsyncd.tree import Block

_BLANK = b" \t>\r\n"
_MARKER = re.compile(rb"([-*+]|\d{1,9}[.)])([ \t]*)")
_TAB = 4


class OverlapError(Exception):
    """Two edits change the same bytes. The patch is tried again with coarser steps."""


class Edit(Struct, frozen=True):
    """Replace the bytes ``start`` to ``end`` by ``text``."""

    start: int
    end: int
    text: bytes


class EditBuffer:
    """The bytes of a body and the edits collected so far. Offsets refer to the original bytes.

    Args:
        data: the body.
        newline: the line end for new lines.
    """

    def __init__(self, data: bytes, newline: bytes) -> None:
        self.data = data
        self.newline = newline
        self.edits: list[Edit] = []

    def replace(self, start: int, end: int, text: bytes) -> None:
        """Collect an edit."""
        self.edits.append(Edit(start, end, text))

    def result(self) -> bytes:
        """Return the bytes with all edits applied.

        Raises:
            OverlapError: two edits change the same bytes.
        """
        out: list[bytes] = []
        at = 0
        for edit in sorted(self.edits, key=lambda e: (e.start, e.end)):
            if edit.start < at:
                raise OverlapError
            out += [self.data[at : edit.start], edit.text]
            at = edit.end
        out.append(self.data[at:])
        return b"".join(out)

    # Lines

    def line_start(self, at: int) -> int:
        """Return the start of the line that holds ``at``."""
        return self.data.rfind(b"\n", 0, at) + 1

    def next_line(self, at: int) -> int:
        """Return the start of the line after the one that holds ``at``, or the end of the data."""
        return self.data.find(b"\n", at) + 1 or len(self.data)

    def is_blank(self, start: int) -> bool:
        """Return whether the line at ``start`` holds only container prefixes."""
        return not self.data[start : self.next_line(start)].strip(_BLANK)

    def indent(self, block: Block) -> bytes:
        """Return what precedes a block on its first line."""
        start = span_of(block)[0]
        return self.data[self.line_start(start) : start]

    def has_own_line(self, block: Block) -> bool:
        """Return whether a block begins its line, apart from indentation and quote markers."""
        return not self.indent(block).strip(b" \t>")

    # What a container's further lines begin with

    def item_prefix(self, item: Block, outer: bytes) -> bytes:
        """Return the prefix of lines inside a list item: spaces up to its content.

        ``outer`` is the prefix of the container's lines, used if the item does not begin its line.
        """
        start = span_of(item)[0]
        base = self.indent(item) if self.has_own_line(item) else outer
        line = self.line_start(start)
        match = _MARKER.match(self.data, start)
        if match is None:
            return base + b"  "
        column, text = columns(self.data[line:start]), columns(self.data[line : match.end(1)])
        content = columns(self.data[line : match.end()])
        after = content - text
        if not 1 <= after <= _TAB or self.data[match.end() : match.end() + 1] in b"\r\n":
            content = text + 1
        # A quote's marker consumes one space after it.
        return base + b" " * (content - column + base.endswith(b">"))

    def quote_prefix(self, quote: Block, outer: bytes) -> bytes:
        """Return the prefix of lines inside a block quote."""
        return (self.indent(quote) if self.has_own_line(quote) else outer) + b"> "

    def marker(self, item: Block) -> bytes:
        """Return an item's bullet, or its number with the delimiter."""
        match = _MARKER.match(self.data, span_of(item)[0])
        return match[1] if match else b"-"

    def join(self, lines: list[str], prefix: bytes) -> bytes:
        """Join lines, with the prefix before each but the first."""
        first, *rest = [line.encode() for line in lines] or [b""]
        out = [first]
        for line in rest:
            space = b" " if prefix.endswith(b">") and line[:1] in {b" ", b"\t"} else b""
            out += [self.newline, prefix + space + line if line else prefix.rstrip()]
        return b"".join(out)


def span_of(block: Block) -> tuple[int, int]:
    """Return a block's source range. Every parsed block has one."""
    assert block.span is not None
    return block.span.start, block.span.end


def columns(lead: bytes) -> int:
    """Return the width of a line's start in columns, with tab stops at every fourth."""
    column = 0
    for char in lead.decode(errors="replace"):
        column += _TAB - column % _TAB if char == "\t" else 1
    return column
