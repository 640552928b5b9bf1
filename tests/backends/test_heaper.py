"""What only the Heaper backend has: tokens that end, accounts that are shut out, flat memory."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from heapsyncd.backends.contract import LiveSynced, LiveUpdate
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.errors import ConfigError, SignInRefused, Unreachable
from heapsyncd.ids import BlockId, Seed
from heapsyncd.server import Limits, Server
from heapsyncd.wire.signin import public_key
from tests.contract.worlds import Document, pulled, speak

SEED = Seed(bytes(range(32)))
MIB = 1 << 20


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
        await server.revoke_tokens()
        await server.disable_account(public_key(SEED))
        with pytest.raises(SignInRefused):
            await backend.heaps()
        await server.disable_account(public_key(SEED), disabled=False)
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
