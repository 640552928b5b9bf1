"""Read tables, including the cells that the parser drops."""

import re

from heapsyncd.markdown.events import Events, Range, closing, events
from heapsyncd.markdown.read.inline import LeafReader
from heapsyncd.markdown.source import Source
from heapsyncd.tree import MOST_EMPTY_CELLS, Block, Span

_CELL = Block("cell")
_HEAD = "|x|\n|-|\n|"


def read_table(
    source: Source, found: Events, i: int, reader: LeafReader, quotes: int
) -> Block | None:
    """Read the table that starts at ``i``.

    Args:
        source: the text.
        found: all events.
        i: index of the table's Start event.
        reader: reads the cells' content.
        quotes: number of enclosing block quotes.

    Returns:
        The table, with rows filled up to equal length; None if it has more than
        ``MOST_EMPTY_CELLS`` empty cells, to be read as literal text.
    """
    rows: list[list[Block]] = []
    spans: list[Span] = []
    end, k = closing(found, i), i + 1
    if _parser_gave_up(found[k:end]):
        return None
    while k < end:
        last = closing(found, k)
        row = found[k][1]
        cells = _cells(found, k + 1, last, reader, quotes)
        rows.append(cells + _excess_cells(source, row, cells, quotes))
        spans.append(_trimmed(source, row))
        k = last + 1
    columns = max(map(len, rows))
    fill_empty_items = sum(1 for row in rows for cell in row if cell.inline)
    if columns * len(rows) - fill_empty_items > MOST_EMPTY_CELLS:
        return None
    blocks = [
        Block("row", (), (*cells, *[_CELL] * (columns - len(cells))), span=span)
        for cells, span in zip(rows, spans, strict=True)
    ]
    return Block("table", (), tuple(blocks), span=_trimmed(source, found[i][1]))


def _parser_gave_up(inside: Events) -> bool:
    """Return whether the events show too many empty cells.

    The parser fills rows up itself. At its own limit it stops and goes on with a paragraph.
    """
    empty = sum(1 for e, r in inside if e == {"Start": "TableCell"} and r["start"] >= r["end"])
    return empty > MOST_EMPTY_CELLS or {"Start": "Paragraph"} in (e for e, _ in inside)


def _trimmed(source: Source, where: Range) -> Span:
    """Return a range without trailing whitespace."""
    start = where["start"]
    return Span(start, start + len(source.data[start : where["end"]].rstrip()))


def _cells(found: Events, i: int, end: int, reader: LeafReader, quotes: int) -> list[Block]:
    """Read the cells of one row that the parser reports."""
    cells: list[Block] = []
    while i < end:
        where = found[i][1]
        content, stop = reader.read(i + 1, in_table=True, quotes=quotes)
        cells.append(Block("cell", inline=content, span=Span(where["start"], where["end"])))
        i = stop + 1
    return cells


def _excess_cells(source: Source, row: Range, cells: list[Block], quotes: int) -> list[Block]:
    """Read the cells beyond the header's columns, which the parser drops."""
    last = cells[-1].span if cells else None
    start = last.end if last else row["start"]
    rest = source.data[start : row["end"]].rstrip()
    if not rest.strip(b"| \t"):
        return []
    return [
        _lone_cell(source, start + match.start(1), start + match.end(1), quotes)
        for match in re.finditer(rb"\|((?:\\.|[^|\\])*)", rest)
        if match[1].strip() or match.end() < len(rest)
    ]


def _lone_cell(source: Source, start: int, end: int, quotes: int) -> Block:
    """Read one cell as if it stood in a table of one column."""
    moved = start - len(_HEAD)
    found = [
        (e, {"start": r["start"] + moved, "end": r["end"] + moved})
        for e, r in events(f"{_HEAD}{source.data[start:end].decode()}|")
    ]
    first = [k for k, (e, _) in enumerate(found) if e == {"Start": "TableCell"}][1]
    content, _ = LeafReader(source, found).read(first + 1, in_table=True, quotes=quotes)
    return Block("cell", inline=content, span=Span(start, end))
