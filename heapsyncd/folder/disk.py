"""Edge: the folder of one heap. Everything that writes into it goes through here.

Paths are relative to the heap's folder, with ``/``. Every path is resolved from the folder's own
descriptor, name by name, without following symlinks. All blocking work runs in threads. Cancelling
the caller does not stop a call that has begun; if it writes, the caller continues when it has
ended. The process may be killed at any point of any call without losing user data.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from heapsyncd.errors import FolderTrouble, UnreadableFile
from heapsyncd.folder import marker, places, replace, safe_open
from heapsyncd.folder.ignore import Ignore
from heapsyncd.folder.partial_downloads import Part
from heapsyncd.folder.replace import Result, Write
from heapsyncd.folder.snapshot import Snapshot
from heapsyncd.folder.trouble import FileBusy, PathChanged, translated
from heapsyncd.folder.walk import scan, stat_of
from heapsyncd.ids import HeapId
from heapsyncd.model import Stat
from heapsyncd.tasks import in_thread

__all__ = ["FileBusy", "HeapFolder", "Part", "PathChanged", "Result", "Write"]

T = TypeVar("T")
_PIECE_BYTES = 1 << 20
PARTS_KEPT_S = 7 * 86400.0
"""How long a partial file is kept that nobody continues."""


class HeapFolder:
    """The folder of one heap.

    Nothing is written unless the marker is present. Once ``create`` or ``claim`` has named the
    heap, it must be that heap's marker. So an empty mount point or another heap's folder is never
    filled.

    Every method raises FolderTrouble if the folder is missing or the disk refuses, and PathChanged
    if a path is not in the state that the caller expects. Then nothing was done, and the caller
    must look again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._heap: HeapId | None = None
        self._claim: int | None = None

    async def create(self, heap_id: HeapId, title: str) -> None:
        """Create the folder and its marker if missing.

        Raises:
            FolderTrouble: the folder belongs to another heap.
        """
        await in_thread(lambda: marker.create(self.root, heap_id, title))
        self._heap = heap_id

    async def marker(self) -> HeapId | None:
        """Return the heap that the folder mirrors, None if there is no marker or no folder."""
        return await asyncio.to_thread(marker.read, self.root)

    async def claim(self, heap_id: HeapId) -> None:
        """Lock the heap's folder against daemons that use another state directory.

        The lock is held until ``close``.

        Raises:
            FolderTrouble: the folder belongs to another heap.
            StateLocked: another process holds the lock.
        """
        if self._claim is None:
            self._claim = await asyncio.to_thread(marker.claim, self.root, heap_id)
            self._heap = heap_id

    async def check(self, heap_id: HeapId) -> None:
        """Check that the folder is there and has the heap's marker.

        Raises:
            FolderTrouble: it is not, or has not.
        """
        await asyncio.to_thread(marker.check, self.root, heap_id)

    async def make_again(self, heap_id: HeapId, title: str) -> None:
        """Create and lock the folder and its marker, which were lost.

        Raises:
            FolderTrouble: the folder cannot be created, or belongs to another heap.
            StateLocked: another process holds the lock.
        """
        await self.close()  # the lock of the former marker
        await self.create(heap_id, title)
        await self.claim(heap_id)

    async def close(self) -> None:
        """Release the lock taken by ``claim``."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    # ---- looking ------------------------------------------------------------------------------

    async def scan(self, ignore: Ignore, under: Iterable[str] | None = None) -> Snapshot:
        """Return what exists in the folder, names and stats only.

        Args:
            ignore: the rules for what to skip.
            under: scan only these paths and everything below; None scans the whole folder.
        """
        return await asyncio.to_thread(scan, self.root, ignore, under)

    async def missing(self, paths: Iterable[str]) -> list[str]:
        """Return those paths at which nothing exists; all of them if the folder is missing."""
        wanted = list(paths)

        def look() -> list[str]:
            if not self.root.is_dir():
                return wanted
            return [path for path in wanted if places.look(self.root, path) is None]

        return await asyncio.to_thread(look)

    async def stat(self, path: str) -> Stat | None:
        """Return the stat of whatever exists at a path, None if nothing does."""
        return await asyncio.to_thread(places.look, self.root, path)

    async def read(self, path: str, max_bytes: int) -> tuple[bytes, Stat]:
        """Read a file. Returns its bytes and the stat that belongs to them.

        Raises:
            PathChanged: it no longer exists.
            FileBusy: it changed while it was read.
            UnreadableFile: it is larger than ``max_bytes`` or not a regular file.
        """
        return await asyncio.to_thread(self._with_open_file, path, lambda fd: _read(fd, max_bytes))

    async def read_many(
        self, paths: Sequence[str], max_bytes: int
    ) -> "list[tuple[bytes, Stat] | FolderTrouble | UnreadableFile | PathChanged | FileBusy]":
        """Read several files in one thread. Each result is what ``read`` returns or raises."""

        def one(
            path: str,
        ) -> "tuple[bytes, Stat] | FolderTrouble | UnreadableFile | PathChanged | FileBusy":
            try:
                return self._with_open_file(path, lambda fd: _read(fd, max_bytes))
            except (FolderTrouble, UnreadableFile, PathChanged, FileBusy) as error:
                return error

        return await asyncio.to_thread(lambda: [one(path) for path in paths])

    async def read_piece(self, path: str, offset: int, length: int, expect: Stat) -> bytes:
        """Read a piece of a file for an upload. The result is shorter only at the end of the file.

        Raises:
            PathChanged: the file does not match ``expect``.
        """

        def piece(fd: int) -> tuple[bytes, Stat]:
            data = os.pread(fd, length, offset)
            return data, stat_of(os.fstat(fd))

        data, found = await asyncio.to_thread(self._with_open_file, path, piece)
        if not found.agrees(expect):
            raise PathChanged(path, "it changed in the meantime")
        return data

    async def digest(self, path: str) -> tuple[str, Stat]:
        """Return a file's sha256 in hex and its stat, using constant memory.

        Raises as ``read`` does.
        """
        return await asyncio.to_thread(self._with_open_file, path, _digest)

    # ---- writing ------------------------------------------------------------------------------

    async def write(
        self, path: str, data: bytes, expect: Stat | None, mode: int | None = None
    ) -> Stat:
        """Write one file atomically and durably. Arguments as in ``Write``.

        Returns:
            The stat to store. If another program saved right after, it does not match the disk, so
            that the next scan finds that change.
        """
        (result,) = await self.write_many([Write(path, data, expect, mode)])
        if isinstance(result, Exception):
            raise result
        return result

    async def write_many(self, writes: Sequence[Write]) -> list[Result]:
        """Write several files, with one wait for the disk.

        Returns:
            For each write, in order: the new stat, or the PathChanged or FolderTrouble that
            prevented it. Trouble with one file does not stop the others.
        """
        return await self._change(lambda: replace.write_all(self.root, writes))

    def part(self, path: str, sha256: str) -> Part:
        """Return the partial file for a download to ``path`` with this sha256 (hex)."""
        return Part(self.root, path, sha256)

    async def move(self, old: str, new: str) -> None:
        """Rename or move a file or directory, never over an existing one.

        A change of case only also works on file systems that ignore case.

        Raises:
            PathChanged: the old path does not exist, or the new one is taken.
        """
        await self._change(lambda: places.move(self.root, old, new))

    async def make_dir(self, path: str) -> Stat:
        """Create a directory and its parents unless they exist."""
        return await self._change(lambda: places.make_dir(self.root, path))

    async def remove(self, path: str, expect: Stat) -> None:
        """Remove a file that matches ``expect``.

        Raises PathChanged if it does not, or no longer exists.
        """
        await self._change(lambda: places.remove(self.root, path, expect))

    async def remove_dir(self, path: str) -> bool:
        """Remove a directory. Returns False, without a change, if it is not empty."""
        return await self._change(lambda: places.remove_dir(self.root, path))

    async def find_temps(self, parts_older_than_s: float = PARTS_KEPT_S) -> list[str]:
        """Return what ``clear_temps`` would remove."""
        return await asyncio.to_thread(places.find_temps, self.root, parts_older_than_s)

    async def clear_temps(self, parts_older_than_s: float = PARTS_KEPT_S) -> int:
        """Remove what earlier processes left: temporaries, and partial files long not continued.

        Call it before anything is written. Returns the number of files removed.
        """
        return await self._change(lambda: places.clear_temps(self.root, parts_older_than_s))

    async def _change(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread after checking the marker.

        A cancelled caller waits for it: whoever mirrors into the folder next is alone in it.
        """

        def guarded() -> T:
            marker.check(self.root, self._heap)
            return work()

        return await in_thread(guarded)

    def _with_open_file(self, path: str, work: Callable[[int], tuple[T, Stat]]) -> tuple[T, Stat]:
        """Let ``work`` read an open file, and verify that the file did not change meanwhile."""
        with translated(path):
            try:
                with safe_open.parent_of(self.root, path) as (dir_fd, name):
                    fd = safe_open.open_file(name, dir_fd)
                    try:
                        before = os.fstat(fd)
                        if not stat.S_ISREG(before.st_mode):
                            raise UnreadableFile("it is not a regular file")
                        result, after = work(fd)
                        now = stat_of(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
                    finally:
                        os.close(fd)
            except FileNotFoundError as error:
                raise PathChanged(path, "it no longer exists") from error
        if not (stat_of(before).agrees(after) and after.agrees(now)):
            raise FileBusy(path)
        return result, now


def _read(fd: int, max_bytes: int) -> tuple[bytes, Stat]:
    too_large = UnreadableFile(f"it is larger than {max_bytes} bytes")
    expected = os.fstat(fd).st_size
    if expected > max_bytes:
        raise too_large  # known before reading anything
    pieces: list[bytes] = []
    size = 0
    # Room for a whole piece is made before it is read, also where the file is small.
    while piece := os.read(fd, min(_PIECE_BYTES, expected + 1)):
        size += len(piece)
        if size > max_bytes:
            raise too_large
        pieces.append(piece)
    return b"".join(pieces), stat_of(os.fstat(fd))


def _digest(fd: int) -> tuple[str, Stat]:
    digest = hashlib.sha256()
    while piece := os.read(fd, _PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest(), stat_of(os.fstat(fd))
