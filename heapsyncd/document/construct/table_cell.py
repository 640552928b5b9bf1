"""Edit table cells. A cell shows its paragraphs as one content, separated by two breaks each."""

from heapsyncd.diff import text_hunks
from heapsyncd.document.construct.clones import show_inline
from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.inline.visible_text import Alphabet, cut, kept
from heapsyncd.document.xml import make
from heapsyncd.document.xml.nodes import Elem, Node
from heapsyncd.tree import Atom, Block, Inline

Range = tuple[int, int]


def edit_cell(node: Elem, old: Block, new: Block, makers: edit_leaf.Makers) -> Elem:
    """Return the cell with content that shows ``new``.

    While the breaks between its paragraphs stay, each paragraph is edited on its own. Otherwise
    the first one takes all content.
    """
    shown = [
        k for k, c in enumerate(node.children) if isinstance(c, Elem) and show_inline(c.children)
    ]
    children = list(node.children)
    if not children:
        made = edit_leaf.edit([], (), new.inline, makers)
        return Elem(node.tag, node.attrs, [make.paragraph(made)], node.raw)
    parts = _parts([c for k, c in enumerate(children) if k in shown and isinstance(c, Elem)])
    goals = _goals(old.inline, new.inline, parts) if len(shown) > 1 else None
    if goals is None:
        first = shown[0] if shown else 0
        before = cut(old.inline, *parts[0]) if shown else []
        gone = [children[k] for k in shown[1:]]
        donors = [edit_leaf.Donor(c.children) for c in gone if isinstance(c, Elem)]
        children[first] = _edited(children[first], before, new.inline, makers, donors)
        children = [c for c in children if not any(c is g for g in gone)]
    else:
        for k, part, goal in zip(shown, parts, goals, strict=True):
            children[k] = _edited(children[k], cut(old.inline, *part), goal, makers, [])
    return Elem(node.tag, node.attrs, children, node.raw)


def _edited(
    node: Node,
    old: list[Inline],
    new: edit_leaf.Content,
    makers: edit_leaf.Makers,
    donors: list[edit_leaf.Donor],
) -> Node:
    assert isinstance(node, Elem)
    if tuple(old) == tuple(new):
        return node
    children = edit_leaf.edit(node.children, old, new, makers, donors)
    return Elem(node.tag, node.attrs, children, node.raw)


def _parts(shown: list[Elem]) -> list[Range]:
    """Return the visible range of each paragraph."""
    out: list[Range] = []
    at = 0
    for paragraph in shown:
        length = _length(show_inline(paragraph.children))
        out.append((at, at + length))
        at += length + 2
    return out


def _length(items: tuple[Inline, ...]) -> int:
    return sum(1 if isinstance(i, Atom) else len(i.text) for i in items)


def _goals(
    old: tuple[Inline, ...], new: tuple[Inline, ...], parts: list[Range]
) -> list[list[Inline]] | None:
    """Return what each paragraph is to show; None when a break between them changed."""
    letters = Alphabet(old, new)
    before, after = letters.string(old), letters.string(new)
    stands = kept(text_hunks(before, after), len(before))
    out: list[list[Inline]] = []
    start = 0
    for _, end in parts[:-1]:
        at = next((n + end - o for o, n, size in stands if o <= end and end + 2 <= o + size), None)
        if at is None or at == start:
            return None
        out.append(cut(new, start, at))
        start = at + 2
    if start == len(after):
        return None
    out.append(cut(new, start, len(after)))
    return out
