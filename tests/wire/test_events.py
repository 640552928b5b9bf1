"""The queue of live events: order, both marks, and its end."""

import asyncio

import pytest

from heapsyncd.ids import BlockId
from heapsyncd.wire.events import EventQueue
from heapsyncd.wire.values import LiveEvent, LiveSynced, LiveUpdate


def event(number: int) -> LiveEvent:
    return LiveSynced(BlockId(str(number)))


async def test_high_pauses_the_source_and_low_resumes_it() -> None:
    """A put beyond the high mark waits until the low one is reached."""
    queue = EventQueue(high=4, low=2)
    for number in range(4):
        await queue.put(event(number))
    assert queue.full
    putting = asyncio.create_task(queue.put(event(4)))
    assert await queue.get() == event(0)
    await asyncio.sleep(0)
    assert not putting.done()
    assert await queue.get() == event(1)
    await putting
    assert [await queue.get() for _ in range(3)] == [event(2), event(3), event(4)]


async def test_large_updates_pause_it_too() -> None:
    """A few large updates fill the queue as well as many small events."""
    queue = EventQueue(high=100, low=50, high_bytes=10)
    await queue.put(LiveUpdate(BlockId("a"), 1, bytes(6)))
    full = [queue.full]
    await queue.put(LiveUpdate(BlockId("a"), 1, bytes(6)))
    full.append(queue.full)
    await queue.get()
    assert [*full, queue.full] == [False, True, False]


async def test_what_is_at_hand_is_taken_without_waiting() -> None:
    """In order, and it makes room."""
    queue = EventQueue(high=2, low=1)
    assert queue.at_hand() is None
    for number in range(2):
        await queue.put(event(number))
    assert queue.full
    assert [queue.at_hand(), queue.full] == [event(0), False]
    assert [queue.at_hand(), queue.at_hand()] == [event(1), None]


async def test_an_ended_queue_gives_what_it_holds_first() -> None:
    """Then it stops; a failure is met by every reader."""
    queue = EventQueue()
    await queue.put(event(1))
    queue.end(ValueError("why"))
    queue.end()
    assert await queue.get() == event(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="why"):
            await queue.get()


async def test_a_waiting_reader_learns_of_the_end() -> None:
    """Nobody waits for ever."""
    queue = EventQueue()
    reading = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.end()
    with pytest.raises(StopAsyncIteration):
        await reading
