"""A heap's folder on a real disk."""

from pathlib import Path

import pytest

from heapsyncd.folder.disk import HeapFolder
from heapsyncd.ids import HeapId

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTV")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "Home"


@pytest.fixture
async def folder(root: Path) -> HeapFolder:
    made = HeapFolder(root)
    await made.create(HEAP, "Home")
    return made
