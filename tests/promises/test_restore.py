"""Texts and notes put back, where it is not plain what that means."""

import pytest
from pycrdt import Doc, Map

from heapsyncd.cache import history
from heapsyncd.errors import UserError
from heapsyncd.ids import BlockId
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.offline.status import cached_deletions
from heapsyncd.sync.offline.versions import restore_alone
from heapsyncd.sync.report import RestoreRequest
from tests.sync.rig import Device, World


async def put_back(device: Device, path: str, number: int | None = None) -> list[str]:
    wanted = RestoreRequest((str(device.root / path),), number)
    told = await restore_alone(device.account, device.base / "state", wanted)
    return [one["path"].removeprefix(f"{device.root}/") for one in told]


async def delete_for_good(world: World, block: BlockId) -> None:
    state = (await world.server.document(block)).state()
    doc: Doc[Map[object]] = Doc()
    doc.apply_update(state)
    before = doc.get_state()
    doc.get("meta_v0", type=Map)["permanently_deleted_at"] = 1_760_000_000_000
    await world.server.apply(block, doc.get_update(before))


async def test_deleted_for_good(world: World) -> None:
    """What can't come back under its id comes back as a new note, its text as it stood."""
    device = world.device()
    block = await world.add("Note", "text\n", add_tags=frozenset())
    await device.synced()
    await delete_for_good(world, block)
    await device.synced()
    assert device.notes() == {}
    assert await put_back(device, "Note.md") == ["Note.md"]
    await device.synced()
    assert device.notes() == {"Note.md": "text\n"}
    assert device.id_of("Note.md") != block


async def test_a_file_that_was_just_deleted(world: World) -> None:
    """A deletion that no pass has seen yet is simply undone."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    (device.root / "Note.md").unlink()
    assert await put_back(device, "Note.md") == ["Note.md"]
    assert device.notes() == {"Note.md": "text\n"}
    with pytest.raises(UserError, match="no version 99"):
        await put_back(device, "Note.md", 99)
    await device.synced()
    assert device.id_of("Note.md") == block


async def test_a_version_beside_remote_changes(world: World) -> None:
    """What others write meanwhile is not undone by a text that goes back here."""
    device = world.device()
    block = await world.add("Note", "one\n\nlast\n")
    await device.synced()
    path = device.root / "Note.md"
    path.write_text(path.read_text().replace("one", "one two"))
    await device.synced()
    await world.change(block, body="one two\n\nlast and theirs\n")
    assert await put_back(device, "Note.md") == ["Note.md"]
    await device.synced()
    assert device.notes() == {"Note.md": "one\n\nlast and theirs\n"}
    assert await world.text(block) == "one\nlast and theirs"


async def test_history_is_bounded(world: World) -> None:
    """A note that is deleted and comes back again and again keeps its latest texts."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    async with await open_cache(device.account, device.base / "state") as db:
        for k in range(100):
            data = f"{k}\n".encode()
            await db.write(
                lambda tx, d=data: history.keep(tx, world.heap, block, "Note.md", "stale", d, 1)  # type: ignore[misc]
            )
        kept = await db.read(lambda tx: history.of_block(tx, block))
    assert [v.data for v in kept] == [f"{k}\n".encode() for k in range(99, 35, -1)]


async def test_a_mass_deletion_that_was_confirmed(world: World) -> None:
    """Everything comes back under its id, with its texts, when all of a heap is asked for."""
    device = world.device()
    ids = {f"N{k:02}.md": await world.add(f"N{k:02}", f"text {k}\n") for k in range(15)}
    await device.synced()
    for name in ids:
        (device.root / name).unlink()
    assert (await device.once()).exit_code == 1
    await cached_deletions(device.account, device.base / "state", "confirm")
    await device.synced()
    assert device.notes() == {}
    assert len(await put_back(device, ".")) == 15
    await device.synced()
    assert device.notes() == {f"N{k:02}.md": f"text {k}\n" for k in range(15)}
    assert {name: device.id_of(name) for name in ids} == ids
    for block in ids.values():
        assert (await world.server.document(block)).fields().deleted_at_ms is None
    async with await open_cache(device.account, device.base / "state") as db:
        for block in ids.values():
            assert len(await db.read(lambda tx, b=block: history.versions(tx, b))) >= 2  # type: ignore[misc]
