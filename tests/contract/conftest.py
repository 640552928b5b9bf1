from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.backends.contract import Backend
from heapsyncd.ids import HeapId
from tests.contract.worlds import WORLDS, World


@pytest.fixture(params=WORLDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with WORLDS[request.param](tmp_path) as world:
        yield world


@pytest.fixture
def backend(world: World) -> Backend:
    return world.backend


@pytest.fixture
async def heap_id(world: World) -> HeapId:
    return await world.add_heap("Home")
