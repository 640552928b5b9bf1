"""What ``sync/`` may ask of a server, whatever its kind.

Every call may raise ``Unreachable``, ``TooFast`` or ``ServerTrouble`` (try later),
``SignInRefused`` (the account), ``ProtocolError`` or ``NotHeaper`` (the server),
``RequestRefused`` (this request). Nothing is retried inside but the sign-in: the caller knows
what else there is to do meanwhile. All calls may run concurrently.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self

from heapsyncd.backoff import Contact
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import (
    BlockKind,
    BlockRow,
    ChangePage,
    FileEntry,
    Heap,
    PullAnswer,
    PullAsk,
    Push,
    PushResult,
)
from heapsyncd.wire.values import (
    FileChanged,
    LiveAsked,
    LiveConnected,
    LiveDisconnected,
    LiveEvent,
    LiveLost,
    LiveSynced,
    LiveUpdate,
    UploadSource,
)

__all__ = [
    "MAX_PUSH_UPDATE_BYTES",
    "Backend",
    "FileChanged",
    "LiveAsked",
    "LiveConnected",
    "LiveDisconnected",
    "LiveEvent",
    "LiveFeed",
    "LiveLost",
    "LiveSynced",
    "LiveUpdate",
    "Opening",
    "UploadProgress",
    "UploadSource",
]

Opening = Callable[[Sequence[BlockId]], Awaitable[Mapping[BlockId, tuple[int, bytes]]]]
"""The current (sync_version, state vector) of each block, asked for whenever documents are
(re)opened.

A block that is left out of the answer is not opened. The empty document's state vector is
``b"\\0"``."""

MAX_PUSH_UPDATE_BYTES = 6_000_000
"""The largest update a push takes (8 MiB of body, in base64); a larger one goes over the live
feed.
"""

UploadProgress = Callable[[int, int], None]
"""Called with (bytes the server has, bytes in all)."""


class LiveFeed(Protocol):
    """Changes as they happen, over one socket that is kept open while anything is followed.

    Connecting, reconnecting and tokens are the feed's own business. Iterating waits for the next
    event and raises only what makes going on senseless. The queue is bounded: a slow reader
    pauses the socket.
    """

    @property
    def connected(self) -> bool:
        """Whether a socket is open now."""

    def follow(self, blocks: Iterable[BlockId]) -> None:
        """Set the whole wanted set; what is new is opened, what is absent is left."""

    def reopen(self, block: BlockId) -> None:
        """Open a followed block anew: its ``sync_version`` changed, or it was closed.

        A version the server denied is not tried again on the same socket; another one is.
        """

    def answer(self, block: BlockId, update: bytes) -> None:
        """Send what the server lacks, after ``LiveAsked``; dropped when the block is not open."""

    def send(self, block: BlockId, update: bytes) -> None:
        """Send an update that is too large to push; dropped when the block is not open."""

    def __aiter__(self) -> AsyncIterator[LiveEvent]:
        """The events, in order."""

    def at_hand(self) -> LiveEvent | None:
        """The next event if it is here already, None otherwise: what came in a burst is taken
        together.
        """


class Backend(Protocol):
    """One account at one server; an async context manager that owns the connections.

    ``contact``: told of every sign of life of the server, over whatever call or socket.
    """

    contact: Contact

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def sign_in(self) -> None:
        """Make sure the account is accepted; does nothing when it is signed in already."""

    async def renew(self) -> None:
        """Give every connection up, because the machine was suspended or has another network:
        what waits for an answer fails with ``Unreachable``, or is asked for again.
        """

    async def heaps(self) -> list[Heap]:
        """All heaps the account can see."""

    def rows(self, heap_id: HeapId) -> AsyncIterator[list[BlockRow]]:
        """The rows of all live blocks, page by page; a block that changes meanwhile may be
        missed or repeated.
        """

    async def row(self, heap_id: HeapId, block: BlockId) -> BlockRow | None:
        """One block's row; None when the server does not know it."""

    async def changes(self, heap_id: HeapId, cursor_ms: int) -> ChangePage:
        """One page of the delta feed from ``cursor_ms`` (0: everything)."""

    async def pull(self, heap_id: HeapId, asks: Sequence[PullAsk]) -> PullAnswer:
        """One request; what was asked and is in neither part of the answer did not fit: ask
        again.
        """

    async def push(self, heap_id: HeapId, pushes: Sequence[Push]) -> list[PushResult]:
        """Push updates, in as many requests as the limits need; results in the order of
        ``pushes``.

        An update too large for any request gets ``RequestRefused`` 413 before anything is sent:
        use ``LiveFeed.send``. After any other error some may have been applied; pushing again is
        harmless.
        """

    async def insert(
        self, heap_id: HeapId, block: BlockId, kind: BlockKind, title: str
    ) -> BlockRow:
        """Create a block; repeating it with the same id answers the same block."""

    def live(
        self, heap_id: HeapId, opening: Opening, lost: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[LiveFeed]:
        """Open a feed; nothing is connected until something is followed.

        ``lost`` is called at once when a socket is gone, before another one is opened, however
        many events nobody has read yet.
        """

    async def upload(
        self,
        heap_id: HeapId,
        block: BlockId,
        source: UploadSource,
        *,
        progress: UploadProgress | None = None,
    ) -> FileEntry:
        """Bring a file's content to the server; sends only what the server lacks, so calling
        again resumes.

        Raises:
            FileChanged: the source changed while it was read.
        """

    def download(
        self,
        heap_id: HeapId,
        block: BlockId,
        hash: str,  # noqa: A002 - the word of files_v0, as in FileEntry
        size_bytes: int,
        offset: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """A file's bytes from ``offset``, in pieces, up to ``size_bytes`` in all; the caller
        checks the hash.

        A link that breaks half way raises ``Unreachable`` or ``ServerTrouble``: go on from the
        new offset.
        """
