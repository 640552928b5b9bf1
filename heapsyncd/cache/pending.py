"""Which blocks are not the same on both sides, and why."""

from dataclasses import dataclass

from heapsyncd.cache.holds import WAITING
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId


@dataclass(frozen=True, slots=True)
class Pending:
    """A block that is not the same on both sides. ``up``: something of it is to be sent."""

    id: BlockId
    title: str
    up: bool
    why: str


def pending(tx: Tx, heap: HeapId, limit: int) -> list[Pending]:
    """What ``blocks.counts`` counts, and why; at most so many to be sent, and to be received."""
    up = tx.execute(
        "SELECT id, title, problem IS NOT NULL, sync_version, count(data),"
        " coalesce(sum(length(data)), 0) FROM block"
        " LEFT JOIN log ON block_id = id AND local > 0 WHERE heap_id = ? AND (born_here > 0"
        " OR id IN (SELECT block_id FROM log WHERE local > 0)) GROUP BY id LIMIT ?",
        (heap, limit),
    ).fetchall()
    down = tx.execute(
        "SELECT id, title, wanted > 0 FROM block WHERE heap_id = ?"  # noqa: S608
        f" AND (wanted > 0 OR (stale > 0 AND NOT {WAITING})) LIMIT ?",
        (heap, limit),
    )
    return [Pending(BlockId(i), t, True, _unsent_why(*rest)) for i, t, *rest in up] + [
        Pending(
            BlockId(i),
            t,
            False,
            "the server has a newer state" if wanted else "its newest state is not written yet",
        )
        for i, t, wanted in down
    ]


def _unsent_why(problem: int, sync_version: int, updates: int, size: int) -> str:
    if problem:
        return "held up by its problem"
    if not sync_version:
        return "new: the server does not have it yet"
    return f"edits that the server has not acknowledged: {updates} ({size} bytes)"
