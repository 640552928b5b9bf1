"""Update a view after a change of the document, reading only what changed."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from msgspec import Struct, field
from pycrdt import Doc
from pycrdt._pycrdt import Transaction, XmlElement, XmlFragment, XmlText

from heapsyncd.document.view.from_handles import HandleView, show
from heapsyncd.document.view.from_nodes import BodyView, Path
from heapsyncd.document.xml import nodes
from heapsyncd.tree import LISTS, Block, BlockType

T = TypeVar("T")

_OPEN = LISTS | {"quote", "item"}
"""Kinds of blocks whose children are the children of their node."""
MOST_BYTES = 2048
"""Longer updates are not watched. yrs reports a changed node by its index among its siblings, and
walks all of them to find it.
"""
_MOST = 64
"""The most changes that are tracked one by one, for the same reason."""


class Changes(Struct):
    """The nodes of a body that changed, as a tree of child indexes.

    ``whole``: the node's attributes, text or list of children changed; all of it is read again,
    and ``below`` is empty. Otherwise only the children in ``below`` changed, by index.
    """

    whole: bool = False
    below: "dict[int, Changes]" = field(default_factory=dict)
    count: int = 0
    """The number of changes recorded; counted at the root only."""

    def __bool__(self) -> bool:
        return self.whole or bool(self.below)

    @contextmanager
    def watched(self, doc: Doc[Any]) -> Iterator[None]:
        """Record what changes while the block runs.

        Indexes recorded before stay valid: where children shift, their parent is recorded as
        whole.
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
        """Record several changes; above the limit, the whole body."""
        if self.count + len(found) > _MOST:
            self.note(())
            return
        self.count += len(found)
        for one in found:
            self.note(path_of(one))

    def note(self, path: Sequence[Any]) -> None:
        """Record a change at a path."""
        at = self
        for k in path:
            if at.whole:
                return
            if not isinstance(k, int):
                break  # a map key, so the change belongs to the node above
            at = at.below.setdefault(k, Changes())
        at.whole = True
        at.below.clear()


def update_view(doc: Doc[Any], before: BodyView, changes: Changes) -> BodyView:
    """Update the view of a body.

    Args:
        doc: the document as it is now.
        before: the view before the changes.
        changes: what changed since.
    """
    if changes.whole or not before.all_known:
        return show(doc)
    with nodes.gc_paused(), nodes.transaction(doc) as txn:
        updater = _Updater(txn, HandleView(txn))
        view = updater.container(before.view, nodes.fragment(doc, txn, nodes.BODY), (), changes)
    # The name of an unknown node depends on all unknown nodes before it.
    return BodyView(view, all_known=True) if updater.view.all_known else show(doc)


class _Updater(Struct, frozen=True):
    """Rebuilds the changed parts of one view."""

    txn: Transaction
    view: HandleView

    def container(
        self, block: Block, raw: XmlElement | XmlFragment, path: Path, changes: Changes
    ) -> Block:
        """Update a container whose list of child nodes did not change.

        Indexes are those of nodes; hidden ones have no block.
        """
        children = list(block.children)
        for k, change in changes.below.items():
            at = bisect_left(children, k, key=_index)
            is_shown = at < len(children) and _index(children[at]) == k
            node: Any = raw.get(self.txn, k)
            was = children[at] if is_shown else None
            child = self._child(block.kind, was, node, (*path, k), change)
            children[at : at + is_shown] = [] if child is None else [child]
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
        return self.view.child(raw, parent, path)


def _index(block: Block) -> int:
    assert block.path is not None, "the blocks of a document's view have paths"
    return block.path[-1]
