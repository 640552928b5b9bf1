"""Follow the live feed: which blocks, and what to do with what it tells.

The blocks that changed last are followed, up to a limit that is there for the server: it keeps
each open document in memory, and opening one costs it about a millisecond.

What is not followed (because it is new, or because there are too many) other devices announce over
the *channel*, a block that all of them follow: then the delta feed is polled at once. Nothing
depends on it: where a server passes no announcements on, the next poll brings the news. Apps make
none. As whoever edits a note in one may have made another, a poll follows each live change, too.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final

import structlog
from msgspec import Struct, field

from heapsyncd.backends.contract import (
    LiveAnnounced,
    LiveAsked,
    LiveConnected,
    LiveDisconnected,
    LiveEvent,
    LiveFeed,
    LiveLost,
    LiveUpdate,
)
from heapsyncd.backoff import first_of
from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import LogRow
from heapsyncd.database import Tx
from heapsyncd.document.encoding.state_vectors import is_same
from heapsyncd.document.updates import EMPTY, missing
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.pull.absorb import Incoming
from heapsyncd.sync.pull.receive import receive
from heapsyncd.sync.pull.server_rollback import is_behind
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

Found = dict[BlockId, int]
"""Blocks and their versions."""

BURST = 64
"""At most this many live events are handled together."""
BURST_BYTES = 1 << 20
"""No more events are added to a burst that has this many bytes."""
GATHER_S = 0.02
"""The shortest time between two bursts of live events."""
CHOSEN_AGAIN_S = 0.3
"""The shortest time between two selections of what to follow."""
CALM_S = 1.0
"""Where not all are followed, others are selected once nothing has changed for this time."""
CALM_MOST_S = 30.0
"""Or after this time."""
EAGERLY: Final = 2000
"""While a whole heap is uploaded or mirrored, no more blocks than this are followed."""
MANY_COMING = 200
"""With more new blocks than this, a whole heap is being uploaded or mirrored."""
SPREAD_S: Final = 0.02
SPREAD_POLLS: Final = 2
"""After an announcement, devices poll within SPREAD_S, or within the time of so many polls if that
is longer: the slower the server answers, the more devices may be asking it."""


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
    """Keep the set of followed blocks up to date with the cache.

    All blocks are looked up once, afterwards only those that changed.
    """
    link, chosen = heap.link, _Chosen(limit)
    link.followed = {}
    while True:
        heap.wake.follow.clear()
        changed, link.refollow = link.refollow, set()
        if (channel := _channel(heap)) is not None:
            changed.add(channel)
        among = None if chosen.has_room or len(changed) > limit else changed
        newest = limit + 1 if among is None else 0
        look_up = partial(_look_up, heap_id=heap.id, some=changed, newest=newest)
        found = await heap.db.read(look_up)
        before, link.channel = link.followed, channel
        link.followed = chosen.update(found, among, channel)
        link.follows_all = chosen.is_all
        heap.report.followed = len(link.followed)
        if link.followed.keys() != before.keys():
            feed.follow(link.followed)
        for block, version in link.followed.items():
            if before.get(block, version) != version:
                feed.reopen(block)
        await asyncio.sleep(CHOSEN_AGAIN_S)
        await heap.wake.follow.wait()
        if not chosen.is_all:
            # One new block is as new as the other: do not open and close each in turn.
            await _wait_for_calm(heap.wake.follow)
        while _are_many_coming(heap) and len(link.followed) > EAGERLY:
            # Opening them would take time from what brings them.
            link.follows_all = False
            heap.wake.follow.clear()
            await heap.wake.follow.wait()


async def _wait_for_calm(changes: asyncio.Event) -> None:
    """Wait until nothing has changed for CALM_S, at most CALM_MOST_S."""
    end = time.monotonic() + CALM_MOST_S
    while changes.is_set() and time.monotonic() < end:
        changes.clear()
        await first_of(changes, timeout_s=CALM_S)


def _look_up(tx: Tx, heap_id: HeapId, some: Collection[BlockId], newest: int) -> Found:
    """Return those of some blocks, and as many of the newest, that can be followed."""
    found = blocks.followable(tx, heap_id, newest) if newest else {}
    return found | blocks.followable_among(tx, heap_id, some)


def _channel(heap: HeapContext) -> BlockId | None:
    """Return the block over which devices announce news, the same one on all of them.

    It is the oldest folder or tag, which nobody opens in an editor, where somebody who comes and
    goes would be shown; if there is none, the oldest note.
    """
    known = heap.index.blocks
    live = (b for b, info in known.items() if info.live and b not in heap.index.born)
    return min(live, key=lambda b: (known[b].kind == "document", b), default=None)


def _are_many_coming(heap: HeapContext) -> bool:
    """Return whether a whole heap is being uploaded or mirrored."""
    index = heap.index
    return len((index.born | index.wanted) - index.troubled.keys()) > MANY_COMING


class _Chosen:
    """The blocks that changed last, up to a limit, and the channel."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._versions: Found = {}
        """Those that changed last are at the end."""
        self.is_all = False
        """Whether there are no others."""

    @property
    def has_room(self) -> bool:
        """Whether blocks that were left out can be followed."""
        return not self.is_all and len(self._versions) < self._limit

    def update(
        self, found: Found, among: Collection[BlockId] | None, channel: BlockId | None
    ) -> Found:
        """Take over which blocks can be followed, and return those to follow, in order.

        Args:
            found: the versions of those that can be, those that changed last first.
            among: of these blocks; None: of all.
            channel: is always followed, and opened first.
        """
        if among is None:
            self._versions, self.is_all = {}, True
        for block in among or ():
            self._versions.pop(block, None)
        self._versions |= {block: found[block] for block in reversed(found)}
        most = max(0, len(self._versions) - self._limit)
        surplus = [b for b in self._versions if b != channel][:most]
        for block in surplus:
            del self._versions[block]
            self.is_all = False
        first = {} if channel not in self._versions else {channel: self._versions[channel]}
        return first | {b: self._versions[b] for b in reversed(self._versions)}


class _OpenQuestions(Struct):
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
                    if update != EMPTY:
                        # Nobody waits for the rest, and a server would have work with it.
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
            case LiveAnnounced():
                spread_s = max(SPREAD_S, SPREAD_POLLS * heap.link.poll_took_s)
                announced_s, burst = heap.timing.announced_s, heap.timing.announcements
                heap.wake.poll_soon.ask(spread_s, apart_s=announced_s, burst=burst)
            case _:
                pass
    updates = [e for e in events if isinstance(e, LiveUpdate)]
    items = [Incoming(u.block, u.sync_version, u.update) for u in updates]
    if items and await receive(heap, items):
        # Somebody is at work: he may create something, too, which no app announces.
        after_change_s = heap.timing.after_change_s
        heap.wake.poll_soon.ask(after_change_s, apart_s=after_change_s)


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
