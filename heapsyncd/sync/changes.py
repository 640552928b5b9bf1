"""The folder's changes carried into the cache: moves, new folders and files, deletions, adoption.

Each is one transaction together with the entries it concerns; the push follows from the log.
"""

import asyncio
import mimetypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import blocks, entries
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.document.edit import Wish
from heapsyncd.errors import BlockError
from heapsyncd.folder.disk import Moved as DiskMoved
from heapsyncd.folder.disk import Unsettled
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.created import insert_block, make_block
from heapsyncd.sync.fields import edit_fields, move_wish
from heapsyncd.sync.index import stat_of
from heapsyncd.sync.ingest import Saved, note_reread, note_saved
from heapsyncd.sync.plan import Found, Moved, assets_of, assets_owner
from heapsyncd.sync.state import HeapState, now_ms, stamped

log = structlog.get_logger()


async def moved(heap: HeapState, move: Moved, saved: Saved | None) -> None:
    """An entry stands elsewhere: its title and folder follow, its content is looked at too."""
    entry, path = move.entry, move.path
    async with heap.lock:
        old = heap.index.entries.get(entry.path)
        if old is None or path in heap.index.entries:
            return
        stat = await heap.disk.stat(path)
        if stat is None:
            return
        below = heap.index.below(entry.path)
        if entry.role == "note":
            below += heap.index.below(assets_of(entry.path))
        shifted = {e.path: replace(e, path=_shift(e.path, entry, path)) for e in below}
        present = {
            p: e for p, e in shifted.items() if e.inode is None or await heap.disk.stat(e.path)
        }
        # An edit made together with the move is read next; until that is committed the stamps say
        # that the file is not the one we knew.
        known = stat_of(entry)
        same = entry.role == "folder" or (known is not None and stat.same_content(known))
        new = replace(stamped(entry, stat, entry.digest) if same else entry, path=path)
        rows = [new, *present.values()]
        gone = [entry.path, *present]
        if entry.role == "attachment":
            await _attachment_moved(heap, entry, new)
            return
        wish = move_wish(heap, entry.block_id, entry.role, entry.path, path)
        await edit_fields(heap, entry.block_id, wish, rows, gone)
        await heap.db.write(lambda tx: _mentions_stale(tx, entry.block_id))
        log.info("moved", old=entry.path, new=path)
    if saved is not None:
        await note_saved(heap, saved)


def _shift(path: str, entry: EntryRow, new: str) -> str:
    if entry.role == "note":
        return assets_of(new) + path[len(assets_of(entry.path)) :]
    return new + path[len(entry.path) :]


def _mentions_stale(tx: Tx, block: BlockId) -> None:
    for note in entries.mentioning(tx, block):
        blocks.update(tx, note, stale=1)


async def _attachment_moved(heap: HeapState, entry: EntryRow, new: EntryRow) -> None:
    """An attachment renamed in its note's directory, or moved to another note's."""
    owner = heap.index.entries.get(assets_owner(new.path) or "")
    known = {f.key: f for f in await files_of(heap, entry.block_id)}
    file = known.get(entry.key or "")
    if file is None:
        return
    renamed = replace(file, name=PurePosixPath(new.path).name)
    if owner is not None and owner.block_id == entry.block_id:
        await edit_fields(heap, entry.block_id, Wish(put_files=(renamed,)), [new], [entry.path])
    elif owner is not None:
        await edit_fields(heap, entry.block_id, Wish(drop_files=(file.key,)), [], [entry.path])
        arrived = replace(new, block_id=owner.block_id, todo="upload")
        renamed = replace(renamed, is_uploaded=False)
        await edit_fields(heap, owner.block_id, Wish(put_files=(renamed,)), [arrived])
    heap.to_transfer.set()


async def files_of(heap: HeapState, block: BlockId) -> tuple[FileEntry, ...]:
    """A block's files_v0 entries as they are now."""

    def read(tx: Tx) -> tuple[BlockState | None, list[bytes]]:
        return blocks.get(tx, block), [r.data for r in blocks.log(tx, block)]

    state, updates = await heap.db.read(read)
    if state is None:
        return ()
    replica = await asyncio.to_thread(heap.replicas.load, block, state.seq, updates)
    return replica.fields().files


async def folder_created(heap: HeapState, found: Found) -> None:
    """A new directory becomes a folder block; a note's attachment directory is none."""
    if assets_owner(found.path + "/x") is not None:
        return
    async with heap.lock:
        if found.path in heap.index.entries:
            return
        parent = heap.parent_of(found.path)
        tags = frozenset() if parent is None else frozenset({parent})
        title = PurePosixPath(found.path).name
        state, update, _ = make_block(heap, "folder", title, Wish(add_tags=tags))
        stat = await heap.disk.stat(found.path)
        if stat is None:
            return
        row = stamped(EntryRow(found.path, state.id, "folder"), stat, None)

        def store(tx: Tx) -> None:
            insert_block(tx, state, update, sorted(tags))
            entries.save(tx, heap.id, [row])

        await heap.db.write(store)
        heap.learned(None, state)
        heap.index.put(row)
    heap.to_push.set()
    log.info("new folder", path=found.path, block=state.id)


async def file_created(heap: HeapState, found: Found) -> None:
    """A new file that is no note: an attachment of the note whose directory it is in, else a file
    block.
    """
    owner_path = assets_owner(found.path)
    try:
        hashed, stat = await heap.disk.digest(found.path)
    except (Unsettled, DiskMoved):
        return
    name = PurePosixPath(found.path).name
    file = _file_entry(found.path, hashed, stat)
    if owner_path is not None:
        await _attached(heap, found.path, owner_path, file, stat, hashed)
        return
    async with heap.lock:
        if found.path in heap.index.entries:
            return
        parent = heap.parent_of(found.path)
        tags = frozenset() if parent is None else frozenset({parent})
        state, update, _ = make_block(heap, "file", name, Wish(add_tags=tags, put_files=(file,)))
        row = EntryRow(found.path, state.id, "file", file.key, todo="upload")
        row = stamped(row, stat, bytes.fromhex(hashed))

        def store(tx: Tx) -> None:
            insert_block(tx, state, update, sorted(tags))
            entries.save(tx, heap.id, [row])

        await heap.db.write(store)
        heap.learned(None, state)
        heap.index.put(row)
    heap.to_push.set()
    heap.to_transfer.set()
    log.info("new file", path=found.path, block=state.id, bytes=stat.size)


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
    heap: HeapState, path: str, owner_path: str, file: FileEntry, stat: Stat, hashed: str
) -> None:
    async with heap.lock:
        owner = heap.index.entries.get(owner_path)
        if owner is None:
            heap.file_problems[path] = (
                f"no note {owner_path} to attach it to; move it out of the .assets folder"
            )
            return
        heap.file_problems.pop(path, None)
        known = heap.index.entries.get(path)
        row = EntryRow(path, owner.block_id, "attachment", file.key, todo="upload")
        drop = (known.key,) if known is not None and known.key and known.key != file.key else ()
        wish = Wish(put_files=(file,), drop_files=drop)
        await edit_fields(heap, owner.block_id, wish, [stamped(row, stat, bytes.fromhex(hashed))])
        await note_reread(heap, owner_path)
    heap.to_transfer.set()


async def content_changed(heap: HeapState, row: EntryRow, stat: Stat) -> None:
    """A file's stamps changed: when its content did too, the new content takes the old one's
    place.
    """
    try:
        hashed, stat = await heap.disk.digest(row.path)
    except (Unsettled, DiskMoved):
        return
    if bytes.fromhex(hashed) == row.digest:
        same = stamped(row, stat, bytes.fromhex(hashed))
        async with heap.lock:
            await heap.db.write(lambda tx: entries.save(tx, heap.id, [same]))
            heap.index.put(same)
        return
    file = _file_entry(row.path, hashed, stat)
    drop = (row.key,) if row.key and row.key != file.key else ()
    async with heap.lock:
        new = stamped(replace(row, key=file.key, todo="upload"), stat, bytes.fromhex(hashed))
        wish = Wish(put_files=(file,), drop_files=drop)
        await edit_fields(heap, row.block_id, wish, [new])
    heap.to_transfer.set()


async def vanished(heap: HeapState, gone: Sequence[EntryRow]) -> None:
    """Files the user deleted: their blocks go to the server's trash, their texts into the local
    one.
    """
    deleted = {e.block_id for e in gone if e.role != "attachment"}
    async with heap.lock:
        for entry in gone:
            if entry.path not in heap.index.entries:
                continue
            if entry.role == "attachment":
                drop = (entry.key,) if entry.key and entry.block_id not in deleted else ()
                await edit_fields(heap, entry.block_id, Wish(drop_files=drop), [], [entry.path])
                continue
            try:
                await edit_fields(
                    heap, entry.block_id, Wish(deleted_at_ms=now_ms()), [], [entry.path]
                )
            except BlockError as error:
                heap.file_problems[entry.path] = f"the deletion could not be sent: {error}"
            log.info("deleted", path=entry.path, block=entry.block_id)
