"""The one writer of blocks: changes are judged one after the other and committed in groups.

Whatever changes a block (push, socket, insert, upload, compaction) is a *job* in one queue. The
writer takes what is waiting, loads the documents it needs, lets each job work on them, and commits
all of it in one transaction; only then are the jobs answered and the changes told to ``publish``.
So an acknowledged change is on the disk, two changes of one block never race, and under load many
changes share one fsync.

A document that is large, or becomes so, is worked on in ``large_documents``: one call of that
process for all jobs of the document in a group.

Readers (pull, delta, a socket's first step) look at the tables, never at the loaded replicas: what
nobody has committed nobody gets to see.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from heapsyncd.database import Database
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import data
from heapsyncd.server.cooperative_yield import Turn
from heapsyncd.server.large_documents import LargeDocuments, carry_out
from heapsyncd.server.limits import Limits
from heapsyncd.server.loaded_documents import Batch, LoadedDocument
from heapsyncd.server.refusal import Refusal

T = TypeVar("T")
log = structlog.get_logger(__name__)

GROUP_JOBS = 256


@dataclass(frozen=True, slots=True)
class Published:
    """A committed change of a document, for whoever follows it."""

    block: BlockId
    sync_version: int
    update: bytes
    origin: int | None
    """The number of the seat that sent it, and need not be told."""
    replaced_version: int | None = None
    """Given: a compaction ended this version; ``update`` is then empty."""


@dataclass(slots=True)
class _Job(Generic[T]):
    block: BlockId
    work: Callable[[Batch], T]
    size: int
    done: "asyncio.Future[T]"
    result: T | None = None


class Documents:
    """All blocks' documents. ``run`` is the writer; it must be running for any change to be
    answered.

    Args:
        db: the server's database.
        limits: how many replicas stay loaded, when a log is folded.
        now_ms: the wall clock.
        publish: called on the loop after each commit with what was committed, in order.
        gone: called then for each block that was deleted for good, with its version.
        apart: where large documents are worked on.
    """

    def __init__(
        self,
        db: Database,
        limits: Limits,
        now_ms: Callable[[], int],
        publish: Callable[[Sequence[Published]], None],
        gone: Callable[[BlockId, int], None],
        apart: LargeDocuments,
    ) -> None:
        self._db = db
        self._limits = limits
        self._now_ms = now_ms
        self._publish = publish
        self._tell_gone = gone
        self._apart = apart
        self._gone: set[BlockId] = set()
        self._queue: asyncio.Queue[_Job[Any] | None] = asyncio.Queue()
        self._held: OrderedDict[BlockId, LoadedDocument] = OrderedDict()
        self._index: dict[BlockId, tuple[HeapId, int]] = {}
        self._closed = False

    async def open(self) -> None:
        """Read the index of all blocks."""
        self._index = await self._db.read(data.index)
        self._gone = await self._db.read(data.permanent)

    def where(self, block: BlockId) -> tuple[HeapId, int] | None:
        """The block's heap and current version, None when there is none, or none any more."""
        return None if block in self._gone else self._index.get(block)

    def is_gone(self, block: BlockId) -> bool:
        """Whether it was deleted for good."""
        return block in self._gone

    def change(
        self, block: BlockId, work: Callable[[Batch], T], size: int = 0
    ) -> "asyncio.Future[T]":
        """Carry out ``work`` on the loaded block; its result comes once it is committed.

        Changes of a block are made in the order of the calls. ``work`` must not await, and must
        raise before it changes anything. It may be done in another process: it is a function of
        the package with values for arguments. ``size``: the bytes it brings. When the caller is
        cancelled the change may still be made. The future raises:

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
        """Let the writer finish what was asked for, then end."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    async def run(self) -> None:
        """The writer; ends after ``close``."""
        more = True
        while more:
            first = await self._queue.get()
            if first is None:
                return
            jobs, more = self._gather(first)
            try:
                large = await self._large(jobs)
                small = [job for job in jobs if job.block not in large]
                if small:
                    await self._carry_out(small)
                for block in large:
                    await self._carry_out_apart(block, [j for j in jobs if j.block == block])
            except Exception as error:  # noqa: BLE001 - every waiting caller has to hear of it
                self._give_up(jobs, error)

    def _gather(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        jobs = [first]
        while len(jobs) < GROUP_JOBS and not self._queue.empty():
            job = self._queue.get_nowait()
            if job is None:
                return jobs, False
            jobs.append(job)
        return jobs, True

    async def _large(self, jobs: Sequence[_Job[Any]]) -> dict[BlockId, None]:
        """Which documents would be large with what the jobs bring, in the jobs' order."""
        sizes: dict[BlockId, int] = {job.block: 0 for job in jobs}
        known = {b: h.state_bytes + h.log_bytes for b, h in self._held.items() if b in sizes}
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

    async def _carry_out_apart(self, block: BlockId, jobs: Sequence[_Job[Any]]) -> None:
        """Have jobs on one large document done, and commit what came of them."""
        self._held.pop(block, None)
        stored = (await self._db.read(lambda tx: data.stored(tx, [block]))).get(block)
        works = [job.work for job in jobs]
        always = self._limits.large_bytes + 1
        try:
            carried = await self._apart.work(always, carry_out, block, stored, works, self._limits)
        except UnreadableDocument as error:
            if len(jobs) == 1:
                _fail(jobs[0], error)
                return
            for job in jobs:  # one of them broke it, and alone shall hear of it
                await self._carry_out_apart(block, [job])
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
                self._tell_gone(effect.id, effect.sync_version)

    async def _carry_out(self, jobs: Sequence[_Job[Any]]) -> None:
        batch = Batch(await self._load({job.block for job in jobs}), self._limits)
        turn = Turn()
        answered: list[_Job[Any]] = []
        for job in jobs:
            try:
                self._check_loaded(job, batch)
                job.result = job.work(batch)
            except Exception as error:  # noqa: BLE001 - it is the caller's, whatever it is
                _fail(job, error)
            else:
                answered.append(job)
            await turn.over()
        effects = []
        for effect in batch.effects():
            effects.append(effect)
            await turn.over()
        await self._commit(effects)
        self._settle(batch)
        for job in answered:
            if not job.done.done():
                job.done.set_result(job.result)

    def _check_loaded(self, job: _Job[Any], batch: Batch) -> None:
        if job.block in self._index and batch.get(job.block) is None:
            raise UnreadableDocument(f"the stored document of block {job.block} can't be loaded")

    async def _load(self, wanted: set[BlockId]) -> dict[BlockId, LoadedDocument]:
        absent = [b for b in wanted if b not in self._held and b in self._index]
        found = await self._db.read(lambda tx: data.stored(tx, absent)) if absent else {}
        turn = Turn()
        for block, stored in found.items():
            try:
                self._held[block] = LoadedDocument.load(stored)
            except UnreadableDocument as error:
                # It was readable when it was stored: another version of the library, or a damaged
                # disk. It is left as it is; whoever wants to change it hears of it.
                log.warning("a document can't be loaded", block=block, reason=str(error))
            await turn.over()
        return {b: self._held[b] for b in wanted if b in self._held}

    def _settle(self, batch: Batch) -> None:
        for block, held in batch.blocks.items():
            self._held[block] = held
            self._held.move_to_end(block)
        while len(self._held) > self._limits.replicas:
            self._held.popitem(last=False)
        self._publish([Published(*p) for p in batch.published])

    def _give_up(self, jobs: Sequence[_Job[Any]], error: Exception) -> None:
        # What is loaded may hold changes that were never stored: forget it, the tables are right.
        log.error("changes could not be stored", reason=str(error), jobs=len(jobs))
        self._held.clear()
        for job in jobs:
            _fail(job, error)


def _fail(job: _Job[Any], error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
