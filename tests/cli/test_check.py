"""``check`` as a process: beside a daemon, without a server, with damage, and with --repair."""

import json
import sqlite3

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device, terminate


def damage(device: Device) -> None:
    """Let the cache have an update that can't be read, and a number that is in use."""
    with sqlite3.connect(device.state / "home.sqlite3") as db:
        db.execute("UPDATE log SET data = x'0102ff'")
        db.execute("INSERT INTO tag VALUES ('nobody', 'nothing')")
    db.close()


async def test_damage_is_told_and_repaired(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Exit 0 if nothing is damaged, 6 if something is; a running daemon repairs, too, and goes on.
    The repaired note is the same, on both sides.
    """
    device.configure(server.url)
    async with device.daemon() as process:
        clean = await device("check")
        assert (clean.code, clean.err) == (0, "")
        assert clean.out == (
            "home: Home: 1 note, 0 files; cache, folder and server compared\nnothing is damaged\n"
        )
        damage(device)
        done = await device.inside("check", "--repair")
        assert (done.code, done.err) == (0, ""), done.out
        assert "  repaired: folder/Home/Groceries.md: its document can't be read" in done.out
        note = device.folder / "Home" / "Groceries.md"
        note.write_text(note.read_text() + "bread\n")
        assert (await device.inside("sync")).code == 0
        assert await terminate(process) == 0
    text = note.read_text()
    damage(device)
    device.key.rename(device.key.with_name("elsewhere"))
    found = await device.inside("check", "--json")
    assert (found.code, found.err) == (6, "")
    (account,) = json.loads(found.out)["accounts"]
    assert "home.key can't be read" in account["heaps"][0]["server"]
    whats = [(f["file"], f["damage"], f["repaired"]) for f in account["findings"]]
    assert whats == [(None, True, False), (str(note), True, False)]
    some = await device.inside("check", "--repair")
    assert some.code == 6, some.out
    assert "repaired: 1 rows of the table tag refer to nothing" in some.out
    assert "damage: folder/Home/Groceries.md: its document can't be read" in some.out
    device.key.with_name("elsewhere").rename(device.key)
    done = await device.inside("check", "--repair")
    assert (done.code, done.err) == (0, ""), done.out
    assert "  repaired: folder/Home/Groceries.md: its document can't be read" in done.out
    assert len(list(device.state.glob("home.sqlite3.*.bak"))) == 3
    assert (await device.inside("sync")).code == 0
    assert note.read_text() == text
    # The progress leaves nothing behind but the result.
    done = await device.on_terminal("check", at=device.folder)
    assert done.code == 0
    told = done.out
    assert told.rstrip().endswith("nothing is damaged"), told
    assert "home: Home: 1 note, 0 files" in told
