"""Downloads from servers that honour a range, ignore it, or break off."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.errors import ProtocolError, ServerTrouble
from heapsyncd.ids import BlockId, HeapId, Seed

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRST0")
BLOCK = BlockId("01J8XYZ0ABCDEFGHJKMNPQRST1")
HASH = "0" * 64
DATA = bytes(range(256)) * 4000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
