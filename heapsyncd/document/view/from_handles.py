"""Build the view straight from a document's handles.

The common nodes (text, lists, quotes) are shown without reading them as values first; all others
are read and shown by ``from_nodes``. Both ways give equal views.
"""

from collections.abc import Sequence
from typing import Any

from pycrdt import Doc
from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.document.view.from_nodes import NOT_VERBATIM, SPECIAL, BodyView, Path, View
from heapsyncd.document.xml import nodes, schema
from heapsyncd.document.xml.node_kinds import is_checked
from heapsyncd.document.xml.nodes import Node
from heapsyncd.tree import DEEPEST, Block, BlockType, Inline, Piece, Text, attrs, inline

Raw = XmlElement | XmlFragment | XmlText


def show(doc: Doc[Any]) -> BodyView:
    """Show a document's body."""
    with nodes.gc_paused(), nodes.transaction(doc) as txn:
        view = HandleView(txn)
        children = view.below(nodes.fragment(doc, txn, nodes.BODY), ())
    return BodyView(Block("doc", children=children, path=()), view.all_known)


class HandleView(View):
    """One pass over a body, or over a part of it."""

    def __init__(self, txn: Transaction) -> None:
        super().__init__()
        self._txn = txn

    def below(self, parent: XmlElement | XmlFragment, path: Path) -> tuple[Block, ...]:
        """Show the visible children of a container."""
        found = [self.node(c, (*path, k)) for k, c in enumerate(parent.children(self._txn))]
        return tuple([block for block in found if block is not None])

    def node(self, raw: Raw, path: Path) -> Block | None:
        """Show a node among blocks; None when it is hidden."""
        if type(raw) is XmlElement:
            tag = raw.tag()  # type: ignore[attr-defined]  # missing in the stubs
            if tag == "paragraph":
                items = self._content(raw, path)
                return Block("paragraph", (), (), items, "", path) if items else None
            if tag == "heading":
                level = schema.number(self._attr(raw, "level"), 1, 6, 1)
                items = self._content(raw, path)
                return Block("heading", attrs(level=level), (), items, "", path)
            if tag in schema.LISTS and len(path) < DEEPEST:
                return self._items(raw, tag, path)
            if tag == "blockquote" and len(path) <= DEEPEST:
                return Block("quote", (), self.below(raw, path), (), "", path)
        return self.block(self._read(raw), path)

    def child(self, raw: Raw, parent: BlockType, path: Path) -> Block | None:
        """Show a child of a block of the given kind; None when it is hidden."""
        if isinstance(raw, XmlElement) and parent in schema.LISTS.values():
            return self._item(raw, parent, path)
        return self.node(raw, path)

    def _items(self, raw: XmlElement, tag: str, path: Path) -> Block | None:
        kind, name = schema.LISTS[tag], schema.ITEMS[tag]
        children: list[Any] = raw.children(self._txn)
        if not all(type(c) is XmlElement and c.tag() == name for c in children):  # type: ignore[attr-defined]
            return self.block(self._read(raw), path)
        if not children:
            return None
        values = attrs()
        if kind == "ordered_list":
            values = attrs(start=schema.number(self._attr(raw, "start"), 0, 999_999_999, 1))
        below = tuple([self._item(c, kind, (*path, k)) for k, c in enumerate(children)])
        return Block(kind, values, below, (), "", path)

    def _item(self, raw: XmlElement, kind: BlockType, path: Path) -> Block:
        done = attrs()
        if kind == "todo_list":
            done = attrs(checked=is_checked(self._attr(raw, "checked")))
        return Block("item", done, self.below(raw, path), (), "", path)

    def _content(self, raw: XmlElement, path: Path) -> tuple[Inline, ...]:
        children: list[Any] = raw.children(self._txn)
        if len(children) == 1 and type(children[0]) is XmlText:
            runs: list[Any] = children[0].diff(self._txn)
            if len(runs) == 1:
                text, formats = runs[0]
                if type(text) is str and not formats and not NOT_VERBATIM.search(text):
                    return (Text(text, (), (Piece(0, (*path, 0), 0),)),)
            return inline(self._text(children[0], runs, (*path, 0)))
        items: list[Inline] = []
        for k, child in enumerate(children):
            if type(child) is XmlText:
                items += self._text(child, child.diff(self._txn), (*path, k))
            else:
                items.append(self.atom(nodes.read_node(child, self._txn), (*path, k)))
        return inline(items)

    def _text(self, raw: XmlText, runs: Sequence[Any], path: Path) -> list[Inline]:
        out: list[Inline] = []
        at = 0
        for text, formats in runs:
            if type(text) is not str or SPECIAL.search(text):
                return self.runs(nodes.text_from(raw, runs), path)
            marks = schema.marks_of(formats) if formats else ()
            out.append(Text(text, marks, (Piece(0, path, at),)))
            at += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        return out

    def _read(self, raw: Raw) -> Node:
        if isinstance(raw, XmlText):
            return nodes.text_from(raw, raw.diff(self._txn))
        return nodes.read_node(raw, self._txn)

    def _attr(self, raw: XmlElement, name: str) -> Any:
        return nodes.attributes(raw, self._txn).get(name)
