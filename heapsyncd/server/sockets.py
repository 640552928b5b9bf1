"""One WebSocket: many documents, each signed in to on its own (PROTOCOL §6).

Messages are handled in the order they come. Changes are handed to ``documents`` without a wait,
and answered with SyncStatus once they are committed. A document's life on a socket::

    unknown --Auth ok--> seated --Close, compaction--> left
    unknown --Auth refused--> left           left --Auth ok--> seated

Of an unknown document other messages wait for its Auth, within bounds; of one that was left they
are dropped (they were under way when we refused or closed it).
"""

import asyncio
from collections import OrderedDict
from typing import assert_never

import structlog
from aiohttp import WSMsgType, web

from heapsyncd.errors import FolderTrouble, ProtocolError
from heapsyncd.server.accounts import Account
from heapsyncd.server.outbox import Outbox
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Address
from heapsyncd.server.seat import Seated
from heapsyncd.server.services import Services
from heapsyncd.wire import hocuspocus as hp

log = structlog.get_logger(__name__)

RESET, UNAUTHORIZED, TIMEOUT = 4205, 4401, 4408
GOING_AWAY, UNSUPPORTED, INTERNAL = 1001, 1003, 1011
CLOSE_S = 5.0
"""How long the client has to answer our closing."""
_LEFT_REMEMBERED = 20_000
_PING, _PONG = b"\x09", b"\x0a"
"""Newer servers and clients exchange these two without a document."""


class Socket:
    """One connection; ``run`` lives as long as it does."""

    def __init__(self, socket: web.WebSocketResponse, services: Services) -> None:
        self._socket = socket
        self._s = services
        limits = services.limits
        self.outbox = Outbox(socket, limits.unsent_bytes, limits.unsent_max_bytes)
        self._seats: dict[str, Seated] = {}
        self._left: OrderedDict[str, None] = OrderedDict()
        self._waiting: dict[str, list[hp.Message]] = {}
        self._waiting_messages = 0
        self._waiting_bytes = 0
        self._idle: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve until either side closes."""
        sender = asyncio.create_task(self.outbox.run())
        overrun = asyncio.create_task(self.outbox.overrun.wait())
        reader = asyncio.create_task(self._read())
        self._watch_idle()
        try:
            await asyncio.wait({sender, overrun, reader}, return_when=asyncio.FIRST_COMPLETED)
            if self.outbox.closing:
                await asyncio.wait({sender}, timeout=CLOSE_S)
        finally:
            for seat in list(self._seats.values()):
                seat.end()
            if self._idle is not None:
                self._idle.cancel()
            for task in (sender, overrun, reader):
                task.cancel()
            await asyncio.gather(sender, overrun, reader, return_exceptions=True)
        if reader.done() and not reader.cancelled() and (error := reader.exception()) is not None:
            raise error

    def close(self, code: int, reason: str) -> None:
        """Close the connection when what waits has been sent."""
        self.outbox.finish(code, reason)

    def serves(self, account: Account) -> bool:
        """Whether an account is signed in to a document here."""
        return any(seat.account_id == account.id for seat in self._seats.values())

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                self.close(UNSUPPORTED, "binary messages only")
                continue
            await self.outbox.room()
            if message.data in {_PING, _PONG}:
                if message.data == _PING:
                    self.outbox.put(_PONG)
                continue
            try:
                frame = hp.decode(message.data)
                await self._handle(frame.document, frame.message, len(message.data))
            except ProtocolError as error:
                self.close(RESET, str(error))
            except FolderTrouble as error:
                log.warning("a live client can't be served", reason=str(error))
                self.close(INTERNAL, "the server's disk has trouble")

    async def _handle(self, address: str, message: hp.Message, size: int) -> None:
        seat = self._seats.get(address)
        if isinstance(message, hp.Auth):
            if seat is None:
                await self._sign_in(address, message)
            else:
                self._renew(seat, message)
        elif seat is not None:
            await self._seated(seat, message)
        elif address not in self._left:
            self._keep(address, message, size)

    async def _sign_in(self, address: str, auth: hp.Auth) -> None:
        try:
            account = self._s.accounts.holder(auth.token.reveal())
            place, scope = self._admit(address, account)
        except Refusal as refusal:
            self._forget(address)
            self._remember_left(address)
            self.outbox.put(hp.encode(address, hp.PermissionDenied(refusal.message)))
            return
        self._left.pop(address, None)
        seat = Seated(self._s, self.outbox, address, place, account.id, scope, self._leave)
        self._seats[address] = seat
        seat.tell(hp.Authenticated(scope))
        seat.greet()
        for message in self._forget(address):
            if address in self._seats:
                await self._seated(seat, message)

    def _admit(self, address: str, account: Account) -> tuple[Address, str]:
        place = Address.parse(address)
        known = None if place is None else self._s.documents.where(place.block)
        if place is None or known is None or known[0] != place.heap:
            raise Refusal(404, "not_found")
        heap = self._s.heaps.readable(account, place.heap)
        if known[1] != place.sync_version:
            raise Refusal(409, f"stale: the current version is {known[1]}")
        if len(self._seats) >= self._s.limits.documents_per_socket:
            raise Refusal(429, "too many documents on one socket")
        access = self._s.heaps.access(account, heap)
        return place, "read-write" if access == "rw" else "readonly"

    def _renew(self, seat: Seated, auth: hp.Auth) -> None:
        try:
            account = self._s.accounts.holder(auth.token.reveal())
            if account.id != seat.account_id:
                raise Refusal(401, "the token is another account's")
        except Refusal as refusal:
            seat.tell(hp.Close(f"unauthorized: {refusal.message}"))
            seat.end()

    async def _seated(self, seat: Seated, message: hp.Message) -> None:
        match message:
            case hp.SyncStep1():
                await seat.answer(message)
            case hp.SyncStep2() | hp.Update():
                await seat.take(message)
            case hp.Awareness(update):
                seat.present(update)
            case hp.QueryAwareness():
                seat.greet(always=True)
            case hp.Close():
                seat.tell(hp.Close("provider_initiated"))
                seat.end()
            case hp.Ping():
                seat.tell(hp.Pong())
            case hp.Stateless() | hp.SyncStatus() | hp.Pong() | hp.Unknown():
                pass
            case hp.Auth() | hp.TokenRequest() | hp.PermissionDenied() | hp.Authenticated():
                pass
            case _:
                assert_never(message)

    def _keep(self, address: str, message: hp.Message, size: int) -> None:
        """Let a message wait for its document's Auth, within bounds."""
        limits = self._s.limits
        self._waiting.setdefault(address, []).append(message)
        self._waiting_messages += 1
        self._waiting_bytes += size
        if (
            len(self._waiting) > limits.waiting_documents
            or self._waiting_messages > limits.waiting_messages
            or self._waiting_bytes > limits.waiting_bytes
        ):
            self.close(RESET, "too much was sent before signing in")

    def _forget(self, address: str) -> list[hp.Message]:
        messages = self._waiting.pop(address, [])
        self._waiting_messages -= len(messages)
        if not self._waiting:
            self._waiting_bytes = 0
        return messages

    def _leave(self, seat: Seated) -> None:
        if self._seats.pop(seat.address, None) is not None:
            self._remember_left(seat.address)
        if not self._seats:
            self._watch_idle()

    def _remember_left(self, address: str) -> None:
        self._left[address] = None
        while len(self._left) > _LEFT_REMEMBERED:
            self._left.popitem(last=False)

    def _watch_idle(self) -> None:
        """A socket without any document is closed after a while."""
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._s.limits.idle_s, self._end_idle)

    def _end_idle(self) -> None:
        if not self._seats:
            self.close(TIMEOUT, "no document is open")
