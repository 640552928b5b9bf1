"""Notes and files whose places others took: swapped or moved over one another.

The id in a note says which one it is, other files are known by their inode. When it is not the one
that stood there, and that other one is not at its own place any more, then files were
moved, not written anew: who stood there waits aside, until it is found elsewhere or believed
deleted. So it is when a text without an id, unlike the old one, or that of a note without a file
stands where a note was whose id is in a new file: the note was renamed, and another was begun
under its name (or made elsewhere, since the backup was made that the cache was put back from).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from heapsyncd.cache import renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.snapshot import Differences, Entry
from heapsyncd.ids import BlockId
from heapsyncd.sync.edits.new_texts import NewTexts, batches
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import aside
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.base_selection import is_alike
from heapsyncd.sync.merge.note_text import Note


async def displaced(
    heap: HeapContext, seen: Differences, max_bytes: int, waiting: Collection[str]
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
    if len(away) > 1:
        await texts.look(p for p in replaced if index.entries[p].role == "note")
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
            if home in away and home != path and await _is_copy(heap, row.block_id, home):
                home = None  # it had that id before, in an editor that has not seen its own yet
        else:
            home = next((p for p in away if _is_file(heap, p, entry)), None)
        if left or (home is not None and home != path and home in away):
            found[path] = entry
    for old in await _left_behind(heap, seen, waiting, texts):
        found.setdefault(old.path, old)
    await _step_aside(heap, [index.entries[p] for p in found])
    return list(found.values())


async def _is_copy(heap: HeapContext, block: BlockId, original: str) -> bool:
    """Whether a note began as a copy of another one's file, with that one's id in it."""
    other = heap.index.entries[original].block_id
    ring = await heap.db.read(lambda tx: renditions.ring(tx, block))
    return await offload(lambda: any(_id_of(r.data) == other for r in ring))


async def _left_behind(
    heap: HeapContext, seen: Differences, waiting: Collection[str], texts: "_Texts"
) -> list[Entry]:
    """Other texts that stand where notes were whose ids are in new files."""
    stats = heap.index.stats
    new = {e.path for e in seen.created if e.kind == "file"} | {*waiting} - stats.keys()
    new = {path for path in new if path.endswith(".md")}
    if not new:
        return []
    old: dict[BlockId, Entry] = {}
    for path in {e.path for e in seen.modified} | (stats.keys() & waiting):
        entry = await _rewritten(heap, path, texts)
        if entry is not None:
            old[heap.index.entries[path].block_id] = entry
    # Only then are the new files looked into: they may be many.
    ids = {await texts.id_in(p) for p in new} if old else set()
    return [entry for block, entry in old.items() if block in ids]


async def _rewritten(heap: HeapContext, path: str, texts: "_Texts") -> Entry | None:
    """What stands in a note's place, when it is quite another text and has no id, or that of a
    note that has no file.
    """
    row, known = heap.index.entries[path], heap.index.stats[path]
    if row.role != "note" or path in heap.holds.up:
        return None
    stat = await heap.disk.stat(path)
    if stat is None or stat.agrees(known):
        return None
    block = await texts.id_in(path)
    if block in heap.index.homeless:
        return Entry(path, "file", stat)
    if block is not None:
        return None
    now = await texts.of(path)
    base = await heap.db.read(lambda tx: renditions.newest(tx, row.block_id))
    if base is None or now is None or not now.strip():
        return None
    is_other = not await offload(is_alike, base.data, now)
    return Entry(path, "file", stat) if is_other else None


@dataclass(slots=True)
class _Texts:
    """Notes' texts on the disk, and the ids in them, each looked at once."""

    heap: HeapContext
    max_bytes: int
    _read: dict[str, bytes | None] = field(default_factory=dict)
    _ids: dict[str, BlockId | None] = field(default_factory=dict)

    async def look(self, paths: Iterable[str]) -> None:
        """Read the ids in many files, a batch at a time."""
        stats, disk = self.heap.index.stats, self.heap.disk
        left = [p for p in paths if p not in self._ids]
        for some in batches(left, lambda path: stats[path].size if path in stats else 0):
            read = await disk.read_many(some, self.max_bytes)
            data = [found[0] if isinstance(found, tuple) else None for found in read]
            ids = await offload(lambda d=data: [_block_in(one) for one in d])  # type: ignore[misc]
            self._ids |= zip(some, ids, strict=True)

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
        await self.look([path])
        return self._ids[path]


async def named(
    heap: HeapContext, found: Sequence[Found], gone: Iterable[EntryRow], texts: NewTexts
) -> list[Found]:
    """The new files, each with the id of the note it is by its text, where the note is gone and
    its id was never written into it: renamed and saved anew it has nothing else to be known by.
    """
    inodes = {(f.device, f.inode) for f in found}
    notes = [e for e in gone if e.role == "note" and (e.device, e.inode) not in inodes]
    new = [f for f in found if f.path in texts.heads and f.front_id is None]
    if not notes or not new:
        return list(found)
    bases = await heap.db.read(lambda tx: [(e, renditions.newest(tx, e.block_id)) for e in notes])
    known = [(e.block_id, b.data) for e, b in bases if b is not None]
    left = await offload(lambda: {b: data for b, data in known if _id_of(data) is None})
    ids: dict[str, BlockId] = {}
    for some in batches(new, lambda file: file.size):
        for saved in await texts.of(f.path for f in some):
            for block, base in left.items():
                a, b = base, saved.data
                if await offload(lambda a=a, b=b: is_alike(a, b) and is_alike(b, a)):  # type: ignore[misc]
                    ids[saved.path] = block
                    del left[block]
                    break
    return [replace(f, front_id=ids.get(f.path, f.front_id)) for f in found]


def _block_in(data: bytes | None) -> BlockId | None:
    found = None if data is None else _id_of(data)
    return None if found is None else BlockId(found)


def _id_of(data: bytes) -> str | None:
    try:
        return Note.of(data).front.id
    except UnreadableFile:
        return None


def _is_replaced(heap: HeapContext, entry: Entry) -> bool:
    row = heap.index.entries[entry.path]
    return (
        row.role in {"note", "file"}
        and row.inode != entry.stat.inode
        and entry.path not in heap.holds.up
    )


def _is_file(heap: HeapContext, path: str, entry: Entry) -> bool:
    """Whether what stood at a path is what was found."""
    known = heap.index.stats.get(path)
    row = heap.index.entries[path]
    return row.role == "file" and known is not None and entry.stat.same_content(known)


async def _step_aside(heap: HeapContext, rows: Sequence[EntryRow]) -> None:
    if not rows:
        return
    async with heap.lock:
        moved = [replace(r, path=aside(r.block_id, r.path)) for r in rows]

        def store(change: Change) -> None:
            change.remove(r.path for r in rows)
            change.save(moved)

        await heap.store(store)
