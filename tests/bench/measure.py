"""Times taken as the daemon does its work."""

import gc
import time
from collections.abc import Callable

from heapsyncd.sync.heap.gc_control import no_collection


def timed(work: Callable[[], object]) -> float:
    """Seconds that one run takes, without collections, as the daemon does such work."""
    gc.collect()
    with no_collection():
        start = time.process_time()
        work()
        return time.process_time() - start
