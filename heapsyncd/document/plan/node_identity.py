"""Which node of the live document is which node of the base.

Yjs knows, but pycrdt does not tell: so nodes of a fork of the base are given a number as an
attribute, the numbers are merged into a copy of the live document, and read where they arrive.
A node that was deleted meanwhile has taken its number along.
"""

from collections.abc import Collection, Iterator, Mapping

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.diff import align
from heapsyncd.document.updates import apply, new_doc, state_since
from heapsyncd.document.xml import nodes
from heapsyncd.tree import Block

Path = tuple[int, ...]
Same = Mapping[Path, Path]
"""Path in the base -> path in the live document; a missing one is of a deleted node."""

_NUMBER = "heapsyncd:number"
_FEW = 1000
"""Bodies with at most so many blocks are followed whole."""


def same_nodes(
    base: bytes, live: bytes, views: tuple[Block, Block], changed: Collection[int]
) -> Same:
    """Follow the nodes of a body.

    Args:
        base: the state of a document.
        live: a later state of the same document.
        views: of the two.
        changed: the top-level nodes that matter. In a long body only they are followed, the others
            are told by their likeness.
    """
    before, after = views
    if len(before.children) <= _FEW:
        return _followed(base, live, None)
    same: dict[Path, Path] = {}
    for i, j in align(before.children, after.children):
        path = before.children[i].path if i is not None else None
        if path is not None and path[0] not in changed and j is not None:
            same[path] = after.children[j].path or path
    return same | _followed(base, live, changed)


def _followed(base: bytes, live: bytes, only: Collection[int] | None) -> dict[Path, Path]:
    numbered: list[Path] = []
    marked = _marked(base, numbered, only)
    later = new_doc()
    apply(later, live)
    apply(later, marked)
    same: dict[Path, Path] = {}
    with nodes.transaction(later) as txn:
        for path, node in _walk(nodes.fragment(later, txn, nodes.BODY), txn, None):
            number = node.attribute(txn, _NUMBER)
            if number is not None:
                same[numbered[int(number)]] = path
    return same


def _marked(base: bytes, numbered: list[Path], only: Collection[int] | None) -> bytes:
    """The update that numbers the nodes; their paths by number go into ``numbered``."""
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
