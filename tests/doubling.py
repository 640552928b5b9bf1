"""How work grows with its input: two sizes compared, never a time by itself."""

import time
from collections.abc import Callable

_ENOUGH_S = 0.004
"""Below this the clock says nothing."""
_TRIES = 3


def doubling(work: Callable[[int], Callable[[], object]], most: int) -> float:
    """How many times as long twice the size takes, in this thread's own time: about 2 when work
    is linear, 4 when it is quadratic; 0 when even the largest size takes no time to speak of.

    Args:
        work: what is to be done for a size.
        most: the largest size.
    """
    size = 8
    while _seconds(work(size)) < _ENOUGH_S:
        if size >= most:
            return 0.0
        size += size // 2  # more would step over an exponential beginning into the endless
    best = float("inf")
    for _ in range(_TRIES):
        once, twice = _seconds(work(size)), _seconds(work(2 * size))
        best = min(best, twice / max(once, _ENOUGH_S / 2))
    return best


def _seconds(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before
