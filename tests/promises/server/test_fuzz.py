"""Whatever clients send, the server goes on, and other documents with it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.lib0 import var_bytes, var_uint
from tests.server.rig import Client, Keys, name_of, paragraph, said, serving

BYTES = st.binary(max_size=60)
GOOD = paragraph("fuzz")


class World:
    """A server with one account and block, in a loop of its own: hypothesis is synchronous."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self._serving = serving(folder, keys=Keys())
        self.client, self.heap, self.block = self.runner.run(self._begin())

    async def _begin(self) -> tuple[Client, HeapId, BlockId]:
        server, client = await self._serving.__aenter__()
        heap = await server.add_heap("H")
        block = await server.add_block(heap, "document", "", paragraph("kept"))
        return await client.sign_in(), heap, block

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            return await work()

        return self.runner.run(whole())

    def close(self) -> None:
        self.runner.run(self._serving.__aexit__(None, None, None))
        self.runner.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("fuzz"))
    yield world
    world.close()


def frames(name: str, token: str) -> st.SearchStrategy[bytes]:
    """Frames from nearly right to noise."""
    updates = BYTES | st.just(GOOD) | st.binary(max_size=3).map(lambda b: GOOD[:-3] + b)
    messages = st.one_of(
        st.just(hp.Auth(Token(token))),
        st.builds(hp.SyncStep1, BYTES | st.just(b"\0"), st.booleans()),
        st.builds(hp.SyncStep2, updates, st.booleans()),
        st.builds(hp.Update, updates, st.booleans()),
        st.builds(hp.Awareness, BYTES | st.just(b"\x01\x05\x01\x02{}")),
        st.just(hp.QueryAwareness()),
        st.builds(hp.Close, st.text(max_size=5)),
        st.builds(hp.Stateless, st.text(max_size=5), st.booleans()),
        st.builds(hp.Unknown, st.integers(0, 300), BYTES),
        st.just(hp.PermissionDenied("x")),
        st.just(hp.Authenticated("read-write")),
        st.just(hp.SyncStatus(saved=True)),
        st.just(hp.TokenRequest()),
        st.just(hp.Ping()),
    )
    names = st.sampled_from([name, f"{name}\0s", f"{name}0", "x", ""])
    whole = st.builds(hp.encode, names, messages)
    cut = st.builds(lambda f, n: f[: len(f) - n], whole, st.integers(0, 9))
    padded = st.builds(
        lambda n, t, b: var_bytes(n.encode()) + var_uint(t) + b, names, SMALL, BYTES
    )
    return whole | cut | padded | BYTES


SMALL = st.integers(0, 12)


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_frames(world: World, data: st.DataObject) -> None:
    """After any frames on one socket another one works as before, and nothing of the document
    is lost.
    """
    client, name = world.client, name_of(world.heap, world.block)
    sent = data.draw(st.lists(frames(name, client.token or ""), max_size=12))
    opened = data.draw(st.booleans())

    async def work() -> None:
        async with client.live() as live:
            try:
                if opened:
                    await live.open(name)
                for frame in sent:
                    await live.socket.send_bytes(frame)
            except (aiohttp.ClientError, ConnectionError):
                pass  # reset on an earlier frame
            async with client.live() as other:
                assert "kept" in said(await other.open(name))
        assert (await client.ask("GET", "/api/health"))[0] == 200

    world.run(work)


@given(update=st.binary(max_size=200) | st.binary(max_size=4).map(lambda b: GOOD + b))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_pushed_bytes(world: World, update: bytes) -> None:
    """Any bytes pushed are ok or invalid, and the document stays readable."""

    async def work() -> None:
        (status,) = await world.client.statuses(world.heap, (world.block, update))
        assert status in {"ok", "invalid"}
        assert "kept" in said(await world.client.pulled(world.heap, world.block))

    world.run(work)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = (
    "workspace_id", "blocks", "updates", "id", "type", "title", "limit", "offset", "query",
    "public_key", "message", "signature", "hash", "name", "size", "mime_type", "chunk_size",
)  # fmt: skip
PATHS = (
    "/api/heaps", "/api/me", "/api/block/x", "/api/query_blocks", "/api/search_blocks",
    "/api/insert_block", "/api/sync/pull", "/api/sync/push", "/api/auth/create_session",
    "/api/auth/verify_session", "/api/upload/init/{heap}/{block}",
    "/api/upload/complete/{heap}/{block}/x",
)  # fmt: skip


@given(
    path=st.sampled_from(PATHS),
    body=st.dictionaries(st.sampled_from(NAMES), JSON) | JSON,
    here=st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json(world: World, path: str, body: Any, here: bool) -> None:
    """Any JSON to any route is answered with success or a refusal, never with an error of ours."""
    path = path.format(heap=world.heap, block=world.block)
    if here and isinstance(body, dict):
        body["workspace_id"] = world.heap

    async def work() -> None:
        status, _answer = await world.client.ask("POST", path, json=body)
        assert status < 500

    world.run(work)
