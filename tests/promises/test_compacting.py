"""A mirror of a server without CRDTs, which makes a fresh document of every change."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from heapsyncd.errors import StateLocked, UserError, leaf_errors
from heapsyncd.ids import BlockId
from heapsyncd.model import PushStatus
from heapsyncd.server import Server
from heapsyncd.sync import publish
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.offline.explain import explain
from heapsyncd.sync.offline.status import cached_status
from heapsyncd.sync.offline.versions import versions as history
from tests.sync.compacting import Compacting, CompactingDevice, Item
from tests.sync.rig import files, until
from tests.world.fast import fast

TASK = "---\ntype: task\ntags: [b, a]\nprogress: 50\n---\n* one\n* two\n"


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


@pytest.fixture
def remote() -> Compacting:
    return Compacting()


@pytest.fixture
def device(remote: Compacting, tmp_path: Path) -> CompactingDevice:
    server = cast("Server", SimpleNamespace(url="https://compacting.invalid"))
    return CompactingDevice(server, tmp_path, remote=remote)


def read(device: CompactingDevice, path: str) -> str:
    return (device.root / path).read_text("utf-8")


def edit(device: CompactingDevice, path: str, old: str, new: str) -> None:
    text = read(device, path)
    assert old in text
    (device.root / path).write_text(text.replace(old, new), "utf-8")


def with_id(remote: Compacting, block: str, text: str = "") -> str:
    """A file's text with the server's id in its front matter."""
    item = remote.items[block]  # type: ignore[index]
    text = text or item.text
    front = text.removeprefix("---\n") if text.startswith("---\n") else f"---\n{text}"
    return f"---\nid: {item.public_id}\n{front}"


async def test_files_show_the_servers_ids_and_texts(
    remote: Compacting, device: CompactingDevice
) -> None:
    """The heap is the account's folder itself; ids, tags and texts are the server's."""
    box = remote.add("Projects", kind="folder")
    boat = remote.add("Boat", TASK, box)
    loose = remote.add("Loose", "See [[Boat]].\n")
    await device.synced()
    assert (device.root / ".heapsyncd").exists()
    assert read(device, "Projects/Boat.md") == with_id(remote, boat)
    assert read(device, "Loose.md") == with_id(remote, loose)
    assert not remote.calls["push"]


async def test_edits_are_sent_once(remote: Compacting, device: CompactingDevice) -> None:
    """What was sent comes back as a fresh document, and nothing of it is sent again."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    edit(device, "Boat.md", "two", "three")
    edit(device, "Boat.md", "tags: [b, a]", "tags:\n- a  # mine\n- [c]")
    await device.synced()
    text = TASK.replace("two", "three").replace("tags: [b, a]", "tags:\n- a  # mine\n- [c]")
    assert remote.texts() == {"Boat": text}
    assert read(device, "Boat.md") == with_id(remote, boat)
    before = (remote.calls["edit"], remote.calls["pull"])
    assert before[0] == 1
    await device.synced()
    assert (remote.calls["edit"], remote.calls["pull"]) == before
    assert not [r for r in remote.items.values() if r.kind == "tag"]


async def test_tags_make_no_blocks(remote: Compacting, device: CompactingDevice) -> None:
    """They are lines of the front matter, in their own order and notation."""
    remote.add("Boat", TASK)
    await device.synced()
    edit(device, "Boat.md", "tags: [b, a]", "tags: [z, b, c]  # mine")
    (device.root / "New.md").write_text("---\ntags:\n- z\n- new\n---\n")
    await device.synced()
    assert remote.texts() == {
        "Boat": TASK.replace("tags: [b, a]", "tags: [z, b, c]  # mine"),
        "New": "---\ntags:\n- z\n- new\n---\n",
    }
    assert {item.kind for item in remote.items.values()} == {"document"}


async def test_a_push_needs_no_poll_before_it(
    remote: Compacting, device: CompactingDevice
) -> None:
    """What the server made of the edit is pulled at once, whatever the interval."""
    device.poll_interval_s = 600.0
    remote.add("Boat", TASK)
    async with device.running():
        await device.in_sync()
        before, seen = remote.calls["changes"], list[int]()

        def count(_: Item) -> tuple[PushStatus, tuple[str, ...]]:
            seen.append(remote.calls["changes"])
            return "ok", ()

        remote.answer = count
        edit(device, "Boat.md", "two", "three")
        await until(lambda: seen, "the edit is pushed")
        (device.root / "New.md").write_text("new\n")
        await until(lambda: "id:" in read(device, "New.md"), "the new note has its id")
    assert seen[0] == before


async def test_a_new_note_gets_the_servers_id(
    remote: Compacting, device: CompactingDevice
) -> None:
    """Its file shows no id before the server gave it one; a ULID in it is the user's."""
    await device.synced()
    text = "---\ntags: [x]\nid: 01ARZ3NDEKTSV4RRFFQ69G5FAV\n---\nHello *there*\n"
    (device.root / "New.md").write_text(text)
    await device.synced()
    await device.synced()
    (block,) = remote.items
    assert remote.texts() == {"New": text}
    shown = text.replace("---\ntags", f"---\nheaper_id: {remote.items[block].public_id}\ntags")
    assert read(device, "New.md") == shown
    assert remote.calls["edit"] == 1


async def test_a_moved_file_is_known_by_the_servers_id(
    remote: Compacting, device: CompactingDevice
) -> None:
    """Also when its text changed, and its inode: the id in it is enough."""
    box = remote.add("Projects", kind="folder")
    boat = remote.add("Boat", TASK)
    await device.synced()
    text = read(device, "Boat.md").replace("two", "other")
    (device.root / "Boat.md").unlink()
    (device.root / "Projects/Ship.md").write_text(text)
    await device.synced()
    item = remote.items[boat]
    assert (item.title, item.folder, len(remote.items)) == ("Ship", box, 2)
    assert item.text == TASK.replace("two", "other")


async def test_a_copy_of_a_file_is_a_new_note(
    remote: Compacting, device: CompactingDevice
) -> None:
    """The copy loses the id of its original."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    shutil.copy(device.root / "Boat.md", device.root / "Copy.md")
    await device.synced()
    await device.synced()
    assert remote.texts() == {"Boat": TASK, "Copy": TASK}
    copied = next(b for b in remote.items if b != boat)
    assert read(device, "Copy.md") == with_id(remote, copied)


async def test_names_in_texts_are_never_rewritten(
    remote: Compacting, device: CompactingDevice
) -> None:
    """``[[Name]]`` and ``![[file]]`` stay text when the note or file is renamed."""
    remote.add("Boat", TASK)
    loose = remote.add("Loose", "See [[Boat]], [[01ARZ3NDEKTSV4RRFFQ69G5FAV]], ![[p.pdf]].\n")
    await device.synced()
    (device.root / "Boat.md").rename(device.root / "Ship.md")
    edit(device, "Loose.md", "See", "Now see")
    await device.synced()
    assert remote.items[loose].text == (
        "Now see [[Boat]], [[01ARZ3NDEKTSV4RRFFQ69G5FAV]], ![[p.pdf]].\n"
    )
    assert read(device, "Loose.md") == with_id(remote, loose)


async def test_a_title_that_no_file_name_can_carry(
    remote: Compacting, device: CompactingDevice
) -> None:
    """It is a key of ours as long as it is needed; editing it renames the item."""
    boat = remote.add("A/B: c", TASK)
    await device.synced()
    title = read(device, "A_B_ c.md").splitlines()[2]
    assert title == 'title: "A/B: c"'
    edit(device, "A_B_ c.md", title, "title: Boat")
    await device.synced()
    assert (remote.items[boat].title, remote.items[boat].text) == ("Boat", TASK)
    await device.synced()
    assert read(device, "Boat.md") == with_id(remote, boat)


@pytest.mark.parametrize("first", ["here", "there"])
async def test_edits_of_both_sides_are_merged_as_files(
    remote: Compacting, device: CompactingDevice, first: str
) -> None:
    """Lines of front matter and of the body, whichever edit is read first."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    ours, theirs = ("two", "two and a half"), ("progress: 50", "progress: 70\npriority: 5")
    if first == "here":
        edit(device, "Boat.md", *ours)
        remote.change(boat, text=TASK.replace(*theirs))
    else:
        remote.change(boat, text=TASK.replace(*theirs))
        edit(device, "Boat.md", *ours)
    await device.synced()
    assert remote.texts() == {"Boat": TASK.replace(*theirs).replace(*ours)}
    assert read(device, "Boat.md") == with_id(remote, boat)


async def test_a_push_that_came_too_late_is_merged(
    remote: Compacting, device: CompactingDevice
) -> None:
    """The server says "stale"; contested lines both stand, with a notice."""
    boat = remote.add("Boat", "one\ntwo\n")
    async with device.running():
        await device.in_sync()
        remote.change(boat, text="one\nTWO there\n")
        edit(device, "Boat.md", "two", "two here")
        await until(lambda: "here" in remote.items[boat].text, "the edit is on the server")
        await device.in_sync()
        await until(
            lambda: read(device, "Boat.md") == with_id(remote, boat), "the file shows the merge"
        )
    assert remote.items[boat].text == "one\nTWO there\ntwo here\n"
    await device.synced()
    (notice,) = device.report.heaps[remote.heap].notices
    assert "both versions stand" in notice


async def test_an_edit_that_the_server_has_already(
    remote: Compacting, device: CompactingDevice
) -> None:
    """Nothing is unsent then: its answer to the push was lost."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    edit(device, "Boat.md", "two", "three")
    remote.change(boat, text=TASK.replace("two", "three"))
    await device.synced()
    assert not remote.calls["edit"]
    assert read(device, "Boat.md") == with_id(remote, boat)


async def test_a_save_before_a_newer_text_is_shown(
    remote: Compacting, device: CompactingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The editor had the old text; the new document is stored, and not in the file yet."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    real = publish.publish
    saved = False

    async def late(heap: HeapContext, rescan: set[str], *, everything: bool = False) -> bool:
        nonlocal saved
        if not saved and boat in heap.index.stale and heap.index.path_of.get(boat):
            saved = True
            edit(device, "Boat.md", "* two", "* two here")
            rescan.add("Boat.md")
        return await real(heap, rescan, everything=everything)

    monkeypatch.setattr("heapsyncd.sync.runtime.heap.publish", late)
    remote.change(boat, text=TASK.replace("50", "70").replace("two", "two there"))
    await device.synced()
    assert saved
    text = TASK.replace("50", "70").replace("* two", "* two there\n* two here")
    assert remote.texts() == {"Boat": text}
    (notice,) = device.report.heaps[remote.heap].notices
    assert "both versions stand" in notice
    assert read(device, "Boat.md") == with_id(remote, boat)


async def test_a_lost_cache_keeps_both_texts(remote: Compacting, device: CompactingDevice) -> None:
    """The file's own lines and the server's both stand; no note is doubled."""
    boat = remote.add("Boat", TASK)
    other = remote.add("Other", TASK)
    await device.synced()
    shutil.rmtree(device.base / "state")
    edit(device, "Boat.md", "* two", "* two here\n* more")
    edit(device, "Boat.md", "progress: 50", "progress: 60\npriority: 3")
    remote.change(boat, text=TASK.replace("* one", "* one there").replace("50", "70"))
    await device.synced()
    text = remote.items[boat].text
    assert all(word in text for word in ("one there", "two here", "more", "priority: 3"))
    assert "progress: 60" in text
    assert [text.count(line) for line in ("type: task", "* one\n")] == [1, 1]
    assert "70" in " ".join(device.report.heaps[remote.heap].notices)
    assert read(device, "Boat.md") == with_id(remote, boat)
    assert remote.items[other].version == 1
    assert len(remote.items) == 2


async def test_a_note_that_was_emptied_on_the_server(
    remote: Compacting, device: CompactingDevice
) -> None:
    """An empty text is a fact here, and no failed load."""
    boat = remote.add("Boat", "one\n")
    await device.synced()
    remote.change(boat, text="", title="")
    await device.synced()
    bodies = list(device.notes().values())
    assert bodies == [""]


async def test_a_deletion_and_an_edit(remote: Compacting, device: CompactingDevice) -> None:
    """The edit wins over a deletion that comes with a fresh document."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    edit(device, "Boat.md", "two", "three")
    remote.change(boat, deleted_at_ms=5)
    await device.synced()
    assert remote.texts() == {"Boat": TASK.replace("two", "three")}
    assert read(device, "Boat.md") == with_id(remote, boat)


async def test_a_deletion_for_good_and_an_edit(
    remote: Compacting, device: CompactingDevice
) -> None:
    """The file becomes a new note, without the id of the deleted one."""
    boat = remote.add("Boat", TASK)
    await device.synced()
    remote.answer = lambda _: ("stale", ())
    async with device.running():
        edit(device, "Boat.md", "two", "three")
        await until(lambda: remote.calls["push"], "the edit was tried")
        remote.answer = lambda _: ("ok", ())
        remote.change(boat, is_gone=True)
        await until(lambda: len(remote.items) == 2, "there is a new note")
        await device.in_sync()
        new = next(b for b in remote.items if b != boat)
        await until(lambda: read(device, "Boat.md") == with_id(remote, new), "it has a new id")
    assert remote.texts() == {"Boat": TASK.replace("two", "three")}


@pytest.mark.parametrize("times", [1, 3])
async def test_a_restart_sends_nothing(
    remote: Compacting, device: CompactingDevice, times: int
) -> None:
    """Nothing is put back or read again: the documents of this server decide."""
    remote.add("Boat", TASK)
    remote.add("Plain", "just text\n")
    await device.synced()
    (device.root / "New.md").write_text("* styled\n")
    for _ in range(times):
        await device.synced()
    assert remote.calls["edit"] == 1


async def test_a_document_without_a_source_is_a_rendering(
    remote: Compacting, device: CompactingDevice
) -> None:
    """The file is a function of the document, whatever the device had: nothing is put back."""
    boat = remote.add("Boat", "* one\n* two\n")
    await device.synced()
    remote.change(boat, has_source=False)
    await device.synced()
    assert read(device, "Boat.md") == with_id(remote, boat, "- one\n- two\n")
    assert not remote.calls["push"]


async def test_what_the_server_does_not_take(remote: Compacting, device: CompactingDevice) -> None:
    """Its remarks are minor problems of the file until the next push of the note."""
    remote.add("Boat", TASK)
    await device.synced()
    remote.answer = lambda item: ("ok", ("line 3: `due` is unknown", "line 4: so is this"))
    edit(device, "Boat.md", "* two", "* two\n* three")
    verdict = await device.once()
    said = "Boat.md: line 3: `due` is unknown; line 4: so is this"
    assert (verdict.exit_code, len(verdict.minor)) == (0, 1)
    assert said in verdict.minor[0]
    (device.root / "Boat.md").rename(device.root / "Ship.md")
    remote.answer = lambda _: ("ok", ())
    assert (await device.once()).minor == ()


async def test_what_the_server_does_not_take_of_a_folder(
    remote: Compacting, device: CompactingDevice
) -> None:
    """Said of the directory, in each pass until it is pushed again."""
    remote.answer = lambda item: ("ok", ("it has no color",) if item.kind == "folder" else ())
    await device.synced()
    (device.root / "Box").mkdir()
    for _ in range(2):
        assert (await device.once()).minor == ("All/Box: it has no color",)


async def test_a_push_that_the_server_refuses(
    remote: Compacting, device: CompactingDevice
) -> None:
    """Its own reasons are shown, and the file is kept."""
    remote.add("Boat", TASK)
    await device.synced()
    remote.answer = lambda item: ("forbidden", ("it is shared by somebody, read-only",))
    edit(device, "Boat.md", "* two", "* three")
    verdict = await device.once()
    assert verdict.exit_code == 1
    assert "it is shared by somebody, read-only" in " ".join(verdict.left)
    assert "* three" in read(device, "Boat.md")


async def test_commands_know_the_accounts_folder(
    remote: Compacting, device: CompactingDevice
) -> None:
    """A heap at the account's root: explain, status and history, without a daemon."""
    remote.add("Boat", TASK)
    await device.synced()
    state, path = device.base / "state", device.root / "Boat.md"
    facts = await explain(device.account, state, path)
    assert facts is not None
    assert (facts["path"], facts["folder"]) == ("Boat.md", str(device.root))
    assert facts["text"] == {"kind": "exact", "problem": None}
    with pytest.raises(UserError, match="is the folder of the heap"):
        await explain(device.account, state, device.root)
    (heap,) = (await cached_status(device.account, state))["heaps"]
    assert (heap["folder"], heap["notes"]) == (str(device.root), 1)
    assert await history(device.account, state, [str(path)]) is not None
    other = CompactingDevice(device.server, device.base / "b", remote=remote)
    (other.base).mkdir()
    (other.base / "folder").symlink_to(device.root)
    async with device.running():
        with pytest.raises(ExceptionGroup) as found:
            await other.once()
    assert isinstance(leaf_errors(found.value)[0], StateLocked)


# ---- contents of which the server knows no hash ------------------------------------------------


async def attached(remote: Compacting, device: CompactingDevice) -> BlockId:
    """A note with an attachment, and a file of its own, both mirrored."""
    boat = remote.add("Boat", TASK)
    remote.attach(boat, "plan.pdf", b"plan one")
    photo = remote.add("photo.jpg", kind="file")
    remote.attach(photo, "photo.jpg", b"photo")
    await device.synced()
    assert files(device) == {"Boat.assets/plan.pdf": b"plan one", "photo.jpg": b"photo"}
    return boat


async def test_contents_are_downloaded_once(remote: Compacting, device: CompactingDevice) -> None:
    """A new version of the server replaces the file; a quiet pass changes nothing."""
    boat = await attached(remote, device)
    await device.synced()
    assert remote.calls["download"] == 2
    remote.change(boat, files={})
    remote.attach(boat, "plan.pdf", b"plan two!")
    await device.synced()
    assert files(device)["Boat.assets/plan.pdf"] == b"plan two!"
    assert (remote.calls["download"], remote.calls["push"]) == (3, 0)


async def test_a_changed_content_is_uploaded(remote: Compacting, device: CompactingDevice) -> None:
    """In the place of the version it was made from."""
    boat = await attached(remote, device)
    (device.root / "Boat.assets/plan.pdf").write_bytes(b"changed here")
    (device.root / "new.bin").write_bytes(b"new")
    await device.synced()
    await device.synced()
    (file,) = remote.items[boat].files.values()
    assert (file.name, remote.contents[file.hash]) == ("plan.pdf", b"changed here")
    assert files(device) == {
        "Boat.assets/plan.pdf": b"changed here", "photo.jpg": b"photo", "new.bin": b"new",
    }  # fmt: skip
    assert remote.calls["download"] == 2


async def test_contents_after_a_lost_cache(remote: Compacting, device: CompactingDevice) -> None:
    """Equal ones are adopted; of the same size but different, both are kept."""
    boat = await attached(remote, device)
    shutil.rmtree(device.base / "state")
    (device.root / "photo.jpg").write_bytes(b"PHOTO")
    await device.synced()
    await device.synced()
    assert files(device) == {
        "Boat.assets/plan.pdf": b"plan one", "photo.jpg": b"photo", "photo (2).jpg": b"PHOTO",
    }  # fmt: skip
    assert len(remote.items[boat].files) == 1
    made = [i for i in remote.items.values() if i.kind == "file"]
    assert sorted(i.title for i in made) == ["photo (2).jpg", "photo.jpg"]


async def test_an_edit_before_a_newer_version_is_here(
    remote: Compacting, device: CompactingDevice
) -> None:
    """Neither version replaces the other."""
    boat = await attached(remote, device)
    remote.change(boat, files={})
    remote.attach(boat, "plan.pdf", b"plan two!")
    (device.root / "Boat.assets/plan.pdf").write_bytes(b"changed here")
    await device.synced()
    await device.synced()
    kept = {d for name, d in files(device).items() if name.startswith("Boat.assets/")}
    assert kept == {b"plan two!", b"changed here"}
    assert {remote.contents[f.hash] for f in remote.items[boat].files.values()} == kept
