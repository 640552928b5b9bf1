"""Park notes and files whose paths were taken by others: swapped, or moved over one another.

A note is identified by the id in it, another file by its inode. If the file at a path is another
block's, and that block's own path is empty or replaced too, then files were moved, not saved
(unless that note is in another new file: then an editor saved it under a former name). A note
whose path was taken by another is parked under a temporary name until the scan finds its file
or confirms its deletion.

The same applies when a note's path has a text without an id that is unlike the old one, or the
text of a note without a file, while the old note's id is in a new file. The note was renamed, and
another one was begun under its name (or made elsewhere after the backup that the cache was
restored from).
"""

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from heapsyncd.cache import renditions
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.folder.snapshot import Differences, Entry
from heapsyncd.ids import BlockId
from heapsyncd.sync.edits.new_texts import NewTexts, batches
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import parking_path
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.base_selection import is_alike
from heapsyncd.sync.merge.note_text import Note


async def park_displaced(
    heap: HeapContext, seen: Differences, max_bytes: int, waiting: Collection[str]
) -> list[Entry]:
    """Park the entries whose files are other blocks now, and return these files.

    Args:
        heap: the heap.
        seen: the result of the scan.
        max_bytes: a larger file is no note.
        waiting: paths that are not settled.
    """
    index, texts = heap.index, _Texts(heap, max_bytes)
    replaced = {e.path: e for e in seen.modified if _is_replaced(heap, e)}
    away = {*seen.missing, *replaced}
    others = [*replaced.values(), *(e for e in seen.created if e.kind == "file")]
    elsewhere = {e.stat.inode: e.stat for e in others}
    found = {}
    if len(away) > 1:
        await texts.read_ids(p for p in replaced if index.entries[p].role == "note")
    for path, entry in replaced.items():
        # The old file was moved elsewhere, not just replaced by a save.
        known = index.stats[path]
        left = known.same_content(elsewhere.get(known.inode, entry.stat))
        if len(away) < 2 and not left:
            break  # an ordinary save
        row = index.entries[path]
        if row.role == "note":
            block = await texts.id_in(path)
            left = left and block != row.block_id
            last_path = None if block is None else index.path_of.get(block)
            if last_path in replaced and await texts.id_in(last_path) == block:
                last_path = None  # the original was saved in its place: this is a copy
            if last_path in away and await _is_in_another(heap, last_path, entry, seen, texts):
                last_path = None  # an editor has saved it under a former name
            if (
                last_path in away
                and last_path != path
                and await _is_copy(heap, row.block_id, last_path)
            ):
                last_path = None  # a copy, saved by an editor that has not seen its own id yet
        else:
            last_path = next((p for p in away if _was_file_at(heap, p, entry)), None)
        if left or (last_path is not None and last_path != path and last_path in away):
            found[path] = entry
    for old in await _replaced_notes(heap, seen, waiting, texts):
        found.setdefault(old.path, old)
    await _park(heap, [index.entries[p] for p in found])
    return list(found.values())


async def _is_in_another(
    heap: HeapContext, path: str, entry: Entry, seen: Differences, texts: "_Texts"
) -> bool:
    """Return whether the note that was at ``path`` is in another new file than ``entry``.

    If neither has its inode, it is: who renames a file does not write it over another.
    """
    row, was = heap.index.entries[path], heap.index.stats.get(path)
    if row.role != "note" or (was is not None and was.number == entry.stat.number):
        return False
    new = [e.path for e in seen.created if e.kind == "file" and e.path.endswith(".md")]
    await texts.read_ids(new)
    return row.block_id in {await texts.id_in(p) for p in new}


async def _is_copy(heap: HeapContext, block: BlockId, original: str) -> bool:
    """Return whether a note began as a copy of another note's file, with that id in it."""
    other = heap.index.entries[original].block_id
    ring = await heap.db.read(lambda tx: renditions.ring(tx, block))
    return await offload(lambda: any(_names(heap, r.data, other) for r in ring))


async def _replaced_notes(
    heap: HeapContext, seen: Differences, waiting: Collection[str], texts: "_Texts"
) -> list[Entry]:
    """Return other texts at the paths of notes whose ids are in new files."""
    stats = heap.index.stats
    # No operations of whole sets: ``stats`` has every file of the heap.
    unknown = {path for path in waiting if path not in stats}
    new = {e.path for e in seen.created if e.kind == "file"} | unknown
    new = {path for path in new if path.endswith(".md")}
    if not new:
        return []
    old: dict[BlockId, Entry] = {}
    for path in {e.path for e in seen.modified} | (set(waiting) - unknown):
        entry = await _other_text_at(heap, path, texts)
        if entry is not None:
            old[heap.index.entries[path].block_id] = entry
    # Read the new files only if needed: they may be many.
    ids = {await texts.id_in(p) for p in new} if old else set()
    return [entry for block, entry in old.items() if block in ids]


async def _other_text_at(heap: HeapContext, path: str, texts: "_Texts") -> Entry | None:
    """Return the file at a note's path if it is another text.

    That is a very different text without an id, or the text of a note that has no file.
    """
    row, known = heap.index.entries[path], heap.index.stats[path]
    if row.role != "note" or path in heap.holds.up:
        return None
    stat = await heap.disk.stat(path)
    if stat is None or stat.agrees(known):
        return None
    block = await texts.id_in(path)
    if block in heap.index.unplaced:
        return Entry(path, "file", stat)
    if block is not None:
        return None
    now = await texts.of(path)
    base = await heap.db.read(lambda tx: renditions.newest(tx, row.block_id))
    if base is None or now is None or not now.strip():
        return None
    is_other = not await offload(is_alike, base.data, now)
    return Entry(path, "file", stat) if is_other else None


class _Texts(Struct):
    """Notes' files on disk and the ids in them, each read once."""

    heap: HeapContext
    max_bytes: int
    _read: dict[str, bytes | None] = field(default_factory=dict)
    _ids: dict[str, BlockId | None] = field(default_factory=dict)

    async def read_ids(self, paths: Iterable[str]) -> None:
        """Read the ids in many files, in batches."""
        stats, disk = self.heap.index.stats, self.heap.disk
        left = [p for p in paths if p not in self._ids]
        for some in batches(left, lambda path: stats[path].size if path in stats else 0):
            read = await disk.read_many(some, self.max_bytes)
            data = [found[0] if isinstance(found, tuple) else None for found in read]
            ids = await offload(lambda d=data: [_ids_of(self.heap, one) for one in d])  # type: ignore[misc]
            blocks = [self.heap.block_in(found) for found in ids]
            self._ids |= zip(some, blocks, strict=True)

    async def of(self, path: str) -> bytes | None:
        """Return a file's bytes; None if it cannot be read now."""
        if path not in self._read:
            try:
                self._read[path] = (await self.heap.disk.read(path, self.max_bytes))[0]
            except (PathChanged, FileBusy, FolderTrouble, UnreadableFile):
                self._read[path] = None
        return self._read[path]

    async def id_in(self, path: str) -> BlockId | None:
        """Return the id in the front matter; None if there is none."""
        await self.read_ids([path])
        return self._ids[path]


async def with_likely_ids(
    heap: HeapContext, found: Sequence[Found], gone: Iterable[EntryRow], texts: NewTexts
) -> list[Found]:
    """Return the new files; those that are like a missing note's text get that note's id.

    Only for notes whose id was never written into their file: renamed and saved at once, nothing
    else identifies them.
    """
    inodes = {(f.device, f.inode) for f in found}
    notes = [
        e for e in gone if e.role == "note" and (e.stat is None or e.stat.number not in inodes)
    ]
    new = [f for f in found if f.path in texts.heads and f.front_id is None]
    if not notes or not new:
        return list(found)
    bases = await heap.db.read(lambda tx: [(e, renditions.newest(tx, e.block_id)) for e in notes])
    known = [(e.block_id, b.data) for e, b in bases if b is not None]
    left = await offload(lambda: {b: data for b, data in known if not _names(heap, data, b)})
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


async def may_be_edit_of(heap: HeapContext, before: EntryRow, data: bytes) -> bool:
    """Return whether a text without an id may be an edit of a missing note's file.

    Who renames a file keeps its id. Without it, a text that is like the note's is rather a new one
    from the same template, whose file got the number of the deleted one.
    """
    block = before.block_id
    base = await heap.db.read(lambda tx: renditions.newest(tx, block))
    if base is None:
        return True
    return await offload(lambda: not _names(heap, base.data, block) and is_alike(base.data, data))


def _ids_of(heap: HeapContext, data: bytes | None) -> tuple[str, ...]:
    try:
        return () if data is None else heap.index.ids_in(Note.of(data).front)
    except UnreadableFile:
        return ()


def _names(heap: HeapContext, data: bytes, block: BlockId) -> bool:
    """Return whether a file's front matter names a block."""
    return heap.index.shown_id(block) in _ids_of(heap, data)


def _is_replaced(heap: HeapContext, entry: Entry) -> bool:
    row = heap.index.entries[entry.path]
    return (
        row.role in {"note", "file"}
        and (row.stat is None or row.stat.inode != entry.stat.inode)
        and entry.path not in heap.holds.up
    )


def _was_file_at(heap: HeapContext, path: str, entry: Entry) -> bool:
    """Return whether the found file is the one that was at a path."""
    known = heap.index.stats.get(path)
    row = heap.index.entries[path]
    return row.role == "file" and known is not None and entry.stat.same_content(known)


async def _park(heap: HeapContext, rows: Sequence[EntryRow]) -> None:
    if not rows:
        return
    async with heap.lock:
        moved = [replace(r, path=parking_path(r.block_id, r.path)) for r in rows]

        def store(change: Change) -> None:
            change.remove(r.path for r in rows)
            change.save(moved)

        await heap.store(store)
