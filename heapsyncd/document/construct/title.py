"""Read and edit the title: one line of text, in a paragraph or bare, whose form is kept."""

from collections.abc import Sequence

from heapsyncd.document.inline import edit_leaf
from heapsyncd.document.inline.visible_text import without_shared_edits
from heapsyncd.document.xml import make, nodes
from heapsyncd.document.xml.node_kinds import code_items
from heapsyncd.document.xml.nodes import Elem, Node, Run, Txt
from heapsyncd.tree import Text


def read(root: Elem) -> str:
    """Return the title: all text of ``title_v0`` on one line."""
    return _visible("".join(nodes.texts(root)))


def with_title(root: Elem, wanted: str) -> Elem:
    """Return the root with another title: its text changed in place, or new in a paragraph."""
    wanted = _visible(wanted)
    if read(root) == wanted:
        return root
    texts = _texts(root)
    if not texts:
        return _filled(root, wanted)
    made = edit_leaf.edit(texts, _items(texts), _goal(wanted), _MAKERS)
    return _with_texts(root, {id(t.raw): t for t in made if isinstance(t, Txt)})


def remaining(base: str, wanted: str | None, live: str) -> str | None:
    """Return the title to write at the base: as wanted, without edits that the live one has."""
    if wanted is None or live == base:
        return wanted
    before, goal, now = (_goal(_visible(t)) for t in (base, wanted, live))
    return "".join(i.text for i in without_shared_edits(before, goal, now) if isinstance(i, Text))


def _visible(text: str) -> str:
    return _one_line(text).replace("\0", "").strip()


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


def _goal(text: str) -> tuple[Text, ...]:
    return (Text(text),) if text else ()


def _seen(children: Sequence[Node]) -> tuple[Text, ...]:
    return _goal(_visible("".join(t for c in children for t in nodes.texts(c))))


_MAKERS = edit_leaf.Makers(make.atom_elem, make.with_values, _seen, tuple)


def _texts(root: Elem) -> list[Node]:
    return [n for n in _walk(root) if isinstance(n, Txt)]


def _walk(root: Elem) -> list[Node]:
    out: list[Node] = []
    stack: list[Node] = [root]
    while stack:
        node = stack.pop()
        out.append(node)
        if isinstance(node, Elem):
            stack += reversed(node.children)
    return out


def _items(texts: Sequence[Node]) -> list[Text]:
    """Return the visible text with positions, without whitespace at both ends."""
    items = [Text(_one_line(i.text), (), i.pieces) for i in code_items(texts)]
    while items and not items[0].text.strip():
        del items[0]
    while items and not items[-1].text.strip():
        del items[-1]
    if items:
        items[0] = items[0].cut(
            len(items[0].text) - len(items[0].text.lstrip()), len(items[0].text)
        )
        items[-1] = items[-1].cut(0, len(items[-1].text.rstrip()))
    return items


def _filled(root: Elem, wanted: str) -> Elem:
    text: list[Node] = [Txt([Run(wanted, {})])]
    host = next((c for c in root.children if isinstance(c, Elem) and c.tag == "paragraph"), None)
    if host is None:
        return Elem("", {}, [*root.children, make.paragraph(text)], root.raw)
    filled = Elem(host.tag, host.attrs, [*host.children, *text], host.raw)
    return Elem("", {}, [filled if c is host else c for c in root.children], root.raw)


def _with_texts(root: Elem, made: dict[int, Txt]) -> Elem:
    top = Elem(root.tag, root.attrs, [], root.raw)
    todo = [(root, top)]
    while todo:
        node, target = todo.pop()
        for child in node.children:
            if isinstance(child, Elem):
                below = Elem(child.tag, child.attrs, [], child.raw)
                target.children.append(below)
                todo.append((child, below))
            elif id(child.raw) in made:
                target.children.append(made[id(child.raw)])
    return top
