"""Write our words again that crossed somebody's deletion of their node on the way to the server.

If the author of the deletion is a device of ours, it writes them again as soon as it receives
them. An app does not, and from here the two look alike. So we wait, and write what is still
missing.
"""

import asyncio
import time
from typing import Final

import structlog

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.recent_acks import Crossing
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.concurrent_edits import written_again
from heapsyncd.tree import Block

log = structlog.get_logger()

CROSSED_S: Final = 2.0
"""Another device has this long to write the words again."""


def remember(heap: HeapContext, block: BlockId, rows: frozenset[int], seq: int) -> None:
    """Have ``write_again`` check the words that an update removed.

    Args:
        heap: the heap.
        block: the block.
        rows: our rows that the author of the update could not know.
        seq: the number of the update in the log.
    """
    due_s = time.monotonic() + CROSSED_S
    heap.link.recent_acks.crossed(Crossing(block, rows, seq, due_s))
    # Pull at that time, and check after its news: by then the words may be back.
    asyncio.get_running_loop().call_later(CROSSED_S, heap.wake.pull.set)


async def write_again(heap: HeapContext) -> bool:
    """Write again what is still missing of due crossings; return whether any were due.

    Call it right after the server's news was received. Takes the heap's lock.
    """
    due = heap.link.recent_acks.due(time.monotonic())
    for crossing in due:
        async with heap.lock:
            try:
                await _write_again(heap, crossing)
            except BlockError as error:
                log.warning(
                    "could not restore words that crossed a deletion; they are in the history",
                    block=crossing.block,
                    reason=str(error),
                )
    return bool(due)


async def _write_again(heap: HeapContext, crossing: Crossing) -> None:
    block = crossing.block

    def read(tx: Tx) -> tuple[BlockState | None, list[tuple[int, bytes]]]:
        return blocks.get(tx, block), [(r.seq, r.data) for r in blocks.log(tx, block)]

    def express() -> Block | None:
        with heap.at_work.on(block):
            return written_again(rows, crossing.rows, crossing.seq)

    state, rows = await heap.db.read(read)
    if state is None or state.deleted_at_ms is not None:
        return
    body = await offload(express)
    if body is not None:
        await edit_fields(heap, block, Target(body=body), reviews=(review_notices.CROSSED,))
        log.info("restored words that crossed a deletion", block=block)
