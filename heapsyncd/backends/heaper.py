"""Implement the contract for a Heaper server: each call's route, and the limits of requests."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, cast

from heapsyncd.backends.account import HeaperAccount, Recognise
from heapsyncd.backends.contract import MAX_PUSH_UPDATE_BYTES, Opening, UploadProgress
from heapsyncd.backoff import Lane
from heapsyncd.errors import RequestRefused
from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.model import (
    HEAPER,
    BlockKind,
    BlockRow,
    ChangePage,
    FileEntry,
    Heap,
    Place,
    PullAnswer,
    PullAsk,
    Push,
    PushResult,
)
from heapsyncd.wire import heaper
from heapsyncd.wire.feed import Feed, Socket
from heapsyncd.wire.rest import Rest
from heapsyncd.wire.scalars import skipped_bytes
from heapsyncd.wire.upload import Chunk, pieces, upload
from heapsyncd.wire.values import UploadSource
from heapsyncd.wire.websocket import connect

_ROWS_A_PAGE = 500
_MAX_ASK_BYTES = 1 << 20
"""The largest body of a pull."""
_MAX_PUSHES = 200
_MAX_PUSH_BYTES = (8 << 20) - 4096
"""The limit of PROTOCOL §5, less what surrounds the updates."""


class HeaperBackend:
    """One account at one Heaper server (``contract.Backend``).

    Args:
        server: its address, ``https://…``; ConfigError when it is not one.
        seed: the account's key.
        recognise: checks the server's key before anything is sent that a wrong server must not
            get.
        code: the code that a new embedded server printed, for its first sign-in.
    """

    def __init__(
        self, server: str, seed: Seed, recognise: Recognise | None = None, code: str = ""
    ) -> None:
        self._rest = Rest(server)
        self._account = HeaperAccount(self._rest, seed, recognise, code)
        self.contact = self._rest.contact
        self.dialect = HEAPER

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._rest.__aexit__(kind, error, trace)

    async def sign_in(self) -> None:
        """Make sure that the account is accepted."""
        await self._account.session.token()

    async def renew(self) -> None:
        """Close all connections; new ones are opened when needed."""
        self._account.session.lost()
        await self._rest.renew()

    async def heaps(self) -> list[Heap]:
        """Return all heaps that the account can see."""
        # msgspec decodes a union of shapes, which the type checker does not know.
        shape = cast("Any", heaper.Heaps)
        answer = await self._account.post(shape, "/api/heaps", heaper.encode(), heaper.ROWS_MOST)
        return heaper.decode_heaps(answer)

    async def places(self) -> list[Place]:
        """Return the heaps."""
        return [Place(h.id, h.title, not h.encrypted) for h in await self.heaps()]

    async def rows(self, heap_id: HeapId) -> AsyncIterator[list[BlockRow]]:
        """Yield the rows of all live blocks, page by page."""
        offset = 0
        while True:
            body = heaper.encode(workspace_id=heap_id, limit=_ROWS_A_PAGE, offset=offset)
            page = await self._account.post(
                heaper.Rows, "/api/query_blocks", body, heaper.ROWS_MOST
            )
            if rows := [heaper.decode_row(row, heap_id) for row in page.blocks]:
                yield [row for row in rows if row.deleted_at_ms is None]
            offset += len(rows)
            if not rows or (page.total is not None and offset >= page.total):
                return

    async def row(self, heap_id: HeapId, block: BlockId) -> BlockRow | None:
        """Return one block's row; None when the server does not know it."""
        try:
            answer = await self._account.post(
                heaper.OneBlock, f"/api/block/{block}", heaper.encode()
            )
        except RequestRefused as error:
            if error.status == 404:
                return None
            raise
        return heaper.decode_row(answer.block, heap_id)

    async def changes(self, heap_id: HeapId, cursor_ms: int) -> ChangePage:
        """Return one page of the delta feed."""
        query = {"workspace_id": heap_id, "since": str(cursor_ms)}
        found = await self._account.get(heaper.Delta, "/api/sync/delta", query, heaper.ROWS_MOST)
        return heaper.decode_delta(found)

    async def unread(self, heap_id: HeapId) -> int:  # noqa: ARG002 - the contract's shape
        """Return 0: the feed always tells what the server has."""
        return 0

    async def pull(self, heap_id: HeapId, asks: Sequence[PullAsk]) -> PullAnswer:
        """Make one pull request with as many asks as fit into it."""
        if not asks:
            return PullAnswer((), ())
        body = heaper.encode_asks(heap_id, asks, _MAX_ASK_BYTES)
        most = heaper.pull_most(len(asks))
        page = await self._account.post(heaper.PullPage, "/api/sync/pull", body, most)
        return heaper.decode_pull(page, asks)

    async def push(self, heap_id: HeapId, pushes: Sequence[Push]) -> list[PushResult]:
        """Push updates, in as many requests as the limits require."""
        for push in pushes:
            if len(push.update) > MAX_PUSH_UPDATE_BYTES:
                size = len(push.update)
                raise RequestRefused(f"an update of {size} bytes is too large to push", 413)
        results: list[PushResult] = []
        for part in _parts(pushes):
            body = heaper.encode_pushes(heap_id, part)
            page = await self._account.post(heaper.PushPage, "/api/sync/push", body)
            results += heaper.decode_results(page, part)
        return results

    async def insert(
        self, heap_id: HeapId, block: BlockId, kind: BlockKind, title: str
    ) -> BlockRow:
        """Create a block."""
        body = heaper.encode(workspace_id=heap_id, id=block, type=kind, title=title or None)
        answer = await self._account.post(heaper.OneBlock, "/api/insert_block", body)
        return heaper.decode_row(answer.block, heap_id)

    @asynccontextmanager
    async def live(
        self, heap_id: HeapId, opening: Opening, lost: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Feed, None]:
        """Open a feed; its socket closes with the context."""
        session, lane = self._account.session, Lane(self.contact)
        feed = Feed(heap_id, opening, self._socket, session, lane, lost=lost)
        running = asyncio.create_task(feed.run(), name=f"live feed of {heap_id}")
        try:
            yield feed
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    @asynccontextmanager
    async def _socket(self) -> AsyncGenerator[Socket, None]:
        try:
            async with connect(self._rest) as socket:
                yield socket
        finally:
            self._account.session.lost()

    async def upload(
        self,
        heap_id: HeapId,
        block: BlockId,
        source: UploadSource,
        *,
        progress: UploadProgress | None = None,
    ) -> FileEntry:
        """Upload a file's content."""
        return await upload(_Upload(self._account, heap_id, block, source), source, progress)

    async def download(
        self,
        heap_id: HeapId,
        block: BlockId,
        hash: str,  # noqa: A002 - the name in files_v0, as in FileEntry
        size_bytes: int,
        offset: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from ``offset``, in pieces, up to ``size_bytes`` in all."""
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{hash}"'} if offset else {}
        left = size_bytes - offset
        async with self._account.stream(f"/api/file/{heap_id}/{block}/{hash}", headers) as stream:
            skip = skipped_bytes(stream.status, stream.content_range, offset)
            if skip is None:
                return
            async for piece in stream.pieces():
                if rest := piece[skip : skip + left]:
                    left -= len(rest)
                    yield rest
                if not left:
                    return  # the server may send more than the file's size
                skip = max(0, skip - len(piece))


class _Upload:
    """The calls of PROTOCOL §9 for one file."""

    def __init__(
        self, account: HeaperAccount, heap_id: HeapId, block: BlockId, source: UploadSource
    ) -> None:
        self._account = account
        self._where = f"{heap_id}/{block}"
        self._source = source

    async def init(self) -> heaper.UploadState:
        body = heaper.encode_upload(self._source)
        return await self._account.post(
            heaper.UploadState, f"/api/upload/init/{self._where}", body
        )

    async def chunk(self, chunk: Chunk, is_out: Callable[[], None]) -> None:
        path = f"/api/upload/chunk/{self._where}/{self._source.hash}/{chunk.index}"
        await self._account.put(path, chunk.length, lambda: pieces(self._source, chunk, is_out))

    async def complete(self) -> None:
        path = f"/api/upload/complete/{self._where}/{self._source.hash}"
        await self._account.post(Any, path, heaper.encode())


def _parts(pushes: Sequence[Push]) -> list[list[Push]]:
    """Split pushes into requests within the server's limits, in order."""
    parts: list[list[Push]] = []
    room_bytes = 0
    for push in pushes:
        size_bytes = heaper.pushed_size_bytes(push)
        if not parts or len(parts[-1]) >= _MAX_PUSHES or size_bytes > room_bytes:
            parts.append([])
            room_bytes = _MAX_PUSH_BYTES
        parts[-1].append(push)
        room_bytes -= size_bytes
    return parts
