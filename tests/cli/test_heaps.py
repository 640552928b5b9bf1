"""``heaps --restore-folder``: a folder that was deleted is written again."""

import asyncio
import shutil

from heapsyncd.ids import HeapId
from heapsyncd.server import Server
from tests.cli.devices import Device, ending, eventually, terminate


async def test_a_deleted_folder_is_written_again(
    device: Device, server: Server, heap_id: HeapId
) -> None:
    """Beside a daemon at once, also one that found it missing when it started; without one with
    the next pass. Status names the command, a folder that is there is left alone, and a name that
    no heap has is an error.
    """
    device.configure(server.url)
    home = device.folder / "Home"
    restore = ("heaps", "--restore-folder")
    async with device.daemon() as process:
        done = await device.inside(*restore, "Home")
        assert done.code == 0, done.err
        assert f"{home} is there, and was left alone" in done.out
        done = await device.inside(*restore, "Hom")
        assert done.code == 1
        assert "No mirrored heap is called Hom" in done.err
        assert await terminate(process) == 0
    shutil.rmtree(home)
    process = await device.start("run")
    assert process.stderr
    reading = asyncio.create_task(process.stderr.read())
    async with ending(process):

        async def is_told() -> bool:
            shown = (await device.inside("status")).out
            return f"`heapsyncd heaps --restore-folder {home}`" in shown

        await eventually(is_told)
        done = await device.inside(*restore, str(home))
        assert f"{home} is written again now" in done.out, done.err

        async def is_back() -> bool:
            return (home / "Groceries.md").exists()

        await eventually(is_back)
        assert await terminate(process) == 0
    await reading
    shutil.rmtree(home)
    done = await device.inside(*restore, heap_id)
    assert f"{home} is written again with the next `heapsyncd sync`" in done.out
