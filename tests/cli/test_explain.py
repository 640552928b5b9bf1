"""``explain``: the decision chain of one file, offline."""

import json
from typing import Any

import pytest

from heapsyncd.document.edit import Target, express
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.markdown.frontmatter import split
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from tests.cli.devices import Device, eventually


async def facts(device: Device, path: str) -> dict[str, Any]:
    done = await device("explain", "--json", path)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.mark.slow
async def test_the_chain_of_a_file(device: Device, server: Server, heap_id: HeapId) -> None:
    """Base, disk, server and the rule that applies: agreed, changed, gone, unknown and ignored."""
    device.configure(server.url)
    (device.folder / "Home").mkdir()
    assert (await device.inside("sync")).code == 0
    await server.__aexit__(None, None, None)
    note = device.folder / "Home" / "Groceries.md"
    done = await device.inside("explain", "folder/Home/Groceries.md")
    assert done.code == 0, done.err
    assert f"heap     Home  {heap_id}  (account home)" in done.out
    assert "unchanged since" in done.out
    assert "rule     The file shows the document" in done.out

    agreed = await facts(device, str(note))
    assert agreed["base"]["size"] == note.stat().st_size
    assert agreed["server"]["unsent_bytes"] == 0
    assert agreed["disk"]["changed"] == "no"
    note.touch()
    assert (await facts(device, str(note)))["disk"]["changed"] == "stamps only"
    note.write_text(note.read_text() + "bread\n")
    changed = await facts(device, str(note))
    assert changed["disk"]["changed"] == "content"
    assert changed["rule"].startswith("The file was changed")
    note.unlink()
    assert (await facts(device, str(note)))["rule"].startswith("The file is missing")

    new = device.folder / "Home" / "New.md"
    assert (await facts(device, str(new)))["rule"].startswith("There is no such file")
    new.touch()
    assert (await facts(device, str(new)))["rule"].startswith("It is new")
    ignored = await facts(device, str(new.with_name("x.tmp")))
    assert ignored["disk"]["ignored_by"] == "*.tmp (by default)"
    assert ignored["rule"].startswith("It is ignored")


async def test_how_a_file_is_made(device: Device, server: Server, heap_id: HeapId) -> None:
    """As it was saved, patched where the app changed something, or made from the document."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    assert (await facts(device, "folder/Home/Groceries.md"))["text"]["kind"] == "rendering"
    note = device.folder / "Home" / "Styled.md"
    note.write_text("* one\n* two\n")
    assert (await device.inside("sync")).code == 0
    assert (await facts(device, str(note)))["text"] == {"kind": "exact", "problem": None}
    block = BlockId(split(note.read_text())[0].ids[-1])
    document = await server.document(block)
    body = parse("- one by the app\n- two\n", NO_LINKS)
    update = express([document.state()], Target(body=body)).update
    assert update is not None
    await server.apply(block, update)
    assert (await device.inside("sync")).code == 0
    assert note.read_text().endswith("* one by the app\n* two\n")
    assert (await facts(device, str(note)))["text"]["kind"] == "patched"
    assert (
        "text     as it was saved, with the lines"
        in (await device.inside("explain", str(note))).out
    )


async def test_a_held_deletion_is_explained(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """What is held says so, and what ends it."""
    device.configure(server.url)
    for k in range(11):
        await server.add_block(heap_id, "document", f"N{k:02}")
    assert (await device.inside("sync")).code == 0
    for k in range(11):
        (device.folder / "Home" / f"N{k:02}.md").unlink()
    assert (await device.inside("sync")).code == 1
    done = await device.inside("explain", "folder/Home/N00.md")
    assert "hold     deleted here" in done.out
    assert "`heapsyncd deletions --confirm`" in done.out


@pytest.mark.slow
async def test_trouble_is_explained(device: Device, server: Server, heap_id: HeapId) -> None:
    """A file that is no text (any more), a symlink and what the server refuses say so; ``status``
    names each, and what is pending.
    """
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    home = device.folder / "Home"
    note = home / "Groceries.md"
    whole = note.read_text()
    note.write_bytes(note.read_bytes() + b"\xff")
    (home / "New.md").write_bytes(b"\xff")
    (home / "link.md").symlink_to("Groceries.md")
    (home / "Broken.md").write_text("---\na: b: c\n---\ntext\n")
    assert (await device.inside("sync")).code == 1
    for path, problem, rule in (
        ("Groceries.md", "not UTF-8", "File and document are left as they are"),
        ("New.md", "not UTF-8", "It is not synced until"),
        ("link.md", "it is a symlink", "It is not synced until"),
        ("Broken.md", "not YAML in line 2", "The file shows the document"),
    ):
        found = await facts(device, str(home / path))
        assert problem in found["problem"], path
        assert found["rule"].startswith(rule), path
    note.write_text(whole + "bread\n")
    (home / "link.md").unlink()
    await server.grant(heap_id, "ro")
    assert (await device.inside("sync")).code == 1
    found = await facts(device, str(note))
    assert found["problem"] == "the server does not let this account change it"
    assert found["rule"].startswith("Its edits are kept here")
    (status,) = (await device.status())["heaps"]
    assert {p["path"]: p["direction"] for p in status["pending"]}["Groceries.md"] == "up"
    assert "to send: Groceries.md: blocked by its problem" in (await device.inside("status")).out
    done = await device.inside("explain", "folder/Home")
    assert done.code == 1
    assert "name a file in it" in done.err


async def test_a_deleted_note_is_explained(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Where a note stood that was deleted, the trash is named."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    (device.folder / "Home" / "Groceries.md").unlink()
    assert (await device.inside("sync")).code == 0
    done = await device.inside("explain", "folder/Home/Groceries.md")
    assert "server   deleted 20" in done.out
    assert "`heapsyncd trash --restore` brings it back" in done.out


async def test_what_is_unsent_says_why(device: Device, server: Server, heap_id: HeapId) -> None:
    """Beside a daemon whose server is away, ``explain`` and ``status`` say what waits, and for
    what; a program finds the file of each.
    """
    device.configure(server.url)
    device.folder.mkdir(exist_ok=True)
    (device.folder / "loose.md").touch()
    async with device.daemon():
        note = device.folder / "Home" / "Groceries.md"
        await server.__aexit__(None, None, None)
        note.write_text(note.read_text() + "bread\n")
        link, picture = note.with_name("link.md"), note.with_name("picture.png")
        link.symlink_to("Groceries.md")
        picture.write_bytes(b"pixels")

        async def pending() -> bool:
            done = await device.inside("status")
            reason = "edited here: the server has not confirmed it yet"
            return reason in done.out and "sending: picture.png" in done.out

        await eventually(pending)
        account = await device.status()
        (heap,) = account["heaps"]
        assert [p["file"] for p in account["problems"]] == [str(device.folder / "loose.md")]
        assert [p["file"] for p in heap["problems"]] == [str(link)]
        assert str(note) in {p["file"] for p in heap["pending"]}
        assert [t["file"] for t in heap["transfers"]] == [str(picture)]
        found = await facts(device, str(note))
        assert found["file"] == str(note)
        assert found["now"].startswith("offline: ")
        assert found["server"]["unsent_updates"] == 1
        assert found["rule"].startswith("It has edits that the server has not acknowledged")


async def test_a_path_outside_is_an_error(device: Device, server: Server, heap_id: HeapId) -> None:
    """One line that leads on, exit 1."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    done = await device.inside("explain", "elsewhere.md")
    assert done.code == 1
    assert done.err == (
        "heapsyncd: elsewhere.md is not in a mirrored folder;"
        " `heapsyncd status` lists the folders.\n"
    )
