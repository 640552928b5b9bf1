"""Change what a document has beside its body: title, tags, files, deletion."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import structlog
from msgspec.structs import replace

from heapsyncd.cache import blocks, history, search
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.history import Review
from heapsyncd.document.edit import Target, edit, titled
from heapsyncd.errors import BlockError
from heapsyncd.folder.names import carries
from heapsyncd.ids import BlockId
from heapsyncd.model import Fields
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.placement import folders_from, record_rename

log = structlog.get_logger()


async def edit_fields(
    heap: HeapContext,
    block: BlockId,
    target: Target,
    also: Sequence[EntryRow] = (),
    gone: Sequence[str] = (),
    *,
    moved_from: EntryRow | None = None,
    reviews: Sequence[Review] = (),
) -> None:
    """Express and store a change of a document as it is now, together with entries.

    Hold the heap's lock. A change other than the deletion itself restores a deleted block. If the
    block is gone for good, its files become new ones.

    Args:
        heap: the heap.
        block: the block.
        target: the change.
        also: entries to save.
        gone: paths to remove.
        moved_from: for a move, the entry before it.
        reviews: notices, kept with the text that is in the note's file.
    """
    state, updates = await heap.db.read(
        lambda tx: (blocks.get(tx, block), [r.data for r in blocks.log(tx, block)])
    )
    if state is None:
        return
    is_restored = state.deleted_at_ms is not None and bool(
        target.title or target.add_tags or target.remove_tags or target.put_files
    )
    # An edit wins over a deletion.
    target = replace(target, deleted_at_ms=None) if is_restored else target
    with heap.at_work.on(block):
        live = await heap.take_replica(state, updates)
        if is_restored and is_gone_for_good(state, live.fields()):
            await heap.store(lambda change: _abandon(change, heap, block, also, gone))
            heap.request_rescan()
            return
        made = await offload(edit, live, target)
        fields = live.fields()

    def store(change: Change) -> int:
        tx, values = change.tx, dict[str, object]()
        seq = state.seq
        if made.update is not None:
            seq = change.append(block, made.update, local=True)
            values = change.describe(state, fields) | {"state_vector": live.state_vector()}
            if state.born_here and target.title:
                values["title"] = target.title
        change.remove(gone)
        change.save(also)
        if moved_from is not None:
            record_rename(change, heap, moved_from, "here")
        if target.deleted_at_ms is not None and isinstance(target.deleted_at_ms, int):
            if gone:
                history.retire(tx, heap.id, block, gone[0], now_ms(), "here")
            search.remove(tx, block)
            values["stale"] = 0
        else:
            if target.deleted_at_ms is None:
                history.revive(tx, block, now_ms())
            values["stale"] = 1
        change.update(block, **values)
        at = heap.index.path_of.get(block)
        history.keep_reviews_of_file(tx, heap.id, block, at, now_ms(), reviews)
        return seq

    heap.replicas.put(block, await heap.store(store), live)
    heap.wake.push.set()
    heap.wake.publish.set()


def is_gone_for_good(state: BlockState, fields: Fields) -> bool:
    """Return whether a block was deleted permanently, according to its document or the feed.

    If only the row is marked as deleted, the feed said so.
    """
    unknown = state.deleted_at_ms is not None and fields.deleted_at_ms is None
    return unknown or fields.permanently_deleted_at_ms is not None


def _abandon(
    change: Change,
    heap: HeapContext,
    block: BlockId,
    also: Sequence[EntryRow],
    gone: Sequence[str],
) -> None:
    """Forget a block whose files are to be found as new ones; other blocks' entries move along."""
    mine = [row.path for row in also if row.block_id == block]
    change.remove(gone)
    change.save([row for row in also if row.block_id != block])
    change.forget(block, [*heap.index.paths_of(block), *mine])
    log.warning("deleted permanently but edited here, becomes a new one", paths=mine)


def first_title(
    state: BlockState, rows: Sequence[LogRow], client_id: int
) -> tuple[bytes, bytes] | None:
    """Return the update that writes the row's title into a document that was created here.

    Args:
        state: the block's row.
        rows: its log.
        client_id: the author id of the edit.

    Returns:
        The update, and the document's state vector with it; None if the document has to be loaded.
    """
    log, vector = [r.data for r in rows if r.local], state.state_vector
    if vector is None or not state.title or len(log) < len(rows):
        return None
    return titled(log, vector, state.title, client_id)


def own_target(state: BlockState, fields: Fields, *, wins: bool) -> Target:
    """Return what we have to change in a document that just came from the server.

    Args:
        state: the block's row.
        fields: of the document.
        wins: an edit wins over its deletion.
    """
    target = Target(deleted_at_ms=None) if wins and fields.deleted_at_ms is not None else Target()
    if state.born_here and not fields.title and state.title:
        # The server knows the block now and its document has no title yet (PROTOCOL §4).
        target = replace(target, title=state.title)
    return target


async def restore_folders(heap: HeapContext, folder: BlockId | None) -> None:
    """Restore a deleted folder and its parents for a block in it. Hold the heap's lock."""
    for block in reversed(folders_from(heap.index, folder)):
        if not heap.index.is_live(block):
            try:
                await edit_fields(heap, block, Target(deleted_at_ms=None))
            except BlockError as error:
                log.warning("could not restore a folder", block=block, reason=str(error))


def move_target(heap: HeapContext, block: BlockId, kind: str, old_path: str, path: str) -> Target:
    """Return what a move or rename on disk changes in the document: its title, its folder."""
    known = heap.index.blocks[block]
    target = Target()
    old_name, new_name = (
        PurePosixPath(p).name.removesuffix(".md") if kind == "note" else PurePosixPath(p).name
        for p in (old_path, path)
    )
    if old_name != new_name and not carries(new_name, known.title):
        target = replace(target, title=new_name)
    before, parent = _folder_before(heap, old_path, known.folder), heap.parent_of(path)
    if parent != before:
        target = replace(
            target,
            add_tags=frozenset() if parent is None else frozenset({parent}),
            remove_tags=frozenset(t for t in (before, known.folder) if t is not None),
        )
    return target


def _folder_before(heap: HeapContext, old_path: str, known: BlockId | None) -> BlockId | None:
    """Return the folder a block was moved from on disk.

    The document may name another folder: somebody moved the note on the server, which a mere
    rename here does not change.
    """
    directory = str(PurePosixPath(old_path).parent)
    if directory != "." and heap.index.folder_at(directory) is None:
        return known  # the directory itself was deleted or moved
    return heap.parent_of(old_path)
