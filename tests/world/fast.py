"""The mirror's patience, cut short: games are about what happens, not about how long it takes."""

import contextlib
from collections.abc import Iterator
from typing import Final

import pytest

from heapsyncd.backoff import Backoff
from heapsyncd.sync.heap.timing import Timing

FAST: Final = Timing(
    quiet_s=0.05,
    gone_s=0.15,
    shrunk_s=0.3,
    again_s=0.02,
    once_poll_s=0.05,
    trouble_again_s=0.3,
    moving_s=0.1,
    put_back_s=0.5,
    large_edits=Backoff(0.1, 1.0),
)


@contextlib.contextmanager
def fast(held_above: int = 10_000) -> Iterator[None]:
    """Waits of a tenth of what people get, for the devices that are made meanwhile;
    ``held_above``: so many deletions at once are let through.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heapsyncd.backoff.SERVER", Backoff(0.1, 1.0))
        patch.setattr("heapsyncd.sync.heap.limits.FILES", held_above)
        patch.setattr("heapsyncd.backends.oneheap.backend._AGAIN_S", 0.02)
        patch.setattr("tests.sync.rig.TIMING", FAST)
        yield
