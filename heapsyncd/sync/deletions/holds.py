"""The brakes in action: deletions held, released, confirmed and undone.

A hold is durable. While it stands, entries and files stay as they are, nothing is sent or removed,
and what else is deleted joins it. It ends by a person's word, or by itself: the file comes back,
the server restores the block, or both sides turn out to have deleted it.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import blocks, history, holds, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow, Todo
from heapsyncd.cache.holds import Direction, Hold
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.folder.names import carries
from heapsyncd.sync.edits import moves
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.heap.limits import WINDOW_MS, brakes
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.attachments import here
from heapsyncd.sync.layout.placement import remove
from heapsyncd.sync.merge import review_notices

log = structlog.get_logger()


# ---- deciding ---------------------------------------------------------------------------------


async def vanished(heap: HeapContext, gone: Sequence[EntryRow]) -> None:
    """Files that are gone from the folder: deleted, or held when they are too many."""
    # One hold of the lock: an edit that is received after the look at what others wrote finds the
    # deletion, and wins over it there.
    async with heap.lock:
        known = [e for e in gone if e.path in heap.index.entries and e.path not in heap.holds.up]
        known = await _without_unseen(heap, known)
        # What the server deleted itself needs nobody's word.
        live = [e for e in known if heap.index.is_live(e.block_id)]
        paths = [e.path for e in live if e.role != "folder"]
        if live and await _stopped(heap, "up", paths, len(paths)):
            await _hold(heap, "up", live)
            known = [e for e in known if e not in live]
        await moves.vanished(heap, known)


async def _without_unseen(heap: HeapContext, gone: Sequence[EntryRow]) -> list[EntryRow]:
    """The rows that are to go. What others edited, and has not stood in its file yet, comes
    back, with the folders it stands in and its attachments: an edit wins over a deletion.
    """
    notes = [e for e in gone if e.role == "note" and heap.index.is_live(e.block_id)]
    newer = await heap.db.read(lambda tx: [(e, n) for e in notes if (n := _newer(tx, e))])
    unseen = [e for e, (shown, now) in newer if await offload(_says_more, e.path, shown, now)]
    # A content that has a newer version, which has not arrived.
    unseen += [e for e in gone if e.role == "file" and e.digest is not None and not here(e)]
    if not unseen:
        return list(gone)
    blocks_back = {e.block_id for e in unseen}
    above = {str(p) for e in unseen for p in PurePosixPath(e.path).parents}
    back = [e for e in gone if e.block_id in blocks_back or e.path in above]
    await _bring_back(heap, back)
    now = now_ms()

    def tell(tx: Tx) -> None:
        for row in unseen:
            base = renditions.newest(tx, row.block_id)
            data = b"" if base is None else base.data
            history.keep_reviews(
                tx, heap.id, row.block_id, row.path, data, now, [review_notices.UNSEEN]
            )

    await heap.db.write(tell)
    return [e for e in gone if e not in back]


def _newer(tx: Tx, entry: EntryRow) -> tuple[list[bytes], list[bytes]] | None:
    """The updates of the state that a file shows and of the one the server has, if the file was
    not written since.
    """
    state, base = blocks.get(tx, entry.block_id), renditions.newest(tx, entry.block_id)
    if state is None or not state.stale or base is None or base.seq is None:
        return None
    log_rows = blocks.log(tx, entry.block_id)
    if not any(r.seq > base.seq and not r.local for r in log_rows):
        return None
    shown = [r.data for r in log_rows if r.seq <= base.seq]
    return [*shown, *([base.extra] if base.extra else [])], [r.data for r in log_rows]


def _says_more(path: str, shown: Sequence[bytes], now: Sequence[bytes]) -> bool:
    """Whether a document came to say something that its file does not say; the title that a new
    one got from its file's name is nothing new.
    """
    try:
        before, after = Replica.load(shown), Replica.load(now)
        title = after.fields().title
        if not carries(PurePosixPath(path).name.removesuffix(".md"), title):
            title = before.fields().title
        same = replace(before.fields(), title=title) == after.fields()
        return not same or before.view() != after.view()
    except BlockError:
        return True


async def removable(heap: HeapContext, gone: Sequence[BlockState]) -> list[BlockState]:
    """Those of the blocks the server deleted whose files may go; the others are held.

    The caller has the lock.
    """
    at = {s.id: heap.index.path_of[s.id] for s in gone if s.id in heap.index.path_of}
    rows = [heap.index.entries[p] for p in at.values() if p not in heap.holds.up]
    if not rows:
        return list(gone)
    doomed = await heap.db.read(lambda tx: holds.doomed(tx, heap.id))
    paths = [e.path for e in rows if e.role != "folder"]
    if not await _stopped(heap, "down", paths, doomed):
        return list(gone)
    await _hold(heap, "down", rows)
    held = {e.block_id for e in rows}
    return [s for s in gone if s.id not in held]


async def take_deleted_away(heap: HeapContext, look_at: set[str]) -> None:
    """Take away the files of blocks that the server deleted."""
    at = heap.index.path_of
    doomed = [b for b, p in at.items() if not heap.index.is_live(b) and not heap.hides(p, b)]
    if not doomed:
        return
    found = await heap.db.read(lambda tx: [blocks.get(tx, b) for b in doomed])
    gone = [s for s in found if s is not None and s.stale and s.deleted_at_ms is not None]
    if gone:
        await remove(heap, await removable(heap, gone), look_at)


async def _stopped(
    heap: HeapContext, direction: Direction, paths: Sequence[str], count: int
) -> bool:
    """Whether deletions are to be held; if not, they count for the next ones."""
    size = heap.index.files()
    standing = bool(heap.holds.up if direction == "up" else heap.holds.down)
    now = now_ms()

    def weigh(tx: Tx) -> bool:
        recent = holds.recent(tx, heap.id, direction, now - WINDOW_MS)
        if brakes(count, recent, size, standing=standing):
            return True
        holds.let_through(tx, heap.id, direction, paths, now)
        return False

    return await heap.db.write(weigh)


async def _hold(heap: HeapContext, direction: Direction, rows: Sequence[EntryRow]) -> None:
    now = now_ms()

    def store(tx: Tx) -> list[Hold]:
        states = {e.block_id: blocks.get(tx, e.block_id) for e in rows}
        seqs = {i: s.seq if s is not None else 0 for i, s in states.items()}
        held = [Hold(direction, e.path, e.role, e.block_id, seqs[e.block_id], now) for e in rows]
        holds.add(tx, heap.id, held)
        return held

    for hold in await heap.db.write(store):
        heap.holds.add(hold)
    log.warning("deletions held", heap=heap.report.title, direction=direction, count=len(rows))


async def settle(heap: HeapContext, present: Collection[str] = ()) -> None:
    """End the holds that nobody has to decide on any more.

    Args:
        heap: the heap.
        present: paths that were seen in the folder just now.
    """
    over = [h for p, h in heap.holds.up.items() if p in present or p not in heap.index.entries] + [
        h
        for i, h in heap.holds.down.items()
        if heap.index.is_live(i) or i not in heap.index.path_of
    ]
    await heap.release_holds(over)


# ---- carrying out -----------------------------------------------------------------------------


async def carry_out(heap: HeapContext, look_at: set[str]) -> bool:
    """Do what a person decided on held deletions; whether there was anything.

    Done before the holds are released: after a kill in between it is done again, which changes
    nothing.

    Args:
        heap: the heap.
        look_at: gets the paths whose files are there again.
    """
    if not heap.holds.up and not heap.holds.down:
        return False
    decided = [h for h in await heap.db.read(lambda tx: holds.of_heap(tx, heap.id)) if h.decision]
    if not decided:
        return False
    down = [h for h in decided if h.direction == "down"]
    async with heap.lock:  # as in ``vanished``
        up = await _still_gone(heap, [h for h in decided if h.direction == "up"], look_at)
        back = await _to_bring_back(heap, up)
        await _bring_back(heap, _rows(heap, back))
        await moves.vanished(heap, _rows(heap, [h for h in up if h not in back]))
    await _remove(heap, [h for h in down if h.decision == "confirm"], look_at)
    kept = await _restore(heap, [h for h in down if h.decision == "undo"])

    def forget(tx: Tx) -> None:
        for direction in {h.direction for h in decided}:
            holds.forget_recent(tx, heap.id, direction)
        holds.release(tx, heap.id, kept)
        holds.add(tx, heap.id, [replace(h, decision=None) for h in kept])

    await heap.db.write(forget)
    await heap.release_holds([h for h in decided if h not in kept])
    log.info("held deletions decided", heap=heap.report.title, count=len(decided))
    return True


async def _still_gone(heap: HeapContext, held: Sequence[Hold], look_at: set[str]) -> list[Hold]:
    """Those whose files have not come back by themselves."""
    gone = []
    for hold in held:
        if await heap.disk.stat(hold.path) is None:
            gone.append(hold)
        else:
            look_at.add(hold.path)
    return gone


async def _to_bring_back(heap: HeapContext, up: Sequence[Hold]) -> list[Hold]:
    """Those to be undone, and those that somebody wrote to since (an edit wins over a deletion),
    with the folders they stand in.
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
    """Their entries, what is in a directory before it."""
    rows = [heap.index.entries[h.path] for h in held if h.path in heap.index.entries]
    return sorted(rows, key=lambda e: (-e.path.count("/"), e.path))


async def _bring_back(heap: HeapContext, rows: Sequence[EntryRow]) -> None:
    """Let files be written again where they stood: notes from their renditions, other files by
    downloading them. The caller holds the lock.
    """
    fresh = []
    for row in sorted(rows, key=lambda e: (e.path.count("/"), e.path)):
        if row.role == "folder":
            fresh.append(stamped(row, await heap.disk.make_dir(row.path), None))
            continue
        todo: Todo | None = None if row.role == "note" or row.todo == "upload" else "download"
        blank = EntryRow(row.path, row.block_id, row.role, row.key, row.size)
        # Without stamps it is not missed, and publishing writes it.
        fresh.append(replace(blank, digest=row.digest, todo=todo))

    def store(change: Change) -> None:
        change.save(fresh)
        for row in fresh:
            change.update(row.block_id, stale=1)

    await heap.store(store)
    heap.wake.publish.set()
    heap.wake.transfer.set()


async def _remove(heap: HeapContext, held: Sequence[Hold], look_at: set[str]) -> None:
    """Take away the files of blocks the server deleted."""
    states = [
        s
        for s in await heap.db.read(lambda tx: [blocks.get(tx, h.block_id) for h in held])
        if s is not None and s.deleted_at_ms is not None
    ]
    async with heap.lock:
        await remove(heap, states, look_at)


async def _restore(heap: HeapContext, held: Sequence[Hold]) -> list[Hold]:
    """Take blocks out of the server's trash; those that can't be (deleted for good) stay held."""
    for hold in held:
        async with heap.lock:
            try:
                await edit_fields(heap, hold.block_id, Target(deleted_at_ms=None))
            except BlockError as error:
                log.warning("not restored", block=hold.block_id, reason=str(error))
        await asyncio.sleep(0)
    return [
        h for h in held if h.block_id in heap.index.path_of and not heap.index.is_live(h.block_id)
    ]
