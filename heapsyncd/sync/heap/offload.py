"""Run work on documents beside the event loop: in a thread, and perhaps in other processes."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from heapsyncd.processes import Processes
from heapsyncd.sync.heap.gc_control import no_collection
from heapsyncd.tasks import TaskGroup

P = ParamSpec("P")
T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

FEW: Final = 8
"""Fewer values are not worth the way to another process."""


async def offload(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread, and return its result; its exceptions are raised here."""
    with no_collection():
        return await asyncio.to_thread(work, *args, **kwargs)


async def _hand_out(
    processes: Processes, work: Callable[[Sequence[Q]], Sequence[A | None]], values: Sequence[Q]
) -> list[A | None]:
    """Return what other processes make of values, in order; None: it has to be done here.

    Args:
        processes: those there are.
        work: a module's pure function of values; a result may be None, too.
        values: the arguments, equal shares of which go to each process.
    """
    share = -(-len(values) // max(1, processes.ready))
    given = [values[k : k + share] for k in range(0, len(values), share)] if values else []
    async with TaskGroup() as group:
        answers = [group.create_task(processes.results(work, some)) for some in given]
    found: list[A | None] = []
    for some, answer in zip(given, answers, strict=True):
        found += answer.result() or [None] * len(some)
    return found


async def share_out(
    processes: Processes,
    work: Callable[[Sequence[Q]], Sequence[A | None]],
    items: Sequence[T],
    here: Callable[[T], Q],
    away: Callable[[T], Q],
) -> list[A]:
    """Return what a pure function makes of items, in order; other processes take their shares.

    Args:
        processes: those there are.
        work: a module's function of values. In another process its result may be None: it has to
            be done here.
        items: what to work on.
        here: makes the function's argument of an item in this process; runs in a thread.
        away: makes one that another process can use; runs in a thread.
    """
    count = processes.ready if len(items) >= FEW else 0
    # Half of what each of them does: this process also stores and sends.
    own = -(-len(items) // (2 * count + 1))
    given = await offload(lambda: [away(i) for i in items[own:]]) if own < len(items) else []
    async with TaskGroup() as group:
        answers = group.create_task(_hand_out(processes, work, given))
        mine = await offload(lambda: work([here(i) for i in items[:own]]))
    found = [*mine, *answers.result()]
    left = [k for k, made in enumerate(found) if made is None]
    if left:
        made = await offload(lambda: work([here(items[k]) for k in left]))
        for k, one in zip(left, made, strict=True):
            found[k] = one
    return [one for one in found if one is not None]
