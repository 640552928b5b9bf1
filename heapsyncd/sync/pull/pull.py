"""Server to cache: pulls of what the delta feed announced, and the live feed.

HTTP alone is enough to converge; the live feed only makes it immediate. Both end in ``receive``.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

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
from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.database import Tx
from heapsyncd.document.encoding.state_vectors import is_same
from heapsyncd.document.updates import missing
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import PullAsk
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.receive import Incoming, receive
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

PULL_BLOCKS = 200
"""As many as one answer holds (PROTOCOL §5)."""
BURST = 64
"""So many live events are handled together at most, if they are here already."""
BURST_BYTES = 1 << 20
"""No more are added once they hold so much."""
GATHER_S = 0.02
"""How soon after live events the next ones are handled at the earliest."""
CHOSEN_AGAIN_S = 0.3
"""How soon after the choice of what to follow it is made again at the earliest: it looks at the
whole heap."""
NOTHING = b"\0\0"
"""The empty update."""


async def pull(heap: HeapContext, *, everything: bool = False) -> None:
    """Pull every wanted block, folders and tags first, each batch committed as it comes.

    What an answer did not bring on (a version was announced that is not delivered) is not asked
    for again before the next time.
    """
    total = done = 0
    answered: dict[BlockId, BlockState] = {}
    left: list[BlockId] = []

    def read(tx: Tx) -> tuple[list[BlockState], list[BlockId]]:
        """What to ask for now, and what then."""
        ids = left
        while ids:
            states, ids = _still_wanted(tx, ids[:PULL_BLOCKS]), ids[PULL_BLOCKS:]
            if states:
                return states, ids
        ids = [i for i in blocks.wanted(tx, heap.id) if not _is_answered(tx, i, answered)]
        return _still_wanted(tx, ids[:PULL_BLOCKS]), ids[PULL_BLOCKS:]

    if doubted := list(heap.link.doubted):
        await heap.store(lambda change: _want(change, doubted))
    while heap.index.wanted:
        batch, left = await heap.db.read(read)
        if not batch:
            break
        total = max(total, done + len(batch) + len(left))
        # A whole state shows what is not in it; else only what we lack is asked for.
        whole = [s for s in batch if heap.link.in_doubt or s.id in doubted]
        known = await _acknowledged(heap, whole) if whole else {}
        asks = [
            PullAsk(
                s.id,
                max(1, s.sync_version),
                None if s.id in known or not s.seq else s.state_vector,
            )
            for s in batch
        ]
        answer = await heap.backend.pull(heap.id, asks)
        asked = {a.id: a.sync_version for a in asks}
        incoming = [
            Incoming(
                p.id, p.sync_version, p.update, p.full, asked.get(p.id, 0), known.get(p.id, 0)
            )
            for p in answer.blocks
        ]
        await receive(heap, incoming)
        if answer.missing:
            await heap.store(lambda change, a=answer.missing: _missing(change, a))  # type: ignore[misc]
        # What is not asked for any more may be sent now, whatever the answer said.
        heap.wake.publish.set()
        heap.wake.push.set()
        got = len(answer.blocks) + len(answer.missing)
        if not got:
            log.warning("pull answered nothing", heap=heap.report.title, asked=len(batch))
            break
        done += got
        given = {i.id for i in incoming}
        answered |= {s.id: s for s in batch if s.id in given}
        # An answer that grew too large left some out.
        left = [s.id for s in batch if s.id not in given and s.id not in answer.missing] + left
        if everything:
            heap.step("receiving", done, total)
    heap.link.doubted.difference_update(doubted)
    heap.link.in_doubt = False


def _still_wanted(tx: Tx, ids: Sequence[BlockId]) -> list[BlockState]:
    states = [blocks.get(tx, i) for i in ids]
    return [s for s in states if s is not None and s.wanted]


def _is_answered(tx: Tx, block: BlockId, answered: Mapping[BlockId, BlockState]) -> bool:
    """Whether a block is as it was when it was asked for."""
    return block in answered and blocks.get(tx, block) == answered[block]


async def _acknowledged(heap: HeapContext, batch: Sequence[BlockState]) -> dict[BlockId, int]:
    """Up to which number of their logs the server has everything."""
    return await heap.db.read(lambda tx: {s.id: blocks.acknowledged(tx, s.id) for s in batch})


def _want(change: Change, ids: Sequence[BlockId]) -> None:
    """Have blocks that the server knows pulled once more."""
    for block in ids:
        state = blocks.get(change.tx, block)
        if state is not None and state.sync_version:
            change.update(block, wanted=max(state.wanted, state.sync_version))


def _missing(change: Change, ids: Sequence[BlockId]) -> None:
    """The server has no such block (permanently deleted, or never there): stop asking."""
    for block in ids:
        state = blocks.get(change.tx, block)
        if state is None:
            continue
        if state.born_here:
            change.update(block, wanted=0, sync_version=0)
            continue
        change.update(block, wanted=0)


async def follow(heap: HeapContext, limit: int) -> None:
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

    asked = _Asked()
    async with (
        heap.backend.live(heap.id, opening, heap.link.lost) as feed,
        TaskGroup() as group,
    ):
        heap.link.live = feed
        group.create_task(_choose(heap, feed, limit))
        group.create_task(_answer(heap, feed, asked))
        try:
            gathered_s = 0.0
            async for event in feed:
                # The first one is taken in at once, what follows closely with what is behind it.
                if (wait_s := gathered_s + GATHER_S - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                gathered_s = time.monotonic()
                await _happened(heap, asked, _burst(feed, event))
        finally:
            heap.link.live = None


async def _choose(heap: HeapContext, feed: LiveFeed, limit: int) -> None:
    """Keep the set of followed blocks in step with the cache."""
    versions: dict[BlockId, int] = {}
    while True:
        heap.wake.follow.clear()
        states = await heap.db.read(lambda tx: blocks.of_heap(tx, heap.id))
        live = [
            s
            for s in states
            if s.deleted_at_ms is None
            and s.sync_version > 0
            and s.state_vector
            # One made here is titled and pushed first: opened now, all of it would be sent twice.
            and not s.born_here
        ]
        live.sort(key=lambda s: -s.announced_ms)
        chosen = {s.id: s.sync_version for s in live[:limit]}
        heap.link.follows_all = len(live) <= limit
        if chosen.keys() != versions.keys():
            feed.follow(chosen)
        for block, version in chosen.items():
            if versions.get(block, version) != version:
                feed.reopen(block)
        versions = chosen
        await asyncio.sleep(CHOSEN_AGAIN_S)
        await heap.wake.follow.wait()


@dataclass(slots=True)
class _Asked:
    """What the server asked on this socket and was not answered yet, the last of each block."""

    left: dict[BlockId, LiveAsked] = field(default_factory=dict)
    some: asyncio.Event = field(default_factory=asyncio.Event)


async def _answer(heap: HeapContext, feed: LiveFeed, asked: _Asked) -> None:
    """Answer what the server asks, once its news are known here: what is unsent may be a deletion
    of what somebody has written to since.
    """
    while True:
        await asked.some.wait()
        await heap.link.current.wait()
        breaks = heap.link.breaks
        asks = list(islice(asked.left.values(), BURST))
        answers = await _lacking(heap, asks)
        # Else, as long as the socket stands, they are answered after the next news.
        if heap.link.breaks == breaks:
            for ask, update in zip(asks, answers, strict=False):
                if asked.left.get(ask.block) is ask:
                    del asked.left[ask.block]
                    feed.answer(ask.block, update)
        if not asked.left:
            asked.some.clear()


def _burst(feed: LiveFeed, first: LiveEvent) -> list[LiveEvent]:
    """An event, and those that came while the ones before were taken in."""
    events, event, size_bytes = [first], first, 0
    while True:
        size_bytes += len(event.update) if isinstance(event, LiveUpdate) else 0
        if len(events) >= BURST or size_bytes >= BURST_BYTES:
            return events
        following = feed.at_hand()
        if following is None:
            return events
        event = following
        events.append(event)


async def _happened(heap: HeapContext, asked: _Asked, events: Sequence[LiveEvent]) -> None:
    for event in events:
        match event:
            case LiveAsked(block):
                asked.left[block] = event
                asked.some.set()
            case LiveLost(block, reason, text):
                log.debug("no longer followed", block=block, reason=reason, text=text)
                heap.wake.pull.set()
            case LiveConnected():
                # Whatever happened while no socket was open is in the delta feed.
                heap.wake.pull.set()
            case LiveDisconnected(reason):
                asked.left.clear()
                log.debug("live connection lost", heap=heap.report.title, reason=reason)
            case _:
                pass
    updates = [e for e in events if isinstance(e, LiveUpdate)]
    if updates:
        await receive(heap, [Incoming(u.block, u.sync_version, u.update) for u in updates])


async def _lacking(heap: HeapContext, asks: Sequence[LiveAsked]) -> list[bytes]:
    """What the server lacks of the blocks it asks for; of the first ones when there is much to
    say. Sent for speed only: durable is what HTTP acknowledged.

    If it lacks any of what it acknowledged, it may have been put back from a backup, or it asked
    before it had it: the block's whole state is pulled, which tells.
    """

    def read(tx: Tx) -> list[list[LogRow]]:
        found: list[list[LogRow]] = []
        size_bytes = 0
        for ask in asks:
            found.append(_not_known(tx, ask))
            size_bytes += sum(len(r.data) for r in found[-1])
            if size_bytes >= BURST_BYTES:
                break
        return found

    found = await heap.db.read(read)
    asking = list(zip(asks, found, strict=False))
    if not any(found):
        return [NOTHING] * len(found)
    now_s = time.monotonic()
    for ask, rows in asking:
        heap.link.recent_acks.add(ask.block, [r.seq for r in rows if r.local], now_s)
    answers = await offload(lambda: [_answer_of(ask, rows) for ask, rows in asking])
    behind = [a.block for (a, _), (_, is_less) in zip(asking, answers, strict=True) if is_less]
    if behind:
        # The next pull asks: one that is on its way was asked for before.
        heap.link.doubted.update(behind)
        heap.wake.pull.set()
    return [update for update, _ in answers]


def _not_known(tx: Tx, ask: LiveAsked) -> list[LogRow]:
    """The part of a block's log in which there may be something that the server lacks."""
    state = blocks.get(tx, ask.block)
    if state is None or state.sync_version != ask.sync_version:
        return []
    if not is_same(state.state_vector, ask.state_vector):
        return blocks.log(tx, ask.block)
    # Deletions do not show in vectors: those in what is unsent are not known there.
    unsent = blocks.has_unsent(tx, ask.block)
    return [r for r in blocks.log(tx, ask.block) if r.local] if unsent else []


def _answer_of(ask: LiveAsked, rows: Sequence[LogRow]) -> tuple[bytes, bool]:
    """What the server lacks of some rows, and whether it lacks any that it acknowledged; runs in a
    thread.
    """
    if not rows:
        return NOTHING, False
    try:
        behind = is_behind(ask.state_vector, [r.data for r in rows if not r.local])
        return missing([r.data for r in rows], ask.state_vector), behind
    except BlockError:
        return NOTHING, False
