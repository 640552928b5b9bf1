"""Edge: the folder of one heap. The only hand that writes into it.

Paths are relative to the heap's folder, with ``/``. Every path is walked from the folder's own
descriptor, name by name, without following a symlink. All blocking work is done in threads; a
cancelled caller does not stop a call that has begun, and each is safe to be killed in.
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
from heapsyncd.folder.parts import Part
from heapsyncd.folder.replace import Result, Write
from heapsyncd.folder.snapshot import Snapshot
from heapsyncd.folder.trouble import Moved, Unsettled, translated
from heapsyncd.folder.walk import scan, stat_of
from heapsyncd.ids import HeapId
from heapsyncd.model import Stat

__all__ = ["HeapFolder", "Moved", "Part", "Result", "Unsettled", "Write"]

T = TypeVar("T")
_PIECE_BYTES = 1 << 20


class HeapFolder:
    """One heap's folder.

    Nothing is written unless the marker is there, and, once ``create`` or ``open`` has named the
    heap, is that heap's: an empty mount point, or another heap's folder, is never filled.

    Everything here raises FolderTrouble when the folder is missing or the disk refuses, and Moved
    when a path is not what the caller has seen: then nothing was done, and it has to look again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._heap: HeapId | None = None
        self._claim: int | None = None

    async def create(self, heap_id: HeapId, title: str) -> None:
        """Make the folder and its marker where they are missing.

        Raises:
            FolderTrouble: the folder belongs to another heap.
        """
        await asyncio.to_thread(marker.create, self.root, heap_id, title)
        self._heap = heap_id

    async def marker(self) -> HeapId | None:
        """The heap whose mirror the folder is; None when there is no marker, or no folder."""
        return await asyncio.to_thread(marker.read, self.root)

    async def claim(self) -> None:
        """Keep other daemons, with another state, off this folder until ``close``.

        Raises:
            StateLocked: one of them has it.
        """
        if self._claim is None:
            self._claim = await asyncio.to_thread(marker.claim, self.root)

    async def close(self) -> None:
        """Give back what ``claim`` took."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    # ---- looking ------------------------------------------------------------------------------

    async def scan(self, ignore: Ignore, under: Iterable[str] | None = None) -> Snapshot:
        """What is there, names and stats only.

        Args:
            ignore: what is passed over.
            under: look only at these paths and what is below them; None: at everything.
        """
        return await asyncio.to_thread(scan, self.root, ignore, under)

    async def stat(self, path: str) -> Stat | None:
        """What stands there, whatever it is; None when nothing does."""
        return await asyncio.to_thread(places.look, self.root, path)

    async def read(self, path: str, max_bytes: int) -> tuple[bytes, Stat]:
        """A file's bytes, and the stat they belong to.

        Raises:
            Moved: it is not there any more.
            Unsettled: it changed while it was read.
            UnreadableFile: it is larger than ``max_bytes``, or no regular file.
        """
        return await asyncio.to_thread(self._opened, path, lambda fd: _read(fd, max_bytes))

    async def read_many(
        self, paths: Sequence[str], max_bytes: int
    ) -> "list[tuple[bytes, Stat] | FolderTrouble | UnreadableFile | Moved | Unsettled]":
        """For each path what ``read`` returns or raises, in one go."""

        def one(
            path: str,
        ) -> "tuple[bytes, Stat] | FolderTrouble | UnreadableFile | Moved | Unsettled":
            try:
                return self._opened(path, lambda fd: _read(fd, max_bytes))
            except (FolderTrouble, UnreadableFile, Moved, Unsettled) as error:
                return error

        return await asyncio.to_thread(lambda: [one(path) for path in paths])

    async def read_piece(self, path: str, offset: int, length: int, expect: Stat) -> bytes:
        """A piece of a file, for an upload; shorter only at its end.

        Raises:
            Moved: the file is not as expected (any more).
        """

        def piece(fd: int) -> tuple[bytes, Stat]:
            data = os.pread(fd, length, offset)
            return data, stat_of(os.fstat(fd))

        data, found = await asyncio.to_thread(self._opened, path, piece)
        if not found.agrees(expect):
            raise Moved(path, "it was changed meanwhile")
        return data

    async def digest(self, path: str) -> tuple[str, Stat]:
        """A file's sha256 in hex, with flat memory; raises as ``read`` does."""
        return await asyncio.to_thread(self._opened, path, _digest)

    # ---- writing ------------------------------------------------------------------------------

    async def write(
        self, path: str, data: bytes, expect: Stat | None, mode: int | None = None
    ) -> Stat:
        """Write one file, atomically and durably; arguments as in ``Write``.

        Returns:
            The stat to remember. If somebody saved right after, it does not agree with the disk,
            so that their change is found.
        """
        (result,) = await self.write_many([Write(path, data, expect, mode)])
        if isinstance(result, Exception):
            raise result
        return result

    async def write_many(self, writes: Sequence[Write]) -> list[Result]:
        """Write files, waiting for the disk once for all of them.

        Returns:
            For each, in order: its stat, or the Moved or FolderTrouble that kept it from being
            written. One file's trouble does not stop the others.
        """
        return await self._change(lambda: replace.write_all(self.root, writes))

    def part(self, path: str, sha256: str) -> Part:
        """The beginning of a file that arrives in pieces; its digest in hex tells it apart."""
        return Part(self.root, path, sha256)

    async def move(self, old: str, new: str) -> None:
        """Rename or move a file or directory, never over another one.

        A change of case alone is one too, also where the file system ignores case.

        Raises:
            Moved: the old path is not there, or the new one is taken.
        """
        await self._change(lambda: places.move(self.root, old, new))

    async def make_dir(self, path: str) -> Stat:
        """Make a directory, with those above it, unless it is there already."""
        return await self._change(lambda: places.make_dir(self.root, path))

    async def remove(self, path: str, expect: Stat) -> None:
        """Remove a file that is as expected; one that is gone already is Moved."""
        await self._change(lambda: places.remove(self.root, path, expect))

    async def remove_dir(self, path: str) -> bool:
        """Remove a directory; False when something is left in it (then it stays, all of it)."""
        return await self._change(lambda: places.remove_dir(self.root, path))

    async def clear_temps(self, parts_older_than_s: float = 7 * 86400) -> int:
        """Remove what earlier lives left: our temporaries, and parts that nobody went on with.

        Call it before anything is written. Returns how many were removed.
        """
        return await self._change(lambda: places.clear_temps(self.root, parts_older_than_s))

    async def _change(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            marker.check(self.root, self._heap)
            return work()

        return await asyncio.to_thread(guarded)

    def _opened(self, path: str, work: Callable[[int], tuple[T, Stat]]) -> tuple[T, Stat]:
        """Let ``work`` read an open file, and check that the file stayed the same meanwhile."""
        with translated(path):
            try:
                with safe_open.parent_of(self.root, path) as (dir_fd, name):
                    fd = safe_open.open_file(name, dir_fd)
                    try:
                        before = os.fstat(fd)
                        if not stat.S_ISREG(before.st_mode):
                            raise UnreadableFile("it is no regular file")
                        result, after = work(fd)
                        now = stat_of(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
                    finally:
                        os.close(fd)
            except FileNotFoundError as error:
                raise Moved(path, "it is not there any more") from error
        if not (stat_of(before).agrees(after) and after.agrees(now)):
            raise Unsettled(path)
        return result, now


def _read(fd: int, max_bytes: int) -> tuple[bytes, Stat]:
    too_large = UnreadableFile(f"it is larger than {max_bytes} bytes")
    expected = os.fstat(fd).st_size
    if expected > max_bytes:
        raise too_large  # not read for nothing
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
