"""The live feed over real sockets, with a server that behaves as Hocuspocus 4 or misbehaves."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import WSMsgType, web

from heapsyncd.backoff import Contact, Lane
from heapsyncd.errors import HeapsyncdError, SignInRefused, Unreachable
from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.wire import feed as feed_module
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.clock import boot_clock_s
from heapsyncd.wire.feed import Feed
from heapsyncd.wire.rest import Rest
from heapsyncd.wire.scalars import document_name
from heapsyncd.wire.values import (
    LiveAsked,
    LiveConnected,
    LiveDisconnected,
    LiveEvent,
    LiveLost,
    LiveSynced,
    LiveUpdate,
)
from heapsyncd.wire.websocket import connect

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRST0")
BLOCKS = [BlockId(f"01J8XYZ0ABCDEFGHJKMNPQ{n:04}") for n in range(300)]
A, B = BLOCKS[:2]
UPDATE = b"\1update"


@dataclass
class Server:
    """Documents over ``/ws``: signs in good tokens, answers SyncStep1, keeps records."""

    good: set[str] = field(default_factory=lambda: {"good"})
    denies: set[str] = field(default_factory=set)
    greets: list[bytes] = field(default_factory=list)
    status: int | None = None
    retry_after: str | None = None
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    received: list[hp.Frame] = field(default_factory=list)
    most_waiting: int = 0
    opened: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.opened += 1
        if self.status is not None:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.Response(status=self.status, headers=headers)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        for greeting in self.greets:
            await socket.send_bytes(greeting)
        waiting: set[str] = set()
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await self.answer(socket, hp.decode(message.data), waiting)
        self.sockets.remove(socket)
        self.changed.set()
        return socket

    async def answer(
        self, socket: web.WebSocketResponse, frame: hp.Frame, waiting: set[str]
    ) -> None:
        self.received.append(frame)
        self.changed.set()
        name = frame.document
        match frame.message:
            case hp.Auth(token):
                waiting.add(name)
                self.most_waiting = max(self.most_waiting, len(waiting))
                await asyncio.sleep(0)
                if token.reveal() in self.good and name not in self.denies:
                    await socket.send_bytes(hp.encode(name, hp.Authenticated("read-write")))
                else:
                    await socket.send_bytes(hp.encode(name, hp.PermissionDenied("no")))
                waiting.discard(name)
            case hp.SyncStep1(vector) if name not in self.denies:
                await socket.send_bytes(hp.encode(name, hp.SyncStep1(vector)))
                await socket.send_bytes(hp.encode(name, hp.SyncStep2(UPDATE)))

    async def say(self, block: BlockId, message: hp.Message) -> None:
        await self.sockets[-1].send_bytes(hp.encode(document_name(HEAP, block, 1), message))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Session:
    """Tokens, and whether the link complained."""

    tokens: list[str] = field(default_factory=lambda: ["good"])
    doubts: list[str] = field(default_factory=list)
    rejected: str | None = None
    trouble: HeapsyncdError | None = None

    async def token(self) -> Token:
        if self.trouble is not None:
            raise self.trouble
        return Token(self.tokens[0])

    def is_rejected(self, token: Token) -> bool:
        return token.reveal() == self.rejected

    def doubt(self, token: Token) -> None:
        self.doubts.append(token.reveal())
        if len(self.tokens) > 1:
            self.tokens.pop(0)


class Recorded(Lane):
    """Keeps the pauses that are asked for, and lets none of them last."""

    def __init__(self, waited: Callable[[], None] = lambda: None, chance: float = 0.0) -> None:
        super().__init__(Contact(), lambda: chance)
        self.waits: list[float] = []
        self._waited = waited

    def pause_s(self) -> float:
        self.waits.append(super().pause_s())
        self._waited()
        return 0.0


async def at_version_one(blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
    return dict.fromkeys(blocks, (1, b"\0"))


@asynccontextmanager
async def feeding(
    server: Server,
    session: Session | None = None,
    opening: Callable[
        [Sequence[BlockId]], Awaitable[Mapping[BlockId, tuple[int, bytes]]]
    ] = at_version_one,
    lane: Lane | None = None,
    clock_s: Callable[[], float] = boot_clock_s,
    lost: Callable[[], None] = lambda: None,
) -> AsyncIterator[Feed]:
    """A running feed of a served server, which reconnects without waiting."""
    app = web.Application()
    app.router.add_get("/ws", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with Rest(f"http://{host}:{port}") as rest:
        feed = Feed(
            HEAP,
            opening,
            lambda: connect(rest),
            session or Session(),
            lane or Recorded(),
            clock_s=clock_s,
            lost=lost,
        )
        running = asyncio.create_task(feed.run())
        try:
            yield feed
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await runner.cleanup()


async def collect(feed: Feed, enough: Callable[[list[LiveEvent]], object]) -> list[LiveEvent]:
    """The events up to the first moment that is enough."""
    events: list[LiveEvent] = []
    async with asyncio.timeout(10):
        async for event in feed:
            events.append(event)
            if enough(events):
                return events
    raise AssertionError("the feed ended")


async def quiet(value: Callable[[], int]) -> int:
    """A number, when it has not changed for a moment."""
    async with asyncio.timeout(10):
        while True:
            before = value()
            await asyncio.sleep(0.05)
            if value() == before:
                return before


def synced(count: int) -> Callable[[list[LiveEvent]], bool]:
    return lambda events: sum(isinstance(event, LiveSynced) for event in events) >= count


async def test_a_followed_block_comes_alive() -> None:
    """Connected, asked for what the server lacks, updated, synced; answers and changes go out."""
    server = Server()
    async with feeding(server) as feed:
        before = feed.connected
        feed.follow([A])
        events = await collect(feed, synced(1))
        assert events == [
            LiveConnected(), LiveAsked(A, 1, b"\0"), LiveUpdate(A, 1, UPDATE), LiveSynced(A)
        ]  # fmt: skip
        assert (before, feed.connected) == (False, True)
        feed.answer(A, b"ours")
        feed.send(A, b"more")
        feed.send(B, b"never")
        await server.until(lambda: server.received[-1].message == hp.Update(b"more"))
        assert server.received[-2].message == hp.SyncStep2(b"ours")


async def test_hundreds_of_documents_pass_the_window() -> None:
    """All are opened, once, never more than 50 awaiting."""
    server = Server()
    asked: list[int] = []

    async def opening(blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        asked.append(len(blocks))
        return await at_version_one(blocks)

    async with feeding(server, opening=opening) as feed:
        feed.follow(BLOCKS)
        await collect(feed, synced(len(BLOCKS)))
    auths = Counter(f.document for f in server.received if isinstance(f.message, hp.Auth))
    assert set(auths.values()) == {1}
    assert len(auths) == len(BLOCKS)
    assert server.most_waiting <= 50
    assert sum(asked) == len(BLOCKS)
    assert len(asked) <= len(BLOCKS) // 25 + 1


async def test_a_dropped_socket_is_replaced_and_everything_opened_again() -> None:
    """With the state vectors of that moment."""
    server = Server()
    vectors = iter([b"\0", b"\1"])

    async def opening(blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        return dict.fromkeys(blocks, (1, next(vectors)))

    async with feeding(server, opening=opening) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        await server.sockets[0].close(code=4205, message=b"Reset Connection")
        events = await collect(feed, synced(1))
        assert isinstance(events[0], LiveDisconnected)
        assert "4205" in events[0].reason
        assert events[1] == LiveConnected()
        steps = [f.message for f in server.received if isinstance(f.message, hp.SyncStep1)]
        assert steps == [hp.SyncStep1(b"\0"), hp.SyncStep1(b"\1")]


async def test_nothing_followed_means_no_socket() -> None:
    """None at first, and none after the last block is left."""
    server = Server()
    async with feeding(server) as feed:
        feed.follow([])
        feed.follow([A])
        await collect(feed, synced(1))
        feed.follow([])
        events = await collect(feed, lambda events: isinstance(events[-1], LiveDisconnected))
        await server.until(lambda: not server.sockets)
        assert not feed.connected
        assert isinstance(events[-1], LiveDisconnected)
        feed.follow([A])
        await collect(feed, synced(1))
    assert server.opened == 2


async def test_a_block_nobody_knows_is_not_opened() -> None:
    """Opening leaves it out; reopen asks again."""
    server = Server()
    known: set[BlockId] = {A}

    async def opening(blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        return {block: (1, b"\0") for block in blocks if block in known}

    async with feeding(server, opening=opening) as feed:
        feed.follow([A, B])
        await collect(feed, synced(1))
        assert {frame.document for frame in server.received} == {document_name(HEAP, A, 1)}
        known.add(B)
        feed.reopen(B)
        events = await collect(feed, synced(1))
        assert events[-1] == LiveSynced(B)


async def test_a_closed_document_is_lost_and_reopened_under_its_new_version() -> None:
    """A compaction: Close, LiveLost, reopen; the socket stays."""
    server = Server()
    version = {A: 1, B: 1}

    async def opening(blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        return {block: (version[block], b"\0") for block in blocks}

    async with feeding(server, opening=opening) as feed:
        feed.follow([A, B])
        await collect(feed, synced(2))
        await server.say(A, hp.Close("reset"))
        assert await collect(feed, len) == [LiveLost(A, "closed", "reset")]
        version[A] = 2
        feed.reopen(A)
        events = await collect(feed, synced(1))
        assert LiveUpdate(A, 2, UPDATE) in events
    assert server.opened == 1


async def test_a_refused_document_does_not_disturb_the_others() -> None:
    """PermissionDenied concerns one; the socket is kept for the rest."""
    server = Server(denies={document_name(HEAP, A, 1)})
    session = Session()
    async with feeding(server, session) as feed:
        feed.follow([A, B])
        events = await collect(
            feed, lambda e: synced(1)(e) and any(isinstance(x, LiveLost) for x in e)
        )
        assert LiveLost(A, "denied", "no") in events
        feed.reopen(A)
        feed.reopen(B)
        await collect(feed, synced(1))
    auths = [f.document for f in server.received if isinstance(f.message, hp.Auth)]
    assert auths.count(document_name(HEAP, A, 1)) == 1
    assert session.doubts == []


async def test_a_token_that_opens_nothing_is_renewed() -> None:
    """Everything denied: the link doubts the token, and comes back with another."""
    server = Server()
    session = Session(["old", "good"])
    async with feeding(server, session) as feed:
        feed.follow(BLOCKS[:60])
        await collect(feed, synced(60))
    assert session.doubts == ["old"]


async def test_what_was_denied_to_a_sign_in_that_has_ended_is_opened_again() -> None:
    """A call with the token got 401 later: the denial concerned the sign-in, not the document."""
    server = Server(denies={document_name(HEAP, B, 1)})
    session = Session(["old", "good"])
    server.good = {"old"}
    async with feeding(server, session) as feed:
        feed.follow([A, B])
        await collect(feed, lambda e: synced(1)(e) and any(isinstance(x, LiveLost) for x in e))
        server.good, server.denies = {"good"}, set()
        session.rejected = session.tokens.pop(0)
        feed.reopen(A)
        events = await collect(feed, synced(2))
        assert not any(isinstance(event, LiveLost) for event in events)
    assert session.doubts == []


async def test_a_socket_closed_as_unauthorised_renews_the_token() -> None:
    """4401 says that the token is no longer accepted."""
    server = Server()
    session = Session(["good", "better"])
    async with feeding(server, session) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        server.good = {"better"}
        await server.sockets[0].close(code=4401, message=b"Unauthorized")
        events = await collect(feed, synced(1))
        assert not any(isinstance(event, LiveLost) for event in events)
    assert session.doubts == ["good"]


async def test_a_request_for_a_token_is_answered() -> None:
    """With the token of that moment."""
    server = Server()
    session = Session()
    async with feeding(server, session) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        session.tokens = ["fresh"]
        await server.say(A, hp.TokenRequest())
        await server.until(lambda: server.received[-1].message == hp.Auth(Token("fresh")))


@pytest.mark.parametrize("greeting", [b"", b"\xff", b"\xff" * 50, b"\5ab"])
async def test_malformed_frames_drop_the_socket_not_the_feed(greeting: bytes) -> None:
    """A frame without a readable name: disconnected, and connected again."""
    server = Server(greets=[greeting])
    async with feeding(server) as feed:
        feed.follow([A])
        events = await collect(feed, lambda events: isinstance(events[-1], LiveDisconnected))
        server.greets.clear()
        assert "message" in events[-1].reason  # type: ignore[union-attr]  # asserted above
        await collect(feed, synced(1))


async def test_frames_of_others_are_ignored() -> None:
    """Text, pings, unknown documents and unknown types cost nothing."""
    stranger = hp.encode("somebody else", hp.Update(b"x"))
    server = Server(greets=[stranger, hp.encode("x", hp.Unknown(77, b"?"))])
    async with feeding(server) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        await server.sockets[0].send_str("hello")
        await server.sockets[0].ping()
        await server.say(A, hp.Update(b"after"))
        assert await collect(feed, len) == [LiveUpdate(A, 1, b"after")]
    assert server.opened == 1


async def test_a_refused_upgrade_is_tried_again() -> None:
    """A busy server: no event, another try after the wait it asked for."""
    server = Server(status=503, retry_after="7")

    def waited() -> None:
        if len(lane.waits) == 3:
            server.status = None

    lane = Recorded(waited)
    async with feeding(server, lane=lane) as feed:
        feed.follow([A])
        events = await collect(feed, synced(1))
        assert events[0] == LiveConnected()
    assert lane.waits == [7.0] * 3


async def test_a_refused_account_opens_no_socket() -> None:
    """Without a token there is no use for one; the feed goes on trying."""
    server = Server()
    session = Session(trouble=SignInRefused("no"))
    async with feeding(server, session) as feed:
        feed.follow([A])
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.opened == 0
        session.trouble = None
        await collect(feed, synced(1))


async def test_a_slow_reader_pauses_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue stays bounded while the server sends, and nothing is lost or reordered."""
    server = Server()
    count = 3000
    async with feeding(server) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        for number in range(count):
            await server.say(A, hp.Update(b"%d" % number))
        unread = await quiet(lambda: len(feed._events._events))
        assert 512 <= unread < 600
        events = await collect(feed, lambda events: len(events) == count)
    assert events == [LiveUpdate(A, 1, b"%d" % number) for number in range(count)]


async def test_a_reader_that_is_slow_for_long_keeps_its_link() -> None:
    """While nothing is read the server's silence says nothing, however long it takes."""
    server, now_s = Server(), [0.0]
    async with feeding(server, clock_s=lambda: now_s[0]) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        for _ in range(2000):
            await server.say(A, hp.Update(b"x"))
        await quiet(lambda: len(feed._events._events))
        now_s[0] += 1000
        feed.answer(A, b"still here")
        await server.until(lambda: server.received[-1].message == hp.SyncStep2(b"still here"))
        now_s[0] += 43
        feed.answer(A, b"and here")
        await server.until(lambda: server.received[-1].message == hp.SyncStep2(b"and here"))
        events = await collect(feed, lambda events: len(events) == 2000)
    assert set(events) == {LiveUpdate(A, 1, b"x")}


async def test_a_silent_link_is_replaced() -> None:
    """After 45 s without a sign the socket is given up, as at the end of a suspend."""
    server, now_s = Server(), [0.0]
    async with feeding(server, clock_s=lambda: now_s[0]) as feed:
        feed.follow([A])
        await collect(feed, synced(1))
        now_s[0] += 46
        feed.reopen(A)
        events = await collect(feed, synced(1))
        assert isinstance(events[0], LiveDisconnected)
        assert "silent" in events[0].reason
    assert server.opened == 2


async def test_a_lost_link_is_told_before_another_is_opened() -> None:
    """Also while nobody reads the events."""
    server = Server()
    opened: list[int] = []
    async with feeding(server, lost=lambda: opened.append(server.opened)) as feed:
        feed.follow([A])
        await server.until(lambda: server.sockets)
        await server.sockets[0].close()
        await server.until(lambda: server.opened == 2)
        assert opened == [1]


async def test_a_failure_of_opening_is_the_readers() -> None:
    """What the reader's own function raised is raised where it reads; the link ends."""

    async def opening(blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        raise ValueError("the cache is closed")

    async with feeding(Server(), opening=opening) as feed:
        feed.follow([A])
        with pytest.raises(ValueError, match="the cache is closed"):
            await collect(feed, lambda _: False)


async def test_an_unreachable_server_is_tried_again() -> None:
    """Nothing is said until there is a connection; the waits grow to a bound."""
    enough = asyncio.Event()

    @asynccontextmanager
    async def connecting() -> AsyncGenerator[feed_module.Socket, None]:
        if not enough.is_set():
            raise Unreachable("down")
        yield Silent()

    def waited() -> None:
        if len(lane.waits) == 8:
            enough.set()

    lane = Recorded(waited, chance=1.0)
    feed = Feed(HEAP, at_version_one, connecting, Session(), lane)
    running = asyncio.create_task(feed.run())
    feed.follow([A])
    assert await collect(feed, len) == [LiveConnected()]
    assert lane.waits == [1, 2, 4, 8, 15, 15, 15, 15]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(feed))


async def test_a_server_heard_elsewhere_is_connected_to_at_once() -> None:
    """However long the wait would be: any answer of the server ends it."""
    server = Server(status=503)
    contact, waits = Contact(), asyncio.Event()

    class Long(Lane):
        def pause_s(self) -> float:
            waits.set()
            return 3600.0

    async with feeding(server, lane=Long(contact)) as feed:
        feed.follow([A])
        await asyncio.wait_for(waits.wait(), 10)
        server.status = None
        contact.heard()
        await collect(feed, synced(1))


class Silent:
    """A socket on which nothing ever happens."""

    async def send(self, data: bytes) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def receive(self) -> bytes | None:
        await asyncio.Event().wait()
        return None
