"""Check now and then that the watch reports every change, and that files show their documents."""

import heapq
import time

import structlog

from heapsyncd.cache import blocks
from heapsyncd.folder.snapshot import compare
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.publish import not_shown

AUDITED = 50
"""How many notes an audit compares: their documents are loaded for it."""

log = structlog.get_logger()


async def missed(heap: HeapContext) -> list[str]:
    """Return the paths whose changes the watch should have reported and did not.

    Call it when nothing is left to scan.
    """
    snapshot = await heap.disk.scan(heap.layout.ignore)
    found = compare(heap.index.stats, snapshot, None, folders=heap.index.folders)
    before_ns = time.time_ns() - int(heap.timing.late_s * 1e9)
    # Attachment directories have no entries, and new ones are found with their files.
    files = [e for e in (*found.created, *found.modified) if e.kind == "file"]
    late = [e.path for e in files if e.stat.ctime_ns < before_ns]
    # A missing file has no stamp: count every one.
    paths = [*late, *(p for p in found.missing if p not in heap.holds.up)]
    paths = [p for p in paths if heap.problems.at(p) is None]
    if paths:
        title = heap.report.title
        log.warning("the watch missed changes", heap=title, count=len(paths), paths=paths[:3])
    return paths


async def audit_notes(heap: HeapContext) -> None:
    """Compare some notes' files with their documents; publish those that show something else.

    Each call takes the next ones, so that all are compared in time. Takes the heap's lock.
    """
    index = heap.index
    some = heapq.nsmallest(
        AUDITED,
        (
            b
            for b in index.path_of
            if b > (heap.layout.audited or "") and index.kind(b) == "document" and index.is_live(b)
        ),
    )
    heap.layout.audited = some[-1] if len(some) == AUDITED else None
    async with heap.lock:
        settled = [b for b in some if b not in index.stale and b not in index.troubled]
        states = await heap.db.read(lambda tx: [blocks.get(tx, b) for b in settled])
        found = await not_shown(heap, [s for s in states if s is not None])
        if not found:
            return

        def store(change: Change) -> None:
            for block in found:
                change.update(block, stale=1)

        await heap.store(store)
    paths = [heap.index.path_of.get(block) for block in found][:3]
    log.warning("files did not show their documents", paths=paths)
    heap.wake.publish.set()
