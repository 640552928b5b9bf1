"""Write blocks as lines, for ``render`` and ``patch``."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.markdown import escaping as esc
from heapsyncd.markdown.attached_files import file_line
from heapsyncd.markdown.links import Links
from heapsyncd.markdown.read.parse import MAX_DEPTH, parse
from heapsyncd.markdown.style import Style
from heapsyncd.markdown.write.inline import GUARD, InlineWriter, lay_out
from heapsyncd.markdown.write.list_tightness import is_one_source_list, is_tight
from heapsyncd.markdown.write.safe_text import WholeBody, is_safe_code, is_safe_item, safe_inline
from heapsyncd.markdown.write.verbatim_text import html_text
from heapsyncd.tree import LISTS, Atom, Block, Inline, Text

_OPENER = re.compile(r"\s*(?:[#>+=|~`\[<:_*-]|\d)")
_TASK = re.compile(r"\[[ xX]\](?:\s|$)")
_MAX_NUMBER = 999_999_999
_INDENT_COLUMNS = 4
"""The width in columns of ``Style.indent`` if it is not empty, be it a tab or spaces."""
_ALTERNATIVE_MARKER = {"-": "*", "*": "-", "+": "-", ".": ")", ")": "."}
"""The marker for a list that follows another list, which would otherwise continue it."""
_RULE = re.compile(r"([-*])(?: *\1){2,}")
_SAFE_KINDS = frozenset({"paragraph", "heading", "code", "quote", "rule", "table"})
"""Blocks that can be written so that they cannot be misread."""


class WrittenBlock(Struct, frozen=True):
    """A block that was written: the index of its first line, and whether it cannot be misread."""

    line: int
    is_safe: bool


class Writer:
    """Writes blocks as lines without their container's prefix.

    It remembers the escape level that each leaf needs, so that a caller can raise levels and write
    again.

    Args:
        links: for mentions and files.
        style: the notation.
        checked: read every leaf back on its own and pick the lowest escape level that works.
        min_escape_level: the lowest level for text that is not evidently safe.
        verbatim: returns the source lines of a block that already exists in a source, or None.
    """

    def __init__(
        self,
        links: Links,
        style: Style,
        *,
        checked: bool = False,
        min_escape_level: int = 0,
        verbatim: Callable[[Block], list[str] | None] = lambda _: None,
    ) -> None:
        self._links = links
        self._style = style
        self._min_escape_level = min_escape_level
        self._verbatim = verbatim
        self._escape_levels: dict[int, int] = {}
        """The lowest escape level for a leaf, by the block's identity."""
        self._kept: list[Block] = []
        """Keeps these leaves alive, so that no other block gets the same identity."""
        self.checked = checked
        self.is_safe = True
        """Whether nothing written so far can be misread (``safe_text``)."""
        self.written: list[WrittenBlock] = []
        """The top-level blocks of the last call of ``blocks``."""
        self.fill_empty_items = False
        """Whether items without text get something invisible, so that they are not misread."""

    def require_escape_level(self, leaf: Block, escape_level: int) -> None:
        """Write a leaf at this escape level or higher from now on."""
        self._escape_levels[id(leaf)] = max(self._escape_levels.get(id(leaf), 0), escape_level)
        self._kept.append(leaf)

    # Blocks

    def blocks(self, blocks: Sequence[Block], depth: int = 0) -> list[str]:
        """Return the lines of sibling blocks, separated by blank lines.

        ``depth`` counts the enclosing containers. At 0 ``written`` is filled.
        """
        return list(chain.from_iterable(self.each(blocks, depth)))

    def each(self, blocks: Sequence[Block], depth: int = 0) -> Iterator[list[str]]:
        """Yield the lines of each of sibling blocks, as ``blocks`` joins them."""
        last: Block | None = None
        mark = ""
        line = 0
        if not depth:
            self.written = []
        for block in blocks:
            was_safe, self.is_safe = self.is_safe, True
            is_list = block.kind in LISTS
            if is_list:
                mark = self._marker(block, last, mark)
            joined = (
                is_list and is_one_source_list(last, block) and is_tight(last) and is_tight(block)
            )
            gap = [""] if line and not joined else []
            known = None if id(block) in self._escape_levels else self._verbatim(block)
            lines = known or (
                self._list(block, mark, depth) if is_list else self._block(block, depth)
            )
            if not depth:
                self.written.append(WrittenBlock(line + len(gap), self.is_safe and known is None))
            self.is_safe = self.is_safe and was_safe
            line += len(gap) + len(lines)
            last = block
            yield gap + lines

    def _marker(self, block: Block, last: Block | None, mark: str) -> str:
        """Return the list's bullet or number delimiter, other than that of a list just before.

        Neighbouring lists of tasks and of plain items share one: together they read as the one
        source list they may come from.
        """
        ordered = block.kind == "ordered_list"
        first = self._style.delimiter if ordered else self._style.bullet
        if last is None or last.kind not in LISTS or ordered != (last.kind == "ordered_list"):
            return first
        return mark if is_one_source_list(last, block) else _ALTERNATIVE_MARKER[mark]

    def _block(self, block: Block, depth: int, *, in_item: bool = False) -> list[str]:
        """Return the lines of one block that is no list."""
        self.is_safe = self.is_safe and block.kind in _SAFE_KINDS and depth < MAX_DEPTH - 4
        if depth > MAX_DEPTH + 20:
            # Too deep to read back as blocks: keep at least the words.
            return [esc.escape(w, 1) for w in block.words().split("\n")]
        match block.kind:
            case "paragraph":
                return self.leaf(block).split("\n")
            case "heading":
                level = min(max(int(block.get("level") or 1), 1), 6)
                return [f"{'#' * level} {self.leaf(block)}".rstrip(" ")]
            case "code":
                return self._code(block, depth)
            case "quote":
                return self._quote(block, depth)
            case "rule":
                return ["___" if in_item else self._style.rule]
            case "table":
                return self._table(block)
            case "files":
                return [file_line(k, self._links) for k in str(block.get("keys")).split("\n")]
            case "opaque":
                return [f"<!-- heapsyncd: {block.get('label')} {block.get('digest')} -->"]
            case _:
                return self.blocks(block.children, depth + 1)

    def _quote(self, block: Block, depth: int) -> list[str]:
        self.is_safe = self.is_safe and bool(block.children)
        inner = self.blocks(block.children, depth + 1)
        return [f"> {line}" if line else ">" for line in inner] or [">"]

    def _code(self, block: Block, depth: int) -> list[str]:
        self.is_safe = self.is_safe and is_safe_code(block, depth)
        info = esc.info_string(str(block.get("info") or ""))
        char = "~" if "`" in info else self._style.fence
        runs = re.findall(re.escape(char) + "+", block.text)
        fence = char * max(3, 1 + max(map(len, runs), default=0))
        body = block.text.split("\n") if block.text else []
        return [fence + info, *body, fence]

    # Lists

    def _list(self, block: Block, mark: str, depth: int) -> list[str]:
        lines = self._items(block, mark, depth)
        if any(_RULE.fullmatch(line) for line in lines):
            # A line of nothing but equal bullets (`- - -`) is a rule. Another bullet avoids it.
            lines = self._items(block, "+", depth)
        return lines

    def _items(self, block: Block, mark: str, depth: int) -> list[str]:
        """Return the lines of a list's items, separated by blank lines if the list is loose."""
        lines: list[str] = []
        tight = is_tight(block)
        number = max(int(block.get("start") or 0), 0)
        for k, item in enumerate(block.children):
            if lines and not tight:
                lines.append("")
            ordered = block.kind == "ordered_list"
            head = f"{min(number + k, _MAX_NUMBER)}{mark}" if ordered else mark
            head += self._style.number_gap if ordered else self._style.gap
            lines += self.item(item, head, tight=tight, depth=depth)
        return lines

    def item(self, item: Block, head: str, *, tight: bool, depth: int = 0) -> list[str]:
        """Return the lines of one item.

        Args:
            item: the item.
            head: its marker and the gap after it.
            tight: whether its list has no blank lines.
            depth: number of enclosing containers.
        """
        indent = " " * len(head)
        if self._style.indent and len(head) <= _INDENT_COLUMNS:
            # After a quote's marker a tab may be too narrow. Only reading back can tell.
            indent, self.is_safe = self._style.indent, False
        self.is_safe = self.is_safe and is_safe_item(item) and len(head) <= 10
        if not head[0].isdigit():
            self._escape_box(item)
        inner = self._item_blocks(item, tight=tight, depth=depth)
        checked = item.get("checked")
        if checked is not None:
            box = "[x]" if checked else "[ ]"
            if item.children and item.children[0].kind in {"paragraph", "files"}:
                inner = [f"{box} {inner[0]}", *inner[1:]]
            else:
                alone = [f"{box} {GUARD}", ""] if self.fill_empty_items else [box]
                inner = [*alone, *inner] if inner else alone[:1]
        if not inner:
            return [f"{head}{GUARD}" if self.fill_empty_items else head.rstrip()]
        return [f"{head}{inner[0]}", *(indent + line if line else "" for line in inner[1:])]

    def _escape_box(self, item: Block) -> None:
        """Escape text of a bullet list's plain item that looks like a task's box."""
        first = item.children[0] if item.children else None
        if first is not None and first.kind == "paragraph" and item.get("checked") is None:
            start = first.inline[0]
            if isinstance(start, Text) and _TASK.match(start.text):
                self.require_escape_level(first, 1)

    def _item_blocks(self, item: Block, *, tight: bool, depth: int) -> list[str]:
        children = item.children
        if not children:
            return []
        first = children[0]
        if first.kind == "rule":
            lines = self._block(first, depth + 2, in_item=True)
            rest = self.blocks(children[1:], depth + 2)
            return [*lines, "", *rest] if rest else lines
        if tight and len(children) > 1:
            rest = self.blocks(children[1:], depth + 2)
            return self.blocks(children[:1], depth + 2) + rest
        return self.blocks(children, depth + 2)

    # Tables

    def _table(self, block: Block) -> list[str]:
        self.is_safe = self.is_safe and bool(block.children)
        rows = [self.row(row) for row in block.children]
        columns = len(block.children[0].children) if block.children else 0
        return [*rows[:1], "|" + " --- |" * columns, *rows[1:]]

    def row(self, row: Block) -> str:
        """Return the line of one table row."""
        self.is_safe = self.is_safe and bool(row.children)
        return "".join(["|", *(f" {self.leaf(cell)} |" for cell in row.children)])

    # Leaves

    def leaf(self, block: Block) -> str:
        """Return a block's inline content at the lowest escape level known or likely to work."""
        items = block.inline
        escape_level = max(self._escape_levels.get(id(block), 0), self._min_escape_level)
        is_whole = not escape_level and not self.checked
        whole = WholeBody(self._links, block.kind == "cell") if is_whole else None
        plain = safe_inline(items, self._style, whole)
        if plain is not None:
            return plain
        self.is_safe = False
        if not self.checked and (escape_level or not _opens_block(items)):
            return self._write(block, escape_level, self._style)
        for k, style in _attempts(escape_level, self._style, items):
            text = self._write(block, k, style)
            if self._reads_back(block, text):
                return text
        return self._write(block, esc.ESCAPE_LEVELS - 1, self._style)

    def _write(self, block: Block, escape_level: int, style: Style) -> str:
        in_table, flat = block.kind == "cell", block.kind != "paragraph"
        html = None if flat or escape_level else html_text(block.inline)
        if html is not None:
            return html
        writer = InlineWriter(self._links, style, escape_level, flat=flat, in_table=in_table)
        text = writer.write(block.inline)
        if block.kind == "heading":
            return esc.escape_closing_hashes(text, escape_level)
        if block.kind == "paragraph" and escape_level and _is_images(block.inline):
            # An image with something beside it is not read as an attached file.
            text += GUARD
        return text if flat else lay_out(text, style)

    def _reads_back(self, block: Block, text: str) -> bool:
        """Return whether the leaf, read alone, is the block."""
        if block.kind == "cell":
            read = parse(f"|x|\n|-|\n|{text}|", self._links, self._style.line_breaks).children
            return len(read) == 1 and [
                cell.inline for row in read[0].children[1:] for cell in row.children
            ] == [block.inline]
        head = "# " if block.kind == "heading" else ""
        read = parse(head + text, self._links, self._style.line_breaks).children
        return len(read) == 1 and (read[0].kind, read[0].inline) == (block.kind, block.inline)


def _opens_block(items: Sequence[Inline]) -> bool:
    """Return whether a line of the content could be read as the start of another block."""
    return any(
        isinstance(item, Text)
        and _OPENER.match(item.text) is not None
        and (k == 0 or isinstance(items[k - 1], Atom))
        for k, item in enumerate(items)
    )


def _is_images(items: Sequence[Inline]) -> bool:
    return all(isinstance(i, Atom) and i.kind in {"image", "break"} for i in items)


def _attempts(escape_level: int, style: Style, items: Sequence[Inline]) -> list[tuple[int, Style]]:
    """Return the escape levels from one on, with the style to use for each.

    If there is emphasis, each range of levels is also tried with the other emphasis character.
    """
    low, high = (
        range(escape_level, min(2, esc.ESCAPE_LEVELS)),
        range(max(escape_level, 2), esc.ESCAPE_LEVELS),
    )
    styles = [style]
    if any(isinstance(i, Text) and any(m.kind == "italic" for m in i.marks) for i in items):
        styles.append(replace(style, emphasis="_" if style.emphasis == "*" else "*"))
    return [(k, s) for rungs in (low, high) for s in styles for k in rungs]
