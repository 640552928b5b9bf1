"""Limit how often each address may call, in a sliding window (PROTOCOL §3)."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable

from heapsyncd.server.refusal import Refusal

_ADDRESSES = 10_000


class Throttle:
    """At most ``calls`` in any ``window_s`` seconds from one address.

    The least recent addresses are dropped first, so that memory stays bounded.
    """

    def __init__(self, calls: int, window_s: float, now_s: Callable[[], float]) -> None:
        self._calls = calls
        self._window_s = window_s
        self._now_s = now_s
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, address: str) -> None:
        """Count a call; Refusal 429 with ``Retry-After`` (whole seconds) if there are too many."""
        now = self._now_s()
        times = self._seen.setdefault(address, deque())
        self._seen.move_to_end(address)
        while len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)
        while times and times[0] <= now - self._window_s:
            times.popleft()
        if len(times) >= self._calls:
            wait_s = max(1, math.ceil(times[0] + self._window_s - now))
            raise Refusal(429, "too many sign-ins", headers={"Retry-After": str(wait_s)})
        times.append(now)
