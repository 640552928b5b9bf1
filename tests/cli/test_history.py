"""``history``, ``restore`` and ``trash``: earlier texts and deleted notes, with and without a
daemon.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.cli.settings import load_with_secrets
from heapsyncd.daemon import run_once
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
    done = await device.inside("history", path, "--json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["versions"]
    return found


async def well(device: Device, *arguments: str) -> Done:
    done = await device(*arguments)
    assert done.code == 0, done.err
    return done


async def passed(device: Device) -> None:
    """A full pass, in this process."""
    verdicts = await run_once(load_with_secrets(device.config))
    assert verdicts["home"].exit_code == 0, verdicts


async def texts(server: Server, block: BlockId) -> str:
    return (await server.document(block)).view().words()


@pytest.fixture
async def block(device: Device, server: Server, heap_id: HeapId) -> BlockId:
    """A note that was written in three steps, mirrored after each."""
    device.configure(server.url)
    await passed(device)
    for text in ("one\n", "one two\n", "one two three\n"):
        write(note(device), text)
        await passed(device)
    return BlockId(str(split(note(device).read_text())[0].ids[-1]))


@pytest.mark.slow
async def test_commands_in_a_pipe(device: Device, server: Server, block: BlockId) -> None:
    """Each text is listed once, the latest first, with what it changed; a changed word is marked.
    Paths are as a shell can use them here.
    """
    path = "folder/Home/The boat.md"
    note(device).rename(device.base / path)
    groceries = note(device, "Groceries")
    write(groceries, "milk\n")
    await passed(device)
    lines = (await well(device, "history", path)).out.splitlines()
    assert lines[0] == f"{path}  'The boat' {block}"
    assert [line.split("bytes")[1].split() for line in lines[1:4]] == [
        ["+0", "-0", "words", "renamed", "here,", "Boat.md", "to", "The", "boat.md"],
        ["+1", "-0", "words", "saved", "here"],
        ["+1", "-0", "words", "saved", "here"],
    ]
    assert f"`heapsyncd history '{path}' --diff N`" in lines[-1]
    renamed, latest, earlier = (line.split()[0] for line in lines[1:4])
    assert int(renamed) > int(latest) > int(earlier)
    done = await device.inside("history", path, "--version", latest)
    assert split(done.out)[1] == "one two three\n"
    assert (await well(device, "show", path, "--version", latest)).out == done.out
    done = await device.inside("history", path, "--diff", latest)
    assert done.out.endswith("    one two{+ three+}\n")
    logged = (await well(device, "log", "Home", "--since", "1h")).out.splitlines()
    assert any(line.endswith(f" {path}  renamed here, Boat.md to The boat.md") for line in logged)
    assert (await device.inside("log", "Work")).err.endswith("there are: Home.\n")
    done = await well(device, "restore", path, "--version", earlier)
    assert done.out.startswith(f"{path}: version {earlier} restored\n")
    assert done.out.endswith("    one two[- three-]\n")
    assert done.err == ""
    again = await device.inside("restore", path, "--version", earlier)
    assert again.out == f"{path}: nothing to change; it is the text of version {earlier}\n"
    where = ["--path", "folder/Home/Groceries.md"]
    done = await device.inside("undo", "--since", "1h", *where, "--dry-run")
    assert done.out == "folder/Home/Groceries.md: edits to take back\n    [-milk-]\n"
    done = await well(device, "undo", "--since", "1h", *where)
    assert done.out == "folder/Home/Groceries.md: edits taken back\n    [-milk-]\n"
    assert body(groceries) == ""
    done = await device.inside("undo", "--since", "1h", "--heap", "Home", *where)
    assert done.out == "there is nothing to take back\n"
    done = await device.inside("history", path, "--version", "999")
    assert (done.code, "has no version 999" in done.err) == (1, True)
    done = await device.inside("history", "--diff", path)
    assert (done.code, "write the path before it" in done.err) == (2, True)


async def test_commands_on_a_terminal(device: Device, server: Server, block: BlockId) -> None:
    """Words are coloured, and nothing is changed before somebody says so."""

    async def shown(*arguments: str, answer: str | None = None, **env: str) -> str:
        ask = "Restore it? [y/N]" if arguments[0] == "restore" else "Take this back? [y/N]"
        answers = {} if answer is None else {ask: answer}
        home = device.folder / "Home"
        done = await device.on_terminal(*arguments, answers=answers, columns=120, at=home, **env)
        return done.out

    assert "one two\x1b[32m three\x1b[0m\n" in await shown("history", "Boat.md", "--diff")
    (latest, *_) = await versions(device)
    number = str(latest["number"])
    assert (await shown("show", "Boat.md", "--version", number)).endswith("---\none two three\n")
    assert f"    {number}  Boat.md  saved here\n" in await shown("log", "Home", "--since", "1h")
    told = await shown("restore", "Boat.md", answer="n", NO_COLOR="1")
    assert "Boat.md: version " in told
    assert "one two[- three-]\n" in told
    assert told.endswith("nothing was changed\n")
    assert body(note(device)) == "one two three\n"
    async with device.daemon():
        told = await shown("restore", "Boat.md", answer="y")
        assert "\x1b[31m\x1b[9m three\x1b[0m" in told
        assert told.endswith("restored\n")
        assert body(note(device)) == "one two\n"
        told = await shown("undo", "--since", "1h", answer="y")
        assert "Boat.md: is new, goes to the trash\n" in told
        assert told.endswith("taken back\n")
        assert not note(device).exists()


async def test_a_path_without_versions(device: Device, block: BlockId) -> None:
    """What is no note is an error that leads on."""
    for command in ("history", "restore"):
        done = await device.inside(command, "folder/Home/Nothing.md")
        assert done.code == 1
        assert "`heapsyncd trash` the deleted notes" in done.err


@pytest.mark.slow
async def test_restored_without_a_daemon(device: Device, server: Server, block: BlockId) -> None:
    """The file says the earlier text at once, the server with the next pass; nothing is lost."""
    number = (await versions(device))[-1]["number"]
    write(note(device), "one two three, and a word nobody has read yet\n")
    done = await well(device, "restore", "folder/Home/Boat.md", "--version", str(number))
    assert done.out.startswith(f"folder/Home/Boat.md: version {number} restored\n")
    assert body(note(device)) == "one\n"
    await passed(device)
    assert body(note(device)) == "one\n"
    assert await texts(server, block) == "one"
    await well(device, "restore", "folder/Home/Boat.md")
    assert body(note(device)) == "one two three, and a word nobody has read yet\n"
    await passed(device)
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
    await passed(device)
    note(device).unlink()
    await passed(device)
    assert (await server.document(block)).fields().deleted_at_ms is not None
    listed = await well(device, "trash")
    assert "  folder/Home/Boat.md\n" in listed.out
    assert (await versions(device))[0]["why"] == "deleted"
    await well(device, "trash", "--restore", "folder/Home/Boat.md")
    assert split(note(device).read_text())[0].ids[-1] == block
    assert body(note(device)) == "* one\n* two\n"
    await passed(device)
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
    await passed(device)
    inner = device.folder / "Home" / "Projects" / "Old"
    inner.mkdir(parents=True)
    for name in ("A", "B"):
        (inner / f"{name}.md").write_text(f"text {name}\n")
    await passed(device)
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
    await passed(device)
    assert not note(device).exists()
    await well(device, "restore", "folder/Home/Boat.md")
    await passed(device)
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
    await passed(device)
    assert [v["why"] for v in await versions(device)] == ["deleted", *texts_kept[1:]]
