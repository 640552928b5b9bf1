"""New nodes for blocks of the goal, cloned from old ones where the plan says so."""

from dataclasses import dataclass

from heapsyncd.document.build import fast_blocks
from heapsyncd.document.build.clones import Clones
from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.plan.clone_sources import Step
from heapsyncd.document.xml import make
from heapsyncd.document.xml.nodes import Elem, Node, copy
from heapsyncd.document.xml.schema import ITEMS, Spoken
from heapsyncd.tree import LEAVES, Block, Inline

_TEXT = frozenset({"paragraph", "heading"})


@dataclass(slots=True)
class Maker:
    """Makes nodes in a heap's vocabulary; nothing it returns has a ``raw``."""

    clones: Clones
    spoken: Spoken

    def block(self, step: Step) -> Elem:
        """A node for a step that is not made in place."""
        source = self.clones.source(step)
        if step.whole and source is not None:
            return _copied(source[1])
        block = step.new
        if source is None and step.children is None and fast_blocks.is_simple(block):
            return fast_blocks.Unmade(block, self.spoken)
        if block.kind == "opaque":
            return self.clones.block(block)
        if block.kind == "code":
            return make.block_elem(block, self.spoken, make.code_children(block.text))
        if block.kind in LEAVES:
            return self._leaf(block, source)
        made = make.block_elem(block, self.spoken, [])
        if source is not None and source[1].tag == made.tag:
            made.attrs = source[1].attrs | made.attrs
        made.children = [fitted(self.block(c), made.tag) for c in step.below()]
        if block.kind == "table" and made.children:
            _make_header(made.children[0])
        return completed(made, block.kind)

    def _leaf(self, block: Block, source: tuple[Block, Elem] | None) -> Elem:
        made = make.block_elem(block, self.spoken, [])
        children: list[Node] = []
        old: tuple[Inline, ...] = ()
        if source is not None and source[0].kind in _TEXT and source[1].tag in _TEXT:
            children, old = source[1].children, source[0].inline
            if block.kind in _TEXT:
                shown = make.shown_attrs(source[0])
                values = source[1].attrs.items()
                hidden = {k: v for k, v in values if k not in shown and v is not None}
                made.attrs = hidden | made.attrs
        makers = self.clones.makers()
        if children:
            content = edit_leaf.edit(children, old, block.inline, makers)
            made.children = [copy(c) for c in content]
        else:
            made.children = edit_leaf.fresh(block.inline, makers)
        if block.kind == "cell":
            return Elem(made.tag, {}, [make.paragraph(made.children)])
        only = made.children[0] if len(made.children) == 1 else None
        if block.kind == "paragraph" and isinstance(only, Elem) and only.tag == "image":
            return only if self.spoken.words.block_images else made
        return made


def fitted(child: Elem, parent_tag: str) -> Elem:
    """The child under the name its parent's items have (a list may come from another spelling)."""
    wanted = ITEMS.get(parent_tag, child.tag)
    return child if child.tag == wanted else Elem(wanted, child.attrs, child.children)


def completed(made: Elem, kind: str, spare: Elem | None = None) -> Elem:
    """The container with what its content model asks for at least: an empty paragraph.

    Args:
        made: the container.
        kind: its block's kind.
        spare: a paragraph of the old container whose text was deleted, to be kept for that.
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
