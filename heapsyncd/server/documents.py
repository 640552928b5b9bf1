"""Write blocks: apply changes one after the other and commit them in groups. The only writer.

Whatever changes a block (push, socket, insert, upload, compaction) is a *job* in one queue. The
writer takes the waiting jobs, loads the documents they need, runs each job on them, and commits
all of it in one transaction. Only then are the jobs answered and the changes passed to
``publish``. So an acknowledged change is on the disk, two changes of one block never race, and
under load many changes share one fsync.

A document that is large, or becomes so, is handled in ``large_documents``: by one call to that
process for all jobs of the document in a group.

Readers (pull, delta, a socket's first step) read the tables, never the loaded replicas, so that
nobody sees what is not committed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog
from msgspec import Struct

from heapsyncd.database import Database
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import data
from heapsyncd.server.cooperative_yield import TimeSlice
from heapsyncd.server.large_documents import LargeDocuments, carry_out
from heapsyncd.server.limits import Limits
from heapsyncd.server.loaded_documents import Batch, LoadedDocument
from heapsyncd.server.refusal import Refusal

T = TypeVar("T")
log = structlog.get_logger(__name__)

GROUP_JOBS = 256
"""The most jobs in one group."""


class Published(Struct, frozen=True):
    """A committed change of a document, for its followers."""

    block: BlockId
    sync_version: int
    update: bytes
    origin: int | None
    """The number of the session that sent it, which does not get it back."""
    replaced_version: int | None = None
    """Set when a compaction ended this version; ``update`` is then empty."""


class _Job(Struct, Generic[T]):
    block: BlockId
    work: Callable[[Batch], T]
    size: int
    done: "asyncio.Future[T]"
    result: T | None = None


class Documents:
    """All blocks' documents. ``run`` is the writer; without it no change is answered.

    Args:
        db: the server's database.
        limits: how many replicas stay loaded, and when a log is merged.
        now_ms: the wall clock.
        publish: called on the loop after each commit with what was committed, in order.
        gone: then called for each block that was deleted for good, with its version.
        large_documents: where large documents are handled.
    """

    def __init__(
        self,
        db: Database,
        limits: Limits,
        now_ms: Callable[[], int],
        publish: Callable[[Sequence[Published]], None],
        gone: Callable[[BlockId, int], None],
        large_documents: LargeDocuments,
    ) -> None:
        self._db = db
        self._limits = limits
        self._now_ms = now_ms
        self._publish = publish
        self._on_gone = gone
        self._large_documents = large_documents
        self._gone: set[BlockId] = set()
        self._queue: asyncio.Queue[_Job[Any] | None] = asyncio.Queue()
        self._held: OrderedDict[BlockId, LoadedDocument] = OrderedDict()
        self._index: dict[BlockId, tuple[HeapId, int]] = {}
        self._closed = False

    async def open(self) -> None:
        """Load the index of all blocks."""
        self._index = await self._db.read(data.index)
        self._gone = await self._db.read(data.permanent)

    def where(self, block: BlockId) -> tuple[HeapId, int] | None:
        """Return the block's heap and current version; None when it does not exist (any more)."""
        return None if block in self._gone else self._index.get(block)

    def is_gone(self, block: BlockId) -> bool:
        """Tell whether a block was deleted for good."""
        return block in self._gone

    def change(
        self, block: BlockId, work: Callable[[Batch], T], size: int = 0
    ) -> "asyncio.Future[T]":
        """Run ``work`` on the loaded block; the future's result is set once it is committed.

        Changes of a block are made in the order of the calls. ``work`` must not await, and must
        raise before it changes anything. It may run in another process, so it must be a function
        of the package with values for arguments. If the caller is cancelled, the change may still
        be made. The future raises:

        Args:
            block: the block; it need not exist.
            work: the change.
            size: the bytes that it adds.

        Raises:
            FolderTrouble: it could not be committed; nothing was stored.
            Refusal: the server is closing.
            Exception: what ``work`` raised.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(Refusal(503, "the server is closing"))
        else:
            self._queue.put_nowait(_Job(block, work, size, done))
        return done

    def close(self) -> None:
        """Let the writer finish the queued jobs, then end."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    async def run(self) -> None:
        """Run the writer; ends after ``close``."""
        more = True
        while more:
            first = await self._queue.get()
            if first is None:
                return
            jobs, more = self._gather(first)
            try:
                large = await self._large_blocks(jobs)
                small = [job for job in jobs if job.block not in large]
                if small:
                    await self._carry_out(small)
                for block in large:
                    await self._carry_out_large(block, [j for j in jobs if j.block == block])
            except Exception as error:  # noqa: BLE001 - passed on to every waiting caller
                self._fail_all(jobs, error)

    def _gather(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        jobs = [first]
        while len(jobs) < GROUP_JOBS and not self._queue.empty():
            job = self._queue.get_nowait()
            if job is None:
                return jobs, False
            jobs.append(job)
        return jobs, True

    async def _large_blocks(self, jobs: Sequence[_Job[Any]]) -> dict[BlockId, None]:
        """Return the documents that are large, counting what the jobs add, in the jobs' order."""
        sizes: dict[BlockId, int] = {job.block: 0 for job in jobs}
        held = {b: self._held[b] for b in sizes if b in self._held}
        known = {b: h.state_bytes + h.log_bytes for b, h in held.items()}
        absent = [b for b in sizes if b in self._index and b not in known]
        if absent:
            known |= await self._db.read(lambda tx: data.sizes(tx, absent))
        for job in jobs:
            sizes[job.block] += job.size
        return {
            block: None
            for block, size in sizes.items()
            if known.get(block, 0) + size > self._limits.large_bytes
        }

    async def _carry_out_large(self, block: BlockId, jobs: Sequence[_Job[Any]]) -> None:
        """Run jobs on one large document, and commit the result."""
        self._held.pop(block, None)
        stored = (await self._db.read(lambda tx: data.stored(tx, [block]))).get(block)
        works = [job.work for job in jobs]
        always = self._limits.large_bytes + 1
        try:
            carried = await self._large_documents.work(
                always, carry_out, block, stored, works, self._limits
            )
        except UnreadableDocument as error:
            if len(jobs) == 1:
                _fail(jobs[0], error)
                return
            for job in jobs:  # one of them broke the document; only that one must fail
                await self._carry_out_large(block, [job])
            return
        await self._commit(carried.effects)
        self._publish([Published(*p) for p in carried.published])
        for job, (succeeded, result) in zip(jobs, carried.results, strict=True):
            if isinstance(result, Exception) and not succeeded:
                _fail(job, result)
            elif not job.done.done():
                job.done.set_result(result)

    async def _commit(self, effects: Sequence[data.Effect]) -> None:
        if effects:
            now_ms = self._now_ms()
            await self._db.write(lambda tx: data.commit(tx, effects, now_ms))
        for effect in effects:
            self._index[effect.id] = (effect.heap_id, effect.sync_version)
            if effect.derived is not None and effect.derived.permanent_at_ms is not None:
                self._gone.add(effect.id)
                self._on_gone(effect.id, effect.sync_version)

    async def _carry_out(self, jobs: Sequence[_Job[Any]]) -> None:
        wanted = {job.block for job in jobs}
        self._make_room(wanted)
        batch = Batch(await self._load(wanted), self._limits)
        time_slice = TimeSlice()
        answered: list[_Job[Any]] = []
        for job in jobs:
            try:
                self._check_loaded(job, batch)
                job.result = job.work(batch)
            except Exception as error:  # noqa: BLE001 - passed on to the caller
                _fail(job, error)
            else:
                answered.append(job)
            await time_slice.yield_if_over()
        effects = []
        for effect in batch.effects():
            effects.append(effect)
            await time_slice.yield_if_over()
        await self._commit(effects)
        self._publish_batch(batch)
        for job in answered:
            if not job.done.done():
                job.done.set_result(job.result)

    def _check_loaded(self, job: _Job[Any], batch: Batch) -> None:
        if job.block in self._index and batch.get(job.block) is None:
            raise UnreadableDocument(f"the stored document of block {job.block} can't be loaded")

    def _make_room(self, wanted: set[BlockId]) -> None:
        """Drop what was used longest ago, so that no more are loaded with the wanted ones."""
        others = [block for block in self._held if block not in wanted]
        for block in others[: max(0, len(others) + len(wanted) - self._limits.replicas)]:
            del self._held[block]

    async def _load(self, wanted: set[BlockId]) -> dict[BlockId, LoadedDocument]:
        absent = [b for b in wanted if b not in self._held and b in self._index]
        found = await self._db.read(lambda tx: data.stored(tx, absent)) if absent else {}
        time_slice = TimeSlice()
        for block, stored in found.items():
            try:
                self._held[block] = LoadedDocument.load(stored)
            except UnreadableDocument as error:
                # It was readable when it was stored: the library changed, or the disk is damaged.
                # It is kept unchanged; whoever tries to change it gets an error.
                log.warning("document can't be loaded", block=block, reason=str(error))
            await time_slice.yield_if_over()
        return {b: self._held[b] for b in wanted if b in self._held}

    def _publish_batch(self, batch: Batch) -> None:
        for block, held in batch.blocks.items():
            self._held[block] = held
            self._held.move_to_end(block)
        while len(self._held) > self._limits.replicas:
            self._held.popitem(last=False)
        self._publish([Published(*p) for p in batch.published])

    def _fail_all(self, jobs: Sequence[_Job[Any]], error: Exception) -> None:
        # Loaded documents may hold changes that were not stored: drop them, the tables are right.
        log.error("changes not stored", reason=str(error), jobs=len(jobs))
        self._held.clear()
        for job in jobs:
            _fail(job, error)


def _fail(job: _Job[Any], error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
