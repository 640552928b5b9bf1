"""V: a document's body as the markdown view, with where each part stands in it.

What markdown can't say is hidden (empty paragraphs, whitespace at edges, unknown marks and
attributes, NUL) or stands as an opaque block or atom (unknown nodes, tables with unshowable
cells). Hidden or opaque, it survives, because an edit is a difference of two views.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from heapsyncd.document.xml import schema
from heapsyncd.document.xml.node_kinds import (
    atom_of,
    code_text,
    digest_source,
    file_keys,
    is_checked,
    is_showable_table,
    shown_code,
    words_of,
)
from heapsyncd.document.xml.nodes import Elem, Node, Txt
from heapsyncd.document.xml.offsets import Offsets
from heapsyncd.tree import (
    DEEPEST,
    MOST_EMPTY_CELLS,
    Atom,
    Block,
    BlockType,
    Inline,
    Piece,
    Span,
    Text,
    attrs,
    inline,
    language,
    opaque_label,
)

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a body shows.

    ``is_plain``: no unknown node is among it, whose name depends on where it stands.
    """

    view: Block
    is_plain: bool


def show_body(body: Elem) -> Shown:
    """What a body shows that has been read."""
    look = View()
    children = look.blocks(body, ())
    return Shown(Block("doc", children=children, path=()), look.is_plain)


ODD = re.compile(r"[\n\r\0]")
"""What is a break in a text, or hidden."""
UNPLAIN = re.compile(r"\A\Z|\A\s|\s\Z|[\n\r\0]")
"""What makes a text show otherwise than it stands."""


STAND_IN = "heapsyncd:opaque"
"""Stands for an unknown node in a document that only serves to merge views."""


class View:
    """One pass over a body.

    Args:
        numbered: equal unknown nodes are told apart by their order; else equal content has equal
            digests, wherever it stands.
        known: what nodes show, by the node's identity: these need no look.
    """

    def __init__(self, *, numbered: bool = True, known: Mapping[int, Block] | None = None) -> None:
        self._numbered = numbered
        self._seen: dict[str, int] = {}
        self._known = known or {}

    @property
    def is_plain(self) -> bool:
        """Whether no unknown node was met whose name depends on where it stands."""
        return not self._seen

    def blocks(self, parent: Elem, path: Path) -> tuple[Block, ...]:
        """The children of a container that show."""
        out = []
        for k, child in enumerate(parent.children):
            block = self._known.get(id(child)) or self.block(child, (*path, k))
            if block is not None:
                out.append(block)
        return tuple(out)

    def block(self, node: Node, path: Path) -> Block | None:
        """A node among blocks; None when it is hidden."""
        if isinstance(node, Txt):
            blank = all(r.embed is None for r in node.runs) and not node.text.strip("\0 \t\r\n")
            return None if blank else self._opaque(node, path)
        tag = node.tag
        if tag == "paragraph":
            items = self.inline(node.children, path)
            return Block("paragraph", inline=items, path=path) if items else None
        if tag == "heading":
            level = schema.number(node.attrs.get("level"), 1, 6, 1)
            items = self.inline(node.children, path)
            return Block("heading", attrs(level=level), inline=items, path=path)
        if tag in schema.LISTS and len(path) < DEEPEST:
            return self._list(node, path)
        return self._other(node, path)

    def _other(self, node: Elem, path: Path) -> Block:
        block: Block | None = None
        tag = node.tag
        if tag == "codeBlock":
            text = code_text(node)
            if text is not None:
                info = language(schema.text_of(node.attrs.get("language")))
                block = Block("code", attrs(info=info), text=shown_code(text), path=path)
        elif tag == "blockquote" and len(path) <= DEEPEST:
            block = Block("quote", children=self.blocks(node, path), path=path)
        elif tag == "horizontalRule" and not node.children:
            block = Block("rule", path=path)
        elif tag == "table":
            block = self._table(node, path)
        elif tag == "file":
            keys = file_keys(node)
            if keys is not None:
                block = Block("files", attrs(keys="\n".join(keys)), path=path)
        elif tag in schema.INLINE:
            # An inline node among blocks: some schemas keep images there.
            items = inline([self.atom(node, path)])
            block = Block("paragraph", inline=items, path=path)
        return block if block is not None else self._opaque(node, path)

    def _list(self, node: Elem, path: Path) -> Block | None:
        if not node.children:
            return None
        tag = schema.ITEMS[node.tag]
        known = self._known
        if not all(
            id(i) in known or (isinstance(i, Elem) and i.tag == tag) for i in node.children
        ):
            return self._opaque(node, path)
        kind = schema.LISTS[node.tag]
        values = attrs()
        if kind == "ordered_list":
            values = attrs(start=schema.number(node.attrs.get("start"), 0, 999_999_999, 1))
        children = []
        for k, item in enumerate(node.children):
            assert isinstance(item, Elem)
            children.append(known.get(id(item)) or self.item(item, kind, (*path, k)))
        return Block(kind, values, tuple(children), path=path)

    def item(self, node: Elem, kind: BlockType, path: Path) -> Block:
        """An item of a list of some kind."""
        done = attrs(checked=is_checked(node.attrs.get("checked"))) if kind == "todo_list" else ()
        return Block("item", done, self.blocks(node, path), path=path)

    def _table(self, node: Elem, path: Path) -> Block | None:
        if not is_showable_table(node):
            return None
        width = max(len(row.children) for row in node.children if isinstance(row, Elem))
        rows = []
        for r, row in enumerate(node.children):
            assert isinstance(row, Elem)
            at = (*path, r)
            rows.append((at, [self._cell(c, (*at, k)) for k, c in enumerate(row.children)]))
        filled = sum(1 for _, cells in rows for cell in cells if cell.inline)
        if width * len(rows) - filled > MOST_EMPTY_CELLS:
            return None
        none = Block("cell")
        even = [
            Block("row", children=(*cells, *[none] * (width - len(cells))), path=at)
            for at, cells in rows
        ]
        return Block("table", children=tuple(even), path=path)

    def _cell(self, node: Node, path: Path) -> Block:
        """Paragraphs after the first are parted by two breaks, whose path is the paragraph's."""
        assert isinstance(node, Elem)
        items: list[Inline] = []
        for k, paragraph in enumerate(node.children):
            assert isinstance(paragraph, Elem)
            at = (*path, k)
            part = self.inline(paragraph.children, at)
            if part and items:
                items += [Atom("break", path=at)] * 2
            items += part
        return Block("cell", inline=tuple(items), path=path)

    def inline(self, children: list[Node], path: Path) -> tuple[Inline, ...]:
        """The canonical inline content of a paragraph, heading or cell paragraph."""
        if len(children) == 1 and isinstance(children[0], Txt):
            text = _plain_text(children[0])
            if text is not None:
                return (Text(text, (), (Piece(0, (*path, 0), 0),)),)
        items: list[Inline] = []
        for k, child in enumerate(children):
            if isinstance(child, Elem):
                items.append(self.atom(child, (*path, k)))
            else:
                items += self.runs(child, (*path, k))
        return inline(items)

    def runs(self, node: Txt, path: Path) -> list[Inline]:
        """A text among inline content."""
        out: list[Inline] = []
        offsets = node.offsets()
        at = 0
        for run in node.runs:
            if run.embed is not None:
                start = offsets.byte(at)
                where = Span(start, start + 1)
                out.append(Atom("opaque", self._name("embed", run.embed), path, where))
            else:
                out += _lines(run.text, schema.marks_of(run.formats), path, offsets, at)
            at += len(run.text)
        return out

    def atom(self, node: Elem, path: Path) -> Atom:
        """A node among inline content."""
        atom = atom_of(node)
        if atom is None and node.tag == STAND_IN:
            return Atom("opaque", attrs(**node.attrs), path)
        if atom is None:
            # In a table cell a bar would end the cell, in an inline comment a colon the label.
            tag, words = (re.sub(r"[^\w .-]+", " ", t) for t in (node.tag, words_of(node)))
            label = f"{opaque_label(tag)} {words}"
            return Atom("opaque", self._name(label, digest_source(node)), path)
        return replace(atom, path=path)

    def _opaque(self, node: Node, path: Path) -> Block:
        tag = node.tag if isinstance(node, Elem) else "text"
        if isinstance(node, Elem) and tag == STAND_IN:
            return Block("opaque", attrs(**node.attrs), path=path)
        label = f"{opaque_label(tag)}: {words_of(node)}"
        return Block("opaque", self._name(label, digest_source(node)), path=path)

    def _name(self, label: str, content: Any) -> tuple[tuple[str, Any], ...]:
        """Label and digest. The label is as long as it is: nothing else shows its words."""
        source = json.dumps(content, default=lambda x: type(x).__name__, sort_keys=True)
        count = 0
        if self._numbered:
            count = self._seen[source] = self._seen.get(source, -1) + 1
        digest = hashlib.sha256(f"{count}:{source}".encode("utf-8", "surrogatepass"))
        return attrs(label=opaque_label(label, None), digest=digest.hexdigest()[:6])


def _plain_text(node: Txt) -> str | None:
    """The text of the commonest kind: one run, nothing hidden and nothing marked in it."""
    if len(node.runs) != 1:
        return None
    run = node.runs[0]
    text = run.text
    if run.formats or run.embed is not None or UNPLAIN.search(text):
        return None
    return text


def _lines(text: str, marks: Any, path: Path, offsets: Offsets, at: int) -> list[Inline]:
    """A run as text and breaks. A break has its path and the bytes of its newline."""
    if not ODD.search(text):
        return [Text(text, marks, (Piece(0, path, offsets.byte(at)),))]
    out: list[Inline] = []
    start = 0
    for k, ch in enumerate(text):
        if ch not in "\n\r\0":
            continue
        if start < k:
            out.append(Text(text[start:k], marks, (Piece(0, path, offsets.byte(at + start)),)))
        start = k + 1
        if ch == "\n" or (ch == "\r" and text[k + 1 : k + 2] != "\n"):
            byte = offsets.byte(at + k)
            out.append(Atom("break", path=path, span=Span(byte, byte + 1)))
    if start < len(text):
        out.append(Text(text[start:], marks, (Piece(0, path, offsets.byte(at + start)),)))
    return out
