"""What happens to a mirror from outside: damage, refusals of the disk, a blind watch, a suspend, a
document that comes empty.
"""

import asyncio
import errno
import os
import shutil
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.cache import history
from heapsyncd.document.updates import EMPTY
from heapsyncd.errors import FolderTrouble, UnreadableDocument
from heapsyncd.folder import syscalls
from heapsyncd.folder import watch as watching
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.watch import Hint
from heapsyncd.markdown.frontmatter import split
from heapsyncd.server.loaded_documents import Batch
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.deletions.lost_folder import ask_for_folder
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.timing import Timing
from heapsyncd.sync.merge.note_text import digest
from heapsyncd.sync.runtime import heap as heap_module
from heapsyncd.sync.runtime.suspend import SuspendDetector
from heapsyncd.sync.scan import audit
from tests.sync.rig import Device, World, problems, refusing, until

HOURS_8 = 8 * 3600.0


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


# ---- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", bytes(300)], ids=["empty", "NUL"])
async def test_damaged_while_nobody_looked(world: World, data: bytes) -> None:
    """A note found empty or full of NULs at a start is written again, and nothing is pushed; what
    was written elsewhere meanwhile comes too.
    """
    device = world.device()
    block = await world.add("Note", "first\n\nsecond\n")
    await device.synced()
    (device.root / "Note.md").write_bytes(data)
    await world.change(block, body="first\n\nsecond, and theirs\n")
    before = (await world.server.document(block)).fingerprint()
    await device.synced()
    assert device.notes() == {"Note.md": "first\n\nsecond, and theirs\n"}
    assert (await world.server.document(block)).fingerprint() == before
    (notice,) = device.report.heaps[world.heap].notices
    assert "Its text was restored" in notice


async def test_emptied_again_is_meant(world: World) -> None:
    """Who empties a note once more after it was put right means it; the text stays in history."""
    device = world.device()
    block = await world.add("Note", "first\n")
    await device.synced()
    (device.root / "Note.md").write_bytes(b"")
    await device.synced()
    (device.root / "Note.md").write_bytes(b"")
    await device.synced()
    assert device.notes() == {"Note.md": ""}
    assert await world.text(block) == ""
    async with await open_cache(device.account, device.base / "state") as db:
        kept = await db.read(lambda tx: history.versions(tx, block))
    assert any(b"first" in v.data for v in kept)


async def test_emptied_while_it_is_mirrored(world: World) -> None:
    """A note that is emptied in an editor beside the daemon is an empty note."""
    device = world.device()
    block = await world.add("Note", "first\n")
    async with device.running():
        await until((device.root / "Note.md").exists, "the note")
        await device.in_sync()
        (device.root / "Note.md").write_bytes(b"")

        async def emptied() -> bool:
            return not await world.text(block)

        await until(emptied, "the empty document")
        await device.in_sync()
    assert device.notes() == {"Note.md": ""}


# ---- the disk refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS], ids=["EACCES", "EROFS"])
async def test_one_note_can_not_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The disk refuses one note: it alone is in trouble, and written once that is over."""
    device = world.device()
    device.timing = Timing(trouble_again_s=0.2)
    shut, fine = await world.add("Shut", "text\n"), await world.add("Fine", "text\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        with monkeypatch.context() as patch:
            for name in ("exchange", "rename"):
                patch.setattr(syscalls, name, refusing(name, "Shut.md", number))
            await world.change(shut, body="text more\n")
            await world.change(fine, body="text more\n")
            await until(lambda: "Shut.md" in problems(device, world), "a problem")
            await until(lambda: device.notes()["Fine.md"] == "text more\n", "the other note")
            assert device.notes()["Shut.md"] == "text\n"
            assert device.report.state != "in sync"
            assert list(problems(device, world)) == ["Shut.md"]
        await until(lambda: device.notes()["Shut.md"] == "text more\n", "written after all")
        await device.in_sync()
    assert problems(device, world) == {}


async def test_one_note_can_not_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note whose file may not be read is in trouble, not deleted, while others are sent; its
    edit is sent when it can be read.
    """
    from heapsyncd.folder import safe_open  # noqa: PLC0415

    device = world.device()
    shut, fine = await world.add("Shut", "text\n"), await world.add("Fine", "text\n")
    await device.synced()
    append(device.root / "Shut.md", "\nmore\n")
    append(device.root / "Fine.md", "\nmore\n")
    real = safe_open.open_file

    def shut_file(name: str, dir_fd: int) -> int:
        if name == "Shut.md":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(name, dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(safe_open, "open_file", shut_file)
        verdict = await device.once()
        assert verdict.exit_code == 1
        assert list(problems(device, world)) == ["Shut.md"]
    assert "more" in await world.text(fine)
    assert (await world.server.document(shut)).fields().deleted_at_ms is None
    await device.synced()
    assert "more" in await world.text(shut)


# ---- stamps and clocks ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("shift_s", [-86_400, 86_400, 10 * 365 * 86_400])
async def test_stamps_that_say_nothing(world: World, shift_s: int) -> None:
    """An edit of the same size with another time, earlier, later or the old one, is found."""
    device = world.device()
    block = await world.add("Note", "aaaa\n")
    await device.synced()
    path = device.root / "Note.md"
    known = path.stat().st_mtime_ns
    path.write_text(path.read_text().replace("aaaa", "bbbb"))
    os.utime(path, ns=(known, known))
    await device.synced()
    assert await world.text(block) == "bbbb"
    path.write_text(path.read_text().replace("bbbb", "cccc"))
    now = time.time_ns() + shift_s * 1_000_000_000
    os.utime(path, ns=(now, now))
    await device.synced()
    assert await world.text(block) == "cccc"


async def test_a_clock_that_jumps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits on both sides merge whatever the wall clock says meanwhile, and none is sent twice."""
    device = world.device()
    block = await world.add("Note", "first\n\nlast\n")
    await device.synced()
    real = time.time_ns
    for k, shift_s in enumerate((-30 * 86_400, 400 * 86_400, 0)):
        monkeypatch.setattr(time, "time_ns", lambda s=shift_s: real() + s * 1_000_000_000)
        path = device.root / "Note.md"
        path.write_text(path.read_text().replace("first", f"first here{k}"))
        theirs = (await world.text(block)).replace("\n", "\n\n").replace("last", f"last there{k}")
        await world.change(block, body=f"{theirs}\n")
        await device.synced()
    words = (await world.text(block)).split()
    assert sorted(words) == sorted(
        ["first", "last", *(f"here{k}" for k in range(3)), *(f"there{k}" for k in range(3))]
    )
    assert device.notes()["Note.md"].split() == words


# ---- the watch --------------------------------------------------------------------------------


async def test_a_watch_that_went_blind_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the watch tells nothing any more, the next audit finds what it missed and starts it
    anew.
    """
    real, blind, told = watching._Watching._hint, list[object](), list[Hint | None]()

    def hint(self: Any, batch: set[tuple[int, str]]) -> Hint | None:
        if not blind:
            blind.append(self)
        told.append(None if self is blind[0] else real(self, batch))
        return told[-1]

    device = world.device()
    device.timing = Timing(audit_s=0.5, late_s=0.1)
    block = await world.add("Note", "text\n")
    await device.synced()
    monkeypatch.setattr(watching._Watching, "_hint", hint)
    async with device.running():
        await device.in_sync()
        append(device.root / "Note.md", "\nunseen\n")

        async def sent(word: str) -> None:
            while word not in await world.text(block):  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.02)

        await asyncio.wait_for(sent("unseen"), 20)
        await until(lambda: device.report.state == "in sync", "in sync")
        append(device.root / "Note.md", "\nseen\n")
        await asyncio.wait_for(sent("seen"), 20)
        await until(lambda: any(h and "Note.md" in h.paths for h in told), "a hint")


async def test_an_audit_finds_a_file_that_shows_something_else(world: World) -> None:
    """A file that is not what its document shows, although the cache has it as agreed, is written
    again; one in another style is left alone.
    """
    device = world.device()
    device.timing = Timing(audit_s=0.5)
    for k in range(3):
        await world.add(f"Note {k}", "- one\n- two\n")
    await device.synced()
    wrong, styled = device.root / "Note 0.md", device.root / "Note 1.md"
    for path, old, new in ((wrong, b"two", b"three"), (styled, b"- ", b"* ")):
        data = path.read_bytes().replace(old, new)
        path.write_bytes(data)
        values = (zlib.compress(data), digest(data), device.id_of(path.name))
        async with await open_cache(device.account, device.base / "state") as cache:
            await cache.write(
                lambda tx, v=values: tx.execute(  # type: ignore[misc]
                    "UPDATE rendition SET text = ?, digest = ? WHERE block_id = ?", v
                )
            )
    async with device.running():
        await until(lambda: b"two" in wrong.read_bytes(), "the file is written again")
        await device.in_sync()
    assert b"* one\n* two\n" in styled.read_bytes()


async def test_an_audit_of_a_quiet_folder_finds_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attachments, contents that stay on the server, ignored, special and unreadable files are
    nothing that the watch missed.
    """
    device = world.device()
    device.timing = Timing(audit_s=0.5, late_s=0.0)
    device.files, device.files_limit_mb = "on-demand", 0.001
    note = await world.add("Note", "text\n")
    await world.server.add_file(note, "small.txt", b"small")
    await world.server.add_file(note, "large.bin", bytes(5000))
    await device.synced()
    (device.root / "Folder").mkdir()
    (device.root / "Folder" / "Mine.md").write_text("mine\n")
    (device.root / "x.tmp").touch()
    (device.root / "Bad.md").write_bytes(b"\xff")
    (device.root / "link.md").symlink_to("Note.md")
    os.mkfifo(device.root / "pipe")
    found: list[list[str]] = []
    real = audit.missed

    async def noted(heap: HeapContext) -> list[str]:
        found.append(await real(heap))
        return found[-1]

    monkeypatch.setattr(heap_module, "missed", noted)
    async with device.running():
        await until(lambda: "Bad.md" in problems(device, world), "a problem")
        found.clear()
        await until(lambda: len(found) >= 3, "three audits")
    assert found == [[]] * len(found)


async def test_a_folder_that_can_not_be_watched_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without inotify the folder is looked at now and then, and status says how to mend it."""

    def exhausted(_: Path) -> object:
        raise watching._Exhausted(watching._advice(str(world.base), "watch limit reached"))

    monkeypatch.setattr(watching, "POLL_S", 0.1)
    monkeypatch.setattr(watching, "_arm", exhausted)
    device = world.device()
    block = await world.add("Note", "text\n")
    async with device.running():
        await until((device.root / "Note.md").exists, "the note")
        append(device.root / "Note.md", "\nmore\n")

        async def sent() -> None:
            while "more" not in await world.text(block):  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.02)

        await asyncio.wait_for(sent(), 20)
        (notice,) = device.report.heaps[world.heap].notices
        assert "sudo sysctl fs.inotify.max_user_watches=" in notice


async def test_a_folder_that_is_put_back_at_once(world: World) -> None:
    """A directory deleted and put back from a backup, new inodes and all, is not deleted."""
    device = world.device()
    await device.synced()
    inner = device.root / "Projects"
    inner.mkdir()
    for name in "ABC":
        (inner / f"{name}.md").write_text(f"text {name}\n")
    await device.synced()
    ids = {name: device.id_of(f"Projects/{name}.md") for name in "ABC"}
    async with device.running():
        await device.in_sync()
        shutil.copytree(inner, world.base / "backup")
        shutil.rmtree(inner)
        shutil.copytree(world.base / "backup", inner)
        append(inner / "A.md", "\nmore\n")
        await until(lambda: device.report.state != "in sync", "noticed")
        await device.in_sync()
    assert {name: device.id_of(f"Projects/{name}.md") for name in "ABC"} == ids
    for block in ids.values():
        assert (await world.server.document(block)).fields().deleted_at_ms is None
    assert "more" in await world.text(ids["A"])


# ---- a suspend --------------------------------------------------------------------------------


def test_a_suspend_is_the_difference_of_two_clocks() -> None:
    """Only time that one clock alone counted is a suspend, and it is told once."""
    awake, always = [100.0], [500.0]
    suspends = SuspendDetector(lambda: awake[0], lambda: always[0])
    assert suspends.over() is None
    awake[0], always[0] = awake[0] + 3600, always[0] + 3600
    assert suspends.over() is None
    always[0] += HOURS_8
    assert suspends.over() == HOURS_8
    assert suspends.over() is None


async def test_after_a_suspend_both_ways_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the machine wakes up, news is heard and edits are sent at once, however long the next
    poll, or the pause after a failure, would have been.
    """
    slept = [0.0]
    monkeypatch.setattr(
        "heapsyncd.sync.runtime.account.SuspendDetector",
        lambda: SuspendDetector(always_s=lambda: time.monotonic() + slept[0]),
    )
    monkeypatch.setattr(
        "heapsyncd.sync.runtime.retry.RetryPolicy.pause_s", lambda self: 3600.0 * bool(self.last)
    )
    device = world.device(live="off")
    device.poll_interval_s, device.timing = 3600.0, Timing(beat_s=0.05)
    block = await world.add("Note", "text\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        with monkeypatch.context() as patch:
            patch.setattr("heapsyncd.backends.heaper.HeaperBackend.push", _no_network)
            append(device.root / "Note.md", "\nhere\n")
            await until(lambda: device.report.state == "offline", "the push that fails")
        theirs = "text and there\n"
        await world.change(block, body=theirs)
        slept[0] += HOURS_8
        await until(lambda: "text and there" in device.notes()["Note.md"], "their edit")
        await device.in_sync()
    assert await world.text(block) == "text and there\nhere"


async def _no_network(*_: object) -> object:
    from heapsyncd.errors import Unreachable  # noqa: PLC0415

    raise Unreachable("no network")


# ---- a document that can't be shown -------------------------------------------------------------


async def test_a_note_that_can_not_be_written_as_text(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that can't be shown is in trouble in every life, never silently in sync; and
    shown once it can be.
    """
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    await world.change(block, body="text more\n")
    with monkeypatch.context() as patch:
        patch.setattr("heapsyncd.sync.publish.shown_file", _no_text)
        for _ in range(3):
            verdict = await device.once()
            assert verdict.exit_code == 1
            assert any("can't be said" in line for line in verdict.left), verdict
        assert device.notes() == {"Note.md": "text\n"}
    await device.synced()
    assert device.notes() == {"Note.md": "text more\n"}


def _no_text(*_: object) -> bytes:
    raise UnreadableDocument("it can't be said in markdown")


# ---- a document that comes empty --------------------------------------------------------------


async def blank(world: World, block: Any) -> None:
    """The server loses a document's content, and says it is a new version."""

    def work(batch: Batch) -> None:
        held = batch.get(block)
        assert held is not None
        batch.replace(held, EMPTY)

    await world.server._services.documents.change(block, work)


async def test_a_blanked_document_is_refused(world: World) -> None:
    """An empty document in the place of one with content blanks no file; the rest goes on, and the
    document is taken again once it has its content.
    """
    device = world.device()
    block, other = await world.add("Note", "text\n"), await world.add("Other", "text\n")
    await device.synced()
    await blank(world, block)
    await world.change(other, body="text more\n")
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert any("returned this note empty" in line for line in verdict.left)
    assert device.notes() == {"Note.md": "text\n", "Other.md": "text more\n"}
    await world.change(block, title="Note", body="text mended\n")
    await device.synced()
    assert device.notes() == {"Note.md": "text mended\n", "Other.md": "text more\n"}


async def test_a_blank_that_is_meant(world: World) -> None:
    """Whoever empties the file too has the empty document."""
    device = world.device()
    block = await world.add("Note", "text\n")
    await device.synced()
    await blank(world, block)
    assert (await device.once()).exit_code == 1
    (device.root / "Note.md").write_text(split((device.root / "Note.md").read_text())[0].raw)
    await device.once()
    await device.synced()
    assert device.notes() == {"Note.md": ""}


# ---- long away --------------------------------------------------------------------------------


async def test_half_a_year_offline(world: World) -> None:
    """After long absence deletions by others reach what was not edited here; what was is kept, and
    that is told.
    """
    device = world.device()
    ids = {name: await world.add(name, f"text {name}\n") for name in "ABCDEFGH"}
    await device.synced()
    for name in "AB":
        append(device.root / f"{name}.md", "\nedited here\n")
    append(device.root / "C.md", "\nedited here\n")
    (device.root / "D.md").unlink()
    for name in "AEF":
        await world.change(ids[name], deleted_at_ms=1_760_000_000_000)
    for _ in range(5):
        await world.change(ids["C"], body="text C, much edited there\n")
        await world.server.compact(ids["C"])
        await world.change(ids["C"], body="text C\n")
    await world.server.compact(ids["B"])
    await device.synced()
    notes = device.notes()
    assert sorted(notes) == ["A.md", "B.md", "C.md", "G.md", "H.md"]
    assert all("edited here" in notes[f"{name}.md"] for name in "ABC")
    assert (await world.server.document(ids["A"])).fields().deleted_at_ms is None
    assert (await world.server.document(ids["D"])).fields().deleted_at_ms is not None
    (notice,) = [n for n in device.report.heaps[world.heap].notices if n.startswith("A.md")]
    assert "deleted on the server while you edited it here" in notice


# ---- a lost folder ----------------------------------------------------------------------------


async def ask_for(device: Device) -> bool:
    """Ask for the folder to be made again, while no mirror runs; returns whether it is there."""
    async with await open_cache(device.account, device.base / "state") as db:
        (found,) = await ask_for_folder(db, device.account.folder, [str(device.root)])
    return bool(found["is_there"])


@pytest.mark.parametrize("is_running", [True, False], ids=["daemon", "sync"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["folder", "marker"])
async def test_a_lost_folder_is_made_again(
    world: World, *, is_running: bool, is_whole: bool
) -> None:
    """When a person asks for it: with all notes, directories and files at their paths, and nothing
    is deleted on the server. What is still in the folder stays, with edits nobody saw.
    """
    device = world.device()
    projects = await world.add_named("folder", "Projects")
    await world.add("Boat", "red\n", add_tags=frozenset([projects]))
    block = await world.add("Note", "first\n")
    await world.server.add_file(block, "plan.pdf", b"plan")
    await device.synced()
    whole = {p: p.read_bytes() for p in device.root.rglob("*") if p.is_file()}
    assert len(whole) == 4, whole
    note, marker = device.root / "Note.md", device.root / ".heapsyncd"

    async def lose() -> None:
        if is_whole:
            shutil.rmtree(device.root)
            return
        marker.unlink()
        (device.root / "Projects" / "Boat.md").unlink()
        append(note, "mine\n")

    async def lost() -> None:
        problems = " ".join(p.reason for p in device.report.heaps[world.heap].problems)
        error = str(device.report.heaps[world.heap].error) + problems
        assert f"heapsyncd heaps --restore-folder {device.root}" in error

    if is_running:
        async with device.running():
            await device.in_sync()
            await lose()
            await until(lambda: device.report.heaps[world.heap].error, "the trouble")
            await lost()
            commands = device.report.commands
            assert commands is not None
            (found,) = await commands.restore_folder(["Home"])
            assert not found["is_there"]
            await until(marker.exists, "the folder")
            await device.in_sync()
    else:
        await lose()
        assert (await device.once()).exit_code == 1
        await lost()
        assert not await ask_for(device)
        await device.synced()
    if not is_whole:
        whole[note] += b"mine\n"
        assert "mine" in await world.text(block)
    assert {p: p.read_bytes() for p in device.root.rglob("*") if p.is_file()} == whole
    for id_ in (projects, block):
        assert (await world.server.row(id_)).deleted_at is None
    await device.synced()


async def test_the_wish_for_a_folder_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that ends before the folder is made deletes nothing, and the next one makes it. If
    the folder comes back by itself, it is not made again when it is missing once more.
    """
    device = world.device()
    block = await world.add("Note", "first\n")
    await device.synced()
    away = device.base / "away"
    device.root.rename(away)
    assert not await ask_for(device)
    with monkeypatch.context() as patch:

        async def refuse(*_arguments: object) -> None:
            raise FolderTrouble("no room")

        patch.setattr(HeapFolder, "make_again", refuse)
        assert (await device.once()).exit_code == 1
        assert not device.root.exists()
    await device.synced()
    assert device.notes() == {"Note.md": "first\n"}
    assert (await world.server.row(block)).deleted_at is None
    shutil.rmtree(device.root)
    assert not await ask_for(device)
    away.rename(device.root)
    await device.synced()
    shutil.rmtree(device.root)
    assert (await device.once()).exit_code == 1
    assert not device.root.exists()
