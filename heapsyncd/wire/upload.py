"""Upload a file: init, the chunks that the server lacks, complete (PROTOCOL §9); no I/O of its
own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from msgspec import Struct

from heapsyncd.errors import HeapsyncdError, ProtocolError, RequestRefused
from heapsyncd.model import FileEntry
from heapsyncd.tasks import TaskGroup
from heapsyncd.wire.heaper import UploadState, missing_chunks
from heapsyncd.wire.values import UploadSource

PIECE_BYTES = 256 << 10
"""How much of a chunk is in memory at a time."""
FEW_CHUNKS = 1000
MOST_CHUNKS = 300_000
SMALL_BYTES = 64 << 10
"""The least chunk size when there are more than ``FEW_CHUNKS``. There are never more than
``MOST_CHUNKS`` (a terabyte at the usual size), because each is a request, and a value in memory.
"""
_ROUNDS = 4
"""How often a server may refuse to complete before the upload fails for now."""


class Chunk(Struct, frozen=True):
    """One chunk of a file."""

    index: int
    offset: int
    length: int


class UploadCalls(Protocol):
    """The three calls of the dialogue."""

    async def init(self) -> UploadState:
        """Begin, or find out what the server already has."""

    async def chunk(self, chunk: Chunk, is_out: Callable[[], None]) -> None:
        """Send one chunk; calls ``is_out`` when all of it is on its way."""

    async def complete(self) -> None:
        """Let the server check the hash.

        Raises:
            RequestRefused: 409 lists missing chunks; 422 means another hash.
        """


def plan(size_bytes: int, state: UploadState) -> list[Chunk]:
    """Return all chunks of a file, in the size that the server wants.

    Raises:
        ProtocolError: the server's numbers are inconsistent, or ask for too many chunks.
    """
    if state.chunk_size < 1:
        raise ProtocolError(f"the server wants chunks of {state.chunk_size} bytes")
    total = -(-size_bytes // state.chunk_size)
    if total > MOST_CHUNKS or (total > FEW_CHUNKS and state.chunk_size < SMALL_BYTES):
        raise ProtocolError(
            f"the server wants a file of {size_bytes} bytes in {total} chunks of"
            f" {state.chunk_size}: that many are not sent"
        )
    if state.total_chunks not in {None, total, max(total, 1)}:
        raise ProtocolError(
            f"the server wants {state.total_chunks} chunks where there are {total}"
        )
    return [
        Chunk(index, start, min(state.chunk_size, size_bytes - start))
        for index, start in enumerate(range(0, size_bytes, state.chunk_size))
    ] or [Chunk(0, 0, 0)] * (state.total_chunks or 0)


async def pieces(
    source: UploadSource, chunk: Chunk, is_out: Callable[[], None]
) -> AsyncIterator[bytes]:
    """Yield a chunk's bytes in pieces, so that memory use does not depend on the chunk's size.

    Calls ``is_out`` when they were taken.
    """
    end = chunk.offset + chunk.length
    for at in range(chunk.offset, end, PIECE_BYTES):
        yield await source.read(at, min(PIECE_BYTES, end - at))
    is_out()


async def upload(
    calls: UploadCalls, source: UploadSource, progress: Callable[[int, int], None] | None = None
) -> FileEntry:
    """Carry out an upload, sending only what the server lacks.

    Raises:
        RequestRefused: any call is refused; complete only after several rounds (409, 422).
        FileChanged: as ``source.read`` raises it.
    """
    lacking: set[int] | None = None
    refusals: list[int] = []
    while True:
        if lacking is None:
            state = await calls.init()
            if state.complete:
                return _finished(source, progress)
            chunks = plan(source.size_bytes, state)
            lacking = set(range(len(chunks))) - set(state.received)
        await _send(calls, chunks, lacking, progress)
        try:
            await calls.complete()
        except RequestRefused as error:
            refusals.append(error.status)
            if not _again(refusals):
                raise
            # Send the chunks it lists; for any other refusal start over with init.
            lacking = set(missing_chunks(error.body)) & set(range(len(chunks))) or None
        else:
            return _finished(source, progress)


def _again(refusals: list[int]) -> bool:
    """Tell whether a refused complete is worth another round.

    Missing chunks (409) and a forgotten upload (404) can be repaired. Another hash (422) is
    retried once, because that means sending everything again.
    """
    last = refusals[-1]
    return last in {404, 409, 422} and len(refusals) < _ROUNDS and refusals.count(422) <= 1


async def _send(
    calls: UploadCalls,
    chunks: list[Chunk],
    lacking: Iterable[int],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Send chunks in order: each while the server brings the one before to its disk.

    Two do not share a slow link, where both could be lost. When one fails, the one before is still
    waited for.
    """
    total_bytes = sum(chunk.length for chunk in chunks)
    to_send = [chunks[index] for index in sorted(lacking)]
    done_bytes = total_bytes - sum(chunk.length for chunk in to_send)
    failures: list[HeapsyncdError] = []

    async def send(chunk: Chunk, is_out: asyncio.Event) -> None:
        nonlocal done_bytes
        try:
            await calls.chunk(chunk, is_out.set)
            done_bytes += chunk.length
        except HeapsyncdError as error:
            failures.append(error)
        finally:
            is_out.set()

    before: asyncio.Task[None] | None = None
    async with TaskGroup() as group:
        for chunk in to_send:
            if progress is not None:
                progress(done_bytes, total_bytes)
            is_out = asyncio.Event()
            task = group.create_task(send(chunk, is_out))
            await is_out.wait()
            if before is not None:
                await before
            if failures:
                break
            before = task
    if failures:
        raise failures[0]


def _finished(source: UploadSource, progress: Callable[[int, int], None] | None) -> FileEntry:
    if progress is not None:
        progress(source.size_bytes, source.size_bytes)
    return FileEntry(
        f"{source.hash}:{source.size_bytes}",
        source.hash,
        source.name,
        source.size_bytes,
        source.mime_type,
        is_uploaded=True,
    )
