"""SIGTERM in the midst of work: an ordered end, and the next life goes on from there."""

import asyncio
from pathlib import Path

import pytest

from heapsyncd.daemon import CLOSE_LIMIT_S
from heapsyncd.document.edit import Wish, express
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.parse import parse
from heapsyncd.server import Server
from tests.cli.devices import Device, ending, eventually, terminate

NOTES = 150


@pytest.mark.parametrize("moment", ["starting", "writing", "sending"])
async def test_stopped_in_the_midst(device: Device, server: Server, moment: str) -> None:
    """Whatever it was at, the daemon ends with 0, and afterwards every note is on both sides,
    once.
    """
    heap = await server.add_heap("Home")
    folder = device.folder / "Home"
    for k in range(NOTES):
        made = express([], Wish(body=parse(f"text {k}\n", NO_LINKS), title=f"N{k:03}"))
        assert made.update is not None
        await server.add_block(heap, "document", f"N{k:03}", made.update)
    device.configure(server.url)
    if moment == "sending":
        assert (await device("sync")).code == 0
        for k in range(NOTES):
            (folder / f"Mine{k:03}.md").write_text(f"mine {k}\n")

    async def reached() -> bool:
        if moment == "starting":
            return device.state.exists()
        if moment == "writing":
            return len(list(folder.glob("N*.md"))) >= 10 if folder.exists() else False
        return any(path.read_text().startswith("---") for path in folder.glob("Mine*.md"))

    process = await device.start("run")
    assert process.stderr
    reading = asyncio.create_task(process.stderr.read())
    async with ending(process):
        await eventually(reached)
        async with asyncio.timeout(CLOSE_LIMIT_S + 5):
            assert await terminate(process) in {0, -15}  # before its handlers are there: -15
    await reading
    done = await device("sync")
    assert done.code == 0, done.err
    assert len(list(folder.glob("*.md"))) == NOTES * (1 + (moment == "sending"))
    other = Device(Path(f"{device.base}-other"), bytes([7]) * 32)
    await server.add_account(other.public)
    other.configure(server.url)
    assert (await other("sync")).code == 0
    assert {p.name: p.read_text() for p in (other.folder / "Home").glob("*.md")} == {
        p.name: p.read_text() for p in folder.glob("*.md")
    }
