"""Serve one document on one socket (PROTOCOL §6)."""

import asyncio
import itertools
from collections.abc import Callable
from functools import partial

import structlog
from msgspec import Struct

from heapsyncd.errors import ProtocolError, UnreadableDocument
from heapsyncd.ids import HeapId
from heapsyncd.server import data, feed
from heapsyncd.server.accounts import Account, SignedIn
from heapsyncd.server.loaded_documents import Batch, try_apply
from heapsyncd.server.outbox import Outbox
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Address
from heapsyncd.server.services import Services
from heapsyncd.wire import awareness
from heapsyncd.wire import hocuspocus as hp

log = structlog.get_logger(__name__)
READ_WRITE = "read-write"
_SCOPES = {"rw": READ_WRITE, "ro": "readonly", "none": ""}
_numbers = itertools.count(1)


class Ticket(Struct):
    """The token that all sessions of an account on one socket depend on; a newer one renews it."""

    signed_in: SignedIn

    def renew(self, signed_in: SignedIn) -> None:
        """Take a token of the same account, unless it expires earlier."""
        if signed_in.claims.expires_s >= self.signed_in.claims.expires_s:
            self.signed_in = signed_in


class DocumentSession:
    """A document that was signed in to on a socket.

    Args:
        services: the server.
        outbox: the socket's.
        address: the document name as the client writes it; answers use it, too.
        place: what it names.
        ticket: who signed in, and until when.
        scope: "read-write" or "readonly".
        left: called once, when the session has ended.
    """

    def __init__(
        self,
        services: Services,
        outbox: Outbox,
        address: str,
        place: Address,
        ticket: Ticket,
        scope: str,
        left: Callable[["DocumentSession"], None],
    ) -> None:
        self._s = services
        self._outbox = outbox
        self._place = place
        self._scope = scope
        self._left = left
        self._over = False
        self._unsaved_bytes = 0
        self.number = next(_numbers)
        self.address = address
        self.ticket = ticket
        self._room = services.rooms.join(place.block, place.sync_version, self)

    def send(self, message: hp.Message) -> None:
        """Send a message about the document."""
        self._outbox.put(hp.encode(self.address, message))

    def end(self) -> None:
        """End the session; repeating it is harmless."""
        if not self._over:
            self._over = True
            self._s.rooms.leave(self._place.block, self._place.sync_version, self)
            self._left(self)

    def recheck_rights(self) -> None:
        """End the session if the rights it was opened with were lost or changed."""
        if self._over:
            return
        try:
            account = self._s.accounts.entitled(self.ticket.signed_in.claims)
        except Refusal as refusal:
            self._close_because(f"unauthorized: {refusal.message}")
            return
        if scope_of(self._s, account, self._place.heap) != self._scope:
            self._close_because("forbidden: the rights in this heap have changed")

    def _close_because(self, reason: str) -> None:
        self.send(hp.Close(reason))
        self.end()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over

    def send_presence(self, *, always: bool = False) -> None:
        """Send who else is here; unless ``always``, only if there is somebody."""
        if always or self._room.presence:
            self.send(hp.Awareness(awareness.encode(self._room.presence.states())))

    def share_presence(self, update: bytes) -> None:
        """Pass on the client's awareness update; ProtocolError when it is not one."""
        limits = self._s.limits
        if len(update) > limits.awareness_room_bytes:
            raise ProtocolError("an awareness message is too large")
        states = awareness.decode(update, limits.awareness_state_bytes)
        news = self._room.presence.merge(states, self, self._outbox)
        if news:
            self._room.send(hp.Awareness(awareness.encode(news)), but=self.number)

    async def answer(self, step1: hp.SyncStep1) -> None:
        """Answer a SyncStep1 from what is committed: what the client lacks, and our SyncStep1."""
        try:
            vector = feed.usable_vector(step1.state_vector, self._s.limits)
        except Refusal as refusal:
            raise ProtocolError("a SyncStep1 without a state vector") from refusal
        block = self._place.block
        stored = (await self._s.db.read(lambda tx: data.stored(tx, [block])))[block]
        try:
            ours, lacking = await self._s.large_documents.work(
                stored.size, feed.sync_reply, stored, vector
            )
        except UnreadableDocument as error:
            # It was stored by a version that accepted it.
            log.warning("document can't be read", block=block, reason=str(error))
            self.send(hp.Close("the document can't be read"))
            self.end()
            return
        if self._over or stored.sync_version != self._place.sync_version:
            return  # compacted meanwhile; the Close is already queued
        if not step1.reply:
            self.send(hp.SyncStep1(ours))
        self.send(hp.SyncStep2(lacking))

    async def take(self, message: hp.SyncStep2 | hp.Update) -> None:
        """Apply a change, and report with SyncStatus once it is on the disk.

        Waits only while many changes are unsaved, so that a client can't send faster than the disk
        writes.
        """
        size = len(message.update)
        is_answer = isinstance(message, hp.SyncStep2)
        received = _Received(self._place, self._scope, message.update, is_answer, self.number)
        done = self._s.documents.change(
            self._place.block, partial(_apply_received, received), size
        )
        self._unsaved_bytes += size
        done.add_done_callback(lambda future: self._saved(future, size))
        if self._unsaved_bytes > self._s.limits.waiting_bytes:
            await asyncio.wait([done])

    def _saved(self, done: "asyncio.Future[bool]", size: int) -> None:
        self._unsaved_bytes -= size
        if done.cancelled() or self._over:
            return
        error = done.exception()
        if error is not None:
            log.warning("live change not stored", reason=str(error))
        self.send(hp.SyncStatus(saved=error is None and done.result()))


class _Received(Struct, frozen=True):
    """A change as it was received."""

    place: Address
    scope: str
    update: bytes
    is_answer: bool
    seat: int


def _apply_received(received: _Received, batch: Batch) -> bool:
    held = batch.get(received.place.block)
    if held is None or held.sync_version != received.place.sync_version:
        return False
    if received.scope != READ_WRITE:
        # A client with nothing new also answers our SyncStep1; that must not be refused.
        return received.is_answer and held.contains(received.update)
    return try_apply(batch, held, received.update, received.seat)


def scope_of(services: Services, account: Account, heap_id: HeapId) -> str:
    """Return an account's rights in a heap, in the protocol's words; "" for none."""
    return _SCOPES[services.heaps.access(account, heap_id)]
