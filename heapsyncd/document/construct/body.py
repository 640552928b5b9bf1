"""Carry a plan out on a body read as values: a new body that reuses the nodes that stay.

Hidden children (empty paragraphs) stay where they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from heapsyncd.document.construct.block import Maker, named_for, with_required_paragraph
from heapsyncd.document.construct.clones import Clones
from heapsyncd.document.construct.table_cell import edit_cell
from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.plan.clone_sources import RemovedBlock, Step, new_step
from heapsyncd.document.plan.remote_changes import content
from heapsyncd.document.xml import make
from heapsyncd.document.xml.node_kinds import code_items, code_text, file_keys, visible_code
from heapsyncd.document.xml.nodes import Elem, Node
from heapsyncd.document.xml.schema import DocumentVocabulary
from heapsyncd.tree import Atom, Block, Text

_TEXTBLOCKS = frozenset({"paragraph", "heading", "codeBlock"})


@dataclass(slots=True)
class Body:
    """One edit of one body."""

    clones: Clones
    vocabulary: DocumentVocabulary
    _maker: Maker = field(init=False)
    _makers: edit_leaf.Makers = field(init=False)

    def __post_init__(self) -> None:
        self._maker = Maker(self.clones, self.vocabulary)
        self._makers = self.clones.makers()

    def edited(self, step: Step) -> Elem:
        """Build the new body.

        Raises:
            InvalidEdit: the plan cannot be carried out.
        """
        root = self.clones.base.root
        return Elem("", {}, self._children(root, step), root.raw)

    def _apply(self, step: Step, node: Node) -> Node:
        """Build the node of a block that keeps its node."""
        assert step.old is not None
        if step.stays or not isinstance(node, Elem):
            return node
        old, new = step.old, step.new
        if new.kind in {"paragraph", "heading", "code"}:
            return self._textblock(node, step)
        if new.kind == "cell":
            return edit_cell(node, old, new, self._makers)
        attrs = self._attrs(node, old, new)
        if new.kind == "row":
            return Elem(node.tag, attrs, self._row(node, step), node.raw)
        made = Elem(node.tag, attrs, self._children(node, step), node.raw)
        if new.kind == "table":
            _pad_first_row(made, len(new.children[0].children))
        return with_required_paragraph(made, new.kind, _spare_paragraph(node, made, step))

    def _attrs(self, node: Elem, old: Block, new: Block) -> dict[str, object]:
        """Return the node's attributes, changing only those that the view shows differently."""
        if old.attrs == new.attrs:
            return node.attrs
        if new.kind == "files":
            keys = str(new.get("keys") or "").split("\n")
            files = make.with_keys(node.attrs["files"], file_keys(node) or [], keys)
            return node.attrs | {"files": files}
        before, after = (make.attrs_from_view(b) for b in (old, new))
        left = {k: v for k, v in node.attrs.items() if k not in before or k in after}
        return left | {k: v for k, v in after.items() if before.get(k) != v}

    def _textblock(self, node: Elem, step: Step) -> Elem:
        assert step.old is not None
        old, new = step.old, step.new
        if node.tag not in _TEXTBLOCKS:
            # An inline node among blocks stays as long as it alone shows the paragraph.
            only = new.inline[0] if len(new.inline) == 1 else None
            changed = make.with_values(node, only) if isinstance(only, Atom) else None
            return changed or self._maker.block(new_step(new))
        children: list[Node] = node.children
        if new.kind == "code":
            children = _code(children, new.text)
        elif content(old) != content(new):
            donors = [edit_leaf.Donor(d.children) for d in self._donors(step)]
            children = edit_leaf.edit(children, old.inline, new.inline, self._makers, donors)
        return Elem(node.tag, self._attrs(node, old, new), children, node.raw)

    def _donors(self, step: Step) -> list[Elem]:
        """Return the deleted textblocks beside this one, whose text may have moved into it."""
        found = (self.clones.source(Step(b, source=b)) for b in step.donors)
        return [f[1] for f in found if f is not None]

    def _children(self, parent: Elem, step: Step) -> list[Node]:
        """Build the children of a container; hidden ones keep their position among the visible
        ones.
        """
        assert step.old is not None
        if step.children is None:
            return list(parent.children)
        shown = {b.path[-1] for b in step.old.children if b.path is not None}
        steps = list(step.children)
        out = self._lead(parent, step, steps)
        at = len(out)
        for child in steps:
            place = child.old or child.replaces
            if place is not None and place.path is not None and place.path[-1] >= at:
                k = place.path[-1]
                if at < k:
                    out += [parent.children[x] for x in range(at, k) if x not in shown]
                at = k + 1
            if child.old is not None and child.old.path is not None:
                out.append(self._apply(child, parent.children[child.old.path[-1]]))
            else:
                out.append(named_for(self._maker.block(child), parent.tag))
        return out + [
            parent.children[x] for x in range(at, len(parent.children)) if x not in shown
        ]

    def _lead(self, parent: Elem, step: Step, steps: list[Step]) -> list[Node]:
        """Build a hidden paragraph at the start: filled by a new one, or kept if an item needs it.

        Removes a step that this carries out from ``steps``.
        """
        assert step.old is not None
        first = parent.children[0] if parent.children else None
        is_item = step.new.kind == "item"
        if not steps or steps[0].old is not None or not (is_item or not step.old.children):
            return []
        is_hidden = all(b.path is None or b.path[-1] != 0 for b in step.old.children)
        if not isinstance(first, Elem) or first.tag != "paragraph" or not is_hidden:
            return []
        new = steps[0].new
        if new.kind == "paragraph" and steps[0].source is None:
            empty = Block("paragraph", path=(0,))
            return [self._textblock(first, replace(steps.pop(0), old=empty))]
        return [first] if is_item and new.kind != "paragraph" else []

    def _row(self, node: Elem, step: Step) -> list[Node]:
        """Build a row's cells; padding cells, which only the view has, are made once they have
        content.
        """
        if step.children is None:
            return list(node.children)
        cells = list(step.children)
        while len(cells) > 1 and _is_padding(cells[-1]) and not cells[-1].new.inline:
            cells.pop()
        out: list[Node] = []
        for cell in cells:
            if cell.old is not None and cell.old.path is not None:
                out.append(self._apply(cell, node.children[cell.old.path[-1]]))
                continue
            made = self._maker.block(new_step(cell.new))
            like = [c.tag for c in (*out[-1:], *node.children[:1]) if isinstance(c, Elem)]
            out.append(Elem(like[0] if like else made.tag, made.attrs, made.children))
        return out


def _spare_paragraph(old: Elem, new: Elem, step: Step) -> Elem | None:
    """Return the first paragraph of a container if the new container does not have it."""
    first = old.children[0] if old.children else None
    if not isinstance(first, Elem) or first.tag != "paragraph":
        return None
    taken = [c.source for c in step.children or () if isinstance(c.source, RemovedBlock)]
    if any(s.live and s.block.path and s.block.path[-1] == 0 for s in taken):
        # Its clone holds what others wrote in it; kept here, that text would be there twice.
        return None
    return None if any(c.raw is first.raw for c in new.children) else first


def _pad_first_row(table: Elem, width: int) -> None:
    """Add empty cells to the first row when no row is as wide as the table should be."""
    rows = [r for r in table.children if isinstance(r, Elem)]
    first = rows[0]
    if any(len(r.children) >= width for r in rows):
        return
    like = first.children[-1]
    tag = like.tag if isinstance(like, Elem) else "tableCell"
    more = [Elem(tag, {}, [make.paragraph()]) for _ in range(width - len(first.children))]
    table.children[0] = Elem(first.tag, first.attrs, [*first.children, *more], first.raw)


def _is_padding(cell: Step) -> bool:
    return cell.old is not None and cell.old.path is None


def _code(children: Sequence[Node], text: str) -> list[Node]:
    if visible_code(code_text(Elem("", {}, list(children))) or "") == text:
        return list(children)

    def seen(now: Sequence[Node]) -> edit_leaf.Content:
        found = code_text(Elem("", {}, list(now)))
        return (Text(visible_code(found)),) if found else ()

    makers = edit_leaf.Makers(make.atom_elem, make.with_values, seen, tuple)
    goal = (Text(text),) if text else ()
    return edit_leaf.edit(children, code_items(children), goal, makers)
