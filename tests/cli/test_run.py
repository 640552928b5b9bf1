"""``run`` and ``status``: the daemon as a process."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.document.xml import nodes
from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import DEADLINE_S, Device, ending, eventually, terminate
from tests.document.worlds import build


@contextlib.contextmanager
def systemd(directory: Path) -> Iterator[socket.socket]:
    """The socket on which systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(directory / "notify"))
        listener.setblocking(False)
        yield listener


def heard(listener: socket.socket) -> list[str]:
    messages = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(listener.recv(65536).decode())
    return messages


async def test_the_daemon_follows_both_sides(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """A new file becomes a note, a new note a file; SIGTERM ends it with exit 0."""
    device.configure(server.url)
    async with device.daemon() as process:
        (device.folder / "Home" / "Mine.md").write_text("My text.\n")
        await server.add_block(heap_id, "document", "Theirs")

        async def arrived() -> bool:
            return (device.folder / "Home" / "Theirs.md").exists() and (
                "id: " in (device.folder / "Home" / "Mine.md").read_text()
            )

        await eventually(arrived)
        await eventually(lambda: device.is_("in sync"))
        assert (await device.status())["heaps"][0]["notes"] == 3
        assert await terminate(process) == 0
    assert "No daemon is running" in (await device.inside("status")).out


@pytest.mark.slow
async def test_a_second_daemon_exits_5_and_a_killed_one_leaves_no_lock(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """``run`` beside a daemon says who holds the state; after SIGKILL all is free."""
    device.configure(server.url)
    async with device.daemon() as first:
        done = await device("run")
        assert done.code == 5
        assert f"process {first.pid}" in done.err
        await eventually(lambda: device.is_("in sync"))
        first.kill()
        await first.wait()
    async with device.daemon() as process:
        assert await terminate(process) == 0


async def test_systemd_hears_ready_signs_of_life_and_the_end(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """READY comes once, WATCHDOG goes on while nothing happens, STATUS tells the state."""
    device.configure(server.url)
    with systemd(device.base) as listener:
        env = {"NOTIFY_SOCKET": str(device.base / "notify"), "WATCHDOG_USEC": "4000000"}
        messages: list[str] = []

        async def told(message: str, times: int = 1) -> bool:
            messages.extend(heard(listener))
            return messages.count(message) >= times

        async with device.daemon(**env) as process:
            await eventually(lambda: told("READY=1"))
            await eventually(lambda: told("STATUS=home: in sync, 1 note"))
            await eventually(lambda: told("WATCHDOG=1", 3))
            assert await terminate(process) == 0
        assert await told("STOPPING=1")
        assert messages.count("READY=1") == 1


async def test_systemd_hears_a_reload_begin_and_end(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """SIGHUP is answered as `Type=notify-reload` wants: a time after the request, then READY."""
    device.configure(server.url)
    with systemd(device.base) as listener:
        messages: list[str] = []

        async def told(message: str, times: int = 1) -> bool:
            messages.extend(heard(listener))
            return sum(m.startswith(message) for m in messages) >= times

        async with device.daemon(NOTIFY_SOCKET=str(device.base / "notify")) as process:
            await eventually(lambda: told("READY=1"))
            asked_us = time.monotonic_ns() // 1000
            process.send_signal(signal.SIGHUP)
            await eventually(lambda: told("READY=1", 2))
            assert await terminate(process) == 0
    (begun,) = [m for m in messages if m.startswith("RELOADING=1\nMONOTONIC_USEC=")]
    assert int(begun.rpartition("=")[2]) >= asked_us
    assert [m for m in messages if m.startswith(("READY", "RELOADING"))][1] == begun


async def test_systemd_hears_why_it_does_not_start(device: Device) -> None:
    """The message of a wrong configuration, or of a bug, is the status beside the exit code."""
    device.configure("http://127.0.0.1:1", "pol_interval = 1\n")
    with systemd(device.base) as listener:
        done = await device("run", NOTIFY_SOCKET=str(device.base / "notify"))
        assert done.code == 2
        (told,) = heard(listener)
    assert told.startswith(f"STATUS={device.config}, line ")
    assert "did you mean `poll_interval`?" in told


async def test_without_a_server_the_daemon_waits(device: Device) -> None:
    """Offline is an ordinary state: ready, alive, and said so; SIGTERM ends it with exit 0."""
    device.configure("http://127.0.0.1:1")
    with systemd(device.base) as listener:
        process = await device.start("run", NOTIFY_SOCKET=str(device.base / "notify"))

        async def ready() -> bool:
            return "READY=1" in heard(listener)

        await eventually(ready)
        assert await device.is_("offline")
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode == 0
        assert time.monotonic() - started < 12


@pytest.mark.slow
async def test_a_daemon_does_not_mirror_another_server(
    device: Device, server: Server, heap_id: HeapId, tmp_path: Path
) -> None:
    """It runs, says so in its status and reads the folder; SIGHUP takes up the right address."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    async with Server(tmp_path / "other", accounts=[device.public]) as other:
        device.configure(other.url)
        process = await device.start("run")
        assert process.stderr
        reading = asyncio.create_task(process.stderr.read())
        async with ending(process):
            await eventually(lambda: device.is_("sign-in needed"))
            assert f"{other.url} is not the server" in (await device.status())["error"]
            (device.folder / "Home" / "Mine.md").write_text("My text.\n")

            async def is_read() -> bool:
                (entry,) = (await device.status())["heaps"]
                return bool(entry["pending_up"])

            await eventually(is_read)
            assert await device.is_("sign-in needed")
            device.configure(server.url)
            process.send_signal(signal.SIGHUP)
            await eventually(lambda: device.is_("in sync"))
            assert (await device.status())["heaps"][0]["notes"] == 2
            assert await terminate(process) == 0
        await reading


async def test_sighup_takes_up_the_configuration(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """A mistake leaves everything as it is; a new account is mirrored without a restart."""
    device.configure(server.url)
    async with device.daemon() as process:
        good = device.config.read_text()
        device.config.write_text("nonsense")
        process.send_signal(signal.SIGHUP)
        device.config.write_text(good)
        await eventually(lambda: device.is_("in sync"))
        section = good[good.index("[accounts.home]") :]
        second = section.replace("accounts.home", "accounts.second").replace("/folder", "/second")
        device.config.write_text(good + second)
        process.send_signal(signal.SIGHUP)

        async def both() -> bool:
            return (device.base / "second" / "Home" / "Groceries.md").exists()

        await eventually(both)
        assert await terminate(process) == 0


async def test_status_works_offline_from_the_cache(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Without daemon and server the counts are what the last pass left, in both forms."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    await server.__aexit__(None, None, None)
    account = await device.status()
    assert account["name"] == "home"
    assert account["state"] == "offline"
    (entry,) = account["heaps"]
    assert (entry["id"], entry["title"], entry["notes"]) == (heap_id, "Home", 1)
    assert entry["folder"] == str(device.folder / "Home")
    done = await device.inside("status")
    assert done.code == 0
    assert "home: not running; in sync as of " in done.out
    assert "home: offline" not in done.out
    assert "Home: 1 note  (" in done.out


async def test_status_before_the_first_pass(device: Device) -> None:
    """Nothing is known yet, and that is no error; nothing is made by asking."""
    device.configure("http://127.0.0.1:1")
    account = await device.status()
    assert account["heaps"] == []
    assert account["in_sync_ms"] is None
    assert "home: not running; never in sync yet\n" in (await device.inside("status")).out
    assert not device.state.exists()


async def test_status_in_plain_words(device: Device, server: Server, heap_id: HeapId) -> None:
    """Files are counted, things outside the heaps are named, and an outage is told in words first;
    when everything was last in sync is told then, and after the daemon's end.
    """
    device.configure(server.url)
    home = device.folder / "Home"
    async with device.daemon() as process:
        (home / "photo.jpg").write_bytes(b"a photo")
        (device.folder / "loose.md").write_text("loose\n")
        (device.folder / ".hidden").write_text("ours alone\n")
        (device.folder / "Work").mkdir()
        done = await device.inside("sync")
        assert done.code == 0
        assert "  minor: loose.md: it is in no heap's folder; not synced" in done.err
        text = (await device.inside("status")).out
        assert text.startswith("home: in sync\n  Home: 1 note, 1 file  (")
        assert (
            "  minor: loose.md: it is in no heap's folder; not synced, move it into one\n" in text
        )
        assert "  minor: Work: no heap has this folder" in text
        assert "hidden" not in text
        (device.folder / "loose.md").rename(home / "loose.md")
        assert "loose.md: it is" not in (await device.inside("status")).out
        await server.__aexit__(None, None, None)
        await eventually(lambda: device.is_("offline"))
        text = (await device.inside("status")).out
        assert text.startswith("home: not connected; last in sync ")
        assert "\n  the server does not answer\n" in text
        assert "no connection" in (await device.inside("--verbose", "status")).out
        account = await device.status()
        assert account["error"].startswith("the server does not answer (")
        assert account["summary"] == "the server does not answer"
        assert account["connected"] is False
        assert await terminate(process) == 0
    after = await device.status()
    assert after["in_sync_ms"] >= account["in_sync_ms"]
    assert [p["path"] for p in after["problems"]] == ["Work"]


async def test_held_deletions_say_what_to_do(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """The command is named, by ``status`` and by ``sync``."""
    device.configure(server.url)
    home = device.folder / "Home"
    home.mkdir()
    for n in range(15):
        await server.add_block(heap_id, "document", f"Note {n}")
    assert (await device.inside("sync")).code == 0
    for n in range(15):
        (home / f"Note {n}.md").unlink()
    done = await device.inside("sync")
    assert done.code == 1
    assert "`heapsyncd deletions`" in done.err
    text = (await device.inside("status")).out
    assert text.startswith("home: not running; last in sync ")
    assert "    15 deletions held until you decide;\n    `heapsyncd deletions` shows" in text


async def test_status_watch_shows_each_change(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """A line for each document that differs from the one before."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    watching = await device.start("status", "--json", "--watch")
    assert watching.stdout
    first = json.loads(await asyncio.wait_for(watching.stdout.readline(), DEADLINE_S))
    assert first["accounts"][0]["state"] == "offline"
    async with device.daemon():
        async with asyncio.timeout(DEADLINE_S):
            async for line in watching.stdout:
                if json.loads(line)["accounts"][0]["state"] == "in sync":
                    break
        watching.send_signal(signal.SIGINT)
        await asyncio.wait_for(watching.communicate(), DEADLINE_S)
    assert watching.returncode == 130


async def test_search_finds_words_offline(device: Device, server: Server, heap_id: HeapId) -> None:
    """What the cache holds is found without daemon and server, with its path; else nothing."""
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    (device.folder / "Home" / "Boat.md").write_text("Varnish the deck in spring.\n")
    assert (await device.inside("sync")).code == 0
    await server.__aexit__(None, None, None)
    done = await device("search", "varnish", "spr")
    assert (done.code, done.out.splitlines()[0]) == (0, "folder/Home/Boat.md")
    (hit,) = json.loads((await device.inside("search", "--json", "deck")).out)["hits"]
    assert (hit["account"], hit["path"]) == ("home", "Boat.md")


async def test_search_finds_words_that_lie_too_deep(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Words deeper in quotes than markdown can show, and in unknown nodes, are in the note's file
    and found; typing beside them leaves them in the document.
    """
    deep: Any = ("paragraph", {}, [[("A plain " + "text " * 30 + "about varnish.", {})]])
    for _ in range(150):
        deep = ("blockquote", {}, [deep])
    unknown: Any = ("callout", {}, [("paragraph", {}, [[("Mind the tiller.", {})]])])
    body: Any = [("paragraph", {}, [[("above", {})]]), deep, unknown]
    block = await server.add_block(heap_id, "document", "Boat", build(body))
    device.configure(server.url)
    assert (await device.inside("sync")).code == 0
    note = device.folder / "Home" / "Boat.md"
    assert "about varnish." in note.read_text()
    for words in ("text about varnish", "tiller"):
        assert (await device.inside("search", words)).out.splitlines()[0] == "folder/Home/Boat.md"
    assert (await device.inside("search", "callout")).out == "nothing found\n"
    note.write_text(note.read_text().replace("above", "above, and more"))
    assert (await device.inside("sync")).code == 0
    root = nodes.read((await server.document(block)).doc, nodes.BODY)
    assert [" ".join(nodes.texts(child))[-14:] for child in root.children] == [
        "bove, and more", "about varnish.", "nd the tiller."
    ]  # fmt: skip
