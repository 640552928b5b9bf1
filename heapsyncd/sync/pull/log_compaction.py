"""Keep logs short: what is acknowledged and older than every kept rendition is merged into one
row.
"""

import asyncio

import structlog

from heapsyncd.cache import blocks, renditions
from heapsyncd.database import Database, Tx
from heapsyncd.document.updates import merge
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId, HeapId

log = structlog.get_logger()

LONG = 64
"""A log with more rows than this is folded."""


async def compact_logs(db: Database, heap_id: HeapId, lock: asyncio.Lock) -> int:
    """Fold the heap's long logs; how many were. ``lock`` keeps others off them meanwhile.

    Merging keeps every operation, also those that wait for others; encoding a loaded document anew
    would not (document/README).
    """
    long = await db.read(lambda tx: blocks.long_logs(tx, heap_id, LONG))
    folded = 0
    for block in long:
        async with lock:
            folded += await _fold(db, block)
    return folded


async def _fold(db: Database, block: BlockId) -> bool:
    def read(tx: Tx) -> tuple[int | None, list[blocks.LogRow]]:
        return renditions.oldest_seq(tx, block), blocks.log(tx, block)

    oldest, rows = await db.read(read)
    old: list[blocks.LogRow] = []
    for row in rows:
        if row.local or (oldest is not None and row.seq > oldest):
            break
        old.append(row)
    if len(old) < 2:
        return False
    try:
        merged = await asyncio.to_thread(merge, [r.data for r in old])
    except BlockError as error:
        log.warning("log not folded", block=block, reason=str(error))
        return False
    await db.write(lambda tx: blocks.fold(tx, block, old[-1].seq, merged))
    return True
