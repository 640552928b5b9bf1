"""Carries a plan out on a body read as values: a new body, of the old one's nodes where they stay.

Hidden children (empty paragraphs) stay where they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from heapsyncd.document.build.block import Maker, completed, fitted
from heapsyncd.document.build.clones import Clones
from heapsyncd.document.build.table_cell import edit_cell
from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.plan.clone_sources import Gone, Step, fresh_step
from heapsyncd.document.plan.remote_changes import content
from heapsyncd.document.xml import make
from heapsyncd.document.xml.node_kinds import code_items, code_text, file_keys, shown_code
from heapsyncd.document.xml.nodes import Elem, Node
from heapsyncd.document.xml.schema import Spoken
from heapsyncd.tree import Atom, Block, Text

_TEXTBLOCKS = frozenset({"paragraph", "heading", "codeBlock"})


@dataclass(slots=True)
class Body:
    """One edit of one body."""

    clones: Clones
    spoken: Spoken
    _maker: Maker = field(init=False)
    _makers: edit_leaf.Makers = field(init=False)

    def __post_init__(self) -> None:
        self._maker = Maker(self.clones, self.spoken)
        self._makers = self.clones.makers()

    def edited(self, step: Step) -> Elem:
        """The new body; InvalidEdit when the plan can't be carried out."""
        root = self.clones.base.root
        return Elem("", {}, self._weave(root, step), root.raw)

    def _apply(self, step: Step, node: Node) -> Node:
        """The node of a block that stays, changed in place."""
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
        made = Elem(node.tag, attrs, self._weave(node, step), node.raw)
        if new.kind == "table":
            _widen(made, len(new.children[0].children))
        return completed(made, new.kind, _spare(node, made, step))

    def _attrs(self, node: Elem, old: Block, new: Block) -> dict[str, object]:
        """The node's attributes, with those changed that the view shows."""
        if old.attrs == new.attrs:
            return node.attrs
        if new.kind == "files":
            keys = str(new.get("keys") or "").split("\n")
            files = make.with_keys(node.attrs["files"], file_keys(node) or [], keys)
            return node.attrs | {"files": files}
        before, after = (make.shown_attrs(b) for b in (old, new))
        left = {k: v for k, v in node.attrs.items() if k not in before or k in after}
        return left | {k: v for k, v in after.items() if before.get(k) != v}

    def _textblock(self, node: Elem, step: Step) -> Elem:
        assert step.old is not None
        old, new = step.old, step.new
        if node.tag not in _TEXTBLOCKS:
            # An inline node among blocks stays while it is all there is to show.
            only = new.inline[0] if len(new.inline) == 1 else None
            changed = make.revalued(node, only) if isinstance(only, Atom) else None
            return changed or self._maker.block(fresh_step(new))
        children: list[Node] = node.children
        if new.kind == "code":
            children = _code(children, new.text)
        elif content(old) != content(new):
            donors = [edit_leaf.Donor(d.children) for d in self._donors(step)]
            children = edit_leaf.edit(children, old.inline, new.inline, self._makers, donors)
        return Elem(node.tag, self._attrs(node, old, new), children, node.raw)

    def _donors(self, step: Step) -> list[Elem]:
        """Textblocks that vanish beside this one: their text may come to stand in it."""
        found = (self.clones.source(Step(b, source=b)) for b in step.donors)
        return [f[1] for f in found if f is not None]

    def _weave(self, parent: Elem, step: Step) -> list[Node]:
        """The new children of a container: hidden ones stay between those that show."""
        assert step.old is not None
        if step.children is None:
            return list(parent.children)
        shown = {b.path[-1] for b in step.old.children if b.path is not None}
        steps = list(step.children)
        out = self._lead(parent, step, steps)
        at = len(out)
        for child in steps:
            place = child.old or child.instead
            if place is not None and place.path is not None and place.path[-1] >= at:
                k = place.path[-1]
                if at < k:
                    out += [parent.children[x] for x in range(at, k) if x not in shown]
                at = k + 1
            if child.old is not None and child.old.path is not None:
                out.append(self._apply(child, parent.children[child.old.path[-1]]))
            else:
                out.append(fitted(self._maker.block(child), parent.tag))
        return out + [
            parent.children[x] for x in range(at, len(parent.children)) if x not in shown
        ]

    def _lead(self, parent: Elem, step: Step, steps: list[Step]) -> list[Node]:
        """A hidden paragraph at the head: filled by a new one, kept where an item needs it.

        Takes a step that is done with it off ``steps``.
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
        """A row's cells; ones that only the view has are made when something stands in them."""
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
            made = self._maker.block(fresh_step(cell.new))
            like = [c.tag for c in (*out[-1:], *node.children[:1]) if isinstance(c, Elem)]
            out.append(Elem(like[0] if like else made.tag, made.attrs, made.children))
        return out


def _spare(old: Elem, new: Elem, step: Step) -> Elem | None:
    """The first paragraph of a container, when the new one is without it."""
    first = old.children[0] if old.children else None
    if not isinstance(first, Elem) or first.tag != "paragraph":
        return None
    taken = [c.source for c in step.children or () if isinstance(c.source, Gone)]
    if any(s.live and s.block.path and s.block.path[-1] == 0 for s in taken):
        # What others wrote in it is in its clone; it would stay in here, too.
        return None
    return None if any(c.raw is first.raw for c in new.children) else first


def _widen(table: Elem, width: int) -> None:
    """Give the first row empty cells, when no row is as wide as the table is to be."""
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
    if shown_code(code_text(Elem("", {}, list(children))) or "") == text:
        return list(children)

    def seen(now: Sequence[Node]) -> edit_leaf.Content:
        found = code_text(Elem("", {}, list(now)))
        return (Text(shown_code(found)),) if found else ()

    makers = edit_leaf.Makers(make.atom_elem, make.revalued, seen, tuple)
    goal = (Text(text),) if text else ()
    return edit_leaf.edit(children, code_items(children), goal, makers)
