"""Detect a suspend by two clocks, of which only one goes on meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from heapsyncd.wire.clock import boot_clock_s

SLEPT_S: Final = 5.0
"""A shorter suspend is ignored: no connection is given up within it."""


@dataclass
class SuspendDetector:
    """Tells, when asked, whether the machine was suspended since the last time."""

    awake_s: Callable[[], float] = time.monotonic
    always_s: Callable[[], float] = boot_clock_s
    _ahead_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._ahead_s = self.always_s() - self.awake_s()

    def over(self) -> float | None:
        """Return the length of a suspend in seconds; None if there was none (of some length)."""
        ahead_s = self.always_s() - self.awake_s()
        slept_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        return slept_s if slept_s > SLEPT_S else None
