"""Serve one WebSocket: many documents, each signed in to on its own (PROTOCOL §6).

Messages are handled in the order they arrive. Changes are passed to ``documents`` without waiting,
and answered with SyncStatus once they are committed. The states of a document on a socket::

    unknown --Auth ok--> open --Close, compaction--> left
    unknown --Auth refused--> left         left --Auth ok--> open

Messages of an unknown document wait for its Auth, within bounds. Those of a left document are
dropped: they were sent before the client knew that it was refused or closed.

A session depends on a token. Before the token expires the client is asked for another one; one
token renews all sessions of its account on the socket. Without one they end, as they do when
rights change.
"""

import asyncio
from collections import OrderedDict
from typing import assert_never

import structlog
from aiohttp import WSMsgType, web

from heapsyncd.errors import FolderTrouble, ProtocolError
from heapsyncd.server.accounts import Account, SignedIn
from heapsyncd.server.connections import Connection
from heapsyncd.server.document_session import DocumentSession, Ticket, scope_of
from heapsyncd.server.outbox import Outbox
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Address
from heapsyncd.server.services import Services
from heapsyncd.wire import hocuspocus as hp

log = structlog.get_logger(__name__)

RESET, UNAUTHORIZED, TIMEOUT = 4205, 4401, 4408
GOING_AWAY, UNSUPPORTED, INTERNAL = 1001, 1003, 1011
_ASK_S, _ASK_SHARE = 45.0, 0.2
"""How long before its expiry a fresh token is requested, or the share of a short life: later than
clients renew theirs by themselves.
"""
_CHECK_S = 30.0
"""How often tokens are checked anyway, because clocks jump and machines sleep."""
CLOSE_S = 5.0
"""How long the client has to answer our close."""
_LEFT_REMEMBERED = 20_000
_PING, _PONG = b"\x09", b"\x0a"
"""Newer servers and clients exchange these two without a document."""


class Socket:
    """One connection; ``run`` lasts as long as it does."""

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
        """Whether a valid token was presented on this socket."""
        limits = services.limits
        self.outbox = Outbox(socket, limits.unsent_bytes, limits.unsent_max_bytes)
        self._sessions: dict[str, DocumentSession] = {}
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
            for session in list(self._sessions.values()):
                session.end()
            for timer in (self._idle, self._tokens):
                if timer is not None:
                    timer.cancel()
            for task in (sender, overrun, reader):
                task.cancel()
            await asyncio.gather(sender, overrun, reader, return_exceptions=True)
        if reader.done() and not reader.cancelled() and (error := reader.exception()) is not None:
            raise error

    def close(self, code: int, reason: str) -> None:
        """Close the connection once the queue is sent."""
        self.outbox.finish(code, reason)

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
                log.warning("live client can't be served", reason=str(error))
                self.close(INTERNAL, "the server's disk has trouble")

    async def _handle(self, address: str, message: hp.Message, size: int) -> None:
        session = self._sessions.get(address)
        if isinstance(message, hp.Auth):
            if session is None:
                await self._sign_in(address, message)
            else:
                self._renew(session, message)
        elif session is not None:
            await self._handle_open(session, message)
        elif address not in self._left:
            self._keep_waiting(address, message, size)

    async def _sign_in(self, address: str, auth: hp.Auth) -> None:
        try:
            signed_in = self._s.accounts.signed_in(auth.token.reveal())
            self._mark_known()
            place, scope = self._admit(address, signed_in.account)
        except Refusal as refusal:
            self._take_waiting(address)
            self._remember_left(address)
            self.outbox.put(hp.encode(address, hp.PermissionDenied(refusal.message)))
            return
        self._left.pop(address, None)
        ticket = self._ticket(signed_in)
        session = DocumentSession(self._s, self.outbox, address, place, ticket, scope, self._leave)
        self._sessions[address] = session
        session.send(hp.Authenticated(scope))
        session.send_presence()
        for message in self._take_waiting(address):
            if address in self._sessions:
                await self._handle_open(session, message)

    def _admit(self, address: str, account: Account) -> tuple[Address, str]:
        place = Address.parse(address)
        if place is None:
            raise Refusal(404, "not_found")
        # Checked first, so that nothing shows of a heap that the account may not see.
        self._s.heaps.readable(account, place.heap)
        known = self._s.documents.where(place.block)
        if known is None or known[0] != place.heap:
            raise Refusal(404, "not_found")
        if known[1] != place.sync_version:
            raise Refusal(409, f"stale: the current version is {known[1]}")
        if len(self._sessions) >= self._s.limits.documents_per_socket:
            raise Refusal(429, "too many documents on one socket")
        return place, scope_of(self._s, account, place.heap)

    def _mark_known(self) -> None:
        """Apply the larger bounds, after the first valid token."""
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
        """Request fresh tokens in time, and end sessions whose token has expired."""
        now_s, sleep_s = self._s.now_ms() / 1000, _CHECK_S
        had_sessions = bool(self._sessions)
        ask_s = min(_ASK_S, self._s.limits.access_ttl_s * _ASK_SHARE)
        for account, ticket in list(self._tickets.items()):
            left_s = ticket.signed_in.claims.expires_s - now_s
            sessions = [s for s in self._sessions.values() if s.ticket is ticket]
            if left_s <= 0 or not sessions:
                del self._tickets[account]
                for session in sessions:
                    session.recheck_rights()
                continue
            if left_s <= ask_s:
                sessions[0].send(hp.TokenRequest())
            sleep_s = min(sleep_s, left_s - ask_s if left_s > ask_s else left_s / 3)
        if had_sessions and not self._sessions:
            self.close(RESET, "the token has expired")  # clients reconnect with a fresh one
        self._watch_tokens_in(max(sleep_s, 0.05))

    def _renew(self, session: DocumentSession, auth: hp.Auth) -> None:
        try:
            signed_in = self._s.accounts.signed_in(auth.token.reveal())
            if signed_in.account.id != session.ticket.signed_in.account.id:
                raise Refusal(401, "the token is another account's")
            session.ticket.renew(signed_in)
        except Refusal as refusal:
            session.send(hp.Close(f"unauthorized: {refusal.message}"))
            session.end()

    async def _handle_open(self, session: DocumentSession, message: hp.Message) -> None:
        session.recheck_rights()
        if session.is_over:
            return
        match message:
            case hp.SyncStep1():
                await session.answer(message)
            case hp.SyncStep2() | hp.Update():
                await session.take(message)
            case hp.Awareness(update):
                session.share_presence(update)
            case hp.QueryAwareness():
                session.send_presence(always=True)
            case hp.Close():
                session.send(hp.Close("provider_initiated"))
                session.end()
            case hp.Ping():
                session.send(hp.Pong())
            case hp.Stateless() | hp.SyncStatus() | hp.Pong() | hp.Unknown():
                pass
            case hp.Auth() | hp.TokenRequest() | hp.PermissionDenied() | hp.Authenticated():
                pass
            case _:
                assert_never(message)

    def _keep_waiting(self, address: str, message: hp.Message, size: int) -> None:
        """Keep a message until its document's Auth arrives, within bounds."""
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

    def _take_waiting(self, address: str) -> list[hp.Message]:
        messages = self._waiting.pop(address, [])
        self._waiting_messages -= len(messages)
        if not self._waiting:
            self._waiting_bytes = 0
        return messages

    def _leave(self, session: DocumentSession) -> None:
        if self._sessions.pop(session.address, None) is not None:
            self._remember_left(session.address)
        if not self._sessions:
            self._watch_idle()

    def _remember_left(self, address: str) -> None:
        self._left[address] = None
        if len(self._left) > self._s.limits.unsigned_names and not self.is_known:
            self.close(UNAUTHORIZED, "too many refused sign-ins")
        while len(self._left) > _LEFT_REMEMBERED:
            self._left.popitem(last=False)

    def _watch_idle(self) -> None:
        """Close the socket after a while without any document."""
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self._s.limits.idle_s, self._end_idle)

    def _end_idle(self) -> None:
        if not self._sessions:
            self.close(TIMEOUT, "no document is open")
