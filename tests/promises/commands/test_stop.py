"""SIGTERM at any moment: an ordered end, and the next life goes on from there."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import pytest

from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.document.edit import Target, express
from heapsyncd.folder.ignore import TEMP
from heapsyncd.ids import HeapId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.markdown.read.parse import parse
from heapsyncd.server import Server
from heapsyncd.sync.heap.timing import DEFAULT
from tests.cli.devices import DEADLINE_S, Device, ending, eventually, terminate

pytestmark = pytest.mark.timeout(180)

NOTES = 150

SIGNALLING: Final = """
import os, signal, sys
from heapsyncd.cli.__main__ import main
event, part = sys.argv[1].split()
signals = [getattr(signal, name) for name in sys.argv[2].split()]
del sys.argv[1:3]
met = False
def hook(name, args):
    global met
    if name == "os.kill" or not signals:
        return
    met = met or (name == event and (part == "*" or part in str(args)))
    if met:
        os.kill(os.getpid(), signals.pop(0))
sys.addaudithook(hook)
main()
"""
"""The command as a program that signals itself: first when it comes to a step that the interpreter
audits, then at the next one.
"""
MOMENTS: Final = {
    "the first import": "import click",
    "reading the configuration": "open config.toml",
    "reading the key": "open home.key",
    "importing the daemon": "import heapsyncd.daemon",
    "making the state directory": "os.mkdir state",
    "taking the lock": "fcntl.flock *",
    "before the control socket": "os.remove control.sock",
    "binding the control socket": "socket.bind control.sock",
    "opening the cache": "sqlite3.connect home.sqlite3",
    "connecting to the server": "socket.connect 127.0.0.1",
    "making the folder": "os.mkdir Home",
    "writing the first file": "open .tmp",
    "looking at the folder": "os.scandir *",
}
WORKING: Final = list(MOMENTS)[6:]
"""Those at which it handles signals in its loop."""
TWICE: Final = ["opening the cache", "looking at the folder"]
"""Those of them at which it is signalled twice: before and after its heaps are open."""


async def signalled(
    device: Device, command: str, moment: str, *signals: str
) -> tuple[int | None, str]:
    """Run a command that signals itself; its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SIGNALLING, moment, " ".join(signals)),
        *("--config", str(device.config), command),
        env={**device.env, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with ending(process):
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    return process.returncode, err.decode()


def temporaries(device: Device) -> list[Path]:
    """What a write that was not finished leaves behind."""
    return [path for path in device.folder.rglob("*") if TEMP.fullmatch(path.name)]


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        *(pytest.param(name, ["SIGTERM"], id=name) for name in MOMENTS),
        *(pytest.param(name, ["SIGINT", "SIGTERM"], id=f"{name}, twice") for name in TWICE),
    ],
)
async def test_stopped_while_it_starts(
    device: Device, server: Server, heap_id: HeapId, name: str, signals: list[str]
) -> None:
    """From the first line of ours on, ``run`` ends with 0 and no more words; no lock, socket or
    temporary is left that hinders the next one.
    """
    device.configure(server.url)
    code, err = await signalled(device, "run", MOMENTS[name], *signals)
    assert code == 0, err
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if "as root" not in line]
    assert not any(word in line for line in said for word in ("error", "warning"))
    assert temporaries(device) == []
    done = await device("sync")
    assert done.code == 0, done.err
    assert [path.name for path in (device.folder / "Home").glob("*.md")] == ["Groceries.md"]


async def test_stopped_while_the_cache_is_upgraded(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """The cache has one version or another, entire, and the next start goes on with it."""
    device.configure(server.url)
    device.state.mkdir()
    async with await Database.open(device.state / "home.sqlite3", SCHEMA[:1]):
        pass
    code, err = await signalled(device, "run", MOMENTS["opening the cache"], "SIGTERM")
    assert code == 0, err
    assert (await device("sync")).code == 0
    assert await device.is_("offline")


@pytest.mark.parametrize(
    ("names", "signals"),
    [(["importing the daemon", *WORKING[::2]], ["SIGTERM"]), (TWICE, ["SIGINT", "SIGTERM"])],
    ids=["once", "twice"],
)
async def test_a_pass_that_is_stopped(
    device: Device, server: Server, heap_id: HeapId, names: Iterable[str], signals: list[str]
) -> None:
    """``sync`` ends without a traceback, never with 0 when it was not through, and can be begun
    again.
    """
    device.configure(server.url)
    for name in names:
        code, err = await signalled(device, "sync", MOMENTS[name], *signals)
        assert "Traceback" not in err
        assert code in {-signal.SIGTERM, 130, 1, 4}, err
        assert temporaries(device) == []
    assert (await device("sync")).code == 0


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that takes connections and answers nothing: its address, and if anybody came."""
    came, over = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}", came
        over.set()


@pytest.mark.parametrize(("command", "code"), [("run", 0), ("sync", 4)])
async def test_stopped_while_the_server_does_not_answer(
    device: Device, command: str, code: int
) -> None:
    """Nobody waits for the answer."""
    async with silent_server() as (url, came):
        device.configure(url)
        process = await device.start(command)
        async with ending(process):
            await asyncio.wait_for(came.wait(), DEADLINE_S)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEFAULT.close_s / 2):
                _, err = await process.communicate()
        assert process.returncode == code, err
        assert b"Traceback" not in err


@pytest.mark.parametrize("command", ["run", "sync"])
async def test_stopped_while_the_server_falls_silent(
    device: Device, server: Server, heap_id: HeapId, command: str
) -> None:
    """Requests that hang are given up at once at the second signal."""
    device.configure(server.url)
    assert (await device("sync")).code == 0
    async with silent_server() as (url, came):
        device.configure(url)
        process = await device.start(command)
        async with ending(process):
            await asyncio.wait_for(came.wait(), DEADLINE_S)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(DEFAULT.close_s / 2):
                _, err = await process.communicate()
        assert b"Traceback" not in err
        assert process.returncode in ({0} if command == "run" else {1, 4})
    device.configure(server.url)
    assert (await device("sync")).code == 0


@pytest.mark.parametrize("moment", ["starting", "writing", "sending"])
async def test_stopped_in_the_midst(device: Device, server: Server, moment: str) -> None:
    """Whatever it was at, the daemon ends with 0, and afterwards every note is on both sides,
    once.
    """
    heap = await server.add_heap("Home")
    folder = device.folder / "Home"
    for k in range(NOTES):
        made = express([], Target(body=parse(f"text {k}\n", NO_LINKS), title=f"N{k:03}"))
        assert made.update is not None
        await server.add_block(heap, "document", f"N{k:03}", made.update)
    device.configure(server.url)
    if moment == "sending":
        assert (await device("sync")).code == 0
        for k in range(NOTES):
            (folder / f"Mine{k:03}.md").write_text(f"mine {k}\n")

    async def reached() -> bool:
        if moment == "starting":
            return device.state.exists()
        if moment == "writing":
            return len(list(folder.glob("N*.md"))) >= 10 if folder.exists() else False
        return any(path.read_text().startswith("---") for path in folder.glob("Mine*.md"))

    process = await device.start("run")
    assert process.stderr
    reading = asyncio.create_task(process.stderr.read())
    async with ending(process):
        await eventually(reached)
        async with asyncio.timeout(DEFAULT.close_s + 5):
            assert await terminate(process) == 0
    await reading
    done = await device("sync")
    assert done.code == 0, done.err
    assert len(list(folder.glob("*.md"))) == NOTES * (1 + (moment == "sending"))
    other = Device(Path(f"{device.base}-other"), bytes([7]) * 32)
    await server.add_account(other.public)
    other.configure(server.url)
    assert (await other("sync")).code == 0
    assert {p.name: p.read_text() for p in (other.folder / "Home").glob("*.md")} == {
        p.name: p.read_text() for p in folder.glob("*.md")
    }
