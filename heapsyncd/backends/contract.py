"""Define what ``sync/`` may ask of a server, whatever its kind.

Every call may raise ``Unreachable``, ``TooFast`` or ``ServerTrouble`` (try later),
``SignInRefused`` (about the account), ``ProtocolError`` or ``NotHeaper`` (about the server),
``RequestRefused`` (about this request). Only the sign-in is retried inside: the caller knows what
else there is to do meanwhile. All calls may run concurrently.
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
    Dialect,
    FileEntry,
    Heap,
    Place,
    PullAnswer,
    PullAsk,
    Push,
    PushResult,
)
from heapsyncd.wire.values import (
    FileChanged,
    LiveAnnounced,
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
    "LiveAnnounced",
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
r"""Returns the current (sync_version, state vector) of each block that is to be (re)opened.

A block that is missing in the result is not opened. The state vector of an empty document is
``b"\0"``.
"""

MAX_PUSH_UPDATE_BYTES = 6_000_000
"""The largest update that can be pushed (in base64 it fits into a body of 8 MiB). A larger one is
sent over the live feed.
"""

UploadProgress = Callable[[int, int], None]
"""Called with (bytes the server has, bytes in all)."""


class LiveFeed(Protocol):
    """Changes as they happen, over one socket that is open while anything is followed.

    Connecting, reconnecting and tokens are handled inside. Iterating waits for the next event, and
    raises only what makes it pointless to continue. The queue is bounded: a slow reader pauses the
    socket.
    """

    @property
    def connected(self) -> bool:
        """Whether a socket is open now."""

    def follow(self, blocks: Iterable[BlockId]) -> None:
        """Replace the set of followed blocks: new ones are opened, missing ones are closed."""

    def reopen(self, block: BlockId) -> None:
        """Open a followed block again: its ``sync_version`` changed, or it was closed.

        A version that the server denied is not tried again on the same socket; another one is.
        """

    def answer(self, block: BlockId, update: bytes) -> None:
        """Send what the server lacks, after ``LiveAsked``; not needed if that is nothing.

        Dropped when the block is not open.
        """

    def send(self, block: BlockId, update: bytes) -> None:
        """Send an update that is too large to push; dropped when the block is not open."""

    def announce(self, block: BlockId) -> None:
        """Have the other devices that follow a block poll; dropped when the block is not open.

        Only those that are connected get it (as ``LiveAnnounced``); a server may not pass it on.
        """

    def is_open(self, block: BlockId) -> bool:
        """Whether the server tells every change of a block now."""

    def __aiter__(self) -> AsyncIterator[LiveEvent]:
        """Iterate over the events, in order."""

    def at_hand(self) -> LiveEvent | None:
        """Return the next event if it has arrived, else None; a burst can be handled together."""


class Backend(Protocol):
    """One account at one server; an async context manager that owns the connections.

    ``contact`` is notified of every sign of life of the server, over whatever call or socket.
    ``dialect``: how the server differs from a Heaper server (``sync/README``). A server that makes
    a document anew for each change puts it under the next ``sync_version``. It answers a push to
    an earlier one with "stale", and an accepted push with the version that it made of it.
    """

    contact: Contact
    dialect: Dialect

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def sign_in(self) -> None:
        """Make sure that the account is accepted; does nothing when it is signed in."""

    async def renew(self) -> None:
        """Close all connections, because the machine was suspended or its network changed.

        What waits for an answer fails with ``Unreachable``, or is requested again.
        """

    async def heaps(self) -> list[Heap]:
        """Return all heaps that the account can see."""

    async def places(self) -> list[Place]:
        """Return what ``heaps`` in the configuration selects from: the heaps, or their boxes."""

    def rows(self, heap_id: HeapId) -> AsyncIterator[list[BlockRow]]:
        """Yield the rows of all live blocks, page by page.

        A block that changes meanwhile may be missed or repeated.
        """

    async def row(self, heap_id: HeapId, block: BlockId) -> BlockRow | None:
        """Return one block's row; None when the server does not know it."""

    async def changes(self, heap_id: HeapId, cursor_ms: int) -> ChangePage:
        """Return one page of the delta feed from ``cursor_ms`` (server time; 0: everything)."""

    async def unread(self, heap_id: HeapId) -> int:
        """Return how many items the server has otherwise than they were read; nothing is stored.

        For a backend that itself stores what the server has: from now on, ``changes``, ``row`` and
        ``pull`` tell what is stored. Others return 0, for theirs always tell what the server has.
        """

    async def pull(self, heap_id: HeapId, asks: Sequence[PullAsk]) -> PullAnswer:
        """Make one pull request.

        A block that was asked for and is in neither part of the answer did not fit: ask again.
        """

    async def push(self, heap_id: HeapId, pushes: Sequence[Push]) -> list[PushResult]:
        """Push updates, in as many requests as the limits require.

        The results are in the order of ``pushes``. An update that is too large for any request
        raises ``RequestRefused`` 413 before anything is sent: use ``LiveFeed.send``. After any
        other error some may have been applied; pushing again is harmless.
        """

    async def insert(
        self, heap_id: HeapId, block: BlockId, kind: BlockKind, title: str
    ) -> BlockRow:
        """Create a block; repeating it with the same id returns the same block."""

    def live(
        self, heap_id: HeapId, opening: Opening, lost: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[LiveFeed]:
        """Open a feed; nothing is connected until something is followed.

        ``lost`` is called as soon as a socket is gone, before another one is opened, however many
        events are unread.
        """

    async def upload(
        self,
        heap_id: HeapId,
        block: BlockId,
        source: UploadSource,
        *,
        progress: UploadProgress | None = None,
    ) -> FileEntry:
        """Upload a file's content; sends only what the server lacks, so calling again resumes.

        Raises:
            FileChanged: the source changed while it was read.
        """

    def download(
        self,
        heap_id: HeapId,
        block: BlockId,
        hash: str,  # noqa: A002 - the name in files_v0, as in FileEntry
        size_bytes: int,
        offset: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from ``offset``, in pieces, up to ``size_bytes`` in all.

        The caller checks the hash. A link that breaks half way raises ``Unreachable`` or
        ``ServerTrouble``: continue from the new offset.
        """
