"""Edge: keep the event loop responsive while threads work, and the memory of threads small.

Work on documents runs in threads (``offload``). Only one thread runs Python code at a time, and a
search for garbage cycles stops all of them, whichever thread it runs in.
"""

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from heapsyncd.markdown.read.parse import clear_cache

HOLD_S: Final = 0.0002
"""How long a thread runs while others wait.

The loop gives up its turn at each system call. With Python's default of 5 ms, it waited a quarter
of a second in total beside work on a megabyte."""
MANY: Final = 20_000
"""A search through this many values takes some 10 ms."""
LOOK_S: Final = 0.01
"""New values are counted at most once in this much processor time.

In less time, work creates few new ones. Counting takes up to half a millisecond."""

SURE_S: Final = 0.1
"""Work this long has created many values: counting them would add a twentieth to its time."""

_ARENA_MAX: Final = -8
"""The option of glibc's ``mallopt``."""

_still = 0
"""The number of running ``no_collection`` blocks."""
_began_s = 0.0
"""When the first of them began, in processor time of the process."""
_counted_at_s = 0.0
"""When the new values were last counted, in processor time of the process."""
_spared = False
"""Whether any values were excluded from collection since the last ``collect_everything``."""


def settle() -> None:
    """Configure the process for mirrors: short turns, and no collection of what exists already."""
    global _spared  # noqa: PLW0603 -- see no_collection
    sys.setswitchinterval(HOLD_S)
    # One heap for all threads, which seldom ask for memory at the same time. Each thread's own one
    # would keep some megabytes that the others cannot use. Other C libraries have no such option.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
    gc.freeze()
    _spared = True


def give_back() -> None:
    """Give memory that was freed back to the system; takes some milliseconds, best in a thread."""
    # Of no other C library, which have no such function.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no cycles while the block runs. Use it on the loop's thread only.

    The trees of a long note have no cycles, but a search among their hundreds of thousands of
    values stops all threads for up to half a second. If many values were created, all present ones
    are excluded from collection, including garbage, until ``collect_everything``.
    """
    global _still, _spared, _began_s  # noqa: PLW0603 -- the process's own
    if not _still:
        gc.disable()
        _began_s = time.process_time()
    _still += 1
    try:
        yield
    finally:
        _still -= 1
        if not _still:
            if _are_many_new():
                gc.freeze()
                _spared = True
            gc.enable()


def _are_many_new() -> bool:
    """Return whether many values were created since the last collection."""
    global _counted_at_s  # noqa: PLW0603 -- see no_collection
    # The collector's own count may be too low, since it subtracts freed values. So count them one
    # by one from time to time; after each piece of work that would cost too much.
    now_s = time.process_time()
    if gc.get_count()[0] <= MANY and now_s - _counted_at_s < LOOK_S:
        return False
    _counted_at_s = now_s
    return now_s - _began_s > SURE_S or len(gc.get_objects(generation=0)) > MANY


def collect_everything() -> None:
    """Collect the garbage that was excluded, if nobody is working.

    Call it now and then, after forgetting views, so that there is little to search.
    """
    global _spared  # noqa: PLW0603 -- see no_collection
    if _still or not _spared:
        return
    clear_cache()
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _spared = False
