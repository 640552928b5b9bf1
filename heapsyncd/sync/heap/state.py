"""What the parts of one heap's mirror share."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TypeVar

from heapsyncd.backends.contract import Backend, LiveFeed
from heapsyncd.cache import history, holds, pending, problems
from heapsyncd.cache.atwork import AtWork
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Hold
from heapsyncd.cache.problems import ProblemRow
from heapsyncd.database import Database, Tx
from heapsyncd.document.replica import Replica, new_client_id
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Stat
from heapsyncd.sync.heap.gc_control import look_through
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.limits import RewriteLimit
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.problems import Problems
from heapsyncd.sync.heap.recent_acks import RecentAcks
from heapsyncd.sync.heap.replica_cache import Replicas
from heapsyncd.sync.heap.status_report import count
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.heap.unit_of_work import Change, Stored
from heapsyncd.sync.report import PENDING_SHOWN, HeapReport, Progress, Report, shown

T = TypeVar("T")


def now_ms() -> int:
    """The client's clock, for stamps people read; never a cursor (PROTOCOL §5)."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class PutOff:
    """A transfer of one content that was refused."""

    key: str
    """The files_v0 key: another content is tried at once."""
    times: int
    not_before: float
    """Monotonic; infinite: not in this life."""


@dataclass
class HeapContext:
    """One heap's mirror in memory.

    ``lock``: held while a replica is read, changed and stored, and while files are written, so
    that no two of them interleave. Never held across a request to the server.
    """

    id: HeapId
    db: Database
    disk: HeapFolder
    backend: Backend
    report: HeapReport
    account: Report
    at_work: AtWork
    timing: Timing = DEFAULT
    index: Index = field(default_factory=Index)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    client_id: int = field(default_factory=new_client_id)
    """Of this process's edits; a fresh one at every start (document/README)."""
    replicas: Replicas = field(init=False)
    to_publish: asyncio.Event = field(default_factory=asyncio.Event)
    to_push: asyncio.Event = field(default_factory=asyncio.Event)
    to_pull: asyncio.Event = field(default_factory=asyncio.Event)
    to_transfer: asyncio.Event = field(default_factory=asyncio.Event)
    to_follow: asyncio.Event = field(default_factory=asyncio.Event)
    listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server's blocks are known, so that a file can be told from a new one."""
    current: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the server can be reached and what it had to say since then has been received:
    nothing is sent before that, on any path, so that a deletion is known before an edit is pushed
    over it, and an edit before a deletion is."""
    breaks: int = 0
    """How often the server was lost: news that were asked for before the last time are old."""
    cursor_ms: int | None = None
    """How far the delta feed was read; the cache's may lag behind by empty pages."""
    in_doubt: bool = True
    """Whether the server may have gone back in time since it was last heard."""
    doubted: set[BlockId] = field(default_factory=set)
    """Blocks of which the server seems to lack what it acknowledged: their whole states are asked
    for by the next pull."""
    in_trash: set[BlockId] = field(default_factory=set)
    """Blocks in the server's trash that the cache does not know."""
    to_look: bool = False
    """Whether the whole folder is to be looked at: files have become nobody's."""
    rearrange: bool = True
    """Whether places have to be worked out anew."""
    places: dict[BlockId, str] = field(default_factory=dict)
    """Where blocks should stand, as last worked out."""
    problems: Problems = field(default_factory=Problems)
    """Trouble with files."""
    kept_problems: tuple[ProblemRow, ...] = ()
    """As the cache has it."""
    held_up: dict[str, Hold] = field(default_factory=dict)
    """Deletions made here that wait for a person's word, by path."""
    held_down: dict[BlockId, Hold] = field(default_factory=dict)
    """Deletions made on the server that wait for a person's word."""
    sent: RecentAcks = field(default_factory=RecentAcks)
    live: LiveFeed | None = None
    """The live connection, while there is one."""
    follows_all: bool = False
    """Whether every note is followed over it."""
    large_at_s: float = math.inf
    """When, on the monotonic clock, to look for what only the live link takes (``oversized``)."""
    large_tries: int = 0
    watch_trouble: str | None = None
    """Why the folder is not watched but looked at now and then; None: it is watched."""
    began_ns: int = field(default_factory=time.time_ns)
    """When this life began, by the clock that stamps files."""
    rewrites: RewriteLimit = field(default_factory=RewriteLimit)
    ignore: Ignore = NO_RULES
    """What is never read or written; kept current by ``ignore_rules``."""
    hidden: set[BlockId] = field(default_factory=set)
    """Blocks that are not written because their place is ignored."""
    unmoved: set[str] = field(default_factory=set)
    """Paths whose contents are not sent or fetched because they are ignored."""
    placeholders: set[str] | None = None
    """Those that are on the disk; None before the first look."""
    put_off: dict[str, PutOff] = field(default_factory=dict)
    """Transfers that were refused, by path."""
    moved_bytes: dict[str, int] = field(default_factory=dict)
    """How far the transfers are, by path."""
    files_limit_bytes: int | None = None
    """Larger contents stay on the server until somebody asks for them; None: none does."""

    def __post_init__(self) -> None:
        self.replicas = Replicas()

    async def load_index(self) -> None:
        """Fill the index and the holds from the cache."""
        self.rearrange = True
        self.index = await self.db.read(lambda tx: Index.of_heap(tx, self.id))

        # The configuration may ask for more now than it did.
        asked = [
            replace(e, todo="download")
            for e in (self.index.entries[p] for p in self.index.remote)
            if not self.on_demand(e.size or 0)
        ]
        await self.store(lambda change: change.save(asked))

        held = await self.db.read(lambda tx: holds.of_heap(tx, self.id))
        self.held_up.clear()
        self.held_down.clear()
        for hold in held:
            self.hold(hold)
        self.problems = Problems(await self.db.read(lambda tx: problems.load(tx, self.id)))
        self.kept_problems = self.problems.rows()

    async def store(self, work: Callable[[Change], T]) -> T:
        """Carry out a unit of work in one transaction, and return what ``work`` returns. The index
        follows once it is committed; when it is not, nothing in memory has changed.

        Args:
            work: carried out in the thread of the database: it may read memory, never change it.

        Raises:
            FolderTrouble: the disk refused it; nothing was stored.
            Exception: whatever ``work`` raised; nothing was stored.
        """

        def run(tx: Tx) -> tuple[T, Stored]:
            change = Change(tx, self.id)
            return work(change), change.stored()

        result, _ = await self.db.write(run, lambda stored: self._follow(stored[1]))
        return result

    def _follow(self, stored: Stored) -> None:
        if stored.apply(self.index):
            self.rearrange = True

    def out_of_touch(self) -> None:
        """The server was lost: what happens there meanwhile is not known here."""
        self.current.clear()
        self.breaks += 1

    def in_touch(self, breaks: int) -> None:
        """The server's news were received; ``breaks`` is as it was when they were asked for."""
        if breaks == self.breaks:
            self.current.set()
        else:
            self.to_pull.set()

    def look_at_files(self) -> None:
        """There are files that are nobody's now: they are found as new ones."""
        self.to_look = self.report.reading = True
        self.to_publish.set()

    async def take_replica(self, state: BlockState, updates: Sequence[bytes]) -> Replica:
        """A block's replica, to be changed: it is not kept again until ``replicas.put``, so that
        one whose change was not stored is never seen by anybody else.

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

    def tidy(self) -> None:
        """Free the memory of what may not be asked for again; now and then."""
        self.sent.forget()
        if not self.lock.locked():
            self.replicas.forget_views()
        look_through()

    def hold(self, hold: Hold) -> None:
        """A deletion is held now."""
        if hold.direction == "up":
            self.held_up[hold.path] = hold
        else:
            self.held_down[hold.block_id] = hold

    async def release(self, held: Sequence[Hold]) -> None:
        """They are held no more."""
        if not held:
            return
        await self.db.write(lambda tx: holds.release(tx, self.id, held))
        for hold in held:
            if hold.direction == "up":
                self.held_up.pop(hold.path, None)
            else:
                self.held_down.pop(hold.block_id, None)
        self.to_publish.set()

    async def count(self) -> None:
        """Bring the report's numbers and problems up to date."""
        moving = self.moving()
        self.problems.only("transfer", {e.path for e in moving})
        found = self.problems.rows()
        if found != self.kept_problems:
            await self.db.write(lambda tx: problems.save(tx, self.id, found))
            self.kept_problems = found
        held = [*self.held_up.values(), *self.held_down.values()]
        count(self.report, self.index, held, found, moving, self.moved_bytes)
        notice = self.rewrites.notice(self.index.files(), time.monotonic())
        self.report.notices = [] if notice is None else [notice]
        if self.hidden:
            self.report.notices.append(
                f"{len(self.hidden)} blocks are not written: .heaperignore names their places"
            )
        if self.watch_trouble is not None:
            self.report.notices.append(self.watch_trouble)

    async def recount(self) -> None:
        """The same, with what is looked up only for those who ask: which notes are pending and
        why, and what a person should look at.
        """
        await self.count()
        waiting, reviews = await self.db.read(
            lambda tx: (
                pending.pending(tx, self.id, PENDING_SHOWN),
                history.notices(tx, self.id),
            )
        )
        self.report.pending = shown(waiting, self.index.path_of)
        self.report.notices += reviews

    def moving(self) -> list[EntryRow]:
        """The contents that are to be sent or fetched, by path; what is ignored waits."""
        return [self.index.entries[p] for p in sorted(self.index.moving - self.unmoved)]

    def hides(self, path: str, block: BlockId, rules: Ignore | None = None) -> bool:
        """Whether a block's place is ignored; by the present rules, unless others are given."""
        return (rules or self.ignore).match(path, self.index.kind(block) == "folder")

    def on_demand(self, size_bytes: int) -> bool:
        """Whether a content of this size stays on the server until somebody asks for it."""
        return self.files_limit_bytes is not None and size_bytes > self.files_limit_bytes

    def step(self, work: str, done: int, total: int) -> None:
        """Tell of progress."""
        self.account.step(Progress(f"{self.report.title}: {work}", done, total))

    def folder_of(self, tags: tuple[BlockId, ...]) -> BlockId | None:
        """The folder among a block's tags, the smallest id of several (PROTOCOL §8)."""
        return min((t for t in tags if self.index.kind(t) == "folder"), default=None)

    def parent_of(self, path: str) -> BlockId | None:
        """The folder block of the directory a path stands in."""
        parent = str(PurePosixPath(path).parent)
        return None if parent == "." else self.index.folder_at(parent)


def stamped(entry: EntryRow, stat: Stat, digest: bytes | None) -> EntryRow:
    """The entry with the disk's stamps."""
    return replace(entry, stat=stat, digest=digest, awaited_size=None)
