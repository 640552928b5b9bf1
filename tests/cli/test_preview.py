"""``sync --dry-run``, and the question before a first sync: as processes."""

import json

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device


async def test_a_dry_run_is_told_and_nothing_more(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Without a daemon and beside one, for people and as JSON."""
    device.configure(server.url)
    new = "  fetch: folder/Home/Groceries.md\n"
    told = await device.inside("sync", "--dry-run")
    assert told.code == 0
    assert told.out == f"home: Home: fetch 1\n{new}Nothing was sent or changed.\n"
    assert told.err == ""
    assert list(device.folder.iterdir()) == []
    assert not (device.state / "home.sqlite3").exists()
    async with device.daemon():
        told = await device.inside("sync", "--dry-run", "--json")
        (heap,) = json.loads(told.out)["accounts"][0]["heaps"]
        assert (heap["id"], heap["steps"]) == (heap_id, [])
    (device.folder / "Home" / "Groceries.md").rename(device.folder / "Home" / "Food.md")
    told = await device.inside("sync", "--dry-run", at=device.base)
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
    told = await device.on_terminal("setup", *options)
    assert told.code == 0
    assert steps in told.out
    told = await device.on_terminal("sync", answers={"Sync now? [Y/n]": "n"})
    assert told.code == 1
    assert steps in told.out
    assert "Nothing was sent or changed." in told.out
    assert own.read_text() == "own\n"
    told = await device.on_terminal("sync", answers={"Sync now? [Y/n]": "y"})
    assert told.code == 0, told.out
    assert "in sync" in told.out
    assert "id:" in own.read_text()
