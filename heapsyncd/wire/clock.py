"""The clock of waiting and expiry."""

import time


def boot_clock_s() -> float:
    """Monotonic seconds that go on while the machine is suspended, where the system has such a
    clock.

    A token and a silent link age during a suspend; with this clock the first look after it knows.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()  # pragma: no cover - not Linux
