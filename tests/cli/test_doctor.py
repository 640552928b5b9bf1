"""``doctor`` as a process: on a good set-up, and on one with faults."""

import json

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device


async def test_the_set_up_is_looked_at(device: Device, server: Server, heap_id: HeapId) -> None:
    """Exit 0 if nothing is wrong, else 1; each fault comes with what mends it, in JSON too."""
    device.configure(server.url)
    good = await device("doctor")
    assert (good.code, good.err) == (0, ""), good.out
    lines = good.out.splitlines()
    assert f"ok       configuration: {device.config}" in lines
    assert f"ok       state: {device.state}: it is made by the first run" in lines
    assert f"ok       home: server: {server.url}: signed in; 1 heap, 1 mirrored" in lines
    assert "ok       clock: it agrees with the server's" in lines
    assert any(line.startswith(f"ok       home: folder: {device.folder} (") for line in lines)
    assert any(line.startswith("ok       inotify: 1 directories to watch") for line in lines)
    assert lines[-1].startswith("nothing is wrong, ")
    assert not device.state.exists()

    device.key.chmod(0o644)
    device.state.mkdir(0o700)
    device.state.chmod(0o777)
    bad = await device.inside("doctor", "--json")
    assert (bad.code, bad.err) == (1, "")
    wrong = {c["about"]: c["what"] for c in json.loads(bad.out)["checks"] if c["grade"] == "wrong"}
    assert wrong.keys() == {"home: sign-in", "state"}
    assert f"run: chmod 600 {device.key}" in wrong["home: sign-in"]
    assert f"run: chmod 700 {device.state}" in wrong["state"]

    device.config.write_text("[accounts.home]\nserv = 1\n")
    done = await device.on_terminal("doctor", NO_COLOR="1", columns=200)
    assert done.code == 1
    told = done.out
    assert f"wrong    configuration: {device.config}, line 2: [accounts.home] `serv`" in told
    assert "\x1b" not in told
