"""Read the inline content of one block into runs and atoms with their source bytes.

What the tree cannot express is read as its own source text: inline HTML, footnote references,
unknown wikilinks, links around something other than text. So no text is lost.
"""

from typing import Any

from heapsyncd.markdown.events import (
    BREAK_TAG,
    OPAQUE_INLINE,
    SEPARATOR,
    Events,
    Range,
    closing,
)
from heapsyncd.markdown.read import inline_links
from heapsyncd.markdown.read.literal import (
    Formulas,
    code_span_lines,
    meaningful_line_ends,
    next_text_start,
    single_text,
    skip_prefix,
    unmarked_run,
)
from heapsyncd.markdown.source import Source
from heapsyncd.tree import Atom, Inline, Mark, Marks, Piece, Span, Text, attrs, inline, marks
from heapsyncd.tree.canonical import destination, one_spaced

CODE = Mark("code")
_STOP = -1
_HANDLERS = {
    "Text": "_on_text",
    "SoftBreak": "_on_soft_break",
    "HardBreak": "_on_hard_break",
    "Code": "_on_code",
    "Start": "_on_start",
    "End": "_on_end",
    "InlineHtml": "_on_html",
    "TaskListMarker": "_on_task",
    "FootnoteReference": "_on_literal",
}
"""Method names. Bound methods would form a reference cycle that keeps all events alive."""


class LeafReader:
    """Reads inline events until a block opens or closes.

    A run's text is *exact* where its source bytes are the text itself, and *rewritten* where they
    are not (escapes, entities, line breaks). Each rewritten piece is recorded with its end in the
    trace.

    Args:
        source: the text.
        events: its events, or those of a part with ranges moved to match.
    """

    def __init__(self, source: Source, events: Events) -> None:
        self._source = source
        self._events = events
        self._in_table = False
        self._is_flat = self._is_formula = False
        self._quotes = 0
        self._items: list[Inline] = []
        self._marks: Marks = ()
        self._words: list[str] = []
        self._pieces: list[Piece] = []
        self._length = 0
        self._next = -1
        """The offset at which a byte would continue the last piece; -1 if none can."""
        self._first = 0
        self._underlines: dict[int, bool] | None = None
        self._breaks: frozenset[int] | None = None
        """The line ends of the leaf that mean a break, found when first needed."""
        self._formulas: Formulas | None = None
        self._opened: list[Marks] = []
        """For each open mark, the marks that were active before it."""

    def read(
        self, i: int, *, in_table: bool = False, is_flat: bool = False, quotes: int = 0
    ) -> tuple[tuple[Inline, ...], int]:
        r"""Read one leaf.

        Args:
            i: index of its first event.
            in_table: whether it is a table cell, where ``\|`` is a pipe.
            is_flat: whether its line ends are always spaces (in a heading).
            quotes: number of enclosing block quotes; literal lines may begin with their markers.

        Returns:
            The content in canonical form, and the index of the event that ended it.
        """
        events = self._events
        only = self._single_text(i)
        if only is not None:
            return only, i + 1
        self._in_table, self._is_flat, self._quotes = in_table, is_flat, quotes
        self._items, self._marks = [], ()
        self._underlines = self._breaks = self._formulas = None
        self._first = i
        while i < len(events):
            event, where = events[i]
            if type(event) is str:
                kind, value = event, None
            else:
                ((kind, value),) = event.items()
            handler = _HANDLERS.get(kind)
            after = _STOP if handler is None else getattr(self, handler)(value, where, i)
            if after == _STOP:
                break
            i = after
        return self._finish(), i

    def _single_text(self, i: int) -> tuple[Inline, ...] | None:
        """Return the content if it is one exact text without marks, else None. Most leaves are."""
        return single_text(self._source.data, self._events, i)

    def _finish(self) -> tuple[Inline, ...]:
        if not self._items and not self._marks and self._words:
            # By far the most common case: one run without marks.
            text, pieces = "".join(self._words), tuple(self._pieces)
            self._clear()
            return unmarked_run(text, pieces)
        self._flush()
        return inline(self._items)

    # Text

    def _flush(self) -> None:
        if self._words:
            self._items.append(Text("".join(self._words), self._marks, tuple(self._pieces)))
            self._clear()
        self._next = -1

    def _clear(self) -> None:
        self._words, self._pieces, self._length, self._next = [], [], 0, -1

    def _on_text(self, text: str, where: Range, i: int) -> int:
        if "$" in text:
            return self._text_with_formulas(text, i)
        self._text(text, where["start"], where["end"])
        return i + 1

    def _text_with_formulas(self, text: str, i: int) -> int:
        """Read a text with the formulas that begin in it. Returns the next index."""
        data, where, formulas = self._source.data, self._events[i][1], self._leaf_formulas()
        start = at = where["start"]
        while (dollar := data.find(b"$", at, where["end"])) >= 0:
            end = formulas.end_of(dollar)
            at = dollar + 1 if end is None else end
            if end is None:
                continue
            self._text(data[start:dollar].decode(), start, dollar)
            self._formula(dollar, end)
            start = end
            # What the parser found inside is part of the formula.
            while "Text" not in self._events[i][0] or self._events[i][1]["end"] < end:
                i += 1
            where = self._events[i][1]
        rest = text if start == where["start"] else data[start : where["end"]].decode()
        self._text(rest, start, where["end"])
        return i + 1

    def _formula(self, start: int, end: int) -> None:
        """Add a formula as its source text."""
        if self._source.trace is not None:
            self._source.trace.formulas.append(Span(start, end))
        self._is_formula = True
        self._literal(start, end)
        self._is_formula = False

    def _leaf_formulas(self) -> Formulas:
        """Return the formulas of this leaf, found when first needed."""
        if self._formulas is None:
            self._formulas = Formulas(self._source.data, self._events, self._first)
        return self._formulas

    def _on_soft_break(self, _: None, where: Range, i: int) -> int:
        self._line_end(where["start"], next_text_start(self._source.data, self._events, i))
        return i + 1

    def _on_hard_break(self, _: None, where: Range, i: int) -> int:
        self._atom("break", where["start"], next_text_start(self._source.data, self._events, i))
        return i + 1

    def _line_end(self, start: int, end: int) -> None:
        """Add a line end, with what precedes the next line's text: a space or a break."""
        if not self._is_flat and self._is_break(start):
            self._atom("break", start, end)
        else:
            self._append_rewritten(" ", start, end)

    def _is_break(self, at: int) -> bool:
        """Return whether the line end at ``at`` means a break."""
        if self._source.line_breaks == "break" or self._is_formula:
            return True
        if self._breaks is None:
            self._breaks = meaningful_line_ends(self._source.data, self._events, self._first)
        return bool(self._breaks) and self._source.data.find(b"\n", at) in self._breaks

    def _on_literal(self, _: Any, where: Range, i: int) -> int:
        self._literal(where["start"], where["end"])
        return i + 1

    def _on_task(self, _: bool, where: Range, i: int) -> int:
        """Read a task box in a list without tasks as text.

        The caller handles those of task lists.
        """
        blank = self._source.data[where["end"] : where["end"] + 1] in {b" ", b"\t"}
        self._literal(where["start"], where["end"] + blank)
        return i + 1

    def _text(self, text: str, start: int, end: int) -> None:
        """Add text that is exact if its source bytes equal it, else rewritten."""
        if self._source.data[start:end] != text.encode():
            self._rewritten(text, start, end)
        elif "\0" in text:
            for part in text.split("\0"):
                self._exact(part, start)
                start += len(part.encode()) + 1
        else:
            self._exact(text, start)

    def _exact(self, text: str, start: int) -> None:
        """Add text whose source bytes are the text itself."""
        if not text:
            return
        if start != self._next:
            self._pieces.append(Piece(self._length, (), start))
        self._words.append(text)
        self._length += len(text)
        self._next = start + (len(text) if text.isascii() else len(text.encode()))

    def _rewritten(self, text: str, start: int, end: int) -> None:
        """Add text written differently in the source.

        A newline in it, from an entity, becomes a break.
        """
        for k, part in enumerate(text.replace("\r", "\n").split("\n")):
            if k:
                self._atom("break", start, end)
            clean = part.replace("\0", "")
            if clean:
                self._append_rewritten(clean, start, end)

    def _append_rewritten(self, text: str, start: int, end: int) -> None:
        """Add one rewritten piece with the range of its source."""
        self._pieces.append(Piece(self._length, (), start))
        self._words.append(text)
        self._length += len(text)
        self._next = -1
        if self._source.trace is not None:
            self._source.trace.piece_ends[start] = end

    def _literal(self, start: int, end: int) -> None:
        """Add a source range as text."""
        data = self._source.data
        while start < end:
            newline = data.find(b"\n", start, end)
            stop = end if newline < 0 else newline
            line_end = stop - 1 if newline >= 0 and data[stop - 1 : stop] == b"\r" else stop
            self._literal_line(start, line_end)
            if newline < 0:
                return
            start = skip_prefix(data, newline + 1, end, self._quotes)
            self._line_end(line_end, start)

    def _literal_line(self, start: int, end: int) -> None:
        """Add one line of source as text, with escaped pipes resolved in a table."""
        data = self._source.data
        while self._in_table and (pipe := data.find(b"\\|", start, end)) >= 0:
            self._text(data[start:pipe].decode(), start, pipe)
            start = pipe + 1
        self._text(data[start:end].decode(), start, end)

    def _on_code(self, text: str, where: Range, i: int) -> int:
        before = self._marks
        self._flush()
        self._marks = marks(*before, CODE)
        start, end = where["start"], where["end"]
        whole = self._source.data[start:end]
        ticks = len(whole) - len(whole.lstrip(b"`"))
        lines = code_span_lines(self._source.data, start + ticks, end - ticks, text)
        if not lines:
            self._rewritten(text.replace("\n", " "), start, end)
        for k, (first, last) in enumerate(lines):
            if k:
                self._rewritten(" ", lines[k - 1][1], first)
            self._text(self._source.data[first:last].decode(), first, last)
        self._flush()
        self._marks = before
        self._source.record_mark(start, end, ticks, ticks, CODE)
        return i + 1

    # Marks and atoms

    def _atom(self, kind: Any, start: int, end: int, **values: str | None) -> None:
        self._flush()
        self._items.append(Atom(kind, attrs(**values), span=Span(start, end)))

    def _on_start(self, value: Any, where: Range, i: int) -> int:
        """Open a mark or read a whole link. Stops where a block begins."""
        if type(value) is str:
            mark = inline_links.MARKS.get(value)
            if mark is None:
                return _STOP
            two = value == "Strong" or self._source.data.startswith(b"~~", where["start"])
            width = 2 if two else 1
            self._source.record_mark(where["start"], where["end"], width, width, mark)
            self._push(mark)
            return i + 1
        ((kind, data),) = value.items()
        return self._link(kind, data, where, i) if kind in {"Link", "Image"} else _STOP

    def _link(self, kind: str, data: dict[str, Any], where: Range, i: int) -> int:
        """Read a link, an image or a wikilink. Returns the next index."""
        start, end = where["start"], where["end"]
        last = closing(self._events, i)
        if inline_links.is_literal(self._source, self._events, i):
            self._literal(start, end)
        elif inline_links.is_wikilink(data):
            block = inline_links.wikilink_target(self._source, data)
            has_label = data["link_type"]["WikiLink"]["has_pothole"]
            if has_label:
                label = (
                    one_spaced(inline_links.wikilink_label(self._source, self._events, i) or "")
                    or None
                )
            else:
                label = inline_links.case_label(self._source, data, block)
            self._atom("mention", start, end, id=block, label=label)
        elif kind == "Image":
            src, title = destination(data["dest_url"]), one_spaced(data["title"])
            alt = one_spaced(inline_links.alt_text(self._events, i))
            self._atom("image", start, end, src=src, alt=alt, title=title)
        else:
            email = "mailto:" if data["link_type"] == "Email" else ""
            mark = Mark("link", email + destination(data["dest_url"]), one_spaced(data["title"]))
            after = end - self._events[last - 1][1]["end"]
            self._source.record_mark(start, end, 1, after, mark)
            self._push(mark)
            return i + 1
        return last + 1

    def _push(self, mark: Mark) -> None:
        self._flush()
        self._opened.append(self._marks)
        self._marks = marks(*self._marks, mark)

    def _on_end(self, _: Any, __: Range, i: int) -> int:
        if not self._opened:
            return _STOP
        self._flush()
        # A `<u>` may be closed after the end of the mark in which it began.
        underlined = inline_links.UNDERLINE in self._marks
        before = tuple(m for m in self._opened.pop() if m != inline_links.UNDERLINE)
        self._marks = marks(*before, inline_links.UNDERLINE) if underlined else before
        return i + 1

    def _on_html(self, html: str, where: Range, i: int) -> int:
        start, end = where["start"], where["end"]
        if BREAK_TAG.fullmatch(html):
            self._atom("break", start, end)
        elif opaque := OPAQUE_INLINE.fullmatch(html):
            self._atom("opaque", start, end, label=opaque[1], digest=opaque[2])
        elif html == SEPARATOR:
            self._next = -1
        elif html in {"<u>", "</u>"} and i in self._pairs():
            self._flush()
            bare_marks = tuple(m for m in self._marks if m != inline_links.UNDERLINE)
            still = self._pairs()[i]
            self._marks = marks(*bare_marks, inline_links.UNDERLINE) if still else bare_marks
        else:
            self._literal(start, end)
        return i + 1

    def _pairs(self) -> dict[int, bool]:
        """Return the paired underline tags of this leaf, found when first needed."""
        if self._underlines is None:
            self._underlines = inline_links.pair_underlines(
                self._source, self._events, self._first, self._leaf_formulas().hold
            )
        return self._underlines
