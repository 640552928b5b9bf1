"""A daemon mirrors accounts of both kinds beside each other; the trouble of one is its own."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device, ending, eventually, terminate
from tests.oneheap.service import EMAIL, PASSWORD, Oneheap

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def service() -> AsyncIterator[Oneheap]:
    """A oneheap service with one note."""
    async with Oneheap() as running:
        running.add("note", name="Boat", body="text\n", boxId=running.add("box", name="Projects"))
        yield running


def configure(device: Device, server: Server, service: Oneheap, password: str) -> Path:
    """An account of each kind; returns the folder of the second."""
    file, folder = device.base / "team.password", device.base / "team"
    device.configure(
        server.url,
        f'[accounts.team]\nkind = "oneheap"\nserver = "{service.url}"\nemail = "{EMAIL}"\n'
        f"folder = {json.dumps(str(folder))}\npoll_interval = 0.5\n",
    )
    file.touch(0o600)
    file.write_text(f"{password}\n")
    return folder


async def states(device: Device) -> dict[str, Any]:
    """The account's entries of ``status --json``, by name."""
    done = await device("status", "--json")
    assert done.code == 0, done.err
    return {account["name"]: account for account in json.loads(done.out)["accounts"]}


async def both_ways(folder: Path, text: str, device: Device, name: str) -> None:
    """A new file gets its id, and the account is in sync again."""
    file = folder / f"{text}.md"
    file.write_text(f"{text}\n")

    async def is_sent() -> bool:
        return "id: " in file.read_text() and (await states(device))[name]["state"] == "in sync"

    await eventually(is_sent)


async def test_a_refused_password_stops_nobody_else(
    device: Device, server: Server, heap_id: HeapId, service: Oneheap
) -> None:
    """The other account goes on, status and explain name each, and a corrected file and SIGHUP
    are enough.
    """
    team = configure(device, server, service, "wrong-one")
    process = await device.start("run")
    assert process.stderr
    reading = asyncio.create_task(process.stderr.read())  # so that the pipe never fills
    async with ending(process):

        async def is_refused() -> bool:
            found = await states(device)
            return [a["state"] for a in found.values()] == ["in sync", "sign-in needed"]

        await eventually(is_refused)
        assert EMAIL in (await states(device))["team"]["error"]
        await both_ways(device.folder / "Home", "Mine", device, "home")
        assert (await states(device))["team"]["state"] == "sign-in needed"
        (device.base / "team.password").write_text(f"{PASSWORD}\n")
        process.send_signal(signal.SIGHUP)

        async def is_mirrored() -> bool:
            return (team / "Projects" / "Boat.md").exists()

        await eventually(is_mirrored)
        await both_ways(team / "Projects", "Ours", device, "team")
        await both_ways(device.folder / "Home", "Later", device, "home")
        assert await terminate(process) == 0
    for path, name in ((device.folder / "Home" / "Mine.md", "home"), (team / "x.md", "team")):
        done = await device("explain", str(path))
        assert f"(account {name})" in done.out, done.err
    log = (await reading).decode()
    assert PASSWORD not in log
    assert "wrong-one" not in log


async def test_a_refused_key_stops_nobody_else(
    device: Device, tmp_path: Path, service: Oneheap
) -> None:
    """A pass says for each account how it ended; the exit code is the refused one's."""
    async with Server(tmp_path / "strict") as strict:
        team = configure(device, strict, service, PASSWORD)
        done = await device("sync")
        assert done.code == 3, done.err
        assert "home: sign-in needed" in done.err
        assert "team: in sync" in done.out
        assert (team / "Projects" / "Boat.md").exists()
        listed = await device("heaps")
    assert listed.code == 3
    assert "Projects" in listed.out
    assert "home: " in listed.err
