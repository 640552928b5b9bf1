"""The unit of work: what one transaction stores of a heap, and what the index learns from it.

A transaction can fail at each statement and at its commit. So nothing in memory changes while it
runs: a ``Change`` records what it stored, and ``HeapContext.store`` updates the index on the loop
after the commit.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import structlog

from heapsyncd.cache import activity, blocks, entries, search
from heapsyncd.cache.activity import Direction, Event
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.folder.names import carries
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Fields
from heapsyncd.sync.heap.index import PLACED_ROLES, Index
from heapsyncd.sync.heap.paths import last_part
from heapsyncd.sync.heap.traffic import Traffic, UnderWay

log = structlog.get_logger()

_INDEXED: Final = frozenset({"title", "folder_id", "deleted_at_ms", "public_id"})
"""The columns of a block's row that the index uses for names, ids and paths."""


class Change:
    """What one transaction stores of a heap.

    Only this class writes what the index mirrors: rows of blocks, entries, former names.
    Everything else is written through ``tx``.

    Args:
        tx: the transaction; use it and the change in its thread only.
        heap_id: the heap of the blocks and entries.
        index: as it was before.
        traffic: what is under way, as it was before.
        now_ms: the time, for what is stored of the traffic.
    """

    def __init__(
        self, tx: Tx, heap_id: HeapId, index: Index, traffic: Traffic, now_ms: int
    ) -> None:
        self.tx = tx
        self._traffic, self._now_ms = traffic, now_ms
        self._completed: set[tuple[Direction, BlockId]] = set()
        """What was unsent, or not yet in the folder, before this transaction."""
        self._begun: dict[tuple[Direction, BlockId], UnderWay] = {}
        self._heap = heap_id
        self._index = index
        self._blocks: dict[BlockId, None] = {}
        self._standing: dict[BlockId, None] = {}
        self._entries: dict[str, EntryRow | None] = {}
        self._aliases: dict[str, BlockId] = {}
        self._forgotten: set[BlockId] = set()

    # ---- blocks ----------------------------------------------------------------------------

    def insert(self, block: BlockState) -> None:
        """Insert a block; an existing one is not changed."""
        blocks.insert(self.tx, block)
        if block.born_here:
            self._begun["up", block.id] = UnderWay(self._now_ms, None, is_new=True)
        self._blocks[block.id] = self._standing[block.id] = None

    def update(self, block: BlockId, **values: object) -> None:
        """Set columns of a block, named as the fields of BlockState."""
        if values:
            if not values.get("stale", True):
                before = blocks.get(self.tx, block)
                if before is not None and before.stale:
                    self._completed.add(("down", block))
            blocks.update(self.tx, block, **values)
            self._standing[block] = None
        if _INDEXED & values.keys():
            self._blocks[block] = None

    def append(self, block: BlockId, data: bytes, *, local: bool) -> int:
        """Append an update to a block's log; return its number.

        A local one is sent also if the server refused the ones before it: it may be the cure.
        """
        self._standing[block] = None
        # The server may write the title of a block that was made here: that is no news.
        if local or block not in self._index.born:
            path = self._index.path_of.get(block)
            change = UnderWay(self._now_ms, path, is_new=not local and path is None)
            self._begun.setdefault(("up" if local else "down", block), change)
        if local:
            blocks.may_be_accepted(self.tx, block)
        return blocks.append(self.tx, block, data, local=local)

    def acknowledge(self, block: BlockId, up_to: int) -> None:
        """Store that the server has a block's log up to this number."""
        if blocks.has_unsent(self.tx, block):
            self._completed.add(("up", block))
        blocks.acknowledge(self.tx, block, up_to)
        self._standing[block] = None

    def unacknowledge(self, block: BlockId) -> None:
        """Store that the server lost what it had of a block: everything is sent again."""
        blocks.unacknowledge(self.tx, block)
        self._standing[block] = None

    def restart_log(
        self, block: BlockId, sync_version: int, rows: Iterable[tuple[bytes, bool]]
    ) -> None:
        """Replace a block's log by another history."""
        blocks.restart_log(self.tx, block, sync_version, rows)
        self._standing[block] = None

    def quarantine(self, block: BlockId, data: bytes, reason: str, now_ms: int) -> None:
        """Store an update that cannot be loaded, with the reason as the block's problem."""
        blocks.quarantine(self.tx, block, data, reason, now_ms)
        self._standing[block] = None

    def abandon(self, block: BlockState, paths: Sequence[str]) -> bool:
        """Handle a permanent deletion on the server of a block that has unseen edits here.

        The block is forgotten, and its files are found as new notes.

        Args:
            block: its present row.
            paths: of its files; without any there is nothing to keep.

        Returns:
            Whether the block was forgotten.
        """
        if not paths or not blocks.has_unsent(self.tx, block.id):
            return False
        log.warning("permanently deleted but edited here, becomes a new note", path=paths[0])
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
        """Store a block's tags, and return the columns its document decides, for ``update``.

        Args:
            block: its present row.
            fields: of its newest document.
        """
        blocks.set_tags(self.tx, block.id, fields.tags)
        deleted = fields.deleted_at_ms
        if deleted is None:
            deleted = fields.permanently_deleted_at_ms
        # Also one that another deletion took the place of, perhaps with an earlier time.
        undone = block.deleted_at_ms if deleted != block.deleted_at_ms else None
        return {
            # As long as the document has no title, use the row's (PROTOCOL §4).
            "title": fields.title or block.title,
            "folder_id": blocks.folder_among_tags(self.tx, block.id),
            "deleted_at_ms": deleted,
            "public_id": fields.public_id,
            "revived_ms": max(block.revived_ms, undone or 0),
        }

    def touch_related(self, block: BlockId) -> None:
        """Have the blocks of a changed tag or folder published again, in their present folder."""
        for other in blocks.tagged(self.tx, block):
            folder = blocks.folder_among_tags(self.tx, other)
            self.update(other, folder_id=folder, stale=1)

    # ---- entries and names -------------------------------------------------------------------

    def save(self, rows: Iterable[EntryRow]) -> None:
        """Insert or update entries."""
        rows = list(rows)
        entries.save(self.tx, self._heap, rows)
        for row in rows:
            self._entries.pop(row.path, None)  # keep the order of the changes
            self._entries[row.path] = row

    def remove(self, paths: Iterable[str]) -> None:
        """Remove entries."""
        paths = list(paths)
        entries.remove(self.tx, self._heap, paths)
        for path in paths:
            self._entries.pop(path, None)
            self._entries[path] = None

    def republish_links_to(self, targets: Iterable[BlockId]) -> None:
        """Have the notes published again that link to blocks whose names change."""
        for note in entries.mentioning(self.tx, targets):
            self.update(note, stale=1)

    def _renamed(self) -> set[BlockId]:
        """Return the blocks that links have another name for now, or none any more.

        Also those whose name is another's, too, from now on, or no more.
        """
        index = self._index
        before = {p: index.entries.get(p) for p in self._entries}
        found = {e.block_id for e in before.values() if e is not None and e.role in PLACED_ROLES}
        saved = (e for e in self._entries.values() if e is not None and e.role in PLACED_ROLES)
        now = {e.block_id: e.path for e in saved}
        paths = {b: (index.path_of.get(b), now.get(b)) for b in found | now.keys()}
        moved = [(b, p) for b, ends in paths.items() if len(set(ends)) > 1 for p in ends if p]
        # One that is alone with its name changes no other's: none of a whole heap of new notes.
        alike = {o for b, p in moved for o in index.namesakes(last_part(p)) if o != b}
        return alike | {b for b in paths if now.get(b) != index.path_for_links(b)}

    def add_alias(self, name: str, block: BlockId) -> None:
        """Store a former name (a collision key) of a note."""
        entries.add_alias(self.tx, self._heap, name, block)
        self._aliases[name] = block

    # ---- the end -----------------------------------------------------------------------------

    def stored(self) -> "Stored":
        """Return what the index has to learn after the commit."""
        self.republish_links_to(self._renamed())
        rows = ((blocks.get(self.tx, b), b in self._blocks) for b in self._standing)
        found = [(r, blocks.has_unsent(self.tx, r.id), new) for r, new in rows if r is not None]
        states = [(row, unsent) for row, unsent, _ in found]
        done = self._traffic.arrived(
            self._index, states, self._entries, self._completed, self._now_ms
        )
        if done:
            activity.add(self.tx, self._heap, done.values())
        return Stored(found, self._entries, self._aliases, self._forgotten, self._begun, done)


class Stored:
    """What a committed change means for the index.

    Args:
        rows: the changed blocks; for each, whether it has unsent updates, and whether its name or
            path may have changed.
        paths: the changed entries; None: removed.
        aliases: new former names.
        forgotten: removed blocks.
        begun: changes that are under way from now on.
        done: what came and went with it.
    """

    def __init__(
        self,
        rows: Iterable[tuple[BlockState, bool, bool]],
        paths: dict[str, EntryRow | None],
        aliases: dict[str, BlockId],
        forgotten: Collection[BlockId],
        begun: Mapping[tuple[Direction, BlockId], UnderWay],
        done: Mapping[tuple[Direction, BlockId] | str, Event],
    ) -> None:
        self._rows, self._paths, self._aliases = list(rows), paths, aliases
        self._forgotten = forgotten
        self._begun, self._done = begun, done

    def follow(self, traffic: Traffic, heap: str) -> None:
        """Update what is under way, and log what came and went; ``heap`` is its title."""
        settled: list[tuple[Direction, BlockId]] = []
        for row, unsent, _ in self._rows:
            if not unsent and not row.born_here:
                settled.append(("up", row.id))
            if not row.stale:
                settled.append(("down", row.id))
        traffic.follow(self._begun, self._done, settled, heap)

    def apply(self, index: Index) -> bool:
        """Update the index; return whether blocks may get other paths."""
        moved = bool(self._forgotten)
        created: list[BlockState] = []
        for row, unsent, changed in self._rows:
            index.set_status(row, unsent=unsent)
            is_new = row.id not in index.blocks
            if changed and index.add_block(row):
                if is_new:
                    created.append(row)
                else:
                    moved = True
        for path, entry in self._paths.items():
            if entry is None:
                index.drop(path)
            else:
                index.put(entry)
        for block in self._forgotten:
            index.forget(block)
        index.aliases.update(self._aliases)
        return moved or not all(_is_in_place(index, row) for row in created)


def _is_in_place(index: Index, row: BlockState) -> bool:
    """Return whether a new note is a file of its title already, beside which no other file moves.

    Each note that is created here is. So its cost does not depend on the size of the heap.
    """
    path = index.path_of.get(row.id)
    if path is None or row.kind != "document" or row.deleted_at_ms is not None:
        return False
    directory, _, name = path.rpartition("/")
    folder = None if row.folder_id is None else index.path_of.get(row.folder_id)
    is_there = directory == (folder or "") and (folder is None) == (row.folder_id is None)
    return is_there and carries(name.removesuffix(".md"), row.title) and not index.has_twin(path)
