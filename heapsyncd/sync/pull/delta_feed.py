"""The delta feed: which blocks changed on the server, and which are new or gone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.blocks import BlockState
from heapsyncd.errors import RequestRefused
from heapsyncd.ids import BlockId
from heapsyncd.model import BlockRow, Changed, ChangePage, Gone
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.server_rollback import tell_again

log = structlog.get_logger()

FEW_UNKNOWN = 20
"""Up to so many unknown blocks are looked up one by one, more by listing the heap."""
SURE = 50
"""If the server still has the changes of so many blocks that it announced last, it forgot nothing.
"""
_NOT_THE_CURSOR = frozenset({401, 403, 404})


async def poll(heap: HeapContext) -> bool:
    """Read the delta feed to its end; whether it said anything new."""
    if heap.link.cursor_ms is None:
        rows = await heap.db.read(heaps.load_all)
        heap.link.cursor_ms = next(r.cursor_ms for r in rows if r.id == heap.id)
    lately = (
        await heap.db.read(lambda tx: blocks.newest(tx, heap.id, SURE))
        if heap.link.in_doubt
        else []
    )
    if lately:
        # Read from the last changes that we were told of: are they there still?
        heap.link.cursor_ms = min(heap.link.cursor_ms, lately[-1].announced_ms)
    told = _Told()
    news = await _read(heap, told)
    if not told.whole and any(s.id not in told.blocks for s in lately):
        heap.link.cursor_ms = 0
        news = await _read(heap, told) or news
    if told.whole:
        heap.link.in_trash = told.trashed - heap.index.blocks.keys()
    if told.older or told.whole:
        news = await tell_again(heap, told.older, told.blocks if told.whole else None) or news
    if news:
        heap.wake.pull.set()
        heap.wake.publish.set()
    return news


@dataclass(slots=True)
class _Told:
    """What the feed said. ``whole``: from its beginning, so of every block there is."""

    whole: bool = False
    blocks: set[BlockId] = field(default_factory=set)
    older: set[BlockId] = field(default_factory=set)
    """Those that are in an earlier state than was once announced."""
    trashed: set[BlockId] = field(default_factory=set)


async def _read(heap: HeapContext, told: _Told) -> bool:
    news = False
    while True:
        assert heap.link.cursor_ms is not None
        begins = heap.link.cursor_ms == 0
        page = None if begins else await _page(heap, heap.link.cursor_ms)
        if page is None:
            told.whole, begins = True, True
            await _list_rows(heap)
            page = await heap.backend.changes(heap.id, 0)
        told.blocks |= {c.id for c in page.changed} | {g.id for g in page.gone}
        told.trashed |= {g.id for g in page.gone if not g.permanent}
        changed = False
        # An empty page is not written down: a restart asks from a little earlier, that is all.
        if page.changed or page.gone or begins:
            await _know(heap, page)
            moving = begins or page.cursor_ms > heap.link.cursor_ms
            async with heap.lock:
                changed, older, abandoned = await heap.store(
                    lambda change, p=page, m=moving: _announce(change, heap, p, moving=m)  # type: ignore[misc]
                )
            told.older |= older
            if abandoned:
                heap.look_at_files()
        news = news or changed
        moved, heap.link.cursor_ms = page.cursor_ms > heap.link.cursor_ms, page.cursor_ms
        # A server that asks again without moving on would be asked for ever.
        if not page.more or not (moved or changed):
            return news


async def _page(heap: HeapContext, cursor_ms: int) -> ChangePage | None:
    """The feed's next page. None: it has to be read anew, for the server does not take the cursor,
    or is behind it (its clock was set back, it came from a backup).
    """
    try:
        page = await heap.backend.changes(heap.id, cursor_ms)
    except RequestRefused as error:
        if error.status in _NOT_THE_CURSOR:
            raise
    else:
        if page.cursor_ms >= cursor_ms:
            return page
    log.warning("the feed begins anew", heap=heap.report.title, cursor_ms=cursor_ms)
    heap.link.cursor_ms = 0
    return None


async def _know(heap: HeapContext, page: ChangePage) -> None:
    """Learn the kind of blocks that are new: only rows tell it (PROTOCOL §4)."""
    unknown = [c.id for c in page.changed if c.id not in heap.index.blocks]
    if len(unknown) > FEW_UNKNOWN:
        await _list_rows(heap)
        unknown = [i for i in unknown if i not in heap.index.blocks]
    found = [await heap.backend.row(heap.id, i) for i in unknown]
    await add_rows(heap, [r for r in found if r is not None])


async def from_trash(heap: HeapContext, found: Iterable[BlockId]) -> bool:
    """Learn of blocks in the server's trash that there are files of; whether there were any.

    Raises:
        TryLater and its like: the server can't be asked.
    """
    wanted = [b for b in found if b in heap.link.in_trash]
    rows = [await heap.backend.row(heap.id, b) for b in wanted]
    await add_rows(heap, [r for r in rows if r is not None])
    heap.link.in_trash.difference_update(wanted)
    return bool(wanted)


async def _list_rows(heap: HeapContext) -> None:
    async for page in heap.backend.rows(heap.id):
        await add_rows(heap, page)


async def add_rows(heap: HeapContext, rows: Sequence[BlockRow]) -> None:
    """Put rows the server listed into the cache, to be pulled."""
    new = [r for r in rows if r.id not in heap.index.blocks and r.heap_id == heap.id]
    if not new:
        return

    def store(change: Change) -> None:
        for row in new:
            wanted = max(1, row.sync_version)
            change.insert(BlockState(row.id, heap.id, row.kind, wanted=wanted, title=row.title))
            if row.kind in {"tag", "folder"}:
                change.touch_related(row.id)

    async with heap.lock:
        await heap.store(store)
    heap.wake.pull.set()


def _announce(
    change: Change, heap: HeapContext, page: ChangePage, *, moving: bool
) -> tuple[bool, set[BlockId], bool]:
    """Note which blocks to pull, together with the cursor; whether there are any, those that the
    server has in an earlier state than it once announced, and whether files are nobody's now.

    Args:
        change: the transaction's.
        heap: the heap.
        page: what the feed says.
        moving: whether it says anything that it did not say the last time.
    """
    tx, news, older, abandoned = change.tx, False, set[BlockId](), False
    for told in page.changed:
        state = blocks.get(tx, told.id)
        if state is not None and state.heap_id == heap.id and _is_news(state, told):
            version = max(1, told.sync_version)
            if version < state.sync_version or (
                told.updated_at_ms < state.announced_ms and version == state.sync_version
            ):
                older.add(told.id)
                if version == state.sync_version:
                    # One of another version shares no history with ours: see ``rebase``.
                    change.unacknowledge(told.id)
            change.update(told.id, wanted=version, announced_ms=told.updated_at_ms)
            news = True
    for gone in page.gone:
        state = blocks.get(tx, gone.id)
        if state is not None and state.heap_id == heap.id:
            news = news or state.deleted_at_ms is None
            abandoned = _announce_gone(change, heap, state, gone, moving=moving) or abandoned
    heaps.set_cursor(tx, heap.id, page.cursor_ms)
    return news, older, abandoned


def _announce_gone(
    change: Change, heap: HeapContext, state: BlockState, gone: Gone, *, moving: bool
) -> bool:
    """A block is in the trash, or deleted for good; whether its files are nobody's now."""
    is_live = state.deleted_at_ms is None
    if not gone.permanent:
        # Its document says so itself (meta_v0): pull it like any other change. So it is when
        # somebody who has not heard of the deletion goes on writing.
        if is_live or (moving and state.problem is None):
            change.update(state.id, wanted=max(1, state.sync_version))
        return False
    if is_live and change.abandon(state, heap.index.paths_of(state.id)):
        return True
    change.acknowledge(state.id, state.seq)  # there is nobody to send it to
    if is_live:
        change.update(state.id, deleted_at_ms=gone.deleted_at_ms, wanted=0, stale=1)
    return False


def _is_news(state: BlockState, change: Changed) -> bool:
    """The feed repeats itself (``since`` is inclusive): only a new stamp or version counts."""
    if state.born_here and state.sync_version == 0:
        return False
    newer = change.sync_version > max(state.sync_version, state.wanted)
    older = 0 < change.sync_version < state.sync_version
    return (
        change.updated_at_ms != state.announced_ms
        # What could not be taken in is not asked for at each poll (``retry_problems.ask_again``).
        or ((newer or older) and state.problem is None)
        or change.updated_at_ms == 0
    )
