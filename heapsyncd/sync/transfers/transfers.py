"""Upload and download contents of files; pending transfers are in the entries.

So a restart resumes them.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.backends.contract import FileChanged
from heapsyncd.cache import blocks
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble, ProtocolError, RequestRefused, leaf_errors
from heapsyncd.folder.disk import FileBusy, Part, PathChanged
from heapsyncd.folder.names import variants
from heapsyncd.model import FileEntry, Stat
from heapsyncd.sync.edits.contents import files_of
from heapsyncd.sync.heap.state import HeapContext, PutOff, stamped
from heapsyncd.sync.report import Progress, Speed
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

AT_ONCE: Final = 3
"""The number of parallel transfers."""
WRITE_BYTES: Final = 4 << 20
"""A download is written in pieces of this size.

Measured: with smaller ones, switching threads costs more than the memory is worth."""
EMPTY: Final = hashlib.sha256().hexdigest()
"""The sha256 of no bytes."""
TRIES: Final = 3
"""How often a content with a wrong hash is downloaded before giving up."""


class _Source(Struct, frozen=True):
    """A file of the folder, as the source of an upload."""

    heap: HeapContext
    path: str
    expected: Stat
    file: FileEntry

    @property
    def hash(self) -> str:
        """Return the sha256, in hex."""
        return self.file.hash

    @property
    def name(self) -> str:
        """Return the attachment's name."""
        return self.file.name

    @property
    def size_bytes(self) -> int:
        """Return the number of bytes."""
        return self.file.size_bytes

    @property
    def mime_type(self) -> str:
        """Return the type, such as ``image/png``."""
        return self.file.mime_type

    async def read(self, offset: int, length: int) -> bytes:
        """Return a piece of the file.

        Raises:
            FileChanged: the file is not the one that was hashed.
        """
        try:
            return await self.heap.disk.read_piece(self.path, offset, length, self.expected)
        except PathChanged as error:
            raise FileChanged(f"{self.path} changed while it was sent") from error


async def transfer(heap: HeapContext) -> bool:
    """Do every transfer that is due; return whether any was completed.

    A failure with one file is stored as a problem and does not stop the others.

    Raises:
        TryLater: the server cannot be reached; what was done is kept.
    """
    now = time.monotonic()
    todo = [e for e in heap.moving() if not _is_put_off(heap, e, now)]
    gate = asyncio.Semaphore(AT_ONCE)
    done: list[bool] = []

    async def one(entry: EntryRow) -> None:
        async with gate:
            done.append(await _transfer(heap, entry))

    try:
        async with TaskGroup() as group:
            for entry in todo:
                group.create_task(one(entry))
    except BaseExceptionGroup as errors:
        # They share one server, so raise the first error.
        raise leaf_errors(errors)[0] from None
    return any(done)


async def _transfer(heap: HeapContext, entry: EntryRow) -> bool:
    files = {f.key: f for f in await files_of(heap, entry.block_id)}
    file = files.get(entry.key or "")
    if file is None:
        return False
    try:
        if entry.todo == "upload":
            return await _upload(heap, entry, file)
        return await _download(heap, entry, file)
    except RequestRefused as error:
        heap.problems.found("transfer", entry.path, _refused(entry, file, error))
        _put_off(heap, entry, for_good=error.status in {413, 422})
        return False
    except ProtocolError as error:
        heap.problems.found("transfer", entry.path, error)
        _put_off(heap, entry)
        return False
    except FolderTrouble as error:
        heap.problems.found("transfer", entry.path, error)
        return False


def _put_off(heap: HeapContext, entry: EntryRow, *, for_good: bool = False) -> None:
    """Schedule another try of a refused content, each time after twice the time."""
    before = heap.transfers.put_off.get(entry.path)
    times = before.times + 1 if before is not None and before.key == entry.key else 1
    wait_s = math.inf if for_good else heap.timing.refused_transfer.bound_s(times)
    heap.transfers.put_off[entry.path] = PutOff(entry.key or "", times, time.monotonic() + wait_s)


def _is_put_off(heap: HeapContext, entry: EntryRow, now: float) -> bool:
    found = heap.transfers.put_off.get(entry.path)
    return found is not None and found.key == entry.key and now < found.not_before


def _refused(entry: EntryRow, file: FileEntry, error: RequestRefused) -> str:
    """Return what a refusal means, for people."""
    if error.status == 413:
        return (
            f"the server accepts no file as large as this one ({file.size_bytes / 1e6:.1f} MB):"
            f" {error}. Make it smaller, or name it in .heaperignore."
        )
    return f"its {entry.todo} was refused, and is retried later: {error}"


async def _upload(heap: HeapContext, entry: EntryRow, file: FileEntry) -> bool:
    state = await heap.db.read(lambda tx: blocks.get(tx, entry.block_id))
    expected = entry.stat
    if state is None or state.sync_version == 0 or expected is None:
        return False  # the server does not know the block yet: wait for the next push
    pending = await heap.db.read(lambda tx: any(r.local for r in blocks.log(tx, entry.block_id)))
    if pending:
        return False  # its files_v0 entry goes first (PROTOCOL §9)

    source = _Source(heap, entry.path, expected, file)

    def progress(sent: int, total: int) -> None:
        _report_progress(heap, entry.path, sent, total)

    try:
        await heap.backend.upload(heap.id, entry.block_id, source, progress=progress)
    except FileChanged:
        return False  # the watch will report the new content
    await _commit(heap, replace(entry, todo=None))
    return True


async def _download(heap: HeapContext, entry: EntryRow, file: FileEntry) -> bool:
    """Download a content; one with a wrong hash is discarded, and given up after some tries."""
    missing = "names no sha256 of it" if not file.hash else ""
    is_hash = heap.dialect.content_hashes
    if is_hash and file.hash and not file.size_bytes and file.hash != EMPTY:
        missing = "does not say how large it is"  # a download without a limit might never end
    if missing:
        _put_off(heap, entry, for_good=True)
        reason = f"its document {missing}, so it cannot be downloaded; attach it again"
        heap.problems.found("transfer", entry.path, reason)
        return False
    try:
        for _ in range(TRIES):
            part = await _fetch(heap, entry, file)
            if not is_hash:
                return await _take_over(heap, entry, file, part)
            stat = await part.finish(entry.stat)
            if stat is not None:
                break
            log.warning("download has a wrong hash", path=entry.path, sha256=file.hash)
    except FileBusy:
        return False  # the watch will report the new content
    except PathChanged as error:
        reason = f"{error.reason}; rename that file, and this one is downloaded"
        heap.problems.found("transfer", entry.path, reason)
        return False
    if stat is None:
        _put_off(heap, entry, for_good=True)
        heap.problems.found(
            "transfer",
            entry.path,
            f"the server sent a file with a wrong sha256, {TRIES} times; the file that was here is"
            " kept. The download is retried when the file changes or heapsyncd restarts",
        )
        return False
    heap.problems.clear(entry.path, "content")  # about the file that is replaced now
    await _commit(heap, _present(entry, stat, file.hash))
    return True


async def _take_over(heap: HeapContext, entry: EntryRow, file: FileEntry, part: Part) -> bool:
    """Make a downloaded content, of which no hash is known, the file; return whether it was done.

    Holds the lock, so that nobody takes the content for a change made here.
    """
    if await part.size() != file.size_bytes:
        await part.drop()
        raise ProtocolError(f"the server sent less than the {file.size_bytes} bytes of it")
    sha256 = await part.digest()
    async with heap.lock:
        now = heap.index.entries.get(entry.path)
        if now is None or (now.key, now.stat) != (entry.key, entry.stat):
            return False
        stat = entry.stat
        if stat is not None and entry.digest is None:
            if await heap.disk.digest(entry.path) == (sha256, stat):
                await part.drop()
                await _store_done(heap, _present(entry, stat, sha256))
                return True
            await _keep_aside(heap, entry)
            stat = None
        stat = await part.finish(stat, sha256=sha256)
        if stat is not None:
            await _store_done(heap, _present(entry, stat, sha256))
    return stat is not None


def _present(entry: EntryRow, stat: Stat, sha256: str) -> EntryRow:
    return stamped(replace(entry, todo=None), stat, bytes.fromhex(sha256))


async def _keep_aside(heap: HeapContext, entry: EntryRow) -> None:
    """Give a file that turned out to be no content of its block another name: it is a new file."""
    # Its stamps are forgotten first. After a kill in between it is read as a new version, which
    # replaces nothing that was not here.
    bare = replace(entry, stat=None, awaited_size=entry.size)
    await heap.store(lambda change: change.save([bare]))
    await heap.disk.move(entry.path, await _free_path(heap, entry.path))
    heap.request_rescan()


async def _free_path(heap: HeapContext, path: str) -> str:
    """Return a path beside a file that nothing has."""
    place = PurePosixPath(path)
    for name in variants(place.name):
        free = str(place.with_name(name))
        if free not in heap.index.entries and await heap.disk.stat(free) is None:
            return free
    raise AssertionError("there is always another variant")


async def _fetch(heap: HeapContext, entry: EntryRow, file: FileEntry) -> Part:
    """Download a content into a part file beside it, resuming an interrupted try."""
    parent = str(PurePosixPath(entry.path).parent)
    if parent != ".":
        await heap.disk.make_dir(parent)
    part = heap.disk.part(entry.path, file.hash)
    offset = await part.size()
    if offset > file.size_bytes:
        await part.drop()
        offset = 0
    if offset < file.size_bytes:
        pieces = heap.backend.download(heap.id, entry.block_id, file.hash, file.size_bytes, offset)
        async with aclosing(pieces):
            async for end in _write(part, offset, pieces):
                _report_progress(heap, entry.path, end, file.size_bytes)
    elif not offset:
        await part.append(0, b"")
    return part


async def _write(part: Part, offset: int, pieces: AsyncIterator[bytes]) -> AsyncIterator[int]:
    """Write pieces while more arrive; yields the position reached from time to time."""
    waiting: list[bytes] = []
    size = 0
    writing: asyncio.Future[None] | None = None
    try:
        async for piece in _with_end(pieces):
            if piece is not None:
                waiting.append(piece)
                size += len(piece)
            if size >= WRITE_BYTES or (piece is None and size):
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(part.append(offset, *waiting))
                offset += size
                waiting, size = [], 0
                yield offset
    finally:
        if writing is not None:
            await writing


async def _with_end(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    async for piece in pieces:
        yield piece
    yield None


def _report_progress(heap: HeapContext, path: str, done: int, total: int) -> None:
    heap.transfers.moved_bytes[path] = done
    speed = heap.transfers.speeds.setdefault(path, Speed(time.monotonic(), done))
    speed.moved(done, time.monotonic())
    for row in heap.report.transfers:
        if row["path"] == path:
            row["done"], row["speed"] = done, speed.bytes_per_s
    heap.account.step(Progress(f"{heap.report.title}: {path}", done, total, "bytes"))


async def _commit(heap: HeapContext, entry: EntryRow) -> None:
    async with heap.lock:
        now = heap.index.entries.get(entry.path)
        if now is None or now.key != entry.key:
            return  # it was replaced, renamed or deleted meanwhile
        await _store_done(heap, entry)


async def _store_done(heap: HeapContext, entry: EntryRow) -> None:
    # The file's content is known now, whatever was wrong with it before.
    heap.problems.clear(entry.path, "transfer", "content", "read")
    await heap.store(lambda change: change.save([entry]))
    heap.transfers.moved_bytes.pop(entry.path, None)
    heap.transfers.speeds.pop(entry.path, None)
    heap.transfers.put_off.pop(entry.path, None)
