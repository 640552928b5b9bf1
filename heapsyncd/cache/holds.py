"""Store deletions that are held until a person decides, and those allowed recently."""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

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


class Hold(Struct, frozen=True):
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


def decide(tx: Tx, heap_id: HeapId, decision: Decision | None, held: Iterable[Hold]) -> None:
    """Set the decision on holds, or take it back."""
    tx.executemany(
        "UPDATE hold SET decision = ? WHERE heap_id = ? AND direction = ? AND path = ?",
        [(decision, heap_id, h.direction, h.path) for h in held],
    )


def aware(tx: Tx, hold: Hold) -> bool:
    """Tell whether nothing arrived from the server since a deletion was noticed."""
    sql = "SELECT 1 FROM log WHERE block_id = ? AND seq > ? AND local = 0 LIMIT 1"
    return tx.execute(sql, (hold.block_id, hold.seq)).fetchone() is None


def looked_at(tx: Tx, heap_id: HeapId, held: Iterable[tuple[BlockId, int]]) -> None:
    """Record up to which log row deletions on the server were checked for a confirmation."""
    tx.executemany(
        "UPDATE hold SET seq = ? WHERE heap_id = ? AND block_id = ? AND direction = 'down'",
        [(seq, heap_id, block) for block, seq in held],
    )


def told_more(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks whose deletion on the server is held and that changed since."""
    sql = (
        "SELECT block.id FROM hold JOIN block ON block.id = hold.block_id"
        " WHERE hold.heap_id = ? AND direction = 'down' AND block.seq > hold.seq"
    )
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]


class Passed(Struct, frozen=True):
    """A deletion that was let through lately: of a block or an attachment, at a path."""

    direction: Direction
    path: str
    role: Role
    block_id: BlockId
    """'' in records of older versions, which did not note it."""
    key: str | None
    made_at_ms: int
    undo: bool = False
    """Whether a person wants it back, which is not carried out yet."""


_PASSED: Final = "direction, path, role, block_id, key, made_at_ms, undo"
_ITS_PASSED: Final = "heap_id = ? AND direction = ? AND path = ? AND block_id = ? AND key = ?"


def _its_key(heap_id: HeapId, passed: Passed) -> tuple[str, ...]:
    return heap_id, passed.direction, passed.path, passed.block_id, passed.key or ""


def let_through(tx: Tx, heap_id: HeapId, which: Iterable[Passed]) -> None:
    """Record deletions that were allowed, for the limit's time window and for an undo."""
    tx.executemany(
        f"INSERT OR REPLACE INTO deletion (heap_id, {_PASSED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [
            (heap_id, p.direction, p.path, p.role, p.block_id, p.key or "", p.made_at_ms, p.undo)
            for p in which
        ],
    )


def recent(tx: Tx, heap_id: HeapId, direction: Direction, since_ms: int) -> int:
    """Count the files whose deletion was allowed since a time; older records are deleted.

    A path counts once, however often its file was deleted.
    """
    tx.execute("DELETE FROM deletion WHERE heap_id = ? AND made_at_ms < ?", (heap_id, since_ms))
    sql = (
        "SELECT count(DISTINCT path) FROM deletion WHERE heap_id = ? AND direction = ?"
        " AND role != 'folder' AND undo = 0"
    )
    return int(tx.execute(sql, (heap_id, direction)).fetchone()[0])


def passed(tx: Tx, heap_id: HeapId) -> list[Passed]:
    """Return the deletions let through lately that can be undone, by direction and path."""
    sql = (
        f"SELECT {_PASSED} FROM deletion WHERE heap_id = ? AND block_id != ''"  # noqa: S608
        " ORDER BY direction, path"
    )
    found = tx.execute(sql, (heap_id,))
    return [
        Passed(d, p, role, b, key or None, at, bool(undo))
        for d, p, role, b, key, at, undo in found
    ]


def undo_passed(tx: Tx, heap_id: HeapId, which: Iterable[Passed]) -> None:
    """Record that a person wants these back."""
    tx.executemany(
        f"UPDATE deletion SET undo = 1 WHERE {_ITS_PASSED}",  # noqa: S608
        [_its_key(heap_id, p) for p in which],
    )


def forget_passed(tx: Tx, heap_id: HeapId, which: Iterable[Passed]) -> None:
    """Delete the records of deletions that were undone."""
    tx.executemany(
        f"DELETE FROM deletion WHERE {_ITS_PASSED}",  # noqa: S608
        [_its_key(heap_id, p) for p in which],
    )


def forget_recent(tx: Tx, heap_id: HeapId, direction: Direction) -> None:
    """Restart the limit's time window, because a person looked at the deletions.

    Those that a person wants back stay recorded until they are.
    """
    sql = "DELETE FROM deletion WHERE heap_id = ? AND direction = ? AND undo = 0"
    tx.execute(sql, (heap_id, direction))


def doomed(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks that the server deleted and that have files in the folder.

    Once for each file; not those whose deletion is held.
    """
    sql = (
        "SELECT block.id FROM entry JOIN block ON block.id = entry.block_id"
        " WHERE entry.heap_id = ? AND entry.role != 'folder' AND entry.inode IS NOT NULL"
        " AND block.stale > 0 AND block.deleted_at_ms IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM hold WHERE hold.heap_id = entry.heap_id"
        " AND hold.path = entry.path)"
    )
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]
