"""Edge: handle large documents in another process.

The document library holds the interpreter's lock while it works, for seconds on a document of some
megabytes, so a thread would block the loop all the same. The work is a plain function of values
and can run anywhere. Whatever it does to its process, including running out of memory or time, is
contained there.
"""

import asyncio
import resource
import signal
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar, TypeVarTuple

import structlog
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.errors import UnreadableDocument
from heapsyncd.ids import BlockId
from heapsyncd.server.data import Effect, Stored
from heapsyncd.server.limits import Limits
from heapsyncd.server.loaded_documents import Batch, LoadedDocument

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
log = structlog.get_logger(__name__)

_REMEMBERED = 8
"""The documents that the process keeps loaded, because somebody is editing them."""


class LargeDocuments:
    """The other process; started on first use. ``close`` it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool: ProcessPoolExecutor | None = None

    async def work(self, size: int, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return the function's result; it runs in this process when ``size``, in bytes, is small.

        Raises:
            UnreadableDocument: it broke the other process twice.
            Exception: what the function raised.
        """
        if size <= self._limits.large_bytes:
            return function(*args)
        for _ in range(2):  # other work may have broken the process
            pool = self._pool = self._pool or self._started()
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(
                    pool, _timed, self._limits.large_s, function, *args
                )
            except BrokenProcessPool:
                if self._pool is pool:
                    self._pool = None
                pool.shutdown(wait=False)
                log.warning("the process for large documents died", bytes=size)
        raise UnreadableDocument("working on it takes too much time or memory, or crashes")

    async def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,  # one worker, so that all loaded documents are in the same process
            mp_context=get_context("spawn"),
            initializer=_prepare,
            initargs=(self._limits.large_memory_bytes,),
        )


class Carried(Struct, frozen=True):
    """The result of jobs on one document."""

    results: list[tuple[bool, object]]
    """For each job: whether it succeeded, and its result or error."""
    effects: list[Effect]
    published: list[tuple[BlockId, int, bytes, int | None, int | None]]


def carry_out(
    block: BlockId,
    stored: Stored | None,
    works: Sequence[Callable[[Batch], object]],
    limits: Limits,
) -> Carried:
    """Run jobs on one document; returns what is to be committed.

    Raises:
        UnreadableDocument: the document can't be loaded.
    """
    held = None if stored is None else _loaded(stored)
    batch = Batch({} if held is None else {block: held}, limits)
    results: list[tuple[bool, object]] = []
    for work in works:
        try:
            results.append((True, work(batch)))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - passed on to the caller
            results.append((False, error))
    effects = list(batch.effects())
    if (after := batch.get(block)) is not None:
        for effect in effects:
            stored = _stored_after(stored, effect)
        if stored is not None:
            _keep(stored, after)
    return Carried(results, effects, batch.published)


_remembered: OrderedDict[BlockId, tuple[Stored, LoadedDocument]] = OrderedDict()
"""In the other process: documents as they will be stored once their effects are committed."""


def _loaded(stored: Stored) -> LoadedDocument:
    # What was answered may not have been committed, so the stored bytes must be the same.
    before, held = _remembered.pop(stored.id, (None, None))
    return held if held is not None and before == stored else LoadedDocument.load(stored)


def _keep(stored: Stored, held: LoadedDocument) -> None:
    _remembered[stored.id] = stored, held
    while len(_remembered) > _REMEMBERED:
        _remembered.popitem(last=False)


def _stored_after(stored: Stored | None, effect: Effect) -> Stored:
    """Return what the tables hold once an effect is committed."""
    if stored is None:
        stored = Stored(
            effect.id, effect.heap_id, effect.kind, effect.row_title, 1, b"", (), incomplete=False
        )
    stored = replace(stored, sync_version=effect.sync_version)
    if effect.state is not None:
        return replace(stored, state=effect.state, log=(), incomplete=effect.incomplete)
    if effect.appended:
        log_ = (*stored.log, *effect.appended)
        return replace(stored, log=log_, incomplete=effect.incomplete)
    return stored


def _prepare(memory_bytes: int) -> None:
    # The terminal's Ctrl-C also reaches this process, but the server ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _timed(seconds: int, function: Callable[..., T], *args: object) -> T:
    """Call the function; the process is killed when it takes more processor time than this."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return function(*args)
    except MemoryError as error:
        raise UnreadableDocument("working on it takes too much memory") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
