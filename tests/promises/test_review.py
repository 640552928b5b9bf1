"""What a person should look at: changes that met, saves of an old text, edits of deleted notes."""

import asyncio
import shutil

import pytest

from heapsyncd.cache import history
from heapsyncd.document.edit import Target, express
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.heap.timing import Timing
from heapsyncd.sync.offline.status import cached_status
from tests.sync.rig import Device, World, until


async def notices(device: Device) -> list[str]:
    status = await cached_status(device.account, device.base / "state")
    found: list[str] = status["heaps"][0]["notices"]
    return found


def change(device: Device, old: str, new: str) -> None:
    path = device.root / "Note.md"
    path.write_text(path.read_text().replace(old, new))


async def test_saved_over_what_came(world: World) -> None:
    """Both sides changed one line: a notice names the line and quotes all three readings."""
    device = world.device()
    block = await world.add("Note", "first line\n\nthe sail\n")
    await device.synced()
    change(device, "the sail", "the sail is red")
    await world.change(block, body="first line\n\nthe sail is torn\n")
    await device.synced()
    (notice,) = await notices(device)
    lines = (device.root / "Note.md").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if text.startswith("the sail"))
    assert notice.startswith(f'Note.md: line {line}: changed here to "the sail is red" and else')
    assert '"the sail is torn"' in notice
    assert device.report.heaps[world.heap].notices == [notice]


async def test_a_review_stays_told_while_the_mirror_goes_on(world: World) -> None:
    """What was looked up for ``status`` is in the report once, also after the next change."""
    device = world.device()
    block = await world.add("Note", "the sail\n")
    await device.synced()
    change(device, "the sail", "the sail is red")
    await world.change(block, body="the sail is torn\n")
    await device.synced()
    told = await notices(device)
    async with device.running():
        await device.in_sync()
        commands, report = device.report.commands, device.report.heaps[world.heap]
        assert commands is not None
        await asyncio.gather(commands.recount(), commands.recount())
        assert report.notices == told
        await world.add("Other", "text\n")
        await until(lambda: report.notes == 2, "another note is counted")
        assert report.notices == told


async def test_unsent_edits_meet_what_comes(world: World, tmp_path: object) -> None:
    """An edit read while the server was away meets what was written there meanwhile."""
    device = world.device()
    device.timing = Timing(news_s=0.01)
    block = await world.add("Note", "the sail\n")
    await device.synced()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heapsyncd.sync.runtime.heap.poll", _away)
        async with device.running():
            change(device, "the sail", "the sail is red")
            await until(lambda: device.report.heaps[world.heap].pending_up, "pending")
    await world.change(block, body="the sail is torn\n")
    await device.synced()
    (notice,) = await notices(device)
    assert '"the sail is red"' in notice
    assert '"the sail is torn"' in notice
    async with await open_cache(device.account, device.base / "state") as db:
        kept = await db.read(lambda tx: history.of_block(tx, block))
    assert [(v.why, b"the sail is red" in v.data) for v in kept] == [("overlap", True)]


async def _away(*_: object) -> bool:
    from heapsyncd.errors import Unreachable  # noqa: PLC0415

    raise Unreachable("the server is away")


async def test_changes_apart_need_no_look(world: World) -> None:
    """Edits of different words of one line merge without a notice, sent or not."""
    device = world.device()
    block = await world.add("Note", "the red sail\n")
    await device.synced()
    change(device, "the", "our")
    await world.change(block, body="the red boat\n")
    await device.synced()
    assert device.notes() == {"Note.md": "our red boat\n"}
    assert await notices(device) == []


async def test_our_own_echo_is_no_overlap(world: World) -> None:
    """What comes back over the live link while the next save is unsent needs no look."""
    device = world.device()
    await world.add("Note", "the sail\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        for k in range(8):
            change(device, "the sail", f"the sail {k}")
            await until(lambda: device.report.state != "in sync", "noticed")
            await until(lambda: not device.report.heaps[world.heap].reading, "read")
        await device.in_sync()
    assert await notices(device) == []


async def test_an_old_text_saved(world: World) -> None:
    """A save from an earlier text over a newer one is kept as it was, with a notice."""
    device = world.device()
    block = await world.add("Note", "first words here\n")
    await device.synced()
    loaded = (device.root / "Note.md").read_text()
    await world.change(block, body="first words here, and some more of them\n")
    await device.synced()
    (device.root / "Note.md").write_text(loaded.replace("first", "very first"))
    await device.synced()
    assert device.notes() == {"Note.md": "very first words here, and some more of them\n"}
    (notice,) = await notices(device)
    assert "saved an outdated copy" in notice
    async with await open_cache(device.account, device.base / "state") as db:
        (kept,) = await db.read(lambda tx: history.of_block(tx, block))
    assert kept.data.decode() == loaded.replace("first", "very first")


async def test_an_edit_of_a_deleted_note(world: World) -> None:
    """A note edited here and deleted there comes back, and that is told."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    change(device, "text", "text kept")
    await world.change(block, deleted_at_ms=1_760_000_000_000)
    await device.synced()
    assert device.notes() == {"Note.md": "text kept\n"}
    (notice,) = await notices(device)
    assert (
        notice
        == "Note.md: It was deleted on the server while you edited it here. The note was kept."
    )


async def test_a_deletion_of_an_edited_note(world: World) -> None:
    """A note deleted here and edited there comes back with the edit, and that is told."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    (device.root / "Note.md").unlink()
    await world.change(block, body="text kept\n")
    await device.synced()
    assert device.notes() == {"Note.md": "text kept\n"}
    assert (await world.server.document(block)).fields().deleted_at_ms is None
    (notice,) = await notices(device)
    assert "deleted here before somebody else" in notice
    (device.root / "Note.md").unlink()
    await device.synced()
    assert (await world.server.document(block)).fields().deleted_at_ms is not None


async def test_a_deletion_of_a_directory_with_an_edited_note(world: World) -> None:
    """The note that was edited there comes back with its directory and its files; what nobody
    edited is deleted.
    """
    device = world.device()
    await device.synced()
    assets = device.root / "Projects" / "Boat.assets"
    assets.mkdir(parents=True)
    (assets / "plan.pdf").write_bytes(b"plan")
    (device.root / "Projects" / "Boat.md").write_text("text\n\n![[plan.pdf]]\n")
    (device.root / "Projects" / "Other.md").write_text("text\n")
    await device.synced()
    block, other = device.id_of("Projects/Boat.md"), device.id_of("Projects/Other.md")
    shutil.rmtree(device.root / "Projects")
    replica = await world.server.document(block)
    made = express([replica.state()], Target(title="Ship"))
    assert made.update is not None
    await world.server.apply(block, made.update)
    await device.synced()
    assert list(device.notes()) == ["Projects/Ship.md"]
    assert (device.root / "Projects" / "Ship.assets" / "plan.pdf").read_bytes() == b"plan"
    assert (await world.server.document(block)).fields().deleted_at_ms is None
    assert (await world.server.document(other)).fields().deleted_at_ms is not None
