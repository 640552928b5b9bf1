"""Edge: other processes, for pure functions on many values.

Only one thread of a process runs Python code at a time. So where a second core is free, a part of
the work on many documents is handed to other processes: a function of a module, and its argument
and result as values. A process that ends early costs nothing but time, because whoever asked does
the work itself.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from heapsyncd import __version__

A = TypeVar("A")
Q = TypeVar("Q")
log = structlog.get_logger()

MOST: Final = 4
"""The most processes; each takes some 60 MB."""
MANY: Final = 400
"""Processes are started for so many values: that takes as long as the work on some hundred."""
WORK_S: Final = 30.0
"""A process that uses more processor time for one request is ended: a document may hang it."""
IDLE_S: Final = 20.0
"""Processes without work for this long are ended."""
_SUPPLIES: Final = Path("/sys/class/power_supply")


_started = 0
"""How many processes there are now, of all heaps."""


def spare_cores() -> int:
    """Return how many processes to use beside this one: none with one core or on battery."""
    return 0 if on_battery() else min(len(os.sched_getaffinity(0)) - 1, MOST)


def on_battery(supplies: Path = _SUPPLIES) -> bool:
    """Return whether the machine has a battery that is being emptied.

    Args:
        supplies: the kernel's directory of power supplies; without it there is no battery.
    """
    try:
        found = list(Path(supplies).iterdir())
    except OSError:
        return False
    return any(
        _read(supply / "type") == "Battery"
        # A mouse or a keyboard has one, too.
        and _read(supply / "scope") != "Device"
        and _read(supply / "status") == "Discharging"
        for supply in found
    )


class Processes:
    """The processes of one heap; none until many values are expected. ``close`` them.

    Args:
        spare: returns how many may run now in this program; asked when they would be started.
    """

    def __init__(self, spare: Callable[[], int] = lambda: 0) -> None:
        self._spare = spare
        self._pool: ProcessPoolExecutor | None = None
        self._count = 0
        self._starting: list[Future[Any]] = []
        self._is_broken = False
        """Whether the processes ended by themselves: the next ones would, too."""
        self._running = 0
        self._idle: asyncio.TimerHandle | None = None

    @property
    def ready(self) -> int:
        """How many can work now; nobody waits for processes that are starting."""
        return len(self._starting) if all(f.done() for f in self._starting) else 0

    async def expect(self, work: Callable[[Sequence[Q]], Sequence[A]], values: int) -> None:
        """Start the processes if there will be so many values to work on that it is worth it.

        Args:
            work: a module's function, which is then asked for results.
            values: how many there will be.
        """
        if values < MANY or self._pool is not None or self._is_broken:
            return
        count = self._spare() - _started
        if count <= 0:
            return
        try:
            pool = ProcessPoolExecutor(
                count,
                mp_context=get_context("spawn"),
                initializer=_prepare,
                initargs=(__version__,),
            )
        except (OSError, ImportError, NotImplementedError) as error:  # no semaphores here
            self._is_broken = True
            log.warning("no other processes can be started", reason=str(error))
            return
        self._pool, self._count = pool, count
        _count(count)
        try:
            # Each new task starts one more process, which imports what the function needs.
            self._starting = await asyncio.to_thread(
                lambda: [pool.submit(_limited, WORK_S, work, []) for _ in range(count)]
            )
        except (OSError, BrokenProcessPool) as error:
            self._give_up(pool, error)
        else:
            log.info("other processes started for many notes", processes=count)
            self._end_when_idle()

    async def results(
        self, work: Callable[[Sequence[Q]], Sequence[A]], values: Sequence[Q]
    ) -> Sequence[A] | None:
        """Return what a module's function makes of values in another process.

        None if there is none any more, or it failed: do it here.
        """
        pool = self._pool
        if pool is None:
            return None
        self._running += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(pool, _limited, WORK_S, work, values)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return None  # it waited when another request failed, and was not begun
        except Exception as error:  # noqa: BLE001 -- what is wrong with the values shows here, too
            self._give_up(pool, error)
            return None
        finally:
            self._running -= 1
            self._end_when_idle()

    async def close(self) -> None:
        """End the processes, whatever they are doing."""
        pool = self._forgotten()
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # noqa: SLF001
                process.kill()
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    def _give_up(self, pool: ProcessPoolExecutor, error: Exception) -> None:
        pool.shutdown(wait=False, cancel_futures=True)
        if self._pool is pool:
            self._forgotten()
            self._is_broken = True
            log.warning("other processes ended, this one does the work alone", reason=str(error))

    def _forgotten(self) -> ProcessPoolExecutor | None:
        """Return the processes, which are not used any more."""
        pool, self._pool = self._pool, None
        if pool is not None:
            _count(-self._count)
        self._starting = []
        if self._idle is not None:
            self._idle.cancel()
        return pool

    def _end_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._pool is not None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end)

    def _end(self) -> None:
        if self._running or not self.ready:
            self._end_when_idle()
        elif (pool := self._forgotten()) is not None:
            pool.shutdown(wait=False)


def _count(more: int) -> None:
    global _started  # noqa: PLW0603 -- the process's own
    _started += more


def _prepare(version: str) -> None:
    """Prepare another process."""
    if version != __version__:
        os._exit(1)  # another one was installed since the daemon began
    # The terminal's Ctrl-C also reaches it, but the daemon ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _limited(
    seconds: float, work: Callable[[Sequence[Q]], Sequence[A]], values: Sequence[Q]
) -> Sequence[A]:
    """Call the function; this process ends when it takes more processor time than this."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return work(values)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _end_with_parent() -> None:
    """End this process when the daemon was killed; it holds both ends of its queue."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 100).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)
