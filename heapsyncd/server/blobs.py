"""Edge: keep contents of attachments on disk, named by their sha256, and those still arriving.

No other module of the server touches these files. Everything blocking runs in threads. A content
appears under its name only when it is complete, checked and synced to disk; an interruption leaves
a file below ``uploads/`` at most.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

PIECE_BYTES = 1024 * 1024
"""Read and write size: large enough that a thread switch for each does not matter, small enough to
keep memory use flat.
"""


class Blobs:
    """The two directories; created by ``prepare``."""

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._uploads = root / "uploads"

    async def prepare(self) -> None:
        """Create the directories."""

        def make() -> None:
            for directory in (self._files, self._uploads):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)

        await asyncio.to_thread(make)

    async def uploads(self) -> set[str]:
        """Return the ids of the contents that are still arriving."""
        return set(await asyncio.to_thread(os.listdir, self._uploads))

    async def free_bytes(self) -> int:
        """Return the free space of the disk."""
        return (await asyncio.to_thread(shutil.disk_usage, self._files)).free

    async def begin(self, upload: str, size: int) -> None:
        """Allocate a file for a content; what arrived under this id before is discarded."""

        def make() -> None:
            with (self._uploads / upload).open("wb") as file:
                file.truncate(size)

        await asyncio.to_thread(make)

    async def receive(self, upload: str, offset: int, pieces: AsyncIterator[bytes]) -> int:
        """Write what arrives at ``offset``; returns its size once it is on the disk."""
        descriptor = await asyncio.to_thread(
            os.open, self._uploads / upload, os.O_WRONLY | os.O_CLOEXEC
        )
        try:
            size = 0
            async for piece in _gathered(pieces):
                await asyncio.to_thread(_write_all, descriptor, piece, offset + size)
                size += len(piece)
            await asyncio.to_thread(os.fdatasync, descriptor)
            return size
        finally:
            os.close(descriptor)

    async def sha256(self, upload: str) -> str:
        """Return the hash of what arrived, in hex."""

        def compute() -> str:
            with (self._uploads / upload).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        return await asyncio.to_thread(compute)

    async def keep(self, upload: str, hash_: str) -> None:
        """Move a checked content to its name. Repeating it is harmless."""

        def move() -> None:
            target = self._path(hash_)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            (self._uploads / upload).replace(target)
            for directory in (target.parent, self._files, self._uploads):
                _sync_directory(directory)

        await asyncio.to_thread(move)

    async def put(self, hash_: str, content: bytes) -> None:
        """Store a content that is in memory."""
        upload = f"{hash_}.put"
        await self.begin(upload, len(content))
        await self.receive(upload, 0, _one(content))
        await self.keep(upload, hash_)

    async def drop(self, upload: str) -> None:
        """Delete what arrived; repeating it is harmless."""

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                (self._uploads / upload).unlink()

        await asyncio.to_thread(remove)

    async def open(self, hash_: str) -> int | None:
        """Open a content for reading; returns a descriptor to ``close``, None if there is none."""

        def look() -> int | None:
            try:
                return os.open(self._path(hash_), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None

        return await asyncio.to_thread(look)

    def close(self, descriptor: int) -> None:
        """Close a descriptor from ``open``."""
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        """Return the size of an open content."""
        return os.fstat(descriptor).st_size

    async def read(self, descriptor: int, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a range, in pieces."""
        end = start + length
        while start < end:
            piece = await asyncio.to_thread(
                os.pread, descriptor, min(PIECE_BYTES, end - start), start
            )
            if not piece:
                raise OSError("the content is shorter than expected")
            start += len(piece)
            yield piece

    def _path(self, hash_: str) -> Path:
        return self._files / hash_[:2] / hash_


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the same bytes in pieces large enough to write."""
    waiting: list[bytes] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
