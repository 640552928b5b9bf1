"""The commands as processes, beside an embedded server in the test."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd.cli.settings import load_with_secrets
from heapsyncd.daemon import run_once
from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here starts several processes: it has more time than others."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(180))


NOTES = {
    "Boat.md": "Varnish the deck\nin **spr**ing, see [[Solo]].\n\n[[Sails]] and `[[Code]]`\n",
    "Solo.md": "---\naliases: [Hermit, Alone]\nauthor: Smith\n---\nTomorrow.\n",
    "Projects/Dinghy.md": "---\ntags: [Client A]\n---\nsee [[Solo|him]] tomorrow, [[Solo]]\n",
    "Archive/Old deck.md": "- the old deck #rotten/wood\n\n```tikz\nx\n```\n\nand [[Boat]]\n",
    "日本.md": "水曜日は日本語です。\n",
}
"""What the folder of ``library`` holds, but for the ids."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A device with a mirrored heap and no server any more, for commands that only read."""
    base = tmp_path_factory.mktemp("library")
    device = Device(base / "device")

    async def fill() -> None:
        async with Server(base / "server", accounts=[device.public]) as server:
            await server.add_heap("Home")
            await server.add_heap("Work")
            device.configure(server.url)
            config = load_with_secrets(device.config)
            await run_once(config)
            for path, text in NOTES.items():
                file = device.folder / "Home" / path
                file.parent.mkdir(exist_ok=True)
                file.write_text(text)
            verdict = (await run_once(config))["home"]
            assert verdict.exit_code == 0, verdict

    asyncio.run(fill())
    return device


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
