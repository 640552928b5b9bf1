"""Server to cache: the delta feed, pulls, and the live feed.

HTTP alone is enough to converge; the live feed only makes it immediate. All three end in
``receive``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from heapsyncd.backends.contract import (
    LiveAsked,
    LiveConnected,
    LiveDisconnected,
    LiveEvent,
    LiveFeed,
    LiveLost,
    LiveUpdate,
)
from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.document.replica import merge, missing
from heapsyncd.errors import BlockError, RequestRefused
from heapsyncd.ids import BlockId
from heapsyncd.model import BlockRow, Changed, ChangePage, PullAsk
from heapsyncd.sync.receive import Incoming, receive
from heapsyncd.sync.state import HeapState

log = structlog.get_logger()

PULL_BLOCKS = 200
"""As many as one answer holds (PROTOCOL §5)."""
FEW_UNKNOWN = 20
"""Up to so many unknown blocks are looked up one by one, more by listing the heap."""
_NOT_THE_CURSOR = frozenset({401, 403, 404})
NOTHING = b"\0\0"
"""The empty update."""


async def poll(heap: HeapState) -> bool:
    """Read the delta feed to its end; whether it said anything new."""
    if heap.cursor_ms is None:
        rows = await heap.db.read(heaps.load_all)
        heap.cursor_ms = next(r.cursor_ms for r in rows if r.id == heap.id)
    if heap.cursor_ms == 0:
        await _list_rows(heap)
    news = False
    while True:
        page = await _page(heap, heap.cursor_ms)
        changed = False
        # An empty page is not written down: a restart asks from a little earlier, that is all.
        if page.changed or page.gone or heap.cursor_ms == 0:
            await _know(heap, page)
            changed = await heap.db.write(lambda tx, p=page: _announce(tx, heap, p))  # type: ignore[misc]
        news = news or changed
        moved, heap.cursor_ms = page.cursor_ms > heap.cursor_ms, page.cursor_ms
        # A server that asks again without moving on would be asked for ever.
        if not page.more or not (moved or changed):
            break
    if news:
        heap.to_pull.set()
        heap.to_publish.set()
    return news


async def _page(heap: HeapState, cursor_ms: int) -> ChangePage:
    """The feed's next page. A cursor that the server does not take, or that is ahead of its time
    (its clock was set back, it came from a backup), is given up: everything is asked for anew.
    """
    try:
        page = await heap.backend.changes(heap.id, cursor_ms)
    except RequestRefused as error:
        if not cursor_ms or error.status in _NOT_THE_CURSOR:
            raise
    else:
        if page.cursor_ms >= cursor_ms:
            return page
    log.warning("the feed begins anew", heap=heap.report.title, cursor_ms=cursor_ms)
    heap.cursor_ms = 0
    await _list_rows(heap)
    return await heap.backend.changes(heap.id, 0)


async def _know(heap: HeapState, page: ChangePage) -> None:
    """Learn the kind of blocks that are new: only rows tell it (PROTOCOL §4)."""
    unknown = [c.id for c in page.changed if c.id not in heap.index.blocks]
    if len(unknown) > FEW_UNKNOWN:
        await _list_rows(heap)
        unknown = [i for i in unknown if i not in heap.index.blocks]
    found = [await heap.backend.row(heap.id, i) for i in unknown]
    await add_rows(heap, [r for r in found if r is not None])


async def _list_rows(heap: HeapState) -> None:
    async for page in heap.backend.rows(heap.id):
        await add_rows(heap, page)


async def add_rows(heap: HeapState, rows: Sequence[BlockRow]) -> None:
    """Put rows the server listed into the cache, to be pulled."""
    new = [r for r in rows if r.id not in heap.index.blocks and r.heap_id == heap.id]
    if not new:
        return

    def store(tx: Tx) -> list[BlockState]:
        states = [
            BlockState(r.id, heap.id, r.kind, wanted=max(1, r.sync_version), title=r.title)
            for r in new
        ]
        for state in states:
            blocks.insert(tx, state)
            heap.learned(None, state)
            if state.kind in {"tag", "folder"}:
                heap.touch_related(tx, state.id)
        return states

    async with heap.lock:
        await heap.db.write(store)
    heap.to_pull.set()


def _announce(tx: Tx, heap: HeapState, page: ChangePage) -> bool:
    """Note which blocks to pull, together with the cursor; whether there are any."""
    news = False
    for change in page.changed:
        state = blocks.get(tx, change.id)
        if state is not None and state.heap_id == heap.id and _is_news(state, change):
            version = max(1, change.sync_version)
            blocks.update(tx, change.id, wanted=version, announced_ms=change.updated_at_ms)
            news = True
    for gone in page.gone:
        state = blocks.get(tx, gone.id)
        if state is None or state.heap_id != heap.id or state.deleted_at_ms is not None:
            continue
        news = True
        if gone.permanent:
            fresh = replace(state, deleted_at_ms=gone.deleted_at_ms)
            blocks.update(tx, gone.id, deleted_at_ms=gone.deleted_at_ms, wanted=0, stale=1)
            heap.learned(state, fresh)
        else:
            # Its document says so itself (meta_v0): pull it like any other change.
            blocks.update(tx, gone.id, wanted=max(1, state.sync_version))
    heaps.set_cursor(tx, heap.id, page.cursor_ms)
    return news


def _is_news(state: BlockState, change: Changed) -> bool:
    """The feed repeats itself (``since`` is inclusive): only a new stamp or version counts."""
    if state.born_here and state.sync_version == 0:
        return False
    return (
        change.updated_at_ms != state.announced_ms
        or change.sync_version > max(state.sync_version, state.wanted)
        or change.updated_at_ms == 0
    )


_KIND_ORDER: Mapping[str, int] = {"folder": 0, "tag": 1}


async def pull(heap: HeapState, *, everything: bool = False) -> None:
    """Pull every wanted block, folders and tags first, each batch committed as it comes."""
    total = done = 0
    while True:
        wanted = await heap.db.read(lambda tx: blocks.wanted(tx, heap.id, 1 << 30))
        if not wanted:
            break
        total = max(total, done + len(wanted))
        wanted.sort(key=lambda s: (_KIND_ORDER.get(s.kind, 2), s.id))
        batch = wanted[:PULL_BLOCKS]
        asks = [PullAsk(s.id, s.sync_version, s.state_vector if s.seq else None) for s in batch]
        asks = [replace(a, sync_version=max(1, a.sync_version)) for a in asks]
        answer = await heap.backend.pull(heap.id, asks)
        await receive(
            heap, [Incoming(p.id, p.sync_version, p.update, p.full) for p in answer.blocks]
        )
        if answer.missing:
            await heap.db.write(lambda tx, a=answer.missing: _missing(tx, a))  # type: ignore[misc]
        got = len(answer.blocks) + len(answer.missing)
        if not got:
            log.warning("pull answered nothing", heap=heap.report.title, asked=len(batch))
            break
        done += got
        if everything:
            heap.step("receiving", done, total)


def _missing(tx: Tx, ids: Sequence[BlockId]) -> None:
    """The server has no such block (permanently deleted, or never there): stop asking."""
    for block in ids:
        state = blocks.get(tx, block)
        if state is None:
            continue
        if state.born_here:
            blocks.update(tx, block, wanted=0, sync_version=0)
            continue
        blocks.update(tx, block, wanted=0)


async def follow(heap: HeapState, limit: int) -> None:
    """Follow the heap's notes live, the most recently changed ones up to a bound; runs until
    cancelled.
    """

    async def opening(ids: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        def read(tx: Tx) -> dict[BlockId, tuple[int, bytes]]:
            states = [blocks.get(tx, i) for i in ids]
            return {
                s.id: (s.sync_version, s.state_vector)
                for s in states
                if s is not None and s.state_vector is not None and s.sync_version > 0
            }

        return await heap.db.read(read)

    async with heap.backend.live(heap.id, opening) as feed, asyncio.TaskGroup() as group:
        group.create_task(_choose(heap, feed, limit))
        async for event in feed:
            await _happened(heap, feed, event)


async def _choose(heap: HeapState, feed: LiveFeed, limit: int) -> None:
    """Keep the set of followed blocks in step with the cache."""
    versions: dict[BlockId, int] = {}
    while True:
        heap.to_follow.clear()
        states = await heap.db.read(lambda tx: blocks.of_heap(tx, heap.id))
        live = [
            s for s in states if s.deleted_at_ms is None and s.sync_version > 0 and s.state_vector
        ]
        live.sort(key=lambda s: -s.announced_ms)
        chosen = {s.id: s.sync_version for s in live[:limit]}
        if chosen.keys() != versions.keys():
            feed.follow(chosen)
        for block, version in chosen.items():
            if versions.get(block, version) != version:
                feed.reopen(block)
        versions = chosen
        await heap.to_follow.wait()


async def _happened(heap: HeapState, feed: LiveFeed, event: LiveEvent) -> None:
    match event:
        case LiveUpdate(block, sync_version, update):
            await receive(heap, [Incoming(block, sync_version, update)])
        case LiveAsked(block, sync_version, state_vector):
            feed.answer(block, await _lacking(heap, block, sync_version, state_vector))
        case LiveLost(block, reason, text):
            log.debug("no longer followed", block=block, reason=reason, text=text)
            heap.to_pull.set()
        case LiveConnected():
            # Whatever happened while no socket was open is in the delta feed.
            heap.to_pull.set()
        case LiveDisconnected(reason):
            log.debug("live connection lost", heap=heap.report.title, reason=reason)
        case _:
            pass


async def _lacking(heap: HeapState, block: BlockId, version: int, state_vector: bytes) -> bytes:
    """What the server lacks of a block. Sent for speed only: durable is what HTTP acknowledged."""

    def read(tx: Tx) -> tuple[BlockState | None, list[blocks.LogRow]]:
        state = blocks.get(tx, block)
        if state is None or state.sync_version != version:
            return None, []
        if state.state_vector == state_vector:
            return state, [r for r in blocks.log(tx, block) if r.local]
        return state, blocks.log(tx, block)

    state, rows = await heap.db.read(read)
    if state is None or not rows:
        return NOTHING
    try:
        merged = await asyncio.to_thread(merge, [r.data for r in rows])
        return await asyncio.to_thread(missing, [merged], state_vector)
    except BlockError:
        return NOTHING
