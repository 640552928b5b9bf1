"""Every TCP connection: how many there may be, and what one may send before anybody signed in.

aiohttp bounds none of this, so what asyncio makes for a connection is ours: ``Connection`` stands
between the transport and aiohttp's own protocol and hands everything on. When all places are
taken, a newcomer gets the place of the connection that has been without a request for longest, of
the address that has most of them: half-sent requests can't keep anybody out.
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
"""How many the kernel keeps for us; asyncio accepts so many at a stretch before it looks."""
_FILES_BESIDE = 4 * BACKLOG + 64
"""Descriptors kept free: for those just accepted, and for the database and files being served."""
_FEWEST = 16


def bounded(wanted: int) -> int:
    """So many connections as the process may open files for."""
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
        most: connections at once.
        most_of_one: of one address; a trusted proxy may have all.
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
        """Oldest first; each request moves its connection to the end."""
        self._count: Counter[str] = Counter()

    def __call__(self) -> "Connection":
        """What handles a connection that was just accepted."""
        return Connection(self, self._factory())

    def admit(self, connection: "Connection", peer: str) -> bool:
        """Give a newcomer its place."""
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
        """A connection is gone; leaving twice is harmless."""
        if connection in self._open:
            del self._open[connection]
            self._count[connection.address] -= 1
            if not self._count[connection.address]:
                del self._count[connection.address]

    def touch(self, connection: "Connection") -> None:
        """A request of it begins or ends."""
        if connection in self._open:
            self._open[connection] = self._open.pop(connection)

    def _make_room(self, address: str | None) -> None:
        idle = [c for c in self._open if not c.busy and address in (None, c.address)]
        if idle:
            crowd = Counter(c.address for c in idle)
            most = max(crowd.values())
            next(c for c in idle if crowd[c.address] == most).drop()


class Connection(asyncio.Protocol):
    """One connection; ``Door`` makes it."""

    def __init__(self, door: Door, inner: asyncio.Protocol) -> None:
        self._door = door
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        self._unread = 0
        self._unread_most: int | None = None
        self.address = ""
        self.busy = False
        """Whether a request is being answered; a WebSocket is one long request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a place; without one nothing is read."""
        assert isinstance(transport, asyncio.Transport)
        peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.address = group(peer)
        if not self._door.admit(self, peer):
            transport.abort()
            return
        self._transport = transport
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Hand on, and free the place."""
        self._door.leave(self)
        if self._transport is not None:
            self._transport = None
            self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Hand on, within what may be sent unread."""
        if self._transport is None:
            return
        self._unread += len(data)
        if self._unread_most is not None and self._unread > self._unread_most:
            log.warning("a socket sent too much before signing in", address=self.address)
            self.drop()
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._inner.eof_received() if self._transport is not None else None

    def pause_writing(self) -> None:
        """Hand on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._inner.resume_writing()

    def drop(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._door.leave(self)

    def serve(self, *, busy: bool) -> None:
        """A request begins or ends."""
        self.busy = busy
        self._door.touch(self)

    def bound(self, unread_bytes: int | None) -> None:
        """From now on so much may come before somebody ``read``; None: anything."""
        self._unread, self._unread_most = 0, unread_bytes

    def read(self) -> None:
        """What came was read: it counts no longer."""
        self._unread = 0


def connection_of(request: web.BaseRequest) -> Connection | None:
    """The connection of a request; None when it is gone."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None
