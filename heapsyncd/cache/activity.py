"""Store what came and went, for people who ask what happened lately."""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import HeapId

KEEP: Final = 10_000
"""The most events of an account that are kept; the latest ones are."""
KEEP_MS: Final = 30 * 24 * 3600 * 1000
"""Older events are removed when new ones come."""

Direction = Literal["up", "down"]
What = Literal["new", "edited", "renamed", "deleted", "content"]
"""``content``: of a file that is no note."""


class Event(Struct, frozen=True):
    """Something that arrived here, or that the server acknowledged."""

    direction: Direction
    what: What
    path: str
    """Relative to the heap's folder; the title of a block without a path."""
    at_ms: int
    latency_ms: int | None = None
    """Since the change was stored here (up) or received (down); None if not known."""


def add(tx: Tx, heap_id: HeapId, events: Iterable[Event]) -> None:
    """Store events, and remove the oldest ones."""
    rows = [(heap_id, e.at_ms, e.direction, e.what, e.path, e.latency_ms) for e in events]
    tx.executemany(
        "INSERT INTO activity (heap_id, at_ms, direction, what, path, latency_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        rows,
    )
    oldest = "SELECT id FROM activity ORDER BY id LIMIT ?"
    tx.execute(
        f"DELETE FROM activity WHERE at_ms < ? AND id IN ({oldest})",  # noqa: S608
        (max(row[1] for row in rows) - KEEP_MS, 100 + len(rows)),
    )
    tx.execute("DELETE FROM activity WHERE id <= (SELECT max(id) FROM activity) - ?", (KEEP,))


def since(tx: Tx, after: int, at_ms: int, limit: int) -> list[tuple[int, HeapId, Event]]:
    """Return the latest events, oldest first: their numbers, heaps, and themselves.

    Args:
        tx: the transaction.
        after: only events with greater numbers.
        at_ms: only events from this time on.
        limit: at most so many.
    """
    rows = tx.execute(
        "SELECT id, heap_id, direction, what, path, at_ms, latency_ms FROM activity"
        " WHERE id > ? AND at_ms >= ? ORDER BY id DESC LIMIT ?",
        (after, at_ms, limit),
    ).fetchall()
    return [(n, HeapId(h), Event(*rest)) for n, h, *rest in reversed(rows)]
