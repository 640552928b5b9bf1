"""Folders and places over whole mirrors: directories and folder blocks, notes in several folders,
swaps and chains of names made on the disk and in the app.
"""

import os
import shutil
import time
from pathlib import Path

import pytest

from heapsyncd.ids import BlockId
from tests.sync.rig import Device, World, files, ids, until


def aged(*paths: Path) -> None:
    """Let files look as if nobody had written to them for a while."""
    old = time.time() - 3600
    for path in paths:
        os.utime(path, (old, old))


async def folders_of(world: World, block: str) -> set[BlockId]:
    """The folder blocks among a block's tags."""
    tags = (await world.server.document(BlockId(block))).fields().tags
    return {t for t in tags if (await world.server.row(t)).type == "folder"}


async def two_devices(world: World) -> tuple[Device, Device]:
    one, two = world.device("a"), world.device("b")
    await one.synced()
    await two.synced()
    return one, two


async def test_into_new_folders(world: World) -> None:
    """Old files moved into directories made just before are in their folders: the directories are
    known before what moved into them.
    """
    one, two = await two_devices(world)
    (one.root / "Boat.assets").mkdir()
    (one.root / "Boat.assets" / "plan.pdf").write_bytes(b"plan")
    (one.root / "Boat.md").write_text("See:\n\n![[plan.pdf]]\n")
    (one.root / "photo.jpg").write_bytes(b"photo")
    await one.synced()
    aged(one.root / "Boat.md", one.root / "photo.jpg")
    await one.synced()
    blocks = set(await world.blocks())
    deep = one.root / "Harbour" / "North"
    deep.mkdir(parents=True)
    (one.root / "Boat.md").rename(deep / "Boat.md")
    (one.root / "photo.jpg").rename(deep / "photo.jpg")
    await one.synced()
    await two.synced()
    moved = {"Harbour/North/Boat.assets/plan.pdf": b"plan", "Harbour/North/photo.jpg": b"photo"}
    assert files(one) == files(two) == moved
    assert ids(one) == ids(two)
    folders = await world.titles("folder")
    assert set(folders) == {"Harbour", "North"}
    assert set(await world.blocks()) == blocks | set(folders.values())
    (boat,) = ids(one).values()
    assert await folders_of(world, boat) == {folders["North"]}
    assert await folders_of(world, folders["North"]) == {folders["Harbour"]}


async def test_lost_cache_with_folders(world: World) -> None:
    """A rebuilt cache finds folders, attachments and files again: nothing is made, sent or moved
    twice.
    """
    one, two = await two_devices(world)
    (one.root / "Trips" / "2026" / "Oslo.assets").mkdir(parents=True)
    (one.root / "Trips" / "2026" / "Oslo.md").write_text("by train\n\n![[map.png]]\n")
    (one.root / "Trips" / "2026" / "Oslo.assets" / "map.png").write_bytes(b"map")
    (one.root / "Trips" / "photo.jpg").write_bytes(b"photo")
    (one.root / "Empty").mkdir()
    await one.synced()
    await two.synced()
    blocks, notes, contents = set(await world.blocks()), ids(one), files(one)
    for device in (one, two):
        shutil.rmtree(device.base / "state")
        await device.synced()
        assert ids(device) == notes
        assert files(device) == contents
        assert (device.root / "Empty").is_dir()
    assert set(await world.blocks()) == blocks
    assert set(await world.titles("folder")) == {"Trips", "2026", "Empty"}


@pytest.mark.slow
async def test_chains_on_the_disk(world: World) -> None:
    """A chain of renames (a to b, b to c, c to d) and a circle keep the identities of notes and
    of files, with an edit made at the same time.
    """
    one, two = await two_devices(world)
    for name in "abc":
        (one.root / f"{name}.md").write_text(f"the text of {name}\n")
        (one.root / f"{name}.bin").write_bytes(f"content {name}".encode())
    await one.synced()
    await two.synced()
    before, blocks = ids(one), set(await world.blocks())
    contents = await world.titles("file")
    for new, old in (("d", "c"), ("c", "b"), ("b", "a")):
        for suffix in (".md", ".bin"):
            (one.root / f"{old}{suffix}").rename(one.root / f"{new}{suffix}")
    text = (one.root / "c.md").read_text()
    (one.root / "c.md").write_text(text.replace("the text", "the EDITED text"))
    await one.synced()
    await two.synced()
    chained = {"b.md": before["a.md"], "c.md": before["b.md"], "d.md": before["c.md"]}
    assert ids(one) == ids(two) == chained
    assert two.notes()["c.md"] == "the EDITED text of b\n"
    renamed = {"b.bin": contents["a.bin"], "c.bin": contents["b.bin"], "d.bin": contents["c.bin"]}
    assert await world.titles("file") == renamed
    (two.root / "d.md").rename(two.root / "x")
    (two.root / "c.md").rename(two.root / "d.md")
    (two.root / "b.md").rename(two.root / "c.md")
    (two.root / "x").rename(two.root / "b.md")
    await two.synced()
    await one.synced()
    assert ids(one) == ids(two) == {
        "c.md": before["a.md"], "d.md": before["b.md"], "b.md": before["c.md"],
    }  # fmt: skip
    assert set(await world.blocks()) == blocks


@pytest.mark.slow
async def test_swaps_and_chains_in_the_app(world: World) -> None:
    """Titles that are swapped, passed on and handed round in the app rename the files, with their
    attachments, and lose nobody; folders too.
    """
    one, two = await two_devices(world)
    for name in "abc":
        (one.root / f"{name}.assets").mkdir()
        (one.root / f"{name}.assets" / "own.bin").write_bytes(name.encode())
        (one.root / f"{name}.md").write_text(f"the text of {name}\n")
        (one.root / f"F{name}").mkdir()
        (one.root / f"F{name}" / "in.md").write_text(f"inside {name}\n")
    await one.synced()
    await two.synced()
    titles = {**await world.titles(), **await world.titles("folder")}
    inside = {name: ids(one)[f"F{name}/in.md"] for name in "abc"}
    blocks = set(await world.blocks())
    for turn in ("bca", "acb", "abc"):
        for old, new in zip("abc", turn, strict=True):
            if (await world.titles()).get(new) != titles[old]:
                await world.change(titles[old], title=new)
                await world.change(titles[f"F{old}"], title=f"F{new}")
        for device in (one, two):
            await device.synced()
            found = ids(device)
            for old, new in zip("abc", turn, strict=True):
                assert found[f"{new}.md"] == titles[old]
                assert found[f"F{new}/in.md"] == inside[old]
                assert (device.root / f"{new}.assets" / "own.bin").read_bytes() == old.encode()
    assert set(await world.blocks()) == blocks


@pytest.mark.slow
@pytest.mark.parametrize("in_the_app", [True, False])
async def test_a_folder_s_life(world: World, *, in_the_app: bool) -> None:
    """A folder that is made, nested, renamed, moved, deleted and restored on one side is so on
    the other, and its notes stay the same blocks.
    """
    one, two = await two_devices(world)
    if in_the_app:
        outer = await world.add_named("folder", "Outer")
        inner = await world.add_named("folder", "Inner", outer)
        note = await world.add("Note", "text\n", add_tags=frozenset({inner}))
    else:
        (one.root / "Outer" / "Inner").mkdir(parents=True)
        (one.root / "Outer" / "Inner" / "Note.md").write_text("text\n")
        await one.synced()
        found = await world.titles("folder")
        outer, inner, note = found["Outer"], found["Inner"], (await world.titles())["Note"]
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Outer/Inner/Note.md": note}
    if in_the_app:
        await world.change(inner, title="Core")
        await world.change(inner, remove_tags=frozenset({outer}))
    else:
        (one.root / "Outer" / "Inner").rename(one.root / "Core")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Core/Note.md": note}
    assert (two.root / "Outer").is_dir()
    if in_the_app:
        for block in (note, inner):
            await world.change(block, deleted_at_ms=1_700_000_000_000)
    else:
        shutil.rmtree(one.root / "Core")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {}
    assert not (two.root / "Core").exists()
    for block in (inner, note):
        await world.change(block, deleted_at_ms=None)
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Core/Note.md": note}
    assert one.notes() == {"Core/Note.md": "text\n"}
    assert await world.titles("folder") == {"Outer": outer, "Core": inner}


async def test_a_note_in_several_folders(world: World) -> None:
    """A note with several folders stands in one place, the same on every device and over
    restarts; moved on the disk it leaves that folder only.
    """
    first, second, third = sorted([await world.add_named("folder", f"F{k}") for k in range(3)])
    name = {b: f"F{k}" for k in range(3) for b in [(await world.titles("folder"))[f"F{k}"]]}
    note = await world.add("Note", "text\n", add_tags=frozenset({second, third}))
    one, two = await two_devices(world)
    for _ in range(2):
        await one.synced()
        assert ids(one) == ids(two) == {f"{name[second]}/Note.md": note}
    (two.root / name[second] / "Note.md").rename(two.root / name[first] / "Note.md")
    await two.synced()
    await one.synced()
    assert ids(one) == ids(two) == {f"{name[first]}/Note.md": note}
    assert await folders_of(world, note) == {first, third}
    await world.change(note, remove_tags=frozenset({first}))
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {f"{name[third]}/Note.md": note}


@pytest.mark.slow
async def test_renamed_on_both_sides(world: World) -> None:
    """A file renamed and edited at once, while the note is renamed, moved and edited in the app:
    one name wins everywhere, and both texts are there.
    """
    one, two = await two_devices(world)
    folder = await world.add_named("folder", "Folder")
    note = await world.add("Note", "first\n\nsecond\n")
    await one.synced()
    await two.synced()
    text = (one.root / "Note.md").read_text()
    (one.root / "Note.md").unlink()
    (one.root / "Mine.md").write_text(text.replace("first", "first HERE"))
    await world.change(note, title="Theirs", add_tags=frozenset({folder}))
    await world.change(note, body="first\n\nsecond THERE\n")
    for device in (one, two, one, two):
        await device.synced()
    assert ids(one) == ids(two)
    assert set(ids(one).values()) == {note}
    assert list(one.notes().values()) == ["first HERE\n\nsecond THERE\n"]
    (path,) = ids(one)
    assert path.startswith("Folder/")


async def test_links_follow(world: World) -> None:
    """The links to a note renamed on the disk, in the app, by its folder, or swapped with another
    name it, with their labels.
    """
    one, two = await two_devices(world)
    (one.root / "Sub").mkdir()
    (one.root / "Sub" / "Boat.md").write_text("floats\n")
    (one.root / "Car.md").write_text("drives\n")
    (one.root / "Log.md").write_text("a [[Boat]], a [[Boat|boat]] and a [[Car]]\n")
    await one.synced()
    await two.synced()
    (one.root / "Sub" / "Boat.md").rename(one.root / "Sub" / "Ship.md")
    await one.synced()
    await two.synced()
    said = "a [[Ship]], a [[Ship|boat]] and a [[Car]]\n"
    assert one.notes()["Log.md"] == two.notes()["Log.md"] == said
    titles = await world.titles()
    await world.change(titles["Ship"], title="Car")
    await world.change(titles["Car"], title="Ship")
    await one.synced()
    await two.synced()
    said = "a [[Car]], a [[Car|boat]] and a [[Ship]]\n"
    assert one.notes()["Log.md"] == two.notes()["Log.md"] == said


@pytest.mark.slow
async def test_a_mark_of_the_user_s_own(world: World) -> None:
    """A title that loses its "(2)" in the app loses it in the name; a twin's mark stays with its
    twin.
    """
    one, two = await two_devices(world)
    note = await world.add("Plan (2)", "text\n")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Plan (2).md": note}
    await world.change(note, title="Plan")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Plan.md": note}
    twin = await world.add("Plan", "twin\n")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Plan.md": note, "Plan (2).md": twin}
    await world.change(note, title="Other")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {"Other.md": note, "Plan (2).md": twin}


async def test_a_folder_renamed_with_all_in_it_changed(world: World) -> None:
    """A directory that is renamed while nobody looks, its notes swapped, edited, moved out and
    others moved in: the folder is the same, and so is every note.
    """
    one, two = await two_devices(world)
    (one.root / "Sub").mkdir()
    for name in ("Sub/a", "Sub/b", "Sub/c", "d"):
        (one.root / f"{name}.md").write_text(f"the text of {name[-1]}\n")
    (one.root / "Sub" / "data.bin").write_bytes(b"one")
    await one.synced()
    await two.synced()
    before, blocks = ids(one), set(await world.blocks())
    sub, new = one.root / "Sub", one.root / "New"
    (sub / "a.md").rename(sub / "x.md")
    (sub / "b.md").rename(sub / "a.md")
    (sub / "x.md").rename(one.root / "b.md")
    (one.root / "d.md").rename(sub / "b.md")
    sub.rename(new)
    (new / "c.md").write_text((new / "c.md").read_text().replace("the text", "the EDITED text"))
    (new / "data.bin").write_bytes(b"two")
    await one.synced()
    await two.synced()
    assert ids(one) == ids(two) == {
        "New/a.md": before["Sub/b.md"],
        "New/b.md": before["d.md"],
        "New/c.md": before["Sub/c.md"],
        "b.md": before["Sub/a.md"],
    }  # fmt: skip
    assert one.notes()["New/c.md"] == two.notes()["New/c.md"] == "the EDITED text of c\n"
    assert files(two) == {"New/data.bin": b"two"}
    assert set(await world.blocks()) == blocks
    assert set(await world.titles("folder")) == {"New"}


async def test_a_new_file_takes_a_note_s_name(world: World) -> None:
    """A note renamed away, and a file without an id put into its place at once: the note is where
    its file is, the other is a new one.
    """
    one, two = await two_devices(world)
    note = await world.add("Note", "the old text\n")
    await one.synced()
    await two.synced()
    (one.root / "Note.md").rename(one.root / "Note 2025.md")
    (one.root / "Note.md").write_text("quite another\n")
    await one.synced()
    await two.synced()
    found = ids(two)
    assert ids(one) == found
    assert found["Note 2025.md"] == note
    assert two.notes() == {"Note.md": "quite another\n", "Note 2025.md": "the old text\n"}
    assert len(await world.blocks()) == 2
    old, new, newer = (one.root / f"{n}.md" for n in ("Note 2025", "Note", "Newer"))
    new.rename(newer)
    old.rename(new)
    old.write_text("a third\n")
    await one.synced()
    await two.synced()
    assert {**ids(one), "Note 2025.md": ""} == {
        "Note.md": note,
        "Newer.md": found["Note.md"],
        "Note 2025.md": "",
    }
    assert ids(one) == ids(two)
    assert two.notes()["Note 2025.md"] == "a third\n"


@pytest.mark.parametrize("atomically", [True, False])
async def test_saved_under_a_former_name(world: World, *, atomically: bool) -> None:
    """An editor that has a note open while it swaps names with another on the server, and then
    saves to the old path, edits the note it showed; the other one keeps its text.
    """
    device = world.device()
    note = await world.add("A", "the text of a\n")
    other = await world.add("B", "the text of b\n")
    await device.synced()
    async with device.running():
        await device.in_sync()
        buffer = (device.root / "A.md").read_text()
        await world.change(note, title="B")
        await world.change(other, title="A")
        await until(lambda: ids(device) == {"A.md": other, "B.md": note}, "the swap")
        await device.in_sync()
        path = device.root / "A.md"
        if atomically:
            (device.root / "A.md.tmp").write_text(buffer + "\ntyped\n")
            (device.root / "A.md.tmp").replace(path)
        else:
            path.write_text(buffer + "\ntyped\n")
        said = {"A.md": "the text of b\n", "B.md": "the text of a\n\ntyped\n"}
        await until(lambda: device.notes() == said, f"both texts, but {device.notes()}")
        await device.in_sync()
    assert await world.text(note) == "the text of a\ntyped"
    assert await world.text(other) == "the text of b"
    assert ids(device) == {"A.md": other, "B.md": note}


async def test_saved_under_a_former_name_beside_an_unread_edit(world: World) -> None:
    """A text saved under its note's former name waits while that note's own file has an edit that
    was not read yet; then both edits stand, and the other note keeps its text.
    """
    device = world.device()
    note = await world.add("A", "the text of a\n")
    other = await world.add("B", "the text of b\n")
    await device.synced()
    buffer = (device.root / "A.md").read_text()
    await world.change(note, title="B")
    await world.change(other, title="A")
    await device.synced()
    assert ids(device) == {"A.md": other, "B.md": note}
    own = (device.root / "B.md").read_text()
    (device.root / "B.md").write_text(own.replace("the text", "the new text"))
    (device.root / "A.md").write_text(buffer + "\ntyped\n")
    await device.synced()
    assert device.notes() == {"A.md": "the text of b\n", "B.md": "the new text of a\n\ntyped\n"}
    assert await world.text(note) == "the new text of a\ntyped"
    assert await world.text(other) == "the text of b"


async def test_saved_under_a_former_name_when_renamed_again(world: World) -> None:
    """A text saved under its note's former name, over another note, while the note's own file is
    renamed by hand: the edit is the note's, and the other one keeps its text.
    """
    device = world.device()
    note = await world.add("A", "the text of a\n")
    await device.synced()
    buffer = (device.root / "A.md").read_text()
    await world.change(note, title="B")
    await device.synced()
    other = await world.add("A", "the text of b\n")
    await device.synced()
    assert ids(device) == {"A.md": other, "B.md": note}
    (device.root / "A.md.tmp").write_text(buffer + "\ntyped\n")
    (device.root / "A.md.tmp").replace(device.root / "A.md")
    (device.root / "B.md").rename(device.root / "C.md")
    await device.synced()
    await device.synced()
    assert ids(device) == {"A.md": other, "C.md": note}
    assert device.notes() == {"A.md": "the text of b\n", "C.md": "the text of a\n\ntyped\n"}
    assert await world.text(note) == "the text of a\ntyped"
    assert await world.text(other) == "the text of b"


async def test_saved_over_the_note_that_took_a_deleted_one_s_name(world: World) -> None:
    """An editor that has a note open while it is deleted on the server, and another gets its name,
    edits the note it showed: that comes back, and the other one keeps its text.
    """
    device = world.device()
    note = await world.add("A", "the text of a\n")
    await device.synced()
    buffer = (device.root / "A.md").read_text()
    await world.change(note, deleted_at_ms=1)
    other = await world.add("A", "the text of b\n")
    await device.synced()
    assert ids(device) == {"A.md": other}
    (device.root / "A.md").write_text(buffer + "\ntyped\n")
    await device.synced()
    await device.synced()
    assert ids(device) == {"A.md": other, "A (2).md": note}
    assert device.notes() == {"A.md": "the text of b\n", "A (2).md": "the text of a\n\ntyped\n"}
    assert await world.text(note) == "the text of a\ntyped"
    assert await world.text(other) == "the text of b"


async def test_renamed_and_saved_and_its_name_used_again(world: World) -> None:
    """A note renamed and saved anew, and another begun under its old name, all while nobody looks:
    the id tells which is which, and an edit on the server goes with it.
    """
    device = world.device()
    note = await world.add("Plan", "amber birch\n\ncloud delta\n")
    await device.synced()
    saved = (device.root / "Plan.md").read_text().replace("cloud", "cloud HERE")
    (device.root / "Plan.md").unlink()
    (device.root / "Named.md").write_text(saved)
    (device.root / "Plan.md").write_text("quite another text\n")
    await world.change(note, body="amber birch THERE\n\ncloud delta\n")
    await device.synced()
    assert device.notes() == {
        "Named.md": "amber birch THERE\n\ncloud HERE delta\n",
        "Plan.md": "quite another text\n",
    }
    assert ids(device)["Named.md"] == note
    assert ids(device)["Plan.md"] != note


async def test_a_name_used_again_since_the_cache_was_backed_up(world: World) -> None:
    """A cache put back from a backup, from before a note was renamed and edited, and another
    one was made under its old name: the ids tell which is which.
    """
    device = world.device()
    note = await world.add("Plan", "amber birch\n")
    await device.synced()
    shutil.copytree(device.base / "state", device.base / "backup")
    await world.change(note, title="Named", body="amber birch cloud\n")
    await device.synced()
    other = await world.add("Plan", "amber birch, and more\n")
    await device.synced()
    files = {p: (device.root / p).read_bytes() for p in device.notes()}
    assert ids(device) == {"Named.md": note, "Plan.md": other}
    shutil.rmtree(device.base / "state")
    (device.base / "backup").rename(device.base / "state")
    await device.synced()
    assert {p: (device.root / p).read_bytes() for p in device.notes()} == files
    assert sorted(await world.blocks()) == sorted([note, other])
    assert (await world.text(note), await world.text(other)) == (
        "amber birch cloud",
        "amber birch, and more",
    )


async def test_renamed_and_saved_without_an_id(world: World) -> None:
    """A note whose front matter can't be written, so that its id is not in it, is renamed and
    saved anew while nobody looks: it is the same note, and another new file is another one.
    """
    device = world.device()
    await device.synced()
    front, old = "---\ntags: [a\n---\n", device.root / "Old.md"
    old.write_text(f"{front}amber birch\n\ncloud delta\n")
    await device.synced()
    (note,) = (await world.titles()).values()
    assert "id:" not in old.read_text()
    old.rename(device.root / "gone")
    (device.root / "Another.md").write_text("ember fjord\n")
    (device.root / "New.md").write_text(f"{front}amber birch MORE\n\ncloud delta\n")
    (device.root / "gone").unlink()
    await device.synced()
    assert (await world.titles())["New"] == note
    assert set(await world.titles()) == {"New", "Another"}
    assert await world.text(note) == "amber birch MORE\ncloud delta"


async def test_a_copy_saved_with_the_id_of_its_original(world: World) -> None:
    """A copy that is saved once more with its original's id, while that one is saved too, stays
    the note it is.
    """
    device = world.device()
    note = await world.add("Boat", "floats\n")
    await device.synced()
    boat, copy = device.root / "Boat.md", device.root / "Copy.md"
    text = boat.read_text()
    copy.write_text(text)
    await device.synced()
    before = ids(device)
    assert before["Boat.md"] == note
    assert before["Copy.md"] != note
    for path, said in ((copy, "floats too"), (boat, "floats well")):
        path.with_suffix(".tmp").write_text(text.replace("floats", said))
        path.with_suffix(".tmp").replace(path)
    await device.synced()
    assert ids(device) == before
    assert device.notes() == {"Boat.md": "floats well\n", "Copy.md": "floats too\n"}
