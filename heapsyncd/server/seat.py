"""One socket's place at one document (PROTOCOL §6)."""

import asyncio
from collections.abc import Callable

import structlog

from heapsyncd.document.updates import vector_of
from heapsyncd.errors import ProtocolError, UnreadableDocument
from heapsyncd.server import awareness, data, feed
from heapsyncd.server.held import Batch, judge
from heapsyncd.server.input import is_state_vector
from heapsyncd.server.outbox import Outbox
from heapsyncd.server.rooms import Address
from heapsyncd.server.services import Services
from heapsyncd.wire import hocuspocus as hp

log = structlog.get_logger(__name__)


class Seated:
    """A signed-in document of a socket.

    Args:
        services: the server.
        outbox: the socket's.
        address: the document name as the client writes it; answers carry it too.
        place: what it names.
        account_id: who signed in.
        scope: "read-write" or "readonly".
        left: called once, when the seat has ended.
    """

    def __init__(
        self,
        services: Services,
        outbox: Outbox,
        address: str,
        place: Address,
        account_id: str,
        scope: str,
        left: Callable[["Seated"], None],
    ) -> None:
        self._s = services
        self._outbox = outbox
        self._place = place
        self._scope = scope
        self._left = left
        self._over = False
        self._unsaved_bytes = 0
        self.address = address
        self.account_id = account_id
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

    def greet(self, *, always: bool = False) -> None:
        """Say who else is here; a newcomer is told only when there is somebody."""
        if always or self._room.presence:
            self.tell(hp.Awareness(awareness.encode(self._room.presence.states())))

    def present(self, update: bytes) -> None:
        """Pass on what the client says of itself; ProtocolError when it is no awareness."""
        if len(update) > self._s.limits.awareness_bytes:
            raise ProtocolError("an awareness message is too large")
        news = self._room.presence.merge(awareness.decode(update), self)
        if news:
            self._room.tell(hp.Awareness(awareness.encode(news)), but=self)

    async def answer(self, step1: hp.SyncStep1) -> None:
        """Send what the client lacks, and ask for what we lack; from what is committed."""
        if not is_state_vector(step1.state_vector):
            raise ProtocolError("a SyncStep1 without a state vector")
        block = self._place.block
        stored = (await self._s.db.read(lambda tx: data.stored(tx, [block])))[block]
        if self._over or stored.sync_version != self._place.sync_version:
            return  # compacted meanwhile: its Close is on the way
        try:
            vector = vector_of([feed.state_of(stored)])
            lacking = feed.difference(stored, step1.state_vector)
        except UnreadableDocument as error:
            log.warning("a document can't be read", block=block, reason=str(error))
            self.tell(hp.Close("its document can't be read"))
            self.end()
            return
        if not step1.reply:
            self.tell(hp.SyncStep1(vector))
        self.tell(hp.SyncStep2(lacking))

    async def take(self, message: hp.SyncStep2 | hp.Update) -> None:
        """Apply a change and say whether it is on the disk.

        Waits only when much is under way already: what a client sends faster than the disk takes
        it must not pile up.
        """
        done = self._s.documents.change(
            [self._place.block], lambda batch: self._judge(batch, message)
        )
        size = len(message.update)
        self._unsaved_bytes += size
        done.add_done_callback(lambda future: self._saved(future, size))
        if self._unsaved_bytes > self._s.limits.waiting_bytes:
            await asyncio.wait([done])

    def _judge(self, batch: Batch, message: hp.SyncStep2 | hp.Update) -> bool:
        held = batch.get(self._place.block)
        if held is None or held.sync_version != self._place.sync_version:
            return False
        if self._scope != "read-write":
            # A client with nothing new answers our SyncStep1 too: that is no refusal.
            return isinstance(message, hp.SyncStep2) and held.contains(message.update)
        return judge(batch, held, message.update, self)

    def _saved(self, done: "asyncio.Future[bool]", size: int) -> None:
        self._unsaved_bytes -= size
        if done.cancelled() or self._over:
            return
        error = done.exception()
        if error is not None:
            log.warning("a live change could not be stored", reason=str(error))
        self.tell(hp.SyncStatus(saved=error is None and done.result()))
