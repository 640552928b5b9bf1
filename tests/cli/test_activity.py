"""``activity`` and the daemon's log: what came and went, for people."""

import asyncio
import json
import os
import pty
import sys
import time

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import DEADLINE_S, Device, ending, eventually, terminate


async def test_what_came_and_went_is_told(device: Device, server: Server, heap_id: HeapId) -> None:
    """By the daemon's log on a terminal, by ``activity``, and by ``activity --follow`` as it
    happens: both directions, with what it was and how long it took.
    """
    device.configure(server.url, "[log]\nformat = 'console'\n")
    home = device.folder / "Home"
    process = await device.start("run")
    assert process.stderr
    reading = asyncio.create_task(process.stderr.read())

    async def events() -> list[tuple[str, str, str]]:
        told = json.loads((await device("activity", "--json")).out)["activity"]
        return [(e["direction"], e["what"], e["path"]) for e in told]

    async with ending(process):
        await eventually(lambda: device.is_("in sync"))
        assert await events() == [("down", "new", "Groceries.md")]
        following = await device.start("activity", "--follow")
        assert following.stdout
        async with ending(following):
            first = await asyncio.wait_for(following.stdout.readline(), DEADLINE_S)
            assert b"  arrived  Home: Groceries.md (new)" in first
            (home / "Mine.md").write_text("My text.\n")
            (home / "photo.jpg").write_bytes(b"a photo")
            assert (await device.inside("sync")).code == 0
            (home / "Mine.md").rename(home / "Yours.md")
            assert (await device.inside("sync")).code == 0
            (home / "Groceries.md").unlink()
            assert (await device.inside("sync")).code == 0
            await server.add_block(heap_id, "document", "Theirs")
            assert (await device.inside("sync")).code == 0
            found = await events()
            assert sorted(found[1:3]) == [("up", "content", "photo.jpg"), ("up", "new", "Mine.md")]
            assert found[3:] == [
                ("up", "renamed", "Yours.md"),
                ("up", "deleted", "Groceries.md"),
                ("down", "new", "Theirs.md"),
            ]
            async with asyncio.timeout(DEADLINE_S):
                lines = [(await following.stdout.readline()).decode() for _ in found[1:]]
            assert lines[-1].rstrip().endswith(" s")
            assert "  arrived  Home: Theirs.md (new)  " in lines[-1]
        assert await terminate(process) == 0
    told = (await reading).decode()
    for said in (
        "Home: Mine.md sent (new)", "Home: photo.jpg sent\n", "Home: Yours.md sent (renamed)",
        "Home: Groceries.md sent (deleted)", "Home: Theirs.md arrived (new)", "home: in sync",
        "stopped",
    ):  # fmt: skip
        assert said in told, told
    assert "block=" not in told
    assert "edit stored" not in told


async def test_the_log_on_a_terminal_is_plain_text(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """By itself it is for people there, and without colours: NO_COLOR and TERM are no matter."""
    device.configure(server.url)
    device.env.pop("NO_COLOR")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "heapsyncd.cli", "--config", str(device.config), "run"),
        env={**device.env, "TERM": "xterm"},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    async with ending(process):
        await eventually(lambda: device.is_("in sync"))
        assert await terminate(process) == 0
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "Home: Groceries.md arrived (new)\r\n" in shown
    assert "\x1b" not in shown
    assert "=" not in shown


async def test_a_span_limits_what_is_shown(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Without a daemon too; a wrong span is a usage error, and before the first pass there is
    nothing.
    """
    device.configure(server.url)
    assert (await device.inside("activity")).out == "nothing came or went in this time\n"
    assert not device.state.exists()
    began = time.monotonic()
    assert (await device.inside("sync")).code == 0
    assert len((await device.inside("activity", "--since", "1h")).out.splitlines()) == 1
    (event,) = json.loads((await device.inside("activity", "--json")).out)["activity"]
    assert event["file"] == str(device.folder / "Home" / "Groceries.md")
    assert 0 <= event["latency_ms"] <= (time.monotonic() - began) * 1000
    assert (await device.inside("activity", "--since", "0s")).out.startswith("nothing")
    done = await device.inside("activity", "--since", "soon")
    assert done.code == 2
    assert "write 10m, 2h or 3d" in done.err
