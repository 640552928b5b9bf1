"""Contents that changed in the folder: new files, new versions, attachments renamed and moved.

A new version takes the place of the one it was made from. One that was made from an older version
than the document has by now takes no place: both are kept.
"""

import mimetypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow, Role, Todo
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError, FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.edits.create import insert_block, make_block
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.edits.note_saved import note_reread
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_owner
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.attachments import contents_of, here

log = structlog.get_logger()


async def files_of(heap: HeapContext, block: BlockId) -> tuple[FileEntry, ...]:
    """A block's files_v0 entries as they are now; none of one that can't be read."""

    def read(tx: Tx) -> tuple[BlockState | None, list[bytes]]:
        return blocks.get(tx, block), [r.data for r in blocks.log(tx, block)]

    state, updates = await heap.db.read(read)
    if state is None:
        return ()
    # Not the replica in memory, which somebody who holds the lock may be changing.
    try:
        with heap.at_work.on(block):
            return await offload(lambda: Replica.load(updates).fields().files)
    except BlockError as error:
        log.warning("files not known", block=block, reason=str(error))
        return ()


async def _digest(heap: HeapContext, path: str) -> tuple[str, Stat] | None:
    """A file's sha256 and stat; None when it can't be told now, which becomes a problem unless it
    will be looked at again.
    """
    try:
        found = await heap.disk.digest(path)
    except (Unsettled, Moved):
        return None
    except FolderTrouble as error:
        heap.problems.found("read", path, error)
        return None
    except UnreadableFile:
        return None  # another thing by now: the next look tells what
    heap.problems.clear(path, "read", "content")
    return found


async def file_created(heap: HeapContext, found: Found, perhaps: Sequence[BlockId] = ()) -> None:
    """A new file that is no note: an attachment of the note whose directory it is in, else a file
    block; one of those it ``perhaps`` is, when that has this very content.
    """
    digested = await _digest(heap, found.path)
    if digested is None:
        return
    hashed, stat = digested
    file = _file_entry(found.path, hashed, stat)
    async with heap.lock:
        known = heap.index.entries.get(found.path)
        if known is not None:
            await _versioned(heap, known, file, stat)
        elif (owner_path := assets_owner(found.path)) is not None:
            await _attached(heap, found.path, owner_path, file, stat)
        elif not await _recognised(heap, perhaps, found.path, file, stat):
            await _file_block(heap, found.path, file, stat)
    heap.wake.push.set()
    heap.wake.transfer.set()


async def _recognised(
    heap: HeapContext, perhaps: Sequence[BlockId], path: str, file: FileEntry, stat: Stat
) -> bool:
    """Whether a file is the content of a block that has no file for it."""
    for block in perhaps:
        have = contents_of(heap, block).get(file.key)
        if have is not None and have.inode is not None:
            continue
        if file.key not in {f.key for f in await files_of(heap, block)}:
            continue
        main: Role = "attachment" if block in heap.index.path_of else "file"
        role = main if have is None else have.role
        _, row = await _merged(heap, EntryRow(path, block, role), file, stat)
        gone = [] if have is None else [have.path]

        def store(change: Change, row: EntryRow = row, gone: Sequence[str] = gone) -> None:
            change.remove(gone)
            change.save([row])
            change.update(row.block_id, stale=1)

        await heap.store(store)
        heap.wake.publish.set()
        log.info("recognised", path=path, block=block)
        return True
    return False


async def _file_block(heap: HeapContext, path: str, file: FileEntry, stat: Stat) -> None:
    parent = heap.parent_of(path)
    tags = frozenset() if parent is None else frozenset({parent})
    target = Target(add_tags=tags, put_files=(file,))
    state, update, _ = make_block(heap, "file", file.name, target)
    row = EntryRow(path, state.id, "file", file.key, todo="upload")
    row = stamped(row, stat, bytes.fromhex(file.hash))

    def store(change: Change) -> None:
        insert_block(change, state, update, sorted(tags))
        change.save([row])

    await heap.store(store)
    log.info("new file", path=path, block=state.id, bytes=stat.size)


def _file_entry(path: str, sha256: str, stat: Stat) -> FileEntry:
    name = PurePosixPath(path).name
    return FileEntry(
        key=f"{sha256}:{stat.size}",
        hash=sha256,
        name=name,
        size_bytes=stat.size,
        mime_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
    )


async def _attached(
    heap: HeapContext, path: str, owner_path: str, file: FileEntry, stat: Stat
) -> None:
    owner = heap.index.entries.get(owner_path)
    if owner is None or owner.role != "note":
        reason = f"no note {owner_path} to attach it to; move it out of the .assets folder"
        heap.problems.found("content", path, reason)
        return
    twin = contents_of(heap, owner.block_id).get(file.key)
    if twin is not None and here(twin) and await heap.disk.stat(twin.path) is not None:
        name = PurePosixPath(twin.path).name
        reason = f"the same content is attached as {name} already; this copy is not synced"
        heap.problems.found("content", path, reason, "odd")
        return
    file, row = await _merged(heap, EntryRow(path, owner.block_id, "attachment"), file, stat)
    gone = [] if twin is None else [twin.path]
    await edit_fields(heap, owner.block_id, Target(put_files=(file,)), [row], gone)
    await note_reread(heap, owner_path)


async def _merged(
    heap: HeapContext, row: EntryRow, file: FileEntry, stat: Stat
) -> tuple[FileEntry, EntryRow]:
    """The entry of files_v0 for a content on the disk, and what is left to do for it: nothing when
    the server has it.
    """
    known = {f.key: f for f in await files_of(heap, row.block_id)}.get(file.key)
    uploaded = known is not None and known.is_uploaded
    if known is not None and row.role == "file":
        file = known
    todo: Todo | None = None if uploaded else "upload"
    row = stamped(replace(row, key=file.key), stat, bytes.fromhex(file.hash))
    return replace(file, is_uploaded=uploaded), replace(row, todo=todo)


async def content_changed(heap: HeapContext, row: EntryRow, stat: Stat) -> None:
    """A file's stamps changed: when its content did too, it is a new version."""
    digested = await _digest(heap, row.path)
    if digested is None:
        return
    hashed, stat = digested
    async with heap.lock:
        now = heap.index.entries.get(row.path)
        if now is None or now.block_id != row.block_id:
            return
        if bytes.fromhex(hashed) == now.digest:
            same = stamped(now, stat, now.digest)
            await heap.store(lambda change: change.save([same]))
            return
        await _versioned(heap, now, _file_entry(row.path, hashed, stat), stat)
    heap.wake.transfer.set()


async def _versioned(heap: HeapContext, row: EntryRow, file: FileEntry, stat: Stat) -> None:
    """A new content stands where an entry is."""
    # Two contents may have swapped their names: what stands elsewhere by now is not given up.
    elsewhere = heap.index.attachments.get(row.block_id, {}).get(row.key or "", row.path)
    replaced = row.key != file.key and here(row) and elsewhere == row.path
    drop = (row.key,) if row.key and replaced else ()
    file, new = await _merged(heap, row, file, stat)
    await edit_fields(heap, row.block_id, Target(put_files=(file,), drop_files=drop), [new])
    note = heap.index.path_of.get(row.block_id)
    if row.role == "attachment" and note is not None and note.endswith(".md"):
        await note_reread(heap, note)


async def content_moved(heap: HeapContext, entry: EntryRow, new: EntryRow) -> Found | None:
    """A content stands elsewhere: renamed beside its note, or gone from its block. What it is to
    become in its new place is up to ``file_created``, when the result is not None. The caller
    holds the lock.
    """
    owner = heap.index.entries.get(assets_owner(new.path) or "")
    file = {f.key: f for f in await files_of(heap, entry.block_id)}.get(entry.key or "")
    if file is not None and owner is not None and owner.block_id == entry.block_id:
        renamed = replace(file, name=PurePosixPath(new.path).name)
        await edit_fields(heap, entry.block_id, Target(put_files=(renamed,)), [new], [entry.path])
        return None
    if entry.role == "file":
        target = Target(deleted_at_ms=now_ms())
    else:
        target = Target(drop_files=(entry.key,) if entry.key else ())
    await edit_fields(heap, entry.block_id, target, [], [entry.path])
    return Found(new.path, "file", new.inode or 0, new.device or 0, new.size or 0)
