"""What only the Heaper backend has: tokens that end, shut-out accounts, downloads by range."""

import asyncio
import contextlib
import gzip
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from heapsyncd.backends.contract import LiveSynced, LiveUpdate
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.errors import ConfigError, ProtocolError, ServerTrouble, SignInRefused, Unreachable
from heapsyncd.ids import BlockId, HeapId, Seed
from heapsyncd.server import Limits, Server
from heapsyncd.wire.signin import public_key
from tests.contract.worlds import Document, pulled, speak

SEED = Seed(bytes(range(32)))
MIB = 1 << 20
HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRST0")
BLOCK = BlockId("01J8XYZ0ABCDEFGHJKMNPQRST1")
HASH = "0" * 64
DATA = bytes(range(256)) * 4000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def heaper(
    folder: Path, limits: Limits | None = None
) -> AsyncIterator[tuple[Server, HeaperBackend]]:
    async with (
        Server(folder, accounts=[public_key(SEED)], limits=limits) as server,
        HeaperBackend(server.url, SEED) as backend,
    ):
        yield server, backend


async def test_short_tokens_are_renewed_without_a_refusal(tmp_path: Path) -> None:
    """Tokens of two seconds, for over three: every call works, and the link stays."""
    async with heaper(tmp_path, Limits(access_ttl_s=2)) as (server, backend):
        heap = await server.add_heap("Home")
        block = await server.add_block(heap, "document", "N", speak(Document(), "x"))

        async def opening(_: object) -> dict[BlockId, tuple[int, bytes]]:
            return {block: (1, b"\0")}

        rejected = 0
        reject = backend._account.session.reject

        def counted(token: object) -> None:
            nonlocal rejected
            rejected += 1
            reject(token)  # type: ignore[arg-type]  # passed through

        backend._account.session.reject = counted  # type: ignore[method-assign]  # only counts
        async with backend.live(heap, opening) as feed:
            feed.follow([block])
            async with asyncio.timeout(10):
                while not isinstance(await anext(aiter(feed)), LiveSynced):
                    pass
            for _ in range(35):
                await backend.heaps()
                await asyncio.sleep(0.1)
            await server.apply(block, speak(Document(), "late "))
            async with asyncio.timeout(10):
                while not isinstance(await anext(aiter(feed)), LiveUpdate):
                    pass
        assert rejected == 0


async def test_revoked_tokens_are_replaced_by_a_sign_in(tmp_path: Path) -> None:
    """A restarted server that knows no token any more costs nobody a failed call."""
    async with heaper(tmp_path / "server") as (server, backend):
        heap = await server.add_heap("Home")
        await backend.heaps()
        await server.refuse(public_key(SEED))
        with pytest.raises(SignInRefused):
            await backend.heaps()
        await server.accept(public_key(SEED))
        async with asyncio.timeout(20):
            while True:
                try:
                    (seen,) = await backend.heaps()
                except SignInRefused:
                    await asyncio.sleep(0.05)
                else:
                    break
        assert seen.id == heap


async def test_a_server_that_is_away_is_unreachable_and_found_again(tmp_path: Path) -> None:
    """The same backend goes on as soon as the server is back."""
    async with Server(tmp_path, accounts=[public_key(SEED)]) as server:
        url = server.url
    port = int(url.rsplit(":", 1)[1])
    async with HeaperBackend(url, SEED) as backend:
        with pytest.raises(Unreachable):
            await backend.sign_in()
        async with Server(tmp_path, port=port, accounts=[public_key(SEED)]):
            assert await backend.heaps() == []
        with pytest.raises(Unreachable):
            await backend.heaps()


async def test_a_large_file_passes_in_little_memory(tmp_path: Path) -> None:
    """Less than 16 MiB beside the server's own, for 48 MiB up and down."""
    size = 48 * MIB
    pattern = hashlib.shake_128(b"seed").digest(MIB)

    class Large:
        hash = hashlib.sha256(pattern * 48).hexdigest()
        name = "large.bin"
        mime_type = "application/octet-stream"
        size_bytes = size

        async def read(self, offset: int, length: int) -> bytes:
            start = offset % MIB
            return pattern[start : start + length]

    async with heaper(tmp_path) as (server, backend):
        heap = await server.add_heap("Home")
        block = await server.add_block(heap, "file", "large.bin")
        await backend.sign_in()
        tracemalloc.start()
        try:
            await backend.upload(heap, block, Large())
            digest = hashlib.sha256()
            async for piece in backend.download(heap, block, Large.hash, size):
                digest.update(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert digest.hexdigest() == Large.hash
    assert peak < 16 * MIB


async def test_a_reader_that_stops_early_frees_the_connection(tmp_path: Path) -> None:
    """Leaving a download half way leaves nothing behind, and the next call works."""
    async with heaper(tmp_path) as (server, backend):
        heap = await server.add_heap("Home")
        block = await server.add_block(heap, "file", "f")
        entry = await server.add_file(block, "f", bytes(8 * MIB))
        stream = backend.download(heap, block, entry.hash, 8 * MIB)
        assert await anext(stream)
        await stream.aclose()
        assert [row.id async for page in backend.rows(heap) for row in page] == [block]


async def test_leaving_the_backend_ends_its_feeds(tmp_path: Path) -> None:
    """No task and no socket is left; a feed that is still held gives no more events."""
    async with Server(tmp_path, accounts=[public_key(SEED)]) as server:
        heap = await server.add_heap("Home")
        block = await server.add_block(heap, "document", "N", speak(Document(), "x"))

        async def opening(_: object) -> dict[BlockId, tuple[int, bytes]]:
            return {block: (1, b"\0")}

        async with HeaperBackend(server.url, SEED) as backend:
            assert (await pulled(backend, heap, block)).full
            async with backend.live(heap, opening) as feed:
                feed.follow([block])
                async with asyncio.timeout(10):
                    while not isinstance(await anext(aiter(feed)), LiveSynced):
                        pass
            assert not feed.connected
            feed.follow([])
            feed.reopen(block)
            feed.send(block, b"x")
        assert len(asyncio.all_tasks()) < 10
        async with asyncio.timeout(10):
            while server.followers(block):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("url", ["", "heaper.example", "ftp://heaper.example"])
def test_an_address_that_is_none_is_found_at_once(url: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigError):
        HeaperBackend(url, SEED)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[HeaperBackend]:
    """A backend at a server that signs everybody in and serves one file."""

    async def challenge(_: web.Request) -> web.Response:
        return web.json_response({"challenge": "sign this"})

    async def tokens(_: web.Request) -> web.Response:
        return web.json_response({"accessToken": "a", "refreshToken": "r"})

    app = web.Application()
    app.router.add_post("/api/auth/create_session", challenge)
    app.router.add_post("/api/auth/verify_session", tokens)
    app.router.add_get(f"/api/file/{HEAP}/{BLOCK}/{HASH}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with HeaperBackend(f"http://{host}:{port}", Seed(bytes(32))) as backend:
            yield backend
    finally:
        await runner.cleanup()


async def fetched(backend: HeaperBackend, offset: int) -> bytes:
    pieces = [piece async for piece in backend.download(HEAP, BLOCK, HASH, len(DATA), offset)]
    return b"".join(pieces)


@pytest.mark.parametrize("offset", [0, 1, 300_000, len(DATA) - 1, len(DATA)])
async def test_only_the_rest_is_asked_for(offset: int) -> None:
    """A server that honours the range sends no byte twice."""
    sent = []

    async def handle(request: web.Request) -> web.StreamResponse:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        sent.append(len(DATA) - start)
        if start >= len(DATA):
            headers = {"Content-Range": f"bytes */{len(DATA)}"}
            return web.Response(status=416, headers=headers)
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return web.Response(status=206 if start else 200, headers=headers, body=DATA[start:])

    async with serving(handle) as backend:
        assert await fetched(backend, offset) == DATA[offset:]
    assert sent == [len(DATA) - offset]


@pytest.mark.parametrize("offset", [0, 1, 300_000, len(DATA)])
async def test_a_server_without_ranges_is_skipped_through(offset: int) -> None:
    """200 with the whole file: what is there already is passed over."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(body=DATA)

    async with serving(handle) as backend:
        assert await fetched(backend, offset) == DATA[offset:]


async def test_a_range_that_was_not_asked_for_is_refused() -> None:
    """Its bytes would be put in the wrong place."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Range": f"bytes 0-99/{len(DATA)}"}
        return web.Response(status=206, headers=headers, body=DATA[:100])

    async with serving(handle) as backend:
        with pytest.raises(ProtocolError):
            await fetched(backend, 50)


async def test_a_link_that_breaks_gives_what_came_and_an_error() -> None:
    """The caller goes on from the new offset."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:300_000])
        assert request.transport is not None
        request.transport.close()
        return response

    got = b""

    async def read(backend: HeaperBackend) -> None:
        nonlocal got
        async for piece in backend.download(HEAP, BLOCK, HASH, len(DATA)):
            got += piece

    async with serving(handle) as backend:
        with pytest.raises(ServerTrouble):
            await read(backend)
    assert got
    assert got == DATA[: len(got)]


@pytest.mark.parametrize("offset", [0, 300_000])
async def test_a_file_that_goes_on_for_ever_ends_at_its_size(offset: int) -> None:
    """No byte beyond what the document says is taken."""
    written = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(DATA)
            while True:
                await response.write(bytes(65536))
                written += 65536
        return response

    async with serving(handle) as backend, asyncio.timeout(30):
        assert await fetched(backend, offset) == DATA[offset:]
    assert written < 64 << 20, "what the sockets' buffers hold, at most"


async def test_a_file_that_is_compressed_is_refused() -> None:
    """A few kilobytes would become gigabytes, and offsets be wrong."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(DATA), headers={"Content-Encoding": "gzip"})

    async with serving(handle) as backend:
        with pytest.raises(ProtocolError, match="compressed"):
            await fetched(backend, 0)
