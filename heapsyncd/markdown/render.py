"""A tree to a body: ``R``, verified by reading the result back.

First everything is written as plainly as it looks safe; the result is parsed, and where it does not
read as the tree the blocks in question climb the ladder of ``escape``. What can be right at the first
try (almost all text) costs one parse.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from heapsyncd.markdown import escape as esc
from heapsyncd.markdown.parse import FILE_KEY, MAX_DEPTH, parse
from heapsyncd.markdown.spans import GUARD, SpanWriter, wrap
from heapsyncd.markdown.style import DEFAULT, Style
from heapsyncd.tree import Atom, Block, Inline, Text

if TYPE_CHECKING:
    from heapsyncd.markdown.links import Links

__all__ = ["DEFAULT", "Style", "Writer", "render"]

_SAFE = re.compile(r"[^\W\d_][^\\`*_\[\]<&~|#\x00-\x1f\x7f]*")
"""Text that no context can read as anything but text."""
_TRIES = 8
_MAX_NUMBER = 999_999_999
_BULLETS = {"-": "*", "*": "-", "+": "-"}
_RULE = re.compile(r"([-*])(?: *\1){2,}")
_FILE_NAME = re.compile(r"[^\[\]|\\\n\r\t\0]+")


def render(tree: Block, links: "Links", style: Style = DEFAULT, *, tail: str = "") -> str:
    """Write a document.

    Args:
        tree: canonical.
        links: for mentions and files.
        style: the choices.
        tail: link definitions to stand at the end, as they are.

    Returns:
        The body, ending with one newline, '' for an empty tree. ``parse`` reads it back as the
        same tree for every canonical tree of at most ``MAX_DEPTH`` containers one in another.
    """
    writer = Writer(links, style)
    for attempt in range(_TRIES):
        lines = writer.blocks(tree.children)
        text = "".join(line + style.newline for line in lines) + tail
        read = parse(text, links)
        if read == tree:
            break
        writer.climb(tree, read, attempt)
    return text


class Writer:
    """Writes blocks as lines without their container's prefix; remembers each leaf's rung.

    Args:
        links: for mentions and files.
        style: the choices.
        checked: verify every leaf on its own already.
        floor: the least rung for text that is not plainly safe.
    """

    def __init__(
        self, links: "Links", style: Style, *, checked: bool = False, floor: int = 0
    ) -> None:
        self._links = links
        self._style = style
        self._checked = checked
        self._floor = floor
        self._rungs: dict[int, int] = {}
        """The least rung for a leaf, by identity."""
        self._kept: list[Block] = []
        self._filled = False
        """Whether items without text are written with something invisible in them."""

    # Blocks

    def blocks(self, blocks: Sequence[Block], depth: int = 0) -> list[str]:
        """The lines of sibling blocks, a blank line between two."""
        lines: list[str] = []
        last: Block | None = None
        mark = ""
        for block in blocks:
            if block.kind.endswith("_list"):
                mark = self.marker(block, last, mark)
                joined = last is not None and _is_shared(last, block)
                if lines and not (joined and is_tight(last) and is_tight(block)):
                    lines.append("")
                lines += self.list_lines(block, mark, depth)
            else:
                if lines:
                    lines.append("")
                lines += self.block(block, depth)
            last = block
        return lines

    def marker(self, block: Block, last: Block | None, mark: str) -> str:
        """The list's bullet or number delimiter, other than that of a list just before it.

        Tasks and plain items next to each other share one: they read as the one list of the
        source that they may have come from.
        """
        ordered = block.kind == "ordered_list"
        first = self._style.delimiter if ordered else self._style.bullet
        if last is None or not last.kind.endswith("_list"):
            return first
        if ordered != (last.kind == "ordered_list"):
            return first
        if _is_shared(last, block):
            return mark
        if ordered:
            return ")" if mark == "." else "."
        return _BULLETS[mark]

    def block(self, block: Block, depth: int = 0, *, in_item: bool = False) -> list[str]:
        """One block that is no list."""
        kind = block.kind
        if depth > MAX_DEPTH + 20:
            # Deeper than what reads back: the words at least.
            return [esc.escape(w, 1) for w in block.words().split("\n")]
        if kind == "paragraph":
            return self.leaf(block).split("\n")
        if kind == "heading":
            level = min(max(int(block.get("level") or 1), 1), 6)
            return [f"{'#' * level} {self.leaf(block)}".rstrip(" ")]
        if kind == "code":
            return self.code(block)
        if kind == "quote":
            inner = self.blocks(block.children, depth + 1)
            return [f"> {line}" if line else ">" for line in inner] or [">"]
        if kind == "rule":
            return ["___" if in_item else self._style.rule]
        if kind == "table":
            return self.table(block)
        if kind == "files":
            return [self.file_line(k) for k in str(block.get("keys")).split("\n")]
        if kind == "opaque":
            return [f"<!-- heapsyncd: {block.get('label')} {block.get('digest')} -->"]
        return self.blocks([block] if kind.endswith("_list") else block.children, depth + 1)

    def code(self, block: Block) -> list[str]:
        info = esc.info_string(str(block.get("info") or ""))
        char = "~" if "`" in info else self._style.fence
        runs = re.findall(re.escape(char) + "+", block.text)
        fence = char * max(3, 1 + max(map(len, runs), default=0))
        body = block.text.split("\n") if block.text else []
        return [fence + info, *body, fence]

    def file_line(self, key: str) -> str:
        name = self._links.file_name(key)
        if name is None or not _FILE_NAME.fullmatch(name) or FILE_KEY.fullmatch(name):
            return f"![[{key}]]"
        return f"![[{name if self._links.file_key(name) == key else key}]]"

    # Lists

    def list_lines(self, block: Block, mark: str, depth: int = 0) -> list[str]:
        """A list's lines; items one below the other, or with blank lines when it is loose."""
        lines = self._items(block, mark, depth)
        if any(_RULE.fullmatch(line) for line in lines):
            # Nothing but bullets on a line (`- - -`) is a rule, with another among them it is not.
            lines = self._items(block, "+", depth)
        return lines

    def _items(self, block: Block, mark: str, depth: int) -> list[str]:
        lines: list[str] = []
        tight = is_tight(block)
        number = int(block.get("start") or 0)
        for k, item in enumerate(block.children):
            if lines and not tight:
                lines.append("")
            head = mark
            if block.kind == "ordered_list":
                head = f"{min(max(number, 0) + k, _MAX_NUMBER)}{mark}"
            lines += self.item_lines(item, head, tight=tight, depth=depth)
        return lines

    def item_lines(self, item: Block, head: str, *, tight: bool, depth: int = 0) -> list[str]:
        """An item behind its marker, the rest of it indented to the first line's text."""
        indent = " " * (len(head) + 1)
        inner = self._item_blocks(item, tight=tight, depth=depth)
        checked = item.get("checked")
        if checked is not None:
            box = "[x]" if checked else "[ ]"
            takes = bool(item.children) and item.children[0].kind in {"paragraph", "files"}
            if takes:
                inner = [f"{box} {inner[0]}", *inner[1:]]
            else:
                alone = [f"{box} {GUARD}", ""] if self._filled else [box]
                inner = [*alone, *inner] if inner else alone[:1]
        if not inner:
            return [f"{head} {GUARD}" if self._filled else head]
        return [f"{head} {inner[0]}", *(indent + line if line else "" for line in inner[1:])]

    def _item_blocks(self, item: Block, *, tight: bool, depth: int) -> list[str]:
        children = item.children
        if not children:
            return []
        if children[0].kind == "paragraph" and item.get("checked") is None:
            self._no_task(children[0])
        if children[0].kind == "rule":
            lines = self.block(children[0], depth + 2, in_item=True)
            rest = self.blocks(children[1:], depth + 2)
            return [*lines, "", *rest] if rest else lines
        if tight and len(children) > 1:
            first = self.blocks(children[:1], depth + 2)
            return first + self.blocks(children[1:], depth + 2)
        return self.blocks(children, depth + 2)

    def _no_task(self, block: Block) -> None:
        """An item's text that begins like a task's box is escaped at once."""
        first = block.inline[0]
        if isinstance(first, Text) and re.match(r"\[[ xX]\](\s|$)", first.text):
            self._raise(block, 1)

    # Tables

    def table(self, block: Block) -> list[str]:
        rows = [self.row(row) for row in block.children]
        columns = len(block.children[0].children) if block.children else 0
        return [*rows[:1], "|" + " --- |" * columns, *rows[1:]]

    def row(self, row: Block) -> str:
        return "".join(["|", *(f" {self.leaf(cell)} |" for cell in row.children)])

    # Leaves

    def leaf(self, block: Block) -> str:
        """A block's inline content at the least rung that is known, or looks, right."""
        items = block.inline
        if len(items) == 1 and isinstance(items[0], Text) and not items[0].marks:
            text = items[0].text
            if _SAFE.fullmatch(text) and not self._style.width:
                return text
        rung = max(self._rungs.get(id(block), 0), self._floor)
        if not self._checked and not (rung == 0 and _opens_block(items)):
            return self._write(block, rung)
        for k in range(rung, esc.RUNGS):
            for style in _variants(self._style, items):
                text = self._write(block, k, style)
                if self._reads_back(block, text):
                    return text
        return self._write(block, esc.RUNGS - 1)

    def _write(self, block: Block, rung: int, style: Style | None = None) -> str:
        style = style or self._style
        in_table, flat = block.kind == "cell", block.kind != "paragraph"
        writer = SpanWriter(self._links, style, rung, flat=flat, in_table=in_table)
        text = writer.write(block.inline)
        if block.kind == "heading":
            text = esc.closing_hashes(text, rung)
        elif block.kind == "paragraph":
            if _is_lone_image(block.inline) and rung:
                # Beside something else an image is no attached file.
                text += GUARD
            text = wrap(text, style.width)
        return text

    def _reads_back(self, block: Block, text: str) -> bool:
        """Whether the leaf alone reads as itself."""
        if block.kind == "cell":
            read = parse(f"|x|\n|-|\n|{text}|", self._links).children
            return len(read) == 1 and [
                c.inline for r in read[0].children[1:] for c in r.children
            ] == [block.inline]
        head = "# " if block.kind == "heading" else ""
        read = parse(head + text, self._links).children
        kind_ok = len(read) == 1 and read[0].kind == block.kind
        return kind_ok and read[0].inline == block.inline

    def _raise(self, block: Block, rung: int) -> None:
        self._rungs[id(block)] = max(self._rungs.get(id(block), 0), rung)
        self._kept.append(block)  # so that its identity is not given to another block

    def climb(self, tree: Block, read: Block, attempt: int) -> None:
        """Learn from a result that reads as ``read``: check each leaf, then climb where it differs."""
        if not self._checked:
            self._checked = True
            return
        self._filled = attempt > 1
        first, wanted, got = 0, tree.children, read.children
        while first < min(len(wanted), len(got)) and wanted[first] == got[first]:
            first += 1
        last = 0
        while last < min(len(wanted), len(got)) - first and wanted[-1 - last] == got[-1 - last]:
            last += 1
        # The block before may have swallowed the first one that differs.
        for block in wanted[max(first - 1, 0) : len(wanted) - last]:
            for leaf in block.walk():
                if leaf.inline:
                    self._raise(leaf, attempt)


def is_tight(block: Block | None) -> bool:
    """Whether a list can do without blank lines."""
    return block is not None and all(_is_tight_item(item) for item in block.children)


def _is_tight_item(item: Block) -> bool:
    children = item.children
    if len(children) < 2:
        return not children or not children[0].kind.endswith("_list") or is_tight(children[0])
    first, second = children[0], children[1]
    if len(children) > 2 or first.kind != "paragraph" or not second.kind.endswith("_list"):
        return False
    # What can't interrupt a paragraph needs the blank line: a start other than 1, an empty item.
    if second.kind == "ordered_list" and second.get("start") != 1:
        return False
    return bool(second.children[0].children) or second.kind == "todo_list"


def _is_shared(a: Block | None, b: Block) -> bool:
    """Whether two neighbouring lists are the plain items and the tasks of one source list."""
    return a is not None and {a.kind, b.kind} == {"bullet_list", "todo_list"}


def _opens_block(items: Sequence[Inline]) -> bool:
    """Whether the content looks as if it might begin some other block, or run into the next."""
    return any(
        isinstance(item, Text)
        and re.match(r"\s*(?:[#>+=|~`\[<:_*-]|\d)", item.text) is not None
        and (k == 0 or isinstance(items[k - 1], Atom))
        for k, item in enumerate(items)
    )


def _is_lone_image(items: Sequence[Inline]) -> bool:
    return all(isinstance(i, Atom) and i.kind in {"image", "break"} for i in items)


def _variants(style: Style, items: Sequence[Inline]) -> list[Style]:
    """The style, and the one with the other character for emphasis where there is any."""
    if not any(isinstance(i, Text) and any(m.kind == "italic" for m in i.marks) for i in items):
        return [style]
    other = "_" if style.emphasis == "*" else "*"
    return [style, Style(**{**{f: getattr(style, f) for f in Style.__slots__}, "emphasis": other})]
