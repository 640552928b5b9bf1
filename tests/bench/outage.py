"""Many daemons and their server in virtual time: what an outage brings upon the server.

The daemons' parts are the package's own: sessions, lanes with their pauses, the live feed with its
window of handshakes. Only the network, the server's work and the order of a heap's tasks
(``sync.runtime.heap``, ``sync.runtime.account``) are written here.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec.structs import fields

from heapsyncd.backends.account import HeaperAccount
from heapsyncd.backoff import Contact, Lane, first_of, varied_s
from heapsyncd.config import Account
from heapsyncd.errors import HeapsyncdError, ServerTrouble, Unreachable
from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.sync.heap.timing import DEFAULT
from heapsyncd.wire import heaper
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.feed import Feed
from heapsyncd.wire.lib0 import Reader
from heapsyncd.wire.live import EMPTY_UPDATE
from heapsyncd.wire.rest import SILENCE_S
from heapsyncd.wire.values import LiveConnected, LiveDisconnected, LiveSynced
from tests.bench.virtual_time import run

HEAP: Final = HeapId("01HZX0000000000000000000HP")
POLL_S: Final = float(next(f.default for f in fields(Account) if f.name == "poll_interval_s"))
CALLS_S: Final = 0.5
"""What the server can answer a second, for each daemon: at peace it is asked for 0.2."""
RECOVERED_S: Final = 40
"""So long after the server's return all is over."""
_WAY_S: Final = 0.02
_ANSWERS: Final[Mapping[str, Any]] = {
    "/api/": heaper.Instance("key"),
    "/api/auth/create_session": heaper.Challenge("challenge"),
    "/api/auth/verify_session": heaper.TokenPair("token"),
}

Kind = Literal["in vain", "call", "socket", "handshake"]


class Work:
    """What the server does one after the other, so many a second."""

    def __init__(self, rate_s: float) -> None:
        self._each_s = 1.0 / rate_s
        self._free_at_s = 0.0

    def done_at_s(self, now_s: float) -> float:
        """Take one more; when it is done."""
        self._free_at_s = max(now_s, self._free_at_s) + self._each_s
        return self._free_at_s


@dataclass
class Service:
    """The server as a network sees it.

    Args:
        calls_s: so many calls can be answered a second, ...
        handshakes_s: ... and so many documents opened.
        asks_s: while it is away, a proxy in its place tells everybody to come back after this
            long; None: nobody answers.
    """

    calls_s: float
    handshakes_s: float
    asks_s: float | None = None
    up: bool = True
    seen: dict[Kind, Counter[int]] = field(default_factory=dict)
    """What came in each second."""
    sockets: set["Socket"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._calls, self._handshakes = Work(self.calls_s), Work(self.handshakes_s)
        self._asked: deque[tuple[str, Socket]] = deque()

    def note(self, kind: Kind) -> None:
        """Something came now."""
        self.seen.setdefault(kind, Counter())[int(_now_s())] += 1

    def leave(self) -> None:
        """Go away: sockets break, and nobody answers."""
        self.up = False
        for socket in self.sockets:
            socket.inbox.put_nowait(None)
        self.sockets.clear()

    def come_back(self) -> None:
        """Be there again, with nothing to do yet."""
        self.up = True
        self._calls, self._handshakes = Work(self.calls_s), Work(self.handshakes_s)

    async def reach(self) -> None:
        """Raise what a daemon is told while the server is away."""
        await asyncio.sleep(_WAY_S)
        if not self.up:
            self.note("in vain")
            if self.asks_s is not None:
                raise ServerTrouble("in maintenance", self.asks_s)
            raise Unreachable("no connection")

    async def call(self) -> None:
        """Answer one call; raises what the daemon makes of it when it is not answered."""
        await self.reach()
        self.note("call")
        now_s = _now_s()
        wait_s = self._calls.done_at_s(now_s) - now_s
        await asyncio.sleep(min(wait_s, SILENCE_S))
        if wait_s > SILENCE_S or not self.up:
            raise Unreachable("no answer in time")

    def open_document(self, name: str, socket: "Socket") -> None:
        """Sign a document in, when its turn has come."""
        self.note("handshake")
        self._asked.append((name, socket))
        if len(self._asked) == 1:
            self._answer_next()

    def _answer_next(self) -> None:
        # What a socket asked for that is gone takes no time.
        while self._asked and self._asked[0][1] not in self.sockets:
            self._asked.popleft()
        if self._asked:
            at_s = self._handshakes.done_at_s(_now_s())
            asyncio.get_running_loop().call_at(at_s, self._answer)

    def _answer(self) -> None:
        if self._asked:
            name, socket = self._asked.popleft()
            said = (hp.Authenticated("read-write"), _NOTHING)
            socket.answer([hp.encode(name, m) for m in said])
        self._answer_next()


_NOTHING: Final = hp.SyncStep2(EMPTY_UPDATE)


class Socket:
    """One socket between a daemon and the server."""

    def __init__(self, service: Service) -> None:
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._service = service

    def answer(self, messages: Sequence[bytes]) -> None:
        """Say something to the daemon."""
        if self in self._service.sockets:
            for message in messages:
                self.inbox.put_nowait(message)

    async def send(self, data: bytes) -> None:
        """Hear what the daemon says."""
        message = hp.decode(data).message
        if isinstance(message, hp.Auth):
            self._service.open_document(Reader(data).var_string(), self)

    async def ping(self) -> None:
        """Answer a ping."""
        self.inbox.put_nowait(b"")

    async def receive(self) -> bytes | None:
        """Hand over the next message, None for a pong."""
        data = await self.inbox.get()
        if data is None:
            raise Unreachable("the connection broke")
        return data or None


class _Rest:
    """What an account calls through."""

    def __init__(self, service: Service) -> None:
        self.contact = Contact()
        self._service = service

    async def call(self, shape: Any, method: str, path: str, **rest: Any) -> Any:
        await self._service.call()
        self.contact.heard()
        return _ANSWERS.get(path)


class Daemon:
    """One installation with one heap.

    Args:
        service: its server.
        notes: how many it follows.
        chance: random numbers.
    """

    def __init__(self, service: Service, notes: int, chance: Callable[[], float]) -> None:
        self._service = service
        rest: Any = _Rest(service)
        self._account = HeaperAccount(rest, Seed(bytes(32)), _anybody)
        self._account.session._clock_s = _now_s
        self._contact = rest.contact
        self._chance = chance
        self._pull = asyncio.Event()
        self._current = asyncio.Event()
        self._edited = asyncio.Event()
        self._blocks = [BlockId(f"{k:026}") for k in range(notes)]
        lane = Lane(self._contact, chance)
        tokens = self._account.session
        self._feed = Feed(HEAP, _opening, self._connect, tokens, lane, clock_s=_now_s)
        self._open: set[BlockId] = set()

    @property
    def is_live(self) -> bool:
        """Whether every note is followed."""
        return len(self._open) == len(self._blocks)

    def edit(self) -> None:
        """Somebody saves a note."""
        self._edited.set()

    async def run(self) -> None:
        """Work until cancelled."""
        self._feed.follow(self._blocks)
        async with asyncio.TaskGroup() as group:
            for work in (self._list, self._receive, self._send, self._feed.run, self._read):
                group.create_task(work())

    async def _attempt(self, lane: Lane, path: str) -> bool:
        try:
            await self._account.post(object, path, b"")
        except HeapsyncdError as error:
            lane.failed(error)
            self._current.clear()
            return False
        lane.worked()
        return True

    async def _list(self) -> None:
        lane = Lane(self._contact, self._chance)
        while True:
            worked = await self._attempt(lane, "/api/heaps")
            every_s = varied_s(DEFAULT.heaps_again_s, self._chance)
            again_s = every_s if worked else lane.pause_s()
            await first_of(*lane.wake_events(), timeout_s=again_s)

    async def _receive(self) -> None:
        lane = Lane(self._contact, self._chance)
        while True:
            self._pull.clear()
            if await self._attempt(lane, "/api/sync/delta"):
                self._current.set()
                await first_of(self._pull, timeout_s=varied_s(POLL_S, self._chance))
            else:
                await first_of(*lane.wake_events(), timeout_s=lane.pause_s())

    async def _send(self) -> None:
        lane = Lane(self._contact, self._chance)
        while True:
            await self._edited.wait()
            if not self._current.is_set():
                self._pull.set()
                await self._current.wait()
            self._edited.clear()
            if not await self._attempt(lane, "/api/sync/push"):
                self._edited.set()
                await first_of(*lane.wake_events(), timeout_s=lane.pause_s())

    async def _read(self) -> None:
        async for event in self._feed:
            match event:
                case LiveConnected():
                    self._pull.set()
                case LiveSynced(block):
                    self._open.add(block)
                case LiveDisconnected():
                    self._open.clear()
                    self._current.clear()
                case _:
                    pass

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Socket]:
        await self._service.reach()
        self._service.note("socket")
        socket = Socket(self._service)
        self._service.sockets.add(socket)
        try:
            yield socket
        finally:
            self._service.sockets.discard(socket)


async def _anybody(key: str | None) -> None:
    """Accept every server."""


async def _opening(blocks: Sequence[BlockId]) -> dict[BlockId, tuple[int, bytes]]:
    return dict.fromkeys(blocks, (1, b"\0"))


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Outage:
    """What happens.

    Args:
        daemons: how many there are.
        notes: how many each follows.
        away_s: how long the server is away.
        asks_s: what a proxy asks everybody to wait meanwhile; None: nobody answers.
        handshakes_s: how many documents the server can sign in a second, for each daemon.
        before_s: how long they are at peace before; they start within half of it.
        after_s: how long they are watched afterwards.
        seed: of all chances.
    """

    daemons: int
    notes: int
    away_s: float
    asks_s: float | None = None
    handshakes_s: float = 2.0
    before_s: float = 60.0
    after_s: float = 120.0
    seed: int = 1

    @property
    def back_at_s(self) -> int:
        """When the server is there again."""
        return int(self.before_s + self.away_s)

    def play(self) -> "Load":
        """Let it happen, in virtual time."""
        return run(self._play())

    async def _play(self) -> "Load":
        rng = random.Random(self.seed)
        # One that is at its limit with the daemons at peace would never recover.
        service = Service(CALLS_S * self.daemons, self.handshakes_s * self.daemons, self.asks_s)
        daemons = [Daemon(service, self.notes, rng.random) for _ in range(self.daemons)]
        live: list[int] = []
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_later(rng.random() * self.before_s / 2, daemon))
                for daemon in daemons
            ]
            while (now_s := len(live)) < self.back_at_s + self.after_s:
                if now_s == int(self.before_s):
                    service.leave()
                    for daemon in daemons:
                        daemon.edit()
                if now_s == self.back_at_s:
                    service.come_back()
                await asyncio.sleep(now_s + 1 - _now_s())
                live.append(sum(daemon.is_live for daemon in daemons))
            for task in tasks:
                task.cancel()
        return Load(self, service.seen, live)


async def _later(wait_s: float, daemon: Daemon) -> None:
    await asyncio.sleep(wait_s)
    await daemon.run()


@dataclass(frozen=True)
class Load:
    """What the server saw.

    Args:
        outage: of which.
        seen: what came in each second since the beginning.
        live: how many daemons followed all of their notes at its end.
    """

    outage: Outage
    seen: Mapping[Kind, Counter[int]]
    live: Sequence[int]

    def each_second(self, kind: Kind, start_s: int, end_s: int) -> list[int]:
        """What came in each of these seconds, counted from the server's return."""
        back_s = self.outage.back_at_s
        return [self.seen.get(kind, Counter())[back_s + k] for k in range(start_s, end_s)]

    @property
    def recovered_s(self) -> int | None:
        """How many seconds after the server's return all were live; None: they were not."""
        since = self.live[self.outage.back_at_s :]
        return next((k + 1 for k, n in enumerate(since) if n == self.outage.daemons), None)

    @property
    def in_step(self) -> float:
        """How far the calls of the recovered daemons are from being spread over a poll interval:
        the farthest of its seconds, as a share of their mean.
        """
        calls = self.each_second("call", RECOVERED_S, int(self.outage.after_s))
        period = round(POLL_S)
        sums = [sum(calls[k::period]) / len(calls[k::period]) for k in range(period)]
        mean = sum(sums) / period
        return max(abs(s - mean) / mean for s in sums)
