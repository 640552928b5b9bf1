"""The unit of work: what one transaction stores of a heap, and what the index learns from it.

A transaction can fail at each of its statements and at its commit. So nothing in memory changes
while one runs: a ``Change`` writes down what it stored, and ``HeapState.store`` brings the index
up to date on the loop once the commit is through.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import structlog

from heapsyncd.cache import blocks, entries, search
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Fields
from heapsyncd.sync.heap.index import Index

log = structlog.get_logger()

_INDEXED: Final = frozenset({"title", "folder_id", "deleted_at_ms"})
"""The columns of a block that the index remembers."""


class Change:
    """What one transaction stores of a heap. Only this writes what the index mirrors: the rows of
    blocks, the entries and the former names. Everything else is written through ``tx``.

    Args:
        tx: the transaction; it and the change are used in its thread only.
        heap: whose blocks and entries they are.
    """

    def __init__(self, tx: Tx, heap_id: HeapId) -> None:
        self.tx = tx
        self._heap = heap_id
        self._blocks: dict[BlockId, None] = {}
        self._standing: dict[BlockId, None] = {}
        self._entries: dict[str, EntryRow | None] = {}
        self._aliases: dict[str, BlockId] = {}
        self._forgotten: set[BlockId] = set()

    # ---- blocks ----------------------------------------------------------------------------

    def insert(self, block: BlockState) -> None:
        """Add a block; one that is known already stays as it is."""
        blocks.insert(self.tx, block)
        self._blocks[block.id] = self._standing[block.id] = None

    def update(self, block: BlockId, **values: object) -> None:
        """Set columns of one block, named as the fields of BlockState."""
        if values:
            blocks.update(self.tx, block, **values)
            self._standing[block] = None
        if _INDEXED & values.keys():
            self._blocks[block] = None

    def append(self, block: BlockId, data: bytes, *, local: bool) -> int:
        """Add an update at the end of a block's log; its number."""
        self._standing[block] = None
        return blocks.append(self.tx, block, data, local=local)

    def acknowledge(self, block: BlockId, up_to: int) -> None:
        """The server has everything of a block up to this number."""
        blocks.acknowledge(self.tx, block, up_to)
        self._standing[block] = None

    def unacknowledge(self, block: BlockId) -> None:
        """The server lost what it had of a block: everything is to be sent again."""
        blocks.unacknowledge(self.tx, block)
        self._standing[block] = None

    def restart_log(
        self, block: BlockId, sync_version: int, rows: Iterable[tuple[bytes, bool]]
    ) -> None:
        """Replace a block's log by another history."""
        blocks.restart_log(self.tx, block, sync_version, rows)
        self._standing[block] = None

    def quarantine(self, block: BlockId, data: bytes, reason: str, now_ms: int) -> None:
        """Keep an update that can't be loaded, and say so at the block."""
        blocks.quarantine(self.tx, block, data, reason, now_ms)
        self._standing[block] = None

    def abandon(self, block: BlockState, paths: Sequence[str]) -> bool:
        """The server deleted a block for good. When there are edits here that nobody has seen,
        the block is forgotten and its files become another's: they are found as new ones.

        Args:
            block: its row as it is.
            paths: of its files; when there are none, there is nothing to keep.

        Returns:
            Whether it is forgotten.
        """
        if not paths or not blocks.has_unsent(self.tx, block.id):
            return False
        log.warning("deleted for good and edited here: it becomes another note", path=paths[0])
        self.forget(block.id, paths)
        return True

    def forget(self, block: BlockId, paths: Iterable[str]) -> None:
        """Remove a block with its entries; its files stay."""
        self.remove(paths)
        search.remove(self.tx, block)
        blocks.forget(self.tx, block)
        self._blocks.pop(block, None)
        self._standing.pop(block, None)
        self._forgotten.add(block)

    def describe(self, block: BlockState, fields: Fields) -> dict[str, object]:
        """The columns of a block's row that its document decides, for ``update``; stores its tags.

        Args:
            block: its row as it is.
            fields: of its newest document.
        """
        blocks.set_tags(self.tx, block.id, fields.tags)
        deleted = fields.deleted_at_ms
        if deleted is None:
            deleted = fields.permanently_deleted_at_ms
        return {
            # Until the document has a title, the row's is the best hint (PROTOCOL §4).
            "title": fields.title or block.title,
            "folder_id": blocks.folder_among_tags(self.tx, block.id),
            "deleted_at_ms": deleted,
        }

    def touch_related(self, block: BlockId) -> None:
        """A tag or folder changed: publish what carries it again, in the folder it has now."""
        for other in blocks.tagged(self.tx, block):
            folder = blocks.folder_among_tags(self.tx, other)
            self.update(other, folder_id=folder, stale=1)

    # ---- entries and names -------------------------------------------------------------------

    def save(self, rows: Iterable[EntryRow]) -> None:
        """Insert entries or bring them up to date."""
        rows = list(rows)
        entries.save(self.tx, self._heap, rows)
        for row in rows:
            self._entries.pop(row.path, None)  # the order of the changes is kept
            self._entries[row.path] = row

    def remove(self, paths: Iterable[str]) -> None:
        """Forget entries."""
        paths = list(paths)
        entries.remove(self.tx, self._heap, paths)
        for path in paths:
            self._entries.pop(path, None)
            self._entries[path] = None

    def add_alias(self, name: str, block: BlockId) -> None:
        """Remember a former name, a collision key, of a note."""
        entries.add_alias(self.tx, self._heap, name, block)
        self._aliases[name] = block

    # ---- the end -----------------------------------------------------------------------------

    def stored(self) -> "Stored":
        """What the index has to learn once this is committed."""
        rows = ((blocks.get(self.tx, b), b in self._blocks) for b in self._standing)
        found = [(r, blocks.has_unsent(self.tx, r.id), new) for r, new in rows if r is not None]
        return Stored(found, self._entries, self._aliases, self._forgotten)


class Stored:
    """What a committed change means for the index.

    Args:
        rows: of the blocks that were changed; of each whether something of it is unsent, and
            whether it is to be known anew.
        paths: the entries that were changed; None: forgotten.
        aliases: new former names.
        forgotten: blocks that are no more.
    """

    def __init__(
        self,
        rows: Iterable[tuple[BlockState, bool, bool]],
        paths: dict[str, EntryRow | None],
        aliases: dict[str, BlockId],
        forgotten: Collection[BlockId],
    ) -> None:
        self._rows, self._paths, self._aliases = rows, paths, aliases
        self._forgotten = forgotten

    def apply(self, index: Index) -> bool:
        """Bring the index up to date; whether blocks may have other places now."""
        moved = False
        for row, unsent, new in self._rows:
            index.stands(row, unsent=unsent)
            if new:
                moved = index.know(row) or moved
        for path, entry in self._paths.items():
            if entry is None:
                index.drop(path)
            else:
                index.put(entry)
        for block in self._forgotten:
            index.forget(block)
        index.aliases.update(self._aliases)
        return moved or bool(self._forgotten)
