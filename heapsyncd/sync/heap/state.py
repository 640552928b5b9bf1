"""The context that the parts of one heap's mirror share."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.backends.contract import Backend
from heapsyncd.backoff import Paced
from heapsyncd.cache import history, holds, pending, problems
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Hold
from heapsyncd.database import Database, Tx
from heapsyncd.document.replica import Replica, new_client_id
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import HEAPER, Dialect, HistoryLimits, LineBreaks, Stat
from heapsyncd.processes import Processes
from heapsyncd.sync.heap.confirmer import Confirmer
from heapsyncd.sync.heap.gc_control import collect_everything, give_back
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.limits import KEPT_AT_REST, MUCH_WORK, RewriteLimit
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.problems import Problems
from heapsyncd.sync.heap.replica_cache import Replicas
from heapsyncd.sync.heap.server_link import ServerLink
from heapsyncd.sync.heap.status_report import count
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.heap.traffic import Traffic
from heapsyncd.sync.heap.unit_of_work import Change, Stored
from heapsyncd.sync.report import (
    PENDING_SHOWN,
    HeapReport,
    Progress,
    Report,
    Speed,
    pending_as_dicts,
)

T = TypeVar("T")


def now_ms() -> int:
    """Return the client's time, for stamps that people read; never a cursor (PROTOCOL §5)."""
    return time.time_ns() // 1_000_000


class PutOff(Struct, frozen=True):
    """A transfer that was refused and is retried later."""

    key: str
    """The files_v0 key: another content at this path is tried at once."""
    times: int
    not_before: float
    """Monotonic seconds; infinite: not before a restart."""


@dataclass
class Wake:
    """The events that wake a heap's loops; set by whoever leaves work for one."""

    publish: asyncio.Event = field(default_factory=asyncio.Event)
    push: asyncio.Event = field(default_factory=asyncio.Event)
    pull: asyncio.Event = field(default_factory=asyncio.Event)
    transfer: asyncio.Event = field(default_factory=asyncio.Event)
    follow: asyncio.Event = field(default_factory=asyncio.Event)
    poll_soon: Paced = field(init=False)
    """Sets ``pull``, at a time when not all devices do so."""
    scan_all: bool = False
    """Scan the whole folder: some files no longer belong to any block."""

    def __post_init__(self) -> None:
        """Connect what is asked for with its event."""
        self.poll_soon = Paced(self.pull.set)


@dataclass
class Layout:
    """Where blocks should be in the folder, and what is not mirrored there."""

    rearrange: bool = True
    """Whether paths have to be computed again."""
    places: dict[BlockId, str] = field(default_factory=dict)
    """The paths of blocks, as last computed."""
    ignore: Ignore = NO_RULES
    """What is never read or written; kept up to date by ``ignore_rules``."""
    hidden: set[BlockId] = field(default_factory=set)
    """Blocks that are not written because their paths are ignored."""
    unmoved: set[str] = field(default_factory=set)
    """Paths whose contents are not sent or fetched because they are ignored."""
    placeholders: set[str] | None = None
    """The placeholders on disk; None before the first scan for them."""
    audited: BlockId | None = None
    """The last note that an audit compared with its file; None: it begins with the first."""
    unsourced: dict[BlockId, tuple[int, float]] = field(default_factory=dict)
    """Notes whose documents have lost their source: the state where that was seen (the number of
    its last log row), and when to put the source of the file back (monotonic seconds; infinite:
    that was tried)."""


@dataclass
class Holds:
    """Deletions that wait for a person's decision."""

    up: dict[str, Hold] = field(default_factory=dict)
    """Deletions made here, by path."""
    down: dict[BlockId, Hold] = field(default_factory=dict)
    """Deletions made on the server, by block."""
    confirmed: dict[BlockId, int] = field(default_factory=dict)
    """The times of deletions that are known to be confirmed, by block."""
    is_asked: bool = True
    """Whether there may be decisions that are not carried out."""

    def add(self, hold: Hold) -> None:
        """Add a hold."""
        if hold.direction == "up":
            self.up[hold.path] = hold
        else:
            self.down[hold.block_id] = hold

    def remove(self, hold: Hold) -> None:
        """Remove a hold."""
        if hold.direction == "up":
            self.up.pop(hold.path, None)
        else:
            self.down.pop(hold.block_id, None)

    def values(self) -> tuple[Hold, ...]:
        """Return all holds."""
        return (*self.up.values(), *self.down.values())


@dataclass
class TransferState:
    """The state of the transfers of contents."""

    limit_bytes: int | None = None
    """Larger contents stay on the server until requested; None: no limit."""
    put_off: dict[str, PutOff] = field(default_factory=dict)
    """Refused transfers, by path."""
    moved_bytes: dict[str, int] = field(default_factory=dict)
    """The progress of transfers, by path."""
    speeds: dict[str, Speed] = field(default_factory=dict)
    """The speeds of running transfers, by path."""


@dataclass
class HeapContext:
    """One heap's mirror in memory: what its parts share.

    ``lock`` is held while a replica is read, changed and stored, and while files are written, so
    that these never interleave. It is never held during a request to the server.
    """

    id: HeapId
    db: Database
    disk: HeapFolder
    backend: Backend
    report: HeapReport
    account: Report
    at_work: AtWork
    timing: Timing = DEFAULT
    carries_source: bool = True
    """Whether documents carry the sources of their files (setting ``source``)."""
    line_breaks: LineBreaks = "space"
    """What line ends in the paragraphs of new notes mean (setting ``line_breaks``)."""
    dialect: Dialect = HEAPER
    """How the server differs from a Heaper server; the backend's."""
    history_limits: HistoryLimits = field(default_factory=HistoryLimits)
    """How long earlier texts are kept."""
    confirmer: Confirmer | None = None
    """Tells one's other devices which deletions were confirmed; None: nobody is told."""
    processes: Processes = field(default_factory=Processes)
    """Other processes, for work on many notes."""
    index: Index = field(default_factory=Index)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    client_id: int = field(default_factory=new_client_id)
    """The author id of this process's edits; new at every start (document/README)."""
    replicas: Replicas = field(default_factory=Replicas)
    wake: Wake = field(default_factory=Wake)
    link: ServerLink = field(default_factory=ServerLink)
    layout: Layout = field(default_factory=Layout)
    holds: Holds = field(default_factory=Holds)
    transfers: TransferState = field(default_factory=TransferState)
    problems: Problems = field(default_factory=Problems)
    """Problems with files."""
    rewrites: RewriteLimit = field(default_factory=RewriteLimit)
    traffic: Traffic = field(default_factory=Traffic)
    _reviews: tuple[str, ...] = field(default=(), init=False)
    """What a person should look at, as last looked up."""
    _passed_at_rest: int = field(default=0, init=False)
    """How many changes had passed when memory was given back last."""

    async def close(self) -> None:
        """Release the folder, and end other processes."""
        await self.processes.close()
        await self.disk.close()

    async def load_index(self) -> None:
        """Load the index, the holds and the problems from the cache."""
        self.layout.rearrange = True
        self.index = await self.db.read(lambda tx: Index.of_heap(tx, self.id, self.dialect))

        # The configured size limit may be higher than before.
        asked = [
            replace(e, todo="download")
            for e in (self.index.entries[p] for p in self.index.remote)
            if not self.on_demand(e.size or 0)
        ]
        await self.store(lambda change: change.save(asked))

        self.holds = Holds()
        for hold in await self.db.read(lambda tx: holds.of_heap(tx, self.id)):
            self.holds.add(hold)
        self.problems = Problems(await self.db.read(lambda tx: problems.load(tx, self.id)))
        self._reviews = tuple(await self.db.read(lambda tx: history.notices(tx, self.id)))
        self.report.reviews = len(self._reviews)

    async def store(self, work: Callable[[Change], T]) -> T:
        """Run a unit of work in one transaction; return the result of ``work``.

        The index is updated after the commit. If that fails, nothing in memory has changed.

        Args:
            work: runs in the database's thread; it may read shared memory, never change it.

        Raises:
            FolderTrouble: the disk refused the write; nothing was stored.
            Exception: any exception of ``work``; nothing was stored.
        """

        def run(tx: Tx) -> tuple[T, Stored]:
            change = Change(tx, self.id, self.index, self.traffic, now_ms())
            return work(change), change.stored()

        result, _ = await self.db.write(run, lambda stored: self._follow(stored[1]))
        return result

    def _follow(self, stored: Stored) -> None:
        if stored.apply(self.index):
            self.layout.rearrange = True
        stored.follow(self.traffic, self.report.title)

    def in_touch(self, breaks: int) -> None:
        """Note that news was received; ``breaks`` is the count when it was requested."""
        if not self.link.received(breaks):
            self.wake.pull.set()
        if self.link.files_wait:
            self.link.files_wait = False
            self.request_rescan()

    def refollow(self, blocks: Iterable[BlockId]) -> None:
        """Have it looked up whether blocks can be followed live."""
        if self.link.live is not None:
            self.link.refollow.update(blocks)
            self.wake.follow.set()

    def request_rescan(self) -> None:
        """Have the whole folder scanned: files without a block are found as new ones."""
        self.wake.scan_all = self.report.reading = True
        self.wake.publish.set()

    async def take_replica(self, state: BlockState, updates: Sequence[bytes]) -> Replica:
        """Return a block's replica, removed from the shared cache, in order to change it.

        The caller puts it back with ``replicas.put`` when the change is stored, so that nobody
        sees a change that was not.

        Args:
            state: the block's row.
            updates: its log.

        Raises:
            UnreadableDocument: as Replica.load.
        """
        held = self.replicas.take(state.id, state.seq)
        if held is not None:
            return held
        return await offload(Replica.load, updates, self.client_id)

    async def tidy(self) -> None:
        """Free what may not be needed again, in memory and in the cache; call it now and then."""
        now, limits = now_ms(), self.history_limits
        await self.db.write(lambda tx: history.trim(tx, now, limits))
        self.link.recent_acks.tidy(time.monotonic())
        if not self.lock.locked():
            self.replicas.forget_views()
        collect_everything()

    async def rest(self) -> None:
        """Free what much work has left behind; call it while everything is in sync."""
        passed = self.traffic.passed.total()
        if passed - self._passed_at_rest >= MUCH_WORK and not self.lock.locked():
            self._passed_at_rest = passed
            self.replicas.keep(KEPT_AT_REST)
            self.replicas.forget_views()
            await asyncio.to_thread(give_back)

    async def release_holds(
        self, held: Sequence[Hold], first: Callable[[Tx], None] | None = None
    ) -> None:
        """End these holds. ``first``: what to store before, in the same transaction."""
        if not held and first is None:
            return

        def store(tx: Tx) -> None:
            if first is not None:
                first(tx)
            holds.release(tx, self.id, held)

        await self.db.write(store)
        for hold in held:
            self.holds.remove(hold)
        self.wake.publish.set()

    async def count(self) -> None:
        """Update the report's numbers and problems, and store the problems."""
        moving = self.moving()
        self.problems.only("transfer", {e.path for e in moving})
        found = self.problems.rows()
        if found != self.problems.kept:
            await self.db.write(lambda tx: problems.save(tx, self.id, found))
            self.problems.kept = found
        held, moved = self.holds.values(), self.transfers.moved_bytes
        count(self.report, self.index, held, found, moving, moved, self.transfers.speeds)
        self.report.notices = [*self._notices(), *self._reviews]
        # Blocks with crossings may still change.
        crossed = self.link.recent_acks.crossed_blocks()
        self.report.pending_down += len(crossed - self.index.wanted - self.index.stale)

    def _notices(self) -> list[str]:
        hidden = len(self.layout.hidden)
        found = (
            self.rewrites.notice(self.index.files(), time.monotonic()),
            f"{hidden} blocks are not written: .heaperignore lists their paths" if hidden else "",
            self.report.watch_problem,
        )
        return [notice for notice in found if notice]

    async def recount(self) -> None:
        """Do the same, and look up pending notes and notices, which are only needed on request."""
        await self.count()
        waiting, reviews = await self.db.read(
            lambda tx: (
                pending.pending(tx, self.id, PENDING_SHOWN),
                history.notices(tx, self.id),
            )
        )
        self.report.pending = pending_as_dicts(waiting, self.index.path_of, self.report.folder)
        # Reviews stay reported when only the numbers are counted again, as any task may do.
        self._reviews, self.report.reviews = tuple(reviews), len(reviews)
        self.report.notices = [*self._notices(), *self._reviews]

    def moving(self) -> list[EntryRow]:
        """Return the contents to send or fetch, by path, without ignored ones."""
        return [self.index.entries[p] for p in sorted(self.index.moving - self.layout.unmoved)]

    def hides(self, path: str, block: BlockId, rules: Ignore | None = None) -> bool:
        """Return whether a block's path is ignored, by the present rules or by given ones."""
        return (rules or self.layout.ignore).match(path, self.index.kind(block) == "folder")

    def on_demand(self, size_bytes: int) -> bool:
        """Return whether a content of this size stays on the server until requested."""
        limit = self.transfers.limit_bytes
        return limit is not None and size_bytes > limit

    def step(self, work: str, done: int, total: int) -> None:
        """Report progress."""
        self.account.step(Progress(f"{self.report.title}: {work}", done, total))

    def block_in(self, ids: Iterable[str]) -> BlockId | None:
        """Return the block that a file is by the ids in it (``Index.ids_in``); None: no known one.

        An id of no block in this heap is the user's: he copied the file from elsewhere.
        """
        index, trashed = self.index, self.link.in_trash
        found = (index.block_with_id(i) or (BlockId(i) if i in trashed else None) for i in ids)
        return next((block for block in found if block is not None), None)

    def folder_of(self, tags: tuple[BlockId, ...]) -> BlockId | None:
        """Return the folder among a block's tags; of several, the smallest id (PROTOCOL §8)."""
        return min((t for t in tags if self.index.kind(t) == "folder"), default=None)

    def parent_of(self, path: str) -> BlockId | None:
        """Return the folder block of the directory a path is in; None for the root."""
        parent = path.rpartition("/")[0]
        return self.index.folder_at(parent) if parent else None


def stamped(entry: EntryRow, stat: Stat, digest: bytes | None) -> EntryRow:
    """Return the entry with new stamps."""
    return replace(entry, stat=stat, digest=digest, awaited_size=None)
