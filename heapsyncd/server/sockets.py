"""One WebSocket: many documents, each signed in to on its own (PROTOCOL §6).

Messages are handled in the order they come. Changes are handed to ``documents`` without a wait,
and answered with SyncStatus once they are committed. A document's life on a socket::

    unknown --Auth ok--> seated --Close, compaction--> left
    unknown --Auth refused--> left           left --Auth ok--> seated

Of an unknown document other messages wait for its Auth, within bounds; of one that was left they
are dropped (they were under way when we refused or closed it).

A seat stands on a token. When that runs out the client is asked for another; one token renews all
of its account's seats on the socket. Without it they end, as they do when rights change.
"""

import asyncio
from collections import OrderedDict
from typing import assert_never

import structlog
from aiohttp import WSMsgType, web

from heapsyncd.errors import FolderTrouble, ProtocolError
from heapsyncd.server.accounts import Account, SignedIn
from heapsyncd.server.document_session import DocumentSession, Ticket, scope_of
from heapsyncd.server.door import Connection
from heapsyncd.server.outbox import Outbox
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Address
from heapsyncd.server.services import Services
from heapsyncd.wire import hocuspocus as hp

log = structlog.get_logger(__name__)

RESET, UNAUTHORIZED, TIMEOUT = 4205, 4401, 4408
GOING_AWAY, UNSUPPORTED, INTERNAL = 1001, 1003, 1011
_ASK_S, _ASK_SHARE = 45.0, 0.2
"""How long before it runs out a fresh token is asked for, or a share of a short life: later than
clients renew theirs by themselves.
"""
_LOOK_S = 30.0
"""How often tokens are looked at anyway: clocks jump, and machines sleep."""
CLOSE_S = 5.0
"""How long the client has to answer our closing."""
_LEFT_REMEMBERED = 20_000
_PING, _PONG = b"\x09", b"\x0a"
"""Newer servers and clients exchange these two without a document."""


class Socket:
    """One connection; ``run`` lives as long as it does."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        services: Services,
        address: str,
        connection: Connection,
    ) -> None:
        self._socket = socket
        self._s = services
        self._connection = connection
        self._tickets: dict[str, Ticket] = {}
        self._tokens: asyncio.TimerHandle | None = None
        self.address = address
        self.is_known = False
        """Whether somebody has shown a valid token here."""
        limits = services.limits
        self.outbox = Outbox(socket, limits.unsent_bytes, limits.unsent_max_bytes)
        self._seats: dict[str, DocumentSession] = {}
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
            for timer in (self._idle, self._tokens):
                if timer is not None:
                    timer.cancel()
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
        return account.id in self._tickets

    async def _read(self) -> None:
        async for message in self._socket:
            self._connection.read()
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
                if len(frame.document) > self._s.limits.name_chars:
                    raise ProtocolError("a document's name is too long")
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
            signed_in = self._s.accounts.signed_in(auth.token.reveal())
            self._know()
            place, scope = self._admit(address, signed_in.account)
        except Refusal as refusal:
            self._forget(address)
            self._remember_left(address)
            self.outbox.put(hp.encode(address, hp.PermissionDenied(refusal.message)))
            return
        self._left.pop(address, None)
        ticket = self._ticket(signed_in)
        seat = DocumentSession(self._s, self.outbox, address, place, ticket, scope, self._leave)
        self._seats[address] = seat
        seat.tell(hp.Authenticated(scope))
        seat.greet()
        for message in self._forget(address):
            if address in self._seats:
                await self._seated(seat, message)

    def _admit(self, address: str, account: Account) -> tuple[Address, str]:
        place = Address.parse(address)
        if place is None:
            raise Refusal(404, "not_found")
        # First: what is in a heap that one may not see is not told, nor whether anything is.
        self._s.heaps.readable(account, place.heap)
        known = self._s.documents.where(place.block)
        if known is None or known[0] != place.heap:
            raise Refusal(404, "not_found")
        if known[1] != place.sync_version:
            raise Refusal(409, f"stale: the current version is {known[1]}")
        if len(self._seats) >= self._s.limits.documents_per_socket:
            raise Refusal(429, "too many documents on one socket")
        return place, scope_of(self._s, account, place.heap)

    def _know(self) -> None:
        """The first valid token of a socket: from now on the large bounds hold."""
        if not self.is_known:
            self.is_known = True
            self._connection.bound(None)

    def _ticket(self, signed_in: SignedIn) -> Ticket:
        ticket = self._tickets.get(signed_in.account.id)
        if ticket is None:
            ticket = self._tickets[signed_in.account.id] = Ticket(signed_in)
            self._watch_tokens_in(0)
        ticket.renew(signed_in)
        return ticket

    def _watch_tokens_in(self, seconds: float) -> None:
        if self._tokens is not None:
            self._tokens.cancel()
        self._tokens = asyncio.get_running_loop().call_later(seconds, self._watch_tokens)

    def _watch_tokens(self) -> None:
        """Ask for fresh tokens in time; end the seats whose token has run out."""
        now_s, sleep_s = self._s.now_ms() / 1000, _LOOK_S
        had_seats = bool(self._seats)
        ask_s = min(_ASK_S, self._s.limits.access_ttl_s * _ASK_SHARE)
        for account, ticket in list(self._tickets.items()):
            left_s = ticket.signed_in.claims.expires_s - now_s
            seats = [s for s in self._seats.values() if s.ticket is ticket]
            if left_s <= 0 or not seats:
                del self._tickets[account]
                for seat in seats:
                    seat.check()
                continue
            if left_s <= ask_s:
                seats[0].tell(hp.TokenRequest())
            sleep_s = min(sleep_s, left_s - ask_s if left_s > ask_s else left_s / 3)
        if had_seats and not self._seats:
            self.close(RESET, "the token has expired")  # clients come again, with a fresh one
        self._watch_tokens_in(max(sleep_s, 0.05))

    def _renew(self, seat: DocumentSession, auth: hp.Auth) -> None:
        try:
            signed_in = self._s.accounts.signed_in(auth.token.reveal())
            if signed_in.account.id != seat.ticket.signed_in.account.id:
                raise Refusal(401, "the token is another account's")
            seat.ticket.renew(signed_in)
        except Refusal as refusal:
            seat.tell(hp.Close(f"unauthorized: {refusal.message}"))
            seat.end()

    async def _seated(self, seat: DocumentSession, message: hp.Message) -> None:
        seat.check()
        if seat.is_over:
            return
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
        most_bytes = limits.waiting_bytes
        if not self.is_known:
            most_bytes = min(most_bytes, limits.unsigned_bytes)
        self._waiting.setdefault(address, []).append(message)
        self._waiting_messages += 1
        self._waiting_bytes += size
        if (
            len(self._waiting) > limits.waiting_documents
            or self._waiting_messages > limits.waiting_messages
            or self._waiting_bytes > most_bytes
        ):
            self.close(RESET, "too much was sent before signing in")

    def _forget(self, address: str) -> list[hp.Message]:
        messages = self._waiting.pop(address, [])
        self._waiting_messages -= len(messages)
        if not self._waiting:
            self._waiting_bytes = 0
        return messages

    def _leave(self, seat: DocumentSession) -> None:
        if self._seats.pop(seat.address, None) is not None:
            self._remember_left(seat.address)
        if not self._seats:
            self._watch_idle()

    def _remember_left(self, address: str) -> None:
        self._left[address] = None
        if len(self._left) > self._s.limits.unsigned_names and not self.is_known:
            self.close(UNAUTHORIZED, "too many refused sign-ins")
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
