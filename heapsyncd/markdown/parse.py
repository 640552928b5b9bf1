"""A body to its tree: ``P``."""

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from heapsyncd.markdown.escape import unescape
from heapsyncd.markdown.events import (
    OPAQUE_BLOCK,
    Event,
    Events,
    Range,
    closing,
    events,
    newlines,
)
from heapsyncd.markdown.leaf import LeafReader, Source, Trace
from heapsyncd.tree import (
    Atom,
    Attrs,
    Block,
    BlockType,
    Inline,
    Piece,
    Scalar,
    Span,
    Text,
    attrs,
    inline,
)

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

MAX_DEPTH = 100
"""Containers inside containers; what lies deeper is read as the text it is written with."""
MAX_CELLS = 100_000
"""Cells of one table, padding included; a larger table is read as text."""
FILE_KEY = re.compile(r"[0-9a-f]{64}(?::\d+)?")
_LEVELS = {"H1": 1, "H2": 2, "H3": 3, "H4": 4, "H5": 5, "H6": 6}
_FENCE = re.compile(rb"[ \t]*(?:`{3,}|~{3,})[ \t]*([^ \t\r\n]*)")


def parse(body: str, links: "Links") -> Block:
    """Read a body (front matter and BOM already off).

    Every block has its ``span`` and every run its ``pieces``, in bytes of ``body.encode()``. Never
    fails: all text is some markdown.
    """
    return read(body, links)


def read(body: str, links: "Links", trace: Trace | None = None) -> Block:
    """``parse``, also filling ``trace`` for a patch."""
    text = newlines(body)
    source = Source(text.encode(), links, trace)
    return _Reader(source, events(text)).read()


@dataclass(slots=True)
class _Frame:
    """An open container."""

    name: str
    data: Any
    start: int
    end: int
    children: list[Block] = field(default_factory=list)
    checked: bool | None = None


class _Reader:
    """One pass over the events with the open containers on a stack of its own."""

    def __init__(self, source: Source, found: Events) -> None:
        self._source = source
        self._events = found
        self._stack = [_Frame("doc", None, 0, len(source.data))]
        self._quotes = 0

    def read(self) -> Block:
        i, n = 0, len(self._events)
        while i < n:
            event, where = self._events[i]
            if type(event) is dict:
                for kind, value in event.items():  # noqa: B007 - the one pair of the dict
                    break
                if kind == "Start":
                    i = self._start(value, where, i)
                    continue
                if kind == "End":
                    self._close(self._stack.pop())
                    i += 1
                    continue
                if kind == "TaskListMarker" and self._takes_task():
                    self._stack[-1].checked = value
                    i += 1
                    continue
            elif event == "Rule":
                self._add(Block("rule", span=self._span(where)))
                i += 1
                continue
            i = self._paragraph(i, i)
        children = tuple(self._stack[0].children)
        return Block("doc", (), children, span=Span(0, len(self._source.data)))

    # Structure

    def _start(self, value: Any, where: Range, i: int) -> int:
        if type(value) is str:
            name, data = value, None
        else:
            for name, data in value.items():  # noqa: B007 - the one pair of the dict
                break
        if name == "Paragraph":
            return self._paragraph(i + 1, i) + 1
        if name == "Heading":
            return self._heading(data, where, i)
        if name == "CodeBlock":
            return self._code(data, where, i)
        if name == "HtmlBlock":
            return self._html(where, i)
        if name == "Table":
            return self._table(where, i)
        if name not in {"List", "Item", "BlockQuote", "FootnoteDefinition"}:
            return self._paragraph(i, i)
        if len(self._stack) > MAX_DEPTH:
            self._add_lines(_lines(self._source.data, where), where)
            return closing(self._events, i) + 1
        self._quotes += name == "BlockQuote"
        self._stack.append(_Frame(name, data, where["start"], where["end"]))
        return i + 1

    def _takes_task(self) -> bool:
        """Whether a task marker here belongs to an item that can be a task."""
        return self._stack[-1].name == "Item" and self._stack[-2].data is None

    def _add(self, block: Block) -> None:
        self._stack[-1].children.append(block)

    def _close(self, frame: _Frame) -> None:
        children = tuple(frame.children)
        if frame.name == "Item":
            last = children[-1].span if children else None
            end = last.end if last else self._end(frame.start, frame.end)
            known = () if frame.checked is None else attrs(checked=frame.checked)
            self._add(Block("item", known, children, span=Span(frame.start, end)))
        elif frame.name == "List":
            for block in _lists(frame.data, children):
                self._add(block)
        elif frame.name == "BlockQuote":
            self._quotes -= 1
            span = Span(frame.start, self._end(frame.start, frame.end))
            self._add(Block("quote", (), children, span=span))
        else:
            self._footnote(frame, children)

    def _footnote(self, frame: _Frame, children: tuple[Block, ...]) -> None:
        """A footnote is its text behind the literal ``[^1]:``, and its other blocks after it."""
        colon = self._source.data.index(b"]:", frame.start) + 2
        label = Text(self._source.data[frame.start : colon].decode(), (), (_at(frame.start),))
        rest: tuple[Inline, ...] = ()
        end = colon
        if children and children[0].kind == "paragraph":
            first, children = children[0], children[1:]
            rest = (Text(" ", (), (_at(colon),)), *first.inline)
            end = first.span.end if first.span else end
        span = Span(frame.start, end)
        self._add(Block("paragraph", inline=inline((label, *rest)), span=span))
        for child in children:
            self._add(child)

    def _end(self, start: int, end: int) -> int:
        """The end of the last line that holds anything."""
        return start + len(self._source.data[start:end].rstrip())

    def _span(self, where: Range) -> Span:
        return Span(where["start"], self._end(where["start"], where["end"]))

    # Leaves

    def _leaf(self, i: int, *, in_table: bool = False) -> tuple[tuple[Inline, ...], int]:
        reader = LeafReader(self._source, self._events, in_table=in_table, quotes=self._quotes)
        return reader.read(i)

    def _paragraph(self, i: int, first: int) -> int:
        """Inline events from ``i`` on, inside a Paragraph or bare in a tight item."""
        event, where = self._events[i]
        if type(event) is dict and "TaskListMarker" in event and self._takes_task():
            self._stack[-1].checked = event["TaskListMarker"]
            i += 1
        content, end = self._leaf(i)
        bare = first == i
        where = self._events[first][1]
        last = self._events[end - 1][1]["end"] if bare and end > i else where["end"]
        if content:
            span = Span(where["start"], self._end(where["start"], last))
            keys = self._file_keys(i, end)
            if keys:
                self._add(Block("files", attrs(keys="\n".join(keys)), span=span))
            else:
                self._add(Block("paragraph", inline=content, span=span))
        return max(end, i + 1) if bare else end

    def _heading(self, data: Any, where: Range, i: int) -> int:
        content, end = self._leaf(i + 1)
        level = attrs(level=_LEVELS[data["level"]])
        self._add(Block("heading", level, inline=content, span=self._span(where)))
        return end + 1

    def _code(self, data: Any, where: Range, i: int) -> int:
        end = closing(self._events, i)
        text = "".join(e["Text"] for e, _ in self._events[i + 1 : end])
        text = text.replace("\r\n", "\n").replace("\0", "").removesuffix("\n")
        info = ""
        if data != "Indented":
            match = _FENCE.match(self._source.data, where["start"])
            info = unescape(match[1].decode()) if match else ""
        stop = where["end"]
        # An open fence runs to the end of its container: blank lines there are code.
        stop -= self._source.data[:stop].endswith(b"\n")
        stop -= self._source.data[:stop].endswith(b"\r")
        span = Span(where["start"], max(stop, where["start"]))
        self._add(Block("code", attrs(info=info), text=text, span=span))
        return end + 1

    def _html(self, where: Range, i: int) -> int:
        end = closing(self._events, i)
        span = self._span(where)
        opaque = OPAQUE_BLOCK.fullmatch(self._source.data[span.start : span.end].decode())
        if opaque:
            self._add(Block("opaque", attrs(label=opaque[1], digest=opaque[2]), span=span))
        else:
            self._add_lines([r for _, r in self._events[i + 1 : end]], where)
        return end + 1

    def _add_lines(self, lines: list[Range], where: Range) -> None:
        """A paragraph of literal lines with breaks between them."""
        items: list[Inline] = []
        end = 0
        for k, line in enumerate(lines):
            start = line["start"]
            raw = self._source.data[start : line["end"]].rstrip()
            if k:
                items.append(Atom("break", span=Span(end, start)))
            end = start + len(raw)
            if raw:
                items.append(Text(raw.decode().replace("\0", ""), (), (_at(start),)))
        content = inline(items)
        if any(isinstance(x, Text) for x in content):
            self._add(Block("paragraph", inline=content, span=self._span(where)))

    def _file_keys(self, i: int, end: int) -> list[str]:
        """The keys when the paragraph is nothing but attached files, one a line."""
        keys: list[str] = []
        while i < end:
            event = self._events[i][0]
            key = self._file_key(event)
            if key is None:
                return []
            keys.append(key)
            i = closing(self._events, i) + 1
            if i < end:
                if self._events[i][0] not in ("SoftBreak", "HardBreak"):
                    return []
                i += 1
        return keys

    def _file_key(self, event: Event) -> str | None:
        image = event["Start"] if type(event) is dict and "Start" in event else None
        if type(image) is not dict or "Image" not in image:
            return None
        target, kind = image["Image"]["dest_url"], image["Image"]["link_type"]
        if type(kind) is dict:
            name = target.rsplit("/", 1)[-1].removesuffix("\\")
            return name if FILE_KEY.fullmatch(name) else self._source.links.file_key(name)
        if kind != "Inline" or "://" in target:
            return None
        return self._source.links.file_key(unquote(target.rsplit("/", 1)[-1]))

    # Tables

    def _table(self, where: Range, i: int) -> int:
        rows: list[list[Block]] = []
        spans: list[Span] = []
        end = closing(self._events, i)
        i += 1
        while i < end:
            row = self._events[i][1]
            last = closing(self._events, i)
            cells = self._cells(i + 1, last)
            cells += self._excess(row, cells)
            rows.append(cells)
            spans.append(self._span(row))
            i = last + 1
        columns = max(map(len, rows))
        if columns * len(rows) > MAX_CELLS:
            self._add_lines(_lines(self._source.data, where), where)
            return end + 1
        blocks = [
            Block("row", (), (*cells, *[_CELL] * (columns - len(cells))), span=span)
            for cells, span in zip(rows, spans, strict=True)
        ]
        self._add(Block("table", (), tuple(blocks), span=self._span(where)))
        return end + 1

    def _cells(self, i: int, end: int) -> list[Block]:
        cells: list[Block] = []
        while i < end:
            where = self._events[i][1]
            content, stop = self._leaf(i + 1, in_table=True)
            span = Span(where["start"], where["end"])
            cells.append(Block("cell", inline=content, span=span))
            i = stop + 1
        return cells

    def _excess(self, row: Range, cells: list[Block]) -> list[Block]:
        """The cells beyond the table's columns, which the parser leaves out."""
        start = cells[-1].span.end if cells and cells[-1].span else row["start"]
        rest = self._source.data[start : row["end"]].rstrip()
        if not rest.strip(b"| \t"):
            return []
        more: list[Block] = []
        for match in re.finditer(rb"\|((?:\\.|[^|\\])*)", rest):
            if match[1].strip() or match.end() < len(rest):
                more.append(self._lone_cell(start + match.start(1), start + match.end(1)))
        return more

    def _lone_cell(self, start: int, end: int) -> Block:
        """One cell read on its own, as if it stood in a table of one column."""
        head = "|x|\n|-|\n|"
        text = self._source.data[start:end].decode()
        moved = start - len(head)
        found = [
            (e, {"start": r["start"] + moved, "end": r["end"] + moved})
            for e, r in events(f"{head}{text}|")
        ]
        starts = [k for k, (e, _) in enumerate(found) if e == {"Start": "TableCell"}]
        reader = LeafReader(self._source, found, in_table=True, quotes=self._quotes)
        content, _ = reader.read(starts[1] + 1)
        return Block("cell", inline=content, span=Span(start, end))


_CELL = Block("cell")


def _at(offset: int) -> Piece:
    return Piece(0, (), offset)


def _lines(data: bytes, where: Range) -> list[Range]:
    """The lines of a range."""
    lines: list[Range] = []
    start = where["start"]
    while start < where["end"]:
        stop = data.find(b"\n", start, where["end"]) + 1 or where["end"]
        lines.append({"start": start, "end": stop})
        start = stop
    return lines


def _lists(number: int | None, items: tuple[Block, ...]) -> list[Block]:
    """One source list as the lists a document can hold: tasks and plain items apart."""
    if number is not None:
        plain = [replace(item, attrs=()) for item in items]
        return [_list("ordered_list", attrs(start=number), plain)]
    found: list[Block] = []
    run: list[Block] = []
    for item in items:
        if run and bool(run[0].attrs) != bool(item.attrs):
            found.append(_list("todo_list" if run[0].attrs else "bullet_list", (), run))
            run = []
        run.append(item)
    return [*found, _list("todo_list" if run[0].attrs else "bullet_list", (), run)]


def _list(kind: BlockType, known: Attrs, items: list[Block]) -> Block:
    first, last = items[0].span, items[-1].span
    assert first is not None
    assert last is not None
    return Block(kind, known, tuple(items), span=Span(first.start, last.end))


__all__ = ["FILE_KEY", "MAX_DEPTH", "Scalar", "parse", "read"]
