"""Store changes of contents: new files, new versions, renamed and moved attachments.

A new version replaces the one it was made from. If the document has a newer one by now, both are
kept.
"""

import mimetypes
from collections.abc import Sequence
from pathlib import PurePosixPath

import structlog
from msgspec.structs import replace

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow, Role, Todo
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError, FolderTrouble, UnreadableFile
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry, Stat
from heapsyncd.sync.edits.create import insert_block, make_block
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.edits.note_saved import notes_reread
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_owner
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.attachments import (
    AttachmentOwner,
    attachment_paths,
    contents_of,
    is_present,
)

log = structlog.get_logger()


async def files_of(heap: HeapContext, block: BlockId) -> tuple[FileEntry, ...]:
    """Return a block's files_v0 entries as they are now; none if its document cannot be read."""

    def read(tx: Tx) -> tuple[BlockState | None, list[bytes]]:
        return blocks.get(tx, block), [r.data for r in blocks.log(tx, block)]

    state, updates = await heap.db.read(read)
    if state is None:
        return ()
    # Not the shared replica: whoever holds the lock may be changing it.
    try:
        with heap.at_work.on(block):
            return await offload(lambda: Replica.load(updates).fields().files)
    except BlockError as error:
        log.warning("cannot read a block's files", block=block, reason=str(error))
        return ()


async def _digest(heap: HeapContext, path: str) -> tuple[str, Stat] | None:
    """Return a file's sha256 and stat; None if it cannot be read now.

    That becomes a problem, unless the file will be scanned again anyway.
    """
    try:
        found = await heap.disk.digest(path)
    except (FileBusy, PathChanged):
        return None
    except FolderTrouble as error:
        heap.problems.found("read", path, error)
        return None
    except UnreadableFile:
        return None  # no file any more: the next scan says what it is
    heap.problems.clear(path, "read", "content")
    return found


async def file_created(
    heap: HeapContext, found: Found, candidates: Sequence[BlockId] = ()
) -> None:
    """Store a new file that is no note.

    It becomes an attachment of the note whose directory it is in, or the file of one of the
    candidate blocks that has the same content, or a new file block. Takes the heap's lock.
    """
    digested = await _digest(heap, found.path)
    if digested is None:
        return
    hashed, stat = digested
    file = _file_entry(found.path, hashed, stat)
    async with heap.lock:
        known = heap.index.entries.get(found.path)
        if known is not None:
            if heap.dialect.content_hashes or known.digest != bytes.fromhex(hashed):
                await _store_version(heap, known, file, stat)
        elif not heap.dialect.content_hashes and await _bind_alike(
            heap, candidates, found.path, stat
        ):
            heap.wake.publish.set()
        elif (owner_path := assets_owner(found.path)) is not None:
            await _attach(heap, found.path, owner_path, file, stat)
        elif not await _bind_to_block(heap, candidates, found.path, file, stat):
            await _create_file_block(heap, found.path, file, stat)
    heap.wake.push.set()
    heap.wake.transfer.set()


async def _bind_to_block(
    heap: HeapContext, candidates: Sequence[BlockId], path: str, file: FileEntry, stat: Stat
) -> bool:
    """Bind a file to a candidate block that lacks exactly this content; return whether it did."""
    for block in candidates:
        have = contents_of(heap, block).get(file.key)
        if have is not None and have.stat is not None:
            continue
        if file.key not in {f.key for f in await files_of(heap, block)}:
            continue
        main: Role = "attachment" if block in heap.index.path_of else "file"
        role = main if have is None else have.role
        _, row = await _entry_for(heap, EntryRow(path, block, role), file, stat)
        gone = [] if have is None else [have.path]

        def store(change: Change, row: EntryRow = row, gone: Sequence[str] = gone) -> None:
            change.remove(gone)
            change.save([row])
            change.update(row.block_id, stale=1)

        await heap.store(store)
        heap.wake.publish.set()
        log.info("file bound to an existing block", path=path, block=block)
        return True
    return False


async def _bind_alike(
    heap: HeapContext, candidates: Sequence[BlockId], path: str, stat: Stat
) -> bool:
    """Bind a file to a content of its name and size, where no hash can tell; return whether.

    Its entry has no digest: the transfer downloads the content and compares the two.
    """
    owner = heap.index.entries.get(assets_owner(path) or "")
    note = () if owner is None or owner.role != "note" else (owner.block_id,)
    for block in (*note, *candidates):
        files, have = await files_of(heap, block), contents_of(heap, block)
        paths = {f.key: path for f in files}
        if block in note and owner is not None:
            known = {k: e.path for k, e in have.items()}
            paths = attachment_paths(AttachmentOwner(block, "note", owner.path, files), known)
        for file in files:
            before = have.get(file.key)
            is_here = before is not None and before.stat is not None
            if is_here or file.size_bytes != stat.size or paths[file.key] != path:
                continue
            role: Role = "file"
            if block in note or (before is None and block in heap.index.path_of):
                role = "attachment"
            row = EntryRow(path, block, role, file.key, todo="download")
            gone = [] if before is None else [before.path]

            def store(change: Change, row: EntryRow = row, gone: Sequence[str] = gone) -> None:
                change.remove(gone)
                change.save([stamped(row, stat, None)])
                change.update(row.block_id, stale=1)

            await heap.store(store)
            log.info("file bound to a content of its name and size", path=path, block=block)
            return True
    return False


async def _create_file_block(heap: HeapContext, path: str, file: FileEntry, stat: Stat) -> None:
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


async def _attach(
    heap: HeapContext, path: str, owner_path: str, file: FileEntry, stat: Stat
) -> None:
    owner = heap.index.entries.get(owner_path)
    if owner is None or owner.role != "note":
        reason = f"there is no note {owner_path}; move the file out of the .assets folder"
        heap.problems.found("content", path, reason)
        return
    twin = contents_of(heap, owner.block_id).get(file.key)
    if twin is not None and is_present(heap, twin) and await heap.disk.stat(twin.path) is not None:
        name = PurePosixPath(twin.path).name
        reason = f"the same content is already attached as {name}; this copy is not synced"
        heap.problems.found("content", path, reason, "odd")
        return
    file, row = await _entry_for(heap, EntryRow(path, owner.block_id, "attachment"), file, stat)
    gone = [] if twin is None else [twin.path]
    await edit_fields(heap, owner.block_id, Target(put_files=(file,)), [row], gone)
    await notes_reread(heap, [owner_path])


async def _entry_for(
    heap: HeapContext, row: EntryRow, file: FileEntry, stat: Stat
) -> tuple[FileEntry, EntryRow]:
    """Return a content's files_v0 entry and its row; it is not sent if the server has it."""
    known = {f.key: f for f in await files_of(heap, row.block_id)}.get(file.key)
    uploaded = known is not None and known.is_uploaded
    if known is not None and row.role == "file":
        file = known
    todo: Todo | None = None if uploaded else "upload"
    row = stamped(replace(row, key=file.key), stat, bytes.fromhex(file.hash))
    return replace(file, is_uploaded=uploaded), replace(row, todo=todo)


async def content_changed(heap: HeapContext, row: EntryRow, stat: Stat) -> None:
    """Store a new version if a file's content changed, else only its new stamps.

    Takes the heap's lock.
    """
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
        await _store_version(heap, now, _file_entry(row.path, hashed, stat), stat)
    heap.wake.transfer.set()


async def _store_version(heap: HeapContext, row: EntryRow, file: FileEntry, stat: Stat) -> None:
    """Store a new content for an existing entry."""
    # Two contents may have swapped names: keep one that is at another path now.
    elsewhere = heap.index.attachments.get(row.block_id, {}).get(row.key or "", row.path)
    replaced = row.key != file.key and is_present(heap, row) and elsewhere == row.path
    drop = (row.key,) if row.key and replaced else ()
    file, new = await _entry_for(heap, row, file, stat)
    await edit_fields(heap, row.block_id, Target(put_files=(file,), drop_files=drop), [new])
    note = heap.index.path_of.get(row.block_id)
    if row.role == "attachment" and note is not None and note.endswith(".md"):
        await notes_reread(heap, [note])


async def content_moved(heap: HeapContext, entry: EntryRow, new: EntryRow) -> Found | None:
    """Store the move of a content. Hold the heap's lock.

    Returns:
        None if it was renamed beside its note. Otherwise it left its block, and the caller passes
            the result to ``file_created``.
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
    stat = new.stat or Stat(0, 0, 0, 0, 0)
    return Found(new.path, "file", stat.inode, stat.device, stat.size)
