"""Blocks in trouble are asked for again now and then: the trouble may be over."""

from heapsyncd.cache import blocks
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change


async def ask_again(heap: HeapContext) -> None:
    """Have blocks in trouble that the server knows pulled and published once more: the trouble
    may be over. Until both is done they are pending.
    """
    troubled = list(heap.index.troubled)

    def store(change: Change) -> int:
        states = [blocks.get(change.tx, b) for b in troubled]
        known = [s for s in states if s is not None and (s.sync_version > 0 or not s.born_here)]
        for state in known:
            # One of which nothing could be received yet has nothing to be published.
            stale = state.stale or state.seq > 0
            change.update(state.id, wanted=max(state.wanted, state.sync_version, 1), stale=stale)
        return len(known)

    if not troubled:
        return
    if await heap.store(store):
        heap.wake.pull.set()
