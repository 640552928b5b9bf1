"""Hold mass deletions, and end holds that need no decision any more.

A hold is durable. While it exists, entries and files stay as they are, nothing is sent or removed,
and further deletions join it. A hold ends by a person's decision, or by itself: the file
reappears, the server restores the block, or both sides turn out to have deleted it.
"""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import structlog
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache import blocks, history, holds, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Direction, Hold, Passed
from heapsyncd.database import Tx
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError, UnreadableFile
from heapsyncd.folder.names import carries
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.sync.deletions.carry_out import bring_back
from heapsyncd.sync.deletions.confirmed import confirmed
from heapsyncd.sync.edits import moves
from heapsyncd.sync.heap.limits import WINDOW_MS, must_hold
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.layout.attachments import is_present
from heapsyncd.sync.layout.placement import remove_deleted
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.file_merge import shown_by, without_our_keys
from heapsyncd.sync.merge.note_file import owner_of_title
from heapsyncd.sync.merge.note_source import read_source
from heapsyncd.sync.merge.note_text import Note, owner, shows

log = structlog.get_logger()


async def vanished(heap: HeapContext, gone: Sequence[EntryRow]) -> None:
    """Delete the blocks of missing files; if there are too many, hold the deletions."""
    # One critical section: an edit received after the check for unseen edits meets the deletion
    # in the document, and wins over it there.
    async with heap.lock:
        known = [e for e in gone if e.path in heap.index.entries and e.path not in heap.holds.up]
        known = await _without_unseen_edits(heap, known)
        # Blocks that the server deleted too need no confirmation.
        live = [e for e in known if heap.index.is_live(e.block_id)]
        count = sum(1 for e in live if e.role != "folder")
        if live and await _exceeds_limit(heap, "up", live, count):
            await _hold(heap, "up", live)
            known = [e for e in known if e not in live]
        await moves.vanished(heap, known)


async def _without_unseen_edits(heap: HeapContext, gone: Sequence[EntryRow]) -> list[EntryRow]:
    """Return the entries that may be deleted; the others are restored.

    A note with a remote edit that was never in its file is restored, with its folders and
    attachments: an edit wins over a deletion.
    """
    notes = [e for e in gone if e.role == "note" and heap.index.is_live(e.block_id)]
    newer = await heap.db.read(lambda tx: [(e, n) for e in notes if (n := _unseen_update(tx, e))])
    unseen = [e for e, new in newer if await offload(_differs_from_file, heap, e, new)]
    # A file whose newer version was not downloaded yet.
    files = [e for e in gone if e.role == "file" and e.digest is not None]
    unseen += [e for e in files if not is_present(heap, e)]
    if not unseen:
        return list(gone)
    blocks_back = {e.block_id for e in unseen}
    above = {str(p) for e in unseen for p in PurePosixPath(e.path).parents}
    back = [e for e in gone if e.block_id in blocks_back or e.path in above]
    await bring_back(heap, back)
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


class _Unseen(Struct, frozen=True):
    """A note of which the server has a newer state than its file showed.

    ``file``: the newest rendition. ``shown``: the updates of the state that it shows; None if that
    has another history. ``now``: the updates of the newest state.
    """

    file: bytes
    shown: list[bytes] | None
    now: list[bytes]


def _unseen_update(tx: Tx, entry: EntryRow) -> _Unseen | None:
    """Return a note's state; None if its file shows everything that came from the server."""
    state, base = blocks.get(tx, entry.block_id), renditions.newest(tx, entry.block_id)
    if state is None or not state.stale or base is None:
        return None
    log_rows = blocks.log(tx, entry.block_id)
    now = [r.data for r in log_rows]
    if base.seq is None:
        # The server made the document anew, perhaps because somebody edited it.
        return _Unseen(base.data, None, now)
    if not any(r.seq > base.seq and not r.local for r in log_rows):
        return None
    shown = [r.data for r in log_rows if r.seq <= base.seq]
    return _Unseen(base.data, [*shown, *([base.extra] if base.extra else [])], now)


def _differs_from_file(heap: HeapContext, entry: EntryRow, unseen: _Unseen) -> bool:
    """Return whether a document has something that its file does not show.

    A title that a new note got from its file's name does not count.
    """
    try:
        after = Replica.load(unseen.now)
        if unseen.shown is None:
            return _differs_from_text(heap, entry, unseen.file, after)
        before, title = Replica.load(unseen.shown), after.fields().title
        if not carries(PurePosixPath(entry.path).name.removesuffix(".md"), title):
            title = before.fields().title
        same = replace(before.fields(), title=title) == after.fields()
        return not same or before.view() != after.view()
    except (BlockError, UnreadableFile):
        return True


def _differs_from_text(heap: HeapContext, entry: EntryRow, data: bytes, now: Replica) -> bool:
    note, block = Note.of(data), entry.block_id
    here = heap.index.attachments.get(block, {})
    rows = [heap.index.entries[here[f.key]] if f.key in here else None for f in now.fields().files]
    if any(row is None or (row.stat is None and row.todo != "remote") for row in rows):
        return True  # a content that was never here
    if heap.dialect.merge_files is None:
        return not shows(note, now.view(), NoteLinks(heap.index, block))
    # The fields are lines of the file.
    source = read_source(now, now.view, NO_LINKS).source
    ours = owner(heap.index, block, owner_of_title(note.front.raw, source))
    return without_our_keys(note.file(ours)) != shown_by(now)


async def allowed_removals(heap: HeapContext, gone: Sequence[BlockState]) -> list[BlockState]:
    """Return the blocks, of those the server deleted, whose files may be removed; hold the others.

    Hold the heap's lock.
    """
    at = {s.id: heap.index.path_of[s.id] for s in gone if s.id in heap.index.path_of}
    sure = await confirmed(heap, [s for s in gone if s.id in at])
    found = (heap.index.entries[p] for b, p in at.items() if b not in sure)
    rows = [e for e in found if e.path not in heap.holds.up]
    count = len(rows) if heap.holds.down else await _count_doomed(heap)
    if not rows or not await _exceeds_limit(heap, "down", rows, count):
        return list(gone)
    await _hold(heap, "down", rows)
    held = {e.block_id for e in rows}
    return [s for s in gone if s.id not in held]


async def _count_doomed(heap: HeapContext) -> int:
    """Count the files that are to be removed because the server deleted them, unconfirmed."""
    doomed = await heap.db.read(lambda tx: holds.doomed(tx, heap.id))
    found = await heap.db.read(lambda tx: [blocks.get(tx, b) for b in dict.fromkeys(doomed)])
    sure = await confirmed(heap, [s for s in found if s is not None])
    return sum(1 for block in doomed if block not in sure)


async def remove_deleted_files(heap: HeapContext, rescan: set[str]) -> None:
    """Remove the files of all blocks that the server deleted. Hold the heap's lock.

    Args:
        heap: the heap.
        rescan: receives the paths of files that were changed meanwhile.
    """
    index = heap.index
    doomed = [b for b in sorted(index.doomed) if not heap.hides(index.path_of[b], b)]
    if not doomed:
        return
    found = await heap.db.read(lambda tx: [blocks.get(tx, b) for b in doomed])
    gone = [s for s in found if s is not None and s.stale and s.deleted_at_ms is not None]
    if gone:
        await remove_deleted(heap, await allowed_removals(heap, gone), rescan)


async def _exceeds_limit(
    heap: HeapContext, direction: Direction, rows: Sequence[EntryRow], count: int
) -> bool:
    """Return whether deletions have to be held; if not, record them for later checks and an undo.

    Args:
        heap: the heap.
        direction: where they were made.
        rows: the entries to delete.
        count: the files that all present deletions remove.
    """
    size, now = heap.index.files(), now_ms()
    standing = bool(heap.holds.up if direction == "up" else heap.holds.down)

    def weigh(tx: Tx) -> bool:
        # What was let through is kept for an undo as long as a hold stands.
        recent = 0 if standing else holds.recent(tx, heap.id, direction, now - WINDOW_MS)
        if must_hold(count, recent, size, standing=standing):
            return True
        passed = [Passed(direction, e.path, e.role, e.block_id, e.key, now) for e in rows]
        holds.let_through(tx, heap.id, passed)
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


async def release_obsolete(heap: HeapContext, present: Collection[str] = ()) -> None:
    """End the holds that need no decision any more.

    Args:
        heap: the heap.
        present: paths that the scan found.
    """
    over = [h for p, h in heap.holds.up.items() if p in present or p not in heap.index.entries] + [
        h
        for i, h in heap.holds.down.items()
        if heap.index.is_live(i) or i not in heap.index.path_of
    ]
    await heap.release_holds(over)
