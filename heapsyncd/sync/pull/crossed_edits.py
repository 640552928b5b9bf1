"""Words of ours that crossed somebody's deletion of their node on the way to the server: written
again after a while, when nobody else did.

If the author of the deletion is a device of ours, it writes them again as soon as it receives
them. An app does not, and from here nobody can tell which it was: so we wait.
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
"""So long another device may take to write them again."""


def remember(heap: HeapContext, block: BlockId, rows: frozenset[int], seq: int) -> None:
    """Have ``write_again`` look at words that an update removed.

    Args:
        heap: the heap.
        block: the block.
        rows: our rows that the author of the update could not know.
        seq: the number of the update in the log.
    """
    due_s = time.monotonic() + CROSSED_S
    heap.link.recent_acks.crossed(Crossing(block, rows, seq, due_s))
    # Looked at after the news of that time: by then the words may be back.
    asyncio.get_running_loop().call_later(CROSSED_S, heap.wake.pull.set)


async def write_again(heap: HeapContext) -> bool:
    """Write what is still missing of the crossings that are due; whether there were any. To be
    called right after the server's news was received; takes the lock.
    """
    due = heap.link.recent_acks.due(time.monotonic())
    for crossing in due:
        async with heap.lock:
            try:
                await _write_again(heap, crossing)
            except BlockError as error:
                log.warning(
                    "words stay deleted; they are in the history",
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
        log.info("words that crossed a deletion written again", block=block)
