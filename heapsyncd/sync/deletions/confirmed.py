"""Recognise deletions that a person confirmed on another device (``README.md``)."""

from collections.abc import Sequence

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.confirmer import Confirmer
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext


async def confirmed(heap: HeapContext, states: Sequence[BlockState]) -> set[BlockId]:
    """Return the blocks whose deletion was confirmed on one of one's devices."""
    confirmer, known = heap.confirmer, heap.holds.confirmed
    if confirmer is None:
        return set()
    # A deletion that was undone needs a new confirmation: an old one may be shown again.
    some = [s for s in states if s.deleted_at_ms is not None and s.deleted_at_ms > s.revived_ms]
    new = [s for s in some if known.get(s.id) != s.deleted_at_ms]
    found = await heap.db.read(
        lambda tx: [(s, [r.data for r in blocks.log(tx, s.id)]) for s in new]
    )
    sure = await offload(
        lambda: [s for s, updates in found if _is_confirmed(heap, confirmer, s, updates)]
    )
    known.update({s.id: s.deleted_at_ms for s in sure if s.deleted_at_ms is not None})
    return {s.id for s in some if known.get(s.id) == s.deleted_at_ms}


def _is_confirmed(
    heap: HeapContext, confirmer: Confirmer, state: BlockState, updates: Sequence[bytes]
) -> bool:
    """Return whether a block's document confirms its deletion; runs in a thread."""
    name = confirmer.name.encode()
    if state.deleted_at_ms is None or not any(name in update for update in updates):
        return False  # an update has its keys as they are: no document is loaded in vain
    try:
        with heap.at_work.on(state.id):
            codes = Replica.load(updates).confirmations()
    except BlockError:
        return False
    return confirmer.confirms(codes, heap.id, state.id, state.deleted_at_ms)
