"""Find which blocks differ between the two sides, and why."""

from msgspec import Struct

from heapsyncd.cache.holds import WAITING
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId


class Pending(Struct, frozen=True):
    """A block that differs between the two sides. ``up``: something of it must be sent."""

    id: BlockId
    title: str
    up: bool
    why: str


# Each part uses an index of its own, so that synced blocks cost nothing. It is in the order of the
# ids, so that a first mirror, of which thousands of blocks wait, costs no more than the limit.
_UP = (
    "SELECT id FROM (SELECT id FROM block WHERE heap_id = :heap AND born_here > 0"
    " ORDER BY id LIMIT :limit)"
    " UNION SELECT block_id FROM (SELECT DISTINCT block_id FROM log"
    " CROSS JOIN block ON id = block_id WHERE local > 0 AND heap_id = :heap"
    " ORDER BY block_id LIMIT :limit)"
)
_DOWN = (
    "SELECT id FROM (SELECT id FROM block WHERE heap_id = :heap AND wanted > 0"  # noqa: S608
    " ORDER BY id LIMIT :limit)"
    " UNION SELECT id FROM (SELECT id FROM block WHERE heap_id = :heap AND stale > 0"
    f" AND NOT {WAITING} ORDER BY id LIMIT :limit)"
)


def pending(tx: Tx, heap_id: HeapId, limit: int) -> list[Pending]:
    """Return blocks to send and blocks to receive, with the reasons; at most ``limit`` each."""
    asked = {"heap": heap_id, "limit": limit}
    up = tx.execute(
        "SELECT id, title, problem IS NOT NULL, sync_version FROM block"  # noqa: S608
        f" WHERE id IN ({_UP}) ORDER BY id LIMIT :limit",
        asked,
    ).fetchall()
    down = tx.execute(
        "SELECT id, title, wanted > 0 FROM block"  # noqa: S608
        f" WHERE id IN ({_DOWN}) ORDER BY id LIMIT :limit",
        asked,
    )
    return [Pending(BlockId(i), t, True, _unsent_why(*rest)) for i, t, *rest in up] + [
        Pending(
            BlockId(i),
            t,
            False,
            "changed on the server: not fetched yet" if wanted else "fetched: not written yet",
        )
        for i, t, wanted in down
    ]


def _unsent_why(problem: int, sync_version: int) -> str:
    if problem:
        return "blocked by its problem"
    if not sync_version:
        return "new: the server does not have it yet"
    return "edited here: the server has not confirmed it yet"
