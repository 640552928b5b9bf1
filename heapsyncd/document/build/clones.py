"""What an edit copies out of the base or the live body, and how it recognises unknown nodes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pycrdt import Doc

from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.plan.clone_sources import Gone, Step
from heapsyncd.document.plan.remote_changes import is_opaque
from heapsyncd.document.view.from_nodes import STAND_IN, Shown, View, show_body
from heapsyncd.document.xml import make, nodes
from heapsyncd.document.xml.nodes import OBJECT, Elem, Node, Run, Txt, copy
from heapsyncd.errors import InvalidEdit
from heapsyncd.tree import LEAVES, Atom, Block, Inline


@dataclass(frozen=True, slots=True)
class Seen:
    """A body and what it shows."""

    root: Elem
    view: Block
    is_plain: bool

    @classmethod
    def of(cls, doc: Doc[Any], shown: Shown | None = None) -> "Seen":
        """A document's body; ``shown``: what it shows, where that is known."""
        if shown is not None:
            return cls(nodes.look(doc, nodes.BODY), shown.view, shown.is_plain)
        root = nodes.read(doc, nodes.BODY)
        shown = show_body(root)
        return cls(root, shown.view, shown.is_plain)

    def known(self, made: Elem) -> dict[int, Block]:
        """What the nodes show that stay as they are in a new body, by the node's identity; in
        containers that stay, too. Empty where that depends on where a node stands.
        """
        out: dict[int, Block] = {}
        todo = [(self.root, self.view, made)] if self.is_plain else []
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
    """Copies of nodes by what the view calls them.

    Args:
        base: what the edit is measured from.
        live: what others made of it.
        stand_ins: an unknown node that neither has is written as a stand-in, instead of refused.
    """

    base: Seen
    live: Seen | None = None
    stand_ins: bool = False
    _opaque: dict[Block, Elem] | None = field(init=False, default=None)
    _atoms: dict[Atom, Node] | None = field(init=False, default=None)

    def makers(self) -> edit_leaf.Makers:
        """What edits of inline content need."""
        return edit_leaf.Makers(self.atom, make.revalued, seen, self.plain)

    def source(self, step: Step) -> tuple[Block, Elem] | None:
        """What a step is cloned from."""
        found = step.source
        if found is None:
            return None
        root, block = self.base.root, found.block if isinstance(found, Gone) else found
        if isinstance(found, Gone) and found.live is not None and self.live is not None:
            root, block = self.live.root, found.live
        node = None if block.path is None else node_at(root, block.path)
        return (block, node) if isinstance(node, Elem) else None

    def block(self, block: Block) -> Elem:
        """A copy of an unknown node; InvalidEdit when there is none."""
        node = self._blocks().get(block)
        if node is None and not self.stand_ins:
            raise InvalidEdit(f"the document has no node {block.get('digest')}")
        if node is None:
            return Elem(STAND_IN, dict(block.attrs))
        made = copy(node)
        assert isinstance(made, Elem)
        return made

    def atom(self, atom: Atom) -> Node:
        """A node for an atom: a copy of one like it, with what it hides, or a new one."""
        known = None if atom.kind == "break" else self._inline().get(atom)
        if known is not None:
            return copy(known)
        if atom.kind != "opaque":
            return make.atom_elem(atom)
        if not self.stand_ins:
            raise InvalidEdit(f"the document has no node {atom.get('digest')}")
        return Elem(STAND_IN, dict(atom.attrs))

    def plain(self, items: Sequence[Inline]) -> tuple[Inline, ...]:
        """Content with unknown nodes named by their content alone, as ``seen`` names them."""
        out: list[Inline] = []
        for item in items:
            if isinstance(item, Atom) and item.kind == "opaque":
                out += seen([self.atom(item)])
            else:
                out.append(item)
        return tuple(out)

    def plain_block(self, block: Block) -> Block:
        """A tree with unknown nodes named by their content alone."""
        if self.base.is_plain and not self.stand_ins:
            return block  # there are none
        if block.kind == "opaque":
            shown = View(numbered=False).block(self.block(block), ())
            assert shown is not None
            return shown
        if not any(is_opaque(b) for b in block.walk()):
            return block
        children = tuple(self.plain_block(c) for c in block.children)
        return replace(block, children=children, inline=self.plain(block.inline))

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
    """The node that child indexes lead to."""
    node: Node = root
    for k in path:
        assert isinstance(node, Elem)
        node = node.children[k]
    return node


def seen(children: Sequence[Node]) -> tuple[Inline, ...]:
    """The view of a textblock's content, unknown nodes named by their content alone."""
    return View(numbered=False).inline(list(children), ())
