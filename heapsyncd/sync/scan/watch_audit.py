"""Compare the whole folder now and then, to check that the watch reports every change."""

import time

import structlog

from heapsyncd.folder.snapshot import compare
from heapsyncd.sync.heap.state import HeapContext

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
