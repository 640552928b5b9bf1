"""``deletions``: what is held, let through and taken back, beside a daemon and without one."""

import json
import shutil

import pytest

from heapsyncd.document.edit import Target, express
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
    assert (await device.inside("sync")).code == 0
    assert (await device("deletions", "--confirm")).out == "no deletions are held\n"
    delete(device)
    done = await device.inside("sync")
    assert done.code == 1
    assert "12 deletions held" in done.err
    listed = await device.inside("deletions")
    assert listed.code == 0
    assert "12 deletions made here are held" in listed.out
    assert "  folder/Home/N00.md\n" in listed.out
    undone = await device.inside("deletions", "--undo")
    assert undone.code == 0
    assert "12 deletions are brought back with the next" in undone.out
    assert (await device.inside("sync")).code == 0
    assert len(list((device.folder / "Home").glob("*.md"))) == 16
    delete(device)
    assert (await device.inside("sync")).code == 1
    (heap,) = json.loads((await device.inside("deletions", "--confirm", "--json")).out)[
        "accounts"
    ][0]["heaps"]
    assert [h["path"] for h in heap["held"]] == [f"N{k:02}.md" for k in range(12)]
    assert (await device.inside("sync")).code == 0
    assert await trashed(server, blocks) == 12
    assert (await device.inside("deletions")).out == "no deletions are held\n"


async def test_beside_a_daemon_it_acts_at_once(device: Device, server: Server) -> None:
    """The running daemon lists, undoes and confirms; its status counts what is held."""
    _, blocks = await filled(device, server)
    async with device.daemon():
        delete(device)

        async def holds(count: int) -> bool:
            return bool((await device.status())["heaps"][0]["held_deletions"] == count)

        await eventually(lambda: holds(12))
        assert await trashed(server, blocks) == 0
        assert "  folder/Home/N00.md\n" in (await device.inside("deletions")).out
        assert "carried out now" in (await device.inside("deletions", "--confirm")).out
        await eventually(lambda: holds(0))
        await eventually(lambda: device.is_("in sync"))
    assert await trashed(server, blocks) == 12


async def test_both_decisions_at_once_are_a_mistake(device: Device) -> None:
    """It is said, and nothing is decided."""
    device.configure("http://127.0.0.1:1")
    done = await device.inside("deletions", "--confirm", "--undo")
    assert done.code == 2
    assert "exclude each other" in done.err


async def test_a_part_is_decided_on_by_its_path(device: Device, server: Server) -> None:
    """Paths are printed and taken as the shell sees them; a mistyped one decides nothing."""
    heap = await server.add_heap("Home")
    folder = await server.add_block(heap, "folder", "My Bulk")
    tag = express([], Target(add_tags=frozenset({folder}))).update or b""
    for k in range(14):
        await server.add_block(heap, "document", f"N{k:02}", tag)
    device.configure(server.url)
    bulk = device.folder / "Home" / "My Bulk"
    async with device.daemon():
        shutil.rmtree(bulk)

        async def holds(count: int) -> bool:
            return bool((await device.status())["heaps"][0]["held_deletions"] == count)

        await eventually(lambda: holds(15))
        listed = (await device.inside("deletions")).out
        assert "  folder/Home/My Bulk  and 14 more in it\n" in listed
        assert "`heapsyncd deletions --undo 'folder/Home/My Bulk'`" in listed
        wrong = await device.inside("deletions", "--confirm", str(bulk), "nowhere")
        assert wrong.code == 1
        assert "nowhere: no deletion is held there" in wrong.err
        done = await device.inside("deletions", "--undo", "folder/Home/My Bulk/N03.md", "--json")
        (found,) = json.loads(done.out)["accounts"][0]["heaps"]
        assert [(h["path"], h["file"], h["decision"]) for h in found["held"]] == [
            ("My Bulk/N03.md", str(bulk / "N03.md"), "undo")
        ]

        async def is_back() -> bool:
            return [p.name for p in bulk.iterdir()] == ["N03.md"]

        await eventually(lambda: holds(13))
        await eventually(is_back)  # it is written once it is not held any more
        assert (
            "13 deletions are carried out now"
            in (await device.inside("deletions", "--confirm")).out
        )
        await eventually(lambda: holds(0))
        await eventually(lambda: device.is_("in sync"))
    assert [p.name for p in bulk.iterdir()] == ["N03.md"]
