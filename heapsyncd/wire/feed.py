"""Run the live link: keep one socket open while anything is followed.

It connects the state machine (``live``) with a socket, the tokens and the reader's ``opening``. It
decides only when to connect again: after a wait that grows with each link that did not last, or as
soon as the server is heard from elsewhere (``backoff``).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from heapsyncd.backoff import Lane, first_of
from heapsyncd.errors import HeapsyncdError, Unreachable
from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.tasks import TaskGroup
from heapsyncd.wire.clock import boot_clock_s
from heapsyncd.wire.events import EventQueue
from heapsyncd.wire.following import Following
from heapsyncd.wire.live import LiveLink
from heapsyncd.wire.values import LiveConnected, LiveDisconnected, LiveEvent

_E = TypeVar("_E", bound=BaseException)

LASTED_S = 5.0
"""A link that lasted this long and served a document resets the wait."""
UNAUTHORIZED = 4401
"""Hocuspocus' close code for a socket whose token is not, or no longer, accepted."""

Opening = Callable[[Sequence[BlockId]], Awaitable[Mapping[BlockId, tuple[int, bytes]]]]


class LinkClosed(Unreachable):
    """The server closed the socket with a close code."""

    def __init__(self, message: str, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class Socket(Protocol):
    """One open WebSocket. Every method raises Unreachable when it is closed or broken."""

    async def send(self, data: bytes) -> None:
        """Send one binary message; waits while the other side does not read."""

    async def ping(self) -> None:
        """Send a ping."""

    async def receive(self) -> bytes | None:
        """Return the next binary message; None for any other sign of life."""


class Tokens(Protocol):
    """The source of tokens: ``signin.Session``."""

    async def token(self) -> Token:
        """Return a valid token."""

    def doubt(self, token: Token) -> None:
        """Report that the server opened no document with this token."""

    def is_rejected(self, token: Token) -> bool:
        """Return whether a call got 401 with this token."""


class Feed:
    """The live feed of one heap. ``run`` works until it is cancelled; iteration yields the events.

    Args:
        heap_id: whose documents.
        opening: returns what to open documents with; called at every opening.
        connect: opens a socket.
        tokens: the session.
        lane: determines how long to wait between two links.
        lost: called when an open socket is gone, before another one is opened.
        clock_s: a clock that includes the time the machine was suspended.
    """

    def __init__(
        self,
        heap_id: HeapId,
        opening: Opening,
        connect: Callable[[], AbstractAsyncContextManager[Socket]],
        tokens: Tokens,
        lane: Lane,
        *,
        lost: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = boot_clock_s,
    ) -> None:
        self._heap = heap_id
        self._opening = opening
        self._connect = connect
        self._tokens = tokens
        self._lost = lost
        self._lane = lane
        self._clock_s = clock_s
        self._following = Following()
        self._events = EventQueue()
        self._wake = asyncio.Event()
        self._to_open = asyncio.Event()
        self._used: list[Token] = []
        """The tokens that documents were opened with on this socket."""

    # Called by the reader

    @property
    def connected(self) -> bool:
        """Whether a socket is open now."""
        return self._following.link is not None

    def follow(self, blocks: Iterable[BlockId]) -> None:
        """Replace the set of followed blocks."""
        self._following.follow(blocks, self._clock_s())
        self._stir()

    def reopen(self, block: BlockId) -> None:
        """Open a followed block again."""
        self._following.reopen(block)
        self._stir()

    def answer(self, block: BlockId, update: bytes) -> None:
        """Send what the server lacks; dropped without a socket."""
        if self._following.link is not None:
            self._following.link.answer(block, update, self._clock_s())
            self._stir()

    def send(self, block: BlockId, update: bytes) -> None:
        """Send a change; dropped without a socket."""
        if self._following.link is not None:
            self._following.link.update(block, update, self._clock_s())
            self._stir()

    def announce(self, block: BlockId) -> None:
        """Have the others who follow a block ask the delta feed; dropped when it is not open."""
        if self._following.link is not None:
            self._following.link.announce(block, self._clock_s())
            self._stir()

    def is_open(self, block: BlockId) -> bool:
        """Whether the server tells every change of a block now."""
        link = self._following.link
        return link is not None and link.is_open(block)

    def __aiter__(self) -> AsyncIterator[LiveEvent]:
        """Iterate over the events, in order."""
        return self

    async def __anext__(self) -> LiveEvent:
        """Return the next event; raises what ``opening`` raised."""
        return await self._events.get()

    def at_hand(self) -> LiveEvent | None:
        """Return the next event if it has arrived, else None."""
        return self._events.at_hand()

    # The running link

    async def run(self) -> None:
        """Connect, and reconnect when a link ends, until cancelled or until ``opening`` fails."""
        try:
            await self._forever()
        except* _OpeningFailed as group:
            self._events.end(_leaf(group).__cause__)
        except* Exception as group:
            self._events.end(_leaf(group))
            raise
        finally:
            self._events.end()

    async def _forever(self) -> None:
        lane = self._lane
        while True:
            while not self._following.wants_link:
                self._wake.clear()
                await self._wake.wait()
            started_s = self._clock_s()
            link = LiveLink(self._heap, started_s)
            down = await self._link_once(link)
            if isinstance(down, _Idle):
                lane.worked()
                continue
            if link.served and self._clock_s() - started_s >= LASTED_S:
                lane.worked()
            lane.failed(down)
            await first_of(*lane.wake_events(), timeout_s=lane.pause_s())

    async def _link_once(self, link: LiveLink) -> HeapsyncdError:
        """Open a socket and serve it to its end; returns why it ended."""
        was_connected, self._used = False, []
        down: HeapsyncdError
        try:
            # Without a token there is no use for a socket.
            await self._tokens.token()
            async with self._connect() as socket:
                was_connected = True
                self._following.attach(link)
                await self._events.put(LiveConnected())
                await self._serve(link, socket)
        except* HeapsyncdError as group:
            down = _leaf(group)
        finally:
            self._following.detach()
            if was_connected:
                self._lost()
        unwelcome = isinstance(down, LinkClosed) and down.code == UNAUTHORIZED
        if self._used and (unwelcome or (link.denied and not link.served)):
            self._tokens.doubt(self._used[-1])
        if was_connected:
            await self._events.put(LiveDisconnected(str(down)))
        return down

    async def _serve(self, link: LiveLink, socket: Socket) -> None:
        async with TaskGroup() as group:
            group.create_task(self._read(link, socket))
            group.create_task(self._write(link, socket))
            group.create_task(self._open(link))

    async def _read(self, link: LiveLink, socket: Socket) -> None:
        while True:
            data = await socket.receive()
            if data is None:
                link.pulse.heard(self._clock_s())
                continue
            for event in link.receive(data, self._clock_s()):
                await self._emit(link, event)
            self._stir()

    async def _emit(self, link: LiveLink, event: LiveEvent) -> None:
        if not self._events.full:
            await self._events.put(event)
            return
        # The reader is slow and the socket is not read, so its silence does not mean it is dead.
        link.listening = False
        await self._events.put(event)
        link.listening = True
        link.pulse.heard(self._clock_s())

    async def _write(self, link: LiveLink, socket: Socket) -> None:
        while True:
            self._wake.clear()
            for event in link.tick(self._clock_s()):
                await self._emit(link, event)
            for data in link.outgoing():
                await socket.send(data)
            if link.pulse.ping_due(self._clock_s()):
                await socket.ping()
            if not self._following.wants_link:
                raise _Idle("nothing is followed any more")
            if link.denied and any(self._tokens.is_rejected(token) for token in self._used):
                # Perhaps that was why, and a denied name is unusable on this socket.
                raise Unreachable("the sign-in with which documents were denied has ended")
            self._to_open.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(link.next_tick_s(self._clock_s())):
                    await self._wake.wait()

    async def _open(self, link: LiveLink) -> None:
        while True:
            self._to_open.clear()
            if link.wants_token:
                link.renew(await self._tokens.token(), self._clock_s())
                self._wake.set()
            if blocks := link.batch():
                await self._open_batch(link, blocks)
                self._wake.set()
            else:
                await self._to_open.wait()

    async def _open_batch(self, link: LiveLink, blocks: list[BlockId]) -> None:
        try:
            known = await self._opening(blocks)
        except Exception as error:
            raise _OpeningFailed from error
        token = await self._tokens.token()
        if token not in self._used:
            self._used.append(token)
        now_s = self._clock_s()
        for block in blocks:
            if block in known:
                sync_version, state_vector = known[block]
                link.open(block, sync_version, state_vector, token, now_s)
            else:
                self._following.absent(block, now_s)

    def _stir(self) -> None:
        self._wake.set()
        self._to_open.set()


class _Idle(HeapsyncdError):
    """Nothing is followed any more; not a failure."""


class _OpeningFailed(Exception):
    """``opening`` raised: an error of the reader, not of the link."""


def _leaf(group: BaseExceptionGroup[_E]) -> _E:
    """Return the first of the exceptions that a task group collected."""
    leaf: _E | BaseExceptionGroup[_E] = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
