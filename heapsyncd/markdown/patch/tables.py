"""Edit the cells and rows of a table."""

import re

from msgspec import Struct

from heapsyncd.markdown.patch.columns import edit_columns, is_aligned, is_whole
from heapsyncd.markdown.patch.context import PatchContext, groups
from heapsyncd.markdown.patch.edit_buffer import EditBuffer, span_of
from heapsyncd.markdown.patch.leaves import edit_cell
from heapsyncd.markdown.write.blocks import Writer
from heapsyncd.tree import Block

_BESIDE_PIPE = re.compile(rb"[ \t]\||\|[ \t]")
_WORD = re.compile(r"\w")


def edit_table(context: PatchContext, old: Block, new: Block, prefix: bytes) -> bool:
    """Edit a table's lines. Returns False if both rows and columns changed."""
    if not new.children or context.step:
        return False
    if len(old.children[0].children) != len(new.children[0].children):
        return edit_columns(context, old, new)
    rows = list(old.children)
    buffer = context.buffer
    lead = buffer.indent(rows[0]) if buffer.has_own_line(rows[0]) else prefix
    # The header is always paired with the header, whatever it resembles.
    _edit_row(context, rows, 0, new.children[0])
    for removed, added, pair in groups(rows[1:], new.children[1:]):
        _put_rows(context, rows, removed.start, [new.children[j + 1] for j in added], lead)
        for k in removed:
            start, end = span_of(rows[k + 1])
            buffer.replace(buffer.line_start(start), buffer.next_line(end), b"")
        if pair is not None:
            _edit_row(context, rows, pair[0] + 1, new.children[pair[1] + 1])
    return True


def _put_rows(
    context: PatchContext, rows: list[Block], i: int, fresh: list[Block], lead: bytes
) -> None:
    """Write rows after the ``i``-th. Row 0 is the header, with the rule below it."""
    if not fresh:
        return
    buffer, writer = context.buffer, context.writer()
    pipes, widths = _Pipes.of(buffer.data[slice(*span_of(rows[i]))]), _widths(buffer, rows)
    at = buffer.next_line(span_of(rows[i])[1])
    if i == 0:
        at = buffer.next_line(at)
    # A moved row keeps its source.
    known = {row: buffer.data[slice(*span_of(row))] for row in rows[1:]}
    lines = (known.get(row) or pipes.line(writer, row, widths) for row in fresh)
    text = b"".join(lead + line + buffer.newline for line in lines)
    if at == len(buffer.data) and not buffer.data.endswith(b"\n"):
        text = buffer.newline + text.removesuffix(buffer.newline)
    buffer.replace(at, at, text)


def _widths(buffer: EditBuffer, rows: list[Block]) -> list[int]:
    """Return the least cell width for each column that keeps its pipes aligned.

    0 for a column that is not aligned.
    """
    columns = [Block("row", children=c) for c in zip(*(r.children for r in rows), strict=True)]
    if len(rows) < 2 or not all(map(is_whole, rows)):
        return [0 for _ in columns]
    firsts = (span_of(column.children[0]) for column in columns)
    wide = [len(buffer.data[start:end].decode()) for start, end in firsts]
    return [n if is_aligned(buffer, c) else 0 for n, c in zip(wide, columns, strict=True)]


class _Pipes(Struct, frozen=True):
    """How a row is fenced: outer pipes on either side, spaces beside pipes."""

    first: bool
    last: bool
    pad: str

    @classmethod
    def of(cls, line: bytes) -> "_Pipes":
        """Detect the fencing of an existing row."""
        line = line.strip()
        last = line.endswith(b"|") and not line.endswith(b"\\|")
        pad = " " if _BESIDE_PIPE.search(line) else ""
        return cls(line.startswith(b"|"), last, pad)

    def line(self, writer: Writer, row: Block, widths: list[int]) -> bytes:
        """Return the line of a new row.

        Outer pipes are added where it could be misread without.
        """
        cells = (f"{self.pad}{writer.leaf(cell)}{self.pad}" for cell in row.children)
        texts = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        line = "|".join(texts)
        is_word = _WORD.match(texts[0].strip()) is not None
        line = line.lstrip() if is_word and not self.first else f"|{line}"
        is_said = len(texts) > 1 and bool(texts[-1].strip())
        return (line.rstrip() if is_said and not self.last else f"{line}|").encode()


def _edit_row(context: PatchContext, rows: list[Block], i: int, new: Block) -> None:
    old = rows[i]
    if old == new:
        return
    pairs = enumerate(zip(old.children, new.children, strict=True))
    edits = [(k, a, b) for k, (a, b) in pairs if a != b]
    if any(a.span is None or a.span.start == a.span.end for _, a, _ in edits):
        # A cell without a place in the source: write the whole row.
        context.buffer.replace(*span_of(old), context.writer().row(new).encode())
        return
    for k, a, b in edits:
        spans = (row.children[k].span for row in rows)
        widths = {len(context.buffer.data[s.start : s.end].decode()) if s else 0 for s in spans}
        edit_cell(context, a, b, is_aligned=len(widths) == 1 and len(rows) > 1)
