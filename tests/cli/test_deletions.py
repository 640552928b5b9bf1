"""``deletions``: what is held, let through and taken back, beside a daemon and without one."""

import json

import pytest

from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device, eventually


async def filled(device: Device, server: Server) -> tuple[HeapId, list[BlockId]]:
    heap = await server.add_heap("Home")
    device.configure(server.url)
    return heap, [await server.add_block(heap, "document", f"N{k:02}") for k in range(16)]


def delete(device: Device) -> None:
    for k in range(12):
        (device.folder / "Home" / f"N{k:02}.md").unlink()


async def trashed(server: Server, blocks: list[BlockId]) -> int:
    documents = [await server.document(b) for b in blocks]
    return sum(1 for d in documents if d.fields().deleted_at_ms is not None)


@pytest.mark.slow
async def test_without_a_daemon_the_next_pass_heeds_it(device: Device, server: Server) -> None:
    """``sync`` says what is held; a decision is kept until a pass carries it out."""
    _, blocks = await filled(device, server)
    assert (await device("sync")).code == 0
    assert (await device("deletions", "--confirm")).out == "no deletions are held\n"
    delete(device)
    done = await device("sync")
    assert done.code == 1
    assert "12 deletions held" in done.err
    listed = await device("deletions")
    assert listed.code == 0
    assert "12 deletions made here are held" in listed.out
    assert "  N00.md\n" in listed.out
    undone = await device("deletions", "--undo")
    assert undone.code == 0
    assert "12 deletions are brought back with the next" in undone.out
    assert (await device("sync")).code == 0
    assert len(list((device.folder / "Home").glob("*.md"))) == 16
    delete(device)
    assert (await device("sync")).code == 1
    (heap,) = json.loads((await device("deletions", "--confirm", "--json")).out)["accounts"][0][
        "heaps"
    ]
    assert [h["path"] for h in heap["held"]] == [f"N{k:02}.md" for k in range(12)]
    assert (await device("sync")).code == 0
    assert await trashed(server, blocks) == 12
    assert (await device("deletions")).out == "no deletions are held\n"


async def test_beside_a_daemon_it_acts_at_once(device: Device, server: Server) -> None:
    """The running daemon lists, undoes and confirms; its status counts what is held."""
    _, blocks = await filled(device, server)
    async with device.daemon():
        delete(device)

        async def holds(count: int) -> bool:
            return bool((await device.status())["heaps"][0]["held_deletions"] == count)

        await eventually(lambda: holds(12))
        assert await trashed(server, blocks) == 0
        assert "  N00.md\n" in (await device("deletions")).out
        assert "carried out now" in (await device("deletions", "--confirm")).out
        await eventually(lambda: holds(0))
        await eventually(lambda: device.is_("in sync"))
    assert await trashed(server, blocks) == 12


async def test_both_decisions_at_once_are_a_mistake(device: Device) -> None:
    """It is said, and nothing is decided."""
    device.configure("http://127.0.0.1:1")
    done = await device("deletions", "--confirm", "--undo")
    assert done.code == 2
    assert "exclude each other" in done.err
