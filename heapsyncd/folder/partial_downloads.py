"""Edge: a file that is downloaded in pieces, across restarts if necessary."""

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder import replace, safe_open, syscalls
from heapsyncd.folder.trouble import PathChanged, translated
from heapsyncd.folder.walk import stat_of
from heapsyncd.model import Stat
from heapsyncd.tasks import in_thread

T = TypeVar("T")
PART_PREFIX = ".heapsyncd-part-"
_PIECE_BYTES = 1 << 20
_UNKNOWN = -1
"""The digest so far is unknown: pieces came out of order or a write failed.

Hash the file on disk.
"""


class Part:
    """A partial file, stored as a temporary beside its final path. Created by ``HeapFolder.part``.

    It survives the process: the same path and digest find the same part again. Only one task may
    use it at a time. Memory use is constant. Pieces are hashed in parallel to writing; what an
    earlier process wrote is hashed from the disk.

    Raises:
        PathChanged: the directory no longer exists.
        FolderTrouble: the disk refuses.
    """

    def __init__(self, root: Path, path: str, sha256: str) -> None:
        self._root = root
        self._path = path
        self._sha256 = sha256
        key = hashlib.sha256(f"{path}\0{sha256}".encode()).hexdigest()[:16]
        self._temp = f"{PART_PREFIX}{key}.tmp"
        self._running_digest = hashlib.sha256()
        self._hashed_bytes = 0

    async def size(self) -> int:
        """Return how many bytes are stored, 0 if there is no part yet."""
        return await asyncio.to_thread(self._run, _size)

    async def append(self, offset: int, *pieces: bytes) -> None:
        """Append pieces at ``offset``. Anything stored beyond it is cut off first.

        Raises:
            ValueError: the part ends before ``offset``.
        """
        in_order, self._hashed_bytes = offset == self._hashed_bytes, _UNKNOWN
        hashing = asyncio.create_task(asyncio.to_thread(self._hash, pieces if in_order else ()))
        try:
            await in_thread(lambda: self._run(lambda d, t: _append(d, t, offset, pieces)))
        finally:
            await hashing
        if in_order:
            self._hashed_bytes = offset + sum(map(len, pieces))

    async def digest(self) -> str:
        """Return the sha256, in hex, of what is stored."""
        return await asyncio.to_thread(self._run, self._digest_so_far)

    async def finish(
        self, expect: Stat | None, mode: int | None = None, sha256: str | None = None
    ) -> Stat | None:
        """Turn the part into the file if its digest is right.

        Args:
            expect: the last known stat at the path; None expects nothing there.
            mode: permission bits; None keeps those of the replaced file, or uses the default.
            sha256: the right digest; None: the one that the part was made for.

        Returns:
            The file's stat; None if the digest is wrong, and then the part is deleted.

        Raises:
            PathChanged: the path is not as expected and does not hold this content already. The
            part stays.
        """
        return await in_thread(lambda: self._finish(expect, mode, sha256 or self._sha256))

    async def drop(self) -> None:
        """Delete the part."""
        await in_thread(lambda: self._run(lambda d, t: replace.discard(t, d)))

    def _hash(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self._running_digest.update(piece)

    def _run(self, work: Callable[[int, str], T]) -> T:
        with self._parent() as (dir_fd, _):
            return work(dir_fd, self._temp)

    @contextmanager
    def _parent(self) -> Iterator[tuple[int, str]]:
        with translated(self._path):
            try:
                with safe_open.parent_of(self._root, self._path) as place:
                    yield place
            except FileNotFoundError as error:
                raise PathChanged(self._path, "its directory no longer exists") from error

    def _digest_so_far(self, dir_fd: int, temp: str) -> str:
        fd = _open(temp, dir_fd)
        try:
            whole = os.fstat(fd).st_size == self._hashed_bytes
            return self._running_digest.hexdigest() if whole else _digest(fd)
        finally:
            os.close(fd)

    def _finish(self, expect: Stat | None, mode: int | None, sha256: str) -> Stat | None:
        with self._parent() as (dir_fd, name):
            is_right = self._digest_so_far(dir_fd, self._temp) == sha256
            fd = _open(self._temp, dir_fd)
            try:
                if not is_right:
                    replace.discard(self._temp, dir_fd)
                    return None
                write = replace.Write(self._path, b"", expect, mode)
                replace.copy_attributes(fd, name, dir_fd, write)
                syscalls.fsync(fd)
                found = stat_of(os.fstat(fd))
            finally:
                os.close(fd)
            # Check here already: `commit` would delete the part if the path is taken.
            if expect is not None:
                replace.check_unchanged(self._path, name, dir_fd, expect)
            elif syscalls.exists(name, dir_fd):
                there = _stat_if_same(name, dir_fd, sha256, found.size)
                if there is None:
                    raise PathChanged(self._path, "something new exists there")
                replace.discard(self._temp, dir_fd)
                return there
            ready = replace.Staged(self._path, dir_fd, self._temp, name, expect, found)
            result = replace.commit(ready)
            syscalls.fsync(dir_fd)
            return result


def _open(temp: str, dir_fd: int) -> int:
    """Open the part for reading and writing; create it if absent."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(temp, flags, 0o666, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FolderTrouble(f"{temp}: it is not a regular file; move it away.")
    return fd


def _size(dir_fd: int, temp: str) -> int:
    try:
        return syscalls.lstat(temp, dir_fd).st_size
    except FileNotFoundError:
        return 0


def _append(dir_fd: int, temp: str, offset: int, pieces: Sequence[bytes]) -> None:
    fd = _open(temp, dir_fd)
    try:
        size = os.fstat(fd).st_size
        if size < offset:
            raise ValueError(f"a piece at {offset} would leave a gap")
        if size > offset:
            os.ftruncate(fd, offset)
        os.lseek(fd, offset, os.SEEK_SET)
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[syscalls.write(fd, left) :]
        # Let the disk write while more arrives, so that the final sync is short.
        syscalls.start_writing(fd, offset)
    finally:
        os.close(fd)


def _stat_if_same(name: str, dir_fd: int, sha256: str, size: int) -> Stat | None:
    """Return the stat of a file that holds exactly this content, None for anything else."""
    try:
        fd = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd
        )
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size or _digest(fd) != sha256:
            return None
        return stat_of(found)
    finally:
        os.close(fd)


def _digest(fd: int) -> str:
    digest = hashlib.sha256()
    os.lseek(fd, 0, os.SEEK_SET)
    while piece := os.read(fd, _PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
