"""Store deletions that are held until a person decides, and those allowed recently."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from heapsyncd.cache.entries import Role
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId

Direction = Literal["up", "down"]
"""``up``: a file deleted here; ``down``: a block deleted on the server."""
Decision = Literal["confirm", "undo"]

WAITING = (
    "EXISTS (SELECT 1 FROM hold WHERE hold.block_id = block.id"
    " AND hold.role != 'attachment'"
    " AND (hold.direction = 'up') = (block.deleted_at_ms IS NULL))"
)
"""SQL condition on ``block``: it must not be published, because its deletion is held.

A deletion held here is of a block that lives on the server; one held there is of a block deleted
on the server. A block whose state changed since then is no longer held back.
"""
_COLUMNS = "direction, path, role, block_id, seq, made_at_ms, decision"


@dataclass(frozen=True, slots=True)
class Hold:
    """One file whose deletion is held."""

    direction: Direction
    path: str
    """Where the file was (up) or is (down)."""
    role: Role
    block_id: BlockId
    seq: int
    """The block's newest log row when the deletion was noticed; the deletion did not know newer
    ones.
    """
    made_at_ms: int
    decision: Decision | None = None
    """What a person decided; not yet carried out."""


def of_heap(tx: Tx, heap_id: HeapId) -> list[Hold]:
    """Return all holds of a heap, by direction and path."""
    sql = f"SELECT {_COLUMNS} FROM hold WHERE heap_id = ? ORDER BY direction, path"  # noqa: S608
    return [Hold(*r) for r in tx.execute(sql, (heap_id,))]


def add(tx: Tx, heap_id: HeapId, held: Iterable[Hold]) -> None:
    """Add holds; existing ones are unchanged."""
    tx.executemany(
        f"INSERT OR IGNORE INTO hold (heap_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [
            (heap_id, h.direction, h.path, h.role, h.block_id, h.seq, h.made_at_ms, h.decision)
            for h in held
        ],
    )


def release(tx: Tx, heap_id: HeapId, held: Iterable[Hold]) -> None:
    """Delete holds."""
    tx.executemany(
        "DELETE FROM hold WHERE heap_id = ? AND direction = ? AND path = ?",
        [(heap_id, h.direction, h.path) for h in held],
    )


def decide(tx: Tx, heap_id: HeapId, decision: Decision | None) -> int:
    """Set the decision on everything held now; returns the number of files."""
    tx.execute("UPDATE hold SET decision = ? WHERE heap_id = ?", (decision, heap_id))
    return count(tx, heap_id)


def count(tx: Tx, heap_id: HeapId) -> int:
    """Count the held files of a heap."""
    row = tx.execute("SELECT count(*) FROM hold WHERE heap_id = ?", (heap_id,)).fetchone()
    return int(row[0])


def aware(tx: Tx, hold: Hold) -> bool:
    """Tell whether nothing arrived from the server since a deletion was noticed."""
    sql = "SELECT 1 FROM log WHERE block_id = ? AND seq > ? AND local = 0 LIMIT 1"
    return tx.execute(sql, (hold.block_id, hold.seq)).fetchone() is None


def let_through(
    tx: Tx, heap_id: HeapId, direction: Direction, paths: Iterable[str], now_ms: int
) -> None:
    """Record deletions that were allowed, for the limit's time window."""
    tx.executemany(
        "INSERT OR REPLACE INTO deletion (heap_id, direction, path, made_at_ms)"
        " VALUES (?, ?, ?, ?)",
        [(heap_id, direction, p, now_ms) for p in paths],
    )


def recent(tx: Tx, heap_id: HeapId, direction: Direction, since_ms: int) -> int:
    """Count the deletions allowed since a time; older records are deleted."""
    tx.execute("DELETE FROM deletion WHERE heap_id = ? AND made_at_ms < ?", (heap_id, since_ms))
    sql = "SELECT count(*) FROM deletion WHERE heap_id = ? AND direction = ?"
    return int(tx.execute(sql, (heap_id, direction)).fetchone()[0])


def forget_recent(tx: Tx, heap_id: HeapId, direction: Direction) -> None:
    """Restart the limit's time window, because a person looked at the deletions."""
    tx.execute("DELETE FROM deletion WHERE heap_id = ? AND direction = ?", (heap_id, direction))


def doomed(tx: Tx, heap_id: HeapId) -> int:
    """Count the files in the folder whose blocks the server deleted, except held ones."""
    sql = (
        "SELECT count(*) FROM entry JOIN block ON block.id = entry.block_id"
        " WHERE entry.heap_id = ? AND entry.role != 'folder' AND entry.inode IS NOT NULL"
        " AND block.stale > 0 AND block.deleted_at_ms IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM hold WHERE hold.heap_id = entry.heap_id"
        " AND hold.path = entry.path)"
    )
    return int(tx.execute(sql, (heap_id,)).fetchone()[0])
