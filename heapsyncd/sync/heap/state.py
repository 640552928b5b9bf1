"""What the parts of one heap's mirror share."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TypeVar

from heapsyncd.backends.contract import Backend, LiveFeed
from heapsyncd.cache import blocks, entries, history, holds, pending, problems
from heapsyncd.cache.atwork import AtWork
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Hold
from heapsyncd.database import Database, Tx
from heapsyncd.document.replica import Replica, new_client_id
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Problem
from heapsyncd.sync.heap.gc_control import look_through
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.limits import RewriteLimit
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.problems import Problems
from heapsyncd.sync.heap.problems import shown as all_problems
from heapsyncd.sync.heap.recent_acks import RecentAcks
from heapsyncd.sync.heap.replica_cache import Replicas
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
class Wake:
    """What wakes the loops of a heap: set by whoever leaves work for one."""

    publish: asyncio.Event = field(default_factory=asyncio.Event)
    push: asyncio.Event = field(default_factory=asyncio.Event)
    pull: asyncio.Event = field(default_factory=asyncio.Event)
    transfer: asyncio.Event = field(default_factory=asyncio.Event)
    follow: asyncio.Event = field(default_factory=asyncio.Event)
    scan_all: bool = False
    """Whether the whole folder is to be scanned: there are files that belong to no block now."""


@dataclass
class ServerLink:
    """What is known of the server: whether its news was heard, and how far."""

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
    recent_acks: RecentAcks = field(default_factory=RecentAcks)
    live: LiveFeed | None = None
    """The live connection, while there is one."""
    follows_all: bool = False
    """Whether every note is followed over it."""
    oversized_at_s: float = math.inf
    """When, on the monotonic clock, to look for what only the live link takes (``oversized``)."""
    oversized_tries: int = 0

    def lost(self) -> None:
        """The server was lost: what happens there meanwhile is not known here."""
        self.current.clear()
        self.breaks += 1


@dataclass
class Layout:
    """Where blocks should stand in the folder, and what is not mirrored there."""

    rearrange: bool = True
    """Whether places have to be worked out anew."""
    places: dict[BlockId, str] = field(default_factory=dict)
    """Where blocks should stand, as last worked out."""
    ignore: Ignore = NO_RULES
    """What is never read or written; kept current by ``ignore_rules``."""
    hidden: set[BlockId] = field(default_factory=set)
    """Blocks that are not written because their place is ignored."""
    unmoved: set[str] = field(default_factory=set)
    """Paths whose contents are not sent or fetched because they are ignored."""
    placeholders: set[str] | None = None
    """Those that are on the disk; None before the first look."""


@dataclass
class Holds:
    """Deletions that wait for a person's word."""

    up: dict[str, Hold] = field(default_factory=dict)
    """Made here, by path."""
    down: dict[BlockId, Hold] = field(default_factory=dict)
    """Made on the server."""

    def add(self, hold: Hold) -> None:
        """A deletion is held now."""
        if hold.direction == "up":
            self.up[hold.path] = hold
        else:
            self.down[hold.block_id] = hold

    def remove(self, hold: Hold) -> None:
        """It is held no more."""
        if hold.direction == "up":
            self.up.pop(hold.path, None)
        else:
            self.down.pop(hold.block_id, None)

    def values(self) -> tuple[Hold, ...]:
        """All of them."""
        return (*self.up.values(), *self.down.values())


@dataclass
class TransferState:
    """How the transfers of contents stand."""

    limit_bytes: int | None = None
    """Larger contents stay on the server until somebody asks for them; None: none does."""
    put_off: dict[str, PutOff] = field(default_factory=dict)
    """Transfers that were refused, by path."""
    moved_bytes: dict[str, int] = field(default_factory=dict)
    """How far the transfers are, by path."""


@dataclass
class HeapContext:
    """One heap's mirror in memory: what its parts share.

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
    index: Index = field(default_factory=Index)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    client_id: int = field(default_factory=new_client_id)
    """Of this process's edits; a fresh one at every start (document/README)."""
    replicas: Replicas = field(default_factory=Replicas)
    wake: Wake = field(default_factory=Wake)
    link: ServerLink = field(default_factory=ServerLink)
    layout: Layout = field(default_factory=Layout)
    holds: Holds = field(default_factory=Holds)
    transfers: TransferState = field(default_factory=TransferState)
    problems: Problems = field(default_factory=Problems)
    """Trouble with files."""
    rewrites: RewriteLimit = field(default_factory=RewriteLimit)

    async def load_index(self) -> None:
        """Fill the index and the holds from the cache."""
        self.layout.rearrange = True
        self.index = await self.db.read(
            lambda tx: Index(
                blocks.of_heap(tx, self.id),
                entries.of_heap(tx, self.id),
                entries.aliases(tx, self.id),
                frozenset(blocks.unsent(tx, self.id)),
            )
        )

        # The configuration may ask for more now than it did.
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
            self.layout.rearrange = True

    def in_touch(self, breaks: int) -> None:
        """The server's news were received; ``breaks`` is as it was when they were asked for."""
        if breaks == self.link.breaks:
            self.link.current.set()
        else:
            self.wake.pull.set()

    def look_at_files(self) -> None:
        """There are files that are nobody's now: they are found as new ones."""
        self.wake.scan_all = self.report.reading = True
        self.wake.publish.set()

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
        self.link.recent_acks.forget()
        if not self.lock.locked():
            self.replicas.forget_views()
        look_through()

    async def release_holds(self, held: Sequence[Hold]) -> None:
        """They are held no more."""
        if not held:
            return
        await self.db.write(lambda tx: holds.release(tx, self.id, held))
        for hold in held:
            self.holds.remove(hold)
        self.wake.publish.set()

    async def count(self) -> None:
        """Bring the report's numbers and problems up to date."""
        moving = self.moving()
        self.problems.only("transfer", {e.path for e in moving})
        found = self.problems.rows()
        if found != self.problems.kept:
            await self.db.write(lambda tx: problems.save(tx, self.id, found))
            self.problems.kept = found
        index = self.index
        self.report.notes = index.notes
        self.report.pending_up = len(index.unsent | index.born)
        self.report.pending_down = len(index.wanted | (index.stale - self._waiting()))
        self.report.held_deletions = len(self.holds.values())
        self.report.notices = self._notices()
        self.report.transfers = [
            {
                "path": e.path,
                "direction": e.todo,
                "size": e.size,
                "done": self.transfers.moved_bytes.get(e.path, 0),
            }
            for e in moving
        ]
        self.report.problems = all_problems(
            (
                Problem(index.path_of.get(b, index.blocks[b].title), index.troubled[b])
                for b in sorted(index.troubled)
            ),
            found,
            lambda path: path in self.index.entries or bool(self.index.below(path)),
        )

    def _notices(self) -> list[str]:
        hidden = len(self.layout.hidden)
        found = (
            self.rewrites.notice(self.index.files(), time.monotonic()),
            f"{hidden} blocks are not written: .heaperignore names their places" if hidden else "",
            self.report.watch_trouble,
        )
        return [notice for notice in found if notice]

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

    def _waiting(self) -> set[BlockId]:
        """The blocks that are not published because their deletion is held."""
        return {
            h.block_id
            for h in self.holds.values()
            if h.role != "attachment" and (h.direction == "up") == self.index.is_live(h.block_id)
        }

    def moving(self) -> list[EntryRow]:
        """The contents that are to be sent or fetched, by path; what is ignored waits."""
        return [self.index.entries[p] for p in sorted(self.index.moving - self.layout.unmoved)]

    def hides(self, path: str, block: BlockId, rules: Ignore | None = None) -> bool:
        """Whether a block's place is ignored; by the present rules, unless others are given."""
        return (rules or self.layout.ignore).match(path, self.index.kind(block) == "folder")

    def on_demand(self, size_bytes: int) -> bool:
        """Whether a content of this size stays on the server until somebody asks for it."""
        limit = self.transfers.limit_bytes
        return limit is not None and size_bytes > limit

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
    return EntryRow(
        path=entry.path,
        block_id=entry.block_id,
        role=entry.role,
        key=entry.key,
        size=stat.size,
        mtime_ns=stat.mtime_ns,
        ctime_ns=stat.ctime_ns,
        inode=stat.inode,
        device=stat.device,
        digest=digest,
        todo=entry.todo,
    )
