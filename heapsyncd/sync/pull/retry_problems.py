"""Retry blocks with problems now and then: their cause may be gone."""

from heapsyncd.cache import blocks
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change


async def retry_problems(heap: HeapContext) -> None:
    """Have blocks with problems pulled and published again. They count as pending until then.

    Blocks that the server does not know are left out.
    """
    troubled = list(heap.index.troubled)

    def store(change: Change) -> int:
        states = [blocks.get(change.tx, b) for b in troubled]
        known = [s for s in states if s is not None and (s.sync_version > 0 or not s.born_here)]
        for state in known:
            # A block without any received update has nothing to publish.
            stale = state.stale or state.seq > 0
            change.update(state.id, wanted=max(state.wanted, state.sync_version, 1), stale=stale)
        return len(known)

    if not troubled:
        return
    if await heap.store(store):
        heap.wake.pull.set()
