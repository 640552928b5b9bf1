"""The inline content of one block: events to runs and atoms, each knowing its bytes.

What the tree has no word for is read as the text it is written with (inline HTML, footnote
references, unknown wikilinks, links around something that is no text): nothing is lost.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heapsyncd.ids import is_ulid
from heapsyncd.markdown.events import (
    BREAK_TAG,
    OPAQUE_INLINE,
    SEPARATOR,
    Events,
    Range,
    closing,
    start_of,
)
from heapsyncd.tree import Atom, Inline, Mark, Marks, Piece, Span, Text, attrs, inline, marks

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

_MARKS = {"Emphasis": Mark("italic"), "Strong": Mark("bold"), "Strikethrough": Mark("strike")}
_UNDERLINE = Mark("underline")
_CODE = Mark("code")


@dataclass(frozen=True, slots=True)
class Wrap:
    """A mark's whole range in the source, delimiters included, and what is inside them."""

    outer: Span
    inner: Span
    mark: Mark


@dataclass(slots=True)
class Trace:
    """What a patch needs beyond the tree: ends of odd pieces by their offset, ranges of marks."""

    ends: dict[int, int] = field(default_factory=dict)
    wraps: list[Wrap] = field(default_factory=list)


@dataclass(slots=True)
class Source:
    """The text being read, as bytes, and how its names resolve."""

    data: bytes
    links: "Links"
    trace: Trace | None = None


class LeafReader:
    """Reads inline events from an index on, until a block opens or closes.

    Args:
        source: the text.
        events: its events (or those of a part, ranges moved).
        in_table: ``\\|`` is a pipe here.
        quotes: how many block quotes are around, whose markers may start a literal's next line.
    """

    def __init__(
        self, source: Source, events: Events, *, in_table: bool = False, quotes: int = 0
    ) -> None:
        self._source = source
        self._events = events
        self._in_table = in_table
        self._quotes = quotes
        self._items: list[Inline] = []
        self._marks: Marks = ()
        self._words: list[str] = []
        self._pieces: list[Piece] = []
        self._length = 0
        self._next = -1
        """Where the next byte continues the last piece; -1 when nothing can."""
        self._underlines: dict[int, bool] | None = None
        self._open: list[tuple[Marks, Range]] = []

    def read(self, i: int) -> tuple[tuple[Inline, ...], int]:
        """The content in canonical form, and the index of the event that ended it."""
        start = i
        while True:
            event, where = self._events[i]
            if type(event) is str:
                if event == "SoftBreak":
                    self._odd(" ", where["start"], where["end"])
                elif event == "HardBreak":
                    self._atom("break", where)
                else:
                    break
                i += 1
                continue
            for kind, value in event.items():  # noqa: B007 - the one pair of the dict
                break
            if kind == "Text":
                self._text(value, where["start"], where["end"])
            elif kind == "Code":
                self._code(value, where)
            elif kind == "Start":
                after = self._start(value, where, i)
                if after is None:
                    break
                i = after
                continue
            elif kind == "End":
                if not self._end(value):
                    break
            elif kind == "InlineHtml":
                self._html(value, where, i, start)
            elif kind == "TaskListMarker":
                # Only where the list has no tasks: the caller takes those of task lists itself.
                blank = self._source.data[where["end"] : where["end"] + 1] in {b" ", b"\t"}
                self._literal(where["start"], where["end"] + blank)
            else:
                self._literal(where["start"], where["end"])
            i += 1
        return self._finish(), i

    def _finish(self) -> tuple[Inline, ...]:
        if not self._items and not self._marks and self._words:
            # The common case by far: one run of bare text.
            text = "".join(self._words)
            run = Text(text, (), tuple(self._pieces))
            left = len(text) - len(text.lstrip(" \t\f\v"))
            right = len(text.rstrip(" \t\f\v"))
            if (left, right) == (0, len(text)):
                return (run,)
            return (run.cut(left, right),) if left < right else ()
        self._flush()
        return inline(self._items)

    # Text

    def _flush(self) -> None:
        if self._words:
            self._items.append(Text("".join(self._words), self._marks, tuple(self._pieces)))
            self._words, self._pieces, self._length = [], [], 0
        self._next = -1

    def _text(self, text: str, start: int, end: int) -> None:
        """Text that stands literally in the source, or else one odd piece."""
        if self._source.data[start:end] != text.encode():
            self._odd(text, start, end)
        elif "\0" in text:
            for part in text.split("\0"):
                self._plain(part, start)
                start += len(part.encode()) + 1
        else:
            self._plain(text, start)

    def _plain(self, text: str, start: int) -> None:
        if not text:
            return
        if start != self._next:
            self._pieces.append(Piece(self._length, (), start))
        self._words.append(text)
        self._length += len(text)
        self._next = start + (len(text) if text.isascii() else len(text.encode()))

    def _odd(self, text: str, start: int, end: int) -> None:
        """Text written otherwise than it reads. A newline (an entity can say it) is a break."""
        for k, part in enumerate(text.replace("\r", "\n").split("\n")):
            if k:
                self._atom("break", {"start": start, "end": end})
            clean = part.replace("\0", "")
            if clean:
                self._pieces.append(Piece(self._length, (), start))
                self._words.append(clean)
                self._length += len(clean)
                self._next = -1
                if self._source.trace is not None:
                    self._source.trace.ends[start] = end

    def _literal(self, start: int, end: int) -> None:
        """The source itself as text; a line end with the next line's prefix reads as a space."""
        data = self._source.data
        while start < end:
            newline = data.find(b"\n", start, end)
            stop = end if newline < 0 else newline
            line_end = stop - 1 if newline >= 0 and data[stop - 1 : stop] == b"\r" else stop
            self._literal_line(start, line_end)
            if newline < 0:
                return
            start = self._after_prefix(newline + 1, end)
            self._odd(" ", line_end, start)

    def _literal_line(self, start: int, end: int) -> None:
        data = self._source.data
        while self._in_table and (pipe := data.find(b"\\|", start, end)) >= 0:
            self._text(data[start:pipe].decode(), start, pipe)
            start = pipe + 1
        self._text(data[start:end].decode(), start, end)

    def _after_prefix(self, at: int, end: int) -> int:
        """Past the indentation and the quote markers of a paragraph's next line."""
        quotes = self._quotes
        while at < end:
            byte = self._source.data[at : at + 1]
            if byte == b">" and quotes:
                quotes -= 1
            elif byte not in {b" ", b"\t"}:
                break
            at += 1
        return at

    def _code(self, text: str, where: Range) -> None:
        before = self._marks
        self._flush()
        self._marks = marks(*before, _CODE)
        whole = self._source.data[where["start"] : where["end"]]
        ticks = len(whole) - len(whole.lstrip(b"`"))
        inner, raw = whole[ticks:-ticks], text.encode()
        if inner == raw:
            self._text(text, where["start"] + ticks, where["end"] - ticks)
        elif inner[1:-1] == raw:
            self._text(text, where["start"] + ticks + 1, where["end"] - ticks - 1)
        else:
            self._odd(text.replace("\n", " "), where["start"], where["end"])
        self._flush()
        self._marks = before
        self._wrap(where, ticks, ticks, _CODE)

    # Atoms and marks

    def _atom(self, kind: Any, where: Range, **values: str | None) -> None:
        self._flush()
        span = Span(where["start"], where["end"])
        self._items.append(Atom(kind, attrs(**values), span=span))

    def _wrap(self, where: Range, before: int, after: int, mark: Mark) -> None:
        if self._source.trace is not None:
            outer = Span(where["start"], where["end"])
            inner = Span(outer.start + before, outer.end - after)
            self._source.trace.wraps.append(Wrap(outer, inner, mark))

    def _start(self, value: Any, where: Range, i: int) -> int | None:
        """Open a mark or read a whole atom; the next index, None where a block begins."""
        if type(value) is str:
            mark = _MARKS.get(value)
            if mark is None:
                return None
            width = 1
            if value == "Strong" or self._source.data[where["start"] :].startswith(b"~~"):
                width = 2
            self._wrap(where, width, width, mark)
            self._push(mark, where)
            return i + 1
        for kind, data in value.items():  # noqa: B007 - the one pair of the dict
            break
        if kind not in {"Link", "Image"}:
            return None
        if self._is_literal(i):
            self._literal(where["start"], where["end"])
            return closing(self._events, i) + 1
        if type(data["link_type"]) is dict:
            return self._mention(data, where, i)
        if kind == "Image":
            return self._image(data, where, i)
        email = "mailto:" if data["link_type"] == "Email" else ""
        mark = Mark("link", email + data["dest_url"], data["title"])
        last = self._events[closing(self._events, i) - 1][1]["end"]
        self._wrap(where, 1, where["end"] - last, mark)
        self._push(mark, where)
        return i + 1

    def _push(self, mark: Mark, where: Range) -> None:
        self._flush()
        self._open.append((self._marks, where))
        # Of two links only the outer one can be: CommonMark has no link in a link.
        self._marks = marks(*self._marks, mark)

    def _end(self, value: Any) -> bool:
        if not self._open or type(value) is not str:
            return False
        self._flush()
        before, _ = self._open.pop()
        underlined = _UNDERLINE in self._marks
        self._marks = tuple(m for m in before if m != _UNDERLINE)
        if underlined:
            self._marks = marks(*self._marks, _UNDERLINE)
        return True

    def _is_literal(self, i: int) -> bool:
        """Whether the link or image at ``i`` says more than the tree can."""
        found = start_of(self._events[i][0])
        assert found is not None
        kind, data = found
        end = closing(self._events, i)
        inner = self._events[i + 1 : end]
        if type(data["link_type"]) is dict:
            return kind == "Image" or self._target(data) is None or self._label(i, end) is None
        if kind == "Link" and not any(_has_text(e) for e, _ in inner):
            return True
        first = inner[0][1]["start"] if inner else self._events[i][1]["end"]
        opened = self._events[i][1]["start"] + (1 if kind == "Link" else 2)
        if inner and self._source.data[opened:first] not in {b"", b"\\", b"\\\\"}:
            # pulldown-cmark drops the words of a wikilink in an image's text.
            return True
        return any(_is_no_text(e, in_image=kind == "Image") for e, _ in inner)

    def _image(self, data: dict[str, Any], where: Range, i: int) -> int:
        end = closing(self._events, i)
        words = []
        for event, _ in self._events[i + 1 : end]:
            if type(event) is str:
                words.append(" ")
            else:
                words.append(event.get("Text") or event.get("Code") or "")
        alt = "".join(words).replace("\0", "")
        self._atom("image", where, src=data["dest_url"], alt=alt, title=data["title"])
        return end + 1

    def _target(self, data: dict[str, Any]) -> str | None:
        """The block that a wikilink means."""
        name = data["dest_url"]
        if data["link_type"]["WikiLink"]["has_pothole"]:
            # Inside a table the pipe is escaped, and the backslash comes with the name.
            name = name.removesuffix("\\")
        if is_ulid(name):
            return str(name)
        return None if "\n" in name else self._source.links.block_of(name)

    def _label(self, i: int, end: int) -> str | None:
        """A wikilink's label as text: what it reads, or its source where that has markup."""
        words: list[str] = []
        for event, where in self._events[i + 1 : end]:
            if event == "SoftBreak":
                words.append(" ")
            elif type(event) is dict and "Text" in event:
                words.append(event["Text"])
            else:
                first = self._events[i + 1][1]["start"]
                last = self._events[end][1]["end"] - 2
                raw = self._source.data[first:last].decode()
                assert where["start"] >= first
                return None if "\n" in raw else raw.replace("\\|", "|")
        return "".join(words).replace("\0", "")

    def _mention(self, data: dict[str, Any], where: Range, i: int) -> int:
        end = closing(self._events, i)
        has_label = data["link_type"]["WikiLink"]["has_pothole"]
        label = self._label(i, end) if has_label else None
        self._atom("mention", where, id=self._target(data), label=label)
        return end + 1

    # HTML

    def _html(self, html: str, where: Range, i: int, start: int) -> None:
        if BREAK_TAG.fullmatch(html):
            self._atom("break", where)
        elif opaque := OPAQUE_INLINE.fullmatch(html):
            self._atom("opaque", where, label=opaque[1], digest=opaque[2])
        elif html == SEPARATOR:
            self._next = -1
        elif html in {"<u>", "</u>"} and self._is_paired(i, start):
            self._flush()
            bare = tuple(m for m in self._marks if m != _UNDERLINE)
            still = self._underlines is not None and self._underlines[i]
            self._marks = marks(*bare, _UNDERLINE) if still else bare
        else:
            self._literal(where["start"], where["end"])

    def _is_paired(self, i: int, start: int) -> bool:
        if self._underlines is None:
            self._underlines = self._pair_underlines(start)
        return i in self._underlines

    def _pair_underlines(self, i: int) -> dict[int, bool]:
        """Indexes of the tags that belong together; True where text after it is underlined."""
        paired: dict[int, bool] = {}
        waiting: list[int] = []
        depth = 0
        while i < len(self._events):
            event, where = self._events[i]
            started = start_of(event)
            if started is not None:
                if started[0] in {"Link", "Image"}:
                    is_wiki = type(started[1]["link_type"]) is dict
                    if started[0] == "Image" or is_wiki or self._is_literal(i):
                        i = closing(self._events, i)
                    else:
                        depth += 1
                elif started[0] in _MARKS:
                    depth += 1
                else:
                    break
            elif type(event) is dict and "End" in event:
                if depth == 0:
                    break
                depth -= 1
            elif event == {"InlineHtml": "<u>"}:
                waiting.append(i)
            elif event == {"InlineHtml": "</u>"} and waiting:
                first = waiting.pop()
                paired[first], paired[i] = True, False
                begin = self._events[first][1]["start"]
                self._wrap({"start": begin, "end": where["end"]}, 3, 4, _UNDERLINE)
            i += 1
        open_tags = 0
        for k in sorted(paired):
            open_tags += 1 if paired[k] else -1
            paired[k] = open_tags > 0
        return paired


def _has_text(event: Any) -> bool:
    return type(event) is dict and bool(
        event.get("Code") or str(event.get("Text") or "").strip(" \t\n\r\f\v\0")
    )


def _is_no_text(event: Any, *, in_image: bool) -> bool:
    """Whether an event inside a link (or image) is something that a mark can't lie on."""
    started = start_of(event)
    if started is not None:
        return started[0] in {"Link", "Image"}
    if type(event) is not dict or "Text" in event:
        return False
    if in_image:
        return "InlineHtml" in event or "FootnoteReference" in event
    return bool(OPAQUE_INLINE.fullmatch(event.get("InlineHtml", "")))
