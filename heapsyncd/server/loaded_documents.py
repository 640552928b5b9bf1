"""A loaded document, and the group of changes being made to loaded documents (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, merge, vector_of, waits
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockKind
from heapsyncd.server.data import Effect, Stored
from heapsyncd.server.limits import Limits
from heapsyncd.server.rows import derive

"""The update of a document in which nothing ever happened."""


@dataclass(slots=True)
class LoadedDocument:
    """A block with its document loaded."""

    id: BlockId
    heap_id: HeapId
    kind: BlockKind
    row_title: str
    sync_version: int
    replica: Replica
    state_bytes: int = 0
    log_count: int = 0
    log_bytes: int = 0
    raw: list[bytes] = field(default_factory=list)
    """All of the document's updates, but only while some of them are ``waiting``: re-encoding the
    replica would lose those.
    """
    waiting: list[bytes] = field(default_factory=list)
    """Updates that build on ones not yet seen."""

    @classmethod
    def load(cls, stored: Stored) -> Self:
        """Load what is stored; UnreadableDocument when it can't be."""
        held = cls(
            stored.id,
            stored.heap_id,
            stored.kind,
            stored.row_title,
            stored.sync_version,
            Replica.load(stored.updates),
            len(stored.state),
            len(stored.log),
            sum(map(len, stored.log)),
        )
        if stored.incomplete:
            held.raw = list(stored.updates)
            held.waiting = held.still_waiting(held.raw)
        return held

    def still_waiting(self, updates: list[bytes]) -> list[bytes]:
        """Those of the updates that the document does not hold in full."""
        vector = self.replica.state_vector()
        return [update for update in updates if waits(update, vector)]

    def would_wait(self, update: bytes) -> bool:
        """Whether an update that has not come yet builds on others that have not come either."""
        both = merge([self.folded(), update])
        # A gap in what its client issued shows in the bytes; what else is missing, in a document.
        return waits(update, vector_of([both])) or waits(
            update, Replica.load([both]).state_vector()
        )

    def contains(self, update: bytes) -> bool:
        """Whether an update brings nothing new."""
        scratch = Replica.load([self.folded()])
        try:
            return not scratch.apply(update) and not self.still_waiting([update])
        except UnreadableDocument:
            return False

    def folded(self) -> bytes:
        """All of the document as one update, nothing left out."""
        return merge(self.raw) if self.raw else self.replica.state()


class Batch:
    """Changes of loaded documents that will be committed together.

    ``published`` grows in the order of the changes: (block, version, update, origin, replaced
    version).
    """

    def __init__(self, blocks: dict[BlockId, LoadedDocument], limits: Limits) -> None:
        self.blocks = blocks
        self.published: list[tuple[BlockId, int, bytes, int | None, int | None]] = []
        self._limits = limits
        self._effects: dict[BlockId, Effect] = {}
        self._changed: set[BlockId] = set()

    def get(self, block: BlockId) -> LoadedDocument | None:
        """The block, None when there is no such block."""
        return self.blocks.get(block)

    def insert(
        self, block: BlockId, heap_id: HeapId, kind: BlockKind, title: str
    ) -> LoadedDocument:
        """Make a block with an empty document; it must not exist."""
        held = LoadedDocument(block, heap_id, kind, title, 1, Replica())
        self.blocks[block] = held
        effect = self._effect(held)
        effect.is_new, effect.state = True, EMPTY
        return held

    def apply(self, held: LoadedDocument, update: bytes, origin: int | None = None) -> bool:
        """Apply an update; whether anything changed.

        What waits for updates not yet seen is kept, and told to others, but is no change yet. What
        changes nothing leaves no trace at all, however often it is sent.

        Raises:
            UnreadableDocument: bad bytes, or too many updates wait already; nothing happened.
        """
        if len(held.waiting) >= self._limits.waiting_updates and held.would_wait(update):
            raise UnreadableDocument("too many of its updates wait for others")
        before = held.replica.state_vector() if held.waiting else None
        changed = held.replica.apply(update)
        waiting = held.still_waiting([*held.waiting, update])
        if not changed and (update not in waiting or update in held.raw):
            return False
        if waiting:
            held.raw = [*(held.raw or [held.replica.state()]), update]
        else:
            held.raw = []
        held.waiting = waiting
        self._append(held, update)
        if changed:
            self._changed.add(held.id)
        # Whoever opened the document while something waited never got that: send all that came to
        # light.
        news = held.replica.since(before) if changed and before is not None else update
        self.published.append((held.id, held.sync_version, news, origin, None))
        return changed

    def replace(self, held: LoadedDocument, state: bytes) -> None:
        """Put a fresh document in the place of the block's, as its next version (PROTOCOL §7)."""
        replica = Replica.load([state])
        old, held.sync_version = held.sync_version, held.sync_version + 1
        held.replica, held.raw, held.waiting = replica, [], []
        effect = self._effect(held)
        effect.sync_version, effect.state = held.sync_version, state
        effect.appended.clear()
        self._changed.add(held.id)
        self.published.append((held.id, held.sync_version, b"", None, old))

    def effects(self) -> Iterator[Effect]:
        """What is to be committed; rows are read off the documents here, once a block."""
        for block, effect in self._effects.items():
            held = self.blocks[block]
            effect.incomplete = bool(held.waiting)
            if block in self._changed:
                effect.derived = derive(held.replica)
            if self._is_long(held) or (effect.state is not None and effect.appended):
                effect.state = held.folded()
                effect.appended.clear()
            if effect.state is not None:
                held.state_bytes, held.log_count, held.log_bytes = len(effect.state), 0, 0
            yield effect

    def _is_long(self, held: LoadedDocument) -> bool:
        # A large state is not rewritten for every few letters: its log may grow with it.
        most_updates = max(self._limits.log_updates, held.state_bytes // 2048)
        most_bytes = max(self._limits.log_bytes, held.state_bytes // 2)
        return held.log_count > most_updates or held.log_bytes > most_bytes

    def _append(self, held: LoadedDocument, update: bytes) -> None:
        self._effect(held).appended.append(update)
        held.log_count += 1
        held.log_bytes += len(update)

    def _effect(self, held: LoadedDocument) -> Effect:
        return self._effects.setdefault(
            held.id,
            Effect(held.id, held.heap_id, held.kind, held.row_title, held.sync_version),
        )


def judge(batch: Batch, held: LoadedDocument, update: bytes, origin: int | None = None) -> bool:
    """Apply what a client sent; False when it is no update a document can take."""
    try:
        batch.apply(held, update, origin)
    except UnreadableDocument:
        return False
    return True
