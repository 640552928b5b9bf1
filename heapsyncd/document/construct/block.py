"""Make nodes for new blocks of the goal, cloned from old ones where the plan says so."""

from msgspec import Struct

from heapsyncd.document.construct import fast_blocks
from heapsyncd.document.construct.clones import Clones
from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.plan.clone_sources import Step
from heapsyncd.document.xml import make
from heapsyncd.document.xml.nodes import Elem, Node, copy
from heapsyncd.document.xml.schema import ITEMS, DocumentVocabulary
from heapsyncd.tree import LEAVES, Block, Inline

_TEXT = frozenset({"paragraph", "heading"})


class Maker(Struct):
    """Makes nodes in a heap's vocabulary. None of them has a ``raw``: all are to be created."""

    clones: Clones
    vocabulary: DocumentVocabulary

    def block(self, step: Step) -> Elem:
        """Make the node for a step that is not made in place."""
        source = self.clones.source(step)
        if step.whole and source is not None:
            return _copied(source[1])
        block = step.new
        is_new = source is None and step.children is None
        if is_new and fast_blocks.is_simple(block, self.clones.is_unmet):
            return fast_blocks.DeferredElem(block, self.vocabulary)
        if block.kind == "opaque":
            return self.clones.block(block)
        if block.kind == "code":
            return make.block_elem(block, self.vocabulary, make.code_children(block.text))
        if block.kind in LEAVES:
            return self._leaf(block, source)
        made = make.block_elem(block, self.vocabulary, [])
        if source is not None and source[1].tag == made.tag:
            made.attrs = source[1].attrs | made.attrs
        made.children = [named_for(self.block(c), made.tag) for c in step.below()]
        if block.kind == "table" and made.children:
            _make_header(made.children[0])
        return with_required_paragraph(made, block.kind)

    def _leaf(self, block: Block, source: tuple[Block, Elem] | None) -> Elem:
        made = make.block_elem(block, self.vocabulary, [])
        children: list[Node] = []
        old: tuple[Inline, ...] = ()
        if source is not None and source[0].kind in _TEXT and source[1].tag in _TEXT:
            children, old = source[1].children, source[0].inline
            if block.kind in _TEXT:
                shown = make.attrs_from_view(source[0])
                values = source[1].attrs.items()
                hidden = {k: v for k, v in values if k not in shown and v is not None}
                made.attrs = hidden | made.attrs
        makers = self.clones.makers()
        if children:
            content = edit_leaf.edit(children, old, block.inline, makers)
            made.children = [copy(c) for c in content]
        else:
            made.children = edit_leaf.new_content(block.inline, makers)
        if block.kind == "cell":
            return Elem(made.tag, {}, [make.paragraph(made.children)])
        only = made.children[0] if len(made.children) == 1 else None
        if block.kind == "paragraph" and isinstance(only, Elem) and only.tag == "image":
            return only if self.vocabulary.names.block_images else made
        return made


def named_for(child: Elem, parent_tag: str) -> Elem:
    """Return a child with the item tag of its parent; a cloned list may use another spelling."""
    wanted = ITEMS.get(parent_tag, child.tag)
    return child if child.tag == wanted else Elem(wanted, child.attrs, child.children)


def with_required_paragraph(made: Elem, kind: str, spare: Elem | None = None) -> Elem:
    """Return the container with the empty paragraph that its content model may require.

    Args:
        made: the container.
        kind: its block's kind.
        spare: a paragraph of the old container whose text was deleted, to reuse.
    """
    first = made.children[0] if made.children else None
    starts = isinstance(first, Elem) and first.tag == "paragraph"
    if (kind == "item" and not starts) or (kind == "quote" and first is None):
        empty = Elem("paragraph", spare.attrs, [], spare.raw) if spare else make.paragraph()
        made.children.insert(0, empty)
    return made


def _copied(node: Elem) -> Elem:
    made = copy(node)
    assert isinstance(made, Elem)
    return made


def _make_header(row: Node) -> None:
    if isinstance(row, Elem):
        row.children = [
            Elem("tableHeader", c.attrs, c.children) if isinstance(c, Elem) else c
            for c in row.children
        ]
