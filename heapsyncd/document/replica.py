"""Keep a replica: our copy of one Yjs document."""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from msgspec import Struct
from pycrdt import Doc, XmlFragment, XmlText
from pycrdt._pycrdt import Snapshot

from heapsyncd.document import fields, source
from heapsyncd.document.encoding.state_vectors import (
    Pending,
    canonical_snapshot,
    encode_varint,
    sorted_vector,
)
from heapsyncd.document.encoding.structure_limits import LIMIT, exact_cost, upper_bound
from heapsyncd.document.updates import (
    apply,
    merge,
    new_doc,
    pending_part,
    pycrdt_errors,
    state_since,
    without_pending,
)
from heapsyncd.document.view import from_handles
from heapsyncd.document.view.from_nodes import BodyView, Path
from heapsyncd.document.view.incremental import MOST_BYTES, Changes, update_view
from heapsyncd.errors import HeapsyncdError, UnreadableDocument
from heapsyncd.model import Fields, StoredSource
from heapsyncd.tree import Block

CLIENT_ID_BITS = 32
"""As many as Yjs uses; pycrdt's 53 bits would make every update a third longer."""

_LONG = 500
"""The most updates that a replica keeps before it merges them."""
_MANY_BYTES = 1 << 20
"""The most bytes of updates kept besides the first, or four times the first's if that is more."""


def new_client_id() -> int:
    """Return a fresh random client id."""
    return secrets.randbits(CLIENT_ID_BITS)


class Taken(Struct, frozen=True):
    """The effect of an update.

    ``changed``: the document changed. ``is_news``: the document changed, or will once the
    dependencies of the update arrive, so that its bytes must be kept.
    """

    changed: bool
    is_news: bool


class Replica:
    """One document. Not for use by two threads at once.

    Args:
        client_id: the id that our edits are issued under; fresh by default. The same id must never
            edit two states of a document if one does not contain the other's edits.
    """

    def __init__(self, client_id: int | None = None) -> None:
        self._doc: Doc[Any] = new_doc(new_client_id() if client_id is None else client_id)
        self._log: list[bytes] = []
        """The updates it was made of: after a panic the document is rebuilt from them."""
        self._late_bytes = 0
        """The bytes of the log without its first update."""
        self._waiting: list[bytes] = []
        """Updates with a pending part."""
        self._pending: frozenset[Pending] = frozenset()
        """The pending parts."""
        self._unchecked: bytes | None = None
        """The last update while loading, until it was checked for a pending part. The check is put
        off until the next update comes, because a large one is slow to check.
        """
        self._cost_bound = 0
        """An upper bound of its levels and first entries (``encoding.structure_limits``)."""
        self._shown: BodyView | None = None
        self._changes = Changes()
        """What changed in the body since ``_shown``."""
        self._fields: Fields | None = None
        """The fields as last read; None after each change."""

    @classmethod
    def load(cls, updates: Iterable[bytes], client_id: int | None = None) -> "Replica":
        """Build a document from updates in any order.

        Raises:
            UnreadableDocument: an update can't be read; nothing is built.
        """
        replica = cls(client_id)
        updates = list(updates)
        replica._check_cost(updates)
        is_orderly = True
        for update in updates:
            is_orderly &= replica._set_aside_pending()
            is_orderly &= apply(replica._doc, update)
            replica._unchecked = update
            replica._log.append(update)
        if not is_orderly:
            replica._rebuild()
            replica._reset_waiting(replica._log)
            replica._unchecked = None
        replica._late_bytes = sum(map(len, replica._log[1:]))
        return replica

    @property
    def client_id(self) -> int:
        """The id that our edits are issued under."""
        return self._doc.client_id

    @property
    def doc(self) -> "Doc[Any]":
        """The pycrdt document, for use in ``document`` only."""
        return self._doc

    def apply(self, update: bytes) -> bool:
        """Take in an update; returns whether the document changed (by a deletion alone, too).

        False may also mean that the update is pending: see ``take``.

        Raises:
            UnreadableDocument: the bytes are bad; the replica is unchanged.
        """
        return self.take(update).changed

    def take(self, update: bytes) -> "Taken":
        """Take in an update, and report what it changed.

        Raises:
            UnreadableDocument: the bytes are bad; the replica is unchanged.
        """
        try:
            return self._take(update)
        except UnreadableDocument:
            self._rebuild()
            raise

    def _check_cost(self, updates: Sequence[bytes]) -> None:
        """Refuse updates that yrs could not delete again, or would take too long to take in."""
        self._cost_bound += sum(map(upper_bound, updates))
        if self._cost_bound > LIMIT:
            self._cost_bound = exact_cost(merge([*self._log, *updates]))

    def _set_aside_pending(self) -> bool:
        """Move the pending part of the last loaded update out of the document.

        Returns:
            Whether it had none.
        """
        is_whole = self._unchecked is None or not self._pending_of(self._unchecked)
        if self._unchecked is not None and not is_whole:
            self._add_waiting([self._unchecked])
            self._drop_pending()
        self._unchecked = None
        return is_whole

    def _drop_pending(self) -> None:
        """Replace the document by one without what it cannot use yet."""
        self._doc = without_pending(self._doc)
        self._fields = None
        self.forget_view()

    def _take(self, update: bytes) -> "Taken":
        self._set_aside_pending()
        self._check_cost([update])
        fired: list[object] = []
        self._fields = None
        watch = self._doc._doc.observe(fired.append)  # noqa: SLF001 -- the wrapper keeps each callback
        try:
            follow = self._shown is not None and len(update) <= MOST_BYTES
            with self._changes.watched(self._doc) if follow else nullcontext():
                apply(self._doc, update)
        finally:
            watch.drop()
        if fired and not follow:
            self.forget_view()
        found = self._pending_of(update)
        is_pending = not found <= self._pending and update not in self._waiting
        if is_pending:
            self._add_waiting([update])
        if found:
            self._drop_pending()
        if fired or is_pending:
            self._keep(update)
        if not found:
            self._retry_waiting()
        return Taken(bool(fired), bool(fired) or is_pending)

    def _keep(self, update: bytes) -> None:
        self._log.append(update)
        self._late_bytes += len(update)
        if len(self._log) > _LONG or self._late_bytes > max(_MANY_BYTES, 4 * len(self._log[0])):
            # Pending updates are not part of the state, so they need the merged log.
            self._log = [merge(self._log) if self.has_pending() else self.state()]
            self._late_bytes = 0

    def _add_waiting(self, updates: Iterable[bytes]) -> None:
        for update in updates:
            if found := self._pending_of(update):
                self._waiting.append(update)
                self._pending |= found

    def _reset_waiting(self, updates: Sequence[bytes]) -> None:
        self._waiting, self._pending = [], frozenset()
        self._add_waiting(updates)

    def _retry_waiting(self) -> None:
        """Try the waiting updates again after another one arrived.

        yrs would try by itself, but considers only some of several waiting updates, and the result
        is wrong. A document made of all updates at once is right.
        """
        if self._waiting:
            self._rebuild()
            self._reset_waiting(self._waiting)

    def _pending_of(self, update: bytes) -> frozenset[Pending]:
        return pending_part(update, self._doc.get_state())

    def _rebuild(self) -> None:
        self._doc = new_doc(self._doc.client_id)
        self._fields = None
        merged = merge(self._log)
        apply(self._doc, merged)
        self.forget_view()
        if self._pending_of(merged):
            self._drop_pending()

    def state_vector(self) -> bytes:
        """Return the state vector, its clients in ascending order.

        A deletion alone does not change it: compare fingerprints instead.
        """
        return sorted_vector(self._doc.get_state())

    def fingerprint(self) -> bytes:
        """Return bytes that are equal exactly for equal states, however they came about."""
        return canonical_snapshot(Snapshot.from_doc(self._doc._doc).encode())  # noqa: SLF001 -- the cheap way

    def state(self) -> bytes:
        """Return the whole document as one update, without pending parts: those are in the raw
        updates.
        """
        return self._doc.get_update()

    def since(self, state_vector: bytes) -> bytes:
        """Return what the holder of a state vector lacks.

        Raises:
            UnreadableDocument: the vector is bad.
        """
        return state_since(self._doc, state_vector)

    def has_pending(self) -> bool:
        """Tell whether any update waits for others that have not arrived."""
        self._set_aside_pending()
        return bool(self._waiting)

    def has_pending_of(self, client_id: int) -> bool:
        """Tell whether a waiting update may have been issued by a client; true more often than
        exact.
        """
        name = encode_varint(client_id)
        if self._unchecked is not None and name in self._unchecked:
            self._set_aside_pending()
        return any(name in u for u in self._waiting)

    def fields(self) -> Fields:
        """Return the fields beside the body; cached until the document changes."""
        if self._fields is None:
            with pycrdt_errors():
                self._fields = fields.read(self._doc)
        return self._fields

    def confirmations(self) -> dict[str, str]:
        """Return the codes that confirm the block's deletion, as ``fields.confirmations`` does."""
        with pycrdt_errors():
            return fields.confirmations(self._doc)

    def source_size(self) -> int:
        """Return how many bytes of source the document holds, without reading it."""
        with pycrdt_errors():
            return source.size(self._doc)

    def source(self, most_bytes: int) -> StoredSource:
        """Return the source kept in the document, as ``source.read`` does."""
        with pycrdt_errors():
            return source.read(self._doc, most_bytes)

    def view(self) -> Block:
        """Return the markdown view of the body; cached until it changes."""
        return self.shown().view

    def shown(self) -> BodyView:
        """Return the view of the body with its properties; only what changed is read again."""
        shown, changes = self._shown, self._changes
        with pycrdt_errors():
            if shown is None:
                shown = from_handles.show(self._doc)
            elif changes:
                shown = update_view(self._doc, shown, changes)
        self._shown, self._changes = shown, Changes()
        return shown

    def record_edit(self, update: bytes, paths: Sequence[Path]) -> None:
        """Record an edit that was made on ``doc`` itself.

        Args:
            update: the update that it made.
            paths: the paths of the nodes of the body that it changed.
        """
        self._keep(update)
        self._fields = None
        self._changes.note_all(paths, lambda path: path)

    def invalidate(self) -> None:
        """Make every further use raise UnreadableDocument: an edit of ``doc`` broke off."""
        self._doc = _Invalidated()  # type: ignore[assignment]  # it only raises
        self._fields = None
        self.forget_view()

    def forget_view(self) -> None:
        """Drop the cached view, whose memory is some twenty times the text's."""
        self._shown = None


class _Invalidated:
    def __getattr__(self, name: str) -> Any:
        raise UnreadableDocument("an edit of it broke off half way")


def self_test() -> None:
    """Check that text positions are UTF-8 bytes, which all offsets assume.

    Raises:
        HeapsyncdError: the installed pycrdt counts otherwise; edits would corrupt text.
    """
    doc = new_doc()
    text = XmlText("é👋")
    doc.get("self_test", type=XmlFragment).children.append(text)
    if len(text) != len("é👋".encode()):
        raise HeapsyncdError(
            "the installed pycrdt counts text in another unit than heapsyncd expects; "
            "install the version that heapsyncd pins"
        )
