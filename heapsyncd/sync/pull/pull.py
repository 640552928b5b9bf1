"""Pull what the delta feed announced.

HTTP alone is enough to converge; the live feed (``follow``) only makes it immediate. Both end in
``receive``.
"""

from collections.abc import Sequence

import structlog

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId
from heapsyncd.model import PullAsk
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.absorb import Incoming
from heapsyncd.sync.pull.receive import receive, wake_push

log = structlog.get_logger()

PULL_BLOCKS = 200
"""The number of blocks in one request (PROTOCOL §5)."""


async def pull(heap: HeapContext, *, everything: bool = False, newest: int | None = None) -> None:
    """Pull every wanted block, folders and tags first; each batch is committed when it arrives.

    A block whose state the answer did not change (an announced version that is not delivered) is
    not asked for again in this call. Blocks that become wanted meanwhile are left to the next
    call: while a whole heap is uploaded there are always more, and the feed has to be read too.

    Args:
        heap: the heap.
        everything: report the progress: this is the first mirror.
        newest: beside folders and tags, pull only so many blocks, those that changed last.
    """
    total, done = len(heap.index.wanted), 0
    left: list[BlockId] | None = None

    def read(tx: Tx) -> tuple[list[BlockState], list[BlockId]]:
        """Return the blocks of the next request, and the ids that follow."""
        ids = _first_wanted(tx, heap, newest) if left is None else left
        while ids:
            states, ids = _still_wanted(tx, ids[:PULL_BLOCKS]), ids[PULL_BLOCKS:]
            if states:
                return states, ids
        return [], []

    if doubted := list(heap.link.doubted):
        await heap.store(lambda change: _mark_wanted(change, doubted))
    while heap.index.wanted:
        batch, following = await heap.db.read(read)
        if not batch:
            break
        total = max(total, done + len(batch))
        # Ask for full states where the server may lack something, else for what we lack.
        whole = [s for s in batch if heap.link.in_doubt or s.id in doubted]
        known = await _acknowledged(heap, whole) if whole else {}
        asks = [
            PullAsk(
                s.id,
                max(1, s.sync_version),
                None if s.id in known or not s.seq else s.state_vector,
            )
            for s in batch
        ]
        answer = await heap.backend.pull(heap.id, asks)
        questions = {a.id: a.sync_version for a in asks}
        incoming = [
            Incoming(
                p.id, p.sync_version, p.update, p.full, questions.get(p.id, 0), known.get(p.id, 0)
            )
            for p in answer.blocks
        ]
        await receive(heap, incoming)
        if answer.missing:
            await heap.store(lambda change, a=answer.missing: _mark_missing(change, a))  # type: ignore[misc]
        # Blocks that are no longer wanted may be sent and published now.
        heap.wake.publish.set()
        wake_push(heap)
        got = len(answer.blocks) + len(answer.missing)
        if not got:
            log.warning("pull returned nothing", heap=heap.report.title, requested=len(batch))
            break
        done += got
        given = {i.id for i in incoming}
        # The server leaves blocks out of an answer that is too large.
        omitted = [s.id for s in batch if s.id not in given and s.id not in answer.missing]
        left = omitted + following
        if everything:
            heap.step("receiving", done, total)
    heap.link.doubted.difference_update(doubted)


def _first_wanted(tx: Tx, heap: HeapContext, newest: int | None) -> list[BlockId]:
    ids = blocks.wanted(tx, heap.id)
    if newest is None:
        return ids
    return ids[: newest + sum(heap.index.kind(i) in {"folder", "tag"} for i in ids)]


def _still_wanted(tx: Tx, ids: Sequence[BlockId]) -> list[BlockState]:
    states = [blocks.get(tx, i) for i in ids]
    return [s for s in states if s is not None and s.wanted]


async def _acknowledged(heap: HeapContext, batch: Sequence[BlockState]) -> dict[BlockId, int]:
    """Return for each block the last log number up to which the server has everything."""
    return await heap.db.read(lambda tx: {s.id: blocks.acknowledged(tx, s.id) for s in batch})


def _mark_wanted(change: Change, ids: Sequence[BlockId]) -> None:
    """Have blocks that the server knows pulled again."""
    for block in ids:
        state = blocks.get(change.tx, block)
        if state is not None and state.sync_version:
            change.update(block, wanted=max(state.wanted, state.sync_version))


def _mark_missing(change: Change, ids: Sequence[BlockId]) -> None:
    """Stop asking for blocks the server does not have: permanently deleted, or never created."""
    for block in ids:
        state = blocks.get(change.tx, block)
        if state is None:
            continue
        if state.born_here:
            change.update(block, wanted=0, sync_version=0)
            continue
        change.update(block, wanted=0)
