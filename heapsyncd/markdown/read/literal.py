"""Content that is its source: bare runs, and whole lines that no node of the tree can show."""

from heapsyncd.markdown.events import Events, Range
from heapsyncd.tree import Atom, Inline, Piece, Span, Text, inline

_BLANK = " \t\f\v"


def unmarked_run(text: str, pieces: tuple[Piece, ...]) -> tuple[Inline, ...]:
    """The canonical form of one run without marks."""
    run = Text(text, (), pieces)
    left = len(text) - len(text.lstrip(_BLANK))
    right = len(text.rstrip(_BLANK))
    if (left, right) == (0, len(text)):
        return (run,)
    return (run.cut(left, right),) if left < right else ()


def single_text(data: bytes, events: Events, i: int) -> tuple[Inline, ...] | None:
    """A leaf's content when it is one stretch of text that stands literally in the source."""
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
    """Past the indentation and the quote markers of a paragraph's next line."""
    while at < end:
        byte = data[at : at + 1]
        if byte == b">" and quotes:
            quotes -= 1
        elif byte not in {b" ", b"\t"}:
            break
        at += 1
    return at


def next_text_start(data: bytes, events: Events, i: int) -> int:
    """Where the text of the line behind the ``i``-th event, a break, begins: its prefix is the
    break's, so that no edit writes in front of it or leaves it within a line.
    """
    end, start = events[i][1]["end"], events[i + 1][1]["start"]
    # A backslash that escapes the first character is no event.
    return max(end, start - data.endswith(b"\\", end, max(start, end)))


def code_span_lines(data: bytes, start: int, end: int, text: str) -> list[tuple[int, int]]:
    """Where the lines of a code span's text stand, which reads their ends as spaces; [] when that
    is not plain to see.
    """
    # A blank at either end goes when both are there.
    return _code_lines(data, start, end, text) or _code_lines(data, start + 1, end - 1, text)


def _code_lines(data: bytes, start: int, end: int, text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    rest = b" " + text.encode()
    for whole in data[start:end].split(b"\n"):
        line = raw = whole.removesuffix(b"\r")
        if data[start - 1 : start] == b"\n":
            # Of what stands before it, the container's prefix is no text.
            space = len(rest) - 1 - len(rest[1:].lstrip(b" \t"))
            raw = rest[1 : 1 + space] + line.lstrip(b" \t>")
        if not line.endswith(raw) or not rest.startswith(b" " + raw):
            return []
        found.append((start + len(line) - len(raw), start + len(line)))
        rest = rest[1 + len(raw) :]
        start += len(whole) + 1
    return [] if rest else found


def lines_of(data: bytes, where: Range) -> list[Range]:
    """The lines of a range."""
    lines: list[Range] = []
    start = where["start"]
    while start < where["end"]:
        stop = data.find(b"\n", start, where["end"]) + 1 or where["end"]
        lines.append({"start": start, "end": stop})
        start = stop
    return lines


def html_lines(events: Events) -> list[Range]:
    """The lines of an HTML block's events; behind a tab a line may come in two."""
    lines: list[Range] = []
    ended = True
    for event, where in events:
        if ended:
            lines.append(dict(where))
        lines[-1]["end"] = where["end"]
        ended = str(event.get("Html") or event.get("Text")).endswith("\n")
    return lines


def literal_lines(data: bytes, lines: list[Range]) -> tuple[Inline, ...]:
    """Lines as they are, with breaks between them."""
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
