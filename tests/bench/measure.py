"""Times taken as the daemon does its work."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from heapsyncd.sync.heap.gc_control import no_collection

_TICK_S = 0.005


def timed(work: Callable[[], object]) -> float:
    """Seconds that one run takes, without collections, as the daemon does such work."""
    gc.collect()
    with no_collection():
        start = time.process_time()
        work()
        return time.process_time() - start


@dataclass
class Gaps:
    """The longest time for which the loop ran nothing, and how long it was watched."""

    longest_s: float = 0.0
    total_s: float = 0.0


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[Gaps]:
    """Tick while the block runs."""
    gaps = Gaps()
    started = time.perf_counter()
    loop = asyncio.get_running_loop()

    waiting: list[asyncio.TimerHandle] = []

    def tick(last: float, used: float) -> None:
        # What keeps the loop is this process's own work: what others take does not count.
        stood = min(time.perf_counter() - last - _TICK_S, time.process_time() - used)
        gaps.longest_s = max(gaps.longest_s, stood)
        wait()

    def wait() -> None:
        # No task that sleeps: it is woken in two turns of the loop, and would add what each takes.
        now, used = time.perf_counter(), time.process_time()
        waiting[:] = [loop.call_later(_TICK_S, tick, now, used)]

    wait()
    try:
        yield gaps
    finally:
        waiting[0].cancel()
        gaps.total_s = time.perf_counter() - started
