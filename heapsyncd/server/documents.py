"""The one writer of blocks: changes are judged one after the other and committed in groups.

Whatever changes a block (push, socket, insert, upload, compaction) is a *job* in one queue. The
writer takes what is waiting, loads the documents it needs, lets each job work on them, and commits
all of it in one transaction; only then are the jobs answered and the changes told to ``publish``.
So an acknowledged change is on the disk, two changes of one block never race, and under load many
changes share one fsync.

Readers (pull, delta, a socket's first step) look at the tables, never at the loaded replicas: what
nobody has committed nobody gets to see.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from heapsyncd.database import Database
from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.server import data
from heapsyncd.server.held import Batch, Held
from heapsyncd.server.limits import Limits
from heapsyncd.server.refusal import Refusal
from heapsyncd.server.turn import Turn

T = TypeVar("T")
log = structlog.get_logger(__name__)

GROUP_JOBS = 256
GROUP_BLOCKS = 1_000


@dataclass(frozen=True, slots=True)
class Published:
    """A committed change of a document, for whoever follows it."""

    block: BlockId
    sync_version: int
    update: bytes
    origin: object | None
    """Whoever sent it, and need not be told."""
    replaced_version: int | None = None
    """Given: a compaction ended this version; ``update`` is then empty."""


@dataclass(slots=True)
class _Job(Generic[T]):
    blocks: frozenset[BlockId]
    work: Callable[[Batch], T]
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
    """

    def __init__(
        self,
        db: Database,
        limits: Limits,
        now_ms: Callable[[], int],
        publish: Callable[[Sequence[Published]], None],
    ) -> None:
        self._db = db
        self._limits = limits
        self._now_ms = now_ms
        self._publish = publish
        self._queue: asyncio.Queue[_Job[Any] | None] = asyncio.Queue()
        self._held: OrderedDict[BlockId, Held] = OrderedDict()
        self._index: dict[BlockId, tuple[HeapId, int]] = {}
        self._closed = False

    async def open(self) -> None:
        """Read the index of all blocks."""
        self._index = await self._db.read(data.index)

    def where(self, block: BlockId) -> tuple[HeapId, int] | None:
        """The block's heap and current version, None when there is no such block."""
        return self._index.get(block)

    def change(self, blocks: Iterable[BlockId], work: Callable[[Batch], T]) -> "asyncio.Future[T]":
        """Carry out ``work`` on the loaded blocks; its result comes once it is committed.

        Changes are made in the order of the calls. ``work`` must not await, and must raise before
        it changes anything. When the caller is cancelled the change may still be made. The future
        raises:

        Raises:
            FolderTrouble: it could not be committed; nothing was stored.
            Refusal: the server is closing.
            Exception: what ``work`` raised.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(Refusal(503, "the server is closing"))
        else:
            self._queue.put_nowait(_Job(frozenset(blocks), work, done))
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
                await self._carry_out(jobs)
            except Exception as error:  # noqa: BLE001 - every waiting caller has to hear of it
                self._give_up(jobs, error)

    def _gather(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        jobs, blocks = [first], len(first.blocks)
        while len(jobs) < GROUP_JOBS and blocks < GROUP_BLOCKS and not self._queue.empty():
            job = self._queue.get_nowait()
            if job is None:
                return jobs, False
            jobs.append(job)
            blocks += len(job.blocks)
        return jobs, True

    async def _carry_out(self, jobs: Sequence[_Job[Any]]) -> None:
        wanted = set().union(*(job.blocks for job in jobs))
        batch = Batch(await self._load(wanted), self._limits)
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
        if effects:
            now_ms = self._now_ms()
            await self._db.write(lambda tx: data.commit(tx, effects, now_ms))
        self._settle(batch, effects)
        for job in answered:
            if not job.done.done():
                job.done.set_result(job.result)

    def _check_loaded(self, job: _Job[Any], batch: Batch) -> None:
        for block in job.blocks:
            if block in self._index and batch.get(block) is None:
                raise UnreadableDocument(f"the stored document of block {block} can't be loaded")

    async def _load(self, wanted: set[BlockId]) -> dict[BlockId, Held]:
        absent = [b for b in wanted if b not in self._held and b in self._index]
        found = await self._db.read(lambda tx: data.stored(tx, absent)) if absent else {}
        turn = Turn()
        for block, stored in found.items():
            try:
                self._held[block] = Held.load(stored)
            except UnreadableDocument as error:
                # It was readable when it was stored: another version of the library, or a damaged
                # disk. It is left as it is; whoever wants to change it hears of it.
                log.warning("a document can't be loaded", block=block, reason=str(error))
            await turn.over()
        return {b: self._held[b] for b in wanted if b in self._held}

    def _settle(self, batch: Batch, effects: Sequence[data.Effect]) -> None:
        for effect in effects:
            self._index[effect.id] = (effect.heap_id, effect.sync_version)
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
