"""A bounded queue of live events between the socket and who reads them; pure asyncio."""

import asyncio
from collections import deque

from heapsyncd.wire.values import LiveEvent, LiveUpdate


class EventQueue:
    """Events in order; ``put`` waits while too many or too large ones are unread.

    Above the high mark the source pauses, below the low one it resumes: in between nobody is
    woken for every single event.

    Args:
        high: how many events pause the source.
        low: down to how many it stays paused.
        high_bytes: how many bytes of updates pause it, whatever their number.
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
        """Append an event, when there is room."""
        await self._room.wait()
        self._events.append(event)
        self._bytes += _size_bytes(event)
        self._some.set()
        if len(self._events) >= self._high or self._bytes >= self._high_bytes:
            self._room.clear()

    def end(self, failure: BaseException | None = None) -> None:
        """No event comes after those that are queued; readers then meet ``failure``, or stop."""
        if self._end is None:
            self._end = failure or StopAsyncIteration()
        self._some.set()

    async def get(self) -> LiveEvent:
        """The next event; StopAsyncIteration, or the failure, after the last one."""
        while not self._events:
            if self._end is not None:
                raise self._end
            self._some.clear()
            await self._some.wait()
        return self._take()

    def at_hand(self) -> LiveEvent | None:
        """The next event if there is one already, None otherwise."""
        return self._take() if self._events else None

    def _take(self) -> LiveEvent:
        event = self._events.popleft()
        self._bytes -= _size_bytes(event)
        if len(self._events) <= self._low and self._bytes < self._high_bytes:
            self._room.set()
        return event


def _size_bytes(event: LiveEvent) -> int:
    return len(event.update) if isinstance(event, LiveUpdate) else 0
