"""Send edits that are too large for any push (PROTOCOL §5) over the live connection.

An acknowledgement there does not mean that the server stored them: such an edit counts as sent
when a pull shows that the server has it.
"""

import asyncio
import math
import time

import structlog

from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import PullAsk
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.pull.retry_problems import retry_problems

log = structlog.get_logger()


async def sent_live(heap: HeapContext, block: BlockId, sync_version: int, update: bytes) -> bool:
    """Return whether the server has an update that was refused as too large.

    If not, send it over the live connection, if there is one, and schedule another check.
    """
    if await _server_has(heap, block, sync_version, update):
        heap.link.oversized_tries = 0
        return True
    if heap.link.live is not None:
        if heap.link.current.is_set():  # the connection may have been lost since the push
            heap.link.live.send(block, update)  # before it is open, opening it sends the update
        heap.link.oversized_tries += 1
        wait_s = heap.timing.large_edits.bound_s(heap.link.oversized_tries)
        heap.link.oversized_at_s = time.monotonic() + wait_s
        log.info("sent live", block=block, bytes=len(update), asked_again_in_s=wait_s)
    return False


async def check_oversized(heap: HeapContext) -> None:
    """When the next check is due, have oversized edits pushed again: that finds them stored."""
    if time.monotonic() >= heap.link.oversized_at_s:
        heap.link.oversized_at_s = math.inf
        await retry_problems(heap)


async def _server_has(heap: HeapContext, block: BlockId, sync_version: int, update: bytes) -> bool:
    """Pull the block's full state, and return whether it contains an update."""
    answer = await heap.backend.pull(heap.id, [PullAsk(block, sync_version, None)])
    found = [p.update for p in answer.blocks if p.id == block and p.sync_version == sync_version]

    def has_all() -> bool:
        theirs = Replica.load(found)
        return not theirs.apply(update) and not theirs.has_pending()

    try:
        return bool(found) and await asyncio.to_thread(has_all)
    except BlockError:
        return False
