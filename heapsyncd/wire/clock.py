"""Provide the clock for waiting and expiry."""

import time


def boot_clock_s() -> float:
    """Return monotonic seconds that include the time the machine was suspended, if supported.

    Tokens and silent links age during a suspend; with this clock that shows right after it.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # pragma: no cover - not Linux
