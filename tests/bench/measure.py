"""Times taken side by side: on a shared machine only what is measured in turn can be compared."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from heapsyncd.sync.offloop import no_collection


@dataclass(frozen=True)
class Pair:
    """Medians over several rounds; ``ratio`` is the median of the rounds' ratios."""

    work_s: float
    floor_s: float
    ratio: float


def timed(work: Callable[[], object]) -> float:
    """Seconds that one run takes, without collections, as the daemon does such work."""
    gc.collect()
    with no_collection():
        start = time.perf_counter()
        work()
        return time.perf_counter() - start


def in_turn(work: Callable[[], object], floor: Callable[[], object], rounds: int) -> Pair:
    """Run both in turn, so that both meet the same weather."""
    pairs = [(timed(floor), timed(work)) for _ in range(rounds)]
    return Pair(
        statistics.median(w for _, w in pairs),
        statistics.median(f for f, _ in pairs),
        statistics.median(w / f for f, w in pairs),
    )
