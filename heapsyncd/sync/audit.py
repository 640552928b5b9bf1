"""Looked at now and then, in case something got past everybody: changes, and ends of trouble."""

import time
from typing import Final

import structlog

from heapsyncd.cache import blocks
from heapsyncd.folder.snapshot import compare
from heapsyncd.sync.state import HeapState
from heapsyncd.sync.unit_of_work import Change

log = structlog.get_logger()

LATE_S: Final = 5.0
"""A watch that works has told of a change by then."""


async def missed(heap: HeapState) -> list[str]:
    """The paths whose changes the watch should have told of, and has not.

    To be asked when nothing is left to look at.
    """
    snapshot = await heap.disk.scan(heap.ignore)
    found = compare(heap.index.stats, snapshot, None, folders=heap.index.folders)
    before_ns = time.time_ns() - int(LATE_S * 1e9)
    # Directories of attachments are nobody's entries, and a new one is found with what is in it.
    files = [e for e in (*found.created, *found.modified) if e.kind == "file"]
    late = [e.path for e in files if e.stat.ctime_ns < before_ns]
    # What is gone has no stamp of its own.
    paths = [*late, *(p for p in found.missing if p not in heap.held_up)]
    paths = [p for p in paths if heap.problems.at(p) is None]
    if paths:
        title = heap.report.title
        log.warning("the watch missed changes", heap=title, count=len(paths), paths=paths[:3])
    return paths


async def ask_again(heap: HeapState) -> None:
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
        heap.to_pull.set()
