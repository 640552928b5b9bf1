"""A reader of the live feed as sync is one: a document for each block, kept current."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pycrdt import Doc, XmlFragment

from heapsyncd.backends.contract import LiveFeed
from heapsyncd.backoff import Lane
from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.wire import websocket
from heapsyncd.wire.feed import Feed
from heapsyncd.wire.rest import Rest
from heapsyncd.wire.values import (
    LiveAnnounced,
    LiveAsked,
    LiveConnected,
    LiveDisconnected,
    LiveLost,
    LiveSynced,
    LiveUpdate,
)


class OneToken:
    """A session that holds one token for ever, and notes when the feed doubts it."""

    def __init__(self, text: str) -> None:
        self._token = Token(text)
        self.doubts = 0

    async def token(self) -> Token:
        """The token."""
        return self._token

    def doubt(self, token: Token) -> None:
        """It was let into nothing."""
        self.doubts += 1

    def is_rejected(self, token: Token) -> bool:
        """No call ever got 401 with it."""
        return False


class Follower:
    """Documents by block, changed by what the feed says; ``until`` waits for a condition."""

    def __init__(self) -> None:
        self.docs: dict[BlockId, Doc[Any]] = {}
        self.versions: dict[BlockId, int] = {}
        self.synced: set[BlockId] = set()
        self.lost: dict[BlockId, LiveLost] = {}
        self.links = self.drops = self.announced = 0
        self._changed = asyncio.Condition()

    async def opening(self, blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        """What the feed opens documents with."""
        return {b: (self.versions.get(b, 1), self.doc(b).get_state()) for b in blocks}

    def doc(self, block: BlockId) -> "Doc[Any]":
        """Our copy."""
        if block not in self.docs:
            self.docs[block] = Doc()
            self.docs[block]["content_v0"] = XmlFragment()
        return self.docs[block]

    def text(self, block: BlockId) -> str:
        """The body of our copy, as pycrdt prints it."""
        return str(self.doc(block).get("content_v0", type=XmlFragment))

    async def read(self, feed: LiveFeed) -> None:
        """Follow the feed to its end."""
        async for event in feed:
            async with self._changed:
                match event:
                    case LiveUpdate(block, _, update):
                        self.doc(block).apply_update(update)
                    case LiveAsked(block, _, state_vector):
                        feed.answer(block, self.doc(block).get_update(state_vector))
                    case LiveSynced(block):
                        self.synced.add(block)
                    case LiveLost(block):
                        self.lost[block] = event
                    case LiveAnnounced():
                        self.announced += 1
                    case LiveConnected():
                        self.links += 1
                    case LiveDisconnected():
                        self.drops += 1
                        self.synced.clear()
                self._changed.notify_all()

    async def until(self, condition: Callable[[], object], limit_s: float = 10) -> None:
        """Wait for a condition on what is held here; TimeoutError after the limit."""
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(condition)


@asynccontextmanager
async def following(
    url: str, heap_id: HeapId, tokens: OneToken
) -> AsyncIterator[tuple[Feed, Follower]]:
    """A running feed, whose reconnects come at once, and who reads it."""
    follower = Follower()
    async with Rest(url) as rest:
        connect = partial(websocket.connect, rest)
        lane = Lane(rest.contact, chance=lambda: 0.0)
        feed = Feed(heap_id, follower.opening, connect, tokens, lane)
        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(follower.read(feed))]
        try:
            yield feed, follower
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
