"""How the process shares Python's interpreter, so that the loop never stands still for long.

Work on documents runs in threads (``offload``), but only one thread at a time has the interpreter,
and the search for cycles of garbage holds it, whichever thread it falls to.
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from heapsyncd.markdown.read.parse import clear_cache

HOLD_S: Final = 0.0002
"""So long a thread keeps the interpreter while others want it. The loop gives it up at each system
call, and with Python's own 5 ms waited for a quarter of a second in all beside work on a megabyte.
"""
MANY: Final = 20_000
"""Looking through so many values takes some 10 ms."""
LOOK_S: Final = 0.01
"""So much processor time of work makes no more new values than that by much; to list them takes up
to half a millisecond.
"""

_still = 0
"""How many pieces of work keep the collector still."""
_counted_at_s = 0.0
"""When, by the processor time of the process, the new values were last counted."""
_spared = False
"""Whether anything was spared since all was last looked through."""


def settle() -> None:
    """Set the process up for mirrors: short turns, and no look at what is there from the start."""
    global _spared  # noqa: PLW0603 -- see no_collection
    sys.setswitchinterval(HOLD_S)
    gc.freeze()
    _spared = True


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no cycles while the block runs; for the loop's thread.

    The trees of a long note have no cycles, but to look for some among their hundred thousands of
    values holds the interpreter for up to half a second. When many values came, all that there are
    now are spared from then on, garbage included: until ``look_through``.
    """
    global _still, _spared  # noqa: PLW0603 -- the collector is the process's own, so is this
    if not _still:
        gc.disable()
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
    """Whether many values came since the collector last looked."""
    global _counted_at_s  # noqa: PLW0603 -- see no_collection
    # What the collector counts may be too low: it takes off what was given back. So from time to
    # time they are counted one by one; after each piece of work that would cost more than it does.
    now_s = time.process_time()
    if gc.get_count()[0] <= MANY and now_s - _counted_at_s < LOOK_S:
        return False
    _counted_at_s = now_s
    return len(gc.get_objects(generation=0)) > MANY


def look_through() -> None:
    """Collect what garbage was spared, when nobody is working: now and then, with views forgotten,
    so that little is there to look at.
    """
    global _spared  # noqa: PLW0603 -- see no_collection
    if _still or not _spared:
        return
    clear_cache()
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _spared = False
