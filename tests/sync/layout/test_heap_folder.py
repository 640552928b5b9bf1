"""Which directory a heap had, when the cache does not know it any more."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.ids import HeapId
from heapsyncd.sync.layout.heap_folder import find_folder

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


async def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not be taken for an empty one: the heap would be mirrored a second time in it."""

    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(FolderTrouble, match=f"{tmp_path} can't be read: Permission denied"):
        await find_folder(tmp_path, HEAP)
