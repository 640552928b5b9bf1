"""Whether the watch told of every change: the whole folder is compared now and then."""

import time
from typing import Final

import structlog

from heapsyncd.folder.snapshot import compare
from heapsyncd.sync.heap.state import HeapContext

log = structlog.get_logger()

LATE_S: Final = 5.0
"""A watch that works has told of a change by then."""


async def missed(heap: HeapContext) -> list[str]:
    """The paths whose changes the watch should have told of, and has not.

    To be asked when nothing is left to look at.
    """
    snapshot = await heap.disk.scan(heap.layout.ignore)
    found = compare(heap.index.stats, snapshot, None, folders=heap.index.folders)
    before_ns = time.time_ns() - int(LATE_S * 1e9)
    # Directories of attachments are nobody's entries, and a new one is found with what is in it.
    files = [e for e in (*found.created, *found.modified) if e.kind == "file"]
    late = [e.path for e in files if e.stat.ctime_ns < before_ns]
    # What is gone has no stamp of its own.
    paths = [*late, *(p for p in found.missing if p not in heap.holds.up)]
    paths = [p for p in paths if heap.problems.at(p) is None]
    if paths:
        title = heap.report.title
        log.warning("the watch missed changes", heap=title, count=len(paths), paths=paths[:3])
    return paths
