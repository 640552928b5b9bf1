"""What a body shows after a change, told from what it showed before: only what changed is read."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pycrdt import Doc
from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.document.view.from_handles import Direct, show
from heapsyncd.document.view.from_nodes import Path, Shown
from heapsyncd.document.xml import nodes
from heapsyncd.tree import LISTS, Block, BlockType

T = TypeVar("T")

_OPEN = LISTS | {"quote", "item"}
"""Kinds whose children are those of their node."""
MOST_BYTES = 2048
"""A longer update is not watched: yrs names each node that changed by its place, and to find that
among many siblings passes them all.
"""
_MOST = 64
"""Changes that are followed one by one, for the same reason."""


@dataclass(slots=True)
class Changes:
    """The nodes of a body that changed, as a tree of child indexes.

    ``whole``: the node's attributes, its text or its list of children changed. Then nothing is
    known of the indexes below it, and all of it is read anew. Else those stand that are below it.
    """

    whole: bool = False
    below: "dict[int, Changes]" = field(default_factory=dict)
    count: int = 0
    """How many changes were noted, at the body."""

    def __bool__(self) -> bool:
        return self.whole or bool(self.below)

    @contextmanager
    def watched(self, doc: Doc[Any]) -> Iterator[None]:
        """Note what changes while the block runs. Indexes noted before stay right: where they
        shift, the node above them is a changed one.
        """
        with nodes.transaction(doc) as txn:
            body = nodes.fragment(doc, txn, nodes.BODY)

        def note(events: list[Any]) -> None:
            self.note_all(events, lambda event: event.path)

        watch = body.observe_deep(note)
        try:
            yield
        finally:
            watch.drop()

    def note_all(self, found: Sequence[T], path_of: Callable[[T], Sequence[Any]]) -> None:
        """Note changes at nodes, or that there are many."""
        if self.count + len(found) > _MOST:
            self.note(())
            return
        self.count += len(found)
        for one in found:
            self.note(path_of(one))

    def note(self, path: Sequence[Any]) -> None:
        """Note a change at a node."""
        at = self
        for k in path:
            if at.whole:
                return
            if not isinstance(k, int):
                break  # something in a map: it belongs to the node above
            at = at.below.setdefault(k, Changes())
        at.whole = True
        at.below.clear()


def shown_again(doc: Doc[Any], before: Shown, changes: Changes) -> Shown:
    """What a body shows.

    Args:
        doc: as it is now.
        before: what it showed.
        changes: where it changed since.
    """
    if changes.whole or not before.is_plain:
        return show(doc)
    with nodes.no_collection(), nodes.transaction(doc) as txn:
        again = _Again(txn, Direct(txn))
        view = again.container(before.view, nodes.fragment(doc, txn, nodes.BODY), (), changes)
    # The name of an unknown node depends on all that stand before it.
    return Shown(view, is_plain=True) if again.view.is_plain else show(doc)


@dataclass(frozen=True, slots=True)
class _Again:
    txn: Transaction
    view: Direct

    def container(
        self, block: Block, raw: XmlElement | XmlFragment, path: Path, changes: Changes
    ) -> Block:
        """A container whose list of child nodes is as it was; hidden ones are not in the block."""
        children = list(block.children)
        for k, change in changes.below.items():
            at = bisect_left(children, k, key=_index)
            stands = at < len(children) and _index(children[at]) == k
            node: Any = raw.get(self.txn, k)
            was = children[at] if stands else None
            child = self._child(block.kind, was, node, (*path, k), change)
            children[at : at + stands] = [] if child is None else [child]
        return block.with_children(children)

    def _child(
        self,
        parent: BlockType,
        was: Block | None,
        raw: XmlElement | XmlText,
        path: Path,
        change: Changes,
    ) -> Block | None:
        if was is not None and was.kind in _OPEN and not change.whole:
            assert not isinstance(raw, XmlText), "a text shows as no container"
            return self.container(was, raw, path, change)
        return self.view.part(raw, parent, path)


def _index(block: Block) -> int:
    assert block.path is not None, "a document's blocks know where they stand"
    return block.path[-1]
