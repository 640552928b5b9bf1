"""Notes saved under the name they had before: an editor that kept one open while it was renamed or
deleted writes to the old path, where another note may stand by now.

The id in the text says whose it is. It is put where that note stands, to be read as an edit of it,
or beside when it stands nowhere any more (an edit wins over a deletion), and the other note's text
is put back. Neither is taken for a new text of the other.
"""

from dataclasses import replace
from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import history, renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import UnreadableFile
from heapsyncd.folder.names import collision_key, variants
from heapsyncd.ids import BlockId
from heapsyncd.sync.edits.saved_file import Saved
from heapsyncd.sync.heap.state import HeapContext, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.note_text import digest

log = structlog.get_logger()


async def taken_home(heap: HeapContext, entry: EntryRow, saved: Saved) -> Saved | None:
    """Take a text that belongs to another note than stands there to that note.

    That note's own file is written first: after a kill in between all of it is done again.

    Returns:
        The text where it was taken, to be read there, in a new file perhaps; None when it belongs
        where it is, or nobody can tell.

    Raises:
        Moved: either note's file has an edit that is not read yet. Until it is, this text is not
            to be read either: it would replace another note's.
        FolderTrouble: a file can't be written.
    """
    async with heap.lock:
        home = await _home(heap, entry, saved)
        if home is None:
            return None
        base = await heap.db.read(lambda tx: renditions.newest(tx, entry.block_id))
        if base is None:
            return None
        there = await heap.disk.write(home, saved.data, heap.index.stats.get(home))
        stat = await heap.disk.write(entry.path, base.data, saved.stat)
        row = stamped(entry, stat, digest(base.data))

        def store(change: Change) -> None:
            change.save([row])
            change.update(entry.block_id, stale=1)

        await heap.store(store)
    heap.wake.publish.set()
    log.info("saved under a former name", path=entry.path, home=home)
    return replace(saved, path=home, stat=there, is_blind=True)


async def _home(heap: HeapContext, entry: EntryRow, saved: Saved) -> str | None:
    """The place of the note whose text this is, when that note was here before; a free name, when
    it has none.
    """
    if isinstance(saved.note, UnreadableFile):
        return None
    block = BlockId(saved.note.front.id or "")
    if block == entry.block_id or heap.index.kind(block) != "document":
        return None
    place = PurePosixPath(entry.path)
    last = await heap.db.read(lambda tx: history.last_at(tx, heap.id, entry.path))
    former = heap.index.aliases.get(collision_key(place.name.removesuffix(".md")))
    if block not in {last, former}:
        return None
    home = heap.index.path_of.get(block)
    if home is not None:
        return home if home in heap.index.stats else None
    for name in variants(place.name):
        path = str(place.with_name(name))
        if path not in heap.index.entries and await heap.disk.stat(path) is None:
            return path
    return None
