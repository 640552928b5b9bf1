"""Send a server that was restored from a backup what it lost.

Nothing is deleted here because it is missing there: permanent deletions are announced. What the
server acknowledged once and does not have any more counts as never sent.
"""

from collections.abc import Container, Iterable, Sequence

import structlog
from msgspec.structs import replace

from heapsyncd.cache import blocks
from heapsyncd.cache.entries import EntryRow
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.updates import vector_of
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change

log = structlog.get_logger()


async def resend_forgotten(
    heap: HeapContext, older: Iterable[BlockId], listed: Container[BlockId] | None
) -> bool:
    """Have everything sent again that the server lost; return whether there is anything.

    Args:
        heap: the heap.
        older: blocks that the server has in an earlier state; already marked as unsent.
        listed: every block the server has, according to a complete delta feed; None: not known.
    """
    forgotten = [] if listed is None else await _forgotten(heap, listed)
    resend = {*forgotten, *older}
    if not resend:
        return False
    log.warning(
        "server lost data",
        heap=heap.report.title,
        missing_blocks=len(forgotten),
        blocks=len(resend),
    )
    contents = [_to_upload(e) for e in heap.index.entries.values() if e.block_id in resend]
    uploads = [e for e in contents if e is not None]

    def store(change: Change) -> None:
        for block in forgotten:
            change.unacknowledge(block)
            blocks.release(change.tx, block)
            change.update(
                block, born_here=1, sync_version=0, wanted=0, announced_ms=0, problem=None
            )
        change.save(uploads)

    async with heap.lock:
        await heap.store(store)
    heap.wake.push.set()
    heap.wake.transfer.set()
    return True


async def _forgotten(heap: HeapContext, listed: Container[BlockId]) -> list[BlockId]:
    """Return the blocks that the server once knew and does not know now."""
    absent = [
        s.id
        for s in await heap.db.read(lambda tx: blocks.of_heap(tx, heap.id))
        if s.sync_version > 0 and s.deleted_at_ms is None and s.id not in listed
    ]
    # Ask for each by its id: a list may be incomplete.
    return [b for b in absent if await heap.backend.row(heap.id, b) is None]


def _to_upload(entry: EntryRow) -> EntryRow | None:
    """Return a present content's entry, marked for upload; the server skips what it has."""
    if entry.role in {"file", "attachment"} and entry.stat is not None and entry.todo is None:
        return replace(entry, todo="upload")
    return None


def is_behind(state_vector: bytes, acknowledged: Sequence[bytes]) -> bool:
    """Return whether the server's document lacks something it once acknowledged.

    Lost deletions are not detected: state vectors do not include them.
    """
    if not acknowledged:
        return False
    there = clocks(state_vector)
    return any(n > there.get(c, 0) for c, n in clocks(vector_of(acknowledged)).items())
