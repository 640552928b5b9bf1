"""The mirror's patience, cut short: games are about what happens, not about how long it takes."""

import contextlib
from collections.abc import Iterator

import pytest

from heapsyncd.sync import guard, heap, intake, mirror, patience


@contextlib.contextmanager
def fast(held_above: int = 10_000) -> Iterator[None]:
    """Waits of a tenth of what people get; ``held_above``: so many deletions at once are let
    through.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "QUIET_S", 0.05)
        patch.setattr(intake, "GONE_S", 0.15)
        patch.setattr(intake, "SHRUNK_S", 0.3)
        patch.setattr(intake, "AGAIN_S", 0.02)
        patch.setattr(intake, "STUCK_S", 0.3)
        patch.setattr(guard, "FILES", held_above)
        patch.setattr(mirror, "ONCE_POLL_S", 0.05)
        patch.setattr(heap, "TROUBLE_AGAIN_S", 0.3)
        patch.setattr(heap, "MOVING_S", 0.1)
        patch.setattr(patience, "FIRST_S", 0.1)
        patch.setattr(patience, "LIMIT_S", 1.0)
        yield
