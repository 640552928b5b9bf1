"""Restore files that lost their text while no daemon ran.

After a power failure such a file is empty or full of NULs. At a start that is no edit: the last
text is written again. Somebody may have emptied the file on purpose, though: one that was restored
and is empty again stays empty.
"""

from typing import Final

import structlog

from heapsyncd.cache import history, renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.folder.disk import PathChanged
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.note_text import digest

log = structlog.get_logger()

BELIEVED_MS: Final = 7 * 86_400_000
"""For this long after a file was restored, emptying it while no daemon runs counts as an edit."""
_NOTICE: Final = (
    "It was {} when heapsyncd started, as after a power failure. Its text was restored; if you"
    " emptied it on purpose, do so once more."
)


async def restore_truncated(
    heap: HeapContext, entry: EntryRow, saved: SavedFile, began_ns: int
) -> bool:
    """Write a note's text again if its file lost it before this process began; return whether so.

    The file is written first, then the entry is stored: after a kill in between, the file shows
    its base and is no edit.

    Args:
        heap: the heap.
        entry: the note's entry.
        saved: the file as it is.
        began_ns: when this process began, by the clock that stamps files.
    """
    if saved.data.strip(b"\0") or saved.stat.ctime_ns >= began_ns:
        return False
    async with heap.lock:
        base, kept = await heap.db.read(
            lambda tx: (
                renditions.newest(tx, entry.block_id),
                history.of_block(tx, entry.block_id),
            )
        )
        now = now_ms()
        before = any(v.why == "damaged" and now - v.made_at_ms < BELIEVED_MS for v in kept)
        if base is None or not base.data or (before and not saved.data):
            return False
        try:
            stat = await heap.disk.write(entry.path, base.data, saved.stat)
        except PathChanged:
            return True  # somebody is writing it: the watch will report that
        row = stamped(entry, stat, digest(base.data))
        what = "full of NUL bytes" if saved.data else "empty"

        def store(change: Change) -> None:
            block, notice = entry.block_id, _NOTICE.format(what)
            change.save([row])
            history.keep(change.tx, heap.id, block, entry.path, "damaged", b"", now, notice)
            change.update(block, stale=1)

        await heap.store(store)
        heap.problems.clear(entry.path, "content")
    log.warning("truncated file restored", path=entry.path, bytes=len(saved.data))
    return True
