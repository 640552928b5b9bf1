"""Map the nodes of the base to the nodes of the live document.

Yjs knows which node is which, but pycrdt does not expose it. So the nodes of a fork of the base
are numbered by an attribute, the numbering is merged into a copy of the live document, and the
numbers are read there. A node that was deleted meanwhile does not appear.
"""

from collections.abc import Collection, Iterator, Mapping

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.diff import align
from heapsyncd.document.updates import apply, new_doc, state_since
from heapsyncd.document.xml import nodes
from heapsyncd.tree import Block

Path = tuple[int, ...]
NodeMap = Mapping[Path, Path]
"""Path in the base -> path in the live document; a deleted node has no entry."""

_NUMBER = "heapsyncd:number"
_FEW = 1000
"""In bodies with at most this many blocks, all nodes are numbered."""


def match_nodes(
    base: bytes, live: bytes, views: tuple[Block, Block], changed: Collection[int]
) -> NodeMap:
    """Map the nodes of a body to those of its later state.

    Args:
        base: the state of a document.
        live: a later state of the same document.
        views: their views.
        changed: the top-level nodes that matter. In a long body only they are numbered; the others
            are matched by similarity.
    """
    before, after = views
    if len(before.children) <= _FEW:
        return _followed(base, live, None)
    node_map: dict[Path, Path] = {}
    for i, j in align(before.children, after.children):
        path = before.children[i].path if i is not None else None
        if path is not None and path[0] not in changed and j is not None:
            node_map[path] = after.children[j].path or path
    return node_map | _followed(base, live, changed)


def _followed(base: bytes, live: bytes, only: Collection[int] | None) -> dict[Path, Path]:
    numbered: list[Path] = []
    marked = _marked(base, numbered, only)
    later = new_doc()
    apply(later, live)
    apply(later, marked)
    node_map: dict[Path, Path] = {}
    with nodes.transaction(later) as txn:
        for path, node in _walk(nodes.fragment(later, txn, nodes.BODY), txn, None):
            number = node.attribute(txn, _NUMBER)
            if number is not None:
                node_map[numbered[int(number)]] = path
    return node_map


def _marked(base: bytes, numbered: list[Path], only: Collection[int] | None) -> bytes:
    """Make the update that numbers the nodes; appends each node's path to ``numbered``."""
    doc = new_doc()
    apply(doc, base)
    before = doc.get_state()
    with nodes.transaction(doc) as txn:
        for path, node in _walk(nodes.fragment(doc, txn, nodes.BODY), txn, only):
            node.insert_attribute(txn, _NUMBER, len(numbered))  # type: ignore[arg-type]  # any value
            numbered.append(path)
    return state_since(doc, before)


def _walk(
    root: XmlFragment, txn: Transaction, only: Collection[int] | None
) -> Iterator[tuple[Path, XmlElement | XmlText]]:
    stack: list[tuple[Path, XmlFragment | XmlElement]] = [((), root)]
    while stack:
        path, parent = stack.pop()
        for k, child in enumerate(parent.children(txn)):
            if not path and only is not None and k not in only:
                continue
            here = (*path, k)
            if isinstance(child, XmlText | XmlElement):
                yield here, child
            if isinstance(child, XmlElement):
                stack.append((here, child))
