"""Notes and files whose places others took: swapped or moved over one another.

The id in a note says which one it is, other files are known by their inode. When it is not the one
that stood there, and that other one is not at its own place any more, then files were
moved, not written anew: who stood there waits aside, until it is found elsewhere or believed
deleted.
"""

from collections.abc import Sequence
from dataclasses import replace

from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.snapshot import Differences, Entry
from heapsyncd.ids import BlockId
from heapsyncd.sync.merge import Note
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.plan import aside
from heapsyncd.sync.state import HeapState
from heapsyncd.sync.unit_of_work import Change


async def displaced(heap: HeapState, seen: Differences, max_bytes: int) -> list[Entry]:
    """Those of the modified files that are other blocks now. Who stood there has stepped aside.

    Args:
        heap: the heap.
        seen: what a look found.
        max_bytes: a larger file is no note.
    """
    index = heap.index
    replaced = {e.path: e for e in seen.modified if _is_replaced(heap, e)}
    away = {*seen.missing, *replaced}
    others = [*replaced.values(), *(e for e in seen.created if e.kind == "file")]
    elsewhere = {e.stat.inode: e.stat for e in others}
    found = []
    for path, entry in replaced.items():
        # What stood there was taken elsewhere, it was not merely saved anew.
        known = index.stats[path]
        left = known.same_content(elsewhere.get(known.inode, entry.stat))
        if len(away) < 2 and not left:
            break  # an ordinary save
        row = index.entries[path]
        if row.role == "note":
            block = await _id_in(heap, path, max_bytes)
            left = left and block != row.block_id
            home = None if block is None else index.path_of.get(block)
        else:
            home = next((p for p in away if _is_file(heap, p, entry)), None)
        if left or (home is not None and home != path and home in away):
            found.append(entry)
    await _step_aside(heap, [index.entries[e.path] for e in found])
    return found


def _is_replaced(heap: HeapState, entry: Entry) -> bool:
    row = heap.index.entries[entry.path]
    return (
        row.role in {"note", "file"}
        and row.inode != entry.stat.inode
        and entry.path not in heap.held_up
    )


def _is_file(heap: HeapState, path: str, entry: Entry) -> bool:
    """Whether what stood at a path is what was found."""
    known = heap.index.stats.get(path)
    row = heap.index.entries[path]
    return row.role == "file" and known is not None and entry.stat.same_content(known)


async def _id_in(heap: HeapState, path: str, max_bytes: int) -> BlockId | None:
    try:
        data, _ = await heap.disk.read(path, max_bytes)
        found = (await off_loop(Note.of, data)).front.id
    except (Moved, Unsettled, FolderTrouble, UnreadableFile):
        return None
    return None if found is None else BlockId(found)


async def _step_aside(heap: HeapState, rows: Sequence[EntryRow]) -> None:
    if not rows:
        return
    async with heap.lock:
        moved = [replace(r, path=aside(r.block_id, r.path)) for r in rows]

        def store(change: Change) -> None:
            change.remove(r.path for r in rows)
            change.save(moved)

        await heap.store(store)
