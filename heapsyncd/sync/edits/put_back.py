"""Write the sources of files back into documents that lost theirs."""

import asyncio
import math
import random
import time
from collections.abc import Sequence

from heapsyncd.cache.blocks import BlockState
from heapsyncd.sync.edits.note_saved import notes_reread
from heapsyncd.sync.heap.limits import RATE_PER_S
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.merge.note_file import Draft


async def put_back(heap: HeapContext, published: Sequence[Draft]) -> None:
    """Write the sources of files back into documents that lost theirs. Hold the heap's lock.

    A server that makes a document anew may drop what it does not know, and documents from before
    this feature have no source. Whoever still has the file as it was written puts its source back.
    Other devices do the same, so each waits for a random time first.

    Args:
        heap: the heap.
        published: the notes that were just published.
    """
    now, due = time.monotonic(), heap.layout.unsourced
    for draft in published:
        if not draft.lacks_source:
            due.pop(draft.block, None)
    lacking = [d for d in published if d.lacks_source]
    # Notes that lost their sources together are put back at a limited rate.
    waiting = sum(1 for _, at_s in due.values() if at_s < math.inf)
    new_s = now + random.uniform(0, heap.timing.put_back_s) + waiting / RATE_PER_S  # noqa: S311
    ready = []
    for draft in lacking:
        _, at_s = due.get(draft.block, (0, math.inf))
        at_s = min(at_s, new_s)  # an attempt in another state does not count
        if at_s <= now:
            ready.append(draft.path)
            at_s = math.inf  # in this state, do not try again
        due[draft.block] = draft.seq, at_s
    if ready:
        await notes_reread(heap, ready)
        heap.wake.publish.set()  # also if one could not be read: it is not to stay stale
    if len(ready) < len(lacking):
        asyncio.get_running_loop().call_later(new_s - now, heap.wake.publish.set)


def waits(heap: HeapContext, state: BlockState) -> bool:
    """Return whether nothing is left of a note but to put its source back later."""
    seq, due_s = heap.layout.unsourced.get(state.id, (None, 0.0))
    return seq == state.seq and time.monotonic() < due_s < math.inf
