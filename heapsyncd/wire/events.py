"""Queue live events, bounded, between the socket and its reader; asyncio only."""

import asyncio
from collections import deque

from heapsyncd.wire.values import LiveEvent, LiveUpdate


class EventQueue:
    """Events in order; ``put`` waits while too many or too large ones are unread.

    The source pauses at the high mark and resumes at the low one, so that it is not woken for
    every single event.

    Args:
        high: the number of events at which the source pauses.
        low: the number at which it resumes.
        high_bytes: the bytes of updates at which it pauses, whatever their number.
    """

    def __init__(self, *, high: int = 512, low: int = 128, high_bytes: int = 32 << 20) -> None:
        self._events: deque[LiveEvent] = deque()
        self._bytes = 0
        self._high, self._low, self._high_bytes = high, low, high_bytes
        self._room = asyncio.Event()
        self._room.set()
        self._some = asyncio.Event()
        self._end: BaseException | None = None

    @property
    def full(self) -> bool:
        """Whether ``put`` would wait."""
        return not self._room.is_set()

    async def put(self, event: LiveEvent) -> None:
        """Append an event, once there is room."""
        await self._room.wait()
        self._events.append(event)
        self._bytes += _size_bytes(event)
        self._some.set()
        if len(self._events) >= self._high or self._bytes >= self._high_bytes:
            self._room.clear()

    def end(self, failure: BaseException | None = None) -> None:
        """End the queue: after the queued events, readers get ``failure``, or stop without one."""
        if self._end is None:
            self._end = failure or StopAsyncIteration()
        self._some.set()

    async def get(self) -> LiveEvent:
        """Return the next event; raises StopAsyncIteration, or the failure, after the last one."""
        while not self._events:
            if self._end is not None:
                raise self._end
            self._some.clear()
            await self._some.wait()
        return self._take()

    def at_hand(self) -> LiveEvent | None:
        """Return the next event if one is queued, else None."""
        return self._take() if self._events else None

    def _take(self) -> LiveEvent:
        event = self._events.popleft()
        self._bytes -= _size_bytes(event)
        if len(self._events) <= self._low and self._bytes < self._high_bytes:
            self._room.set()
        return event


def _size_bytes(event: LiveEvent) -> int:
    return len(event.update) if isinstance(event, LiveUpdate) else 0
