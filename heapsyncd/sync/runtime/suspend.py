"""A suspend noticed: the clock that goes on meanwhile against the one that does not."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from heapsyncd.wire.clock import boot_clock_s

SLEPT_S: Final = 5.0
"""A shorter suspend does not matter: nothing gives a link up within it."""


@dataclass
class SuspendDetector:
    """Asked now and then whether the machine was suspended since it was last asked."""

    awake_s: Callable[[], float] = time.monotonic
    always_s: Callable[[], float] = boot_clock_s
    _ahead_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._ahead_s = self.always_s() - self.awake_s()

    def over(self) -> float | None:
        """For how many seconds it was; None when it was not (for long)."""
        ahead_s = self.always_s() - self.awake_s()
        slept_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        return slept_s if slept_s > SLEPT_S else None
