"""Make a heap's folder again that is missing, or whose marker is, when a person asks for it.

Without its marker nothing in the folder counts as deleted, and nothing is written. So the request
is needed, and stored: whoever mirrors the heap next carries it out. First no missing file is
expected any more, then folder and marker are made, then the request is forgotten. A kill in
between leaves a folder without a marker, or one whose files are about to be written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from heapsyncd.cache import heaps
from heapsyncd.database import Database
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.sync.deletions.carry_out import unwritten
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change

log = structlog.get_logger()


async def ask_for_folder(
    db: Database, folder: Path, wanted: Sequence[str]
) -> list[dict[str, Any]]:
    """Store that a heap's folder is to be made again, unless it is there.

    Args:
        db: the account's cache.
        folder: the account's folder.
        wanted: the heap's title or id, or the absolute path of its folder, in any spelling.

    Returns:
        For each heap that is meant: title, folder, and whether it is there.

    Raises:
        FolderTrouble: the folder belongs to another heap.
    """
    found = []
    for row in await db.read(heaps.load_all):
        root = folder / row.folder
        if not {row.title, row.id, row.folder, str(root)} & set(wanted):
            continue
        is_there = await HeapFolder(root).marker() == row.id
        if not is_there:
            await db.write(lambda tx, i=row.id: heaps.set_folder_wanted(tx, i, wanted=True))  # type: ignore[misc]
        found.append({"title": row.title, "folder": str(root), "is_there": is_there})
    return found


async def check_folder(heap: HeapContext, *, opening: bool = False) -> bool:
    """Check that the heap's folder is there, and make it again if a person asked for it.

    Args:
        heap: the heap.
        opening: whether the mirror of the heap begins.

    Returns:
        Whether it was made again: nothing that was seen of it before is true any more.

    Raises:
        FolderTrouble: it is missing, has no marker, or belongs to another heap.
    """
    found = await heap.disk.marker()
    is_there = found == heap.id
    if is_there and not (opening or "folder" in heap.report.blockers):
        return False
    is_wanted = await heap.db.read(lambda tx: heaps.is_folder_wanted(tx, heap.id))
    if found is None and is_wanted:
        await _make_again(heap)
        return True
    if not is_there:
        await heap.disk.check(heap.id)  # says what is wrong
    if is_wanted:
        # It came back by itself. The next time its disk is not mounted, nobody asked.
        await heap.db.write(lambda tx: heaps.set_folder_wanted(tx, heap.id, wanted=False))
    return False


async def _make_again(heap: HeapContext) -> None:
    index = heap.index
    async with heap.lock:
        lost = [index.entries[p] for p in await heap.disk.missing(index.stats)]

        def store(change: Change) -> None:
            # The directories are made again where their blocks belong.
            change.remove(e.path for e in lost if e.role == "folder")
            change.save(unwritten(e) for e in lost if e.role != "folder")
            for row in lost:
                change.update(row.block_id, stale=1)

        await heap.store(store)
        await heap.release_holds(list(heap.holds.up.values()))
        await heap.disk.make_again(heap.id, heap.report.title)
        await heap.db.write(lambda tx: heaps.set_folder_wanted(tx, heap.id, wanted=False))
    heap.layout.rearrange, heap.layout.placeholders = True, None
    heap.request_rescan()
    heap.wake.transfer.set()
    log.info("folder made again", heap=heap.report.title, files=len(lost))
