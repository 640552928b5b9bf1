"""Pull what the delta feed announced, and follow the live feed.

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
from heapsyncd.document.updates import EMPTY, missing
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId
from heapsyncd.model import PullAsk
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.pull.absorb import Incoming
from heapsyncd.sync.pull.receive import receive
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

PULL_BLOCKS = 200
"""The number of blocks in one request (PROTOCOL §5)."""
BURST = 64
"""At most this many live events are handled together."""
BURST_BYTES = 1 << 20
"""No more events are added to a burst that has this many bytes."""
GATHER_S = 0.02
"""The shortest time between two bursts of live events."""
CHOSEN_AGAIN_S = 0.3
"""The shortest time between two selections of what to follow: each reads as many rows."""


async def pull(heap: HeapContext, *, everything: bool = False, newest: int | None = None) -> None:
    """Pull every wanted block, folders and tags first; each batch is committed when it arrives.

    A block whose state the answer did not change (an announced version that is not delivered) is
    not asked for again in this call. Blocks that become wanted meanwhile are left to the next
    call: while a whole heap is uploaded there are always more, and the feed has to be read too.

    Args:
        heap: the heap.
        everything: report the progress: this is the first mirror.
        newest: beside folders and tags, pull only so many blocks, those that changed last.
    """
    total, done = len(heap.index.wanted), 0
    left: list[BlockId] | None = None

    def read(tx: Tx) -> tuple[list[BlockState], list[BlockId]]:
        """Return the blocks of the next request, and the ids that follow."""
        ids = _first_wanted(tx, heap, newest) if left is None else left
        while ids:
            states, ids = _still_wanted(tx, ids[:PULL_BLOCKS]), ids[PULL_BLOCKS:]
            if states:
                return states, ids
        return [], []

    if doubted := list(heap.link.doubted):
        await heap.store(lambda change: _mark_wanted(change, doubted))
    while heap.index.wanted:
        batch, following = await heap.db.read(read)
        if not batch:
            break
        total = max(total, done + len(batch))
        # Ask for full states where the server may lack something, else for what we lack.
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
        questions = {a.id: a.sync_version for a in asks}
        incoming = [
            Incoming(
                p.id, p.sync_version, p.update, p.full, questions.get(p.id, 0), known.get(p.id, 0)
            )
            for p in answer.blocks
        ]
        await receive(heap, incoming)
        if answer.missing:
            await heap.store(lambda change, a=answer.missing: _mark_missing(change, a))  # type: ignore[misc]
        # Blocks that are no longer wanted may be sent and published now.
        heap.wake.publish.set()
        heap.wake.push.set()
        got = len(answer.blocks) + len(answer.missing)
        if not got:
            log.warning("pull returned nothing", heap=heap.report.title, requested=len(batch))
            break
        done += got
        given = {i.id for i in incoming}
        # The server leaves blocks out of an answer that is too large.
        omitted = [s.id for s in batch if s.id not in given and s.id not in answer.missing]
        left = omitted + following
        if everything:
            heap.step("receiving", done, total)
    heap.link.doubted.difference_update(doubted)
    heap.link.in_doubt = heap.link.in_doubt and newest is not None


def _first_wanted(tx: Tx, heap: HeapContext, newest: int | None) -> list[BlockId]:
    ids = blocks.wanted(tx, heap.id)
    if newest is None:
        return ids
    return ids[: newest + sum(heap.index.kind(i) in {"folder", "tag"} for i in ids)]


def _still_wanted(tx: Tx, ids: Sequence[BlockId]) -> list[BlockState]:
    states = [blocks.get(tx, i) for i in ids]
    return [s for s in states if s is not None and s.wanted]


async def _acknowledged(heap: HeapContext, batch: Sequence[BlockState]) -> dict[BlockId, int]:
    """Return for each block the last log number up to which the server has everything."""
    return await heap.db.read(lambda tx: {s.id: blocks.acknowledged(tx, s.id) for s in batch})


def _mark_wanted(change: Change, ids: Sequence[BlockId]) -> None:
    """Have blocks that the server knows pulled again."""
    for block in ids:
        state = blocks.get(change.tx, block)
        if state is not None and state.sync_version:
            change.update(block, wanted=max(state.wanted, state.sync_version))


def _mark_missing(change: Change, ids: Sequence[BlockId]) -> None:
    """Stop asking for blocks the server does not have: permanently deleted, or never created."""
    for block in ids:
        state = blocks.get(change.tx, block)
        if state is None:
            continue
        if state.born_here:
            change.update(block, wanted=0, sync_version=0)
            continue
        change.update(block, wanted=0)


async def follow(heap: HeapContext, limit: int) -> None:
    """Follow the heap's most recently changed notes live, up to a limit. Runs until cancelled."""

    async def opening(ids: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        def read(tx: Tx) -> dict[BlockId, tuple[int, bytes]]:
            states = [blocks.get(tx, i) for i in ids]
            return {
                s.id: (s.sync_version, s.state_vector)
                for s in states
                if s is not None and s.state_vector is not None and s.sync_version > 0
            }

        return await heap.db.read(read)

    questions = _OpenQuestions()
    async with (
        heap.backend.live(heap.id, opening, heap.link.lost) as feed,
        TaskGroup() as group,
    ):
        heap.link.live = feed
        group.create_task(_update_followed(heap, feed, limit))
        group.create_task(_answer(heap, feed, questions))
        try:
            gathered_s = 0.0
            async for event in feed:
                # Handle the first event at once; gather those that follow within GATHER_S.
                if (wait_s := gathered_s + GATHER_S - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                gathered_s = time.monotonic()
                await _handle(heap, questions, _burst(feed, event))
        finally:
            heap.link.live = None
            heap.link.recent_acks.interrupted(time.monotonic())


async def _update_followed(heap: HeapContext, feed: LiveFeed, limit: int) -> None:
    """Keep the set of followed blocks up to date with the cache."""
    versions: dict[BlockId, int] = {}
    while True:
        heap.wake.follow.clear()
        found = await heap.db.read(lambda tx: blocks.followable(tx, heap.id, limit + 1))
        chosen = dict(list(found.items())[:limit])
        heap.link.follows_all = len(found) <= limit
        if chosen.keys() != versions.keys():
            feed.follow(chosen)
        for block, version in chosen.items():
            if versions.get(block, version) != version:
                feed.reopen(block)
        versions = chosen
        await asyncio.sleep(CHOSEN_AGAIN_S)
        await heap.wake.follow.wait()
        while not heap.link.follows_all and _are_many_coming(heap):
            # One is as new as the other: do not open and close each in turn.
            heap.wake.follow.clear()
            await heap.wake.follow.wait()


def _are_many_coming(heap: HeapContext) -> bool:
    """Return whether a whole heap is being uploaded or mirrored."""
    index = heap.index
    return len((index.born | index.wanted) - index.troubled.keys()) > PULL_BLOCKS


@dataclass(slots=True)
class _OpenQuestions:
    """The server's unanswered requests for updates on this socket, the last of each block."""

    left: dict[BlockId, LiveAsked] = field(default_factory=dict)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)


async def _answer(heap: HeapContext, feed: LiveFeed, questions: _OpenQuestions) -> None:
    """Answer the server's requests for updates, once its news is known here.

    What is unsent may be a deletion of something that somebody has edited since.
    """
    while True:
        await questions.waiting.wait()
        await heap.link.current.wait()
        breaks = heap.link.breaks
        asks = list(islice(questions.left.values(), BURST))
        answers = await _answers_to(heap, asks)
        # If the server was lost meanwhile, they are answered after the next news.
        if heap.link.breaks == breaks:
            for ask, update in zip(asks, answers, strict=False):
                if questions.left.get(ask.block) is ask:
                    del questions.left[ask.block]
                    feed.answer(ask.block, update)
        if not questions.left:
            questions.waiting.clear()


def _burst(feed: LiveFeed, first: LiveEvent) -> list[LiveEvent]:
    """Return an event, and those that arrived while earlier ones were handled."""
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


async def _handle(
    heap: HeapContext, questions: _OpenQuestions, events: Sequence[LiveEvent]
) -> None:
    for event in events:
        match event:
            case LiveAsked(block):
                questions.left[block] = event
                questions.waiting.set()
            case LiveLost(block, reason, text):
                log.debug("note no longer followed", block=block, reason=reason, text=text)
                heap.wake.pull.set()
            case LiveConnected():
                # Changes made while no socket was open are in the delta feed.
                heap.wake.pull.set()
            case LiveDisconnected(reason):
                questions.left.clear()
                log.debug("live connection lost", heap=heap.report.title, reason=reason)
            case _:
                pass
    updates = [e for e in events if isinstance(e, LiveUpdate)]
    if updates:
        await receive(heap, [Incoming(u.block, u.sync_version, u.update) for u in updates])


async def _answers_to(heap: HeapContext, asks: Sequence[LiveAsked]) -> list[bytes]:
    """Return what the server lacks of the blocks it asks for.

    With much to send, only the first ones are answered. This is for speed only: an update counts
    as stored when HTTP acknowledged it. If the server lacks something it acknowledged, it may have
    been restored from a backup, or the request is older than the acknowledgement: the block's full
    state is pulled to find out.
    """

    def read(tx: Tx) -> list[list[LogRow]]:
        found: list[list[LogRow]] = []
        size_bytes = 0
        for ask in asks:
            found.append(_possibly_lacking(tx, ask))
            size_bytes += sum(len(r.data) for r in found[-1])
            if size_bytes >= BURST_BYTES:
                break
        return found

    async with heap.link.choosing:
        found = await heap.db.read(read)
        asking = list(zip(asks, found, strict=False))
        now_s = time.monotonic()
        for ask, rows in asking:
            heap.link.recent_acks.sent(ask.block, [r.seq for r in rows if r.local], now_s)
    if not any(found):
        return [EMPTY] * len(found)
    answers = await offload(lambda: [_answer_to(ask, rows) for ask, rows in asking])
    behind = [a.block for (a, _), (_, is_less) in zip(asking, answers, strict=True) if is_less]
    if behind:
        # Leave it to the next pull: one that is running was requested earlier.
        heap.link.doubted.update(behind)
        heap.wake.pull.set()
    return [update for update, _ in answers]


def _possibly_lacking(tx: Tx, ask: LiveAsked) -> list[LogRow]:
    """Return the rows of a block's log that may contain something the server lacks."""
    state = blocks.get(tx, ask.block)
    if state is None or state.sync_version != ask.sync_version:
        return []
    if not is_same(state.state_vector, ask.state_vector):
        return blocks.log(tx, ask.block)
    # State vectors do not include deletions: the server may lack those in unsent rows.
    unsent = blocks.has_unsent(tx, ask.block)
    return [r for r in blocks.log(tx, ask.block) if r.local] if unsent else []


def _answer_to(ask: LiveAsked, rows: Sequence[LogRow]) -> tuple[bytes, bool]:
    """Return what the server lacks of some rows, and whether it lacks any it acknowledged.

    Runs in a thread.
    """
    if not rows:
        return EMPTY, False
    try:
        behind = is_behind(ask.state_vector, [r.data for r in rows if not r.local])
        return missing([r.data for r in rows], ask.state_vector), behind
    except BlockError:
        return EMPTY, False
