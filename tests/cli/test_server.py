"""``server``: the owner's commands, beside a running server and without one."""

import asyncio
import contextlib
import json
import re
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heapsyncd import control
from heapsyncd.cli.server import handlers
from heapsyncd.server import Server
from tests.cli.devices import DEADLINE_S, Device, ending, terminate


@contextlib.asynccontextmanager
async def serving(data: Path) -> AsyncIterator[Server]:
    """A server that its owner's commands can ask, as ``serve`` runs it."""
    async with Server(data, first_heap="Home") as server, control.serve(data, handlers(server)):
        yield server


@contextlib.asynccontextmanager
async def not_serving(data: Path) -> AsyncIterator[None]:
    """The data of a server that ran before."""
    async with serving(data):
        pass
    yield


@pytest.mark.parametrize("state", [serving, not_serving])
async def test_heaps_and_keys(device: Device, tmp_path: Path, state: type) -> None:
    """Beside a server and without one, heaps are added and listed, and a key is let in; a name
    that is taken, and what is no key, are refused.
    """
    data = tmp_path / "data"
    at = ("--data", str(data))
    async with state(data):
        done = await device.inside("server", "heaps", "add", "My  Recipes", *at)
        assert done.code == 0, done.err
        assert (await device.inside("server", "heaps", *at, "add", "Home")).code == 0
        done = await device.inside("server", "heaps", *at, "--json")
        heaps = [(heap["title"], heap["notes"]) for heap in json.loads(done.out)["heaps"]]
        assert heaps == [("My Recipes", 0), ("Home", 0)]
        assert "  Home  (0 notes and files)\n" in (await device.inside("server", "heaps", *at)).out
        done = await device.inside("server", "heaps", "add", "Home", *at)
        assert done.code == 2
        assert "There is a heap Home already" in done.err
        (data / "accounts").write_text(f"# mine\n! {device.public}\n")
        done = await device.inside("server", "accept", device.public, "--name", "Jo's laptop", *at)
        assert done.code == 0, done.err
        assert (data / "accounts").read_text() == f"# mine\n{device.public} Jo's laptop\n"
        assert (await device.inside("server", "accept", device.public, *at)).code == 0
        assert (data / "accounts").read_text().count(device.public) == 1
        done = await device.inside("server", "refuse", device.public, *at)
        assert done.code == 0, done.err
        assert (data / "accounts").read_text() == f"# mine\n!{device.public} Jo's laptop\n"
        assert (await device.inside("server", "accept", device.public, *at)).code == 0
        assert (data / "accounts").read_text() == f"# mine\n{device.public} Jo's laptop\n"
        for word in ("accept", "refuse"):
            done = await device.inside("server", word, "nonsense", *at)
            assert done.code == 2
        assert "heapsyncd key show" in done.err
    async with serving(data) as server:
        device.configure(server.url)
        done = await device.inside("heaps")
        assert (done.code, "My Recipes" in done.out) == (0, True), done.err


async def test_without_a_server(device: Device) -> None:
    """A directory that holds no server's data is named, and not made one."""
    for arguments in (
        ["accept", device.public],
        ["refuse", device.public],
        ["heaps"],
        ["backup", "x.tar"],
    ):
        done = await device.inside("server", *arguments, "--data", str(device.base / "d"))
        assert done.code == 2
        assert f"{device.base / 'd'} holds no server's data" in done.err
        assert "--data" in done.err
    assert list(device.base.iterdir()) == []


async def test_the_owners_commands_beside_serve(device: Device) -> None:
    """``serve`` as a process says who became its owner, lets in whom the owner accepts, and its
    backup can be served elsewhere.
    """

    async def lines(process: asyncio.subprocess.Process, last: str) -> str:
        assert process.stdout
        async with asyncio.timeout(DEADLINE_S):
            return (await process.stdout.readuntil(last.encode())).decode()

    process = await device.start("serve", "--port", "0", "--data", "d")
    async with ending(process):
        printed = await lines(process, "server accept KEY --data")
        owners = re.search(r"heapsyncd (setup --server (\S+) --code \S+)", printed)
        assert owners
        assert (await device.inside(*owners[1].split())).code == 0
        second = Device(device.base / "second")
        done = await second.inside("setup", "--server", owners[2])
        assert done.code == 3
        accept = re.search(r"heapsyncd (server accept \S+)", done.err)
        assert accept
        done = await device(*accept[1].split(), "--data", "d")
        assert done.code == 0, done.err
        assert (await second.inside("setup")).code == 0
        file = device.base / "copy.tar"
        done = await device.inside("server", "backup", str(file), "--data", str(device.base / "d"))
        assert done.code == 0, done.err
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert await terminate(process) == 0
        assert process.stderr
        assert "this server has an owner now" in (await process.stderr.read()).decode()
    with tarfile.open(file) as tar:
        tar.extractall(device.base / "restored", filter="data")
    process = await device.start("serve", "--port", "0", "--data", "restored")
    async with ending(process):
        public = (await device.inside("key", "show")).out.strip()
        assert f"Owner: {public}\n" in await lines(process, "server accept KEY --data")
        assert await terminate(process) == 0
