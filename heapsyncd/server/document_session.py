"""One socket's place at one document (PROTOCOL §6)."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from heapsyncd.errors import ProtocolError, UnreadableDocument
from heapsyncd.ids import HeapId
from heapsyncd.server import awareness, data, feed
from heapsyncd.server.accounts import Account, SignedIn
from heapsyncd.server.loaded_documents import Batch, judge
from heapsyncd.server.outbox import Outbox
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.rooms import Address
from heapsyncd.server.services import Services
from heapsyncd.wire import hocuspocus as hp

log = structlog.get_logger(__name__)
READ_WRITE = "read-write"
_SCOPES = {"rw": READ_WRITE, "ro": "readonly", "none": ""}
_numbers = itertools.count(1)


@dataclass(slots=True)
class Ticket:
    """What all seats of an account on one socket stand on; a newer token renews it."""

    signed_in: SignedIn

    def renew(self, signed_in: SignedIn) -> None:
        """Take a token of the same account, unless it runs out earlier."""
        if signed_in.claims.expires_s >= self.signed_in.claims.expires_s:
            self.signed_in = signed_in


class DocumentSession:
    """A signed-in document of a socket.

    Args:
        services: the server.
        outbox: the socket's.
        address: the document name as the client writes it; answers carry it too.
        place: what it names.
        ticket: who signed in, and until when.
        scope: "read-write" or "readonly".
        left: called once, when the seat has ended.
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

    def tell(self, message: hp.Message) -> None:
        """Send a message about the document."""
        self._outbox.put(hp.encode(self.address, message))

    def end(self) -> None:
        """Give the seat up; ending twice is harmless."""
        if not self._over:
            self._over = True
            self._s.rooms.leave(self._place.block, self._place.sync_version, self)
            self._left(self)

    def check(self) -> None:
        """End the seat when the rights that it was taken with are gone, or others now."""
        if self._over:
            return
        try:
            account = self._s.accounts.entitled(self.ticket.signed_in.claims)
        except Refusal as refusal:
            self._send_away(f"unauthorized: {refusal.message}")
            return
        if scope_of(self._s, account, self._place.heap) != self._scope:
            self._send_away("forbidden: the rights in this heap have changed")

    def _send_away(self, reason: str) -> None:
        self.tell(hp.Close(reason))
        self.end()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over

    def greet(self, *, always: bool = False) -> None:
        """Say who else is here; a newcomer is told only when there is somebody."""
        if always or self._room.presence:
            self.tell(hp.Awareness(awareness.encode(self._room.presence.states())))

    def present(self, update: bytes) -> None:
        """Pass on what the client says of itself; ProtocolError when it is no awareness."""
        limits = self._s.limits
        if len(update) > limits.awareness_room_bytes:
            raise ProtocolError("an awareness message is too large")
        states = awareness.decode(update, limits.awareness_state_bytes)
        news = self._room.presence.merge(states, self, self._outbox)
        if news:
            self._room.tell(hp.Awareness(awareness.encode(news)), but=self.number)

    async def answer(self, step1: hp.SyncStep1) -> None:
        """Send what the client lacks, and ask for what we lack; from what is committed."""
        try:
            vector = feed.usable(step1.state_vector, self._s.limits)
        except Refusal as refusal:
            raise ProtocolError("a SyncStep1 without a state vector") from refusal
        block = self._place.block
        stored = (await self._s.db.read(lambda tx: data.stored(tx, [block])))[block]
        try:
            ours, lacking = await self._s.apart.work(stored.size, feed.met, stored, vector)
        except UnreadableDocument as error:
            # Stored by a version that took it in.
            log.warning("a document can't be read", block=block, reason=str(error))
            self.tell(hp.Close("its document can't be read"))
            self.end()
            return
        if self._over or stored.sync_version != self._place.sync_version:
            return  # compacted meanwhile: its Close is on the way
        if not step1.reply:
            self.tell(hp.SyncStep1(ours))
        self.tell(hp.SyncStep2(lacking))

    async def take(self, message: hp.SyncStep2 | hp.Update) -> None:
        """Apply a change and say whether it is on the disk.

        Waits only when much is under way already: what a client sends faster than the disk takes
        it must not pile up.
        """
        size = len(message.update)
        is_answer = isinstance(message, hp.SyncStep2)
        taken = _Taken(self._place, self._scope, message.update, is_answer, self.number)
        done = self._s.documents.change(self._place.block, partial(_judged, taken), size)
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
            log.warning("a live change could not be stored", reason=str(error))
        self.tell(hp.SyncStatus(saved=error is None and done.result()))


@dataclass(frozen=True, slots=True)
class _Taken:
    """A change as it came over a seat."""

    place: Address
    scope: str
    update: bytes
    is_answer: bool
    seat: int


def _judged(taken: _Taken, batch: Batch) -> bool:
    held = batch.get(taken.place.block)
    if held is None or held.sync_version != taken.place.sync_version:
        return False
    if taken.scope != READ_WRITE:
        # A client with nothing new answers our SyncStep1 too: that is no refusal.
        return taken.is_answer and held.contains(taken.update)
    return judge(batch, held, taken.update, taken.seat)


def scope_of(services: Services, account: Account, heap_id: HeapId) -> str:
    """What an account may do with a heap's documents, in the protocol's words; "" nothing."""
    return _SCOPES[services.heaps.access(account, heap_id)]
