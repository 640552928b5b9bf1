"""Notes saved under the name they had before: an editor that kept one open while it was renamed
writes to the old path, where another note may stand by now.

The id in the text says whose it is. It is put where that note stands, to be read as an edit of it,
and the other note's text is put back. Neither is taken for a new text of the other.
"""

from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import UnreadableFile
from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.sync.ingest import Saved
from heapsyncd.sync.merge import Note, digest
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.state import HeapState, stamped
from heapsyncd.sync.unit_of_work import Change

log = structlog.get_logger()


async def taken_home(heap: HeapState, entry: EntryRow, saved: Saved) -> Saved | None:
    """Take a text that belongs to another note than stands there to that note.

    That note's own file is written first: after a kill in between all of it is done again.

    Returns:
        The text where it was taken, to be read there; None when it belongs where it is, or nobody
        can tell.

    Raises:
        Moved: either note's file has an edit that is not read yet. Until it is, this text is not
            to be read either: it would replace another note's.
        FolderTrouble: a file can't be written.
    """
    async with heap.lock:
        home = await _home(heap, entry, saved)
        base = await heap.db.read(lambda tx: renditions.newest(tx, entry.block_id))
        if home is None or base is None:
            return None
        there = await heap.disk.write(home, saved.data, heap.index.stats[home])
        stat = await heap.disk.write(entry.path, base.data, saved.stat)
        row = stamped(entry, stat, digest(base.data))

        def store(change: Change) -> None:
            change.save([row])
            change.update(entry.block_id, stale=1)

        await heap.store(store)
    heap.to_publish.set()
    log.info("saved under a former name", path=entry.path, home=home)
    return Saved(home, saved.data, there)


async def _home(heap: HeapState, entry: EntryRow, saved: Saved) -> str | None:
    """The place of the note whose text this is, when that note had this name before."""
    try:
        block = BlockId((await off_loop(Note.of, saved.data)).front.id or "")
    except UnreadableFile:
        return None
    name = PurePosixPath(entry.path).name.removesuffix(".md")
    home = heap.index.path_of.get(block)
    known = home is not None and home in heap.index.stats and home != entry.path
    was_here = heap.index.aliases.get(collision_key(name)) == block
    return home if known and was_here and heap.index.kind(block) == "document" else None
