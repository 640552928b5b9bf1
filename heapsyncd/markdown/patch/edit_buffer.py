"""A source text under edit: its lines, and replacements collected before any is made."""

import re
from dataclasses import dataclass

from heapsyncd.tree import Block

_BLANK = b" \t>\r\n"
_MARKER = re.compile(rb"([-*+]|\d{1,9}[.)])([ \t]*)")
_TAB = 4


class OverlapError(Exception):
    """Two edits want the same bytes; the patch is tried again in coarser steps."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes ``start`` to ``end`` become ``text``."""

    start: int
    end: int
    text: bytes


class EditBuffer:
    """The bytes of a body and the edits wished so far.

    Args:
        data: the body as it stands.
        newline: for new lines.
    """

    def __init__(self, data: bytes, newline: bytes) -> None:
        self.data = data
        self.newline = newline
        self.edits: list[Edit] = []

    def replace(self, start: int, end: int, text: bytes) -> None:
        """Collect an edit."""
        self.edits.append(Edit(start, end, text))

    def result(self) -> bytes:
        """The bytes with all edits made; OverlapError when two touch the same bytes."""
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
        """Where the line that holds ``at`` begins."""
        return self.data.rfind(b"\n", 0, at) + 1

    def next_line(self, at: int) -> int:
        """Where the line after the one that holds ``at`` begins; the end when there is none."""
        return self.data.find(b"\n", at) + 1 or len(self.data)

    def is_blank(self, start: int) -> bool:
        """Whether the line at ``start`` holds nothing but container prefixes."""
        return not self.data[start : self.next_line(start)].strip(_BLANK)

    def indent(self, block: Block) -> bytes:
        """What stands before the block on its first line."""
        start = span_of(block)[0]
        return self.data[self.line_start(start) : start]

    def has_own_line(self, block: Block) -> bool:
        """Whether the block begins its line, but for indentation and quote markers."""
        return not self.indent(block).strip(b" \t>")

    # What a container's further lines begin with

    def item_prefix(self, item: Block, outer: bytes) -> bytes:
        """The prefix of the lines inside a list item: spaces up to its content."""
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
        # A quote's marker takes one space that follows it.
        return base + b" " * (content - column + base.endswith(b">"))

    def quote_prefix(self, quote: Block, outer: bytes) -> bytes:
        """The prefix of the lines inside a block quote."""
        return (self.indent(quote) if self.has_own_line(quote) else outer) + b"> "

    def marker(self, item: Block) -> bytes:
        """An item's bullet, or its number with the delimiter."""
        match = _MARKER.match(self.data, span_of(item)[0])
        return match[1] if match else b"-"

    def join(self, lines: list[str], prefix: bytes) -> bytes:
        """Lines put behind a prefix, but for the first."""
        first, *rest = [line.encode() for line in lines] or [b""]
        out = [first]
        for line in rest:
            space = b" " if prefix.endswith(b">") and line[:1] in {b" ", b"\t"} else b""
            out += [self.newline, prefix + space + line if line else prefix.rstrip()]
        return b"".join(out)


def span_of(block: Block) -> tuple[int, int]:
    """The block's source range; every parsed block has one."""
    assert block.span is not None
    return block.span.start, block.span.end


def columns(lead: bytes) -> int:
    """How wide the start of a line is, tabs counted as they are."""
    column = 0
    for char in lead.decode(errors="replace"):
        column += _TAB - column % _TAB if char == "\t" else 1
    return column
