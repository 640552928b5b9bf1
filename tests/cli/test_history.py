"""``history``, ``restore`` and ``trash``: earlier texts and deleted notes, with and without a
daemon.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from tests.cli.devices import Device, Done, eventually


def note(device: Device, name: str = "Boat") -> Path:
    return device.folder / "Home" / f"{name}.md"


def body(path: Path) -> str:
    return split(path.read_text())[1]


def write(path: Path, text: str) -> None:
    front = split(path.read_text())[0].raw if path.exists() else ""
    path.write_text(front + text)


async def versions(device: Device, path: str = "folder/Home/Boat.md") -> list[dict[str, Any]]:
    done = await device("history", path, "--json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["versions"]
    return found


async def well(device: Device, *arguments: str) -> Done:
    done = await device(*arguments)
    assert done.code == 0, done.err
    return done


async def texts(server: Server, block: BlockId) -> str:
    return (await server.document(block)).view().words()


@pytest.fixture
async def block(device: Device, server: Server, heap_id: HeapId) -> BlockId:
    """A note that was written in three steps, mirrored after each."""
    device.configure(server.url)
    await well(device, "sync")
    for text in ("one\n", "one two\n", "one two three\n"):
        write(note(device), text)
        await well(device, "sync")
    return BlockId(str(split(note(device).read_text())[0].ids[-1]))


@pytest.mark.slow
async def test_the_versions_of_a_note(device: Device, block: BlockId) -> None:
    """Each text is listed once, the latest first, and can be printed; all of it offline."""
    done = await well(device, "history", "folder/Home/Boat.md")
    assert f"'Boat' {block}" in done.out
    assert "+1 -0 words" in done.out
    kept = await versions(device)
    assert [v["number"] for v in kept] == sorted((v["number"] for v in kept), reverse=True)
    printed = [
        (await well(device, "history", "folder/Home/Boat.md", "--version", str(v["number"]))).out
        for v in kept
    ]
    assert [split(t)[1] for t in printed if "---" in t][:2] == ["one two three\n", "one two\n"]
    done = await device("history", "folder/Home/Boat.md", "--version", "999")
    assert done.code == 1
    assert "has no version 999" in done.err


@pytest.mark.slow
async def test_a_path_without_versions(device: Device, block: BlockId) -> None:
    """What is no note is an error that leads on."""
    for command in ("history", "restore"):
        done = await device(command, "folder/Home/Nothing.md")
        assert done.code == 1
        assert "`heapsyncd trash` the deleted notes" in done.err


@pytest.mark.slow
async def test_restored_without_a_daemon(device: Device, server: Server, block: BlockId) -> None:
    """The file says the earlier text at once, the server with the next pass; nothing is lost."""
    number = (await versions(device))[-1]["number"]
    write(note(device), "one two three, and a word nobody has read yet\n")
    done = await well(device, "restore", "folder/Home/Boat.md", "--version", str(number))
    assert done.out == f"{note(device)}: version {number} restored\n"
    assert body(note(device)) == "one\n"
    await well(device, "sync")
    assert body(note(device)) == "one\n"
    assert await texts(server, block) == "one"
    await well(device, "restore", "folder/Home/Boat.md")
    assert body(note(device)) == "one two three, and a word nobody has read yet\n"
    await well(device, "sync")
    assert await texts(server, block) == "one two three, and a word nobody has read yet"


async def test_restored_beside_a_daemon(device: Device, server: Server, block: BlockId) -> None:
    """The running daemon puts it back, and everybody else gets it."""
    async with device.daemon():
        await well(device, "restore", "folder/Home/Boat.md")
        assert body(note(device)) == "one two\n"

        async def arrived() -> bool:
            return await texts(server, block) == "one two"

        await eventually(arrived)
        assert body(note(device)) == "one two\n"


@pytest.mark.slow
async def test_a_note_out_of_the_trash(device: Device, server: Server, block: BlockId) -> None:
    """A deleted note is listed, its versions too; it comes back under its id with its text."""
    write(note(device), "* one\n* two\n")
    await well(device, "sync")
    note(device).unlink()
    await well(device, "sync")
    assert (await server.document(block)).fields().deleted_at_ms is not None
    listed = await well(device, "trash")
    assert str(note(device)) in listed.out
    assert (await versions(device))[0]["why"] == "deleted"
    await well(device, "trash", "--restore", "folder/Home/Boat.md")
    assert split(note(device).read_text())[0].ids[-1] == block
    assert body(note(device)) == "* one\n* two\n"
    await well(device, "sync")
    assert (await server.document(block)).fields().deleted_at_ms is None
    assert (await well(device, "trash")).out == "the trash is empty\n"
    done = await device("trash", "--restore", "folder/Home/Boat.md")
    assert done.code == 1
    assert "nothing from this path is in the trash" in done.err


async def test_a_directory_out_of_the_trash(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """A directory comes back with all that was in it; so does one note, with its directory."""
    device.configure(server.url)
    await well(device, "sync")
    inner = device.folder / "Home" / "Projects" / "Old"
    inner.mkdir(parents=True)
    for name in ("A", "B"):
        (inner / f"{name}.md").write_text(f"text {name}\n")
    await well(device, "sync")
    async with device.daemon():
        for name in ("A", "B"):
            (inner / f"{name}.md").unlink()
        inner.rmdir()
        inner.parent.rmdir()

        async def trashed(count: int) -> bool:
            found = json.loads((await well(device, "trash", "--json")).out)
            return len(found["accounts"][0]["heaps"][0]["trash"]) == count

        await eventually(lambda: trashed(4))
        await well(device, "trash", "--restore", str(inner / "A.md"))

        async def back(name: str) -> bool:
            return (inner / f"{name}.md").exists()

        await eventually(lambda: back("A"))
        assert not (inner / "B.md").exists()
        await well(device, "trash", "--restore", "folder/Home/Projects")
        await eventually(lambda: back("B"))
        await eventually(lambda: device.is_("in sync"))
    assert body(inner / "B.md") == "text B\n"


@pytest.mark.slow
async def test_a_note_deleted_elsewhere(device: Device, server: Server, block: BlockId) -> None:
    """What others deleted is in the trash as well; ``restore`` alone brings it back too."""
    state = (await server.document(block)).state()
    update = express([state], Target(deleted_at_ms=1_760_000_000_000)).update
    assert update is not None
    await server.apply(block, update)
    await well(device, "sync")
    assert not note(device).exists()
    await well(device, "restore", "folder/Home/Boat.md")
    await well(device, "sync")
    assert body(note(device)) == "one two three\n"
    assert (await server.document(block)).fields().deleted_at_ms is None


@pytest.mark.slow
async def test_a_review_stands_until_it_is_seen(
    device: Device, server: Server, block: BlockId
) -> None:
    """Edits that met are told by ``status`` and ``history`` until somebody says so."""
    write(note(device), "one two three sails\n")
    state = (await server.document(block)).state()
    update = express([state], Target(body=parse("one two three masts\n", NO_LINKS))).update
    assert update is not None
    await server.apply(block, update)
    async with device.daemon():
        (heap,) = (await device.status())["heaps"]
        (notice,) = heap["notices"]
        assert '"one two three sails"' in notice
        assert '"one two three masts"' in notice
        shown = (await well(device, "status")).out
        assert f"review: {notice}" in shown
        assert "--seen marks it as done" in shown
        seen = await well(device, "history", "folder/Home/Boat.md", "--seen")
        assert "review: " in seen.out
        assert (await device.status())["heaps"][0]["notices"] == []
        assert "--seen" not in (await well(device, "status")).out
    assert (await device.status())["heaps"][0]["notices"] == []
    texts_kept = [v["why"] for v in await versions(device)]
    assert texts_kept.count("overlap") == 1
    note(device).unlink()
    await well(device, "sync")
    assert [v["why"] for v in await versions(device)] == ["deleted", *texts_kept[1:]]
