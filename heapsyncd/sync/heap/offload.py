"""Run work on documents beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from heapsyncd.sync.heap.gc_control import no_collection

P = ParamSpec("P")
T = TypeVar("T")


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread, and return its result; its exceptions are raised here."""
    with no_collection():
        return await asyncio.to_thread(work, *args, **kwargs)
