"""The commands as processes, beside an embedded server in the test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here starts several processes: it has more time than others."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "device")


@pytest.fixture
async def server(tmp_path: Path, device: Device) -> AsyncIterator[Server]:
    """A server that accepts the device's key and no other."""
    async with Server(tmp_path / "server", accounts=[device.public]) as running:
        yield running


@pytest.fixture
async def heap_id(server: Server) -> HeapId:
    """A heap with one note."""
    heap_id = await server.add_heap("Home")
    await server.add_block(heap_id, "document", "Groceries")
    return heap_id
