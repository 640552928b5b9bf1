"""Copy nodes out of the base or the live body, and identify unknown nodes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from pycrdt import Doc

from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.plan.clone_sources import RemovedBlock, Step
from heapsyncd.document.plan.remote_changes import is_opaque
from heapsyncd.document.view.from_nodes import STAND_IN, BodyView, View, show_body
from heapsyncd.document.xml import make, nodes
from heapsyncd.document.xml.nodes import OBJECT, Elem, Node, Run, Txt, copy
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import LEAVES, Atom, Block, Inline


class LoadedBody(Struct, frozen=True):
    """A body read as values, with its view."""

    root: Elem
    view: Block
    all_known: bool
    """Whether the view shows no unknown node (``BodyView``)."""

    @classmethod
    def of(cls, doc: Doc[Any], shown: BodyView | None = None) -> "LoadedBody":
        """Read a document's body; lazily where its view is given."""
        if shown is not None:
            return cls(nodes.read_lazily(doc, nodes.BODY), shown.view, shown.all_known)
        root = nodes.read(doc, nodes.BODY)
        shown = show_body(root)
        return cls(root, shown.view, shown.all_known)

    def known(self, made: Elem) -> dict[int, Block]:
        """Return the views of the nodes that a new body keeps unchanged, by ``id()`` of the node.

        Includes nodes inside containers that stay. Empty when the body has unknown nodes, whose
        names depend on their position.
        """
        out: dict[int, Block] = {}
        todo = [(self.root, self.view, made)] if self.all_known else []
        while todo:
            old, block, new = todo.pop()
            stays = {id(c.raw): c for c in new.children if isinstance(c, Elem)}
            for child in block.children:
                if child.path is None:
                    continue
                node = old.children[child.path[-1]]
                out[id(node)] = child
                after = stays.get(id(node.raw))
                if after is None or after is node or child.kind in LEAVES:
                    continue
                if isinstance(node, Elem):
                    todo.append((node, child, after))
        return out


@dataclass(slots=True)
class Clones:
    """Finds and copies the nodes that a view refers to.

    Args:
        base: the body that the edit is measured from.
        live: what others made of it.
        stand_ins: write a stand-in for an unknown node that neither has, instead of refusing it.
    """

    base: LoadedBody
    live: LoadedBody | None = None
    stand_ins: bool = False
    _opaque: dict[Block, Elem] | None = field(init=False, default=None)
    _atoms: dict[Atom, Node] | None = field(init=False, default=None)

    def makers(self) -> edit_leaf.Makers:
        """Return how inline content is made and viewed here."""
        return edit_leaf.Makers(self.atom, make.with_values, show_inline, self.by_content)

    def source(self, step: Step) -> tuple[Block, Elem] | None:
        """Return the block and the node that a step is cloned from; None without a source."""
        found = step.source
        if found is None:
            return None
        root, block = self.base.root, found.block if isinstance(found, RemovedBlock) else found
        if isinstance(found, RemovedBlock) and found.live is not None and self.live is not None:
            root, block = self.live.root, found.live
        node = None if block.path is None else node_at(root, block.path)
        return (block, node) if isinstance(node, Elem) else None

    def block(self, block: Block) -> Elem:
        """Copy an unknown node among blocks.

        Raises:
            InvalidEdit: neither body has it.
        """
        node = self._blocks().get(block)
        if node is None and not self.stand_ins:
            raise InvalidEdit(f"the document has no unknown node {block.get('digest')}")
        if node is None:
            return Elem(STAND_IN, dict(block.attrs))
        made = copy(node)
        assert isinstance(made, Elem)
        return made

    def atom(self, atom: Atom) -> Node:
        """Make the node of an atom: a copy of an equal one with its hidden attributes, or new.

        Raises:
            InvalidEdit: it is an unknown node that neither body has.
        """
        known = None if atom.kind == "break" else self._inline().get(atom)
        if known is not None:
            return copy(known)
        if atom.kind != "opaque":
            return make.atom_elem(atom)
        if not self.stand_ins:
            raise InvalidEdit(f"the document has no unknown node {atom.get('digest')}")
        return Elem(STAND_IN, dict(atom.attrs))

    def is_unmet(self, atom: Atom) -> bool:
        """Tell whether neither body has a node that shows this atom."""
        return atom not in self._inline()

    def by_content(self, items: Sequence[Inline]) -> tuple[Inline, ...]:
        """Return content with unknown nodes named by content alone, as ``show_inline`` does."""
        out: list[Inline] = []
        for item in items:
            if isinstance(item, Atom) and item.kind == "opaque":
                out += show_inline([self.atom(item)])
            else:
                out.append(item)
        return tuple(out)

    def block_by_content(self, block: Block) -> Block:
        """Return a tree with unknown nodes named by their content alone."""
        if self.base.all_known and not self.stand_ins:
            return block  # there are none
        if block.kind == "opaque":
            shown = View(numbered=False).block(self.block(block), ())
            assert shown is not None
            return shown
        if not any(is_opaque(b) for b in block.walk()):
            return block
        children = tuple(self.block_by_content(c) for c in block.children)
        return replace(block, children=children, inline=self.by_content(block.inline))

    def _blocks(self) -> dict[Block, Elem]:
        if self._opaque is None:
            self._opaque = {}
            for body in (self.live, self.base):
                for block in body.view.walk() if body else ():
                    if body and block.kind == "opaque" and block.path:
                        node = node_at(body.root, block.path)
                        if isinstance(node, Elem):
                            self._opaque[block] = node
        return self._opaque

    def _inline(self) -> dict[Atom, Node]:
        if self._atoms is None:
            self._atoms = {}
            for body in (self.live, self.base):
                for block in body.view.walk() if body else ():
                    for item in block.inline:
                        if body and isinstance(item, Atom) and item.kind != "break":
                            self._atoms[item] = _atom_node(body.root, item)
        return self._atoms


def _atom_node(root: Elem, atom: Atom) -> Node:
    assert atom.path is not None
    node = node_at(root, atom.path)
    if isinstance(node, Elem) or atom.span is None:
        return node
    at = node.offsets().char(atom.span.start)
    run = next(r for r in node.runs if r.origin == at)
    return Txt([Run(OBJECT, run.formats, run.embed)])


def node_at(root: Elem, path: tuple[int, ...]) -> Node:
    """Return the node at a path."""
    node: Node = root
    for k in path:
        assert isinstance(node, Elem)
        node = node.children[k]
    return node


def show_inline(children: Sequence[Node]) -> tuple[Inline, ...]:
    """Show a textblock's content, with unknown nodes named by their content alone."""
    return View(numbered=False).inline(list(children), ())
