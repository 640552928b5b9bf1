"""Content that equals its source: unmarked runs, and lines the tree cannot express otherwise."""

from bisect import bisect_right

from heapsyncd.markdown import formulas
from heapsyncd.markdown.events import Events, Range, start_of
from heapsyncd.markdown.line_ends import may_mean_breaks, meaningful
from heapsyncd.tree import Atom, Inline, Piece, Span, Text, inline

_BLANK = " \t\f\v"


def unmarked_run(text: str, pieces: tuple[Piece, ...]) -> tuple[Inline, ...]:
    """Return the canonical form of one run without marks: trimmed, () if blank."""
    run = Text(text, (), pieces)
    left = len(text) - len(text.lstrip(_BLANK))
    right = len(text.rstrip(_BLANK))
    if (left, right) == (0, len(text)):
        return (run,)
    return (run.cut(left, right),) if left < right else ()


def single_text(data: bytes, events: Events, i: int) -> tuple[Inline, ...] | None:
    """Return a leaf's content if it is one text that equals its source bytes, else None."""
    if i + 1 >= len(events):
        return None
    (event, where), (after, _) = events[i], events[i + 1]
    if type(event) is not dict or type(after) is not dict or "End" not in after:
        return None
    text: str | None = event.get("Text")
    start = where["start"]
    if text is None or "\0" in text or data[start : where["end"]] != text.encode():
        return None
    return unmarked_run(text, (Piece(0, (), start),))


def skip_prefix(data: bytes, at: int, end: int, quotes: int) -> int:
    """Return the offset after the indentation and quote markers of a paragraph's next line.

    Args:
        data: the source.
        at: start of the line.
        end: offset not to pass.
        quotes: number of quote markers that belong to the prefix.
    """
    while at < end:
        byte = data[at : at + 1]
        if byte == b">" and quotes:
            quotes -= 1
        elif byte not in {b" ", b"\t"}:
            break
        at += 1
    return at


def next_text_start(data: bytes, events: Events, i: int) -> int:
    """Return where the text of the line after a break begins.

    The line's prefix counts as part of the break, so no edit writes before the prefix or leaves it
    in the middle of a line. ``i`` is the index of the break's event.
    """
    end, start = events[i][1]["end"], events[i + 1][1]["start"]
    # A backslash that escapes the first character has no event of its own.
    return max(end, start - data.endswith(b"\\", end, max(start, end)))


_INLINE = frozenset({"Emphasis", "Strong", "Strikethrough", "Link", "Image"})


def leaf_end(events: Events, i: int) -> int:
    """Return the index of the event that ends the leaf whose content begins at ``i``."""
    depth = 0
    while i < len(events):
        event = events[i][0]
        started = start_of(event)
        if started is not None:
            if started[0] not in _INLINE:
                break
            depth += 1
        elif type(event) is dict and "End" in event:
            depth -= 1
            if depth < 0:
                break
        elif event == "Rule":
            break
        i += 1
    return i


def meaningful_line_ends(data: bytes, events: Events, first: int) -> frozenset[int]:
    """Return the offsets of a leaf's newlines that mean a break, however they are written.

    ``first`` is the index of its first event.
    """
    start = events[first][1]["start"]
    blank = data.find(b"\n\n", start)
    if not may_mean_breaks(data[start : blank if blank >= 0 else len(data)]):
        return frozenset()
    end = events[leaf_end(events, first) - 1][1]["end"]
    # A backslash that escapes the first character has no event of its own.
    start -= data.endswith(b"\\", 0, start)
    lines = data[start:end].decode().split("\n")
    means = meaningful([lines[0], *(line.lstrip(" \t>") for line in lines[1:])])
    found, at = set(), start - 1
    for line, is_break in zip(lines[:-1], means, strict=False):
        at += len(line.encode()) + 1
        if is_break:
            found.add(at)
    return frozenset(found)


class Formulas:
    """The formulas of one leaf: from dollar to dollar inside one mark, whatever is between.

    Args:
        data: the source.
        events: all events.
        first: the index of the leaf's first event.
    """

    def __init__(self, data: bytes, events: Events, first: int) -> None:
        found: list[tuple[int, int]] = []
        levels: list[list[tuple[int, int]]] = [[]]
        for event, where in events[first : leaf_end(events, first)]:
            if type(event) is not dict:
                continue
            if "Text" in event:
                # An escaped character begins an event, behind its backslash.
                start = where["start"] + data.endswith(b"\\", 0, where["start"])
                levels[-1] += formulas.dollars(data, start, where["end"])
            elif "Start" in event:
                levels.append([])
            elif "End" in event:
                found += formulas.paired(data, levels.pop())
        found += formulas.paired(data, levels.pop())
        self._ends: dict[int, int] = {}
        last = -1
        for start, end in sorted(found):
            # Inside a formula, dollars in another mark are no formula.
            if end > last:
                self._ends[start] = last = end
        self._starts = list(self._ends)

    def end_of(self, start: int) -> int | None:
        """Return the end of the formula that begins at this offset, None if none does."""
        return self._ends.get(start)

    def hold(self, at: int) -> bool:
        """Return whether an offset lies inside a formula."""
        k = bisect_right(self._starts, at) - 1
        return k >= 0 and at < self._ends[self._starts[k]]


def code_span_lines(data: bytes, start: int, end: int, text: str) -> list[tuple[int, int]]:
    """Return the byte ranges of the lines of a code span's text.

    A code span reads its line ends as spaces. [] if the source does not match ``text`` line by
    line.
    """
    # CommonMark strips one space at each end if both are there.
    return _code_lines(data, start, end, text) or _code_lines(data, start + 1, end - 1, text)


def _code_lines(data: bytes, start: int, end: int, text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    rest = b" " + text.encode()
    for whole in data[start:end].split(b"\n"):
        line = raw = whole.removesuffix(b"\r")
        if data[start - 1 : start] == b"\n":
            # The whitespace before the line is text, except for the container's prefix.
            space = len(rest) - 1 - len(rest[1:].lstrip(b" \t"))
            raw = rest[1 : 1 + space] + line.lstrip(b" \t>")
        if not line.endswith(raw) or not rest.startswith(b" " + raw):
            return []
        found.append((start + len(line) - len(raw), start + len(line)))
        rest = rest[1 + len(raw) :]
        start += len(whole) + 1
    return [] if rest else found


def lines_of(data: bytes, where: Range) -> list[Range]:
    """Split a range into its lines."""
    lines: list[Range] = []
    start = where["start"]
    while start < where["end"]:
        stop = data.find(b"\n", start, where["end"]) + 1 or where["end"]
        lines.append({"start": start, "end": stop})
        start = stop
    return lines


def html_lines(events: Events) -> list[Range]:
    """Return the lines of an HTML block.

    After a tab, the parser may split a line into two events.
    """
    lines: list[Range] = []
    ended = True
    for event, where in events:
        if ended:
            lines.append(dict(where))
        lines[-1]["end"] = where["end"]
        ended = str(event.get("Html") or event.get("Text")).endswith("\n")
    return lines


def literal_lines(data: bytes, lines: list[Range]) -> tuple[Inline, ...]:
    """Return lines as literal text with breaks between them."""
    items: list[Inline] = []
    end = 0
    for k, line in enumerate(lines):
        start = line["start"]
        raw = data[start : line["end"]].rstrip()
        if k:
            items.append(Atom("break", span=Span(end, start)))
        end = start + len(raw)
        if raw:
            piece = Piece(0, (), start)
            items.append(Text(raw.decode().replace("\0", ""), (), (piece,)))
    return inline(items)
