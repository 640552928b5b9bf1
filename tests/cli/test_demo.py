"""``demo`` and ``serve``."""

import asyncio
import json
import re
import signal
from pathlib import Path

from tests.cli.devices import DEADLINE_S, Device, ending


async def test_the_demo_mirrors_its_sample_once(device: Device) -> None:
    """--once exits 0 with the notes in both devices' folders, needs no configuration, and can be
    repeated.
    """
    laptop, phone = device.base / "try" / "laptop", device.base / "try" / "phone"

    def texts(folder: Path) -> dict[Path, str]:
        return {n.relative_to(folder): n.read_text() for n in folder.rglob("*.md")}

    done = await device("demo", "--once", "--dir", "try")
    assert done.code == 0, done.err
    assert len(texts(laptop)) > 2
    assert texts(phone) == texts(laptop)
    assert not device.config.exists()
    note = min(laptop.rglob("*.md"))
    note.write_text(note.read_text() + "\nMine.\n")
    before = texts(laptop)
    done = await device("demo", "--once", "--dir", "try")
    assert done.code == 0, done.err
    assert texts(laptop) == before


async def test_the_demo_leaves_other_folders_alone(device: Device) -> None:
    """A folder that holds anything else is refused, and nothing is written into it."""
    (device.base / "mine").mkdir()
    (device.base / "mine" / "a.txt").touch()
    done = await device("demo", "--once", "--dir", "mine")
    assert done.code == 2
    assert "not empty" in done.err
    assert [p.name for p in (device.base / "mine").iterdir()] == ["a.txt"]


async def test_the_demo_goes_on_until_ctrl_c(device: Device) -> None:
    """It says what to try, and what arrives on the other device after how long. Status can look
    on, a second one is refused, Ctrl-C ends it well.
    """
    process = await device.start("demo")
    assert process.stdout
    async with ending(process):
        async with asyncio.timeout(DEADLINE_S):
            said = (await process.stdout.readuntil(b"Ctrl-C stops.")).decode()
        root = device.base / "heapsyncd-demo"
        assert str(root) in said
        device.config = root / ".heapsyncd-demo" / "config.toml"
        assert str(device.config) in said
        note = root / "phone" / "Home" / "Groceries.md"
        note.write_text(note.read_text() + "\nMine.\n")
        async with asyncio.timeout(DEADLINE_S):
            line = (await process.stdout.readuntil(b" ms\n")).decode()
        assert re.search(r"  phone -> laptop  Home/Groceries\.md  [1-9]\d* ms\n$", line)
        assert (root / "laptop" / "Home" / "Groceries.md").read_text() == note.read_text()
        states = {
            a["state"]
            for a in json.loads((await device.inside("status", "--json")).out)["accounts"]
        }
        assert states <= {"in sync", "syncing"}
        second = await device("demo")
        assert second.code == 5
        assert "running already" in second.err
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, err
    assert b"Stopped." in out


async def test_serve_accepts_the_named_key_alone(device: Device) -> None:
    """It says where it listens; --accept lets one key in; SIGTERM ends it with exit 0."""
    process = await device.start("serve", "--port", "0", "--data", "d", "--accept", device.public)
    assert process.stdout
    async with ending(process):
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)).decode()
        url = line.split()[2].rstrip(",")
        assert str(device.base / "d") in line
        device.configure(url)
        done = await device.inside("heaps")
        assert (done.code, "Home" in done.out) == (0, True), done.err
        stranger = type(device)(device.base / "stranger", seed=bytes([1]) * 32)
        stranger.configure(url)
        assert (await stranger.inside("heaps")).code == 3
        second = await device("serve", "--port", "0", "--data", "d")
        assert second.code == 5
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0


async def test_serve_says_when_the_port_is_taken(device: Device) -> None:
    """The address is named, exit 1."""
    held = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    async with held:
        port = held.sockets[0].getsockname()[1]
        done = await device("serve", "--port", str(port))
    assert done.code == 1
    assert f"127.0.0.1:{port}" in done.err
