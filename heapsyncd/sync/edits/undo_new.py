"""Take away a block that was made here, as its user would."""

from collections.abc import Collection
from typing import Any, Final

from heapsyncd.cache import blocks, renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId
from heapsyncd.sync.edits.moves import vanished
from heapsyncd.sync.edits.undo_contents import are_all_ours
from heapsyncd.sync.heap.paths import assets_of
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.placement import unlink

NEWS: Final = "it is new, and was edited elsewhere since"
_FULL: Final = "it is new, but other things are in it"
_UNSENT: Final = "it has files that are not on the server yet"


async def to_trash(
    heap: HeapContext, entry: EntryRow, leaving: Collection[BlockId], *, preview: bool
) -> dict[str, Any]:
    """Delete a new block with its contents, as the user would.

    It stays if that would remove what is nowhere else: the trash has no contents that were never
    sent, and nobody here has seen an edit that is not in the file yet. A folder stays as long as
    something else is in it.

    Args:
        heap: the heap.
        entry: the block's.
        leaving: all blocks that go to the trash together.
        preview: change nothing.

    Returns:
        Why it is left; nothing if it is not.

    Raises:
        PathChanged, FolderTrouble: it was changed meanwhile, or the disk refused.
    """
    async with heap.lock:
        owned = [entry]
        if entry.role == "note":
            owned += heap.index.below(assets_of(entry.path))
        reason = await _why_not(heap, entry, owned, leaving if preview else ())
        if reason is None and not preview:
            await unlink(heap, entry, owned)
            if entry.role == "folder" and await heap.disk.stat(entry.path) is not None:
                reason = _FULL  # of files that are not mirrored
            else:
                await vanished(heap, owned)
    return {} if reason is None else {"action": "left", "reason": reason}


async def _why_not(
    heap: HeapContext, entry: EntryRow, owned: list[EntryRow], leaving: Collection[BlockId]
) -> str | None:
    inside = [] if entry.role == "note" else heap.index.below(entry.path)
    if any(e.block_id not in leaving for e in inside):
        return _FULL
    if await heap.db.read(lambda tx: _has_news(tx, entry)):
        return NEWS
    if entry.role == "file" and not await are_all_ours(heap, entry.block_id):
        return NEWS
    return _UNSENT if any(e.todo == "upload" for e in owned) else None


def _has_news(tx: Tx, entry: EntryRow) -> bool:
    """Return whether the server sent something of a block that its file does not show."""
    state, base = blocks.get(tx, entry.block_id), renditions.newest(tx, entry.block_id)
    if state is None:
        return True
    if entry.role != "note":
        return state.stale
    if base is None or base.seq is None:
        return True
    return state.stale and blocks.has_received(tx, state.id, base.seq, state.seq)
