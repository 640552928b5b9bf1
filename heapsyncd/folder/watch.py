"""Edge: hints where in a folder to look. A hint may be wrong or late; stats and bytes decide.

Each start of watching yields ``Hint(everything=True)`` once the watch is armed, so that a scan
made on it misses nothing: what changes after the scan is hinted at, what changed before is found.

States: *armed* (inotify tells us), *polling* (inotify is used up: a scan every few seconds, now
and then another try), *gone* (the folder is missing: wait until it is back). Each way from one to
another passes the start, and so a full scan.
"""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from watchfiles import Change

# The public functions of watchfiles do not tell when the watch is armed.
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from heapsyncd.backoff import first_of
from heapsyncd.folder.ignore import TEMP

log = structlog.get_logger()

STEP_MS = 20
"""So often changes are looked for, and given out when no more came: 20 to 40 ms after a save.
Half of it doubles what an idle watch costs, which is 0.2 % of a core."""

DEBOUNCE_MS = 60
"""A stream of changes is given out at the latest after so long."""

CHECK_MS = 2_000
"""So often a quiet watch makes sure that its folder is still the same directory."""

MANY = 1_000
"""A larger batch may hide an overflow of the kernel's queue: everything is looked at."""

GONE_S = 1.0
POLL_S = 5.0
POLLS_BEFORE_RETRY = 120

_LIMITS = "/proc/sys/fs/inotify"


@dataclass(frozen=True, slots=True)
class Hint:
    """Where something may have changed."""

    paths: frozenset[str] = frozenset()
    """Relative to the folder, with ``/``; for a directory, what is below it too."""
    everything: bool = False
    trouble: str | None = None
    """Why nobody tells of changes, so that everything is hinted at every few seconds."""


EVERYTHING = Hint(everything=True)
Batch = set[tuple[int, str]] | Literal["signal", "stop", "timeout"]


class _Exhausted(Exception):
    """inotify has no watches or instances left for us."""


async def watch(
    root: Path, stop: asyncio.Event, rearm: asyncio.Event | None = None
) -> AsyncIterator[Hint]:
    """Hint at changes below ``root`` until ``stop`` is set.

    ``rearm``: set it to start watching anew, when a change was not told of.

    Never raises for what happens to the folder. Close it (``contextlib.aclosing``) or set ``stop``
    to end its thread, which takes one step.
    """
    # A thread of its own, because it is kept for good: the loop's default ones are few.
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"watch {root.name}")
    try:
        while not stop.is_set():
            again = asyncio.Event() if rearm is None else rearm
            again.clear()
            async with aclosing(await _state(root, thread, _Ending(stop, again))) as hints:
                async for hint in hints:
                    yield hint
    finally:
        thread.shutdown(wait=False)


class _Ending:
    """What the watching thread asks at every step: whether its state is to end."""

    def __init__(self, stop: asyncio.Event, rearm: asyncio.Event) -> None:
        self.stop = stop
        self.rearm = rearm
        self.closed = False

    def is_set(self) -> bool:
        return self.closed or self.stop.is_set() or self.rearm.is_set()


async def _state(root: Path, thread: ThreadPoolExecutor, ending: _Ending) -> AsyncGenerator[Hint]:
    """The hints of the state that the folder and the system allow."""
    try:
        watching = await asyncio.get_running_loop().run_in_executor(thread, _arm, root)
    except (FileNotFoundError, NotADirectoryError):
        return _gone(root, thread, ending)
    except _Exhausted as reason:
        log.warning(str(reason), folder=str(root))
        return _polling(ending, str(reason))
    return _armed(watching, thread, ending)


async def _armed(
    watching: "_Watching", thread: ThreadPoolExecutor, ending: _Ending
) -> AsyncGenerator[Hint]:
    """Until it is stopped or has to be armed anew."""
    loop = asyncio.get_running_loop()
    try:
        yield EVERYTHING
        while not ending.is_set():
            hint = await loop.run_in_executor(thread, watching.next, ending)
            if hint is None:
                return
            yield hint
    except (OSError, RuntimeError, WatchfilesRustInternalError) as error:
        log.warning("the watch broke; it starts anew", folder=watching.root, reason=str(error))
        await _pause(ending.stop, GONE_S)
    finally:
        # A thread that still waits ends at its next step, and then gives the descriptors back.
        ending.closed = True
        thread.submit(watching.notify.close)


async def _polling(ending: _Ending, reason: str) -> AsyncGenerator[Hint]:
    """Until it is time to try inotify again."""
    for _ in range(POLLS_BEFORE_RETRY):
        yield Hint(everything=True, trouble=reason)
        if await _pause(ending.stop, POLL_S) or ending.is_set():
            return


async def _gone(root: Path, thread: ThreadPoolExecutor, ending: _Ending) -> AsyncGenerator[Hint]:
    """Until the folder is there (again)."""
    yield EVERYTHING
    loop = asyncio.get_running_loop()
    while not await _pause(ending.stop, GONE_S):
        if await loop.run_in_executor(thread, _identity, str(root)) is not None:
            return


@dataclass(frozen=True)
class _Watching:
    """An armed watch of one directory, by path and identity."""

    notify: RustNotify
    root: str
    identity: tuple[int, int]

    def next(self, ending: _Ending) -> Hint | None:
        """Wait for a hint, in the watch's thread; None when the watch is at its end."""
        while True:
            batch: Batch = self.notify.watch(DEBOUNCE_MS, STEP_MS, CHECK_MS, ending)
            if _identity(self.root) != self.identity:
                return None
            if isinstance(batch, str):
                if batch == "timeout":
                    continue
                return None
            if (hint := self._hint(batch)) is not None:
                # To arm anew means a full scan, so that the batch need not be told.
                return None if _unwatchable(batch) else hint

    def _hint(self, batch: set[tuple[int, str]]) -> Hint | None:
        names = {_told(path.removeprefix(self.root).lstrip("/")) for _, path in batch}
        if "" in names or len(names) > MANY:
            return EVERYTHING
        # Our own temporaries come and go with every write; the name they take is hinted at too.
        kept = frozenset(n for n in names if not TEMP.fullmatch(n.rpartition("/")[2]))
        return Hint(kept) if kept else None


def _told(name: str) -> str:
    """Where a hint leads to. A name that is not UTF-8 comes garbled: its directory does."""
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
        # A directory that may not be read. To ignore this lets watchfiles ignore any refusal, a
        # used up inotify too: one watch more tells whether there was room.
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
    """Which directory a path leads to; None when it leads to none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _unwatchable(batch: set[tuple[int, str]]) -> bool:
    """Whether a new directory could not be watched, which watchfiles keeps to itself."""
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
    if "watch limit" in error:
        directories = 1 + sum(len(inner) for _, inner, _ in os.walk(path))
        name, fix = "max_user_watches", 524_288
        why = f"this folder alone has {directories} directories"
    elif "Too many open files" in error:
        name, fix, why = "max_user_instances", 1024, "or raise the limit of open files (ulimit -n)"
    else:
        return f"The folder can't be watched ({error}); it is scanned every {POLL_S:g} s instead."
    return (
        f"inotify is used up (fs.inotify.{name} = {_limit(name)}; {why}): the folder is scanned "
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
    """Wait; True as soon as the stop is set."""
    await first_of(stop, timeout_s=seconds)
    return stop.is_set()
