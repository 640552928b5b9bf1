"""Add and remove columns of a table; the others keep their text, width and alignment."""

import re
from collections.abc import Sequence

from heapsyncd.markdown.patch.context import Group, PatchContext, groups
from heapsyncd.markdown.patch.edit_buffer import EditBuffer, span_of
from heapsyncd.markdown.patch.leaves import edit_cell
from heapsyncd.tree import Block, Span

_RULE = re.compile(rb"[ \t]*:?-+:?[ \t]*")


def edit_columns(context: PatchContext, old: Block, new: Block) -> bool:
    """Edit the columns of a table whose rows stay.

    Returns False, without an edit, if the lines do not show every cell.
    """
    rows = old.children
    if len(rows) != len(new.children) or context.step:
        return False
    before, after = _columns(old), _columns(new)
    found = list(groups(before, after))
    rule = _rule(context.buffer, rows[0], len(before))
    if rule is None or not all(map(is_whole, rows)) or not any(pair for _, _, pair in found):
        return False
    _edit_cells(context, before, after, found)
    fresh = _fresh(context, before, after, found, rule)
    for k, row in enumerate(rows):
        texts = {j: column[k + 1] for j, column in fresh.items()}
        _edit_line(context.buffer, [Span(*span_of(cell)) for cell in row.children], found, texts)
    _edit_line(context.buffer, rule, found, {j: column[0] for j, column in fresh.items()})
    return True


def _columns(table: Block) -> list[Block]:
    cells = zip(*(row.children for row in table.children), strict=True)
    return [Block("row", children=column) for column in cells]


def is_whole(row: Block) -> bool:
    """Return whether every cell of a row has a place in the row's line."""
    end = span_of(row)[1]
    return all(cell.span is not None and cell.span.end <= end for cell in row.children)


def _rule(buffer: EditBuffer, header: Block, columns: int) -> list[Span] | None:
    """Return the cells of the line below the header, None if it does not match the columns."""
    at = buffer.next_line(span_of(header)[1])
    line = buffer.data[at : buffer.next_line(at)].rstrip()
    lead = line[: len(line) - len(line.lstrip(b" \t>"))]
    inner = line[len(lead) :].removeprefix(b"|")
    at += len(line) - len(inner)
    found: list[Span] = []
    for cell in inner.removesuffix(b"|").split(b"|"):
        if not _RULE.fullmatch(cell):
            return None
        found.append(Span(at, at + len(cell)))
        at += len(cell) + 1
    return found if len(found) == columns else None


def _edit_cells(
    context: PatchContext, before: Sequence[Block], after: Sequence[Block], found: Sequence[Group]
) -> None:
    for _, _, pair in found:
        if pair is not None:
            old, new = before[pair[0]], after[pair[1]]
            for a, b in zip(old.children, new.children, strict=True):
                if a != b:
                    edit_cell(context, a, b, is_aligned=is_aligned(context.buffer, old))


def is_aligned(buffer: EditBuffer, column: Block) -> bool:
    """Return whether all cells of a column have the same width, so that its pipes line up."""
    spans = (span_of(cell) for cell in column.children)
    return len({len(buffer.data[start:end].decode()) for start, end in spans}) == 1


def _fresh(
    context: PatchContext,
    before: Sequence[Block],
    after: Sequence[Block],
    found: Sequence[Group],
    rule: Sequence[Span],
) -> dict[int, list[bytes]]:
    """Return the cells of each added column, that of the rule first, by the column's new index."""
    writer, buffer = context.writer(), context.buffer
    padded = len(before[0].children) > 1 and all(is_aligned(buffer, c) for c in before)
    space = " " * _is_spaced(buffer, [Span(*span_of(c.children[0])) for c in before])
    edge = " " * _is_spaced(buffer, rule)
    out: dict[int, list[bytes]] = {}
    for j in (j for _, added, _ in found for j in added):
        texts = [f"{space}{writer.leaf(cell)}{space}" for cell in after[j].children]
        width = max(map(len, texts)) if padded else 0
        line = "-" * max(3, width - 2 * len(edge))
        out[j] = [f"{edge}{line}{edge}".encode(), *(t.ljust(width).encode() for t in texts)]
    return out


def _is_spaced(buffer: EditBuffer, cells: Sequence[Span]) -> bool:
    """Return whether a line has spaces beside its pipes."""
    raw = [buffer.data[cell.start : cell.end] for cell in cells]
    return any(text != text.strip() for text in raw)


def _edit_line(
    buffer: EditBuffer, cells: Sequence[Span], found: Sequence[Group], texts: dict[int, bytes]
) -> None:
    """Remove cells from a line and insert others, each with its own pipe."""
    for removed, added, _ in found:
        if removed and removed.start:
            buffer.replace(cells[removed.start - 1].end, cells[removed.stop - 1].end, b"")
        elif removed:
            buffer.replace(cells[0].start, cells[removed.stop].start, b"")
        fresh = [texts[j] for j in added]
        if fresh and removed.stop < len(cells):
            at = cells[removed.stop].start
            buffer.replace(at, at, b"".join(text + b"|" for text in fresh))
        elif fresh:
            at = cells[-1].end
            is_closed = buffer.data[at : at + 1] == b"|"
            text = b"".join(b"|" + text for text in fresh)
            space = b" " * (text[1:2] == b" ")
            buffer.replace(at, at, text if is_closed else space + text.rstrip())
