"""One pass over a text: a body, or a section of it, to blocks that know where they stand."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from heapsyncd.markdown.attached_files import file_keys
from heapsyncd.markdown.escaping import unescape
from heapsyncd.markdown.events import (
    OPAQUE_BLOCK,
    Events,
    Range,
    closing,
    events,
    normalise_lone_cr,
)
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.inline import LeafReader
from heapsyncd.markdown.read.literal import html_lines, lines_of, literal_lines, unmarked_run
from heapsyncd.markdown.read.tables import read_table
from heapsyncd.markdown.source import Source, Trace
from heapsyncd.tree import (
    DEEPEST,
    Attrs,
    Block,
    BlockType,
    Inline,
    Piece,
    Span,
    Text,
    attrs,
    inline,
    language,
)

MAX_DEPTH = DEEPEST
"""Containers inside containers; what lies deeper is read as the text it is written with."""
_CONTAINERS = frozenset({"List", "Item", "BlockQuote", "FootnoteDefinition"})
_FENCE = re.compile(rb"[ \t]*(?:`{3,}|~{3,})[ \t]*([^ \t\r\n]*)")
_END = {"End": "Paragraph"}


def read(body: str, links: Links, trace: Trace | None = None) -> Block:
    """Read a body as one piece: every block with its ``span``, every run with its ``pieces``, in
    bytes of ``body.encode()``; ``trace`` is filled for a patch.
    """
    text = normalise_lone_cr(body)
    source = Source(text.encode(), links, trace)
    return Reader(source, events(text)).read()


@dataclass(slots=True)
class Frame:
    """An open container."""

    name: str
    data: Any
    start: int
    end: int
    children: list[Block] = field(default_factory=list)
    checked: bool | None = None


class Reader:
    """One pass over the events, with the open containers on a stack of its own."""

    def __init__(self, source: Source, found: Events) -> None:
        self._source = source
        self._events = found
        self._leaves = LeafReader(source, found)
        self._stack = [Frame("doc", None, 0, len(source.data))]
        self._quotes = 0

    def read(self) -> Block:
        """The document; once."""
        i = 0
        while i < len(self._events):
            event, where = self._events[i]
            kind, value = (event, None) if type(event) is str else next(iter(event.items()))
            if kind == "Start":
                i = self._start(value, where, i)
            elif kind == "End":
                self._close(self._stack.pop())
                i += 1
            elif kind == "TaskListMarker" and self._takes_task():
                self._stack[-1].checked = value
                i += 1
            elif kind == "Rule":
                self._add(Block("rule", span=self._span(where)))
                i += 1
            else:
                i = self._paragraph(i, i)
        children = tuple(self._stack[0].children)
        return Block("doc", (), children, span=Span(0, len(self._source.data)))

    # Structure

    def _start(self, value: Any, where: Range, i: int) -> int:
        """Open a container, or read a whole leaf; the index to go on from."""
        name, data = (value, None) if type(value) is str else next(iter(value.items()))
        if name == "Paragraph":
            return self._one_line_paragraph(i) or self._paragraph(i + 1, i) + 1
        if name in _CONTAINERS:
            return self._open(name, data, where, i)
        if name in {"Emphasis", "Strong", "Strikethrough", "Link", "Image"}:
            return self._paragraph(i, i)
        if name == "Heading":
            self._heading(data, where, i)
        elif name == "CodeBlock":
            self._code(data, where, i)
        elif name == "HtmlBlock":
            self._html(where, i)
        elif name == "Table":
            self._table(where, i)
        else:
            self._add_lines(lines_of(self._source.data, where), where)
        return closing(self._events, i) + 1

    def _open(self, name: str, data: Any, where: Range, i: int) -> int:
        # A list is nothing without an item.
        if len(self._stack) + (name == "List") > MAX_DEPTH:
            self._add_lines(lines_of(self._source.data, where), where)
            return closing(self._events, i) + 1
        self._quotes += name == "BlockQuote"
        # With a tab in the indentation, ranges begin in it, or on the line before.
        start = where["start"]
        raw, lead = self._source.data, b" \t\r\n" if name == "BlockQuote" else b" \t\r\n>"
        while start < len(raw) and raw[start] in lead:
            start += 1
        self._stack.append(Frame(name, data, start, where["end"]))
        return i + 1

    def _takes_task(self) -> bool:
        """Whether a task marker here belongs to an item that can be a task."""
        return self._stack[-1].name == "Item" and self._stack[-2].data is None

    def _add(self, block: Block) -> None:
        self._stack[-1].children.append(block)

    def _close(self, frame: Frame) -> None:
        children = tuple(frame.children)
        if frame.name == "Item":
            last = children[-1].span if children else None
            end = last.end if last else self._end(frame.start, frame.end)
            known = () if frame.checked is None else attrs(checked=frame.checked)
            self._add(Block("item", known, children, span=Span(frame.start, end)))
        elif frame.name == "List":
            self._stack[-1].children += _lists(frame.data, children)
        elif frame.name == "BlockQuote":
            self._quotes -= 1
            span = Span(frame.start, self._end(frame.start, frame.end))
            self._add(Block("quote", (), children, span=span))
        else:
            self._footnote(frame, children)

    def _footnote(self, frame: Frame, children: tuple[Block, ...]) -> None:
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
        self._stack[-1].children += children
        if self._source.trace is not None:
            self._source.trace.in_footnote.update(b.span.start for b in children if b.span)

    def _end(self, start: int, end: int) -> int:
        """The end of the last line that holds anything."""
        return start + len(self._source.data[start:end].rstrip())

    def _span(self, where: Range) -> Span:
        return Span(where["start"], self._end(where["start"], where["end"]))

    # Leaves

    def _one_line_paragraph(self, i: int) -> int:
        """The short way for a paragraph that is one line of bare text; 0 when it is not."""
        event, where = self._events[i + 1]
        if type(event) is not dict or "Text" not in event or self._events[i + 2][0] != _END:
            return 0
        text, start, end = event["Text"], where["start"], where["end"]
        if "\0" in text or self._source.data[start:end] != text.encode():
            return 0
        content = unmarked_run(text, (_at(start),))
        if content:
            self._add(Block("paragraph", inline=content, span=self._span(self._events[i][1])))
        return i + 3

    def _leaf(self, i: int) -> tuple[tuple[Inline, ...], int]:
        return self._leaves.read(i, quotes=self._quotes)

    def _paragraph(self, i: int, first: int) -> int:
        """Inline events from ``i`` on, inside a Paragraph or bare in a tight item."""
        event, where = self._events[i]
        if type(event) is dict and "TaskListMarker" in event and self._takes_task():
            self._stack[-1].checked = event["TaskListMarker"]
            i += 1
        content, end = self._leaf(i)
        is_bare = first == i
        where = self._events[first][1]
        last = self._events[end - 1][1]["end"] if is_bare and end > i else where["end"]
        if content:
            # In a tight item the text begins behind the backslash that escapes it.
            start = where["start"] - self._source.data.endswith(b"\\", 0, where["start"])
            span = Span(start, self._end(start, last))
            keys = file_keys(self._events, i, end, self._source.links)
            if keys:
                self._add(Block("files", attrs(keys="\n".join(keys)), span=span))
            else:
                self._add(Block("paragraph", inline=content, span=span))
        return max(end, i + 1) if is_bare else end

    def _heading(self, data: Any, where: Range, i: int) -> None:
        content, _ = self._leaf(i + 1)
        level = attrs(level=int(data["level"][1:]))
        # Behind a box the range begins too late.
        start = min(where["start"], self._events[i + 1][1]["start"])
        span = Span(start, self._span(where).end)
        self._add(Block("heading", level, inline=content, span=span))

    def _code(self, data: Any, where: Range, i: int) -> None:
        end = closing(self._events, i)
        text = "".join(e["Text"] for e, _ in self._events[i + 1 : end])
        text = text.replace("\r\n", "\n").replace("\0", "").removesuffix("\n")
        info = ""
        if data == "Indented":
            if self._source.trace is not None:
                self._source.trace.indented_code.add(where["start"])
        else:
            match = _FENCE.match(self._source.data, where["start"])
            info = language(unescape(match[1].decode())) if match else ""
        stop = where["end"]
        # An open fence runs to the end of its container: blank lines there are code.
        stop -= self._source.data.endswith(b"\n", 0, stop)
        stop -= self._source.data.endswith(b"\r", 0, stop)
        span = Span(where["start"], max(stop, where["start"]))
        self._add(Block("code", attrs(info=info), text=text, span=span))

    def _html(self, where: Range, i: int) -> None:
        span = self._span(where)
        opaque = OPAQUE_BLOCK.fullmatch(self._source.data[span.start : span.end].decode())
        if opaque:
            self._add(Block("opaque", attrs(label=opaque[1], digest=opaque[2]), span=span))
        else:
            end = closing(self._events, i)
            self._add_lines(html_lines(self._events[i + 1 : end]), where)

    def _table(self, where: Range, i: int) -> None:
        table = read_table(self._source, self._events, i, self._leaves, self._quotes)
        if table is not None:
            self._add(table)
        else:
            self._add_lines(lines_of(self._source.data, where), where)

    def _add_lines(self, lines: list[Range], where: Range) -> None:
        """A paragraph of literal lines with breaks between them."""
        content = literal_lines(self._source.data, lines)
        if any(isinstance(x, Text) for x in content):
            self._add(Block("paragraph", inline=content, span=self._span(where)))


def _at(offset: int) -> Piece:
    return Piece(0, (), offset)


def _lists(number: int | None, items: tuple[Block, ...]) -> list[Block]:
    """One source list as the lists a document can hold: tasks and plain items apart."""
    if number is not None:
        plain = [replace(item, attrs=()) if item.attrs else item for item in items]
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
    span = Span(first.start, last.end) if first and last else None
    return Block(kind, known, tuple(items), span=span)
