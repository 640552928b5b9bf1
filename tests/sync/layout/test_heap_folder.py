"""Which directory a heap had, when the cache does not know it any more."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from heapsyncd.folder.disk import HeapFolder
from heapsyncd.ids import HeapId
from heapsyncd.sync.heap.timing import DEFAULT
from heapsyncd.sync.layout.heap_folder import find_folder
from tests.sync.rig import World, until

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTV")


async def test_the_marked_directory_is_found(tmp_path: Path) -> None:
    """Whatever it is named now, and whatever lies beside it."""
    (tmp_path / "Garden").mkdir()
    (tmp_path / "a file").write_text("x")
    disk = HeapFolder(tmp_path / "Renamed")
    await disk.create(HEAP, "Garden")
    await disk.close()
    assert await find_folder(tmp_path, HEAP) == "Renamed"
    assert await find_folder(tmp_path, HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTW")) is None
    assert await find_folder(tmp_path / "gone", HEAP) is None


async def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(world: World) -> None:
    """It is named; once it can be read, the mirror goes on in the directory that it had."""
    device = world.device()
    device.timing = replace(DEFAULT, heaps_again_s=0.05)
    await world.add("Note", "text\n")
    await device.synced()
    device.root.rename(device.root.with_name("Renamed"))
    shutil.rmtree(device.base / "state")
    folder, real = device.account.folder, Path.iterdir

    def refused(path: Path) -> Iterator[Path]:
        if path == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "iterdir", refused)
        async with device.running():
            told = f"{folder}: permission denied; check its owner and mode."
            await until(lambda: device.report.heaps[world.heap].error == told, told)
            patch.undo()
            await device.in_sync()
    assert [path.name for path in folder.iterdir()] == ["Renamed"]
