"""Links while a cache is lost or old, and while notes are renamed, made and edited at once: a link
keeps its meaning, and no text of it is doubled.
"""

import hashlib
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from heapsyncd.document.edit import Target, express
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.watch import Hint, watch
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.sync.heap.timing import Timing
from heapsyncd.sync.merge.link_meanings import mentions
from heapsyncd.sync.runtime import heap
from tests.sync import proxy as proxies
from tests.sync.rig import Device, World, until

LINKED = {
    "Car.md": "A [[Boat]] is no car.\n",
    "Boat.md": "See [[Car]], [[Car|the car]] and [[Oslo]].\n\n- by [[Car]]\n",
    "Log.md": "# On [[Boat]], [[Oslo]]\n\n| a | b |\n| --- | --- |\n| [[Car\\|it]] | [[x]] |\n",
    "Trips/Oslo.md": "With the [[Boat|boat]], to [[Log]]: [[Oslo]].\n\n![[map.png]]\n",
    "Trips/Plan.md": "[[Car]] or [[Boat]]?\n",
}
"""Notes that link to one another, across folders; one shows an attachment, one names nobody."""


def fill(device: Device) -> None:
    """Write them into an empty folder."""
    (device.root / "Trips" / "Oslo.assets").mkdir(parents=True)
    for path, text in LINKED.items():
        (device.root / path).write_text(text)
    (device.root / "Trips" / "Oslo.assets" / "map.png").write_bytes(b"map")


def lose(device: Device) -> None:
    """The state directory is gone."""
    shutil.rmtree(device.base / "state")


def contents(device: Device) -> dict[str, str]:
    """The hash of every file, by path."""
    return {
        str(p.relative_to(device.root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(device.root.rglob("*"))
        if p.is_file()
    }


async def documents(world: World) -> dict[BlockId, object]:
    """What tells every document's state from any other."""
    return {b: (await world.server.document(b)).fingerprint() for b in await world.blocks()}


async def linked(world: World) -> tuple[Device, Device]:
    """Two devices that mirror the linked notes."""
    one, two = world.device("a"), world.device("b")
    await one.synced()
    fill(one)
    await one.synced()
    await two.synced()
    await one.synced()
    return one, two


async def links_of(world: World, block: BlockId) -> frozenset[str]:
    """The blocks that a document links to."""
    return mentions((await world.server.document(block)).view())


async def test_a_lost_cache_changes_no_byte(world: World) -> None:
    """Notes that link to one another, their cache gone: no file and no document changes, here or
    on another device.
    """
    one, two = await linked(world)
    before, here, there = await documents(world), contents(one), contents(two)
    for lost in (one, two):
        lose(lost)
        for device in (lost, one, two):
            await device.synced()
        assert contents(one) == here
        assert contents(two) == there
        assert await documents(world) == before


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["Car.md", "Trips/Oslo.md"])
async def test_a_link_whose_file_is_gone_too(world: World, gone: str) -> None:
    """A file deleted while the cache was lost comes back, and links to its note are links."""
    one, two = await linked(world)
    before, there = await documents(world), contents(two)
    lose(one)
    (one.root / gone).unlink()
    for device in (one, two, one):
        await device.synced()
    assert await documents(world) == before
    assert contents(two) == there
    assert one.notes().keys() == two.notes().keys()


@pytest.mark.slow
async def test_a_link_whose_file_is_unreadable(world: World) -> None:
    """A file that is no text while the cache is lost: links to its note stay links."""
    one, two = await linked(world)
    before, there = await documents(world), contents(two)
    lose(one)
    text = (one.root / "Car.md").read_bytes()
    (one.root / "Car.md").write_bytes(text + b"\xff\0\xff")
    await one.once()
    assert await documents(world) == before
    (one.root / "Car.md").write_bytes(text)
    for device in (one, two):
        await device.synced()
    assert await documents(world) == before
    assert contents(two) == there


@pytest.mark.slow
@pytest.mark.parametrize("edited", [False, True])
async def test_renamed_elsewhere_while_the_cache_was_lost(world: World, *, edited: bool) -> None:
    """A note renamed on another device: links by its old name, in files nobody wrote since, are
    links to it, and follow.
    """
    one, two = await linked(world)
    ids = {n: one.id_of(n) for n in LINKED}
    meant = {i: await links_of(world, i) for i in ids.values()}
    lose(one)
    (two.root / "Car.md").rename(two.root / "Auto.md")
    await two.synced()
    if edited:
        path = one.root / "Boat.md"
        path.write_text(path.read_text() + "\nmore of it\n")
    for device in (one, two, one):
        await device.synced()
    assert {i: await links_of(world, i) for i in ids.values()} == meant
    assert one.notes() == two.notes()
    boat = "See [[Auto]], [[Auto|the car]] and [[Oslo]].\n\n- by [[Auto]]\n"
    assert one.notes()["Boat.md"] == boat + ("\nmore of it\n" if edited else "")


@pytest.mark.slow
async def test_renamed_here_while_the_cache_was_lost(world: World) -> None:
    """A file renamed without its links: it gets its name back (no cache knew another), and they
    mean it all the while, by where they stand.
    """
    one, two = await linked(world)
    before, here, there = await documents(world), contents(one), contents(two)
    lose(one)
    (one.root / "Car.md").rename(one.root / "Auto.md")
    for device in (one, two, one):
        await device.synced()
    assert await documents(world) == before
    print(one.notes())
    assert contents(one) == here
    assert contents(two) == there


@pytest.mark.slow
@pytest.mark.parametrize("label", ["", "|the car"])
@pytest.mark.parametrize("behind", [False, True])
async def test_renamed_elsewhere_beside_an_edit_while_the_cache_was_lost(
    world: World, label: str, *, behind: bool
) -> None:
    """A note renamed elsewhere whose file is gone here, while a line was put beside its link
    there: the link by its old name is told by the word next to it.
    """
    one = world.device()
    car, boat = await world.add("Car", "red\n"), await world.add("Boat", "blue\n")
    note = await world.add("Note", f"by [[{car}{label}]] today\n")
    await one.synced()
    lose(one)
    (one.root / "Car.md").unlink()
    await world.change(car, title="Auto")
    line, more = f"by [[{car}{label}]] today", f"see [[{boat}]] too"
    parts = (line.removesuffix(" today"), more) if behind else (more, line.removeprefix("by "))
    await world.change(note, body="\n\n".join(parts) + "\n")
    path = one.root / "Note.md"
    text = path.read_text()
    path.write_text(text.replace(" today", "") if behind else text.replace("by ", ""))
    await one.synced()
    assert await links_of(world, note) == {car, boat}
    links = [f"[[Auto{label}]]", "see [[Boat]] too"]
    wanted = (f"by {links[0]}", links[1]) if behind else (links[1], f"{links[0]} today")
    assert one.notes()["Note.md"] == "\n\n".join(wanted) + "\n"


async def test_renamed_elsewhere_among_edits_while_the_cache_was_lost(world: World) -> None:
    """The same where others put links before it and behind it: its label tells."""
    one = world.device()
    car, boat = await world.add("Car", "red\n"), await world.add("Boat", "blue\n")
    note = await world.add("Note", f"by [[{car}|the car]]\n")
    await one.synced()
    lose(one)
    (one.root / "Car.md").unlink()
    await world.change(car, title="Auto")
    await world.change(note, body=f"by [[{boat}]] [[{car}|the car]] [[{boat}|a boat]]\n")
    await one.synced()
    wanted = "by [[Boat]] [[Auto|the car]] [[Boat|a boat]]\n"
    assert one.notes()["Note.md"] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("app", [False, True])
async def test_deleted_elsewhere_while_the_cache_was_lost(world: World, *, app: bool) -> None:
    """A note deleted elsewhere, its file gone here: what links to it says so once."""
    one, two = await linked(world)
    car, plan = one.id_of("Car.md"), one.id_of("Trips/Plan.md")
    meant = await links_of(world, plan)
    lose(one)
    (one.root / "Car.md").unlink()
    if app:
        await world.change(car, deleted_at_ms=1_760_000_000_000)
    else:
        (two.root / "Car.md").unlink()
        await two.synced()
    for device in (one, two, one):
        await device.synced()
    assert await links_of(world, plan) == meant
    for device in (one, two):
        assert device.notes()["Trips/Plan.md"].count("[[") == 2


async def test_a_name_of_two_while_the_cache_was_lost(world: World) -> None:
    """Another note of that name came meanwhile: the link means the note that it meant."""
    one, two = await linked(world)
    plan, log = one.id_of("Trips/Plan.md"), one.id_of("Log.md")
    meant = await links_of(world, log)
    lose(one)
    folder = await world.add_named("folder", "Other")
    await world.add("Oslo", "another\n", add_tags=frozenset({folder}))
    for device in (one, two, one):
        await device.synced()
    assert await links_of(world, log) == meant
    for device in (one, two):
        assert device.notes()["Boat.md"].count("Oslo") == 1
        assert device.notes()["Boat.md"].count("[[") == 4
    assert await links_of(world, plan)


@pytest.mark.slow
@pytest.mark.parametrize("with_ids", [False, True])
async def test_a_full_folder_meets_its_notes(world: World, *, with_ids: bool) -> None:
    """Texts in a folder that was never mirrored, linked by name: known by place and text, or by
    their ids where it is a copy of another device's folder.
    """
    one, two = await linked(world)
    before = await documents(world)
    three = world.device("c")
    if with_ids:
        shutil.copytree(one.root, three.root)
    else:
        fill(three)
    for device in (three, one, two, three):
        await device.synced()
    assert await documents(world) == before
    assert three.notes() == one.notes()


async def test_a_new_link_to_a_new_note_while_the_cache_was_lost(world: World) -> None:
    """A note made without a cache, and links both ways between it and a known one."""
    one, two = await linked(world)
    lose(one)
    (one.root / "New.md").write_text("to [[Car]]\n")
    path = one.root / "Trips" / "Plan.md"
    path.write_text(path.read_text() + "\nand [[New]]\n")
    for device in (one, two, one):
        await device.synced()
    new = one.id_of("New.md")
    assert new in await links_of(world, one.id_of("Trips/Plan.md"))
    assert await links_of(world, new) == {one.id_of("Car.md")}
    assert one.notes() == two.notes()


async def test_a_new_attachment_while_the_cache_was_lost(world: World) -> None:
    """An attachment put there without a cache, and shown; another renamed."""
    one, two = await linked(world)
    lose(one)
    assets, path = one.root / "Trips" / "Oslo.assets", one.root / "Trips" / "Oslo.md"
    (assets / "new.png").write_bytes(b"new")
    path.write_text(path.read_text() + "![[new.png]]\n")
    for device in (one, two, one):
        await device.synced()
    assert two.notes()["Trips/Oslo.md"].endswith("\n![[map.png]]\n![[new.png]]\n")
    assert one.notes() == two.notes()
    assert contents(one).keys() == contents(two).keys()


def _rename(one: Device) -> None:
    (one.root / "Car.md").rename(one.root / "Auto.md")


def _rename_with_links(one: Device) -> None:
    _rename(one)
    for path in one.root.rglob("*.md"):
        path.write_text(path.read_text().replace("[[Car", "[[Auto"))


def _edit(one: Device) -> None:
    path = one.root / "Boat.md"
    path.write_text(path.read_text() + "\nmore\n")


def _new(one: Device) -> None:
    (one.root / "New.md").write_text("to [[Car]]\n")
    path = one.root / "Boat.md"
    path.write_text(path.read_text() + "\nto [[New]]\n")


def _move(one: Device) -> None:
    (one.root / "Trips").rename(one.root / "Ways")


CHANGES: dict[str, list[Callable[[Device], None]]] = {
    "renamed": [_rename],
    "renamed with its links": [_rename_with_links],
    "renamed and edited": [_rename, _edit],
    "renamed with its links, and edited": [_rename_with_links, _edit],
    "new and linked": [_new],
    "moved": [_move, _edit],
    "all": [_new, _rename_with_links, _move, _edit],
}


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
async def test_changed_between_lives(
    world: World, changes: list[Callable[[Device], None]]
) -> None:
    """Notes renamed, moved, made and edited while nobody looks: names first, then texts."""
    one, two = await linked(world)
    ids = {n: one.id_of(n) for n in LINKED}
    meant = {i: await links_of(world, i) for i in ids.values()}
    for change in changes:
        change(one)
    for device in (one, two, one):
        await device.synced()
    for block, before in meant.items():
        assert before <= await links_of(world, block)
    assert one.notes() == two.notes()
    assert "\\[" not in "".join(one.notes().values())
    if _new in changes:
        assert one.id_of("New.md") in await links_of(world, ids["Boat.md"])


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("unread", [False, True])
async def test_an_older_cache(
    world: World, changes: list[Callable[[Device], None]], *, unread: bool
) -> None:
    """A cache put back from a backup, of notes that were renamed and edited since (``unread``: and
    once more, which no mirror saw).
    """
    one, two = await linked(world)
    ids = {n: one.id_of(n) for n in LINKED}
    state, backup = one.base / "state", one.base / "backup"
    shutil.copytree(state, backup)
    for change in changes:
        change(one)
    for device in (one, two, one):
        await device.synced()
    now, there = {i: await links_of(world, i) for i in ids.values()}, two.notes()
    documents_now = await documents(world)
    lose(one)
    backup.rename(state)
    if unread:
        path = one.root / "Boat.md"
        path.write_text(path.read_text() + "\nunread\n")
    for device in (one, two, one):
        await device.synced()
    assert {i: await links_of(world, i) for i in ids.values()} == now
    after = one.notes()
    assert after == two.notes()
    if unread:
        assert after["Boat.md"].count("\n\nunread\n") == 1
        after["Boat.md"] = after["Boat.md"].replace("\nunread\n", "", 1)
    else:
        assert await documents(world) == documents_now
    assert after == there


@pytest.mark.slow
@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("typed", ["", "\nunread\n"])
async def test_an_older_cache_of_a_note_that_went_on(
    world: World, typed: str, *, compacted: bool
) -> None:
    """A cache put back from a backup: the file shows words from elsewhere that it does not know,
    and the document has gone on from them. They stand once.
    """
    one = world.device()
    block = await world.add("Note", "one line\n")
    await one.synced()
    state, backup = one.base / "state", one.base / "backup"
    shutil.copytree(state, backup)
    await world.change(block, body="one line\n\nharbour\n")
    await one.synced()
    await world.change(block, body="one LATER line\n\nharbour cranes\n")
    if compacted:
        await world.server.compact(block)
    lose(one)
    backup.rename(state)
    path = one.root / "Note.md"
    path.write_text(path.read_text() + typed)
    await one.synced()
    wanted = "one LATER line\nharbour cranes" + typed.rstrip()
    assert await world.text(block) == wanted
    assert one.notes() == {"Note.md": wanted.replace("\n", "\n\n") + "\n"}


@pytest.mark.slow
async def test_an_older_cache_of_a_word_made_longer(world: World) -> None:
    """A cache put back from a backup does not know a word of the file that an unread edit extends:
    the word stands once.
    """
    one = world.device()
    block = await world.add("Note", "one line\n")
    await one.synced()
    state, backup = one.base / "state", one.base / "backup"
    shutil.copytree(state, backup)
    path = one.root / "Note.md"
    path.write_text(path.read_text().replace("line", "line harbour"))
    await one.synced()
    path.write_text(path.read_text().replace("harbour", "harbourmaster"))
    lose(one)
    backup.rename(state)
    await one.synced()
    assert await world.text(block) == "one line harbourmaster"


def _has_id(path: Path) -> bool:
    return "id: " in path.read_text()


async def test_an_older_cache_that_knows_no_note(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache put back from a backup, from before a note was made, while the server is away: the
    note's file waits for the server without being read over and over, and is no other note.
    """
    reads: list[str] = []
    read_many = HeapFolder.read_many

    async def counted(disk: HeapFolder, paths: Sequence[str], most: int) -> Sequence[object]:
        reads.extend(paths)
        return await read_many(disk, paths, most)

    async with proxies.before(world.server.url) as proxy:
        one = world.device(live="off")
        one.server = proxy  # type: ignore[assignment]
        one.poll_interval_s = 0.1
        one.timing = replace(one.timing, news_s=0.1, arrived_s=0.1, moving_s=0.01)
        await one.synced()
        state, backup = one.base / "state", one.base / "backup"
        shutil.copytree(state, backup)
        (one.root / "Note.md").write_text("one line\n")
        await one.synced()
        block = one.id_of("Note.md")
        lose(one)
        backup.rename(state)
        proxy.set(proxies.dropped, on="/api")
        monkeypatch.setattr(HeapFolder, "read_many", counted)
        async with one.running():
            await until(lambda: one.report.state == "offline", "offline")
            for new in [f"New {k}.md" for k in range(6)]:
                (one.root / new).write_text("new\n")
                await until(partial(_has_id, one.root / new), "it is a note")
            assert reads.count("Note.md") < 4
            proxy.set(None)
            await one.in_sync()
        assert one.id_of("Note.md") == block
        assert len(await world.blocks()) == 7


@pytest.mark.slow
@pytest.mark.parametrize("label", ["", "|the ship"])
async def test_an_older_cache_that_knows_no_name(world: World, label: str) -> None:
    """A cache put back from a backup does not know a name that the file shows: the link is the one
    that the document has, and stands once.
    """
    one = world.device()
    boat, note = await world.add("Boat", "afloat\n"), await world.add("Note", "")
    await one.synced()
    state, backup = one.base / "state", one.base / "backup"
    shutil.copytree(state, backup)
    (one.root / "Boat.md").rename(one.root / "Ship.md")
    await world.change(note, body=f"see harbour [[{boat}{label}]]\n")
    await one.synced()
    assert one.notes()["Note.md"] == f"see harbour [[Ship{label}]]\n"
    (one.root / "Ship.md").rename(one.root / "Ark.md")
    await world.change(note, body=f"see harbour [[{boat}{label}]] cranes\n")
    lose(one)
    backup.rename(state)
    path = one.root / "Note.md"
    path.write_text(path.read_text() + "\nunread\n")
    await one.synced()
    assert one.notes()["Note.md"] == f"see harbour [[Ark{label}]] cranes\n\nunread\n"
    assert await links_of(world, note) == {boat}


@pytest.mark.slow
@pytest.mark.parametrize("label", ["", "|the ship"])
async def test_an_older_cache_that_knows_a_name(world: World, label: str) -> None:
    """A cache put back from a backup knows a name that no note had when the link was read: what is
    plain text in the document becomes a link, and stands once.
    """
    one = world.device()
    boat, note = await world.add("Boat", "afloat\n"), await world.add("Note", "one line\n")
    await one.synced()
    state, backup = one.base / "state", one.base / "backup"
    shutil.copytree(state, backup)
    await world.change(boat, title="Ship")
    lose(one)
    (one.root / "Boat.md").unlink()
    path = one.root / "Note.md"
    path.write_text(path.read_text().replace("line", f"line harbour[[Boat{label}]]"))
    await one.synced()
    assert await links_of(world, note) == frozenset()
    lose(one)
    backup.rename(state)
    path.write_text(path.read_text() + "\nunread\n")
    await one.synced()
    assert one.notes()["Note.md"] == f"one line harbour[[Ship{label}]]\n\nunread\n"
    assert await links_of(world, note) == {boat}


def _typed(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _over(path: Path, text: str) -> None:
    """Save as editors do that write a file beside and rename it over: read at once."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text)
    beside.replace(path)


@pytest.mark.slow
@pytest.mark.parametrize("made", ["renamed", "just edited and renamed", "written"])
async def test_linked_at_the_same_time(world: World, made: str) -> None:
    """A note is renamed (or made) and linked to by another at once, while it runs: the link is
    read when the name is known.
    """
    one, two = await linked(world)
    car, plan = one.id_of("Car.md"), one.id_of("Trips/Plan.md")
    name = "New" if made == "written" else "Auto"

    async def known() -> bool:
        return name in await world.titles()

    async with one.running():
        await one.in_sync()
        if made == "just edited and renamed":
            _typed(one.root / "Car.md", "\nmore\n")
        if made == "written":
            (one.root / "New.md").write_text("to nobody\n")
        else:
            (one.root / "Car.md").rename(one.root / "Auto.md")
        path = one.root / "Trips" / "Plan.md"
        _over(path, path.read_text().replace("[[Car]]", f"[[{name}]]"))
        await until(known, "the note has its name on the server")
        await one.in_sync()
    for device in (one, two, one):
        await device.synced()
    meant = one.id_of("New.md") if made == "written" else car
    assert meant in await links_of(world, plan)
    assert one.notes() == two.notes()
    assert f"[[{name}]]" in one.notes()["Trips/Plan.md"]


async def test_linked_before_its_file_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text is read on the word of an earlier change of its file, and links to a file whose own
    change was not reported yet: the disk is looked at before the link becomes plain text.
    """
    one, _ = await linked(world)
    car, plan = one.id_of("Car.md"), one.id_of("Trips/Plan.md")

    async def watched(*arguments: Any) -> AsyncIterator[Hint]:
        async for hint in watch(*arguments):
            yield replace(hint, paths=hint.paths - {"Car.md", "Auto.md"})

    async def is_read() -> bool:
        return "again" in await world.text(plan)

    monkeypatch.setattr(heap, "watch", watched)
    async with one.running():
        await one.in_sync()
        (one.root / "Car.md").rename(one.root / "Auto.md")
        path = one.root / "Trips" / "Plan.md"
        _over(path, path.read_text() + "\nagain [[Auto|her]], and [[nobody]]\n")
        await until(is_read, "the text is read")
    await one.synced()
    assert car in await links_of(world, plan)
    assert one.notes()["Trips/Plan.md"].endswith("again [[Auto|her]], and [[nobody]]\n")


async def test_it_waits_for_no_name_that_never_settles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that links to a file which is being written all the time is read all the same."""
    one, _ = await linked(world)
    one.timing = Timing(arrived_s=0.5)
    plan, log = one.id_of("Trips/Plan.md"), one.root / "Busy.md"
    async with one.running():
        await one.in_sync()
        path = one.root / "Trips" / "Plan.md"

        async def written() -> bool:
            _typed(log, "more\n")
            return "see" in await world.text(plan)

        log.write_text("begun\n")
        _over(path, path.read_text() + "\nsee [[Busy]]\n")
        await until(written, "the text is read")
        await one.in_sync()


@pytest.mark.slow
async def test_an_edit_beside_a_link_to_a_deleted_note(world: World) -> None:
    """A link to a note that is gone stays what it is while the text around it is edited."""
    one, two = await linked(world)
    plan = one.id_of("Trips/Plan.md")
    meant = await links_of(world, plan)
    (one.root / "Car.md").unlink()
    await one.synced()
    _typed(one.root / "Trips" / "Plan.md", "\nmore\n")
    for device in (one, two, one):
        await device.synced()
    assert await links_of(world, plan) == meant


@pytest.mark.slow
async def test_a_deleted_note_keeps_its_name_in_a_text(world: World) -> None:
    """A text that links to a note which is deleted stays as it was written, on every device and
    through edits from elsewhere. A new note of that name is what the next save links to.
    """
    one, two = await linked(world)
    (one.root / "Note.md").write_text("* see [[Car|her]]\n")
    await one.synced()
    car, note = one.id_of("Car.md"), one.id_of("Note.md")
    (one.root / "Car.md").unlink()
    for device in (one, two, one):
        await device.synced()
    await world.change(note, body=f"- see [[{car}|her]] more\n")
    three = world.device("c")
    for device in (one, two, three):
        await device.synced()
        assert device.notes()["Note.md"] == "* see [[Car|her]] more\n"
    assert await links_of(world, note) == {car}
    (one.root / "Car.md").write_text("another\n")
    for device in (one, two):
        await device.synced()
        assert device.notes()["Note.md"] == "* see [[Car|her]] more\n"
    _typed(one.root / "Note.md", "* unread\n")
    for device in (one, two):
        await device.synced()
        assert device.notes()["Note.md"] == "* see [[Car|her]] more\n* unread\n"
    assert await links_of(world, note) == {one.id_of("Car.md")}


async def test_a_note_that_comes_back_under_another_name(world: World) -> None:
    """Links to a note that was restored from the trash show the name it has now, also where they
    were made meanwhile and had no name to show.
    """
    one, two = world.device("a"), world.device("b")
    boat = await world.add("Boat", "afloat\n")
    note = await world.add("Note", f"see [[{boat}]]\n")
    await one.synced()
    await world.change(boat, deleted_at_ms=1_760_000_000_000)
    await one.synced()
    await world.add("Log", f"see [[{boat}]]\n")
    await one.synced()
    assert one.notes() == {"Log.md": f"see [[{boat}]]\n", "Note.md": "see [[Boat]]\n"}
    await world.change(boat, title="Ship", deleted_at_ms=None)
    for device in (one, two):
        await device.synced()
        assert device.notes()["Note.md"] == device.notes()["Log.md"] == "see [[Ship]]\n"
    assert await links_of(world, note) == {boat}


async def test_a_link_by_a_former_name(world: World) -> None:
    """Typed by a name that a note had before it was renamed on the disk, a link means the note."""
    one, two = await linked(world)
    car, plan = one.id_of("Car.md"), one.root / "Trips" / "Plan.md"
    _rename(one)
    await one.synced()
    _typed(plan, "\nagain [[Car|her]]\n")
    for device in (one, two, one):
        await device.synced()
    assert car in await links_of(world, one.id_of("Trips/Plan.md"))
    for device in (one, two):
        assert device.notes()["Trips/Plan.md"].endswith("\nagain [[Auto|her]]\n")


async def test_a_link_by_a_former_path(world: World) -> None:
    """Typed with a folder's name before it was renamed elsewhere, a link means the note in it."""
    one, two = await linked(world)
    oslo, boat = one.id_of("Trips/Oslo.md"), one.id_of("Boat.md")
    (two.root / "Trips").rename(two.root / "Travel")
    await two.synced()
    await one.synced()
    _typed(one.root / "Car.md", "\nagain [[Trips/Oslo|there]], not [[Trips/None]], [[Trips]]\n")
    for device in (one, two, one):
        await device.synced()
    assert await links_of(world, one.id_of("Car.md")) == {boat, oslo}
    for device in (one, two):
        said = "\nagain [[Oslo|there]], not [[Trips/None]], [[Trips]]\n"
        assert device.notes()["Car.md"].endswith(said)


@pytest.mark.parametrize("taken_by", ["a new note", "each other"])
@pytest.mark.parametrize("by_editor", [False, True])
async def test_a_link_beside_an_edit_follows_its_note(
    world: World, taken_by: str, *, by_editor: bool
) -> None:
    """Renamed while another note took its name, and the linking note was edited elsewhere, before
    any of it was read. So does a link that an editor renamed with its note.
    """
    device, root = world.device(), world.device().root
    first, third = await world.add("First", "1\n"), await world.add("Third", "3\n")
    await device.synced()
    (root / "Linking.md").write_text("see [[First]], [[Third]]\n\nlast\n")
    await device.synced()
    (root / "First.md").rename(root / "Second.md")
    new = {"First": "Second"}
    if taken_by == "a new note":
        (root / "First.md").write_text("new\n")
    else:
        (root / "Third.md").rename(root / "First.md")
        (root / "Second.md").rename(root / "Third.md")
        new = {"First": "Third", "Third": "First"}
    text = (root / "Linking.md").read_text().replace("last", "last and more")
    if by_editor:
        text = re.sub(r"\[\[(\w+)\]\]", lambda m: f"[[{new.get(m[1], m[1])}]]", text)
    (root / "Linking.md").write_text(text)
    await device.synced()
    names = f"[[{new['First']}]], [[{new.get('Third', 'Third')}]]"
    assert device.notes()["Linking.md"] == f"see {names}\n\nlast and more\n"
    ids = {device.id_of(f"{new['First']}.md"), device.id_of(f"{new.get('Third', 'Third')}.md")}
    assert ids == {first, third}


async def test_a_name_that_another_note_takes(world: World) -> None:
    """Links to a note whose name another one gets name its path, on every device: no edit of a
    text links it to the other note, also when that loses the name again.
    """
    one, two = await linked(world)
    log = one.id_of("Log.md")
    before = await links_of(world, log)
    (one.root / "Car.md").rename(one.root / "Oslo.md")
    for device in (one, two, one):
        await device.synced()
    wanted = LINKED["Log.md"].replace("[[Oslo]]", "[[Trips/Oslo]]").replace("[[Car", "[[Oslo")
    assert one.notes()["Log.md"] == two.notes()["Log.md"] == wanted
    (two.root / "Oslo.md").rename(two.root / "Car.md")
    await two.synced()
    (two.root / "Log.md").write_text((two.root / "Log.md").read_text() + "\nmore\n")
    for device in (two, one, two):
        await device.synced()
    assert one.notes() == two.notes()
    assert await links_of(world, log) == before


@pytest.mark.parametrize("name", ["Boat.md", "Trips/Boat.md"])
async def test_a_name_that_a_new_note_takes(world: World, name: str) -> None:
    """The same where the other note is new."""
    one, two = world.device("a"), world.device("b")
    await one.synced()
    (one.root / "Plans").mkdir()
    (one.root / "Trips").mkdir()
    (one.root / "Plans" / "Boat.md").write_text("a boat\n")
    (one.root / "Log.md").write_text("see [[Boat]]\n")
    await one.synced()
    (one.root / name).write_text("another\n")
    for device in (one, two, one):
        await device.synced()
    assert one.notes()["Log.md"] == two.notes()["Log.md"] == "see [[Plans/Boat]]\n"
    assert await links_of(world, one.id_of("Log.md")) == {one.id_of("Plans/Boat.md")}


async def test_links_made_in_the_app(world: World) -> None:
    """Mentions of notes in a document that the cache never saw are named alike on all devices."""
    one, two = await linked(world)
    car = one.id_of("Car.md")
    lose(one)
    made = express([], Target(body=parse(f"to [[{car}]] and [[{car}|her]]\n", NO_LINKS)))
    assert made.update is not None
    await world.server.add_block(world.heap, "document", "App", made.update)
    for device in (one, two, one):
        await device.synced()
    assert one.notes()["App.md"] == two.notes()["App.md"] == "to [[Car]] and [[Car|her]]\n"


async def test_a_name_never_means_a_folder(world: World) -> None:
    """Not in another case either: the text stays, and becomes a link once there is a note. What
    an app linked to a folder stays linked there, whoever edits the note.
    """
    one, two = world.device("a"), world.device("b")
    folder = await world.add_named("folder", "Images")
    linked_in_app = await world.add("From the app", f"in [[{folder}]]\n")
    await one.synced()
    (one.root / "Note.md").write_text("see [[images]] and [[Images]]\n")
    await one.synced()
    await two.synced()
    block = one.id_of("Note.md")
    assert mentions((await world.server.document(block)).view()) == frozenset()
    assert one.notes()["Note.md"] == two.notes()["Note.md"] == "see [[images]] and [[Images]]\n"

    shown = one.notes()["From the app.md"]
    path = one.root / "From the app.md"
    path.write_text(path.read_text() + "\nmore\n")
    await one.synced()
    await two.synced()
    assert mentions((await world.server.document(linked_in_app)).view()) == {folder}
    assert two.notes()["From the app.md"] == one.notes()["From the app.md"] == f"{shown}\nmore\n"

    (one.root / "Images.md").write_text("a note\n")
    (one.root / "Note.md").write_text((one.root / "Note.md").read_text() + "\nnow\n")
    await one.synced()
    assert mentions((await world.server.document(block)).view()) == {one.id_of("Images.md")}
