"""Track one socket of the live link as a state machine (PROTOCOL §6); no I/O, time is passed in.

Theory
======
The followed set outlives sockets (``following``); what was opened on a socket does not. On one
socket a followed block is

* *queued*: to be opened; ``batch`` hands it to the runner, which looks up version, state vector
  and token;
* *awaiting*: Auth and SyncStep1 were sent, together. At most ``WINDOW`` documents are in this
  state, because Hocuspocus 4 closes a socket on which more than 100 documents await their sign-in;
* *open*: Authenticated;
* *lost*: the server closed it (the name may be opened again) or denied it (the name is unusable on
  this socket: Hocuspocus 2 and 3 ignore a second Auth).

A document is opened again under the same name by sending Auth and SyncStep1 once more. That
synchronises an open one again, and revives one that Hocuspocus 2 closed without a message. After
our own Close a name rests until the server confirms it, or for ``REST_S`` on a server that never
does: an Auth that overtakes the server's clean-up would be lost with the old connection.

Signs of life of both sides are tracked by ``pulse``. What devices tell each other apart from the
documents is in ``announcements``.
"""

from collections import deque
from typing import Literal

from msgspec import Struct

from heapsyncd.errors import ProtocolError, Unreachable
from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.announcements import Announcements
from heapsyncd.wire.lib0 import Reader
from heapsyncd.wire.pulse import DEAD_S, Pulse
from heapsyncd.wire.scalars import document_name
from heapsyncd.wire.values import (
    LiveAnnounced,
    LiveAsked,
    LiveEvent,
    LiveLost,
    LiveSynced,
    LiveUpdate,
)

WINDOW = 50
"""The most documents that await their sign-in."""
REST_S, HOPELESS_S = 2.0, 5.0
EMPTY_UPDATE = b"\0\0"  # a v1 update without structs and deletions


class _Document(Struct):
    block: BlockId
    sync_version: int
    authenticated: bool = False


class LiveLink:
    """The state of one socket and of the documents of one heap on it.

    Args:
        heap_id: whose documents.
        now_s: when the socket was opened.
    """

    def __init__(self, heap_id: HeapId, now_s: float) -> None:
        self._heap = heap_id
        self.pulse = Pulse(now_s)
        self._announcements = Announcements()
        self._queue: dict[BlockId, None] = {}
        self._handed: set[BlockId] = set()
        self._documents: dict[str, _Document] = {}
        self._names: dict[BlockId, str] = {}
        self._awaiting: dict[str, float] = {}
        self._answered_s = now_s
        """When the server last answered for any document."""
        self._denied: set[str] = set()
        self._resting: dict[str, float] = {}
        self._later: dict[BlockId, float] = {}
        self._asked_for_token: set[str] = set()
        self._out: deque[bytes] = deque()
        self._hopeless_since_s: float | None = None
        self.served = False
        """Whether the server opened any document for us."""
        self.listening = True
        """False while the reader does not read: then the silence is caused by us."""

    # Opening documents

    def queue(self, block: BlockId) -> None:
        """Queue a block to be opened, or to be opened again."""
        self._queue[block] = None

    def batch(self) -> list[BlockId]:
        """Return blocks to open now, as many as the window allows.

        The caller must pass each of them to ``open`` or ``skip``. The window is refilled when half
        empty, so that the data for many blocks is looked up at once.
        """
        busy = len(self._awaiting) + len(self._handed)
        if busy > WINDOW // 2:
            return []
        blocks = [block for block, _ in zip(self._queue, range(WINDOW - busy), strict=False)]
        for block in blocks:
            del self._queue[block]
            self._handed.add(block)
        return blocks

    def skip(self, block: BlockId, now_s: float) -> None:
        """Drop a block of a batch that cannot be opened."""
        self._handed.discard(block)
        self._close(block, now_s)

    def open(
        self, block: BlockId, sync_version: int, state_vector: bytes, token: Token, now_s: float
    ) -> None:
        """Send what opens the document of a block of a batch; ignored if it was left meanwhile."""
        name = document_name(self._heap, block, sync_version)
        if block not in self._handed:
            return
        self._handed.discard(block)
        if self._names.get(block) != name:
            self._close(block, now_s)
        if name in self._denied:
            return
        if now_s < self._resting.get(name, now_s):
            self._later[block] = self._resting[name]
            return
        self._resting.pop(name, None)
        known = self._documents.get(name)
        self._documents[name] = known or _Document(block, sync_version)
        self._names[block] = name
        self._awaiting[name] = now_s
        self._send(name, hp.Auth(token), now_s)
        self._send(name, hp.SyncStep1(state_vector), now_s)

    def leave(self, block: BlockId, now_s: float) -> None:
        """Stop following a block."""
        self._queue.pop(block, None)
        self._later.pop(block, None)
        self._handed.discard(block)
        self._close(block, now_s)

    def _close(self, block: BlockId, now_s: float) -> None:
        name = self._names.get(block)
        if name is not None:
            self._forget(name)
            self._send(name, hp.Close("left"), now_s)
            self._resting[name] = now_s + REST_S

    def _forget(self, name: str) -> None:
        document = self._documents.pop(name)
        del self._names[document.block]
        self._awaiting.pop(name, None)
        self._asked_for_token.discard(name)

    @property
    def denied(self) -> bool:
        """Whether the server has denied any document."""
        return bool(self._denied)

    # Sending

    def answer(self, block: BlockId, update: bytes, now_s: float) -> None:
        """Send what the server lacks; ignored when the block is not open."""
        self._send_if_open(block, hp.SyncStep2(update), now_s)

    def update(self, block: BlockId, update: bytes, now_s: float) -> None:
        """Send a change; ignored when the block is not open."""
        self._send_if_open(block, hp.Update(update), now_s)

    def announce(self, block: BlockId, now_s: float) -> None:
        """Have the others who follow a block ask the delta feed; ignored when it is not open."""
        if self.is_open(block):
            self._send_if_open(block, hp.Awareness(self._announcements.announce()), now_s)

    def is_open(self, block: BlockId) -> bool:
        """Whether the server tells every change of a block."""
        name = self._names.get(block)
        return name is not None and self._documents[name].authenticated

    def _send_if_open(self, block: BlockId, message: hp.Message, now_s: float) -> None:
        if self.is_open(block):
            self._send(self._names[block], message, now_s)

    @property
    def wants_token(self) -> bool:
        """Whether the server asked for a fresh token."""
        return bool(self._asked_for_token)

    def renew(self, token: Token, now_s: float) -> None:
        """Answer the server's requests for a fresh token."""
        for name in sorted(self._asked_for_token):
            self._send(name, hp.Auth(token), now_s)
        self._asked_for_token.clear()

    def _send(self, name: str, message: hp.Message, now_s: float) -> None:
        self._out.append(hp.encode(name, message))
        self.pulse.sent(now_s)

    def outgoing(self) -> list[bytes]:
        """Take the messages to send now, in order."""
        messages = list(self._out)
        self._out.clear()
        return messages

    # Receiving

    def receive(self, data: bytes, now_s: float) -> list[LiveEvent]:
        """Process one binary message; returns the events.

        Raises:
            ProtocolError: it names no document; the socket can't be trusted any more.
        """
        self.pulse.heard(now_s)
        name = Reader(data).var_string()
        document = self._documents.get(name)
        if document is None:
            self._stray(name, data)
            return []
        try:
            message = hp.decode(data).message
        except ProtocolError as error:
            self._close(document.block, now_s)
            return [LiveLost(document.block, "closed", f"a malformed message: {error}")]
        return self._handle(name, document, message, now_s)

    def _stray(self, name: str, data: bytes) -> None:
        # Late messages of a document that we left are expected. Its Close frees the name.
        try:
            if isinstance(hp.decode(data).message, hp.Close):
                self._resting.pop(name, None)
        except ProtocolError:
            pass

    def _handle(
        self, name: str, document: _Document, message: hp.Message, now_s: float
    ) -> list[LiveEvent]:
        block = document.block
        if name in self._awaiting:
            self._answered_s = now_s
        match message:
            case hp.Authenticated():
                document.authenticated = self.served = True
                self._awaiting.pop(name, None)
            case hp.PermissionDenied(reason):
                return [self._lose(name, "denied", reason)]
            case hp.Close(reason):
                return [self._lose(name, "closed", reason)]
            case hp.SyncStep1(state_vector):
                return [LiveAsked(block, document.sync_version, state_vector)]
            case hp.SyncStep2(update):
                self._awaiting.pop(name, None)
                return [*self._updated(document, update), LiveSynced(block)]
            case hp.Update(update):
                return self._updated(document, update)
            case hp.TokenRequest():
                self._asked_for_token.add(name)
            case hp.Awareness(update) if self._announcements.is_news(update):
                return [LiveAnnounced()]
        return []

    @staticmethod
    def _updated(document: _Document, update: bytes) -> list[LiveEvent]:
        if update == EMPTY_UPDATE:
            return []
        return [LiveUpdate(document.block, document.sync_version, update)]

    def _lose(self, name: str, reason: Literal["denied", "closed"], text: str) -> LiveLost:
        block = self._documents[name].block
        self._forget(name)
        if reason == "denied":
            self._denied.add(name)
        return LiveLost(block, reason, text)

    # Time

    def tick(self, now_s: float) -> list[LiveEvent]:
        """Do what is due; returns the events.

        Raises:
            Unreachable: the socket is dead, or nothing can be followed on it; drop it.
        """
        if not self.listening:
            self.pulse.heard(now_s)
            self._awaiting = dict.fromkeys(self._awaiting, now_s)
        self.pulse.check(now_s)
        self._check_hope(now_s)
        for block in [b for b, at_s in self._later.items() if now_s >= at_s]:
            del self._later[block]
            self.queue(block)
        if self.pulse.keep_alive_due(now_s):
            self._keep_alive(now_s)
        return self._give_up(now_s)

    def _check_hope(self, now_s: float) -> None:
        # Servers close a socket without documents: close it before they do.
        if len(self._denied) >= WINDOW and not self.served:
            raise Unreachable("the server denies every document")
        if self._documents or self._queue or self._handed or self._later:
            self._hopeless_since_s = None
        elif self._hopeless_since_s is None:
            self._hopeless_since_s = now_s
        elif now_s - self._hopeless_since_s >= HOPELESS_S:
            raise Unreachable("the server follows none of the documents")

    def _keep_alive(self, now_s: float) -> None:
        self.pulse.sent(now_s)
        for name, document in self._documents.items():
            if document.authenticated:
                self._send(name, hp.QueryAwareness(), now_s)
                return

    def _give_up(self, now_s: float) -> list[LiveEvent]:
        # A server with much to do answers late, one document after the other: as long as it does,
        # the rest is only waiting for its turn.
        if now_s - self._answered_s < DEAD_S:
            return []
        late = [name for name, since_s in self._awaiting.items() if now_s - since_s >= DEAD_S]
        return [self._lose(name, "denied", "the server did not answer") for name in late]

    def next_tick_s(self, now_s: float) -> float:
        """Return the seconds until ``tick`` or ``pulse`` has something to do at the latest."""
        due_s = [self.pulse.next_s(), *self._later.values()]
        due_s += [
            max(since_s, self._answered_s) + DEAD_S
            for since_s in list(self._awaiting.values())[:1]
        ]
        if not self._documents:
            due_s.append((self._hopeless_since_s or now_s) + HOPELESS_S)
        return max(min(due_s) - now_s, 0.05)
