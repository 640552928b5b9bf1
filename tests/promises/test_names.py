"""Names, places and identities over whole mirrors: heaps with one title, hostile titles, moves
between heaps, swaps, and any sequence of renames and moves on two devices.
"""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.layout import Placed, place
from heapsyncd.folder.names import carries, collision_key
from heapsyncd.folder.partial_downloads import Part
from heapsyncd.ids import BlockId
from heapsyncd.markdown.front_lines import OurKeys, Owner
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from heapsyncd.sync.merge.note_file import shown_file
from heapsyncd.sync.merge.note_text import Note
from tests.sync.rig import World, ids, until

COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


async def test_heaps_with_one_title(world: World) -> None:
    """Heaps of one title (or twins by case) get distinct folders, the same on every device, and
    keep them.
    """
    for title in ("Home", "HOME", COMPOSED, DECOMPOSED):
        await world.server.add_heap(title)
    devices = [world.device("a"), world.device("b")]
    seen = []
    for device in [*devices, devices[0]]:
        await device.synced()
        folders = {
            (p / ".heapsyncd").read_text(): p.name for p in (device.base / "folder").iterdir()
        }
        assert len(folders) == 5
        assert len({n.casefold() for n in folders.values()}) == 5
        seen.append(folders)
    assert seen[0] == seen[1] == seen[2]


TITLES = [
    "a/b", "../../escape", "..", ".hidden", "CON", "trailing. ", "x" * 300, "🙂" * 80,
    "two\nlines", "", COMPOSED, DECOMPOSED, COMPOSED.upper(), "שלום עולם", "a:b*c?", ".heapsyncd",
    "N.assets",
]  # fmt: skip


@given(st.lists(st.text() | st.sampled_from(TITLES), max_size=8))
def test_titles_and_back(titles: list[str]) -> None:
    """Any titles get names that no file system takes for one another, and each file says its
    title, if it has one: by its name alone, else in its front matter.
    """
    blocks = {
        BlockId(f"{k:026}"): " ".join(t.replace("\0", "").split()) for k, t in enumerate(titles)
    }
    places = place([Placed(i, "document", t, None) for i, t in blocks.items()], {})
    assert len({collision_key(p) for p in places.values()}) == len(titles)
    for block, title in blocks.items():
        name = Path(places[block]).name.removesuffix(".md")
        ours = OurKeys(block, None if carries(name, title) else title, ())
        file = Note.of(shown_file(None, parse("", NO_LINKS), ours, NO_LINKS))
        written = file.file(Owner(block.__eq__, "title")).title
        assert (name if written is None else written) == title or not title


async def test_hostile_titles(world: World) -> None:
    """Any title has a safe name inside the heap's folder, distinct from the others', the same on
    every device and after a restart; the true title survives a rename of another note.
    """
    blocks = [await world.add(t, f"body {k}\n") for k, t in enumerate(TITLES)]
    shown = [(await world.server.row(b)).title for b in blocks]
    one, two = world.device("a"), world.device("b")
    await one.synced()
    await two.synced()
    before = ids(one)
    assert sorted(before.values()) == sorted(blocks)
    assert ids(two) == before
    outside = {p.name for p in one.base.rglob("*.md")} - {p.name for p in one.root.rglob("*.md")}
    assert outside == set()
    assert all(len(os.fsencode(Path(p).name)) <= 255 for p in before)
    await one.synced()
    assert ids(one) == before
    assert [(await world.server.row(b)).title for b in blocks] == shown


async def test_hostile_attachments(world: World) -> None:
    """Whatever the server calls attachments, files and folders, nothing is written outside their
    place, and a file of ours is never replaced.
    """
    names = ["../../escape.bin", "/etc/passwd", ".heapsyncd", "..", "a/../../b", ".heaperignore"]
    data = {name: f"content of {name}".encode() for name in names}
    note = await world.add("Note", "text\n")
    folder = await world.add_named("folder", "..")
    await world.add("Inside", "inner\n", add_tags=frozenset({folder}))
    device = world.device()
    await device.synced()
    marker = (device.root / ".heapsyncd").read_bytes()
    sender = world.device("b")
    await sender.synced()
    (sender.root / "Note.assets").mkdir()
    for k, content in enumerate(data.values()):
        (sender.root / "Note.assets" / f"{k}.bin").write_bytes(content)
    await sender.synced()
    entries = (await world.server.document(note)).fields().files
    hostile = [replace(f, name=names[int(f.name.split(".")[0])]) for f in entries]
    await world.change(note, put_files=tuple(hostile))
    await device.synced()
    inside = {p.read_bytes() for p in (device.root / "Note.assets").iterdir()}
    assert inside == set(data.values())
    assert (device.root / ".heapsyncd").read_bytes() == marker
    outside = [p for p in device.base.rglob("*") if "state" not in p.parts and p.is_file()]
    assert all(p.is_relative_to(device.root) for p in outside)
    assert not (device.root / ".heaperignore").exists()


async def test_case_and_form_renames(world: World) -> None:
    """A rename of case or normalisation alone is a rename, both ways: same block, same file."""
    block = await world.add("boat", "floats\n")
    one, two = world.device("a"), world.device("b")
    await one.synced()
    await two.synced()
    inode = (one.root / "boat.md").stat().st_ino
    (two.root / "boat.md").rename(two.root / "Boat.md")
    await two.synced()
    await one.synced()
    assert ids(one) == ids(two) == {"Boat.md": block}
    assert (one.root / "Boat.md").stat().st_ino == inode
    for title in (COMPOSED, DECOMPOSED):
        await world.change(block, title=title)
        await one.synced()
        assert ids(one) == {f"{title}.md": block}
    assert await world.blocks() == [block]


async def test_symlinks_that_take_a_place(world: World) -> None:
    """A file or directory that a symlink replaces is neither followed, written through nor taken
    for deleted; what is behind the link stays as it is.
    """
    outside = world.base / "outside"
    outside.mkdir()
    (outside / "Note.md").write_text("not ours\n")
    device = world.device()
    await device.synced()
    (device.root / "Sub").mkdir()
    (device.root / "Sub" / "Note.md").write_text("ours\n")
    (device.root / "Plain.md").write_text("plain\n")
    await device.synced()
    titles = await world.titles()
    shutil.rmtree(device.root / "Sub")
    (device.root / "Sub").symlink_to(outside)
    (device.root / "Plain.md").unlink()
    (device.root / "Plain.md").symlink_to(outside / "Note.md")
    (device.root / "Loop").symlink_to(device.root)
    (device.root / "Dangling.md").symlink_to(device.root / "nowhere")
    for block in titles.values():
        await world.change(block, body="changed in the app\n")
    verdict = await device.once(8)
    assert verdict.exit_code == 1
    assert any("Sub" in line for line in verdict.left)
    assert (outside / "Note.md").read_text() == "not ours\n"
    assert await world.titles() == titles
    assert (device.root / "Sub").is_symlink()
    assert (device.root / "Plain.md").is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write_many", "move", "remove", "append", "read_many"])
async def test_a_symlink_swapped_in_at_the_last_moment(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A directory that becomes a symlink just before a note in it is written, moved, removed or
    read, or an attachment arrives there: nothing behind the link is touched or sent.
    """
    outside = world.base / "outside"
    outside.mkdir()
    device, sender = world.device(), world.device("b")
    await device.synced()
    (device.root / "Sub" / "Note.assets").mkdir(parents=True)
    (device.root / "Sub" / "Note.md").write_text("ours\n")
    await device.synced()
    await sender.synced()
    note = (await world.titles())["Note"]
    shutil.copytree(device.root / "Sub", outside, dirs_exist_ok=True)
    (outside / "Note.md").write_text(f"---\nid: {note}\n---\nnot ours\n")
    before = {p: p.read_bytes() if p.is_file() else b"" for p in outside.rglob("*")}
    match step:
        case "write_many":
            await world.change(note, body="changed in the app\n")
        case "move":
            await world.change(note, title="Other")
        case "remove":
            await world.change(note, deleted_at_ms=1_700_000_000_000)
        case "append":
            (sender.root / "Sub" / "Note.assets").mkdir(exist_ok=True)
            (sender.root / "Sub" / "Note.assets" / "plan.pdf").write_bytes(b"plan")
            await sender.synced()
        case _:
            replaced = device.root / "Sub" / "New.md"
            replaced.write_text((device.root / "Sub" / "Note.md").read_text() + "\nmore\n")
            replaced.replace(device.root / "Sub" / "Note.md")
    owner = Part if step == "append" else HeapFolder
    original, sub = getattr(owner, step), device.root / "Sub"

    async def swapped(self: object, *arguments: object, **more: object) -> object:
        about = "Sub/" in str(arguments) or step in {"write_many", "append"}
        if about and not sub.is_symlink():
            sub.rename(world.base / "kept")
            sub.symlink_to(outside)
        return await original(self, *arguments, **more)

    monkeypatch.setattr(owner, step, swapped)
    assert (await device.once(8)).exit_code == 1
    assert sub.is_symlink()
    assert {p: p.read_bytes() if p.is_file() else b"" for p in outside.rglob("*")} == before
    assert "not ours" not in await world.text(note)


async def test_special_files(world: World) -> None:
    """A FIFO, whatever its name, holds nothing up and is told of; hard links and sparse files are
    files.
    """
    device = world.device()
    await device.synced()
    os.mkfifo(device.root / "pipe.md")
    os.mkfifo(device.root / "pipe.bin")
    (device.root / "Note.md").write_text("text\n")
    (device.root / "one.bin").write_bytes(b"linked")
    os.link(device.root / "one.bin", device.root / "two.bin")
    with (device.root / "sparse.bin").open("wb") as file:
        file.truncate(1 << 20)
    verdict = await device.once()
    assert verdict.exit_code == 0
    assert sum("not a regular file" in line for line in verdict.minor) == 2
    assert set(await world.titles()) == {"Note"}
    assert set(await world.titles("file")) == {"one.bin", "two.bin", "sparse.bin"}


async def test_file_and_folder_swap(world: World) -> None:
    """A folder that becomes a file, and a file that becomes a folder, on a device whose other has
    unsynced notes in that folder: everything that was not sent is kept.
    """
    one, two = world.device("a"), world.device("b")
    await one.synced()
    (one.root / "X").write_bytes(b"file")
    (one.root / "D").mkdir()
    (one.root / "D" / "n.md").write_text("child\n")
    await one.synced()
    await two.synced()
    shutil.rmtree(two.root / "D")
    (two.root / "D").write_text("now a file")
    (two.root / "X").unlink()
    (two.root / "X").mkdir()
    (two.root / "X" / "in.md").write_text("inner\n")
    (one.root / "D" / "unsynced.md").write_text("unsynced child\n")
    for device in (two, one, two):
        await device.synced()
    assert ids(one) == ids(two)
    assert (one.root / "D").read_text() == (two.root / "D").read_text() == "now a file"
    bodies = one.notes()
    assert bodies.pop("X/in.md") == "inner\n"
    assert list(bodies.values()) == ["unsynced child\n"]


async def test_swapped_notes(world: World) -> None:
    """Notes whose files swap their names keep their ids, texts and attachments, while a mirror
    runs and while none does.
    """
    device = world.device()
    await device.synced()
    for name in ("A", "B"):
        (device.root / f"{name}.assets").mkdir()
        (device.root / f"{name}.assets" / "own.bin").write_bytes(name.encode())
        (device.root / f"{name}.md").write_text(f"text of {name}\n")
    await device.synced()
    before, blocks = ids(device), set(await world.blocks())

    def swap() -> None:
        (device.root / "A.md").rename(device.root / "aside")
        (device.root / "B.md").rename(device.root / "A.md")
        (device.root / "aside").rename(device.root / "B.md")

    swap()
    await device.synced()
    swapped = {"A.md": before["B.md"], "B.md": before["A.md"]}
    assert ids(device) == swapped
    assert (device.root / "A.assets" / "own.bin").read_bytes() == b"B"
    assert device.notes() == {"A.md": "text of B\n", "B.md": "text of A\n"}
    titles = await world.titles()
    assert titles == {"A": before["B.md"], "B": before["A.md"]}
    async with device.running():
        await device.in_sync()
        swap()
        await until(lambda: device.report.state != "in sync", "the swap is seen")
        await device.in_sync()
    await device.synced()
    assert ids(device) == before
    assert set(await world.blocks()) == blocks
    assert await world.titles() == {"A": before["A.md"], "B": before["B.md"]}


async def test_moved_over(world: World) -> None:
    """A note moved over another keeps its id; the other is in the trash."""
    device, other = world.device(), world.device("b")
    blocks = [await world.add(name, f"text of {name}\n") for name in ("A", "B")]
    await device.synced()
    await other.synced()
    (device.root / "A.md").replace(device.root / "B.md")
    await device.synced()
    await other.synced()
    assert ids(device) == ids(other) == {"B.md": blocks[0]}
    assert device.notes() == other.notes() == {"B.md": "text of A\n"}
    assert (await world.server.document(blocks[1])).fields().deleted_at_ms is not None


async def test_a_copy_saved_with_the_id_it_was_copied_with(world: World) -> None:
    """An editor has a copy open as it was made, and saves it when the copy has its own id and the
    note it was made of another name: it is that copy still.
    """
    await world.add("Note", "one two\n")
    device = world.device()
    await device.synced()
    note, copy = device.root / "Note.md", device.root / "Copy.md"
    shutil.copy(note, copy)
    loaded = copy.read_text()
    await device.synced()
    block = device.id_of("Copy.md")
    beside = copy.with_name("beside")
    beside.write_text(loaded.replace("two", "two three"))
    beside.replace(copy)
    beside.write_text(note.read_text())
    beside.replace(device.root / "Named.md")
    note.unlink()
    await device.synced()
    assert sorted(device.notes()) == ["Copy.md", "Named.md"]
    assert device.id_of("Copy.md") == block
    assert await world.text(block) == "one two three"


async def test_moves_across_heaps(world: World) -> None:
    """A note moved with its attachments from one heap's folder to another's is a new note there,
    with an id of its own, and deleted here.
    """
    await world.server.add_heap("Work")
    device = world.device()
    await device.synced()
    work = device.base / "folder" / "Work"
    (device.root / "Boat.assets").mkdir()
    (device.root / "Boat.assets" / "plan.pdf").write_bytes(b"plan")
    (device.root / "Boat.md").write_text("See:\n\n![[plan.pdf]]\n")
    await device.synced()
    old = (await world.titles())["Boat"]
    for name in ("Boat.md", "Boat.assets"):
        (device.root / name).rename(work / name)
    await device.synced()
    assert (await world.server.document(old)).fields().deleted_at_ms is not None
    (new,) = ids(device, work).values()
    assert new != old
    assert new not in await world.blocks()
    (entry,) = (await world.server.document(BlockId(new))).fields().files
    assert entry.is_uploaded
    assert split((work / "Boat.md").read_text())[1] == "See:\n\n![[plan.pdf]]\n"
    assert (work / "Boat.assets" / "plan.pdf").read_bytes() == b"plan"
    assert [p.name for p in device.root.iterdir()] == [".heapsyncd"]


@dataclass(frozen=True)
class Step:
    """Something that happens; the numbers choose among what there is then."""

    who: int
    """0 and 1: a device; 2: the app."""
    what: str
    which: int
    other: int


DONE_HERE = ("rename", "move", "swap", "chain", "folder", "nest", "edit", "new", "sync")
DONE_IN_THE_APP = ("title", "swap titles", "refile", "folder title")
NAMES = ("Alpha", "alpha", "Beta", COMPOSED, DECOMPOSED, "Gamma")
steps = st.one_of(
    st.builds(Step, st.integers(0, 1), st.sampled_from(DONE_HERE), *[st.integers(0, 9)] * 2),
    st.builds(Step, st.just(2), st.sampled_from(DONE_IN_THE_APP), *[st.integers(0, 9)] * 2),
)


class Play:
    """Two devices and the app, and what they did to five notes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.devices = [world.device("a"), world.device("b")]
        self.texts: dict[str, str] = {}
        self.words = 0

    async def begin(self) -> None:
        """Five notes in folders, on both devices."""
        one, two = self.devices
        await one.synced()
        for path in ("One.md", "Two.md", "Sub/Three.md", "Sub/Deep/Four.md", "Other/Five.md"):
            (one.root / path).parent.mkdir(parents=True, exist_ok=True)
            (one.root / path).write_text(f"the text of {Path(path).stem}\n")
        await one.synced()
        await two.synced()
        self.texts = {i: one.notes()[p] for p, i in ids(one).items()}
        self.blocks = set(await self.world.blocks())

    async def do(self, step: Step) -> None:
        """One step; one that has become impossible does nothing."""
        if step.who == 2:
            await self._in_the_app(step)
        elif step.what == "sync":
            await self.devices[step.who].synced()
        else:
            self._on_disk(self.devices[step.who].root, step)

    def _on_disk(self, root: Path, step: Step) -> None:
        notes = sorted(root.rglob("*.md"))
        folders = sorted(p for p in root.rglob("*") if p.is_dir())
        name = NAMES[step.other % len(NAMES)]
        note, other = notes[step.which % len(notes)], notes[step.other % len(notes)]
        folder = folders[step.which % len(folders)] if folders else root
        inside = [root, *folders][step.other % (len(folders) + 1)]
        match step.what:
            case "rename":
                _rename(note, note.with_name(f"{name}.md"))
            case "move":
                _rename(note, inside / note.name)
            case "swap" | "chain" if note != other:
                self.words += 1
                aside = note.with_name(f"aside{self.words}.md")
                note.rename(aside)
                other.rename(note)
                if step.what == "swap":
                    aside.rename(other)
            case "folder" if folders:
                _rename(folder, folder.with_name(name))
            case "nest" if folders and not inside.is_relative_to(folder):
                _rename(folder, inside / folder.name)
            case _:
                self._write(note, root / f"{name}.md", step.what)

    def _write(self, note: Path, new: Path, what: str) -> None:
        self.words += 1
        block = split(note.read_text())[0].ids[-1]
        if what == "edit" and block in self.texts:
            note.write_text(f"{note.read_text()}\nword{self.words}\n")
            self.texts[block] += f" word{self.words}"
        if what == "new" and not _twin(new):
            new.write_text(f"word{self.words}\n")
            self.new += 1

    new = 0

    async def _in_the_app(self, step: Step) -> None:
        notes = sorted(self.texts)
        folders = sorted((await self.world.titles("folder")).values())
        note, other = notes[step.which % len(notes)], notes[step.other % len(notes)]
        name = NAMES[step.other % len(NAMES)]
        targets: dict[str, dict[str, object]] = {}
        match step.what:
            case "title":
                targets[note] = {"title": name}
            case "swap titles":
                rows = [await self.world.server.row(BlockId(b)) for b in (note, other)]
                targets = {note: {"title": rows[1].title}, other: {"title": rows[0].title}}
            case "refile":
                fields = (await self.world.server.document(BlockId(note))).fields()
                gone = frozenset(fields.tags) & frozenset(folders)
                to = frozenset({folders[step.other % len(folders)]})
                targets[note] = {"add_tags": to, "remove_tags": gone - to}
            case "folder title":
                targets[folders[step.which % len(folders)]] = {"title": name}
        for block, target in targets.items():
            with contextlib.suppress(AssertionError):  # nothing to change
                await self.world.change(BlockId(block), **target)

    async def end(self) -> None:
        """Let both sync, and compare."""
        one, two = self.devices
        for device in (one, two, one, two, one):
            await device.synced()
        assert unmarked(ids(one)) == unmarked(ids(two))
        found = {i: one.notes()[p] for p, i in ids(one).items()}
        assert {i: two.notes()[p] for p, i in ids(two).items()} == found
        assert set(self.texts) <= set(found)
        assert len(found) == len(self.texts) + self.new
        for block, text in self.texts.items():
            assert sorted(found[block].split()) == sorted(text.split())
        assert len(set(await self.world.blocks()) - self.blocks) == self.new


def unmarked(notes: dict[str, str]) -> dict[str, str]:
    """Paths by id, without the marks of twins, which stay when the twin is gone."""
    return {i: re.sub(r" \([0-9]+\)(?=/|\.md\Z)", "", p) for p, i in notes.items()}


def _rename(old: Path, new: Path) -> None:
    if new != old and not _twin(new):
        old.rename(new)


def _twin(path: Path) -> bool:
    """Whether another system would take the name for one that is there."""
    return collision_key(path.name) in {collision_key(p.name) for p in path.parent.iterdir()}


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=int(os.environ.get("HEAPSYNCD_EXAMPLES", "3")), derandomize=True)
@given(st.lists(steps, min_size=4, max_size=14))
def test_any_renames_and_moves(played: list[Step]) -> None:
    """After any renames, moves, swaps and chains of notes and folders on two devices and in the
    app, with edits and new notes among them, both folders are the same (but for the marks of
    twins), every note has kept its id and its text, and no other block was made.
    """

    async def play(base: Path) -> None:
        async with Server(base / "server", open_registration=True) as server:
            game = Play(World(server, await server.add_heap("Home"), base))
            await game.begin()
            for step in played:
                await game.do(step)
            await game.end()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))
