"""A heap becomes a folder, and the folder's edits become the heap: the whole line, both ways."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs

from heapsyncd.cache import blocks
from heapsyncd.control_requests import handlers
from heapsyncd.document.edit import Target, express
from heapsyncd.document.replica import Replica
from heapsyncd.ids import HeapId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.model import PullAnswer, PullAsk
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.edits.new_texts import NewTexts
from heapsyncd.sync.edits.saved_file import SavedFile
from heapsyncd.sync.heap import state
from heapsyncd.sync.offline.status import cached_status
from tests.sync.proxy import Forward, before
from tests.sync.rig import Device, World, ids, until


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and mtime of every file, to see what was written."""
    return {
        str(p.relative_to(root)): (p.stat().st_ino, p.stat().st_mtime_ns)
        for p in root.rglob("*")
        if p.is_file()
    }


def replace(path: Path, old: str, new: str) -> None:
    """Save a file as most editors do: a new file renamed over."""
    text = path.read_text("utf-8")
    assert old in text
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text.replace(old, new, 1), "utf-8")
    beside.replace(path)


async def test_first_mirror(world: World) -> None:
    """Notes arrive with their id, their tags by title, and in the folder they are in."""
    tag = await world.add_named("tag", "Research")
    folder = await world.add_named("folder", "Projects")
    boat = await world.add("Boat", "# A boat\n\nIt *floats*.\n", add_tags=frozenset({tag, folder}))
    device = world.device()
    await device.synced()
    text = (device.root / "Projects" / "Boat.md").read_text("utf-8")
    assert text == f"---\nid: {boat}\ntags: [Research]\n---\n# A boat\n\nIt *floats*.\n"
    assert (device.root / ".heapsyncd").is_file()


async def test_the_newest_notes_come_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there, and can be edited, while the rest is on its way; nothing is named otherwise
    for it.
    """
    monkeypatch.setattr("heapsyncd.sync.publish.FIRST", 3)
    folder = await world.add_named("folder", "Projects")
    twins = [await world.add("Twin", "one"), await world.add("Twin", "two")]
    old = await world.add("Old", "old text", add_tags=frozenset({folder}))
    await world.add("Newest", f"see [[{old}]]\n", add_tags=frozenset({folder}))
    await world.change(twins[1], body="three")
    held = asyncio.Event()

    async def fault(_request: web.Request, forward: Forward) -> web.StreamResponse:
        if proxy.met > 1:
            await held.wait()
        return await forward()

    device = world.device(live="off")
    async with before(world.server.url) as proxy:
        proxy.set(fault, "/api/sync/pull")
        device.server = proxy  # type: ignore[assignment]
        mirroring = asyncio.create_task(device.synced())
        newest = device.root / "Projects" / "Newest.md"
        await until(newest.exists, "the newest note")
        await until(lambda: proxy.met > 1, "the rest is asked for")
        assert set(device.notes()) == {"Projects/Newest.md", "Projects/Old.md"}
        replace(newest, "see", "typed: see")
        (device.root / "Mine.md").write_text("mine\n")
        held.set()
        await mirroring
    assert device.notes() == {
        "Mine.md": "mine\n",
        "Projects/Newest.md": "typed: see [[Old]]\n",
        "Projects/Old.md": "old text\n",
        "Twin (2).md": "three\n",
        "Twin.md": "one\n",
    }
    assert ids(device)["Twin.md"] == min(twins)
    assert (await world.text(device.id_of("Projects/Newest.md"))).startswith("typed: see")
    assert set(await world.titles()) == {"Mine", "Newest", "Old", "Twin"}


async def test_memory_is_given_back_after_much_work(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once all is in sync, few documents stay loaded, and the system gets back what was freed."""
    given = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(state, "MUCH_WORK", 4)
    monkeypatch.setattr(state, "KEPT_AT_REST", 1)
    monkeypatch.setattr(state, "give_back", lambda: loop.call_soon_threadsafe(given.set))
    for k in range(4):
        await world.add(f"Note {k}", "text\n")
    device = world.device(live="off")
    async with device.running():
        async with asyncio.timeout(30):
            await given.wait()
        commands: Any = device.report.commands
        (mirror,) = commands.mirrors.values()
        assert len(mirror.state.replicas._held) == 1


async def test_status_does_not_wait_for_a_busy_cache(world: World) -> None:
    """While the cache stores many notes, a person who asks has the numbers at once."""
    await world.add("Boat", "text\n")
    device = world.device(live="off")
    over = threading.Event()
    async with device.running():
        await device.in_sync()
        commands: Any = device.report.commands
        (mirror,) = commands.mirrors.values()
        working = asyncio.create_task(mirror.state.db.read(lambda _: over.wait(60)))
        try:
            async with asyncio.timeout(10):
                answer = await handlers(lambda: [device.report])["status"]({})
        finally:
            over.set()
            await working
        (heap,) = answer["accounts"][0]["heaps"]
        assert heap["notes"] == 1


async def test_up(world: World) -> None:
    """A line typed into a file is in the document within a second, and nothing else changes."""
    block = await world.add("Note", "first line\n\nsecond line\n")
    device = world.device()
    async with device.running():
        await device.in_sync()
        before = await world.server.document(block)
        replace(device.root / "Note.md", "first line", "first typed line")
        started = time.monotonic()
        while "typed" not in await world.text(block):
            assert time.monotonic() - started < 5, "the edit did not arrive"
        after = await world.server.document(block)
        assert await world.text(block) == "first typed line\nsecond line"
        assert len(after.since(before.state_vector())) < 200


async def test_down(world: World) -> None:
    """An edit made in the app is in the file within moments, over the live connection."""
    block = await world.add("Note", "first line\n\nsecond line\n")
    device = world.device()
    device.poll_interval_s = 3600
    async with device.running():
        await device.in_sync()
        await until(lambda: world.server.followers(block) == 1, "the note is followed")
        await world.change(block, body="first line\n\nsecond changed line\n")
        await until(lambda: "changed" in (device.root / "Note.md").read_text(), "the edit")


async def test_both_sides_at_once(world: World) -> None:
    """Two edits of one paragraph made while apart merge; no word of either is lost."""
    block = await world.add("Note", "the quick brown fox jumps over the lazy dog\n")
    device = world.device()
    await device.synced()
    replace(device.root / "Note.md", "quick", "very quick")
    await world.change(block, body="the quick brown fox jumps over the sleepy lazy dog\n")
    await device.synced()
    merged = "the very quick brown fox jumps over the sleepy lazy dog"
    assert await world.text(block) == merged
    assert device.notes() == {"Note.md": f"{merged}\n"}


async def test_new_note(world: World) -> None:
    """A new file becomes a note titled as the file; its id is written into it, its body kept."""
    device = world.device()
    async with device.running():
        await device.in_sync()
        body = "Setext\n======\n\n* star\n\nwrapped by\nhand\n"
        (device.root / "Made here.md").write_text(body, "utf-8")
        await until(lambda: "id:" in (device.root / "Made here.md").read_text(), "the id")
        await device.in_sync()
    titles = await world.titles()
    assert titles == {"Made here": device.id_of("Made here.md")}
    assert device.notes() == {"Made here.md": body}
    assert (await world.server.document(titles["Made here"])).fields().title == "Made here"


async def test_empty_note_and_nested_folders(world: World) -> None:
    """An empty file is an empty note; directories become folders, one inside the other."""
    device = world.device()
    await device.synced()
    (device.root / "Trips" / "2026").mkdir(parents=True)
    (device.root / "Trips" / "2026" / "Oslo.md").write_text("by train\n")
    (device.root / "Empty.md").touch()
    await device.synced()
    folders = await world.titles("folder")
    notes = await world.titles()
    assert set(folders) == {"Trips", "2026"}
    assert set(notes) == {"Oslo", "Empty"}
    assert (await world.server.document(notes["Oslo"])).fields().tags == (folders["2026"],)
    assert (await world.server.document(folders["2026"])).fields().tags == (folders["Trips"],)
    other = world.device("b")
    await other.synced()
    assert other.notes() == device.notes() == {"Empty.md": "", "Trips/2026/Oslo.md": "by train\n"}


async def test_rename_move_delete(world: World) -> None:
    """A renamed file renames its note, a moved one its folder, a deleted one is in the trash."""
    device, other = world.device(), world.device("b")
    blocks = [await world.add(f"N{k}", f"body {k}\n") for k in range(3)]
    await device.synced()
    await other.synced()
    (device.root / "N0.md").rename(device.root / "Renamed.md")
    (device.root / "Sub").mkdir()
    (device.root / "N1.md").rename(device.root / "Sub" / "N1.md")
    (device.root / "N2.md").unlink()
    await device.synced()
    assert (await world.server.document(blocks[0])).fields().title == "Renamed"
    folder = (await world.titles("folder"))["Sub"]
    assert (await world.server.document(blocks[1])).fields().tags == (folder,)
    assert (await world.server.document(blocks[2])).fields().deleted_at_ms is not None
    await other.synced()
    assert other.notes() == {"Renamed.md": "body 0\n", "Sub/N1.md": "body 1\n"}
    assert other.id_of("Renamed.md") == blocks[0]


async def test_remote_rename_move_delete(world: World) -> None:
    """A title, a folder and a deletion made in the app arrive in the folder; links follow."""
    device = world.device()
    boat = await world.add("Boat", "floats\n")
    gone = await world.add("Gone", "bye\n")
    await device.synced()
    (device.root / "Log.md").write_text("See [[Boat]] and [[Boat|her]].\n")
    await device.synced()
    folder = await world.add_named("folder", "Harbour")
    await world.change(boat, title="Ship", add_tags=frozenset({folder}))
    await world.change(gone, deleted_at_ms=1_760_000_000_000)
    await device.synced()
    assert device.notes() == {
        "Harbour/Ship.md": "floats\n",
        "Log.md": "See [[Ship]] and [[Ship|her]].\n",
    }


async def test_restored(world: World) -> None:
    """A note restored in the app comes back with its text."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    await world.change(block, deleted_at_ms=1_760_000_000_000)
    await device.synced()
    assert device.notes() == {}
    await world.change(block, deleted_at_ms=None)
    await device.synced()
    assert device.notes() == {"Note.md": "text\n"}


async def test_copy(world: World) -> None:
    """A copied file becomes a note of its own, with an id of its own."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    shutil.copy(device.root / "Note.md", device.root / "Note copy.md")
    await device.synced()
    assert device.id_of("Note.md") == block
    assert device.id_of("Note copy.md") == (await world.titles())["Note copy"] != block


async def test_tags_in_front_matter(world: World) -> None:
    """Words added to or taken from ``tags:`` become tag relations; a new word a new tag."""
    device = world.device()
    tag = await world.add_named("tag", "Old")
    block = await world.add("Note", "text\n", add_tags=frozenset({tag}))
    await device.synced()
    replace(device.root / "Note.md", "tags: [Old]", "tags: [New]")
    await device.synced()
    tags = await world.titles("tag")
    assert set(tags) == {"Old", "New"}
    assert (await world.server.document(block)).fields().tags == (tags["New"],)


async def test_quiet(world: World) -> None:
    """A quiet world costs nothing: a second pass writes no file and sends no update."""
    device = world.device()
    blocks = [await world.add(f"N{k}", "some *text*\n") for k in range(5)]
    await device.synced()
    (device.root / "Mine.md").write_text("mine\n")
    await device.synced()
    states = [(await world.server.document(b)).fingerprint() for b in blocks]
    before = stamps(device.root)
    await device.synced()
    assert stamps(device.root) == before
    assert [(await world.server.document(b)).fingerprint() for b in blocks] == states


async def test_restart_resumes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart downloads nothing again that the cache has."""
    from heapsyncd.backends.heaper import HeaperBackend  # noqa: PLC0415

    device = world.device()
    for k in range(5):
        await world.add(f"N{k}", "text\n")
    await device.synced()
    pulled: list[object] = []
    pull = HeaperBackend.pull

    async def counted(self: HeaperBackend, heap: object, asks: object) -> object:
        pulled.append(asks)
        return await pull(self, heap, asks)  # type: ignore[arg-type]

    monkeypatch.setattr(HeaperBackend, "pull", counted)
    await device.synced()
    assert pulled == []


async def test_lost_cache(world: World) -> None:
    """A lost cache is rebuilt: same blocks, same names, no text doubled, edits kept."""
    device = world.device()
    blocks = [await world.add("Same", f"text {k}\n") for k in range(3)]
    await device.synced()
    before = device.notes()
    shutil.rmtree(device.base / "state")
    edited = device.root / "Same.md"
    edited.write_text(edited.read_text() + "\nadded while the cache was gone\n")
    await device.synced()
    after = device.notes()
    assert set(after) == set(before)
    assert after["Same.md"] == before["Same.md"] + "\nadded while the cache was gone\n"
    assert sorted(await world.blocks()) == sorted(blocks)


@pytest.mark.parametrize(
    ("saved", "names"),
    [
        ("One line of text.\n\nAnother line, and more of it.\n", ["Note.md"]),
        ("Something else altogether.\n", ["Note.md", "Note (2).md"]),
    ],
)
async def test_lost_cache_and_id(world: World, saved: str, names: list[str]) -> None:
    """A file without its id is known by its place while most of its text agrees."""
    device = world.device()
    block = await world.add("Note", "One line of text.\n\nAnother line of it.\n")
    await device.synced()
    shutil.rmtree(device.base / "state")
    (device.root / "Note.md").write_text(saved)
    await device.synced()
    assert sorted(device.notes()) == sorted(names)
    assert saved in device.notes().values()
    assert block in {device.id_of(name) for name in names}
    assert len(await world.blocks()) == len(names)


async def test_a_copy_that_vanishes_after_a_lost_cache_is_not_the_note(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two files with its id, the note is the one that can still be read; no other is made."""
    device = world.device()
    block = await world.add("Note", "One line of text.\n\nAnother line of it.\n")
    await device.synced()
    shutil.rmtree(device.base / "state")
    gone, kept = device.root / "A.md", device.root / "B.md"
    shutil.copy(device.root / "Note.md", gone)
    (device.root / "Note.md").rename(kept)
    replace(kept, "Another", "An other")
    real = NewTexts.of

    async def of(self: NewTexts, paths: Iterable[str]) -> list[SavedFile]:
        gone.unlink(missing_ok=True)
        return [saved for saved in await real(self, paths) if saved.path != gone.name]

    monkeypatch.setattr(NewTexts, "of", of)
    await device.synced()
    assert list(device.notes()) == ["Note.md"]
    assert "An other" in device.notes()["Note.md"]
    assert await world.titles() == {"Note": block}


async def test_compaction_with_unsent_edits(world: World) -> None:
    """Unsent edits survive a compaction, said anew on the fresh document; nothing is doubled."""
    device = world.device()
    block = await world.add("Note", "first words\n\nsecond words\n\nthird words\n")
    await device.synced()
    replace(device.root / "Note.md", "third", "third LOCAL")
    await world.change(block, body="first REMOTE words\n\nsecond words\n\nthird words\n")
    await world.server.compact(block)
    await device.synced()
    assert await world.text(block) == "first REMOTE words\nsecond words\nthird LOCAL words"
    assert device.notes()["Note.md"] == "first REMOTE words\n\nsecond words\n\nthird LOCAL words\n"


async def test_edit_wins_over_deletion(world: World) -> None:
    """A note edited here and deleted in the app comes back with the edit."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    replace(device.root / "Note.md", "text", "text kept")
    await world.change(block, deleted_at_ms=1_760_000_000_000)
    await device.synced()
    assert device.notes() == {"Note.md": "text kept\n"}
    assert (await world.server.document(block)).fields().deleted_at_ms is None


async def test_files(world: World) -> None:
    """Attachments and file blocks go both ways, byte for byte."""
    device, other = world.device(), world.device("b")
    await device.synced()
    data = os.urandom(70_000)
    (device.root / "photo.jpg").write_bytes(data)
    (device.root / "Boat.md").write_text("See:\n\n![[plan.pdf]]\n")
    (device.root / "Boat.assets").mkdir()
    (device.root / "Boat.assets" / "plan.pdf").write_bytes(data[::-1])
    await device.synced()
    await other.synced()
    assert (other.root / "photo.jpg").read_bytes() == data
    assert (other.root / "Boat.assets" / "plan.pdf").read_bytes() == data[::-1]
    assert other.notes() == {"Boat.md": "See:\n\n![[plan.pdf]]\n"}
    assert set(await world.titles("file")) == {"photo.jpg"}
    assert await world.titles("folder") == {}


async def test_not_text(world: World) -> None:
    """A file that is no text is left alone and told; it is no failure, for it is no note."""
    device = world.device()
    await device.synced()
    (device.root / "Bad.md").write_bytes(b"\xff\xfe\x00bad")
    (device.root / "Good.md").write_text("good\n")
    verdict = await device.once()
    assert verdict.exit_code == 0
    assert any("Bad.md" in line for line in verdict.minor)
    assert (device.root / "Bad.md").read_bytes() == b"\xff\xfe\x00bad"
    assert set(await world.titles()) == {"Good"}


async def test_trouble_is_remembered(world: World) -> None:
    """A note that stops being text is still in trouble after a restart, and without a daemon."""
    device = world.device()
    await world.add("Note", "text\n")
    await device.synced()
    (device.root / "Note.md").write_bytes(b"\xff\xfe\x00bad")
    assert (await device.once()).exit_code == 1
    assert (await device.once()).exit_code == 1
    status = await cached_status(device.account, device.base / "state")
    assert [p["path"] for p in status["heaps"][0]["problems"]] == ["Note.md"]
    (device.root / "Note.md").write_text("text again\n")
    await device.synced()


async def test_marker_missing(world: World) -> None:
    """Without its marker the folder is not believed: nothing is deleted."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    (device.root / ".heapsyncd").unlink()
    (device.root / "Note.md").unlink()
    verdict = await device.once(timeout_s=3)
    assert verdict.exit_code == 1
    assert (await world.server.document(block)).fields().deleted_at_ms is None


async def test_a_new_note_is_followed(world: World) -> None:
    """An edit of a note that was made here arrives live, without a poll."""
    device = world.device()
    device.poll_interval_s = 3600.0
    await world.add("Old", "text\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        (device.root / "New.md").write_text("mine\n")
        await until(lambda: "id: " in (device.root / "New.md").read_text(), "the id")
        await until(lambda: device.report.state == "in sync", "in sync")
        block = device.id_of("New.md")
        await until(lambda: world.server.followers(block), "followed")
        await world.change(block, body="mine and theirs\n")
        await until(lambda: device.notes()["New.md"] == "mine and theirs\n", "their edit")


async def test_two_devices_live(world: World) -> None:
    """An edit on one device reaches the other's folder, in both directions."""
    one, two = world.device("a"), world.device("b")
    await world.add("Note", "start\n")
    async with one.running(), two.running():
        await one.in_sync()
        await two.in_sync()
        replace(one.root / "Note.md", "start", "start from one")
        await until(lambda: "from one" in (two.root / "Note.md").read_text(), "one to two")
        replace(two.root / "Note.md", "start", "start, two")
        await until(lambda: "two" in (one.root / "Note.md").read_text(), "two to one")
        await one.in_sync()
        await two.in_sync()
        assert one.notes() == two.notes() == {"Note.md": "start, two from one\n"}


async def test_offline_edits(world: World, tmp_path: Path) -> None:
    """Edits made while the server is away are sent when it is back."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    away = Device(world.server, device.base, seed=device.seed)
    port = int(world.server.url.rsplit(":", 1)[1])
    await world.server.__aexit__(None, None, None)
    async with away.running():
        replace(device.root / "Note.md", "text", "text offline")
        await until(lambda: any(h.pending_up for h in away.report.heaps.values()), "pending")
        assert away.report.state == "offline"
        again = type(world.server)(tmp_path / "server", port=port, open_registration=True)
        async with again:
            await until(lambda: away.report.state == "in sync", "in sync")
            assert (await again.document(block)).view().words() == "text offline"
    world.server._stack.pop_all()


def test_rig_can_tell_an_edit() -> None:
    """The rig's edits are real: a target that changes something yields an update."""
    assert express([], Target(title="x")).update is not None


async def test_unreadable_document(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that can't be read is a problem of its own; the others arrive."""
    from heapsyncd.backends.heaper import HeaperBackend  # noqa: PLC0415

    bad = await world.add("Bad", "text\n")
    await world.add("Good", "good\n")
    pull = HeaperBackend.pull

    async def spoilt(self: HeaperBackend, heap_id: HeapId, asks: Sequence[PullAsk]) -> PullAnswer:
        answer = await pull(self, heap_id, asks)
        found = [
            structs.replace(b, update=b.update[:-3] if b.id == bad else b.update)
            for b in answer.blocks
        ]
        return structs.replace(answer, blocks=tuple(found))

    monkeypatch.setattr(HeaperBackend, "pull", spoilt)
    device = world.device()
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert any("can't be read" in line for line in verdict.left)
    assert device.notes() == {"Good.md": "good\n"}
    monkeypatch.setattr(HeaperBackend, "pull", pull)
    await world.change(bad, body="text mended\n")
    await device.synced()
    assert device.notes() == {"Bad.md": "text mended\n", "Good.md": "good\n"}


async def test_link_in_another_case(world: World) -> None:
    """A link typed in another case finds its note, and stays as it was typed on every device."""
    device, other = world.device(), world.device("b")
    await world.add("Properties", "what notes have\n")
    await device.synced()
    (device.root / "Log.md").write_text("Notes have [[properties]].\n")
    await device.synced()
    await other.synced()
    assert device.notes()["Log.md"] == "Notes have [[properties]].\n"
    assert other.notes()["Log.md"] == "Notes have [[properties]].\n"


async def test_a_deletion_of_what_still_waits(world: World) -> None:
    """Of updates that build on one which is late, each is kept, a deletion of their text too."""
    device = world.device()
    block = await world.add("Note", "start\n")
    state = (await world.server.document(block)).state()
    parts: list[bytes] = []
    for text in ("start here", "start here and there", "start here"):
        made = express([state, *parts], Target(body=parse(text, NO_LINKS)))
        assert made.update is not None
        parts.append(made.update)
    late, *early = parts
    async with device.running(), await open_cache(device.account, device.base / "state") as cache:
        await device.in_sync()
        for update in early:
            await world.server.apply(block, update)

        async def log() -> list[bytes]:
            return [r.data for r in await cache.read(lambda tx: blocks.log(tx, block))]

        async def has_all() -> bool:
            return len(await log()) == 1 + len(early)

        await until(has_all, "what waits is in the log")
        assert Replica.load([late, *await log()]).view().words() == "start here"
        await world.server.apply(block, late)
        await until(lambda: device.notes() == {"Note.md": "start here\n"}, "the late one")
