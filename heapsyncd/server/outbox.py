"""Queue what is to be sent on one socket, with two marks (PROTOCOL §6).

Above the first mark nothing is read from the socket's client until it has received enough. Above
the second (others went on sending meanwhile) it is cut off, and gets everything when it
reconnects.
"""

import asyncio
from collections import deque

from aiohttp import ClientConnectionResetError, web


class Outbox:
    """Messages for one socket. ``run`` sends them; ``put`` never waits.

    Args:
        socket: where they are sent.
        high_bytes: above it ``room`` waits.
        max_bytes: above it the connection is aborted.
    """

    def __init__(self, socket: web.WebSocketResponse, high_bytes: int, max_bytes: int) -> None:
        self._socket = socket
        self._high_bytes = high_bytes
        self._max_bytes = max_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing: tuple[int, str] | None = None
        self.overrun = asyncio.Event()
        """Set when the client was too slow; the socket must then be aborted."""

    @property
    def closing(self) -> bool:
        """Whether we are closing the socket."""
        return self._closing is not None

    def put(self, message: bytes) -> None:
        """Queue a message; after ``finish`` it is dropped."""
        if self._closing is not None or self.overrun.is_set():
            return
        self._waiting.append(message)
        self._bytes += len(message)
        self._news.set()
        if self._bytes > self._high_bytes:
            self._room.clear()
        if self._bytes > self._max_bytes:
            self._waiting.clear()
            self.overrun.set()
            self._news.set()
            self._room.set()

    def finish(self, code: int, reason: str) -> None:
        """Close the socket once the queue is sent; only the first code counts."""
        if self._closing is None:
            self._closing = (code, reason)
            self._news.set()

    async def room(self) -> None:
        """Wait until the client has received enough."""
        await self._room.wait()

    async def run(self) -> None:
        """Send, until the socket is closed or overrun."""
        try:
            while not self.overrun.is_set():
                while self._waiting:
                    await self._send_next()
                if self._closing is not None:
                    await self._close(*self._closing)
                    return
                self._news.clear()
                await self._news.wait()
        except (ClientConnectionResetError, ConnectionError, RuntimeError):
            return  # the client is gone, which the reading task notices as well
        finally:
            self._room.set()

    async def _send_next(self) -> None:
        message = self._waiting.popleft()
        await self._socket.send_bytes(message)
        self._bytes -= len(message)
        if self._bytes <= self._high_bytes:
            self._room.set()

    async def _close(self, code: int, reason: str) -> None:
        # A close reason has at most 123 bytes (RFC 6455 §5.5).
        await self._socket.close(code=code, message=reason.encode()[:123])
