from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.server import Server
from tests.sync.rig import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Server(tmp_path / "server", open_registration=True) as server:
        yield World(server, await server.add_heap("Home"), tmp_path)
