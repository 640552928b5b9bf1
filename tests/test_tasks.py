"""The task group: errors and a cancellation that come at once."""

import asyncio

import pytest

from heapsyncd.tasks import TaskGroup


async def _fails_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise ValueError("a socket that breaks while it is closed")


async def test_an_error_does_not_swallow_the_cancellation() -> None:
    """Who tries again after an error is ended all the same."""
    tries = 0

    async def tries_for_ever() -> None:
        nonlocal tries
        while True:
            tries += 1
            try:
                async with TaskGroup() as group:
                    group.create_task(_fails_when_cancelled())
            except* ValueError:
                pass
            await asyncio.sleep(0)

    task = asyncio.create_task(tries_for_ever())
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5.0)
    assert done
    assert task.cancelled()
    assert tries == 1


async def test_an_error_alone_cancels_nobody() -> None:
    """The group that a task's error ended is no cancellation of who waited for it."""

    async def fails() -> None:
        raise ValueError("one")

    with pytest.raises(BaseExceptionGroup):
        async with TaskGroup() as group:
            group.create_task(fails())
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)
