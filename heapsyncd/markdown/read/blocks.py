"""Read a text in one pass into blocks that know their source positions."""

import re
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

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
from heapsyncd.model import LineBreaks
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
"""The deepest nesting of containers. Anything deeper is read as its own source text."""
_CONTAINERS = frozenset({"List", "Item", "BlockQuote", "FootnoteDefinition"})
_FENCE = re.compile(rb"[ \t]*(?:`{3,}|~{3,})[ \t]*([^ \t\r\n]*)")
_END = {"End": "Paragraph"}


def read(
    body: str, links: Links, trace: Trace | None = None, line_breaks: LineBreaks = "space"
) -> Block:
    """Read a body as one piece, with source positions.

    Args:
        body: the text, without BOM and front matter.
        links: resolves names.
        trace: filled with what a patch needs, if given.
        line_breaks: what a line end inside a paragraph means.

    Returns:
        The tree. Every block has its ``span``, every run its ``pieces``, in bytes of
        ``body.encode()``.
    """
    text = normalise_lone_cr(body)
    source = Source(text.encode(), links, trace, line_breaks)
    return Reader(source, events(text)).read()


class Frame(Struct):
    """An open container: its parser name and data, its range, and the blocks read so far."""

    name: str
    data: Any
    start: int
    end: int
    children: list[Block] = field(default_factory=list)
    checked: bool | None = None


class Reader:
    """Reads all events once.

    Open containers are kept on an explicit stack, so depth is no limit.
    """

    def __init__(self, source: Source, found: Events) -> None:
        self._source = source
        self._events = found
        self._leaves = LeafReader(source, found)
        self._stack = [Frame("doc", None, 0, len(source.data))]
        self._quotes = 0

    def read(self) -> Block:
        """Read the whole document. Call it only once."""
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
        """Open a container or read a whole leaf. Returns the index to continue from."""
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
        """Open a container, or read it as literal text if it is nested too deep."""
        # A list needs one more level for its items.
        if len(self._stack) + (name == "List") > MAX_DEPTH:
            self._add_lines(lines_of(self._source.data, where), where)
            return closing(self._events, i) + 1
        self._quotes += name == "BlockQuote"
        # If the indentation holds a tab, the parser's range begins too early: in the tab or on the
        # line before.
        start = where["start"]
        raw, lead = self._source.data, b" \t\r\n" if name == "BlockQuote" else b" \t\r\n>"
        while start < len(raw) and raw[start] in lead:
            start += 1
        self._stack.append(Frame(name, data, start, where["end"]))
        return i + 1

    def _takes_task(self) -> bool:
        """Return whether a task marker here makes the open item a task.

        Only bullet lists have tasks.
        """
        return self._stack[-1].name == "Item" and self._stack[-2].data is None

    def _add(self, block: Block) -> None:
        self._stack[-1].children.append(block)

    def _close(self, frame: Frame) -> None:
        """Turn a closed container into a block of its parent."""
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
        """Read a footnote as a paragraph with a literal ``[^1]:``, then its other blocks."""
        colon = self._source.data.index(b"]:", frame.start) + 2
        label = Text(self._source.data[frame.start : colon].decode(), (), (_at(frame.start),))
        rest: tuple[Inline, ...] = ()
        end = colon
        if children and children[0].kind == "paragraph":
            first, children = children[0], children[1:]
            rest = (Text(" ", (), (_at(colon),)), *first.inline)
            if first.span is not None:
                end = first.span.end
                if self._source.trace is not None:
                    # The text may begin on the next line.
                    self._source.trace.piece_ends[colon] = first.span.start
        span = Span(frame.start, end)
        self._add(Block("paragraph", inline=inline((label, *rest)), span=span))
        self._stack[-1].children += children
        if self._source.trace is not None:
            self._source.trace.in_footnote.update(b.span.start for b in children if b.span)

    def _end(self, start: int, end: int) -> int:
        """Return the end of the last line in a range that is not blank."""
        return start + len(self._source.data[start:end].rstrip())

    def _span(self, where: Range) -> Span:
        """Return a range as a span without trailing blank lines."""
        return Span(where["start"], self._end(where["start"], where["end"]))

    # Leaves

    def _one_line_paragraph(self, i: int) -> int:
        """Read a paragraph that is one line of unmarked text.

        Returns 0 if it is not, else the next index.

        This shortcut covers most paragraphs.
        """
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
        """Read inline content from event ``i``.

        Returns it and the index of the event that ended it.
        """
        return self._leaves.read(i, quotes=self._quotes)

    def _paragraph(self, i: int, first: int) -> int:
        """Read inline events as a paragraph or as attached files.

        Args:
            i: index of the first inline event.
            first: index of the Paragraph event, or ``i`` in a tight item, where there is none.

        Returns:
            The index of the event that ended the content.
        """
        event, where = self._events[i]
        if type(event) is dict and "TaskListMarker" in event and self._takes_task():
            self._stack[-1].checked = event["TaskListMarker"]
            i += 1
        content, end = self._leaf(i)
        is_bare = first == i
        where = self._events[first][1]
        last = self._events[end - 1][1]["end"] if is_bare and end > i else where["end"]
        if content:
            # In a tight item the range excludes a backslash that escapes the first character.
            start = where["start"] - self._source.data.endswith(b"\\", 0, where["start"])
            span = Span(start, self._end(start, last))
            keys = file_keys(self._events, i, end, self._source.links)
            if keys:
                self._add(Block("files", attrs(keys="\n".join(keys)), span=span))
            else:
                self._add(Block("paragraph", inline=content, span=span))
        return max(end, i + 1) if is_bare else end

    def _heading(self, data: Any, where: Range, i: int) -> None:
        content, _ = self._leaves.read(i + 1, is_flat=True, quotes=self._quotes)
        level = attrs(level=int(data["level"][1:]))
        # After a task's box the heading's range begins too late.
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
        # An unclosed fence runs to the end of its container, including blank lines.
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
        """Add a paragraph of literal lines with breaks between them."""
        content = literal_lines(self._source.data, lines)
        if any(isinstance(x, Text) for x in content):
            self._add(Block("paragraph", inline=content, span=self._span(where)))


def _at(offset: int) -> Piece:
    return Piece(0, (), offset)


def _lists(number: int | None, items: tuple[Block, ...]) -> list[Block]:
    """Split one source list into lists of one kind each, because a document keeps tasks apart."""
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
