"""Store changes of paths: moves, new folders, deletions.

Each is one transaction together with the entries it concerns; the push follows from the log.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

import structlog
from msgspec.structs import replace

from heapsyncd.cache.entries import EntryRow
from heapsyncd.document.edit import Target
from heapsyncd.errors import BlockError, FolderTrouble
from heapsyncd.folder.disk import PathChanged
from heapsyncd.sync.edits.contents import content_moved, file_created
from heapsyncd.sync.edits.create import insert_block, make_block
from heapsyncd.sync.edits.fields import edit_fields, move_target
from heapsyncd.sync.heap.observed import Found, Moved
from heapsyncd.sync.heap.paths import assets_of, assets_owner
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change

log = structlog.get_logger()


async def moved(heap: HeapContext, move: Moved) -> bool:
    """Store that an entry's file moved, with the new title and folder; return whether it did.

    A note's text is not read here: it is read when all new names are stored. Takes the heap's
    lock.
    """
    entry, path = move.entry, move.path
    async with heap.lock:
        old = heap.index.entries.get(entry.path)
        if old is None or path in heap.index.entries:
            return False
        stat = await heap.disk.stat(path)
        if stat is None:
            return False
        below = heap.index.below(entry.path)
        heap.problems.moved(entry.path, path)
        if entry.role == "note":
            heap.problems.moved(assets_of(entry.path), assets_of(path))
            await _move_assets(heap, entry.path, path)
            below += heap.index.below(assets_of(entry.path))
        new_rows = {e.path: replace(e, path=_new_path(e.path, entry, path)) for e in below}
        present = {p: e for p, e in new_rows.items() if await _was_moved(heap, e)}
        # An edit made together with the move is read next: until then, the entry keeps the old
        # stamps, so that the file counts as changed.
        known = entry.stat
        same = entry.role == "folder" or (known is not None and stat.same_content(known))
        new = replace(stamped(entry, stat, entry.digest) if same else entry, path=path)
        rows = [new, *present.values()]
        gone = [entry.path, *present]
        if entry.role == "attachment" or (entry.role == "file" and assets_owner(path)):
            left = await content_moved(heap, entry, new)
        else:
            left = None
            await _block_moved(heap, entry, new, rows, gone)
    if left is not None:
        await file_created(heap, left)
    return True


async def _block_moved(
    heap: HeapContext, old: EntryRow, new: EntryRow, rows: Sequence[EntryRow], gone: Sequence[str]
) -> None:
    target = move_target(heap, new.block_id, new.role, old.path, new.path)
    await edit_fields(heap, new.block_id, target, rows, gone, moved_from=old)
    log.info("moved", old=old.path, new=new.path)


async def _move_assets(heap: HeapContext, old: str, new: str) -> None:
    """Move the attachments of a note that the user renamed, unless the user moved them too."""
    here, there = assets_of(old), assets_of(new)
    if not heap.index.below(here) or await heap.disk.stat(there) is not None:
        return
    try:
        await heap.disk.move(here, there)
    except PathChanged:
        return  # the user moved them first
    except FolderTrouble as error:
        # The next publish of the note moves them, or reports why it cannot.
        log.warning("could not move attachments", path=here, reason=str(error))


async def _was_moved(heap: HeapContext, entry: EntryRow) -> bool:
    """Return whether an entry's file is at the new path, and no other file."""
    if entry.stat is None:
        return True
    stat = await heap.disk.stat(entry.path)
    # An attachment is identified by its name: it may have been saved meanwhile.
    return stat is not None and (entry.role == "attachment" or stat.inode == entry.stat.inode)


def _new_path(path: str, entry: EntryRow, new: str) -> str:
    if entry.role == "note":
        return assets_of(new) + path[len(assets_of(entry.path)) :]
    return new + path[len(entry.path) :]


async def folder_created(heap: HeapContext, found: Found) -> None:
    """Create a folder block for a new directory, unless it is a note's attachment directory.

    Takes the heap's lock.
    """
    if assets_owner(found.path + "/x") is not None:
        return
    async with heap.lock:
        if found.path in heap.index.entries:
            return
        parent = heap.parent_of(found.path)
        tags = frozenset() if parent is None else frozenset({parent})
        title = PurePosixPath(found.path).name
        state, update, _ = make_block(heap, "folder", title, Target(add_tags=tags))
        stat = await heap.disk.stat(found.path)
        if stat is None:
            return
        row = stamped(EntryRow(found.path, state.id, "folder"), stat, None)

        def store(change: Change) -> None:
            insert_block(change, state, update, sorted(tags))
            change.save([row])

        await heap.store(store)
    heap.wake.push.set()
    log.info("new folder", path=found.path, block=state.id)


async def vanished(
    heap: HeapContext, gone: Sequence[EntryRow], *, confirmed: bool = False
) -> None:
    """Delete the blocks of files the user deleted. Hold the heap's lock.

    They go to the server's trash, their texts to the local one.

    Args:
        heap: the heap.
        gone: the entries, what is in a directory before it.
        confirmed: a person confirmed it; one's other devices are told (``sync/deletions``).
    """
    confirmer = heap.confirmer if confirmed else None
    deleted = {e.block_id for e in gone if e.role != "attachment"}
    for entry in gone:
        if entry.path not in heap.index.entries:
            continue
        if entry.role == "attachment":
            drop = (entry.key,) if entry.key and entry.block_id not in deleted else ()
            # Keep the name for a text that shows it, until the note is published.
            name_only = EntryRow(entry.path, entry.block_id, "attachment", entry.key)
            also = [name_only] if drop else []
            await edit_fields(heap, entry.block_id, Target(drop_files=drop), also, [entry.path])
            continue
        try:
            pending = [
                p
                for p in heap.index.attachments.get(entry.block_id, {}).values()
                if heap.index.entries[p].stat is None
            ]
            at_ms, block = now_ms(), entry.block_id
            codes = () if confirmer is None else confirmer.entry(heap.id, block, at_ms)
            target = Target(deleted_at_ms=at_ms, confirmations=codes)
            await edit_fields(heap, block, target, [], [entry.path, *pending])
        except BlockError as error:
            reason = f"the deletion could not be sent: {error}"
            heap.problems.found("content", entry.path, reason)
        log.info("deleted", path=entry.path, block=entry.block_id)
