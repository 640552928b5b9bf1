"""``sync`` and ``heaps``: one pass, and a verdict."""

import asyncio
import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from heapsyncd.statelock import hold_state
from tests.cli.devices import DEADLINE_S, Device, ending, eventually, terminate


async def test_sync_mirrors_and_exits_0(device: Device, server: Server, heap_id: HeapId) -> None:
    """Both ways: the server's note becomes a file, the file's text becomes the note's."""
    device.configure(server.url)
    done = await device("sync")
    assert done.code == 0, done.err
    assert done.out == "home: in sync; 1 arrived\n"
    note = device.folder / "Home" / "Groceries.md"
    note.write_text(note.read_text() + "Bread and butter.\n")
    (device.folder / "Home" / "New.md").write_text("New text.\n")
    done = await device.inside("sync")
    assert (done.code, done.out) == (0, "home: in sync; 2 sent\n"), done.err
    again = await device.inside("sync")
    assert (again.code, again.out) == (0, "home: in sync\n")
    other = type(device)(device.base / "other")
    other.configure(server.url)
    assert (await other.inside("sync")).code == 0
    texts = [path.read_text() for path in (other.folder / "Home").glob("*.md")]
    assert any(text.endswith("Bread and butter.\n") for text in texts)
    assert any(text.endswith("New text.\n") for text in texts)


async def test_sync_with_a_key_that_is_not_accepted_exits_3(
    device: Device, server: Server
) -> None:
    """The public key is said, so that the operator can accept it; the secret never."""
    stranger = type(device)(device.base / "stranger", seed=bytes([1]) * 32)
    stranger.configure(server.url)
    done = await stranger.inside("sync")
    assert done.code == 3
    assert stranger.public in done.err
    assert len(done.err.splitlines()) < 6


@pytest.mark.slow
async def test_another_server_exits_3(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path
) -> None:
    """Under the same address too; nothing goes there or changes here. The same server under
    another address is taken for what it is.
    """
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    note = device.folder / "Home" / "Groceries.md"
    note.write_text(note.read_text() + "Bread and butter.\n")
    before = note.read_bytes()
    await server.__aexit__(None, None, None)
    port = urlsplit(server.url).port or 0
    async with Server(tmp_path / "other", port=port, accounts=[device.public]) as other:
        await other.add_heap("Theirs")
        for command in ("sync", "heaps"):
            done = await device(command)
            assert done.code == 3
            assert f"{server.url} is not the server" in done.err
            assert "move" in done.err
            assert "Theirs" not in done.out
            assert len(done.err.splitlines()) < 4
    assert note.read_bytes() == before
    assert [path.name for path in device.folder.iterdir()] == ["Home"]
    async with Server(tmp_path / "server", accounts=[device.public]) as same:
        assert same.url != server.url
        device.configure(same.url)
        done = await device.inside("sync")
        assert done.code == 0, done.err
        other_device = type(device)(device.base / "other")
        other_device.configure(same.url)
        assert (await other_device("sync")).code == 0
        arrived = (other_device.folder / "Home" / "Groceries.md").read_text()
        assert arrived.endswith("Bread and butter.\n")


async def test_sync_without_a_server_exits_4(device: Device) -> None:
    """It says so soon, and in few lines."""
    device.configure("http://127.0.0.1:1")
    async with asyncio.timeout(20):
        done = await device.inside("sync", "--timeout", "5")
    assert done.code == 4
    assert done.err.startswith("home: not connected\n")
    assert len(done.err.splitlines()) < 6


async def test_sync_says_what_is_left(device: Device, server: Server, heap_id: HeapId) -> None:
    """A note that can't be synced is named, exit 1; the others are in sync."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    (device.folder / "Home" / "Groceries.md").write_bytes(b"\xff\xfe\0")
    done = await device.inside("sync")
    assert done.code == 1
    assert "Groceries.md" in done.err


async def test_sync_tells_of_odd_files_and_exits_0(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """What is never mirrored is named by ``sync`` and ``status``, each thing once a line, and
    spoils nothing.
    """
    device.configure(server.url)
    home = device.folder / "Home"
    assert (await device.inside("sync")).code == 0
    (home / "Binary.md").write_bytes(b"\xff\xfe\0")
    (home / "link.md").symlink_to("Groceries.md")
    os.mkfifo(home / "pipe")
    (home / os.fsdecode(b"caf\xe9.md")).write_text("text\n")
    done = await device.inside("sync")
    assert (done.code, done.out) == (0, "home: in sync\n")
    assert sorted(done.err.splitlines()) == [
        "  minor: Home/Binary.md: not UTF-8 (byte 0xff in line 1): save the file as UTF-8",
        "  minor: Home/caf\ufffd.md: its name is not UTF-8; not synced, rename it",
        "  minor: Home/link.md: it is a symlink; not synced",
        "  minor: Home/pipe: it is not a regular file; not synced",
    ]
    (told,) = (await device.status())["heaps"]
    assert [p["path"] for p in told["problems"] if p["minor"]] == [
        "Binary.md", "caf\ufffd.md", "link.md", "pipe"
    ]  # fmt: skip
    text = (await device("status")).out
    assert "    minor: pipe: it is not a regular file; not synced\n" in text
    async with device.daemon():  # in sync, with all of them
        assert len((await device.status())["heaps"][0]["problems"]) == 4


async def test_a_heap_that_is_not_there_is_told(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """A pattern of the configuration that matches no heap is named with the heaps there are; the
    others are mirrored, and the pass has failed.
    """
    device.configure(server.url, 'heaps = ["Home", "Wrok*"]\n')
    done = await device.inside("sync")
    assert done.code == 1
    assert '"Wrok*" matches no heap; there are: Home;' in done.err
    assert (device.folder / "Home" / "Groceries.md").exists()
    told = await device.status()
    assert "Wrok*" in told["error"]
    await server.add_heap("Wrok in progress")
    assert (await device.inside("sync")).code == 0
    assert (await device.status())["error"] is None


async def test_the_progress_bar_needs_a_terminal(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """On a terminal it is drawn, the log above it, and the verdict remains; in a pipe, and on a
    terminal that can do less, no control character is sent.
    """
    device.configure(server.url)
    shown = (await device.on_terminal("sync")).out
    assert "\x1b[" in shown
    assert "home: in sync" in shown
    # What a line shows is what was written since it was erased.
    lines = [line.rpartition("\x1b[2K")[2] for line in shown.splitlines()]
    (arrived,) = [line for line in lines if "Groceries.md arrived" in line]
    assert re.match(r"\d\d:\d\d:\d\d Home: Groceries.md arrived", arrived)
    assert "\x1b" not in (await device.on_terminal("sync", TERM="dumb")).out
    assert "\x1b" not in (await device.inside("sync")).out


QUIET = 'live = "off"\n'
"""A daemon that hears of the server's news by polling only."""


def rarely(device: Device) -> None:
    """Have the device's daemon poll once an hour, so that only a request makes it look."""
    text = device.config.read_text()
    device.config.write_text(text.replace("poll_interval = 0.5", "poll_interval = 3600"))


async def test_beside_a_daemon_it_has_that_do_the_pass(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """What was saved before is on the server, and what was there is here; the daemon goes on."""
    device.configure(server.url, QUIET)
    rarely(device)
    home = device.folder / "Home"
    async with device.daemon() as process:
        await server.add_block(heap_id, "document", "Theirs")
        (home / "Mine.md").write_text("My text.\n")
        (home / "link.md").symlink_to("Mine.md")
        done = await device.inside("sync")
        # The daemon may have done a part of it before it was asked.
        assert done.code == 0
        assert done.out.startswith("home: in sync")
        assert done.err == "  minor: Home/link.md: it is a symlink; not synced\n"
        assert (home / "Theirs.md").exists()
        process.kill()  # nothing of it is needed any more
        await process.wait()
    other = type(device)(device.base / "other")
    other.configure(server.url)
    assert (await other.inside("sync")).code == 0
    assert (other.folder / "Home" / "Mine.md").read_text().endswith("My text.\n")


async def test_beside_a_daemon_it_says_what_is_left(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """With the exit codes of a pass of its own: 1, and 4 without a server; a cured problem is
    looked at again.
    """
    device.configure(server.url, QUIET)
    note = device.folder / "Home" / "Groceries.md"
    async with device.daemon():
        note.write_bytes(b"\xff\xfe\0")
        done = await device.inside("sync")
        assert done.code == 1
        assert "Home/Groceries.md: not UTF-8" in done.err
        note.write_text("cured\n")
        assert (await device.inside("sync")).code == 0
        marker = device.folder / "Home" / ".heapsyncd"
        marker.rename(device.base / "marker")
        done = await device.inside("sync")
        assert done.code == 1
        assert "no .heapsyncd" in done.err
        (device.base / "marker").rename(marker)
        assert (await device.inside("sync")).code == 0
        await server.__aexit__(None, None, None)
        done = await device.inside("sync")
        assert done.code == 4
        assert done.err.startswith("home: not connected\n")
        assert len(done.err.splitlines()) < 6


async def test_beside_a_daemon_whose_key_is_refused_it_exits_3(
    device: Device, server: Server
) -> None:
    """The public key is said there, too."""
    stranger = type(device)(device.base / "stranger", seed=bytes([1]) * 32)
    stranger.configure(server.url)
    process = await stranger.start("run")
    assert process.stderr
    reading = asyncio.create_task(process.stderr.read())
    async with ending(process):
        await eventually(lambda: stranger.is_("sign-in needed"))
        done = await stranger.inside("sync")
        assert done.code == 3
        assert stranger.public in done.err
        assert await terminate(process) == 0
    await reading


@pytest.mark.slow
async def test_waiting_for_a_daemon_ends_without_it(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """--timeout and Ctrl-C end the command, with a server that never answers; the daemon stays."""
    device.configure(server.url, QUIET)
    async with device.daemon() as process:
        port = urlsplit(server.url).port or 0
        await server.__aexit__(None, None, None)

        connected = asyncio.Event()
        writers: list[asyncio.StreamWriter] = []

        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            connected.set()

        async with await asyncio.start_server(silent, "127.0.0.1", port):
            done = await device.inside("sync", "--timeout", "0.5")
            assert done.code == 4
            assert "did not answer in time" in done.err
            connected.clear()
            waiting = await device.start("sync")
            async with ending(waiting):
                await asyncio.wait_for(connected.wait(), DEADLINE_S)
                waiting.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(waiting.wait(), DEADLINE_S) == 130
            assert process.returncode is None
            assert (await device.status())["heaps"][0]["notes"] == 1
            assert await terminate(process) == 0
            for writer in writers:
                writer.close()
                await writer.wait_closed()


async def test_beside_another_pass_it_exits_5(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Only a daemon does a pass for others."""
    device.configure(server.url)
    with hold_state(device.state):
        done = await device.inside("sync")
    assert done.code == 5
    assert f"process {os.getpid()}" in done.err


async def test_heaps_lists_what_is_mirrored(device: Device, server: Server) -> None:
    """Every heap the account can see, with the ones that the configuration leaves out."""
    home, work = await server.add_heap("Home"), await server.add_heap("Work")
    device.configure(server.url, 'heaps = ["Wo*"]\n')
    done = await device("heaps")
    assert done.code == 0, done.err
    assert f"  mirrored      {work}  Work\n" in done.out
    assert f"  not mirrored  {home}  Home\n" in done.out


async def test_heaps_needs_the_server(device: Device) -> None:
    """Exit 4 when it can't be reached."""
    device.configure("http://127.0.0.1:1")
    done = await device.inside("heaps")
    assert done.code == 4
    assert len(done.err.splitlines()) == 1
