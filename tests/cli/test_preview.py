"""``sync --dry-run``, and the question before a first sync: as processes."""

import asyncio
import contextlib
import json
import os
import sys

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import DEADLINE_S, Device, ending


async def on_terminal(device: Device, *arguments: str, answer: str) -> tuple[int | None, str]:
    """Run a command on a terminal of its own, and answer its question."""
    ours, theirs = os.openpty()
    command = (sys.executable, "-m", "heapsyncd.cli", "--config", str(device.config), *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=device.base, env=device.env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        async with ending(process), asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(OSError):  # the other end is closed
                while data := await asyncio.to_thread(os.read, ours, 4096):
                    shown += data
                    if b"[Y/n]" in data:
                        os.write(ours, f"{answer}\n".encode())
            return await process.wait(), shown.decode().replace("\r\n", "\n")
    finally:
        os.close(ours)


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
    code, shown = await on_terminal(device, "setup", *options, answer="")
    assert code == 0
    assert steps in shown
    code, shown = await on_terminal(device, "sync", answer="n")
    assert code == 1
    assert steps in shown
    assert "Nothing was sent or changed." in shown
    assert own.read_text() == "own\n"
    code, shown = await on_terminal(device, "sync", answer="y")
    assert code == 0, shown
    assert "in sync" in shown
    assert "id:" in own.read_text()
