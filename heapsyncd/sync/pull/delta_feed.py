"""Read the delta feed: which blocks changed on the server, and which are new or gone."""

from collections.abc import Iterable, Sequence

import structlog
from msgspec import Struct, field

from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.blocks import BlockState
from heapsyncd.errors import RequestRefused
from heapsyncd.ids import BlockId
from heapsyncd.model import BlockRow, Changed, ChangePage, Gone
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.server_rollback import resend_forgotten

log = structlog.get_logger()

MAX_LOOKUPS = 20
"""At most this many unknown blocks are looked up one by one; for more, the heap is listed."""
SAMPLE_BLOCKS = 50
"""If the server still has the last changes of this many blocks, it was not rolled back."""
_NO_CURSOR_ERROR = frozenset({401, 403, 404})


async def poll(heap: HeapContext) -> bool:
    """Read the delta feed to its end; return whether it had anything new."""
    if heap.link.cursor_ms is None:
        rows = await heap.db.read(heaps.load_all)
        row = next(r for r in rows if r.id == heap.id)
        # Until all files were looked at once, it has to be known what is in the trash.
        heap.link.cursor_ms = row.cursor_ms if row.mirrored else 0
    sample = (
        await heap.db.read(lambda tx: blocks.newest(tx, heap.id, SAMPLE_BLOCKS))
        if heap.link.in_doubt
        else []
    )
    if sample:
        # After an outage, start at the last known changes, to see if they are still there.
        heap.link.cursor_ms = min(heap.link.cursor_ms, sample[-1].announced_ms)
    result = _FeedResult()
    news = await _read(heap, result)
    if not result.is_complete and any(s.id not in result.blocks for s in sample):
        heap.link.cursor_ms = 0
        news = await _read(heap, result) or news
    if result.is_complete:
        heap.link.in_trash.clear()
    heap.link.in_trash |= result.trashed - heap.index.blocks.keys()
    if result.older or result.is_complete:
        news = (
            await resend_forgotten(
                heap, result.older, result.blocks if result.is_complete else None
            )
            or news
        )
    if news:
        heap.wake.pull.set()
        heap.wake.publish.set()
    return news


class _FeedResult(Struct):
    """What the feed contained; ``is_complete``: read from its beginning, it lists every block."""

    is_complete: bool = False
    blocks: set[BlockId] = field(default_factory=set)
    older: set[BlockId] = field(default_factory=set)
    """Blocks in an earlier state than was announced before."""
    trashed: set[BlockId] = field(default_factory=set)
    """Blocks that the feed lists as deleted, but not permanently."""


async def _read(heap: HeapContext, result: _FeedResult) -> bool:
    news = False
    while True:
        assert heap.link.cursor_ms is not None
        is_first = heap.link.cursor_ms == 0
        page = None if is_first else await _page(heap, heap.link.cursor_ms)
        if page is None:
            result.is_complete, is_first = True, True
            await _insert_all_rows(heap)
            page = await heap.backend.changes(heap.id, 0)
        heap.problems.only("feed", {problem.path for problem in page.unreadable})
        for problem in page.unreadable:
            heap.problems.found("feed", problem.path, problem.reason)
        result.blocks |= {c.id for c in page.changed} | {g.id for g in page.gone}
        result.trashed |= {g.id for g in page.gone if not g.permanent}
        changed = False
        # Store no empty page: after a restart the feed is just read from a little earlier.
        if page.changed or page.gone or is_first:
            await _insert_unknown(heap, page)
            moving = is_first or page.cursor_ms > heap.link.cursor_ms
            async with heap.lock:
                changed, older, abandoned = await heap.store(
                    lambda change, p=page, m=moving: _store_page(change, heap, p, moving=m)  # type: ignore[misc]
                )
            result.older |= older
            if abandoned:
                heap.request_rescan()
        news = news or changed
        moved, heap.link.cursor_ms = page.cursor_ms > heap.link.cursor_ms, page.cursor_ms
        # Stop at a page that leads nowhere: a faulty server could keep us here for ever.
        if not page.more or not (moved or changed):
            return news


async def _page(heap: HeapContext, cursor_ms: int) -> ChangePage | None:
    """Return the feed's next page; None if it has to be read from the beginning.

    That is so if the server rejects the cursor or is behind it: its clock was set back, or it was
    restored from a backup.
    """
    try:
        page = await heap.backend.changes(heap.id, cursor_ms)
    except RequestRefused as error:
        if error.status in _NO_CURSOR_ERROR:
            raise
    else:
        if page.cursor_ms >= cursor_ms:
            return page
    log.warning("reading delta feed anew", heap=heap.report.title, cursor_ms=cursor_ms)
    heap.link.cursor_ms = 0
    return None


async def _insert_unknown(heap: HeapContext, page: ChangePage) -> None:
    """Insert new blocks with their kinds, which only rows state (PROTOCOL §4)."""
    unknown = [c.id for c in page.changed if c.id not in heap.index.blocks]
    if len(unknown) > MAX_LOOKUPS:
        await _insert_all_rows(heap)
        unknown = [i for i in unknown if i not in heap.index.blocks]
    found = [await heap.backend.row(heap.id, i) for i in unknown]
    await insert_rows(heap, [r for r in found if r is not None])


async def insert_trashed(heap: HeapContext, found: Iterable[BlockId]) -> bool:
    """Insert those of the blocks that are in the server's trash; return whether there were any.

    Raises:
        TryLater and its like: the server cannot be reached.
    """
    wanted = [b for b in found if b in heap.link.in_trash]
    rows = [await heap.backend.row(heap.id, b) for b in wanted]
    await insert_rows(heap, [r for r in rows if r is not None])
    heap.link.in_trash.difference_update(wanted)
    return bool(wanted)


async def _insert_all_rows(heap: HeapContext) -> None:
    async for page in heap.backend.rows(heap.id):
        await insert_rows(heap, page)


async def insert_rows(heap: HeapContext, rows: Sequence[BlockRow]) -> None:
    """Insert blocks from rows of the server, to be pulled."""
    new = [r for r in rows if r.id not in heap.index.blocks and r.heap_id == heap.id]
    if not new:
        return

    def store(change: Change) -> None:
        for row in new:
            wanted = max(1, row.sync_version)
            change.insert(
                BlockState(
                    row.id,
                    heap.id,
                    row.kind,
                    wanted=wanted,
                    title=row.title,
                    public_id=row.public_id,
                )
            )
            if row.kind in {"tag", "folder"}:
                change.touch_related(row.id)

    async with heap.lock:
        await heap.store(store)
    heap.wake.pull.set()


def _store_page(
    change: Change, heap: HeapContext, page: ChangePage, *, moving: bool
) -> tuple[bool, set[BlockId], bool]:
    """Store which blocks to pull, together with the cursor.

    Args:
        change: the transaction's.
        heap: the heap.
        page: of the feed.
        moving: the page has something that an earlier one had not.

    Returns:
        Whether there is anything new, the blocks that are in an earlier state than announced
            before, and whether files no longer belong to any block.
    """
    tx, news, older, abandoned = change.tx, False, set[BlockId](), False
    for item in page.changed:
        state = blocks.get(tx, item.id)
        if state is not None and state.heap_id == heap.id and _is_news(state, item):
            version = max(1, item.sync_version)
            if version < state.sync_version or (
                item.updated_at_ms < state.announced_ms and version == state.sync_version
            ):
                older.add(item.id)
                if version == state.sync_version:
                    # Another version shares no history with ours: see ``rebase``.
                    change.unacknowledge(item.id)
            change.update(item.id, wanted=version, announced_ms=item.updated_at_ms)
            news = True
    for gone in page.gone:
        state = blocks.get(tx, gone.id)
        if state is not None and state.heap_id == heap.id:
            news = news or state.deleted_at_ms is None
            abandoned = _store_gone(change, heap, state, gone, moving=moving) or abandoned
    heaps.set_cursor(tx, heap.id, page.cursor_ms)
    return news, older, abandoned


def _store_gone(
    change: Change, heap: HeapContext, state: BlockState, gone: Gone, *, moving: bool
) -> bool:
    """Store that a block is in the trash, or deleted permanently.

    Returns:
        Whether its files no longer belong to any block.
    """
    is_live = state.deleted_at_ms is None
    if not gone.permanent:
        # The document itself says so (meta_v0): pull it like any other change. The feed repeats
        # this entry when somebody who does not know of the deletion goes on writing.
        if is_live or (moving and state.problem is None):
            change.update(state.id, wanted=max(1, state.sync_version))
        return False
    if is_live and change.abandon(state, heap.index.paths_of(state.id)):
        return True
    change.acknowledge(state.id, state.seq)  # nothing can be sent to it any more
    if is_live:
        change.update(state.id, deleted_at_ms=gone.deleted_at_ms, wanted=0, stale=1)
    return False


def _is_news(state: BlockState, change: Changed) -> bool:
    """Return whether the feed's item is new: it repeats itself, since ``since`` is inclusive."""
    if state.born_here and state.sync_version == 0:
        return False
    newer = change.sync_version > max(state.sync_version, state.wanted)
    older = 0 < change.sync_version < state.sync_version
    return (
        change.updated_at_ms != state.announced_ms
        # A state that could not be loaded is not pulled at each poll, but by ``retry_problems``.
        or ((newer or older) and state.problem is None)
        or change.updated_at_ms == 0
    )
