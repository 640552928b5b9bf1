"""Front matter is the user's: every program's keys reach every device, and none is rewritten."""

import re
import shutil
from collections.abc import Callable, Iterator

import pytest

from heapsyncd.cache import history
from heapsyncd.ids import BlockId
from heapsyncd.sync.cache_file import open_cache
from heapsyncd.sync.offline.status import cached_status
from heapsyncd.sync.offline.versions import restore_alone
from heapsyncd.sync.report import RestoreRequest
from tests.promises.exact import (
    diff,
    differing,
    exact,
    fingerprints,
    is_only_signed,
    put,
    reworded,
    round_trip,
    source_of,
)
from tests.promises.samples import FRONTS
from tests.sync.rig import Device, World
from tests.world.fast import fast


@pytest.fixture(autouse=True)
def _fast() -> Iterator[None]:
    with fast():
        yield


NAME = "journals.2021_04_19.md"
_VALUE = re.compile(rb"^(?!id|heaper_id|tags)([a-z_-]+:)[ \t]+[^\r\n]+$", re.MULTILINE)

WITH_VALUES = [name for name, data in FRONTS.items() if _VALUE.search(data.rpartition(b"---")[0])]

FEW = [
    name if name in {"dendron", "obsidian"} else pytest.param(name, marks=pytest.mark.slow)
    for name in FRONTS
]
"""The quick tests take two of them."""

each = pytest.mark.parametrize("program", FRONTS)


async def mirrored(world: World, data: bytes) -> tuple[Device, Device]:
    """Put a file on a device; return it, and a second one that has it from the server."""
    a, b = world.device("a"), world.device("b")
    await a.synced()
    put(a, {NAME: data})
    await round_trip(a, b)
    return a, b


async def notes_of(world: World) -> list[BlockId]:
    """The notes there are on the server, in the trash too."""
    return [b for b in await world.blocks() if (await world.server.row(b)).type == "document"]


@each
async def test_not_one_line_of_a_file_changes(world: World, program: str) -> None:
    """The first device adds its id at most, under a key that is free; no file is renamed, and a
    second device shows the same bytes.
    """
    data = FRONTS[program]
    a, b = await mirrored(world, data)
    assert exact(a).keys() == {NAME}
    assert is_only_signed(exact(a)[NAME], data), diff(data, exact(a)[NAME])
    assert differing(exact(a), exact(b)) == {}
    assert (await world.titles()).keys() == {NAME.removesuffix(".md")}


@pytest.mark.parametrize("program", ["dendron", "zettelkasten"])
async def test_our_id_stands_beside_the_users(world: World, program: str) -> None:
    """The file's own ``id`` is kept, ours is ``heaper_id``; it is found after a lost cache."""
    a, b = await mirrored(world, FRONTS[program])
    (block,) = await notes_of(world)
    before = exact(a)
    assert f"heaper_id: {block}".encode() in before[NAME]
    shutil.rmtree(b.base / "state")
    (b.root / NAME).rename(b.root / "Folderless.md")
    await round_trip(b, a)
    assert await notes_of(world) == [block]
    assert list(exact(a).values()) == list(before.values())
    assert exact(a) == exact(b)


@pytest.mark.parametrize("program", FEW)
@pytest.mark.parametrize("keeps_id", [True, False], ids=["with our id", "without our id"])
async def test_saves_of_an_open_editor_are_edits_of_one_note(
    world: World, program: str, *, keeps_id: bool
) -> None:
    """An editor rewrites its whole buffer five times, which was loaded before or after our id
    came into the file.
    """
    a, b = await mirrored(world, FRONTS[program])
    (block,) = await notes_of(world)
    buffer = exact(a)[NAME] if keeps_id else FRONTS[program]
    end = b"" if buffer.endswith(b"\n") else b"\n"
    before = await fingerprints(world)
    for k in range(5):
        buffer += end + b"\nsave %d\n" % k
        end = b""
        put(a, {NAME: buffer})
        await round_trip(a)
        assert await notes_of(world) == [block]
        assert exact(a).keys() == {NAME}
        assert is_only_signed(exact(a)[NAME], buffer) or exact(a)[NAME] == buffer, diff(
            buffer, exact(a)[NAME]
        )
        now = await fingerprints(world)
        assert now != before
        before = now
    await round_trip(b)
    assert differing(exact(a), exact(b)) == {}
    assert f"save {k}" in await world.text(block)


@pytest.mark.parametrize("program", WITH_VALUES)
async def test_a_key_edited_elsewhere_is_that_line(world: World, program: str) -> None:
    """No other line changes, nothing is renamed."""
    a, b = await mirrored(world, FRONTS[program])
    data = exact(b)[NAME]
    head = data.rpartition(b"---")[0]
    found = list(_VALUE.finditer(head))
    for one in (found[0], found[-1]):
        edited = data[: one.start()] + one[1] + b" changed" + data[one.end() :]
        put(b, {NAME: edited})
        await round_trip(b, a)
        assert exact(a) == exact(b) == {NAME: edited}
    c = world.device("c")
    await round_trip(c)
    assert exact(c) == {NAME: edited}


async def at_once(
    world: World, data: bytes, one: Callable[[bytes], bytes], other: Callable[[bytes], bytes]
) -> bytes:
    """Let two devices edit a file without knowing of each other; return what both show then."""
    a, b = await mirrored(world, data)
    put(a, {NAME: one(exact(a)[NAME])})
    put(b, {NAME: other(exact(b)[NAME])})
    await round_trip(a, b, a)
    assert differing(exact(a), exact(b)) == {}
    c = world.device("c")
    await round_trip(c)
    assert differing(exact(a), exact(c)) == {}
    return exact(a)[NAME]


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return edit


BOTH = b"""---
status: draft
# who reads it
audience: all
aliases:
  - one
  - two
publish: true
---
* text
"""


async def test_keys_edited_on_both_sides_at_once(world: World) -> None:
    """Both edits stay, and nothing else changes."""
    shown = await at_once(
        world, BOTH, replacing(b"draft", b"done"), replacing(b"publish: true", b"publish: false")
    )
    expected = BOTH.replace(b"draft", b"done").replace(b"publish: true", b"publish: false")
    assert is_only_signed(shown, expected), diff(expected, shown)


@pytest.mark.parametrize("source", ["local", "document"])
async def test_a_title_that_is_the_files_name(world: World, source: str) -> None:
    """The user's `title` stays where and as it is, also while the document says nothing of it."""
    data = b'---\ndate: 2024\ntitle: "Note"  # mine\n---\ntext\n'
    a = world.device("a")
    a.source = source
    await a.synced()
    put(a, {"Note.md": data})
    await round_trip(a, a)
    block = a.id_of("Note.md")
    if source == "document":
        await world.compact_to_known_roots(block)
    await world.change(block, body="text by the app\n")
    await round_trip(a, a)
    assert is_only_signed(exact(a)["Note.md"], data.replace(b"text", b"text by the app"))
    put(a, {"Note.md": exact(a)["Note.md"].replace(b"2024", b"2025")})
    await round_trip(a)
    wanted = RestoreRequest((str(a.root / "Note.md"),), 1)
    await restore_alone(a.account, a.base / "state", wanted)
    await round_trip(a)
    assert is_only_signed(exact(a)["Note.md"], data)


async def test_an_id_of_another_heap(world: World) -> None:
    """A note that was copied from there keeps that key, and is known by the place it had."""
    foreign = "01J8XYZ0ABCDEFGHJKMNPQRSTV"
    data = f"---\nid: 202401011200\nheaper_id: {foreign}\n---\ntext of the note\n".encode()
    a, b = await mirrored(world, data)
    assert exact(a)[NAME] == exact(b)[NAME]
    assert f"heaper_id: {foreign}\n".encode() in exact(a)[NAME]
    before = await world.titles()
    (a.root / "Sub").mkdir()
    (a.root / NAME).rename(a.root / "Sub" / NAME)
    await round_trip(a, b)
    assert await world.titles() == before, "it is the same note"
    assert exact(b).keys() == {f"Sub/{NAME}"}


async def test_one_value_changed_on_both_sides_at_once(world: World) -> None:
    """One of them stands; whose edit met the other's is told, and his file is in the history."""
    a, b = await mirrored(world, BOTH)
    put(a, {NAME: exact(a)[NAME].replace(b"draft", b"done")})
    put(b, {NAME: exact(b)[NAME].replace(b"draft", b"dropped")})
    await round_trip(a, b, a)
    assert differing(exact(a), exact(b)) == {}
    lines = exact(a)[NAME].splitlines()
    (status,) = [line for line in lines if line.startswith(b"status:")]
    assert status in {b"status: done", b"status: dropped"}
    shown = await cached_status(b.account, b.base / "state")
    (notice,) = shown["heaps"][0]["notices"]
    assert "changed here to" in notice
    assert "dropped" in notice
    async with await open_cache(b.account, b.base / "state") as cache:
        kept = await cache.read(lambda tx: history.versions(tx, b.id_of(NAME)))
    assert any(b"status: dropped" in version.data for version in kept)


async def test_items_and_comments_added_on_both_sides_at_once(world: World) -> None:
    """A list has the items of both, and no comment is lost."""
    shown = await at_once(
        world,
        BOTH,
        replacing(b"  - one\n", b"  - one\n  # mine\n  - mine\n"),
        replacing(b"  - two\n", b"  - two\n  - theirs\n# theirs too\n"),
    )
    lines = shown.splitlines()
    for line in (b"  - one", b"  - two", b"  - mine", b"  - theirs", b"  # mine", b"# theirs too"):
        assert lines.count(line) == 1, shown


async def test_keys_added_on_both_sides_at_once(world: World) -> None:
    """Both are there, once; also where there was no front matter."""
    shown = await at_once(
        world,
        b"* text\n",
        lambda data: b"---\nmine: 1\n" + data.removeprefix(b"---\n"),
        lambda data: b"---\ntheirs: 2\n" + data.removeprefix(b"---\n"),
    )
    assert shown.count(b"mine: 1\n") == 1
    assert shown.count(b"theirs: 2\n") == 1


async def test_one_key_edited_on_both_sides_at_once(world: World) -> None:
    """One value stays, the other is in the history of the device that wrote it."""
    a, b = await mirrored(world, BOTH)
    put(a, {NAME: exact(a)[NAME].replace(b"draft", b"mine")})
    put(b, {NAME: exact(b)[NAME].replace(b"draft", b"theirs")})
    await round_trip(a, b, a)
    assert differing(exact(a), exact(b)) == {}
    values = [v for v in (b"status: mine\n", b"status: theirs\n") if v in exact(a)[NAME]]
    assert len(values) == 1
    (block,) = await notes_of(world)
    for device, value in ((a, b"mine"), (b, b"theirs")):
        assert any(value in text for text in await versions_of(device, block))


@pytest.mark.parametrize("keeps_roots", [True, False])
async def test_keys_edited_on_both_sides_of_a_compaction(
    world: World, *, keeps_roots: bool
) -> None:
    """The state that the author saw is gone; both edits stay all the same."""
    a, b = await mirrored(world, BOTH)
    (block,) = await notes_of(world)
    put(a, {NAME: exact(a)[NAME].replace(b"draft", b"done")})
    put(b, {NAME: exact(b)[NAME].replace(b"publish: true", b"publish: false")})
    await round_trip(b)
    if keeps_roots:
        await world.server.compact(block)
    else:
        await world.compact_to_known_roots(block)
        await round_trip(b)
    await round_trip(a, b, a)
    expected = BOTH.replace(b"draft", b"done").replace(b"publish: true", b"publish: false")
    assert is_only_signed(exact(a)[NAME], expected), diff(expected, exact(a)[NAME])
    assert differing(exact(a), exact(b)) == {}


async def versions_of(device: Device, block: BlockId) -> list[bytes]:
    async with await open_cache(device.account, device.base / "state") as db:
        return [v.data for v in await db.read(lambda tx: history.versions(tx, block))]


async def test_a_removed_key_is_gone_everywhere(world: World) -> None:
    """So are its lines below it; nothing else is."""
    a, b = await mirrored(world, BOTH)
    edited = exact(b)[NAME].replace(b"aliases:\n  - one\n  - two\n", b"")
    put(b, {NAME: edited})
    await round_trip(b, a)
    assert exact(a) == exact(b) == {NAME: edited}


@pytest.mark.parametrize("program", ["obsidian", "dendron", "broken YAML", "hugo"])
async def test_a_version_put_back_is_the_whole_file(world: World, program: str) -> None:
    """Its front matter too, on every device."""
    a, b = await mirrored(world, FRONTS[program])
    first = exact(a)[NAME]
    changed = _VALUE.sub(rb"\1 changed", first)
    changed = (reworded(changed, b"edited") or changed) + b"\nmore\n"
    assert changed != first
    put(a, {NAME: changed})
    await round_trip(a, b)
    assert exact(b)[NAME] == changed
    (block,) = await notes_of(world)
    async with await open_cache(a.account, a.base / "state") as db:
        texts = await db.read(lambda tx: history.versions(tx, block))
    number = max(v.number for v in texts if v.data == first)
    wanted = RestoreRequest((str(a.root / NAME),), number)
    await restore_alone(a.account, a.base / "state", wanted)
    assert exact(a)[NAME] == first
    await round_trip(a, b)
    assert exact(a) == exact(b) == {NAME: first}


async def test_a_deleted_note_comes_back_whole(world: World) -> None:
    """Out of the trash, on every device."""
    a, b = await mirrored(world, FRONTS["obsidian"])
    first = exact(a)[NAME]
    (a.root / NAME).unlink()
    await round_trip(a, b)
    assert exact(b) == {}
    await restore_alone(a.account, a.base / "state", RestoreRequest((str(a.root / NAME),), None))
    await round_trip(a, b)
    assert exact(a) == exact(b) == {NAME: first}


async def test_tags_keep_their_lines(world: World) -> None:
    """Their relations decide which there are, the lines of the file how they are written."""
    data = b"---\ntags:\n  # mine\n  - 'Client A'\n  - boats\nstatus: x\n---\n* text\n"
    a, b = await mirrored(world, data)
    assert is_only_signed(exact(a)[NAME], data)
    assert differing(exact(a), exact(b)) == {}
    assert (await world.titles("tag")).keys() == {"Client A", "boats"}
    edited = exact(b)[NAME].replace(b"  - boats\n", b"  - boats\n  - new\n")
    put(b, {NAME: edited})
    await round_trip(b, a)
    assert exact(a) == exact(b) == {NAME: edited}
    (block,) = await notes_of(world)
    tags = await world.titles("tag")
    await world.change(block, remove_tags=frozenset({tags["boats"]}))
    await round_trip(a, b)
    assert exact(a) == exact(b) == {NAME: edited.replace(b"  - boats\n", b"")}


async def test_a_name_that_carries_no_title_has_ours_beside_the_users(world: World) -> None:
    """Our title stands under a key of its own; editing it renames, editing the user's does not."""
    a, b = await mirrored(world, b"---\ntitle: The user's\n---\n* text\n")
    (block,) = await notes_of(world)
    await world.change(block, title="Either/or")
    await round_trip(a, b, a)
    (shown,) = exact(a).values()
    assert b"\ntitle: The user's\n" in shown
    assert b"heaper_title: Either/or\n" in shown
    assert exact(a) == exact(b)
    (path,) = exact(b)
    put(b, {path: shown.replace(b"The user's", b"Still the user's")})
    await round_trip(b, a)
    assert exact(a) == exact(b)
    assert exact(a).keys() == {path}
    put(b, {path: exact(b)[path].replace(b"heaper_title: Either/or", b"heaper_title: Renamed")})
    await round_trip(b, a, b)
    assert exact(a) == exact(b)
    assert (await world.titles()).keys() == {"Renamed"}
    (path,) = exact(a)
    assert path == "Renamed.md"
    assert b"title: Still the user's\n" in exact(a)[path]
    assert await source_of(world, block) is not None
