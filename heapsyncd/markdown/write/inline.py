"""Write inline content at one escape level."""

import re
from collections.abc import Sequence

from heapsyncd.ids import is_ulid
from heapsyncd.markdown import escaping as esc
from heapsyncd.markdown.line_ends import meaningful
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.style import LINE_BREAK, SOFT_SPACE, Style
from heapsyncd.markdown.write.delimiters import Delimiter, join
from heapsyncd.markdown.write.verbatim_text import Verbatim, with_formulas, with_tags
from heapsyncd.tree import Atom, Inline, Mark, Text

GUARD = "<u></u>"
"""Put at the start of a line before what would open an HTML block. Reads as nothing."""
_AUTOLINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>\x00-\x20]*")
_NOT_IN_NAME = re.compile(r"[\[\]|\\\n\r\t\0]")
_NOTHING_VERBATIM = 2
"""From this escape level on, formulas and tags are escaped like other text."""
_NEVER_FIRST = re.compile(r"[-+*=>#|~`<:\d\\]")


class InlineWriter:
    """Writes the inline content of one block.

    Args:
        links: for mentions.
        style: the notation.
        escape_level: see ``escaping``.
        flat: whether newlines are forbidden (in a heading or a cell).
        in_table: whether pipes must be escaped.
    """

    def __init__(
        self,
        links: Links,
        style: Style,
        escape_level: int,
        *,
        flat: bool = False,
        in_table: bool = False,
    ) -> None:
        self._links = links
        self._style = style
        self._rung = escape_level
        self._flat = flat
        self._in_table = in_table
        self._delimiters = {
            "bold": (style.strong * 2,) * 2,
            "italic": (style.emphasis,) * 2,
            "strike": ("~~", "~~"),
            "underline": ("<u>", "</u>"),
        }
        self._out: list[str | Delimiter] = []
        self._before = self._after = ""
        self._has_dollars = False

    def write(
        self,
        items: Sequence[Inline],
        base: Sequence[Mark] = (),
        *,
        before: str = "",
        after: str = "",
    ) -> str:
        """Return the items as text, in which ``lay_out`` then places the line ends.

        Args:
            items: the content of a block, or a part of it.
            base: marks that already apply to all of it.
            before: the character before it on its line, '' at the start of the line.
            after: the character after it in the block, '' at the end of the block.
        """
        self._out = []
        self._before, self._after = before, after
        dollars = sum(i.text.count("$") for i in items if isinstance(i, Text))
        self._has_dollars = dollars > 1 or bool(before or after)
        if self._rung < _NOTHING_VERBATIM:
            if dollars > 1:
                items = with_formulas(items, is_flat=self._flat)
            items = with_tags(items)
        self._group(list(items), frozenset(base))
        return join(self._out, before, after, always=self._rung == esc.ESCAPE_LEVELS - 1)

    def _at_line_start(self) -> bool:
        if not self._out:
            return not self._before
        last = self._out[-1]
        return isinstance(last, str) and last.endswith("\n")

    def _group(self, items: list[Inline], opened: frozenset[Mark]) -> None:
        """Write items.

        Of the marks that begin at an item, the longest one becomes the outermost, of equally long
        ones the link.
        """
        i = breaks_end = 0
        while i < len(items):
            item = items[i]
            if isinstance(item, Atom):
                if i >= breaks_end:
                    breaks_end = i + 1
                    while breaks_end < len(items) and _is_break(items[breaks_end]):
                        breaks_end += 1
                self._atom(item, items[breaks_end] if breaks_end < len(items) else None)
                i += 1
                continue
            best, end = None, i
            for mark in item.marks:
                if mark in opened or mark.kind == "code":
                    continue
                stop = _reach(items, i, mark)
                if stop > end or (mark.kind == "link" and stop == end):
                    best, end = mark, stop
            if best is None:
                self._text(item, items, i)
                i += 1
            else:
                self._mark(best, items[i:end], opened | {best})
                i = end

    def _mark(self, mark: Mark, items: list[Inline], opened: frozenset[Mark]) -> None:
        if mark.kind == "link":
            self._link(mark, items, opened)
            return
        first, last = self._delimiters[mark.kind]
        self._out.append(Delimiter(first, opens=True))
        self._group(items, opened)
        self._out.append(Delimiter(last, opens=False))

    def _link(self, mark: Mark, items: list[Inline], opened: frozenset[Mark]) -> None:
        if self._is_autolink(mark, items):
            self._out.append(f"<{_autolink_text(items)}>")
            return
        target = esc.destination(mark.href, mark.title)
        self._out.append("[")
        self._group(items, opened)
        self._out.append(f"]({esc.escape_pipes(target) if self._in_table else target})")

    def _is_autolink(self, mark: Mark, items: list[Inline]) -> bool:
        """Return whether the link's text is its own address, so that ``<address>`` says both."""
        if mark.title or len(items) != 1 or self._rung > 1:
            return False
        text = _autolink_text(items)
        return text == mark.href and bool(_AUTOLINK.fullmatch(text)) and "|" not in text

    def _text(self, item: Text, items: list[Inline], i: int) -> None:
        if any(m.kind == "code" for m in item.marks):
            code = esc.code_span(item.text)
            self._out.append(esc.escape_pipes(code) if self._in_table else code)
            return
        if isinstance(item, Verbatim):
            self._out.append(esc.escape_pipes(item.text) if self._in_table else item.text)
            return
        text = esc.escape(item.text, self._rung)
        if self._rung == 1 and self._has_dollars:
            text = esc.escape_dollars(text)
        if self._rung >= 3:
            # Whitespace needs this only beside a delimiter or at the end of the block.
            text = esc.escape_edges(text, left=i == 0, right=i == len(items) - 1)
        if self._at_line_start():
            text = esc.escape_line_start(text, self._rung)
            if text.startswith("\ufeff"):
                text = f"&#xFEFF;{text[1:]}"
        if self._in_table:
            text = esc.escape_pipes(text)
        if self._style.width and not self._flat:
            # A break beside other whitespace could leave a blank line.
            text = re.sub(r"(?<!\s) (?!\s)", SOFT_SPACE, text)
        self._out.append(text)

    def _atom(self, atom: Atom, follower: Inline | None) -> None:
        if atom.kind == "break":
            self._break(follower)
        elif atom.kind == "opaque":
            if self._at_line_start():
                self._out.append(GUARD)
            self._out.append(f"<!--{atom.get('label')}:{atom.get('digest')}-->")
        elif atom.kind == "image":
            alt = esc.to_entities(esc.escape(str(atom.get("alt") or ""), self._rung), _LINE_ENDS)
            source = str(atom.get("src") or "")
            target = esc.destination(source, str(atom.get("title") or ""))
            text = f"![{alt}]({target})"
            self._out.append(esc.escape_pipes(text) if self._in_table else text)
        else:
            self._mention(atom)

    def _break(self, follower: Inline | None) -> None:
        """Write a break as a line end where one is possible, else as a tag.

        ``follower`` is the item after this and any further breaks.
        """
        is_last = follower is None and not self._after
        is_comment = isinstance(follower, Atom) and follower.kind == "opaque"
        if self._flat or is_last or is_comment:
            if self._at_line_start() and not self._flat:
                self._out.append(GUARD)
            self._out.append("<br>")
        elif self._at_line_start():
            # A line end alone would leave a blank line.
            self._out.append("\\\n")
        elif self._rung > 1:
            # The text is hard to write. The full notation is always a break.
            self._out.append(f"{self._style.hard_break}\n")
        else:
            self._out.append(LINE_BREAK)

    def _mention(self, atom: Atom) -> None:
        block = str(atom.get("id"))
        name = self._links.name_of(block)
        if name is None or is_ulid(name) or _NOT_IN_NAME.search(name):
            name = block
        name = name if name == block or self._links.block_of(name) == block else block
        label = atom.get("label")
        if label is None:
            self._out.append(f"[[{name}]]")
            return
        # A backslash at the start of a label is not an escape, so entities are used throughout.
        text = esc.to_entities(str(label), _LABEL if self._rung else _LINE_ENDS)
        pipe = "|"
        if self._in_table:
            pipe, text = "\\|", esc.escape_pipes(text)
        self._out.append(f"[[{name}{pipe}{text}]]")


_LINE_ENDS = re.compile(r"[\n\r]")
_LABEL = re.compile(r"[\n\r\\`*_\[\]<&~|!]")


def _reach(items: list[Inline], i: int, mark: Mark) -> int:
    """Return the end of the items from ``i`` on that carry the mark, with breaks between."""
    end = i
    for k in range(i, len(items)):
        item = items[k]
        if isinstance(item, Text):
            if mark not in item.marks:
                break
            end = k + 1
        elif not _is_break(item):
            break
    return end


def _is_break(item: Inline) -> bool:
    return isinstance(item, Atom) and item.kind == "break"


def _autolink_text(items: list[Inline]) -> str:
    """Return the text of an item that carries only the link's mark, else ''."""
    item = items[0]
    if isinstance(item, Text) and len(item.marks) == 1:
        return item.text
    return ""


_END = re.compile(f"({LINE_BREAK}|\n)")


def lay_out(text: str, style: Style) -> str:
    """Replace the soft spaces and the line breaks of a written block by what they are there.

    No line is wrapped where the line end would mean a break, and a break that the line end means
    already gets no notation.
    """
    if SOFT_SPACE not in text:
        return text
    rows = _rows(text, style.width if style.line_breaks == "space" else None)
    means = meaningful([row for row, _ in rows])
    if any(end == SOFT_SPACE and is_break for (_, end), is_break in zip(rows, means, strict=True)):
        rows = _rows(text, None)
        means = meaningful([row for row, _ in rows])
    out: list[str] = []
    for (row, end), is_break in zip(rows, means, strict=True):
        is_said = end != LINE_BREAK or is_break or style.line_breaks == "break"
        out += [row, "" if is_said else style.hard_break, "\n"]
    return "".join(out[:-1])


def _rows(text: str, width: int | None) -> list[tuple[str, str]]:
    """Cut a text into lines, each with what ends it: a soft space, a line break or a newline."""
    rows: list[tuple[str, str]] = []
    parts = _END.split(text)
    for part, end in zip(parts[::2], [*parts[1::2], "\n"], strict=True):
        *wrapped, last = _filled(part, width)
        rows += [(line, SOFT_SPACE) for line in wrapped]
        rows.append((last, end))
    return rows


def _filled(text: str, width: int | None) -> list[str]:
    """Cut a line at soft spaces so that its parts fit the width."""
    if width is None:
        return [text.replace(SOFT_SPACE, " ")]
    lines = []
    line = ""
    for k, word in enumerate(text.split(SOFT_SPACE)):
        if k and len(line) + 1 + len(word) > width and not _NEVER_FIRST.match(word):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if k else word
    return [*lines, line]
