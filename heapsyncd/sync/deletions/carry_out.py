"""Carry out what was decided on held deletions, here or on another of one's devices."""

import asyncio
import mimetypes
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import structlog
from msgspec.structs import replace

from heapsyncd.cache import blocks, holds
from heapsyncd.cache.entries import EntryRow, Todo
from heapsyncd.cache.holds import Hold, Passed
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target
from heapsyncd.document.xml.schema import FILE_KEY
from heapsyncd.errors import BlockError
from heapsyncd.model import FileEntry
from heapsyncd.sync.deletions.confirmed import confirmed
from heapsyncd.sync.edits import moves
from heapsyncd.sync.edits.contents import files_of
from heapsyncd.sync.edits.fields import edit_fields, restore_folders
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.placement import remove_deleted

log = structlog.get_logger()


async def carry_out(heap: HeapContext, rescan: set[str]) -> bool:
    """Carry out the decisions on held deletions; return whether there were any.

    The holds are released last: after a kill in between, everything is done again, which changes
    nothing. If a person decides otherwise meanwhile, an undo wins over a confirmation.

    Args:
        heap: the heap.
        rescan: receives the paths whose files reappeared.
    """
    await _hear_confirmations(heap)
    if not heap.holds.is_asked:
        return False
    heap.holds.is_asked = False  # first: a decision may be made meanwhile
    try:
        return await _carry_out(heap, rescan)
    except BaseException:
        heap.holds.is_asked = True
        raise


async def _carry_out(heap: HeapContext, rescan: set[str]) -> bool:
    held, passed = await heap.db.read(
        lambda tx: (holds.of_heap(tx, heap.id), holds.passed(tx, heap.id))
    )
    decided, undone = [h for h in held if h.decision], [p for p in passed if p.undo]
    if not decided and not undone:
        return False
    down = [h for h in decided if h.direction == "down"]
    keys = {e.path: e.key for e in _rows(heap, decided)}
    async with heap.lock:  # one critical section, as in ``holds.vanished``
        up = await _still_gone(heap, [h for h in decided if h.direction == "up"], rescan)
        back = await _to_bring_back(heap, up)
        await bring_back(heap, _rows(heap, back))
        left = [h for h in up if h not in back]
        await moves.vanished(heap, _rows(heap, left), confirmed=True)
    await _remove_files(heap, [h for h in down if h.decision == "confirm"], rescan)
    kept = await _restore_blocks(heap, [h for h in down if h.decision == "undo"])
    restored = await _restore_passed(heap, undone)

    over = [h for h in decided if h not in kept]
    undone_since: list[Passed] = []

    def finish(tx: Tx) -> None:
        """Store what is done, and what was decided otherwise meanwhile."""
        holds.forget_passed(tx, heap.id, restored)
        standing = {h.direction for h in held if not h.decision}
        for direction in {h.direction for h in decided} - standing:
            holds.forget_recent(tx, heap.id, direction)
        now = {(h.direction, h.path): h.decision for h in holds.of_heap(tx, heap.id)}
        undone_since[:] = [
            Passed(h.direction, h.path, h.role, h.block_id, keys.get(h.path), now_ms(), undo=True)
            for h in over
            if h.decision == "confirm" and now.get((h.direction, h.path)) == "undo"
        ]
        holds.let_through(tx, heap.id, undone_since)
        same = [h for h in kept if now.get((h.direction, h.path)) == h.decision]
        holds.decide(tx, heap.id, None, same)

    await heap.release_holds(over, finish)
    heap.holds.is_asked = heap.holds.is_asked or bool(undone_since)
    log.info(
        "held deletions decided",
        heap=heap.report.title,
        count=len(decided),
        restored=len(restored),
    )
    return True


async def _hear_confirmations(heap: HeapContext) -> None:
    """Take over what was confirmed on another device of what the server deleted.

    What a person wants back here stays so: an undo wins.
    """
    if not heap.holds.down or heap.confirmer is None:
        return

    def changed(tx: Tx) -> list[blocks.BlockState]:
        found = [blocks.get(tx, block) for block in holds.told_more(tx, heap.id)]
        return [state for state in found if state is not None]

    states = await heap.db.read(changed)
    if not states:
        return
    sure = await confirmed(heap, states)

    def store(tx: Tx) -> bool:
        down = [h for h in holds.of_heap(tx, heap.id) if h.direction == "down"]
        found = [h for h in down if h.block_id in sure and h.decision is None]
        holds.looked_at(tx, heap.id, [(s.id, s.seq) for s in states])
        holds.decide(tx, heap.id, "confirm", found)
        return bool(found)

    is_found = await heap.db.write(store)
    heap.holds.is_asked = heap.holds.is_asked or is_found


async def _still_gone(heap: HeapContext, held: Sequence[Hold], rescan: set[str]) -> list[Hold]:
    """Return the holds whose files have not reappeared."""
    gone = []
    for hold in held:
        if await heap.disk.stat(hold.path) is None:
            gone.append(hold)
        else:
            rescan.add(hold.path)
    return gone


async def _to_bring_back(heap: HeapContext, up: Sequence[Hold]) -> list[Hold]:
    """Return the holds to undo, with the folders of their files.

    These are the undone ones, and notes that somebody edited since (an edit wins over a deletion).
    """
    back = {
        h.path: h
        for h in up
        if h.decision == "undo"
        or (h.role == "note" and not await heap.db.read(lambda tx, h=h: holds.aware(tx, h)))  # type: ignore[misc]
    }
    above = {str(p) for path in back for p in PurePosixPath(path).parents}
    return [h for h in up if h.path in back or h.path in above]


def _rows(heap: HeapContext, held: Iterable[Hold]) -> list[EntryRow]:
    """Return the entries of holds, a directory after what is in it."""
    rows = [heap.index.entries[h.path] for h in held if h.path in heap.index.entries]
    return sorted(rows, key=lambda e: (-e.path.count("/"), e.path))


def unwritten(row: EntryRow) -> EntryRow:
    """Return the entry of a missing file that is to be written again.

    Without stamps the file does not count as missing, and is published.
    """
    todo: Todo | None = None if row.role == "note" or row.todo == "upload" else "download"
    blank = EntryRow(row.path, row.block_id, row.role, row.key, awaited_size=row.size)
    return replace(blank, digest=row.digest, todo=todo)


async def bring_back(heap: HeapContext, rows: Sequence[EntryRow]) -> None:
    """Have files written again at their paths. Hold the heap's lock.

    Notes are written from their documents, other files are downloaded.
    """
    fresh = []
    for row in sorted(rows, key=lambda e: (e.path.count("/"), e.path)):
        if row.role == "folder":
            fresh.append(stamped(row, await heap.disk.make_dir(row.path), None))
            continue
        fresh.append(unwritten(row))

    def store(change: Change) -> None:
        change.save(fresh)
        for row in fresh:
            change.update(row.block_id, stale=1)

    await heap.store(store)
    heap.wake.publish.set()
    heap.wake.transfer.set()


async def _remove_files(heap: HeapContext, held: Sequence[Hold], rescan: set[str]) -> None:
    """Remove the files of blocks that the server deleted, and tell one's other devices."""
    async with heap.lock:  # the first: no block is restored in between
        found = await heap.db.read(lambda tx: [blocks.get(tx, h.block_id) for h in held])
        states = [s for s in found if s is not None and s.deleted_at_ms is not None]
        told = await confirmed(heap, states)
        for state in states:
            if heap.confirmer is None or state.id in told or state.deleted_at_ms is None:
                continue
            codes = heap.confirmer.entry(heap.id, state.id, state.deleted_at_ms)
            try:
                await edit_fields(heap, state.id, Target(confirmations=codes))
            except BlockError as error:
                log.warning("could not confirm", block=state.id, reason=str(error))
        await remove_deleted(heap, states, rescan)


async def _restore_blocks(heap: HeapContext, held: Sequence[Hold]) -> list[Hold]:
    """Restore blocks from the server's trash; return the holds where that failed.

    Those blocks were deleted permanently; their deletions stay held.
    """
    for hold in held:  # sorted by path: a folder before what is in it
        async with heap.lock:
            try:
                await edit_fields(heap, hold.block_id, Target(deleted_at_ms=None))
            except BlockError as error:
                log.warning("could not restore", block=hold.block_id, reason=str(error))
        await asyncio.sleep(0)
    return [
        h for h in held if h.block_id in heap.index.path_of and not heap.index.is_live(h.block_id)
    ]


async def _restore_passed(heap: HeapContext, undone: Sequence[Passed]) -> list[Passed]:
    """Restore what was deleted before the rest was held, and return what was.

    What failed stays wanted: the next decision or start tries it again.
    """
    restored = []
    for one in undone:
        async with heap.lock:
            try:
                if one.role == "attachment":
                    await _attach_again(heap, one)
                elif one.block_id in heap.index.blocks and not heap.index.is_live(one.block_id):
                    await restore_folders(heap, heap.index.blocks[one.block_id].folder)
                    await edit_fields(heap, one.block_id, Target(deleted_at_ms=None))
            except BlockError as error:
                log.warning("could not restore", block=one.block_id, reason=str(error))
            else:
                restored.append(one)
        await asyncio.sleep(0)
    return restored


async def _attach_again(heap: HeapContext, passed: Passed) -> None:
    """Attach a content to its note again, unless the note never lost it."""
    match = FILE_KEY.fullmatch(passed.key or "")
    known = {f.key for f in await files_of(heap, passed.block_id)}
    if not heap.dialect.content_hashes or match is None or passed.key in known:
        return
    name = PurePosixPath(passed.path).name
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    size = int(match["size"] or 0)
    file = FileEntry(match[0], match["hash"].lower(), name, size, mime_type, is_uploaded=True)
    await edit_fields(heap, passed.block_id, Target(put_files=(file,)))
