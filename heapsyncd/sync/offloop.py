"""Work on documents beside the event loop."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TURN_S = 0.0002
"""So long a thread keeps the interpreter while others want it. The loop gives it up at each system
call, and with Python's own 5 ms waited for a quarter of a second in all beside work on a megabyte.
"""

_still = 0
"""How many pieces of work keep the collector still."""


def take_short_turns() -> None:
    """Make threads share the interpreter in turns of ``TURN_S``, in the whole process."""
    sys.setswitchinterval(TURN_S)


async def off_loop(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread, so that the loop goes on; what it raises passes."""
    with no_collection():
        return await asyncio.to_thread(work, *args, **kwargs)


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect no cycles while the block runs; for the loop's thread.

    The trees of a long note have no cycles, but to look for some among their hundred thousands of
    values would hold the interpreter, and with it the loop, for up to half a second at a time.
    """
    global _still  # noqa: PLW0603 -- the collector is the process's own, so is this
    if not _still:
        gc.disable()
    _still += 1
    try:
        yield
    finally:
        _still -= 1
        if not _still:
            # What was made meanwhile counts as old at once: the next quick pass need not see it.
            gc.freeze()
            gc.unfreeze()
            gc.enable()
