"""Limit TCP connections: how many there may be, and what one may send before signing in.

aiohttp limits none of this, so asyncio's protocol is ours: ``Connection`` sits between the
transport and aiohttp's protocol and passes everything on. When all places are taken, a new
connection gets the place of the one that has been without a request for longest, of the address
with most of them. So half-sent requests can't keep others out.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web

from heapsyncd.server.addresses import Network, group, is_of

log = structlog.get_logger(__name__)

BACKLOG = 32
"""The connections that the kernel queues; asyncio accepts as many in a row before it checks
others.
"""
_FILES_BESIDE = 4 * BACKLOG + 64
"""Descriptors kept free: for connections just accepted, and for the database and files being
served.
"""
_FEWEST = 16


def max_connections(wanted: int) -> int:
    """Return how many connections are possible with the files that the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        wanted
        if soft == resource.RLIM_INFINITY
        else max(_FEWEST, min(wanted, soft - _FILES_BESIDE))
    )


class Door:
    """The factory of connections for ``loop.create_server``.

    Args:
        factory: makes aiohttp's protocol.
        most: the most connections at once.
        most_of_one: the most of one address; a trusted proxy may have all.
        trusted: the proxies.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.Protocol],
        most: int,
        most_of_one: int,
        trusted: Sequence[Network],
    ) -> None:
        self._factory = factory
        self._most = most
        self._most_of_one = most_of_one
        self._trusted = trusted
        self._open: dict[Connection, None] = {}
        """Least recently used first; each request moves its connection to the end."""
        self._count: Counter[str] = Counter()

    def __call__(self) -> "Connection":
        """Make the protocol of a connection that was just accepted."""
        return Connection(self, self._factory())

    def admit(self, connection: "Connection", peer: str) -> bool:
        """Give a new connection a place, dropping another if needed; returns whether it got it."""
        if not is_of(peer, self._trusted) and self._count[connection.address] >= self._most_of_one:
            self._make_room(connection.address)
        elif len(self._open) >= self._most:
            self._make_room(None)
        if len(self._open) >= self._most:
            return False
        self._open[connection] = None
        self._count[connection.address] += 1
        return True

    def leave(self, connection: "Connection") -> None:
        """Free a connection's place; repeating it is harmless."""
        if connection in self._open:
            del self._open[connection]
            self._count[connection.address] -= 1
            if not self._count[connection.address]:
                del self._count[connection.address]

    def touch(self, connection: "Connection") -> None:
        """Record that a request of a connection begins or ends."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)

    def _make_room(self, address: str | None) -> None:
        idle = [c for c in self._open if not c.busy and address in (None, c.address)]
        if idle:
            crowd = Counter(c.address for c in idle)
            most = max(crowd.values())
            next(c for c in idle if crowd[c.address] == most).drop()


class Connection(asyncio.Protocol):
    """One connection; made by ``Door``."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door = door
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._unread = 0
        self._unread_most: int | None = None
        self.address = ""
        self.busy = False
        """Whether a request is being answered; a WebSocket counts as one long request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a place; without one the connection is aborted unread."""
        assert isinstance(transport, asyncio.Transport)
        peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.address = group(peer)
        if not self._door.admit(self, peer):
            transport.abort()
            return
        self._transport = transport
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Pass on, and free the place."""
        self._door.leave(self)
        if self._transport is not None:
            self._transport = None
            self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Pass on, within the bound of unread bytes."""
        if self._transport is None:
            return
        self._unread += len(data)
        if self._unread_most is not None and self._unread > self._unread_most:
            log.warning("socket dropped: too much before signing in", address=self.address)
            self.drop()
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        """Pass on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._inner.resume_writing()

    def drop(self) -> None:
        """Abort the connection."""
        if self._transport is not None:
            self._transport.abort()
        self._door.leave(self)

    def serve(self, *, busy: bool) -> None:
        """Record that a request begins or ends."""
        self.busy = busy
        self._door.touch(self)

    def bound(self, unread_bytes: int | None) -> None:
        """From now on, limit the bytes that may arrive between two calls of ``read``; None: no
        limit.
        """
        self._unread, self._unread_most = 0, unread_bytes

    def read(self) -> None:
        """Record that what arrived was read."""
        self._unread = 0


def connection_of(request: web.BaseRequest) -> Connection | None:
    """Return the connection of a request; None when it is gone."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None
