"""A replica: our copy of one Yjs document."""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from pycrdt import Doc, XmlFragment, XmlText
from pycrdt._pycrdt import Snapshot

from heapsyncd.document import fields
from heapsyncd.document.encoding.cost import MOST, at_most, counted
from heapsyncd.document.encoding.state_vectors import Early, number, ordered, ordered_snapshot
from heapsyncd.document.updates import (
    apply,
    contained,
    early,
    merge,
    new_doc,
    state_since,
    without_early,
)
from heapsyncd.document.view import from_handles
from heapsyncd.document.view.from_nodes import Path, Shown
from heapsyncd.document.view.incremental import MOST_BYTES, Changes, shown_again
from heapsyncd.errors import HeapsyncdError, UnreadableDocument
from heapsyncd.model import Fields
from heapsyncd.tree import Block

CLIENT_ID_BITS = 32
"""As Yjs draws its own; pycrdt's 53 bits cost a third more in every update."""

_LONG = 500
_MANY_BYTES = 1 << 20
"""So many updates, and so much of them, a replica keeps apart at most, or four times the first."""


def new_client_id() -> int:
    """A fresh random client id."""
    return secrets.randbits(CLIENT_ID_BITS)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of an update.

    ``changed``: the document is another now. ``is_news``: or will be, once what the update waits
    for has come: keep its bytes.
    """

    changed: bool
    is_news: bool


class Replica:
    """One document. Not for use by two threads at once.

    Args:
        client_id: what our edits are issued under; by default fresh. The same id must never edit
            two states of a document, of which one does not contain the other's edits.
    """

    def __init__(self, client_id: int | None = None) -> None:
        self._doc: Doc[Any] = new_doc(new_client_id() if client_id is None else client_id)
        self._log: list[bytes] = []
        """What it was made of: after a panic a document is not to be trusted, and made anew."""
        self._late_bytes = 0
        """Of the log but for its first update."""
        self._waiting: list[bytes] = []
        self._early: frozenset[Early] = frozenset()
        """What of them waits."""
        self._unsure: bytes | None = None
        """The update the document was given last, unless it is known to have all of it: looked at
        before it is given another, for it may be large."""
        self._weight = 0
        """No fewer than its types lie in one another, or a key of it has first entries."""
        self._shown: Shown | None = None
        self._changes = Changes()
        """Where the body differs from what is shown."""

    @classmethod
    def load(cls, updates: Iterable[bytes], client_id: int | None = None) -> "Replica":
        """Build a document from updates in any order.

        Raises:
            UnreadableDocument: yrs can't read one of them; nothing is built.
        """
        replica = cls(client_id)
        updates = list(updates)
        replica._weigh(updates)
        is_orderly = True
        for update in updates:
            is_orderly &= replica._settle()
            is_orderly &= apply(replica._doc, update)
            replica._unsure = update
            replica._log.append(update)
        if not is_orderly:
            replica._rebuild()
            replica._wait_anew(replica._log)
            replica._unsure = None
        replica._late_bytes = sum(map(len, replica._log[1:]))
        return replica

    @property
    def client_id(self) -> int:
        """The id our edits are issued under."""
        return self._doc.client_id

    @property
    def doc(self) -> "Doc[Any]":
        """The document itself, for this stage alone."""
        return self._doc

    def apply(self, update: bytes) -> bool:
        """Take in an update; True when anything changed (a deletion alone counts).

        False also stands for an update that waits for others: see ``take``.

        Raises:
            UnreadableDocument: the bytes are bad; the replica is as it was.
        """
        return self.take(update).changed

    def take(self, update: bytes) -> "Taken":
        """Take in an update; UnreadableDocument as ``apply``."""
        try:
            return self._take(update)
        except UnreadableDocument:
            self._rebuild()
            raise

    def _weigh(self, updates: Sequence[bytes]) -> None:
        """Refuse what yrs could not delete, or not take in in time."""
        self._weight += sum(map(at_most, updates))
        if self._weight > MOST:
            self._weight = counted(merge([*self._log, *updates]))

    def _settle(self) -> bool:
        """Let wait what the document could not use of the last update; whether it used all."""
        is_whole = self._unsure is None or not self._early_of(self._unsure)
        if self._unsure is not None and not is_whole:
            self._wait([self._unsure])
            self._leave_early()
        self._unsure = None
        return is_whole

    def _leave_early(self) -> None:
        """Go on with a document that holds nothing it can't use yet."""
        self._doc = without_early(self._doc)
        self.forget_view()

    def _take(self, update: bytes) -> "Taken":
        self._settle()
        self._weigh([update])
        fired: list[object] = []
        watch = self._doc._doc.observe(fired.append)  # noqa: SLF001 -- the wrapper keeps each callback
        try:
            follow = self._shown is not None and len(update) <= MOST_BYTES
            with self._changes.watched(self._doc) if follow else nullcontext():
                apply(self._doc, update)
        finally:
            watch.drop()
        if fired and not follow:
            self.forget_view()
        found = self._early_of(update)
        is_early = not found <= self._early and update not in self._waiting
        if is_early:
            self._wait([update])
        if found:
            self._leave_early()
        if fired or is_early:
            self._keep(update)
        if not found:
            self._retry()
        return Taken(bool(fired), bool(fired) or is_early)

    def _keep(self, update: bytes) -> None:
        self._log.append(update)
        self._late_bytes += len(update)
        if len(self._log) > _LONG or self._late_bytes > max(_MANY_BYTES, 4 * len(self._log[0])):
            # What was deleted is no part of the state.
            self._log = [merge(self._log) if self.has_pending() else self.state()]
            self._late_bytes = 0

    def _wait(self, updates: Iterable[bytes]) -> None:
        for update in updates:
            if found := self._early_of(update):
                self._waiting.append(update)
                self._early |= found

    def _wait_anew(self, updates: Sequence[bytes]) -> None:
        self._waiting, self._early = [], frozenset()
        self._wait(updates)

    def _retry(self) -> None:
        """Take in what waited for an update that has arrived.

        yrs would look by itself, but not at all of several updates that wait, and what it took in
        is not to be trusted: a document made of all at once is.
        """
        if self._waiting:
            self._rebuild()
            self._wait_anew(self._waiting)

    def _early_of(self, update: bytes) -> frozenset[Early]:
        return early(update, self._doc.get_state())

    def _rebuild(self) -> None:
        self._doc = new_doc(self._doc.client_id)
        merged = merge(self._log)
        apply(self._doc, merged)
        self.forget_view()
        if self._early_of(merged):
            self._leave_early()

    def state_vector(self) -> bytes:
        """What the replica has seen, its clients in order.

        A deletion alone does not move it: compare fingerprints.
        """
        return ordered(self._doc.get_state())

    def fingerprint(self) -> bytes:
        """Bytes that are equal exactly for equal states, whatever way they came about."""
        return ordered_snapshot(Snapshot.from_doc(self._doc._doc).encode())  # noqa: SLF001 -- the cheap way

    def state(self) -> bytes:
        """The whole document as one update, without what is pending: keep raw updates for that."""
        return self._doc.get_update()

    def since(self, state_vector: bytes) -> bytes:
        """What the holder of that vector lacks.

        Raises:
            UnreadableDocument: the vector's bytes are bad.
        """
        return state_since(self._doc, state_vector)

    def has_pending(self) -> bool:
        """Whether any update waits for others that have not arrived."""
        self._settle()
        return bool(self._waiting)

    def has_pending_of(self, client_id: int) -> bool:
        """Whether something waits for others that a client may have issued."""
        name = number(client_id)
        if self._unsure is not None and name in self._unsure:
            self._settle()
        return any(name in u for u in self._waiting)

    def fields(self) -> Fields:
        """What the document says beside its body."""
        with contained():
            return fields.read(self._doc)

    def view(self) -> Block:
        """The markdown view of the body; made once for each state."""
        return self.shown().view

    def shown(self) -> Shown:
        """What the body shows; after a change only what changed is read anew."""
        shown, changes = self._shown, self._changes
        with contained():
            if shown is None:
                shown = from_handles.show(self._doc)
            elif changes:
                shown = shown_again(self._doc, shown, changes)
        self._shown, self._changes = shown, Changes()
        return shown

    def edited(self, update: bytes, paths: Sequence[Path]) -> None:
        """Note an edit of ``doc`` itself.

        Args:
            update: what it made.
            paths: the nodes of the body that it changed, as child indexes.
        """
        self._keep(update)
        self._changes.note_all(paths, lambda path: path)

    def give_up(self) -> None:
        """Let every further use fail: an edit of ``doc`` broke off in the middle."""
        self._doc = _GivenUp()  # type: ignore[assignment]  # it only raises
        self.forget_view()

    def forget_view(self) -> None:
        """Free the view's memory, some twenty times the text's."""
        self._shown = None


class _GivenUp:
    def __getattr__(self, name: str) -> Any:
        raise UnreadableDocument("an edit of it broke off half way")


def self_test() -> None:
    """Check that text positions are UTF-8 bytes, as all offsets here assume.

    Raises:
        HeapsyncdError: this pycrdt counts otherwise, and edits would corrupt text.
    """
    doc = new_doc()
    text = XmlText("é👋")
    doc.get("self_test", type=XmlFragment).children.append(text)
    if len(text) != len("é👋".encode()):
        raise HeapsyncdError(
            "the installed pycrdt counts text in another unit than heapsyncd was built for; "
            "install the version that heapsyncd pins"
        )
