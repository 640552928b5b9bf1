"""Change loaded documents in groups that are committed together. Pure."""

from collections.abc import Iterator
from typing import Self

from msgspec import Struct, field

from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import EMPTY, is_pending, merge, vector_of
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockKind
from heapsyncd.server.data import Effect, Stored
from heapsyncd.server.limits import Limits
from heapsyncd.server.rows import derive


class LoadedDocument(Struct):
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
    """Pending updates: their dependencies have not arrived."""

    @classmethod
    def load(cls, stored: Stored) -> Self:
        """Load what is stored.

        Raises:
            UnreadableDocument: it can't be loaded.
        """
        loaded = cls(
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
            loaded.raw = list(stored.updates)
            loaded.waiting = loaded.pending_of(loaded.raw)
        return loaded

    def pending_of(self, updates: list[bytes]) -> list[bytes]:
        """Return those of the updates that the document does not hold completely."""
        vector = self.replica.state_vector()
        return [update for update in updates if is_pending(update, vector)]

    def would_be_pending(self, update: bytes) -> bool:
        """Tell whether an update that has not been applied depends on others that have not
        arrived.
        """
        both = merge([self.merged(), update])
        # A gap in its client's clocks shows in the bytes; other missing updates, in a document.
        return is_pending(update, vector_of([both])) or is_pending(
            update, Replica.load([both]).state_vector()
        )

    def contains(self, update: bytes) -> bool:
        """Tell whether an update brings nothing new."""
        scratch = Replica.load([self.merged()])
        try:
            return not scratch.apply(update) and not self.pending_of([update])
        except UnreadableDocument:
            return False

    def merged(self) -> bytes:
        """Return all of the document as one update, pending parts included."""
        return merge(self.raw) if self.raw else self.replica.state()


class Batch:
    """Changes of loaded documents that will be committed together.

    ``published`` is in the order of the changes: (block, version, update, origin, replaced
    version).
    """

    def __init__(self, blocks: dict[BlockId, LoadedDocument], limits: Limits) -> None:
        self.blocks = blocks
        self.published: list[tuple[BlockId, int, bytes, int | None, int | None]] = []
        self._limits = limits
        self._effects: dict[BlockId, Effect] = {}
        self._changed: set[BlockId] = set()

    def get(self, block: BlockId) -> LoadedDocument | None:
        """Return the block; None when there is no such block."""
        return self.blocks.get(block)

    def insert(
        self, block: BlockId, heap_id: HeapId, kind: BlockKind, title: str
    ) -> LoadedDocument:
        """Create a block with an empty document; it must not exist."""
        loaded = LoadedDocument(block, heap_id, kind, title, 1, Replica())
        self.blocks[block] = loaded
        effect = self._effect(loaded)
        effect.is_new, effect.state = True, EMPTY
        return loaded

    def apply(self, loaded: LoadedDocument, update: bytes, origin: int | None = None) -> bool:
        """Apply an update; returns whether anything changed.

        A pending update is stored and sent to others, but is no change yet. An update that changes
        nothing is not stored, however often it is sent.

        Raises:
            UnreadableDocument: bad bytes, or too many updates are pending already; nothing
                changed.
        """
        if len(loaded.waiting) >= self._limits.waiting_updates and loaded.would_be_pending(update):
            raise UnreadableDocument("too many of its updates are pending")
        before = loaded.replica.state_vector() if loaded.waiting else None
        changed = loaded.replica.apply(update)
        waiting = loaded.pending_of([*loaded.waiting, update])
        if not changed and (update not in waiting or update in loaded.raw):
            return False
        if waiting:
            loaded.raw = [*(loaded.raw or [loaded.replica.state()]), update]
        else:
            loaded.raw = []
        loaded.waiting = waiting
        self._append(loaded, update)
        if changed:
            self._changed.add(loaded.id)
        # Followers that joined while something was pending never got it, so send all that is new.
        news = loaded.replica.since(before) if changed and before is not None else update
        self.published.append((loaded.id, loaded.sync_version, news, origin, None))
        return changed

    def replace(self, loaded: LoadedDocument, state: bytes) -> None:
        """Replace the block's document by a fresh one, as its next version (PROTOCOL §7)."""
        replica = Replica.load([state])
        old, loaded.sync_version = loaded.sync_version, loaded.sync_version + 1
        loaded.replica, loaded.raw, loaded.waiting = replica, [], []
        effect = self._effect(loaded)
        effect.sync_version, effect.state = loaded.sync_version, state
        effect.appended.clear()
        self._changed.add(loaded.id)
        self.published.append((loaded.id, loaded.sync_version, b"", None, old))

    def effects(self) -> Iterator[Effect]:
        """Yield what is to be committed, with the row of each changed block."""
        for block, effect in self._effects.items():
            loaded = self.blocks[block]
            effect.incomplete = bool(loaded.waiting)
            if block in self._changed:
                effect.derived = derive(loaded.replica)
            if self._is_long(loaded) or (effect.state is not None and effect.appended):
                effect.state = loaded.merged()
                effect.appended.clear()
            if effect.state is not None:
                loaded.state_bytes, loaded.log_count, loaded.log_bytes = len(effect.state), 0, 0
            yield effect

    def _is_long(self, loaded: LoadedDocument) -> bool:
        # The log of a large state may be longer, so that the state is not rewritten often.
        most_updates = max(self._limits.log_updates, loaded.state_bytes // 2048)
        most_bytes = max(self._limits.log_bytes, loaded.state_bytes // 2)
        return loaded.log_count > most_updates or loaded.log_bytes > most_bytes

    def _append(self, loaded: LoadedDocument, update: bytes) -> None:
        self._effect(loaded).appended.append(update)
        loaded.log_count += 1
        loaded.log_bytes += len(update)

    def _effect(self, loaded: LoadedDocument) -> Effect:
        return self._effects.setdefault(
            loaded.id,
            Effect(loaded.id, loaded.heap_id, loaded.kind, loaded.row_title, loaded.sync_version),
        )


def try_apply(
    batch: Batch, loaded: LoadedDocument, update: bytes, origin: int | None = None
) -> bool:
    """Apply what a client sent; returns False when the document cannot take it."""
    try:
        batch.apply(loaded, update, origin)
    except UnreadableDocument:
        return False
    return True
