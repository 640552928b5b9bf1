"""Build the markdown view of a body from nodes read as values, with the path of each part.

What markdown cannot express is hidden (empty paragraphs, whitespace at edges, unknown marks and
attributes, NUL) or shown as an opaque block or atom (unknown nodes, tables that a pipe table
cannot hold). Either way it survives, because an edit is the difference of two views.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.document.xml import schema
from heapsyncd.document.xml.node_kinds import (
    atom_of,
    code_text,
    digest_source,
    file_keys,
    is_checked,
    is_showable_table,
    visible_code,
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
"""The child indexes that lead from the root to a node."""


class BodyView(Struct, frozen=True):
    """The view of a body.

    ``all_known``: it shows no unknown node. An unknown node's name depends on its position among
    others, so a view with one can't be updated in parts.
    """

    view: Block
    all_known: bool


def show_body(body: Elem) -> BodyView:
    """Show a body that was read."""
    view = View()
    children = view.blocks(body, ())
    return BodyView(Block("doc", children=children, path=()), view.all_known)


SPECIAL = re.compile(r"[\n\r\0]")
"""Characters of a text that show as a break, or are hidden."""
NOT_VERBATIM = re.compile(r"\A\Z|\A\s|\s\Z|[\n\r\0]")
"""Matches a text that does not show exactly as it is."""


STAND_IN = "heapsyncd:opaque"
"""The tag of a stand-in for an unknown node, in a scratch document that serves to merge views."""


class View:
    """One pass over a body.

    Args:
        numbered: number equal unknown nodes in document order, so that their digests differ. Else
            equal content has equal digests wherever it is.
        known: the views of nodes that need no look, by ``id()`` of the node.
    """

    def __init__(self, *, numbered: bool = True, known: Mapping[int, Block] | None = None) -> None:
        self._numbered = numbered
        self._seen: dict[str, int] = {}
        self._known = known or {}

    @property
    def all_known(self) -> bool:
        """Whether no unknown node was met so far."""
        return not self._seen

    def blocks(self, parent: Elem, path: Path) -> tuple[Block, ...]:
        """Show the visible children of a container."""
        out = []
        for k, child in enumerate(parent.children):
            block = self._known.get(id(child)) or self.block(child, (*path, k))
            if block is not None:
                out.append(block)
        return tuple(out)

    def block(self, node: Node, path: Path) -> Block | None:
        """Show a node among blocks; None when it is hidden."""
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
                block = Block("code", attrs(info=info), text=visible_code(text), path=path)
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
            # Some schemas keep images among blocks.
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
        """Show an item of a list of the given kind."""
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
        """Show a cell's paragraphs as one content.

        Two breaks separate them; their path is that of the paragraph that follows.
        """
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
        """Show the inline content of a paragraph, heading or cell paragraph, in canonical form."""
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
        """Show a text among inline content."""
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
        """Show a node among inline content."""
        atom = atom_of(node)
        if atom is None and node.tag == STAND_IN:
            return Atom("opaque", attrs(**node.attrs), path)
        if atom is None:
            # A bar would end a table cell, and a colon the label of an inline comment.
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
        """Make the label and the digest of an unknown node.

        The label is not shortened: search finds a node's words only in it.
        """
        source = json.dumps(content, default=lambda x: type(x).__name__, sort_keys=True)
        count = 0
        if self._numbered:
            count = self._seen[source] = self._seen.get(source, -1) + 1
        digest = hashlib.sha256(f"{count}:{source}".encode("utf-8", "surrogatepass"))
        return attrs(label=opaque_label(label, None), digest=digest.hexdigest()[:6])


def _plain_text(node: Txt) -> str | None:
    """Return the text of the commonest content: one unformatted run that shows verbatim."""
    if len(node.runs) != 1:
        return None
    run = node.runs[0]
    text = run.text
    if run.formats or run.embed is not None or NOT_VERBATIM.search(text):
        return None
    return text


def _lines(text: str, marks: Any, path: Path, offsets: Offsets, at: int) -> list[Inline]:
    """Show a run as texts and breaks. A break's span is the byte range of its newline."""
    if not SPECIAL.search(text):
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
