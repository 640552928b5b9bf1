"""Texts and notes put back, where it is not plain what that means."""

import random
import time

import pytest

from heapsyncd.cache import heaps, history
from heapsyncd.database import Tx
from heapsyncd.errors import UserError
from heapsyncd.model import HistoryLimits
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.offline.status import cached_deletions
from heapsyncd.sync.offline.versions import restore_alone, versions
from heapsyncd.sync.report import RestoreRequest
from tests.sync.rig import Device, World


async def put_back(
    device: Device, path: str, number: int | None = None, *, preview: bool = False
) -> list[str]:
    wanted = RestoreRequest((str(device.root / path),), number, preview=preview)
    told = await restore_alone(device.account, device.base / "state", wanted)
    return [one["path"].removeprefix(f"{device.root}/") for one in told]


async def test_deleted_for_good(world: World) -> None:
    """What can't come back under its id comes back as a new note, its text as it stood. Without a
    text it can't, which is said before anything is done.
    """
    device = world.device()
    block = await world.add("Note", "text\n", add_tags=frozenset())
    folder = await world.add_named("folder", "Projects")
    await device.synced()
    for gone in (block, folder):
        await world.delete_for_good(gone)
    await device.synced()
    assert device.notes() == {}
    for preview in (True, False):
        with pytest.raises(UserError, match="deleted permanently, and nothing is kept of it"):
            await put_back(device, "Projects", preview=preview)
    assert await put_back(device, "Note.md", preview=True) == ["Note.md"]
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


async def test_what_could_not_be_sent_is_kept(world: World) -> None:
    """A text that its document does not take is in the history before another is written."""
    device = world.device()
    block = await world.add("Note", "one\n")
    await device.synced()
    path = device.root / "Note.md"
    path.write_text(path.read_text().replace("one", "two"))
    await device.synced()
    async with await open_cache(device.account, device.base / "state") as db:
        await db.write(lambda tx: tx.execute("UPDATE log SET data = x'0102ff'"))
    path.write_text(path.read_text().replace("two", "nowhere else"))
    assert await put_back(device, "Note.md") == ["Note.md"]
    assert device.notes() == {"Note.md": "two\n"}
    async with await open_cache(device.account, device.base / "state") as db:
        kept = await db.read(lambda tx: history.versions(tx, block))
    assert [v.data.count(b"nowhere else") for v in kept].count(1) == 1


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


async def test_nothing_is_restored_that_is_there(world: World) -> None:
    """A version that the file shows changes nothing, nor does looking at what would change; a file
    that is no note is refused before anything is done.
    """
    device = world.device()
    await world.add("Note", "text\n")
    await device.synced()
    path = device.root / "Note.md"
    with pytest.raises(UserError, match="has no earlier text: no text but the present one"):
        await put_back(device, "Note.md")
    path.write_text(path.read_text().replace("text", "new"))
    (device.root / "Note.assets").mkdir()
    (device.root / "Note.assets" / "plan.png").write_bytes(b"plan")
    await device.synced()
    before = path.stat()
    state = device.base / "state"
    listed = await versions(device.account, state, [str(path)])
    assert listed is not None
    present, earlier = (v["number"] for v in listed["versions"])
    for request in (
        RestoreRequest((str(path),), present),
        RestoreRequest((str(path),), earlier, preview=True),
        RestoreRequest((str(path),), preview=True),
    ):
        (one,) = await restore_alone(device.account, state, request)
        assert (one["changed"], bool(one["diff"])) == ((request.number != present),) * 2
        assert path.stat() == before
    for name in ("Note.assets/plan.png", "Note.assets/gone.png"):
        with pytest.raises(UserError, match="only notes have versions"):
            await put_back(device, name)
        with pytest.raises(UserError, match="only notes have versions"):
            await versions(device.account, state, [str(device.root / name)])


async def test_history_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By days, by size, and by the number of texts of one note; what nobody else has stays."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    async with await open_cache(device.account, device.base / "state") as db:

        def keep(tx: Tx) -> None:
            for k in range(100):
                notice = "look" if k == 10 else None
                data = f"{k}\n".encode() + random.Random(k).randbytes(1000)
                at_ms = k * 1_000_000
                history.keep(tx, world.heap, block, "Note.md", "saved", data, at_ms, notice)

        async def left(limits: HistoryLimits) -> list[int]:
            await db.write(lambda tx: history.trim(tx, 100_000_000, limits))
            kept = await db.read(lambda tx: history.of_block(tx, block))
            return [int(v.data.split(b"\n")[0]) for v in kept]

        await db.write(keep)
        assert await left(HistoryLimits()) == list(range(99, -1, -1))
        monkeypatch.setattr(history, "KEEP", 90)
        assert await left(HistoryLimits()) == list(range(99, 9, -1))
        assert await left(HistoryLimits(days=1)) == [*range(99, 13, -1), 10]
        assert await left(HistoryLimits(mb=0.02)) == [*range(99, 80, -1), 10]
        assert await left(HistoryLimits(days=0)) == [10]
        (device.root / "Note.md").unlink()
    await device.synced()
    async with await open_cache(device.account, device.base / "state") as db:
        await db.write(lambda tx: history.trim(tx, 1 << 50, HistoryLimits(0, 0)))
        kept = await db.read(lambda tx: history.of_block(tx, block))
    assert (kept[0].why, kept[0].data.endswith(b"text\n")) == ("deleted", True)


async def test_a_clock_far_ahead_deletes_no_history(world: World) -> None:
    """A machine whose clock was set ten years ahead keeps what is two days old; later it goes."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    now_ms = time.time_ns() // 1_000_000
    day_ms = 24 * 3600 * 1000
    async with await open_cache(device.account, device.base / "state") as db:

        async def left(at_ms: int) -> list[bytes]:
            await db.write(lambda tx: history.trim(tx, at_ms, HistoryLimits()))
            return [v.data for v in await db.read(lambda tx: history.of_block(tx, block))]

        def keep(tx: Tx) -> None:
            for days in (100, 2):
                at_ms = now_ms - days * day_ms
                history.keep(tx, world.heap, block, "Note.md", "saved", b"%d" % days, at_ms)

        await db.write(keep)
        assert await left(now_ms + 3650 * day_ms) == [b"2"]
        later_ms = now_ms + 95 * day_ms
        await db.write(lambda tx: heaps.set_cursor(tx, world.heap, later_ms))
        assert await left(later_ms) == []


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
