"""Which node of the live document is which node of the base.

Yjs knows, but pycrdt does not tell: so each node of a fork of the base is given a number as an
attribute, the numbers are merged into a copy of the live document, and read where they arrive.
A node that was deleted meanwhile has taken its number along.
"""

from collections.abc import Iterator, Mapping

from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.document import nodes
from heapsyncd.document.replica import Replica

Path = tuple[int, ...]
Same = Mapping[Path, Path]
"""Path in the base -> path in the live document; a missing one is of a deleted node."""

_NUMBER = "heapsyncd:number"


def same_nodes(base: bytes, live: bytes) -> Same:
    """Follow every element and text of the body.

    Args:
        base: the state of a document.
        live: a later state of the same document.
    """
    scratch = Replica.load([base])
    before: list[Path] = []
    with nodes.transaction(scratch.doc) as txn:
        for path, node in _walk(nodes.fragment(scratch.doc, txn, nodes.BODY), txn):
            node.insert_attribute(txn, _NUMBER, len(before))  # type: ignore[arg-type]  # any value
            before.append(path)
    later = Replica.load([live, scratch.state()])
    same: dict[Path, Path] = {}
    with nodes.transaction(later.doc) as txn:
        for path, node in _walk(nodes.fragment(later.doc, txn, nodes.BODY), txn):
            number = node.attribute(txn, _NUMBER)
            if number is not None:
                same[before[int(number)]] = path
    return same


def _walk(root: XmlFragment, txn: Transaction) -> Iterator[tuple[Path, XmlElement | XmlText]]:
    stack: list[tuple[Path, XmlFragment | XmlElement]] = [((), root)]
    while stack:
        path, parent = stack.pop()
        for k, child in enumerate(parent.children(txn)):
            here = (*path, k)
            if isinstance(child, XmlText | XmlElement):
                yield here, child
            if isinstance(child, XmlElement):
                stack.append((here, child))
