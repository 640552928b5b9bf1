"""A server that went back in time (it was restored from a backup) is told again what it forgot.

Nothing is deleted here because it is absent there: what the server deleted for good it says. What
it acknowledged once and does not have any more counts as never sent.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

import structlog

from heapsyncd.cache import blocks
from heapsyncd.cache.entries import EntryRow
from heapsyncd.document.encoding.state_vectors import clocks
from heapsyncd.document.updates import vector_of
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change

log = structlog.get_logger()


async def tell_again(
    heap: HeapContext, older: Iterable[BlockId], told: Container[BlockId] | None
) -> bool:
    """Let everything be sent again that the server forgot; whether there is any.

    Args:
        heap: the heap.
        older: blocks that it has in an earlier state; they are marked as unsent already.
        told: every block the server has, as its delta feed lists them from its beginning; None:
            that is not known.
    """
    unknown = [] if told is None else await _unknown(heap, told)
    again = {*unknown, *older}
    if not again:
        return False
    log.warning("the server forgot", heap=heap.report.title, blocks=len(unknown), of=len(again))
    contents = [_to_upload(e) for e in heap.index.entries.values() if e.block_id in again]
    uploads = [e for e in contents if e is not None]

    def store(change: Change) -> None:
        for block in unknown:
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


async def _unknown(heap: HeapContext, told: Container[BlockId]) -> list[BlockId]:
    """The blocks that the server knew once and does not know now."""
    absent = [
        s.id
        for s in await heap.db.read(lambda tx: blocks.of_heap(tx, heap.id))
        if s.sync_version > 0 and s.deleted_at_ms is None and s.id not in told
    ]
    # A list may be wrong; what is asked for by its id is not.
    return [b for b in absent if await heap.backend.row(heap.id, b) is None]


def _to_upload(entry: EntryRow) -> EntryRow | None:
    """A content that is here; the server says itself if it has it still."""
    if entry.role in {"file", "attachment"} and entry.inode is not None and entry.todo is None:
        return replace(entry, todo="upload")
    return None


def is_behind(state_vector: bytes, acknowledged: Sequence[bytes]) -> bool:
    """Whether the server's document lacks something that it once acknowledged (deletions do not
    show).
    """
    if not acknowledged:
        return False
    there = clocks(state_vector)
    return any(n > there.get(c, 0) for c, n in clocks(vector_of(acknowledged)).items())
