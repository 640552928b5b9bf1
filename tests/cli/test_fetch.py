"""``fetch``: contents that stay on the server until somebody asks for them."""

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device

ON_DEMAND = 'files = "on-demand"\nfiles_limit_mb = 0\n'


async def test_fetch_alone_and_through_the_daemon(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """By itself when no daemon runs, through it when one does; what is no file exits 1."""
    for name, content in (("one.bin", b"first"), ("two.bin", b"second")):
        await server.add_file(await server.add_block(heap_id, "file", name), name, content)
    device.configure(server.url, ON_DEMAND)
    assert (await device.inside("sync")).code == 0
    home = device.folder / "Home"
    waiting = sorted(p.name for p in home.glob("*.bin*"))
    assert waiting == ["one.bin.heapsyncd-remote", "two.bin.heapsyncd-remote"]

    done = await device("fetch", str(home / waiting[0]))
    assert (done.code, done.out) == (0, f"{home / 'one.bin'}: here\n"), done.err
    assert (home / "one.bin").read_bytes() == b"first"
    async with device.daemon():
        done = await device.inside("fetch", str(home))
        assert done.code == 0, done.err
        assert (home / "two.bin").read_bytes() == b"second"
    assert not list(home.glob("*.heapsyncd-remote")) or (await device.inside("sync")).code == 0
    assert sorted(p.name for p in home.glob("*.bin*")) == ["one.bin", "two.bin"]
    done = await device.inside("fetch", str(device.base / "elsewhere"))
    assert done.code == 1
    assert "no file of a mirrored heap" in done.err
