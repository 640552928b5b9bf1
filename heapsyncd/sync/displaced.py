"""Notes and files whose places others took: swapped or moved over one another.

The id in a note says which one it is, other files are known by their inode. When it is not the one
that stood there, and that other one is not at its own place any more, then files were
moved, not written anew: who stood there waits aside, until it is found elsewhere or believed
deleted. So it is when a text without an id, unlike the old one, stands where a note was whose id
is in a new file: the note was renamed, and another was begun under its name.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from heapsyncd.cache import renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.snapshot import Differences, Entry
from heapsyncd.ids import BlockId
from heapsyncd.sync.merge import Note
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.plan import aside
from heapsyncd.sync.stale import is_alike
from heapsyncd.sync.state import HeapState
from heapsyncd.sync.unit_of_work import Change


async def displaced(
    heap: HeapState, seen: Differences, max_bytes: int, waiting: Collection[str]
) -> list[Entry]:
    """Those of the known files that are other blocks now. Who stood there has stepped aside.

    Args:
        heap: the heap.
        seen: what a look found.
        max_bytes: a larger file is no note.
        waiting: paths that are not settled yet.
    """
    index, texts = heap.index, _Texts(heap, max_bytes)
    replaced = {e.path: e for e in seen.modified if _is_replaced(heap, e)}
    away = {*seen.missing, *replaced}
    others = [*replaced.values(), *(e for e in seen.created if e.kind == "file")]
    elsewhere = {e.stat.inode: e.stat for e in others}
    found = {}
    for path, entry in replaced.items():
        # What stood there was taken elsewhere, it was not merely saved anew.
        known = index.stats[path]
        left = known.same_content(elsewhere.get(known.inode, entry.stat))
        if len(away) < 2 and not left:
            break  # an ordinary save
        row = index.entries[path]
        if row.role == "note":
            block = await texts.id_in(path)
            left = left and block != row.block_id
            home = None if block is None else index.path_of.get(block)
            if home in replaced and await texts.id_in(home) == block:
                home = None  # that one was merely saved too: this is a copy of it
        else:
            home = next((p for p in away if _is_file(heap, p, entry)), None)
        if left or (home is not None and home != path and home in away):
            found[path] = entry
    new = {e.path for e in seen.created if e.kind == "file"} | {*waiting} - index.stats.keys()
    if not seen.modified and new.issuperset(waiting):
        new = set()  # no known file has another text
    for path in sorted(new):
        old = await _old_place(heap, path, texts)
        if old is not None and old.path not in {*found, *seen.missing}:
            found[old.path] = old
    await _step_aside(heap, [index.entries[p] for p in found])
    return list(found.values())


async def _old_place(heap: HeapState, path: str, texts: "_Texts") -> Entry | None:
    """What stands where a note was that a new file says it is, when it is quite another text."""
    block = await texts.id_in(path) if PurePosixPath(path).suffix == ".md" else None
    home = None if block is None else heap.index.path_of.get(block)
    known = None if home is None else heap.index.stats.get(home)
    if block is None or home is None or known is None or home in heap.held_up:
        return None
    stat = await heap.disk.stat(home)
    if stat is None or stat.agrees(known) or await texts.id_in(home) is not None:
        return None
    base = await heap.db.read(lambda tx: renditions.newest(tx, block))
    now = await texts.of(home)
    if base is None or now is None or not now.strip():
        return None
    is_other = not await off_loop(is_alike, base.data, now)
    return Entry(home, "file", stat) if is_other else None


@dataclass(slots=True)
class _Texts:
    """Notes' texts on the disk, each read once."""

    heap: HeapState
    max_bytes: int
    _read: dict[str, bytes | None] = field(default_factory=dict)

    async def of(self, path: str) -> bytes | None:
        """The bytes; None when they can't be read now."""
        if path not in self._read:
            try:
                self._read[path] = (await self.heap.disk.read(path, self.max_bytes))[0]
            except (Moved, Unsettled, FolderTrouble, UnreadableFile):
                self._read[path] = None
        return self._read[path]

    async def id_in(self, path: str) -> BlockId | None:
        """The id in the front matter."""
        data = await self.of(path)
        try:
            found = None if data is None else (await off_loop(Note.of, data)).front.id
        except UnreadableFile:
            return None
        return None if found is None else BlockId(found)


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


async def _step_aside(heap: HeapState, rows: Sequence[EntryRow]) -> None:
    if not rows:
        return
    async with heap.lock:
        moved = [replace(r, path=aside(r.block_id, r.path)) for r in rows]

        def store(change: Change) -> None:
            change.remove(r.path for r in rows)
            change.save(moved)

        await heap.store(store)
