"""Write our words again that crossed somebody's deletion of their node on the way to the server.

If the author of the deletion is a device of ours, it writes them again as soon as it receives
them. An app does not, and from here the two look alike. So we wait, and write what is still
missing.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import structlog

from heapsyncd.cache import blocks, crossings
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.crossings import Crossing
from heapsyncd.database import Tx
from heapsyncd.document.edit import Target
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.sync.edits.fields import edit_fields
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.recent_acks import LATELY_S
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.merge import review_notices
from heapsyncd.sync.merge.concurrent_edits import written_again
from heapsyncd.tree import Block

log = structlog.get_logger()

CROSSED_S: Final = 2.0
"""Another device has this long to write the words again."""


async def resume(heap: HeapContext) -> None:
    """Take over what the last run left, which may have been killed; call it once.

    Crossings are waited for anew. The latest edits may have been sent, but not reported.
    """
    since_ms = now_ms() - int(LATELY_S * 1000)
    crossed, made = await heap.db.read(
        lambda tx: (
            crossings.all_blocks(tx, heap.id),
            blocks.made_since(tx, heap.id, since_ms),
        )
    )
    remember(heap, crossed)
    for block, row, at_ms in made:
        age_s = max(0.0, (now_ms() - at_ms) / 1000)
        heap.link.recent_acks.resume(block, row, time.monotonic() - age_s)


def remember(heap: HeapContext, crossed: Iterable[BlockId]) -> None:
    """Have ``write_again`` look at blocks whose crossings are stored."""
    due_s, loop = time.monotonic() + CROSSED_S, asyncio.get_running_loop()
    for block in crossed:
        heap.link.recent_acks.crossed(block, due_s)
        # Pull at that time, and check after its news: by then the words may be back.
        loop.call_later(CROSSED_S, heap.wake.pull.set)


async def write_again(heap: HeapContext) -> bool:
    """Write again what is still missing of due crossings; return whether any were due.

    Call it right after the server's news was received. Takes the heap's lock.
    """
    heap.link.recent_acks.caught_up()
    due = heap.link.recent_acks.due(time.monotonic())
    for block in due:
        async with heap.lock:
            for crossing in await heap.db.read(lambda tx, b=block: crossings.of_block(tx, b)):  # type: ignore[misc]
                await _write_again(heap, crossing)
    return bool(due)


async def _write_again(heap: HeapContext, crossing: Crossing) -> None:
    """Do so for one crossing, and remove it; after a kill in between, nothing is missing."""
    block = crossing.block

    def read(tx: Tx) -> tuple[BlockState | None, list[tuple[int, bytes]]]:
        return blocks.get(tx, block), [(r.seq, r.data) for r in blocks.log(tx, block)]

    def express() -> Block | None:
        with heap.at_work.on(block):
            return written_again(rows, crossing.ours, crossing.seq)

    state, rows = await heap.db.read(read)
    try:
        live = state is not None and state.deleted_at_ms is None
        body = await offload(express) if live else None
        if body is not None:
            await edit_fields(heap, block, Target(body=body), reviews=(review_notices.CROSSED,))
            log.info("restored words that crossed a deletion", block=block)
    except BlockError as error:
        log.warning(
            "could not restore words that crossed a deletion; they are in the history",
            block=block,
            reason=str(error),
        )
    await heap.db.write(lambda tx: crossings.remove(tx, crossing))
