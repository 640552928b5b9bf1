"""Handle a note that an editor saves at its old path after it was renamed or deleted.

Another note may be at that path by now. The id in the text says whose it is. The text is moved to
that note's file and read as an edit of it, or to a new file if the note has none any more (an edit
wins over a deletion). The other note's text is restored. So neither is read as an edit of the
other.
"""

from pathlib import PurePosixPath

import structlog
from msgspec.structs import replace

from heapsyncd.cache import history, renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import UnreadableFile
from heapsyncd.folder.names import collision_key, variants
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap.state import HeapContext, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.note_text import digest

log = structlog.get_logger()


async def move_to_renamed_note(
    heap: HeapContext, entry: EntryRow, saved: SavedFile
) -> SavedFile | None:
    """Move a text that belongs to another note than the path's to that note.

    That note's file is written first: after a kill in between, everything is done again.

    Returns:
        The save at its new path, to be read there (perhaps as a new file); None if it belongs
            where it is, or that is not known.

    Raises:
        PathChanged: one of the two files has an edit that was not read yet. Do not read this text
        before that is: it would replace the other note's. FolderTrouble: a file cannot be written.
    """
    async with heap.lock:
        target = await _target_path(heap, entry, saved)
        if target is None:
            return None
        base = await heap.db.read(lambda tx: renditions.newest(tx, entry.block_id))
        if base is None:
            return None
        new_stat = await heap.disk.write(target, saved.data, heap.index.stats.get(target))
        stat = await heap.disk.write(entry.path, base.data, saved.stat)
        row = stamped(entry, stat, digest(base.data))

        def store(change: Change) -> None:
            change.save([row])
            change.update(entry.block_id, stale=1)

        await heap.store(store)
    heap.wake.publish.set()
    log.info("saved under a former name", path=entry.path, target=target)
    return replace(saved, path=target, stat=new_stat, is_blind=True)


async def _target_path(heap: HeapContext, entry: EntryRow, saved: SavedFile) -> str | None:
    """Return the path of the note whose text this is, if that note had this path before.

    A free path if the note has no file; None if the text belongs to no such note.
    """
    if isinstance(saved.note, UnreadableFile):
        return None
    block = heap.block_in(heap.index.ids_in(saved.note.front))
    if block is None or block == entry.block_id or heap.index.kind(block) != "document":
        return None
    place = PurePosixPath(entry.path)
    last = await heap.db.read(lambda tx: history.last_at(tx, heap.id, entry.path))
    former = heap.index.aliases.get(collision_key(place.name.removesuffix(".md")))
    if block not in {last, former}:
        return None
    target = heap.index.path_of.get(block)
    if target is not None:
        return target if target in heap.index.stats else None
    for name in variants(place.name):
        path = str(place.with_name(name))
        if path not in heap.index.entries and await heap.disk.stat(path) is None:
            return path
    return None
