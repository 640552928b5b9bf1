"""Contents of files, up and down. What is left to do stands in the entries, so a restart goes on where it stopped."""

import asyncio
from dataclasses import replace

import structlog

from heapsyncd.backends.contract import FileChanged, UploadSource
from heapsyncd.cache import blocks, entries
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.errors import FolderTrouble, ProtocolError, RequestRefused
from heapsyncd.folder.disk import Moved
from heapsyncd.model import FileEntry
from heapsyncd.sync.changes import files_of
from heapsyncd.sync.report import Progress
from heapsyncd.sync.state import HeapState, stamped, stat_of

log = structlog.get_logger()

AT_ONCE = 3
"""Transfers side by side."""


async def transfer(heap: HeapState) -> bool:
    """Carry out every transfer that is due; whether any was done. Trouble with one file is a problem, not the end.

    Raises:
        TryLater: the server can't be reached; what was done is kept.
    """
    todo = [e for e in heap.index.entries.values() if e.todo is not None]
    gate = asyncio.Semaphore(AT_ONCE)
    done: list[bool] = []

    async def one(entry: EntryRow) -> None:
        async with gate:
            done.append(await _transfer(heap, entry))

    try:
        async with asyncio.TaskGroup() as group:
            for entry in todo:
                group.create_task(one(entry))
    except BaseExceptionGroup as errors:
        # The first reason stands for all: they share one server.
        raise errors.exceptions[0] from None
    return any(done)


async def _transfer(heap: HeapState, entry: EntryRow) -> bool:
    files = {f.key: f for f in await files_of(heap, entry.block_id)}
    file = files.get(entry.key or "")
    if file is None:
        return False
    try:
        if entry.todo == "upload":
            return await _upload(heap, entry, file)
        return await _download(heap, entry, file)
    except (FolderTrouble, RequestRefused, ProtocolError) as error:
        heap.file_problems[entry.path] = str(error)
        return False


async def _upload(heap: HeapState, entry: EntryRow, file: FileEntry) -> bool:
    state = await heap.db.read(lambda tx: blocks.get(tx, entry.block_id))
    expected = stat_of(entry)
    if state is None or state.sync_version == 0 or expected is None:
        return False  # the server does not know the block yet: after the next push
    pending = await heap.db.read(lambda tx: any(r.local for r in blocks.log(tx, entry.block_id)))
    if pending:
        return False  # its files_v0 entry goes first (PROTOCOL §9)

    async def read(offset: int, length: int) -> bytes:
        return await heap.disk.read_range(entry.path, offset, length, expected)

    source = UploadSource(
        hash=file.hash,
        name=file.name,
        size_bytes=file.size_bytes,
        mime_type=file.mime_type,
        read=read,
    )

    def progress(sent: int, total: int) -> None:
        heap.account.step(Progress(f"{heap.report.title}: {entry.path}", sent, total, "bytes"))

    try:
        await heap.backend.upload(heap.id, entry.block_id, source, progress=progress)
    except FileChanged:
        return False  # the folder's watch brings the new content
    await _commit(heap, replace(entry, todo=None))
    heap.file_problems.pop(entry.path, None)
    return True


async def _download(heap: HeapState, entry: EntryRow, file: FileEntry) -> bool:
    pieces = heap.backend.download(heap.id, entry.block_id, file.hash)
    try:
        stat = await heap.disk.receive(
            entry.path, pieces, expect=stat_of(entry), sha256=bytes.fromhex(file.hash)
        )
    except Moved:
        heap.file_problems[entry.path] = (
            "a file of this name is there already; rename it and the attachment arrives"
        )
        return False
    finally:
        await pieces.aclose()
    heap.file_problems.pop(entry.path, None)
    await _commit(heap, stamped(replace(entry, todo=None), stat, bytes.fromhex(file.hash)))
    return True


async def _commit(heap: HeapState, entry: EntryRow) -> None:
    async with heap.lock:
        now = heap.index.entries.get(entry.path)
        if now is None or now.key != entry.key:
            return  # it was replaced, renamed or deleted meanwhile

        def store(tx: Tx) -> None:
            entries.save(tx, heap.id, [entry])

        await heap.db.write(store)
        heap.index.put(entry)
