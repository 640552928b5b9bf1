"""Say what a sync would do, and do nothing.

The mirror's own code decides, on a copy of the cache in memory and on a folder of which changes
are only noted: the server's news is received, the folder scanned, and the result published, as a
full pass does. Then the copy has what would be sent, and the notes have what would be changed
here. Nothing is sent, uploaded or downloaded.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.factory import open_backend
from heapsyncd.cache import heaps
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.holds import Hold
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.ignore import MARKER
from heapsyncd.folder.overlay import OverlayFolder
from heapsyncd.ids import BlockId
from heapsyncd.model import Heap
from heapsyncd.sync.cache_file import copy_cache, marks_path, recognise
from heapsyncd.sync.deletions.carry_out import carry_out
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.limits import RewriteLimit
from heapsyncd.sync.heap.paths import PARKING_PREFIX
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.layout.ignore_rules import IgnoreRules
from heapsyncd.sync.publish import publish
from heapsyncd.sync.pull.delta_feed import poll
from heapsyncd.sync.pull.pull import pull
from heapsyncd.sync.report import Report
from heapsyncd.sync.runtime.open_heap import is_selected, open_heap
from heapsyncd.sync.scan.scanner import Scanner

Action = Literal["send", "fetch", "rename", "delete", "hold"]

_AT_ONCE: Final[Timing] = replace(
    DEFAULT, quiet_s=0.0, shrunk_s=0.0, arrived_s=0.0, gone_s=0.0, gone_most_s=0.0, again_s=0.0
)
"""Nothing is waited for: what is on disk now is what counts."""
_ROUNDS: Final = 3
"""So often the server's news is read at most, while there is more."""


class Step(Struct, frozen=True):
    """One thing that a sync would do.

    ``side``: where something changes. ``is_new``: it does not exist there yet. ``to``: of a
    rename, the new path.
    """

    action: Action
    side: Literal["here", "server"]
    path: str
    is_new: bool = False
    to: str | None = None


async def preview(
    account: Account, state_dir: Path, *, only_first: bool = False
) -> list[dict[str, Any]]:
    """Return what a sync of an account would do, as in ``sync --dry-run --json``.

    Args:
        account: with its key or password.
        state_dir: the directory of its cache.
        only_first: leave out heaps that were mirrored before, or whose folder is empty.

    Raises:
        SignInRefused, OtherServer, Unreachable and their like: as a sync does.
    """
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(await copy_cache(account, state_dir))
        marks = stack.enter_context(AtWork.open_copy(marks_path(account, state_dir)))
        backend = await open_backend(account, db, partial(recognise, db, account))
        await stack.enter_async_context(backend)
        mirrored = {row.id for row in await db.read(heaps.load_all) if row.mirrored}
        found = []
        for heap in sorted(await backend.heaps(), key=lambda h: h.id):
            is_mine = account.selects_boxes or is_selected(account, heap.title, heap.id)
            if heap.encrypted or not is_mine or (only_first and heap.id in mirrored):
                continue
            one = _Look(account, db, backend, marks, heap)
            shown = await one.shown(only_full=only_first)
            if shown is not None:
                found.append({**shown, "first": heap.id not in mirrored})
        return found


async def may_be_first(account: Account) -> bool:
    """Return whether files are where a heap may be mirrored that never was; asks no server."""

    def look() -> bool:
        roots = [account.folder] if account.selects_boxes else [*account.folder.iterdir()]
        return any(
            root.is_dir() and not (root / MARKER).exists() and any(root.iterdir())
            for root in roots
        )

    try:
        return await asyncio.to_thread(look)
    except OSError:
        return False  # whoever mirrors it says what is wrong


class _Look(Struct, frozen=True):
    account: Account
    db: Database
    backend: Backend
    marks: AtWork
    heap: Heap

    async def shown(self, *, only_full: bool) -> dict[str, Any] | None:
        """Return the heap's part of the preview; None if its folder is empty and that matters."""
        report = Report(self.account.name)
        result: dict[str, Any] = {"id": self.heap.id, "title": self.heap.title}
        try:
            state = await open_heap(
                self.account, self.db, self.backend, report, self.heap, self.marks, _AT_ONCE,
                OverlayFolder,
            )  # fmt: skip
            if only_full and not (await state.disk.scan(state.layout.ignore)).entries:
                return None
            steps = await _steps(state)
        except FolderTrouble as error:
            folder, problem = str(self.account.folder), {"path": "", "reason": str(error)}
            return {**result, "folder": folder, "steps": [], "problems": [problem]}
        await state.recount()
        root = state.disk.root
        return {
            **result,
            "folder": str(root),
            "steps": [_as_dict(root, step) for step in steps],
            "problems": [{"path": p.path, "reason": p.reason} for p in state.report.problems],
        }


def _as_dict(root: Path, step: Step) -> dict[str, Any]:
    to = {} if step.to is None else {"to": step.to, "to_file": str(root / step.to)}
    return {
        "action": step.action,
        "side": step.side,
        "path": step.path,
        "file": str(root / step.path),
        "new": step.is_new,
        **to,
    }


class _Before(Struct, frozen=True):
    """A heap before the news and the folder's changes."""

    path_of: dict[BlockId, str]
    live: frozenset[BlockId]
    paths: frozenset[str]
    attachments: tuple[EntryRow, ...]
    """Those whose files are here."""

    @classmethod
    def of(cls, heap: HeapContext) -> "_Before":
        index = heap.index
        live = frozenset(b for b in index.blocks if index.is_live(b))
        attached = (e for e in index.entries.values() if e.role == "attachment" and e.stat)
        return cls(dict(index.path_of), live, frozenset(index.entries), tuple(attached))


async def _steps(heap: HeapContext) -> list[Step]:
    """Let the mirror work on the copy, and return what it did, without repetitions."""
    assert isinstance(heap.disk, OverlayFolder)
    heap.rewrites = RewriteLimit(burst=float(1 << 40))
    before = _Before.of(heap)
    for _ in range(_ROUNDS):
        news = await poll(heap)
        await pull(heap)
        if not news:
            break
    heap.in_touch(heap.link.breaks)
    again: set[str] = set()
    await carry_out(heap, again)
    rules = await IgnoreRules.load(heap)
    scanner = Scanner(heap, rules)
    for _ in range(_ROUNDS):
        await scanner.scan()
        if scanner.idle:
            break
    sent = list(_sent(heap, before))
    after = dict(heap.index.path_of)
    await publish(heap, again)
    steps = [*sent, *_changed_here(heap, before, after), *_held(heap)]
    return sorted(dict.fromkeys(steps), key=lambda s: (s.action, s.side, s.path))


def _sent(heap: HeapContext, before: _Before) -> Iterator[Step]:
    """Yield what would change on the server."""
    index = heap.index
    for block in index.unsent | index.born:
        step = _sent_block(index, block, before)
        if step is not None:
            yield step
    for path in index.moving:
        if index.entries[path].todo == "upload":
            yield Step("send", "server", path, is_new=path not in before.paths)
    for row in before.attachments:
        here = index.attachments.get(row.block_id, {}).get(row.key or "")
        now = index.entries.get(here or "")
        if index.is_live(row.block_id) and (now is None or not (now.stat or now.todo)):
            yield Step("delete", "server", row.path)


def _sent_block(index: Index, block: BlockId, before: _Before) -> Step | None:
    """Return what would be sent of a block; None if it has no file that a person knows."""
    old, now = before.path_of.get(block), index.path_of.get(block)
    if not index.is_live(block):
        was_live = old is not None and block in before.live
        return Step("delete", "server", old) if old is not None and was_live else None
    if now is None:
        return None  # a tag
    if block in index.born:
        return Step("send", "server", now, is_new=True)
    if old is not None and old != now:
        return Step("rename", "server", old, to=now)
    return Step("send", "server", now)


def _changed_here(heap: HeapContext, before: _Before, after: dict[BlockId, str]) -> Iterator[Step]:
    """Yield what would change in the folder.

    Args:
        heap: the heap, published.
        before: the heap as it was.
        after: the paths of blocks after the folder's changes and before the server's.
    """
    assert isinstance(heap.disk, OverlayFolder)
    index, known = heap.index, {*before.paths, *after.values()}
    own = {index.path_of[b] for b in index.born if b in index.path_of}
    for noted in heap.disk.noted:
        if noted.path.startswith(PARKING_PREFIX) or noted.to.startswith(PARKING_PREFIX):
            continue
        if noted.what == "move":
            yield Step("rename", "here", noted.path, to=noted.to)
        elif noted.what in {"remove", "remove_dir"}:
            if noted.path in known:
                yield Step("delete", "here", noted.path)
        elif noted.path not in own:
            yield Step("fetch", "here", noted.path, is_new=noted.path not in known)
    for path in index.moving:
        if index.entries[path].todo == "download":
            yield Step("fetch", "here", path, is_new=path not in before.paths)


def _held(heap: HeapContext) -> Iterator[Step]:
    def step(hold: Hold) -> Step:
        return Step("hold", "server" if hold.direction == "up" else "here", hold.path)

    yield from map(step, heap.holds.values())
