"""``sync --dry-run``, and the question before a first sync: as processes."""

import json

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device


async def answered(device: Device, *arguments: str, answer: str) -> tuple[int | None, str]:
    """Run a command on a terminal, and answer its question."""
    done = await device.on_terminal(*arguments, answers={"Sync now? [Y/n]": answer})
    return done.code, done.out


async def test_a_dry_run_is_told_and_nothing_more(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Without a daemon and beside one, for people and as JSON."""
    device.configure(server.url)
    new = "  fetch: folder/Home/Groceries.md\n"
    told = await device("sync", "--dry-run")
    assert told.code == 0
    assert told.out == f"home: Home: fetch 1\n{new}Nothing was sent or changed.\n"
    assert told.err == ""
    assert list(device.folder.iterdir()) == []
    assert not (device.state / "home.sqlite3").exists()
    async with device.daemon():
        told = await device("sync", "--dry-run", "--json")
        (heap,) = json.loads(told.out)["accounts"][0]["heaps"]
        assert (heap["id"], heap["steps"]) == (heap_id, [])
    (device.folder / "Home" / "Groceries.md").rename(device.folder / "Home" / "Food.md")
    told = await device("sync", "--dry-run")
    assert "  rename there: folder/Home/Groceries.md -> folder/Home/Food.md\n" in told.out


async def test_a_first_sync_into_files_is_asked_about(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """On a terminal: no leaves everything as it is, yes goes on; ``setup`` only tells."""
    device.configure(server.url)
    device.config.unlink()
    own = device.folder / "Home" / "Own.md"
    own.parent.mkdir()
    own.write_text("own\n")
    steps = "  fetch: folder/Home/Groceries.md\n  send: folder/Home/Own.md\n"
    options = ("--server", server.url, "--folder", "folder", "--key-file", "home.key")
    code, shown = await answered(device, "setup", *options, answer="")
    assert code == 0
    assert steps in shown
    code, shown = await answered(device, "sync", answer="n")
    assert code == 1
    assert steps in shown
    assert "Nothing was sent or changed." in shown
    assert own.read_text() == "own\n"
    code, shown = await answered(device, "sync", answer="y")
    assert code == 0, shown
    assert "in sync" in shown
    assert "id:" in own.read_text()
