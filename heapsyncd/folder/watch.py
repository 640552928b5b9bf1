"""Edge: watch a folder and hint where something may have changed.

A hint may be wrong or late; stats and bytes decide. Each start of watching yields
``Hint(everything=True)`` once the watch is armed. A scan made on it misses nothing: it finds
earlier changes, and later ones are hinted at.

States: *armed* (inotify reports changes), *polling* (inotify is exhausted: a scan every few
seconds, and from time to time another attempt), *waiting* (the folder is missing). Every
transition goes through the start and so causes a full scan.
"""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import structlog
from msgspec import Struct
from watchfiles import Change

# The public functions of watchfiles do not tell when the watch is armed.
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from heapsyncd.backoff import first_of
from heapsyncd.folder.ignore import TEMP

log = structlog.get_logger()

STEP_MS = 20
"""Interval of checks for changes, and how long it must be quiet before they are reported:

20 to 40 ms after a save. Half of it would double the cost of an idle watch, 0.2 % of a core.
"""

DEBOUNCE_MS = 60
"""A continuous stream of changes is reported after this time at the latest."""

CHECK_MS = 2_000
"""How often a quiet watch verifies that its folder is still the same directory."""

MANY = 1_000
"""A larger batch may hide an overflow of the kernel's queue, so everything is scanned."""

GONE_S = 1.0
"""How often to check for a missing folder, and how long to wait after a failed watch."""
POLL_S = 5.0
"""Seconds between full scans while polling."""
POLLS_BEFORE_RETRY = 120
"""Scans while polling before inotify is tried again."""

_LIMITS = "/proc/sys/fs/inotify"


class Hint(Struct, frozen=True):
    """Where something may have changed."""

    paths: frozenset[str] = frozenset()
    """Relative to the folder, with ``/``. A directory includes everything below it."""
    everything: bool = False
    trouble: str | None = None
    """Why changes are not reported, so that everything is hinted at every few seconds."""


EVERYTHING = Hint(everything=True)
Batch = set[tuple[int, str]] | Literal["signal", "stop", "timeout"]


class _Exhausted(Exception):
    """inotify has no watches or instances left for this process."""


async def watch(
    root: Path, stop: asyncio.Event, rearm: asyncio.Event | None = None
) -> AsyncIterator[Hint]:
    """Yield hints about changes below ``root`` until ``stop`` is set.

    Never raises because of the folder's state. To end its thread, close the generator
    (``contextlib.aclosing``) or set ``stop``; that takes one step.

    Args:
        root: the folder.
        stop: ends the watch.
        rearm: restarts the watch, for when it missed a change.
    """
    # Its own thread, because it is held for good; the loop's default threads are few.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"watch {root.name}")
    try:
        while not stop.is_set():
            again = asyncio.Event() if rearm is None else rearm
            again.clear()
            async with aclosing(await _state(root, thread, _StopSignal(stop, again))) as hints:
                async for hint in hints:
                    yield hint
    finally:
        thread.shutdown(wait=False)


class _StopSignal:
    """Tells the watching thread, which asks at every step, whether its state ends."""

    def __init__(self, stop: asyncio.Event, rearm: asyncio.Event) -> None:
        self.stop = stop
        self.rearm = rearm
        self.closed = False

    def is_set(self) -> bool:
        return self.closed or self.stop.is_set() or self.rearm.is_set()


async def _state(
    root: Path, thread: ThreadPoolExecutor, stop_signal: _StopSignal
) -> AsyncGenerator[Hint]:
    """Return the hints of the state that the folder and the system allow."""
    try:
        watching = await asyncio.get_running_loop().run_in_executor(thread, _arm, root)
    except (FileNotFoundError, NotADirectoryError):
        return _waiting(root, thread, stop_signal)
    except _Exhausted as reason:
        log.warning(str(reason), folder=str(root))
        return _polling(stop_signal, str(reason))
    return _armed(watching, thread, stop_signal)


async def _armed(
    watching: "_Watching", thread: ThreadPoolExecutor, stop_signal: _StopSignal
) -> AsyncGenerator[Hint]:
    """Yield hints until stopped or until the watch must be armed again."""
    loop = asyncio.get_running_loop()
    try:
        yield EVERYTHING
        while not stop_signal.is_set():
            hint = await loop.run_in_executor(thread, watching.next, stop_signal)
            if hint is None:
                return
            yield hint
    except (OSError, RuntimeError, WatchfilesRustInternalError) as error:
        log.warning(
            "watching the folder failed; starting again", folder=watching.root, reason=str(error)
        )
        await _pause(stop_signal.stop, GONE_S)
    finally:
        # A thread that still waits ends at its next step and then frees the descriptors.
        stop_signal.closed = True
        thread.submit(watching.notify.close)


async def _polling(stop_signal: _StopSignal, reason: str) -> AsyncGenerator[Hint]:
    """Yield hints at everything until it is time to try inotify again."""
    for _ in range(POLLS_BEFORE_RETRY):
        yield Hint(everything=True, trouble=reason)
        if await _pause(stop_signal.stop, POLL_S) or stop_signal.is_set():
            return


async def _waiting(
    root: Path, thread: ThreadPoolExecutor, stop_signal: _StopSignal
) -> AsyncGenerator[Hint]:
    """Wait until the folder exists (again)."""
    yield EVERYTHING
    loop = asyncio.get_running_loop()
    while not await _pause(stop_signal.stop, GONE_S):
        if await loop.run_in_executor(thread, _identity, str(root)) is not None:
            return


class _Watching(Struct, frozen=True):
    """An armed watch of one directory, known by path and identity."""

    notify: RustNotify
    root: str
    identity: tuple[int, int]

    def next(self, stop_signal: _StopSignal) -> Hint | None:
        """Wait for a hint, in the watch's thread. Returns None at the end of the watch."""
        while True:
            batch: Batch = self.notify.watch(DEBOUNCE_MS, STEP_MS, CHECK_MS, stop_signal)
            if _identity(self.root) != self.identity:
                return None
            if isinstance(batch, str):
                if batch == "timeout":
                    continue
                return None
            if (hint := self._hint(batch)) is not None:
                # Arming again causes a full scan, so this batch need not be reported.
                return None if _unwatchable(batch) else hint

    def _hint(self, batch: set[tuple[int, str]]) -> Hint | None:
        names = {_hinted_path(path.removeprefix(self.root).lstrip("/")) for _, path in batch}
        if "" in names or len(names) > MANY:
            return EVERYTHING
        # Our own temporaries change with every write; their final names are hinted at as well.
        kept = frozenset(n for n in names if not TEMP.fullmatch(n.rpartition("/")[2]))
        return Hint(kept) if kept else None


def _hinted_path(name: str) -> str:
    """Return the path to hint at.

    For a garbled name, which was not UTF-8, that is its directory.
    """
    return name.rpartition("/")[0] if "\ufffd" in name else name


def _arm(root: Path) -> _Watching:
    path = os.fspath(root.absolute())
    identity = _identity(path)
    if identity is None:
        raise FileNotFoundError(path)
    try:
        return _Watching(_recursive(path), path, identity)
    except FileNotFoundError:
        raise
    except (OSError, WatchfilesRustInternalError) as error:
        raise _Exhausted(_advice(path, str(error))) from error


def _recursive(path: str) -> RustNotify:
    try:
        return _notify(path, recursive=True)
    except PermissionError:
        # A directory may not be read. Ignoring this makes watchfiles ignore every refusal, even
        # an exhausted inotify. One more watch tells whether there was room.
        notify = _notify(path, recursive=True, ignore_refusals=True)
        _notify(path, recursive=False).close()
        return notify


def _notify(path: str, *, recursive: bool, ignore_refusals: bool = False) -> RustNotify:
    return RustNotify(
        [path],
        debug=False,
        force_polling=False,
        poll_delay_ms=0,
        recursive=recursive,
        ignore_permission_denied=ignore_refusals,
    )


def _identity(path: str) -> tuple[int, int] | None:
    """Return which directory a path leads to, None if it leads to none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _unwatchable(batch: set[tuple[int, str]]) -> bool:
    """Return whether a new directory could not be watched. watchfiles does not report this."""
    for change, name in batch:
        path = Path(name)
        if change != Change.added or path.is_symlink() or not path.is_dir():
            continue
        try:
            _notify(name, recursive=False).close()
        except FileNotFoundError:
            continue
        except (OSError, WatchfilesRustInternalError):
            return True
        return False
    return False


def _advice(path: str, error: str) -> str:
    """Return, for people, which limit is exhausted and how to raise it."""
    if "watch limit" in error:
        directories = 1 + sum(len(inner) for _, inner, _ in os.walk(path))
        name, fix = "max_user_watches", 524_288
        why = f"this folder alone has {directories} directories"
    elif "Too many open files" in error:
        name, fix, why = "max_user_instances", 1024, "or raise the limit of open files (ulimit -n)"
    else:
        return f"The folder cannot be watched ({error}); it is scanned every {POLL_S:g} s instead."
    return (
        f"inotify is exhausted (fs.inotify.{name} = {_limit(name)}; {why}): the folder is scanned "
        f"every {POLL_S:g} s instead. Fix: sudo sysctl fs.inotify.{name}={fix}, and put "
        f"fs.inotify.{name}={fix} into /etc/sysctl.d/60-heapsyncd.conf to keep it."
    )


def _limit(name: str) -> str:
    try:
        with Path(_LIMITS, name).open() as file:
            return file.read().strip()
    except OSError:
        return "unknown"


async def _pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait. Returns True as soon as the stop is set."""
    await first_of(stop, timeout_s=seconds)
    return stop.is_set()
