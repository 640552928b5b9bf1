"""Compact update logs: merge acknowledged rows older than every rendition into one.

Rows that others may not have seen keep their numbers: a deletion of their words that is still to
be answered for names them (``crossed_edits``).
"""

import asyncio
import time
from collections.abc import Collection

import structlog

from heapsyncd.cache import blocks, crossings, renditions
from heapsyncd.database import Database, Tx
from heapsyncd.document.updates import merge
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.heap.recent_acks import RecentAcks

log = structlog.get_logger()

MAX_ROWS = 64
"""A log with more rows than this is compacted."""


async def compact_logs(db: Database, heap_id: HeapId, lock: asyncio.Lock, acks: RecentAcks) -> int:
    """Compact long update logs. Returns the number of logs compacted.

    Merging keeps every operation, also those that wait for missing ones; encoding a loaded
    document again would not (document/README).

    Args:
        db: the account's cache.
        heap_id: the heap.
        lock: the heap's lock; taken for each log.
        acks: the rows that were sent lately.
    """
    long = await db.read(lambda tx: blocks.long_logs(tx, heap_id, MAX_ROWS))
    compacted = 0
    for block in long:
        async with lock:
            compacted += await _compact(db, block, acks.of(block, time.monotonic()))
    return compacted


async def _compact(db: Database, block: BlockId, sent: Collection[int]) -> bool:
    def read(tx: Tx) -> tuple[int | None, list[blocks.LogRow], set[int]]:
        unseen = {row for one in crossings.of_block(tx, block) for row in one.ours}
        return renditions.oldest_seq(tx, block), blocks.log(tx, block), unseen

    oldest, rows, unseen = await db.read(read)
    old: list[blocks.LogRow] = []
    for row in rows:
        is_needed = row.local or row.seq in unseen or row.seq in sent
        if is_needed or (oldest is not None and row.seq > oldest):
            break
        old.append(row)
    if len(old) < 2:
        return False
    try:
        merged = await asyncio.to_thread(merge, [r.data for r in old])
    except BlockError as error:
        log.warning("log not compacted", block=block, reason=str(error))
        return False
    await db.write(lambda tx: blocks.fold(tx, block, old[-1].seq, merged))
    return True
