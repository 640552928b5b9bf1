from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import Server
from tests.server.rig import Client, name_of, paragraph, serving


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Client]]:
    async with serving(tmp_path / "data") as (server, client):
        await client.sign_in()
        yield server, client


@pytest.fixture
def server(pair: tuple[Server, Client]) -> Server:
    return pair[0]


@pytest.fixture
def client(pair: tuple[Server, Client]) -> Client:
    return pair[1]


@pytest.fixture
async def heap_id(server: Server) -> HeapId:
    return await server.add_heap("Home")


@pytest.fixture
async def block(server: Server, heap_id: HeapId) -> BlockId:
    return await server.add_block(heap_id, "document", "", paragraph("here"))


@pytest.fixture
def name(heap_id: HeapId, block: BlockId) -> str:
    return name_of(heap_id, block)
