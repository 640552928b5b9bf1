"""What every backend that can follow changes live does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from heapsyncd.backends.contract import (
    Backend,
    LiveAsked,
    LiveConnected,
    LiveDisconnected,
    LiveEvent,
    LiveFeed,
    LiveLost,
    LiveSynced,
    LiveUpdate,
)
from heapsyncd.ids import BlockId, HeapId
from tests.contract.worlds import Document, World, pulled, said, speak


class Reader:
    """Follows blocks and keeps their documents, as a mirror would."""

    def __init__(self, backend: Backend, heap_id: HeapId) -> None:
        self.backend = backend
        self.heap = heap_id
        self.docs: dict[BlockId, Document] = {}
        self.versions: dict[BlockId, int] = {}
        self.events: list[LiveEvent] = []
        self.feed: LiveFeed
        self._more = asyncio.Event()

    async def load(self, block: BlockId) -> None:
        answer = await pulled(self.backend, self.heap, block)
        self.docs[block] = Document()
        self.docs[block].apply_update(answer.update)
        self.versions[block] = answer.sync_version

    async def opening(self, blocks: Sequence[BlockId]) -> Mapping[BlockId, tuple[int, bytes]]:
        return {b: (self.versions[b], self.docs[b].get_state()) for b in blocks if b in self.docs}

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[LiveFeed]:
        async with self.backend.live(self.heap, self.opening) as self.feed:
            task = asyncio.create_task(self._read())
            try:
                yield self.feed
            finally:
                task.cancel()

    async def _read(self) -> None:
        async for event in self.feed:
            match event:
                case LiveUpdate(block, version, update) if version == self.versions[block]:
                    self.docs[block].apply_update(update)
                case LiveAsked(block, version, vector) if version == self.versions[block]:
                    self.feed.answer(block, self.docs[block].get_update(vector))
            self.events.append(event)
            self._more.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def synced(self, *blocks: BlockId) -> None:
        await self.until(lambda: {LiveSynced(block) for block in blocks} <= set(self.events))


async def eventually(world: World, block: BlockId, text: str) -> None:
    """Wait until the server's document says it."""
    async with asyncio.timeout(15):
        while await world.text(block) != text:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_changes_of_others_arrive(world: World, backend: Backend, heap_id: HeapId) -> None:
    """Of every followed block, and of no other."""
    world.needs("live")
    blocks = [await world.add_block(heap_id, "document", "N", f"text {n}") for n in range(3)]
    reader = Reader(backend, heap_id)
    for block in blocks:
        await reader.load(block)
    async with reader.reading() as feed:
        feed.follow(blocks[:2])
        await reader.synced(*blocks[:2])
        await world.write(blocks[2], "unheard ")
        await world.write(blocks[0], "heard ")
        await reader.until(lambda: said(reader.docs[blocks[0]]) == "heard text 0")
        assert feed.connected
    assert said(reader.docs[blocks[2]]) == "text 2"


async def test_what_was_missed_arrives_at_opening(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """The state vector given at opening decides; what we have and the server lacks goes up."""
    world.needs("live")
    block = await world.add_block(heap_id, "document", "N", "base")
    reader = Reader(backend, heap_id)
    await reader.load(block)
    await world.write(block, "theirs ")
    speak(reader.docs[block], "ours ")
    async with reader.reading() as feed:
        feed.follow([block])
        await reader.synced(block)
        text = said(reader.docs[block])
        assert sorted(text.split()) == ["base", "ours", "theirs"]
        await eventually(world, block, text)


async def test_what_is_sent_reaches_the_document(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """A large update too, which no push would take."""
    world.needs("live")
    block = await world.add_block(heap_id, "document", "N", "base")
    reader = Reader(backend, heap_id)
    await reader.load(block)
    async with reader.reading() as feed:
        feed.follow([block])
        await reader.synced(block)
        feed.send(block, speak(reader.docs[block], "large " * 2_000_000))
        await eventually(world, block, said(reader.docs[block]))


async def test_after_a_break_everything_is_current_again(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """Disconnected, connected, and what happened in between has arrived."""
    world.needs("live")
    blocks = [await world.add_block(heap_id, "document", "N", "text") for _ in range(120)]
    reader = Reader(backend, heap_id)
    for block in blocks:
        await reader.load(block)
    async with reader.reading() as feed:
        feed.follow(blocks)
        await reader.synced(*blocks)
        reader.events.clear()
        await world.drop()
        await world.write(blocks[5], "meanwhile ")
        await reader.synced(*blocks)
        await reader.until(lambda: said(reader.docs[blocks[5]]) == "meanwhile text")
        kinds = [type(event) for event in reader.events]
        assert kinds.index(LiveDisconnected) < kinds.index(LiveConnected)


async def test_a_compacted_block_is_lost_and_opened_under_its_new_version(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """The others are not disturbed; after reopen its changes arrive again."""
    world.needs("live")
    block, other = [await world.add_block(heap_id, "document", "N", "text") for _ in range(2)]
    reader = Reader(backend, heap_id)
    await reader.load(block)
    await reader.load(other)
    async with reader.reading() as feed:
        feed.follow([block, other])
        await reader.synced(block, other)
        await world.compact(block)
        await reader.until(lambda: any(isinstance(event, LiveLost) for event in reader.events))
        await reader.load(block)
        reader.events.clear()
        feed.reopen(block)
        await reader.synced(block)
        await world.write(block, "after ")
        await world.write(other, "too ")
        await reader.until(lambda: said(reader.docs[block]) == "after text")
        await reader.until(lambda: said(reader.docs[other]) == "too text")
        assert not any(isinstance(event, LiveDisconnected) for event in reader.events)


async def test_a_stale_version_is_denied(world: World, backend: Backend, heap_id: HeapId) -> None:
    """Whoever opens the old name learns it, and the new one can be opened."""
    world.needs("live")
    block, other = [await world.add_block(heap_id, "document", "N", "text") for _ in range(2)]
    reader = Reader(backend, heap_id)
    await reader.load(block)
    await reader.load(other)
    await world.compact(block)
    async with reader.reading() as feed:
        feed.follow([block, other])
        await reader.until(
            lambda: any(isinstance(e, LiveLost) and e.block == block for e in reader.events)
        )
        await reader.load(block)
        feed.reopen(block)
        await reader.synced(block, other)


async def test_a_left_block_is_quiet_and_can_be_followed_again(
    world: World, backend: Backend, heap_id: HeapId
) -> None:
    """With what happened meanwhile."""
    world.needs("live")
    block, other = [await world.add_block(heap_id, "document", "N", "text") for _ in range(2)]
    reader = Reader(backend, heap_id)
    await reader.load(block)
    await reader.load(other)
    async with reader.reading() as feed:
        feed.follow([block, other])
        await reader.synced(block, other)
        feed.follow([other])
        await world.write(block, "unheard ")
        await world.write(other, "heard ")
        await reader.until(lambda: said(reader.docs[other]) == "heard text")
        reader.events.clear()
        feed.follow([other, block])
        await reader.synced(block)
        assert said(reader.docs[block]) == "unheard text"
