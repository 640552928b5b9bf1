"""Deletions held back, on both sides: nothing is lost, nothing goes on without a word."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.cache.blocks import BlockState
from heapsyncd.errors import BlockError
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.ids import BlockId
from heapsyncd.sync.deletions import carry_out
from heapsyncd.sync.deletions.confirmed import confirmed
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.offline.status import cached_deletions, cached_status
from heapsyncd.sync.offline.versions import restore_alone
from heapsyncd.sync.publish import publish
from heapsyncd.sync.report import RestoreRequest
from heapsyncd.wire.signin import public_key
from tests.sync.rig import DEADLINE_S, Device, World, until

THEN_MS = 1_760_000_000_000


async def many(world: World, count: int = 20) -> list[BlockId]:
    return [await world.add(f"N{k:02}", f"text *{k}*\n") for k in range(count)]


async def trashed(world: World, blocks: list[BlockId]) -> int:
    """How many are in the server's trash."""
    documents = [await world.server.document(b) for b in blocks]
    return sum(1 for d in documents if d.fields().deleted_at_ms is not None)


def held(device: Device) -> int:
    return sum(h.held_deletions for h in device.report.heaps.values())


async def decide(
    device: Device, decision: str | None = None, paths: Sequence[Path] | None = None
) -> list[dict[str, Any]]:
    """As the command does while no daemon runs; what is held."""
    at = None if paths is None else [str(path) for path in paths]
    found = await cached_deletions(device.account, device.base / "state", decision, at)
    return [h for heap in found for h in heap["held"]]


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


async def holding_many(
    world: World, count: int = 20, gone: int = 15
) -> tuple[Device, list[BlockId]]:
    """A device whose first notes were deleted by hand while no daemon ran, and held."""
    blocks = await many(world, count)
    device = world.device()
    await device.synced()
    for k in range(gone):
        (device.root / f"N{k:02}.md").unlink()
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert verdict.left == (f"Home: {gone} deletions held; `heapsyncd deletions` lists them",)
    return device, blocks


async def test_a_mass_deletion_is_held_over_restarts(world: World) -> None:
    """Nothing reaches the server; the hold is in the status, of the next life and of none."""
    device, blocks = await holding_many(world)
    assert (await device.once()).exit_code == 1
    assert held(device) == 15
    assert await trashed(world, blocks) == 0
    assert len(await decide(device)) == 15
    status = await cached_status(device.account, device.base / "state")
    assert status["heaps"][0]["held_deletions"] == 15
    assert status["heaps"][0]["pending_down"] == 0


async def test_few_deletions_are_not_held(world: World) -> None:
    """Ten files may go at once, whatever their share."""
    blocks = await many(world, 12)
    device = world.device()
    await device.synced()
    for k in range(10):
        (device.root / f"N{k:02}.md").unlink()
    await device.synced()
    assert await trashed(world, blocks) == 10


@pytest.mark.slow
async def test_small_steps_within_an_hour_are_held(world: World) -> None:
    """What was deleted shortly before counts, also when it was another process' life."""
    blocks = await many(world)
    device = world.device()
    await device.synced()
    for step in range(2):
        for k in range(step * 5, step * 5 + 5):
            (device.root / f"N{k:02}.md").unlink()
        await device.synced()
    (device.root / "N10.md").unlink()
    assert (await device.once()).exit_code == 1
    assert held(device) == 1
    assert await trashed(world, blocks) == 10
    await decide(device, "confirm")
    await device.synced()
    (device.root / "N11.md").unlink()
    await device.synced()  # a person looked: the hour begins anew
    assert await trashed(world, blocks) == 12


async def test_confirmed(world: World) -> None:
    """Confirmed deletions go to the server's trash, and the device is in sync."""
    device, blocks = await holding_many(world)
    assert {h["decision"] for h in await decide(device, "confirm")} == {"confirm"}
    await device.synced()
    assert await trashed(world, blocks) == 15
    assert len(device.notes()) == 5
    assert await decide(device) == []


async def test_undone(world: World) -> None:
    """Notes, folders and attachments come back where they were, byte for byte, same blocks."""
    folder = await world.add_named("folder", "Trips")
    device = world.device()
    blocks = [
        await world.add(f"N{k:02}", f"text *{k}*\n", add_tags=frozenset({folder}))
        for k in range(15)
    ]
    await device.synced()
    (device.root / "Trips" / "N00.assets").mkdir()
    (device.root / "Trips" / "N00.assets" / "a.bin").write_bytes(b"\0\1" * 999)
    (device.root / "Trips" / "photo.jpg").write_bytes(b"jpg" * 999)
    odd = device.root / "Trips" / "N01.md"
    odd.write_text(odd.read_text() + "\n* odd\n* style\n")
    await device.synced()
    before, listed = contents(device.root), await world.blocks()
    shutil.rmtree(device.root / "Trips")
    assert (await device.once()).exit_code == 1
    assert held(device) == 18
    assert not (device.root / "Trips").exists()
    await decide(device, "undo")
    await device.synced()
    assert contents(device.root) == before
    assert await world.blocks() == listed
    assert await trashed(world, [*blocks, folder]) == 0


async def test_decided_while_it_runs(world: World) -> None:
    """A running mirror acts on a decision at once; a second deletion is held again."""
    blocks = await many(world)
    device = world.device()
    async with device.running():
        await device.in_sync()
        before = contents(device.root)
        for decision in ("undo", "confirm"):
            for k in range(15):
                (device.root / f"N{k:02}.md").unlink()
            await until(lambda: held(device) == 15, "held")
            assert device.report.commands is not None
            (heap,) = await device.report.commands.deletions(decision)
            assert len(heap["held"]) == 15
            await until(lambda: held(device) == 0, "decided")
            await device.in_sync()
            if decision == "undo":
                assert contents(device.root) == before
    assert await trashed(world, blocks) == 15
    assert device.report.commands is None


async def test_a_file_that_comes_back_leaves_the_hold(world: World) -> None:
    """Put back as it was, moved elsewhere, or edited: it is no deletion any more."""
    blocks = await many(world)
    device = world.device()
    await device.synced()
    away = device.base / "away"
    away.mkdir()
    for k in range(15):
        (device.root / f"N{k:02}.md").rename(away / f"N{k:02}.md")
    assert (await device.once()).exit_code == 1
    (away / "N00.md").rename(device.root / "N00.md")
    (away / "N01.md").rename(device.root / "Moved.md")
    text = (away / "N02.md").read_text()
    (device.root / "N02.md").write_text(text.replace("text", "edited"))
    assert (await device.once()).exit_code == 1
    assert held(device) == 12
    for k in range(3, 15):
        (away / f"N{k:02}.md").rename(device.root / f"N{k:02}.md")
    await device.synced()
    assert await trashed(world, blocks) == 0
    assert (await world.server.document(blocks[1])).fields().title == "Moved"
    assert await world.text(blocks[2]) == "edited 2"


async def test_a_later_deletion_joins_the_hold(world: World) -> None:
    """While a hold stands nothing is deleted past it."""
    device, blocks = await holding_many(world)
    (device.root / "N19.md").unlink()
    assert (await device.once()).exit_code == 1
    assert held(device) == 16
    assert await trashed(world, blocks) == 0


async def test_the_rest_goes_on_while_deletions_are_held(world: World) -> None:
    """Edits, renames and new notes travel both ways; held notes that change on the server wait."""
    device, blocks = await holding_many(world)
    await world.change(blocks[0], title="Renamed while held")
    await world.change(blocks[1], body="edited while held\n")
    await world.change(blocks[19], body="edited beside\n")
    new = await world.add("New", f"see {blocks[19]}\n")
    (device.root / "Mine.md").write_text("mine\n")
    assert (await device.once()).exit_code == 1
    assert held(device) == 15
    assert device.notes()["N19.md"] == "edited beside\n"
    assert device.id_of("New.md") == new
    assert "Mine" in await world.titles()
    assert "N01.md" not in device.notes()
    await decide(device, "undo")
    await device.synced()
    assert device.notes()["N01.md"] == "edited while held\n"
    assert device.notes()["Renamed while held.md"] == "text *0*\n"


async def test_an_edit_wins_over_a_held_deletion(world: World) -> None:
    """What somebody wrote to on the server since comes back when the deletion is confirmed."""
    device, blocks = await holding_many(world)
    await world.change(blocks[3], body="still needed\n")
    await device.once()
    await decide(device, "confirm")
    await device.synced()
    assert device.notes()["N03.md"] == "still needed\n"
    assert await trashed(world, blocks) == 14


async def test_deleted_on_both_sides(world: World) -> None:
    """A held deletion that the server makes too needs nobody's word."""
    device, blocks = await holding_many(world)
    for block in blocks[:3]:
        await world.change(block, deleted_at_ms=THEN_MS)
    assert (await device.once()).exit_code == 1
    assert held(device) == 12
    await decide(device, "undo")
    await device.synced()
    assert len(device.notes()) == 17


async def test_a_mass_deletion_from_the_server_is_held(world: World) -> None:
    """The files stay until it is confirmed; then they go."""
    blocks = await many(world)
    device = world.device()
    await device.synced()
    before = contents(device.root)
    for block in blocks[:15]:
        await world.change(block, deleted_at_ms=THEN_MS)
    for _ in range(2):
        verdict = await device.once()
        assert verdict.exit_code == 1
        assert held(device) == 15
        assert contents(device.root) == before
    assert {h["deleted"] for h in await decide(device)} == {"on the server"}
    await decide(device, "confirm")
    await device.synced()
    assert len(device.notes()) == 5
    assert await trashed(world, blocks) == 15


async def test_a_mass_deletion_from_the_server_is_undone(world: World) -> None:
    """The notes leave the server's trash, also those let through before; another device has them
    again.
    """
    blocks = await many(world)
    device, other = world.device(), world.device("b")
    await device.synced()
    before = contents(device.root)
    for block in blocks[:4]:
        await world.change(block, deleted_at_ms=THEN_MS)
    await device.synced()
    for block in blocks[4:15]:
        await world.change(block, deleted_at_ms=THEN_MS)
    await device.once()
    assert held(device) == 11
    await decide(device, "undo")
    await device.synced()
    assert await trashed(world, blocks) == 0
    assert contents(device.root) == before
    await other.synced()
    assert other.notes() == device.notes()


async def test_the_server_takes_its_deletion_back(world: World) -> None:
    """Restored there, or edited here: those are held no more."""
    blocks = await many(world)
    device = world.device()
    await device.synced()
    for block in blocks[:15]:
        await world.change(block, deleted_at_ms=THEN_MS)
    await device.once()
    for block in blocks[:10]:
        await world.change(block, deleted_at_ms=None)
    note = device.root / "N10.md"
    note.write_text(note.read_text().replace("text", "written here"))
    (device.root / "N11.md").unlink()
    assert (await device.once()).exit_code == 1
    assert [h["path"] for h in await decide(device)] == ["N12.md", "N13.md", "N14.md"]
    assert held(device) == 3
    assert await world.text(blocks[10]) == "written here 10"
    assert await trashed(world, blocks) == 4


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["confirm", "undo"])
async def test_killed_while_a_decision_is_carried_out(
    world: World, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    """The next life goes on with it: all of it is done, nothing twice."""
    device, blocks = await holding_many(world)

    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    await decide(device, decision)
    with monkeypatch.context() as patch:
        patch.setattr(HeapContext, "release_holds", killed)
        with pytest.raises(BaseExceptionGroup):
            await device.once()
    await device.synced()
    assert await decide(device) == []
    assert await trashed(world, blocks) == (15 if decision == "confirm" else 0)
    assert len(device.notes()) == (5 if decision == "confirm" else 20)


async def test_a_formatter_is_let_through_and_told_of(world: World) -> None:
    """Rewriting all notes is sent, as an edit of each, and the status says so."""
    blocks = await many(world, 15)
    device = world.device()
    async with device.running():
        await device.in_sync()
        for path in device.root.glob("*.md"):
            path.write_text(path.read_text().replace("*", "**"))
        await until(lambda: any(h.notices for h in device.report.heaps.values()), "the notice")
        await device.in_sync()
    (report,) = device.report.heaps.values()
    assert "of 15 files were rewritten" in report.notices[0]
    bold = [(await world.server.document(b)).view() for b in blocks]
    assert all("strong" in str(view) or "bold" in str(view) for view in bold)


async def test_a_held_folder_comes_back_for_what_is_new_in_it(world: World) -> None:
    """A note made in it, or moved into it, on the server needs its directory; the rest is held."""
    folder = await world.add_named("folder", "Trips")
    blocks = [
        await world.add(f"N{k:02}", "text\n", add_tags=frozenset({folder})) for k in range(15)
    ]
    moves = await world.add("Moves", "text\n")
    device = world.device()
    await device.synced()
    shutil.rmtree(device.root / "Trips")
    assert (await device.once()).exit_code == 1
    assert held(device) == 16
    await world.add("Fresh", "new\n", add_tags=frozenset({folder}))
    await world.change(moves, add_tags=frozenset({folder}))
    assert (await device.once()).exit_code == 1
    assert device.notes() == {"Trips/Fresh.md": "new\n", "Trips/Moves.md": "text\n"}
    assert held(device) == 15
    await decide(device, "confirm")
    await device.synced()
    assert await trashed(world, [*blocks, folder]) == 15
    assert len(device.notes()) == 2


async def test_restored_elsewhere_while_a_confirmation_is_carried_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files stay, or come back: the blocks live."""
    blocks = await many(world)
    device = world.device()
    await device.synced()
    before = device.notes()
    for block in blocks[:15]:
        await world.change(block, deleted_at_ms=THEN_MS)
    assert (await device.once()).exit_code == 1
    await decide(device, "confirm")

    async def slow(heap: HeapContext, states: Sequence[BlockState]) -> set[BlockId]:
        found = await confirmed(heap, states)
        for state in states:
            await world.change(state.id, deleted_at_ms=None)
        if not heap.lock.locked():  # news may be received now
            await until(lambda: all(heap.index.is_live(s.id) for s in states), "restored")
        return found

    monkeypatch.setattr("heapsyncd.sync.deletions.carry_out.confirmed", slow)
    async with device.running():
        await until(lambda: not held(device), "carried out")
        await device.in_sync()
        await until(lambda: device.notes() == before, "there")


# ---- one decision for all of one's devices ------------------------------------------------------


async def pair(world: World, *, same_key: bool = True) -> tuple[Device, Device, list[BlockId]]:
    """Two devices in sync, with sixteen notes, and (as usual) one key."""
    blocks = await many(world, 16)
    device, other = world.device(), world.device("b")
    if same_key:
        other.seed = device.seed
    await device.synced()
    await other.synced()
    return device, other, blocks


@pytest.mark.slow
async def test_what_was_confirmed_on_one_device_is_not_asked_on_another(world: World) -> None:
    """Neither of deletions made on the first, nor of those made on the server and held on both."""
    device, other, blocks = await pair(world)
    for block in blocks[:12]:
        await world.change(block, deleted_at_ms=THEN_MS)
    assert (await device.once()).exit_code == 1
    async with other.running():
        await until(lambda: held(other) == 12, "held")
        await decide(device, "confirm")
        await device.synced()
        await until(lambda: len(other.notes()) == 4, "carried out")
        await other.in_sync()
    await many(world, 16)
    await device.synced()
    await other.synced()
    for path in list(device.root.glob("*.md"))[:15]:
        path.unlink()
    assert (await device.once()).exit_code == 1
    await decide(device, "confirm")
    await device.synced()
    await other.synced()
    assert other.notes() == device.notes()
    assert len(other.notes()) == 5
    last = next(iter(other.root.glob("*.md")))
    last.unlink()  # what was confirmed does not count for the next hour
    await other.synced()


async def test_an_undo_wins_over_a_confirmation_elsewhere(world: World) -> None:
    """It was decided here, and is not carried out yet."""
    device, other, blocks = await pair(world)
    for block in blocks[:12]:
        await world.change(block, deleted_at_ms=THEN_MS)
    assert (await device.once()).exit_code == 1
    assert (await other.once()).exit_code == 1
    await decide(other, "undo")
    await decide(device, "confirm")
    await device.synced()
    await other.synced()
    assert len(other.notes()) == 16
    assert await trashed(world, blocks) == 0


@pytest.mark.parametrize(
    "forgery",
    ["another member's", "of another block", "of an undone one", "of an undone one, moved back"],
)
async def test_a_confirmation_counts_only_for_its_deletion(world: World, forgery: str) -> None:
    """Nobody else can make one, and none can be used again."""
    device, other, blocks = await pair(world, same_key=forgery != "another member's")
    (device.root / "N15.md").unlink()
    for block in blocks[:12]:
        (device.root / device_path(device, block)).unlink()
    assert (await device.once()).exit_code == 1
    if forgery == "of another block":
        await decide(device, "confirm", [device.root / "N15.md"])
        assert (await device.once()).exit_code == 1
        taken = await world.server.document(blocks[15])
        at_ms = taken.fields().deleted_at_ms
        assert taken.confirmations()
        for block in blocks[:12]:
            codes = tuple(taken.confirmations().items())
            await world.change(block, deleted_at_ms=at_ms, confirmations=codes)
    else:
        await decide(device, "confirm")
        await device.synced()
    if forgery.startswith("of an undone one"):
        await other.synced()
        assert len(other.notes()) == 3
        times = [(await world.server.document(b)).fields().deleted_at_ms for b in blocks[:12]]
        if forgery.endswith("moved back"):
            for block in blocks[:12]:
                await world.change(block, deleted_at_ms=THEN_MS)
            await other.once()
        for block in blocks[:12]:
            await world.change(block, deleted_at_ms=None)
        await other.synced()
        assert len(other.notes()) == 15
        for block, at_ms in zip(blocks, times, strict=False):
            await world.change(block, deleted_at_ms=at_ms)
    assert (await other.once()).exit_code == 1
    assert held(other) in {12, 13}
    assert len(other.notes()) >= 15


async def test_who_may_only_read_confirms_for_himself(world: World) -> None:
    """The server takes no confirmation from him; his device is in sync all the same."""
    device, _, blocks = await pair(world)
    await world.server.grant(world.heap, "ro", public_key(device.seed))
    for block in blocks[:12]:
        await world.change(block, deleted_at_ms=THEN_MS)
    assert (await device.once()).exit_code == 1
    await decide(device, "confirm")
    await device.synced()
    await device.synced()  # nothing is sent once more because the server does not have it
    assert len(device.notes()) == 4


def device_path(device: Device, block: BlockId) -> str:
    return next(p for p in device.notes() if device.id_of(p) == block)


# ---- undo --------------------------------------------------------------------------------------


async def test_undo_brings_back_what_was_let_through_before(world: World) -> None:
    """Also folders, files and attachments; an undo of a path, what was at that path."""
    folder = await world.add_named("folder", "Trips")
    for k in range(16):
        await world.add(f"N{k:02}", f"text *{k}*\n", add_tags=frozenset({folder}))
    device, other = world.device(), world.device("b")
    await device.synced()
    trips = device.root / "Trips"
    (trips / "N15.assets").mkdir()
    (trips / "N15.assets" / "a.bin").write_bytes(b"\0\1" * 999)
    (trips / "photo.jpg").write_bytes(b"jpg" * 999)
    await device.synced()
    await other.synced()
    before = contents(device.root)
    for name in ("N00.md", "N01.md", "photo.jpg", "N15.assets/a.bin"):
        (trips / name).unlink()
    await device.synced()
    await other.synced()
    assert len(other.notes()) == 14
    shutil.rmtree(trips)
    assert (await device.once()).exit_code == 1
    listed = await cached_deletions(device.account, device.base / "state")
    assert [p["path"] for p in listed[0]["passed"]] == [
        "Trips/N00.md", "Trips/N01.md", "Trips/N15.assets/a.bin", "Trips/photo.jpg",
    ]  # fmt: skip
    await decide(device, "undo", [trips / "N01.md", trips / "N07.md"])
    assert (await device.once()).exit_code == 1
    assert set(device.notes()) == {"Trips/N01.md", "Trips/N07.md"}
    await decide(device, "undo")
    await device.synced()
    await device.synced()
    assert contents(device.root) == before
    await other.synced()
    assert contents(other.root) == before
    assert await decide(device) == []


async def test_what_could_not_be_brought_back_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish for a note that had gone before the rest was held outlives a failure."""
    for k in range(16):
        await world.add(f"N{k:02}", f"text *{k}*\n")
    device = world.device()
    await device.synced()
    before = contents(device.root)
    (device.root / "N00.md").unlink()
    await device.synced()
    for k in range(1, 14):
        (device.root / f"N{k:02}.md").unlink()
    assert (await device.once()).exit_code == 1

    async def fails(*_arguments: object) -> None:
        raise BlockError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(carry_out, "edit_fields", fails)
        await decide(device, "undo")
        await device.once()
    assert contents(device.root).keys() == before.keys() - {"N00.md"}
    await device.synced()
    await device.synced()
    assert contents(device.root) == before


async def test_undo_brings_back_all_that_was_deleted_at_one_path(world: World) -> None:
    """A note, and another one that was made there afterwards and deleted too."""
    blocks = await many(world, 16)
    device = world.device()
    await device.synced()
    (device.root / "N00.md").unlink()
    await device.synced()
    (device.root / "N00.md").write_text("another\n")
    await device.synced()
    blocks.append((await world.titles())["N00"])
    (device.root / "N00.md").unlink()
    await device.synced()
    assert await trashed(world, blocks) == 2
    for k in range(1, 14):
        (device.root / f"N{k:02}.md").unlink()
    assert (await device.once()).exit_code == 1
    await decide(device, "undo")
    await device.synced()
    await device.synced()
    assert await trashed(world, blocks) == 0
    assert sorted(device.notes().values())[:2] == ["another\n", "text *0*\n"]


@pytest.mark.parametrize("side", ["here", "there"])
async def test_undone_while_a_confirmation_is_carried_out(
    world: World, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Who thinks better of it gets everything back, however far it was."""
    blocks = await many(world, 16)
    device = world.device()
    await device.synced()
    (device.root / "N15.assets").mkdir()
    (device.root / "N15.assets" / "a.bin").write_bytes(b"\0\1" * 999)
    await device.synced()
    before, real = contents(device.root), carry_out._remove_files
    if side == "here":
        (device.root / "N15.assets" / "a.bin").unlink()
    for block in blocks[:12]:
        if side == "here":
            (device.root / device_path(device, block)).unlink()
        else:
            await world.change(block, deleted_at_ms=THEN_MS)
    decided: list[Any] = []

    async def removed(*arguments: Any) -> None:
        await real(*arguments)
        if not decided:
            assert device.report.commands is not None
            decided.extend(await device.report.commands.deletions("undo"))

    monkeypatch.setattr(carry_out, "_remove_files", removed)
    async with device.running():
        await until(lambda: held(device) == (13 if side == "here" else 12), "held")
        assert device.report.commands is not None
        await device.report.commands.deletions("confirm")
        await until(lambda: bool(decided) and not held(device), "carried out")
        await until(lambda: contents(device.root) == before, "all is back")
        await device.in_sync()
    assert await trashed(world, blocks) == 0


# ---- no torn tree ------------------------------------------------------------------------------


async def test_folders_go_after_their_notes_and_come_back_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In what is sent; and a receiver that knows only half of it moves nothing out."""
    outer = await world.add_named("folder", "Outer")
    inner = await world.add_named("folder", "Inner", outer)
    for k in range(4):
        await world.add(f"N{k}", "text\n", add_tags=frozenset({inner}))
    device, other = world.device(), world.device("b", live="off")
    await device.synced()
    sent: list[BlockId] = []
    push, pull = HeaperBackend.push, HeaperBackend.pull
    published = asyncio.Event()

    async def noted(self: HeaperBackend, heap: Any, pushes: Any) -> Any:
        sent.extend(p.id for p in pushes)
        return await push(self, heap, pushes)

    async def pulled(self: HeaperBackend, heap: Any, asks: Any) -> Any:
        await asyncio.wait_for(published.wait(), DEADLINE_S)  # what came in the answer before
        published.clear()
        return await pull(self, heap, asks)

    async def showed(*args: Any, **kwargs: Any) -> bool:
        done = await publish(*args, **kwargs)
        published.set()
        return done

    moves: list[str] = []

    async def moved(_self: HeapFolder, old: str, new: str) -> None:
        moves.append(f"{old} -> {new}")

    monkeypatch.setattr(HeaperBackend, "push", noted)
    monkeypatch.setattr(HeapFolder, "move", moved)
    shutil.rmtree(device.root / "Outer")
    async with other.running():
        await other.in_sync()
        with monkeypatch.context() as patch:
            patch.setattr("heapsyncd.sync.pull.pull.PULL_BLOCKS", 1)
            patch.setattr("heapsyncd.sync.runtime.heap.publish", showed)
            patch.setattr(HeaperBackend, "pull", pulled)
            published.set()
            await device.synced()
            await until(lambda: other.notes() == {}, "deleted")
            await other.in_sync()
    assert sent[-2:] == [inner, outer]
    assert len(sent) == 6
    sent.clear()
    wanted = RestoreRequest((str(device.root / "Outer"),), trash=True)
    await restore_alone(device.account, device.base / "state", wanted)
    await device.synced()
    assert sent[:2] == [outer, inner]
    await other.synced()
    assert set(other.notes()) == {f"Outer/Inner/N{k}.md" for k in range(4)}
    assert moves == []
