"""Structured concurrency: nothing goes on after who waits for it was cancelled."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class TaskGroup(asyncio.TaskGroup):
    """The task group of this program, whose errors never swallow a cancellation from outside.

    Before Python 3.13 a group raises the errors of its tasks *instead of* the cancellation, when
    both come at once. Whoever catches such errors to try again would then live on for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._running: set[asyncio.Task[Any]] = set()
        self._cancelling_before = 0

    async def __aenter__(self) -> Self:
        """Begin; the current task is the parent."""
        await super().__aenter__()
        self._cancelling_before = _current().cancelling()
        return self

    def create_task(
        self,
        coro: Coroutine[Any, Any, T],  # type: ignore[override] # generators are not wanted here
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """As ``asyncio.TaskGroup.create_task``."""
        task: asyncio.Task[T] = super().create_task(coro, name=name, context=context)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def __aexit__(
        self,
        et: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Wait for the tasks.

        Raises:
            BaseExceptionGroup: as ``asyncio.TaskGroup``. When the group was cancelled from
                outside, too, the next ``await`` raises CancelledError.
        """
        if et is None:
            # Waited for here: a cancellation that the group itself asks for once it has begun to
            # exit is never taken back by Python 3.11, and could not be told from one from outside.
            try:
                while self._running:
                    await asyncio.wait(self._running)
            except asyncio.CancelledError as cancelled:
                et, exc, tb = type(cancelled), cancelled, cancelled.__traceback__
        try:
            await super().__aexit__(et, exc, tb)
        except BaseExceptionGroup:
            task = _current()
            if task.cancelling() > self._cancelling_before:
                task.uncancel()
                task.cancel()
            raise


async def in_thread(work: Callable[[], T]) -> T:
    """Return the result of work in a thread; a cancelled caller continues once that has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_done(running)
        raise


async def wait_done(task: "asyncio.Future[Any]") -> None:
    """Wait for a task to end, even if the caller is cancelled. Its error is not raised."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
