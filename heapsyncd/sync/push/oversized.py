"""Edits that no push takes (PROTOCOL §5): they go over the live connection.

An acknowledgement there is no durability: such an edit counts as sent when a pull shows that the
server has it.
"""

import asyncio
import math
import time
from typing import Final

import structlog

from heapsyncd.backoff import Backoff
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import PullAsk
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.pull.retry_problems import ask_again

log = structlog.get_logger()

ASKED_AGAIN: Final = Backoff(1.0, 600.0)
"""When the server is asked whether it has them."""


async def sent_live(heap: HeapContext, block: BlockId, sync_version: int, update: bytes) -> bool:
    """Whether the server has an update that was refused as too large; if not, it is sent over the
    live connection, if there is one, and asked for again later.
    """
    if await _arrived(heap, block, sync_version, update):
        heap.link.oversized_tries = 0
        return True
    if heap.link.live is not None:
        if heap.link.current.is_set():  # the server may have been lost since the push
            heap.link.live.send(block, update)  # a document not open yet is answered when it is
        heap.link.oversized_tries += 1
        wait_s = ASKED_AGAIN.bound_s(heap.link.oversized_tries)
        heap.link.oversized_at_s = time.monotonic() + wait_s
        log.info("sent live", block=block, bytes=len(update), asked_again_in_s=wait_s)
    return False


async def look_again(heap: HeapContext) -> None:
    """When it is time, have what was sent so offered once more: then it is found to be there."""
    if time.monotonic() >= heap.link.oversized_at_s:
        heap.link.oversized_at_s = math.inf
        await ask_again(heap)


async def _arrived(heap: HeapContext, block: BlockId, sync_version: int, update: bytes) -> bool:
    answer = await heap.backend.pull(heap.id, [PullAsk(block, sync_version, None)])
    found = [p.update for p in answer.blocks if p.id == block and p.sync_version == sync_version]

    def has_all() -> bool:
        theirs = Replica.load(found)
        return not theirs.apply(update) and not theirs.has_pending()

    try:
        return bool(found) and await asyncio.to_thread(has_all)
    except BlockError:
        return False
