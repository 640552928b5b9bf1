"""Implement the contract for a oneheap service (``contract.Backend``).

The service has no CRDTs and no feed. So it is taken for a server that compacts a block at every
change: each new state of an item is a fresh document under the next ``sync_version``, and what is
unsent here is expressed again on it. A pushed document is read as a file, whose differences to the
item are sent.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Self

from msgspec.structs import replace

from heapsyncd.backends.contract import LiveFeed, Opening, UploadProgress
from heapsyncd.backends.oneheap import contents
from heapsyncd.backends.oneheap.account import OneheapAccount
from heapsyncd.backends.oneheap.catalogue import Catalogue, heap_id
from heapsyncd.backends.oneheap.pushes import carry_out
from heapsyncd.backends.oneheap.refresh import Seen, refresh, unread
from heapsyncd.backends.oneheap.shapes import encode
from heapsyncd.cache import remote_items
from heapsyncd.cache.remote_items import RemoteItem
from heapsyncd.database import Database
from heapsyncd.errors import RequestRefused
from heapsyncd.ids import BlockId, HeapId, Password
from heapsyncd.items.values import Item, ItemType
from heapsyncd.markdown.item_merge import merge_files
from heapsyncd.model import (
    BlockKind,
    BlockRow,
    Changed,
    ChangePage,
    Dialect,
    FileEntry,
    Gone,
    Heap,
    Place,
    Problem,
    PullAnswer,
    PullAsk,
    Pulled,
    Push,
    PushResult,
)
from heapsyncd.wire.oneheap.calls import Calls
from heapsyncd.wire.oneheap.client import Client
from heapsyncd.wire.values import UploadSource

ONEHEAP: Final = Dialect(
    public_ids=True,
    tag_blocks=False,
    mentions=False,
    content_hashes=False,
    at_root=True,
    live=False,
    has_trash=False,
    merge_files=merge_files,
)
_FEED_ROWS: Final = 1000
_ANSWER_BYTES: Final = 4 << 20
"""A pull is answered with so much, and one block more."""
_POLL_REQUESTS: Final = 2
_AGAIN_S: Final = 1.0
"""What was read this long ago is taken for the present state."""
_TYPES: Final[dict[BlockKind, ItemType]] = {"document": "note", "file": "file", "folder": "box"}


class OneheapBackend:
    """One account at one oneheap service (``contract.Backend``).

    Args:
        server: the service's address.
        email: the account.
        password: its password.
        db: the account's cache.
        boxes: which boxes are mirrored: their ids, or globs of their names.
        poll_interval_s: how often the mirror polls; polls are stretched where the rate limit
            would not allow that.
    """

    def __init__(
        self,
        server: str,
        email: str,
        password: Password,
        db: Database,
        *,
        boxes: tuple[str, ...] = ("*",),
        poll_interval_s: float = 60.0,
    ) -> None:
        self._client = Client(server, email, password)
        self._email, self._poll_interval_s = email, poll_interval_s
        heap = heap_id(server, email)
        self._account = OneheapAccount(heap, db, Calls(self._client), Catalogue(heap, boxes))
        self._seen = Seen()
        self._polled_s: float | None = None
        self._is_ready = False
        self.contact = self._client.contact
        self.dialect = ONEHEAP

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def sign_in(self) -> None:
        """Make sure that the account is accepted."""
        await self._client.sign_in()

    async def renew(self) -> None:
        """Close all connections; new ones are opened when needed."""
        await self._client.renew()

    async def heaps(self) -> list[Heap]:
        """Return the one heap that the account is."""
        await self._client.sign_in()
        return [Heap(self._account.heap, self._email)]

    async def places(self) -> list[Place]:
        """Return the boxes of the account."""
        return await self._account.calls.boxes()

    async def rows(self, heap_id: HeapId) -> AsyncIterator[list[BlockRow]]:
        """Yield the rows of all live blocks."""
        await self._poll(heap_id)
        rows = await self._account.db.read(lambda tx: remote_items.rows(tx, heap_id))
        yield [self._row(row) for row in rows]

    async def row(self, heap_id: HeapId, block: BlockId) -> BlockRow | None:
        """Return one block's row; None when it is unknown or deleted on the service."""
        row = await self._account.row(block)
        return None if row is None or row.heap_id != heap_id else self._row(row)

    def _row(self, row: RemoteItem) -> BlockRow:
        place = self._account.catalogue.items.get(row.item_id)
        public_id = row.item_id if row.kind == "document" else ""
        title = self._account.catalogue.title(place) if place is not None else ""
        deleted_at_ms = 1 if row.gone else None
        return BlockRow(
            row.block_id, row.heap_id, row.kind, title, row.version, deleted_at_ms, public_id
        )

    async def changes(self, heap_id: HeapId, cursor_ms: int) -> ChangePage:
        """Return what changed since a place of the feed; asks the service first."""
        await self._poll(heap_id)
        found = await self._account.db.read(
            lambda tx: remote_items.since(tx, heap_id, cursor_ms, _FEED_ROWS + 1)
        )
        page = found[:_FEED_ROWS]
        unread = self._seen.unreadable | self._account.unshown
        return ChangePage(
            tuple(Changed(block, version, at) for block, version, at, gone in page if not gone),
            tuple(
                Gone(block, at, permanent=gone == "there") for block, _, at, gone in page if gone
            ),
            max([1, cursor_ms, *(at for _, _, at, _ in page)]),
            len(found) > len(page),
            tuple(Problem(f"item {i}", why) for i, why in sorted(unread.items())),
        )

    async def _poll(self, heap_id: HeapId) -> None:
        """Read what changed on the service, unless that was done just now.

        Raises:
            RequestRefused: 404 for a heap that is not this account's.
        """
        if heap_id != self._account.heap:
            raise RequestRefused("this account has no such heap", 404)
        now_s = time.monotonic()
        wait_s = self._client.budget.stretched_s(now_s, 0.0, _POLL_REQUESTS)
        wait_s = max(_AGAIN_S, wait_s if wait_s > self._poll_interval_s else 0.0)
        if self._polled_s is not None and now_s < self._polled_s + wait_s:
            return
        async with self._account.turn:
            if not self._is_ready:
                await self._account.load()
                await self._account.calls.learn_types()
                self._is_ready = True
            await refresh(self._account, self._seen)
            self._polled_s = now_s

    async def unread(self, heap_id: HeapId) -> int:  # noqa: ARG002 - the contract's shape
        """Return how many items the service has otherwise than stored; never poll again."""
        async with self._account.turn:
            await self._account.load()
            await self._account.calls.learn_types()
            self._is_ready, self._polled_s = True, math.inf
            return await unread(self._account)

    async def pull(self, heap_id: HeapId, asks: Sequence[PullAsk]) -> PullAnswer:
        """Return documents from the cache."""
        pulled: list[Pulled] = []
        missing: list[BlockId] = []
        rows = await self._account.db.read(
            lambda tx: remote_items.bounded(tx, [a.id for a in asks], _ANSWER_BYTES)
        )
        for ask, row in zip(asks, rows, strict=False):
            if row is None or row.heap_id != heap_id or row.gone == "there":
                missing.append(ask.id)
                continue
            is_full = ask.state_vector is None or row.version != ask.sync_version
            pulled.append(Pulled(ask.id, row.version, row.document, is_full))
        return PullAnswer(tuple(pulled), tuple(missing))

    async def push(
        self,
        heap_id: HeapId,  # noqa: ARG002
        pushes: Sequence[Push],
    ) -> list[PushResult]:
        """Send what the pushed documents show otherwise than their items."""
        async with self._account.turn:
            return await carry_out(self._account, self._seen, pushes)

    async def insert(
        self, heap_id: HeapId, block: BlockId, kind: BlockKind, title: str
    ) -> BlockRow:
        """Remember a new block. Nothing is sent before its document is pushed, which says more.

        Raises:
            RequestRefused: the service has no blocks of this kind.
        """
        type_ = _TYPES.get(kind)
        if type_ is None:
            raise RequestRefused(f"the service has no blocks of the kind {kind}", 400)
        async with self._account.turn:
            row = await self._account.row(block)
            if row is None or row.gone:
                version = 1 if row is None else row.version + 1
                item = encode(Item("", type_, title))
                row = RemoteItem(block, heap_id, "item", "", type_, item, version)
                await self._account.save([row])
        return replace(self._row(row), title=title)

    def live(
        self,
        heap_id: HeapId,  # noqa: ARG002 - the contract's shape
        opening: Opening,  # noqa: ARG002
        lost: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> AbstractAsyncContextManager[LiveFeed]:
        """Refuse: the service tells nothing by itself (``Dialect.live``).

        Raises:
            RequestRefused: always.
        """
        raise RequestRefused("a oneheap service has no live feed", 501)

    async def upload(
        self,
        heap_id: HeapId,  # noqa: ARG002
        block: BlockId,
        source: UploadSource,
        *,
        progress: UploadProgress | None = None,
    ) -> FileEntry:
        """Upload a file's content, in one request."""
        return await contents.upload(self._account, block, source, progress)

    def download(
        self,
        heap_id: HeapId,  # noqa: ARG002
        block: BlockId,
        hash: str,  # noqa: A002 - the name in files_v0, as in FileEntry
        size_bytes: int,
        offset: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from ``offset``."""
        return contents.download(self._account, block, hash, size_bytes, offset)
