"""Find a heap's directory, read its ignore rules, and see what belongs to no heap."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Final

from heapsyncd.config import Account
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import FileBusy, HeapFolder, PathChanged
from heapsyncd.folder.ignore import IGNORE_FILE, MARKER, Ignore
from heapsyncd.folder.trouble import translated
from heapsyncd.ids import HeapId
from heapsyncd.model import Problem

IGNORE_BYTES: Final = 1 << 20
"""A larger ``.heaperignore`` is not read."""
STRANGERS: Final = 20
"""At most so many things that belong to no heap are named."""
_NO_HEAP: Final = {
    False: "it is in no heap's folder; not synced, move it into one",
    True: "no heap has this folder; not synced, move its files into a heap's folder, or create the"
    " heap in the app first",
}
"""What to do about a file, and about a directory."""
_DEFAULT_RULES: Final = Ignore.parse(None)


async def read_ignore(disk: HeapFolder) -> Ignore:
    """Return the heap's ignore rules: its ``.heaperignore`` on top of the defaults."""
    try:
        data, _ = await disk.read(IGNORE_FILE, IGNORE_BYTES)
    except (PathChanged, FileBusy):
        return Ignore.parse(None)
    return Ignore.parse(data.decode("utf-8", "replace"))


async def belongs_to_no_heap(account: Account, known: Collection[str]) -> list[Problem]:
    """Return what is in the account's folder beside its heaps: nothing of it is synced.

    Args:
        account: with the folder that holds one directory per heap.
        known: the names of the heaps' directories.
    """

    def look() -> list[Problem]:
        found: list[Problem] = []
        if (account.folder / MARKER).exists():
            return found  # the folder itself is a mirror
        for path in sorted(account.folder.iterdir()):
            is_dir = path.is_dir() and not path.is_symlink()
            is_heap = path.name in known or (is_dir and (path / MARKER).exists())
            if not is_heap and not _DEFAULT_RULES.match(path.name, is_dir):
                name = path.name.encode(errors="surrogateescape").decode(errors="replace")
                found.append(Problem(name, _NO_HEAP[is_dir], minor=True))
        return found[:STRANGERS]

    try:
        return await asyncio.to_thread(look)
    except OSError:
        return []  # the heaps in it report what is wrong with it


async def find_folder(account_folder: Path, heap_id: HeapId) -> str | None:
    """Return the name of the directory marked as this heap's mirror; None if there is none.

    Needed when the cache was lost.

    Raises:
        FolderTrouble: the account's folder cannot be listed. It must not be taken for an empty
            one: the heap would get a second directory.
    """

    def directories() -> list[Path]:
        return (
            sorted(p for p in account_folder.iterdir() if p.is_dir())
            if account_folder.is_dir()
            else []
        )

    with translated(str(account_folder)):
        found = await asyncio.to_thread(directories)
    for path in found:
        try:
            if await HeapFolder(path).marker() == heap_id:
                return path.name
        except FolderTrouble:
            continue
    return None
