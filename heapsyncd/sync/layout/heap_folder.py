"""Find a heap's directory and read its ignore rules, before it is mirrored."""

import asyncio
from pathlib import Path
from typing import Final

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import FileBusy, HeapFolder, PathChanged
from heapsyncd.folder.ignore import IGNORE_FILE, Ignore
from heapsyncd.ids import HeapId

IGNORE_BYTES: Final = 1 << 20
"""A larger ``.heaperignore`` is not read."""


async def read_ignore(disk: HeapFolder) -> Ignore:
    """Return the heap's ignore rules: its ``.heaperignore`` on top of the defaults."""
    try:
        data, _ = await disk.read(IGNORE_FILE, IGNORE_BYTES)
    except (PathChanged, FileBusy):
        return Ignore.parse(None)
    return Ignore.parse(data.decode("utf-8", "replace"))


async def find_folder(account_folder: Path, heap_id: HeapId) -> str | None:
    """Return the name of the directory marked as this heap's mirror; None if there is none.

    Needed when the cache was lost.
    """

    def directories() -> list[Path]:
        return (
            sorted(p for p in account_folder.iterdir() if p.is_dir())
            if account_folder.is_dir()
            else []
        )

    for path in await asyncio.to_thread(directories):
        try:
            if await HeapFolder(path).marker() == heap_id:
                return path.name
        except FolderTrouble:
            continue
    return None
