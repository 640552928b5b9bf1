"""What the parts of one heap's mirror share."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from heapsyncd.backends.contract import Backend, LiveFeed
from heapsyncd.cache import blocks, entries, history, holds, pending
from heapsyncd.cache.atwork import AtWork
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Hold
from heapsyncd.database import Database, Tx
from heapsyncd.document.replica import new_client_id
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Fields, Problem
from heapsyncd.sync.apart import SentLately
from heapsyncd.sync.guard import Rewrites
from heapsyncd.sync.index import Index
from heapsyncd.sync.interpreter import look_through
from heapsyncd.sync.replicas import Replicas
from heapsyncd.sync.report import PENDING_SHOWN, HeapReport, Progress, Report, shown


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
class HeapState:
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
    nothing is sent before that, so that a deletion is known before an edit is pushed over it."""
    cursor_ms: int | None = None
    """How far the delta feed was read; the cache's may lag behind by empty pages."""
    in_doubt: bool = True
    """Whether the server may have gone back in time since it was last heard."""
    in_trash: set[BlockId] = field(default_factory=set)
    """Blocks in the server's trash that the cache does not know."""
    rearrange: bool = True
    """Whether places have to be worked out anew."""
    places: dict[BlockId, str] = field(default_factory=dict)
    """Where blocks should stand, as last worked out."""
    file_problems: dict[str, str] = field(default_factory=dict)
    """Trouble with files, by path."""
    kept_problems: dict[str, str] = field(default_factory=dict)
    """As the cache has it."""
    held_up: dict[str, Hold] = field(default_factory=dict)
    """Deletions made here that wait for a person's word, by path."""
    held_down: dict[BlockId, Hold] = field(default_factory=dict)
    """Deletions made on the server that wait for a person's word."""
    sent: SentLately = field(default_factory=SentLately)
    live: LiveFeed | None = None
    """The live connection, while there is one."""
    large_at_s: float = math.inf
    """When, on the monotonic clock, to look for what only the live link takes (``large``)."""
    large_tries: int = 0
    watch_trouble: str | None = None
    """Why the folder is not watched but looked at now and then; None: it is watched."""
    began_ns: int = field(default_factory=time.time_ns)
    """When this life began, by the clock that stamps files."""
    rewrites: Rewrites = field(default_factory=Rewrites)
    ignore: Ignore = NO_RULES
    """What is never read or written; kept current by ``rules``."""
    hidden: set[BlockId] = field(default_factory=set)
    """Blocks that are not written because their place is ignored."""
    placeholders: set[str] | None = None
    """Those that are on the disk; None before the first look."""
    put_off: dict[str, PutOff] = field(default_factory=dict)
    """Transfers that were refused, by path."""
    moved_bytes: dict[str, int] = field(default_factory=dict)
    """How far the transfers are, by path."""
    files_limit_bytes: int | None = None
    """Larger contents stay on the server until somebody asks for them; None: none does."""

    def __post_init__(self) -> None:
        self.replicas = Replicas(self.client_id)

    async def load_index(self) -> None:
        """Fill the index and the holds from the cache; once more when a transaction failed."""
        self.rearrange = True
        self.index = await self.db.read(
            lambda tx: Index(
                blocks.of_heap(tx, self.id),
                entries.of_heap(tx, self.id),
                entries.aliases(tx, self.id),
            )
        )

        # The configuration may ask for more now than it did.
        asked = [
            replace(e, todo="download")
            for e in (self.index.entries[p] for p in self.index.remote)
            if not self.on_demand(e.size or 0)
        ]
        await self.db.write(lambda tx: entries.save(tx, self.id, asked))
        for entry in asked:
            self.index.put(entry)

        held = await self.db.read(lambda tx: holds.of_heap(tx, self.id))
        self.held_up.clear()
        self.held_down.clear()
        for hold in held:
            self.hold(hold)
        self.kept_problems = await self.db.read(lambda tx: entries.problems(tx, self.id))
        self.file_problems = dict(self.kept_problems)

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
        if self.file_problems != self.kept_problems:
            now = dict(self.file_problems)
            await self.db.write(lambda tx: entries.set_problems(tx, self.id, now))
            self.kept_problems = now
        (up, down), waiting, troubled, reviews = await self.db.read(
            lambda tx: (
                pending.counts(tx, self.id),
                pending.pending(tx, self.id, PENDING_SHOWN),
                blocks.problems(tx, self.id),
                history.notices(tx, self.id),
            )
        )
        self.report.notes = self.index.notes
        self.report.pending_up, self.report.pending_down = up, down
        self.report.pending = shown(waiting, self.index.path_of)
        self.report.held_deletions = len(self.held_up) + len(self.held_down)
        notice = self.rewrites.notice(self.index.files(), time.monotonic())
        self.report.notices = [] if notice is None else [notice]
        if self.hidden:
            self.report.notices.append(
                f"{len(self.hidden)} blocks are not written: .heaperignore names their places"
            )
        if self.watch_trouble is not None:
            self.report.notices.append(self.watch_trouble)
        self.report.notices += reviews
        self.report.transfers = [
            {
                "path": e.path,
                "direction": e.todo,
                "size": e.size,
                "done": self.moved_bytes.get(e.path, 0),
            }
            for e in (self.index.entries[p] for p in sorted(self.index.moving))
        ]
        self.report.problems = [
            Problem(self.index.path_of.get(i, title), reason) for i, title, reason in troubled
        ] + [Problem(p, r) for p, r in sorted(self.file_problems.items())]

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

    def described(self, state: BlockState, fields: Fields) -> dict[str, object]:
        """The columns of a block's row that its document decides."""
        deleted = fields.deleted_at_ms
        if deleted is None:
            deleted = fields.permanently_deleted_at_ms
        return {
            # Until the document has a title, the row's is the best hint (PROTOCOL §4).
            "title": fields.title or state.title,
            "folder_id": self.folder_of(fields.tags),
            "deleted_at_ms": deleted,
        }

    def learned(self, old: BlockState | None, new: BlockState) -> None:
        """A block's row changed: keep the index in step, and notice when places are affected."""
        self.index.know(new)
        if old is None or (old.title, old.folder_id, old.deleted_at_ms) != (
            new.title,
            new.folder_id,
            new.deleted_at_ms,
        ):
            self.rearrange = True

    def touch_related(self, tx: Tx, block: BlockId) -> None:
        """A tag or folder changed: what carries it has to be looked at again, in the same
        transaction.
        """
        for other in blocks.tagged(tx, block):
            state = blocks.get(tx, other)
            if state is None:
                continue
            folder = self.folder_of(tuple(blocks.tags(tx, other)))
            blocks.update(tx, other, folder_id=folder, stale=1)
            changed = blocks.get(tx, other)
            assert changed is not None
            self.learned(state, changed)


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
