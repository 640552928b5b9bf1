"""What was done on a device is taken back; what others did since stays."""

import asyncio
import errno
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.errors import FolderTrouble, NotRunning
from heapsyncd.folder import syscalls
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.offline.versions import undo_alone
from heapsyncd.sync.report import RestoreRequest, UndoRequest
from heapsyncd.sync.runtime.open_heap import open_heap
from tests.sync.rig import Device, World, files, refusing


async def undo(
    device: Device, since_ms: int, *paths: Path, preview: bool = False
) -> list[tuple[str, str, str]]:
    """Undo; what was done with each path: the action, and the reason or the new path."""
    wanted = UndoRequest(since_ms, tuple(map(str, paths)), preview)
    done = await undo_alone(device.account, device.base / "state", wanted)
    assert all(one["file"] == str(device.root / one["path"]) for one in done)
    return [(one["path"], one["action"], one["reason"] or one["to"] or "") for one in done]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def edit(device: Device, path: str, old: str, new: str) -> None:
    text = (device.root / path).read_text()
    assert old in text
    (device.root / path).write_text(text.replace(old, new))


async def test_our_edits_go_and_theirs_stay(world: World) -> None:
    """Of several notes, of one line too; also what no pass has read yet."""
    device = world.device()
    block = await world.add("Note", "The old boat.\n\nlast\n")
    other = await world.add("Other", "kept\n")
    await device.synced()
    began = now_ms()
    edit(device, "Note.md", "old", "red")
    await device.synced()
    await world.change(block, body="The red boat sails.\n\nlast and theirs\n")
    await world.change(other, body="kept, and theirs\n")
    await device.synced()
    edit(device, "Note.md", "last", "ours and last")
    shown = await undo(device, began, preview=True)
    assert shown == [("Note.md", "text", "")]
    assert device.notes()["Note.md"] == "The red boat sails.\n\nours and last and theirs\n"
    assert await undo(device, began) == shown
    await device.synced()
    expected = {"Note.md": "The old boat sails.\n\nlast and theirs\n"}
    assert device.notes() == expected | {"Other.md": "kept, and theirs\n"}
    assert await world.text(block) == "The old boat sails.\nlast and theirs"
    assert await undo(device, began) == []


async def test_lines_of_both_stay(world: World) -> None:
    """Where both wrote the same words, nothing of theirs is touched, and that is said."""
    device = world.device()
    block = await world.add("Note", "red\n\nlast\n")
    await device.synced()
    began = now_ms()
    edit(device, "Note.md", "red", "blue")
    edit(device, "Note.md", "last", "ours")
    await device.synced()
    await world.change(block, body="green\n\nours\n")
    await device.synced()
    done = await undo(device, began)
    reason = "lines that were changed elsewhere since stay as they are"
    assert done == [("Note.md", "text", reason)]
    assert device.notes() == {"Note.md": "green\n\nlast\n"}


async def test_notes_and_names_go_back(world: World) -> None:
    """New notes go to the trash, deleted ones come back, names and places return; the rest is
    named. Doing it again does nothing.
    """
    device = world.device()
    folder = await world.add_named("folder", "Projects")
    moved = await world.add("Moved", "moved\n", add_tags=frozenset({folder}))
    renamed = await world.add("Renamed", "renamed\n")
    deleted = await world.add("Deleted", "deleted\n")
    theirs = await world.add("Theirs", "text\n")
    await device.synced()
    began, root = now_ms(), device.root
    (root / "New.md").write_text("new\n")
    (root / "New.assets").mkdir()
    (root / "New.assets" / "plan.pdf").write_bytes(b"plan")
    (root / "Shared.md").write_text("new\n")
    (root / "photo.jpg").write_bytes(b"photo")
    (root / "Renamed.md").rename(root / "Other name.md")
    (root / "Projects" / "Moved.md").rename(root / "Moved.md")
    (root / "Theirs.md").rename(root / "Ours.md")
    (root / "Deleted.md").unlink()
    await device.synced()
    await world.change(device.id_of("Shared.md"), body="new and theirs\n")
    await world.change(theirs, title="Theirs again")
    await device.synced()
    edit(device, "Other name.md", "renamed", "edited")
    await device.synced()
    expected = [
        ("Deleted.md", "back", ""),
        ("Moved.md", "name", "Projects/Moved.md"),
        ("New.md", "trash", ""),
        ("Other name.md", "name", "Renamed.md"),
        ("Shared.md", "left", "it is new, and was edited elsewhere since"),
        ("Theirs again.md", "left", "it was renamed elsewhere, too"),
        ("photo.jpg", "trash", ""),
    ]
    shown = await undo(device, began, preview=True)
    assert sorted(shown) == sorted([*expected, ("Other name.md", "text", "")])
    assert sorted(await undo(device, began)) == sorted([*expected, ("Renamed.md", "text", "")])
    await device.synced()
    assert device.notes() == {
        "Deleted.md": "deleted\n",
        "Projects/Moved.md": "moved\n",
        "Renamed.md": "renamed\n",
        "Shared.md": "new and theirs\n",
        "Theirs again.md": "text\n",
    }
    assert not (root / "New.assets").exists()
    assert not (root / "photo.jpg").exists()
    ids = {"Deleted.md": deleted, "Projects/Moved.md": moved, "Renamed.md": renamed}
    assert {path: device.id_of(path) for path in ids} == ids
    assert {action for _, action, _ in await undo(device, began)} == {"left"}


async def test_files_and_folders_go_back(world: World) -> None:
    """Deleted files, attachments and folders come back with their contents; new files and folders
    go to the trash. What no trash would keep is left and named.
    """
    device, root = world.device(), world.device().root
    await world.add("Note", "text\n")
    await device.synced()
    for path in ("Note.assets/plan.pdf", "Note.assets/kept.pdf", "Old/gone.bin", "edited.bin"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(path.encode())
    await device.synced()
    began = now_ms()
    for path in ("Note.assets/new.pdf", "New/In/new.bin", "New/note.md", "Full/x.tmp"):
        (root / path).parent.mkdir(exist_ok=True, parents=True)
        (root / path).write_bytes(f"the new {path}".encode())
    (root / "edited.bin").write_bytes(b"another content")
    # Last: a new directory in the place of a deleted one would be that one, renamed.
    (root / "Note.assets" / "plan.pdf").unlink()
    shutil.rmtree(root / "Old")
    await device.synced()
    attached = "it is new, and no trash keeps attachments; delete it yourself if you want it gone"
    expected = [
        ("New", "trash", ""),
        ("New/In", "trash", ""),
        ("New/In/new.bin", "trash", ""),
        ("New/note.md", "trash", ""),
        ("Note.assets/new.pdf", "left", attached),
        ("Note.assets/plan.pdf", "back", ""),
        ("Old", "back", ""),
        ("Old/gone.bin", "back", ""),
        ("edited.bin", "left", "earlier contents of files are not kept here"),
    ]
    shown = await undo(device, began, preview=True)
    assert sorted(shown) == [("Full", "trash", ""), *expected]
    full = ("Full", "left", "it is new, but other things are in it")
    assert sorted(await undo(device, began)) == [full, *expected]
    await device.synced()
    assert {p: data for p, data in files(device).items() if not p.endswith(".md")} == {
        "Full/x.tmp": b"the new Full/x.tmp",
        "Note.assets/kept.pdf": b"Note.assets/kept.pdf",
        "Note.assets/new.pdf": b"the new Note.assets/new.pdf",
        "Note.assets/plan.pdf": b"Note.assets/plan.pdf",
        "Old/gone.bin": b"Old/gone.bin",
        "edited.bin": b"another content",
    }
    assert not (root / "New").exists()
    assert {action for _, action, _ in await undo(device, began)} == {"left"}


async def test_what_is_nowhere_else_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """New notes with an edit from elsewhere that no file shows yet, with an attachment that was
    not sent, or was saved since: all of their files stay. So does a file that is no text now.
    """
    device = world.device()
    await world.add("Binary", "one\n")
    await device.synced()
    began, root = now_ms(), device.root
    edit(device, "Binary.md", "one", "two")
    for name in ("News", "Unsent", "Saved"):
        (root / f"{name}.md").write_text("new\n")
        (root / f"{name}.assets").mkdir()
        for part in ("a", "b"):
            (root / f"{name}.assets" / f"{part}.bin").write_bytes(f"{name} {part}".encode())
    await device.synced()
    await world.change(device.id_of("News.md"), body="new and theirs\n")
    with monkeypatch.context() as patch:
        patch.setattr(syscalls, "create", refusing("create", ".heapsyncd-", errno.EACCES))
        assert (await device.once()).exit_code == 1
    assert device.notes()["News.md"] == "new\n"
    async with await open_cache(device.account, device.base / "state") as db:
        sql = "UPDATE entry SET todo = 'upload' WHERE path = 'Unsent.assets/b.bin'"
        await db.write(lambda tx: tx.execute(sql))
    (root / "Saved.assets" / "a.bin").write_bytes(b"saved since")
    (root / "Binary.md").write_bytes(b"\xff\0text")
    before = files(device)
    done = await undo(device, began)
    assert [(path, action) for path, action, _ in sorted(done)] == [
        (f"{name}.md", "left") for name in ("Binary", "News", "Saved", "Unsent")
    ]
    await device.once()
    assert files(device) == before
    assert (root / "Binary.md").read_bytes() == b"\xff\0text"
    expected = {"News.md": "new and theirs\n", "Saved.md": "new\n", "Unsent.md": "new\n"}
    (root / "Binary.md").unlink()
    assert device.notes() == expected


async def test_a_mirror_that_starts_knows_its_heaps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks while they are being opened waits for that, and does not hear of nothing."""
    device = world.device()
    await world.add("Note", "old\n")
    await device.synced()
    began = now_ms()
    edit(device, "Note.md", "old", "new")
    await device.synced()
    asked: list[asyncio.Task[list[dict[str, Any]]]] = []

    async def opening(*arguments: Any) -> HeapContext:
        assert device.report.commands is not None
        undoing = device.report.commands.undo(UndoRequest(began, preview=True))
        asked.append(asyncio.create_task(undoing))
        await asyncio.sleep(0)
        return await open_heap(*arguments)

    monkeypatch.setattr("heapsyncd.sync.runtime.account.open_heap", opening)
    async with device.running():
        (step,) = await asked[0]
    assert (step["path"], step["action"]) == ("Note.md", "text")


async def test_a_heap_that_could_not_be_opened_is_not_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for something in it hears why, and not of nothing."""
    device = world.device()
    await world.add("Note", "old\n")
    await device.synced()

    async def refused(*_arguments: Any) -> HeapContext:
        raise FolderTrouble("the disk is away")

    monkeypatch.setattr("heapsyncd.sync.runtime.account.open_heap", refused)
    path = str(device.root / "Note.md")
    async with device.running():
        commands = device.report.commands
        assert commands is not None
        asking = [
            commands.undo(UndoRequest(0)),
            commands.restore(RestoreRequest((path,))),
            commands.fetch([path]),
        ]
        for asked in asking:
            with pytest.raises(NotRunning, match="Home could not be opened: the disk is away"):
                await asked


async def test_only_what_is_asked_for(world: World) -> None:
    """A note, a directory, or a heap; nothing of another heap's folder."""
    device = world.device()
    folder = await world.add_named("folder", "Projects")
    await world.add("A", "one\n")
    await world.add("B", "one\n", add_tags=frozenset({folder}))
    await world.add("C", "one\n")
    await device.synced()
    began = now_ms()
    for path in ("A.md", "Projects/B.md", "C.md"):
        edit(device, path, "one", "two")
    for scope, expected in (
        (device.root.with_name("Elsewhere"), []),
        (device.root / "A.md", ["A.md"]),
        (device.root / "Projects", ["Projects/B.md"]),
        (device.root, ["C.md"]),
    ):
        assert [path for path, _, _ in await undo(device, began, scope)] == expected
    assert set(device.notes().values()) == {"one\n"}
