"""Store blocks and their logs of raw updates.

A block's log is the source of truth for its replica. Rows that the server has not acknowledged are
marked ``local``, and exactly those are unpushed. So an update whose acknowledgement was lost is
simply sent again (Yjs updates are idempotent, PROTOCOL §5).
"""

import time
from collections.abc import Iterable, Sequence
from sys import intern
from typing import Any, Final

from msgspec import Struct

from heapsyncd.cache.holds import WAITING
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockKind

_COLUMNS = (
    "id, heap_id, kind, sync_version, wanted, announced_ms, title, folder_id, deleted_at_ms,"
    " state_vector, seq, born_here, stale, problem, public_id, revived_ms"
)
_QUARANTINED: Final = 8
"""The most updates of one block that can't be loaded and are kept."""


class BlockState(Struct, frozen=True):
    """A block in the cache; the fields are the columns of ``schema``."""

    id: BlockId
    heap_id: HeapId
    kind: BlockKind
    sync_version: int = 0
    wanted: int = 0
    announced_ms: int = 0
    title: str = ""
    folder_id: BlockId | None = None
    deleted_at_ms: int | None = None
    state_vector: bytes | None = None
    seq: int = 0
    born_here: bool = False
    stale: bool = False
    problem: str | None = None
    public_id: str = ""
    revived_ms: int = 0


class LogRow(Struct, frozen=True):
    """One raw update. ``local``: not acknowledged by the server."""

    seq: int
    local: bool
    data: bytes


def _state(row: Sequence[object]) -> BlockState:
    values: list[Any] = list(row)
    # Of each id and kind one string serves the whole index.
    values[0], values[2] = intern(values[0]), intern(values[2])
    values[11], values[12] = bool(values[11]), bool(values[12])
    return BlockState(*values)


def get(tx: Tx, block: BlockId) -> BlockState | None:
    """Return one block; None when it is unknown."""
    row = tx.execute(f"SELECT {_COLUMNS} FROM block WHERE id = ?", (block,)).fetchone()  # noqa: S608
    return None if row is None else _state(row)


def of_heap(tx: Tx, heap_id: HeapId) -> list[BlockState]:
    """Return every block of a heap, by id."""
    sql = f"SELECT {_COLUMNS} FROM block WHERE heap_id = ? ORDER BY id"  # noqa: S608
    return [_state(r) for r in tx.execute(sql, (heap_id,))]


def _matching(tx: Tx, heap_id: HeapId, condition: str, limit: int) -> list[BlockState]:
    sql = f"SELECT {_COLUMNS} FROM block WHERE heap_id = ? AND {condition} LIMIT ?"  # noqa: S608
    return [_state(r) for r in tx.execute(sql, (heap_id, limit))]


def newest(tx: Tx, heap_id: HeapId, limit: int) -> list[BlockState]:
    """Return the live blocks with the latest announced changes, the latest first."""
    condition = "announced_ms > 0 AND deleted_at_ms IS NULL ORDER BY announced_ms DESC"
    return _matching(tx, heap_id, condition, limit)


def wanted(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks to pull, in the order to pull them: folders and tags, then the newest."""
    sql = (
        "SELECT id FROM block WHERE heap_id = ? AND wanted > 0"
        " ORDER BY CASE kind WHEN 'folder' THEN 0 WHEN 'tag' THEN 1 ELSE 2 END,"
        " announced_ms DESC, id"
    )
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]


_STALE = f"stale > 0 AND NOT {WAITING}"


def stale(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks whose newest state the folder does not show yet, except held deletions."""
    sql = f"SELECT id FROM block WHERE heap_id = ? AND {_STALE}"  # noqa: S608
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]


def still_stale(tx: Tx, ids: Iterable[BlockId]) -> list[BlockState]:
    """Return those of some blocks that are ``stale``."""
    sql = f"SELECT {_COLUMNS} FROM block WHERE id = ? AND {_STALE}"  # noqa: S608
    return [_state(r) for i in ids for r in tx.execute(sql, (i,))]


def born(tx: Tx, heap_id: HeapId, limit: int) -> list[BlockState]:
    """Return blocks that the server does not know yet."""
    return _matching(tx, heap_id, "born_here > 0 AND sync_version = 0", limit)


def dirty(tx: Tx, ids: Iterable[BlockId]) -> list[BlockState]:
    """Return those of some blocks that are to be pushed, in the given order.

    They have unacknowledged updates, are known to the server, and have no problem.
    """
    sql = (
        f"SELECT {_COLUMNS} FROM block WHERE id = ?"  # noqa: S608
        " AND born_here = 0 AND wanted = 0 AND problem IS NULL"
        " AND EXISTS (SELECT 1 FROM log WHERE block_id = block.id AND local > 0)"
    )
    return [_state(row) for block in ids for row in tx.execute(sql, (block,))]


def insert(tx: Tx, block: BlockState) -> None:
    """Add a block; one that is known already is unchanged."""
    tx.execute(
        f"INSERT INTO block ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
        " ON CONFLICT (id) DO NOTHING",
        (
            block.id, block.heap_id, block.kind, block.sync_version, block.wanted,
            block.announced_ms, block.title, block.folder_id, block.deleted_at_ms,
            block.state_vector, block.seq, block.born_here, block.stale, block.problem,
            block.public_id, block.revived_ms,
        ),
    )  # fmt: skip


def forget(tx: Tx, block: BlockId) -> None:
    """Delete a block with its log and renditions."""
    tx.execute("DELETE FROM block WHERE id = ?", (block,))


def update(tx: Tx, block: BlockId, **values: object) -> None:
    """Set columns of one block, named as the fields of BlockState."""
    sets = ", ".join(f"{name} = ?" for name in values)
    tx.execute(f"UPDATE block SET {sets} WHERE id = ?", (*values.values(), block))  # noqa: S608


def log(tx: Tx, block: BlockId, up_to: int | None = None) -> list[LogRow]:
    """Return a block's raw updates in order; optionally up to and including a sequence number."""
    rows = tx.execute(
        "SELECT seq, local, data FROM log WHERE block_id = ? AND seq <= ? ORDER BY seq",
        (block, up_to if up_to is not None else 1 << 62),
    )
    return [LogRow(s, bool(i), d) for s, i, d in rows]


def unsent(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks with log rows that the server has not acknowledged."""
    # Without the hint SQLite scans the whole log with all of its data.
    sql = (
        "SELECT DISTINCT block_id FROM log INDEXED BY log_local JOIN block ON block.id = block_id"
        " WHERE local > 0 AND heap_id = ?"
    )
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]


_FOLLOWABLE: Final = (
    "SELECT id, sync_version FROM block WHERE heap_id = ? AND deleted_at_ms IS NULL"
    " AND sync_version > 0 AND length(state_vector) > 0 AND born_here = 0"
    " AND (problem IS NOT NULL OR NOT EXISTS"
    " (SELECT 1 FROM log WHERE block_id = id AND log.seq = 1 AND local > 0))"
)


def followable(tx: Tx, heap_id: HeapId, limit: int) -> dict[BlockId, int]:
    """Return the versions of the blocks that changed last, of those that can be followed.

    A block created here is titled and pushed first: opened before that, it would be sent twice.
    One that no push takes is sent by opening it.
    """
    sql = f"{_FOLLOWABLE} ORDER BY announced_ms DESC LIMIT ?"
    return {BlockId(block): version for block, version in tx.execute(sql, (heap_id, limit))}


def followable_among(tx: Tx, heap_id: HeapId, ids: Iterable[BlockId]) -> dict[BlockId, int]:
    """Return the versions of those of some blocks that can be followed."""
    sql = f"{_FOLLOWABLE} AND id = ?"
    found = [tx.execute(sql, (heap_id, block)).fetchone() for block in ids]
    return {BlockId(row[0]): row[1] for row in found if row is not None}


def has_unsent(tx: Tx, block: BlockId, after: int = 0) -> bool:
    """Tell whether a block has log rows, after a number, that the server has not acknowledged."""
    sql = (
        "SELECT 1 FROM log INDEXED BY log_local"
        " WHERE block_id = ? AND local > 0 AND seq > ? LIMIT 1"
    )
    return tx.execute(sql, (block, after)).fetchone() is not None


def may_be_accepted(tx: Tx, block: BlockId) -> None:
    """Clear a block's problem, unless an update of it could not be loaded."""
    sql = (
        "UPDATE block SET problem = NULL WHERE id = ? AND problem IS NOT NULL"
        " AND id NOT IN (SELECT block_id FROM quarantine)"
    )
    tx.execute(sql, (block,))


def has_unsent_below(tx: Tx, folder: BlockId) -> bool:
    """Tell whether a live block in a folder, at any depth, has unacknowledged log rows."""
    sql = (
        "WITH RECURSIVE below (id) AS (SELECT id FROM block WHERE folder_id = ?"
        " AND deleted_at_ms IS NULL UNION SELECT block.id FROM block JOIN below"
        " ON block.folder_id = below.id AND block.deleted_at_ms IS NULL)"
        " SELECT 1 FROM below WHERE id IN (SELECT block_id FROM log WHERE local > 0) LIMIT 1"
    )
    return tx.execute(sql, (folder,)).fetchone() is not None


def append(tx: Tx, block: BlockId, data: bytes, *, local: bool) -> int:
    """Append a raw update to the log; returns its sequence number."""
    tx.execute("UPDATE block SET seq = seq + 1 WHERE id = ?", (block,))
    seq = int(tx.execute("SELECT seq FROM block WHERE id = ?", (block,)).fetchone()[0])
    made_at_ms = time.time_ns() // 1_000_000 if local else None
    tx.execute(
        "INSERT INTO log (block_id, seq, local, data, made_at_ms) VALUES (?, ?, ?, ?, ?)",
        (block, seq, local, data, made_at_ms),
    )
    return seq


def made_since(
    tx: Tx, heap_id: HeapId, at_ms: int, block: BlockId | None = None
) -> list[tuple[BlockId, int, int]]:
    """Return the log rows that this device made since, whether acknowledged or not.

    Each as its block, its number and when it was made. ``block``: only this one's.
    """
    sql = (
        "SELECT block_id, log.seq, made_at_ms FROM log INDEXED BY log_made"
        " JOIN block ON block.id = block_id WHERE made_at_ms >= ? AND heap_id = ?"
        " AND block_id = coalesce(?, block_id) ORDER BY made_at_ms, block_id, log.seq"
    )
    return [(BlockId(b), s, at) for b, s, at in tx.execute(sql, (at_ms, heap_id, block))]


def has_received(tx: Tx, block: BlockId, after: int, up_to: int) -> bool:
    """Tell whether a log row after a number, up to another, was not made here."""
    sql = (
        "SELECT 1 FROM log WHERE block_id = ? AND seq > ? AND seq <= ? AND made_at_ms IS NULL"
        " LIMIT 1"
    )
    return tx.execute(sql, (block, after, up_to)).fetchone() is not None


def acknowledge(tx: Tx, block: BlockId, up_to: int) -> None:
    """Record that the server has everything up to a sequence number."""
    tx.execute("UPDATE log SET local = 0 WHERE block_id = ? AND seq <= ?", (block, up_to))


def acknowledged(tx: Tx, block: BlockId) -> int:
    """Return the sequence number up to which the server has everything of a block."""
    first = "(SELECT min(seq) - 1 FROM log WHERE block_id = block.id AND local > 0)"
    sql = f"SELECT coalesce({first}, seq) FROM block WHERE id = ?"  # noqa: S608
    found = tx.execute(sql, (block,)).fetchone()
    return 0 if found is None else int(found[0])


def unacknowledge(tx: Tx, block: BlockId) -> None:
    """Mark the whole log to be sent again, because the server lost it (restored from a backup)."""
    tx.execute("UPDATE log SET local = 1 WHERE block_id = ?", (block,))


def restart_log(
    tx: Tx, block: BlockId, sync_version: int, rows: Iterable[tuple[bytes, bool]]
) -> int:
    """Replace the log by another history (PROTOCOL §7).

    Args:
        tx: the transaction.
        block: whose log.
        sync_version: the version of the new history.
        rows: its updates, each with whether it is ``local``.

    Returns:
        The newest sequence number; numbering continues.
    """
    tx.execute("DELETE FROM log WHERE block_id = ?", (block,))
    tx.execute("DELETE FROM crossing WHERE block_id = ?", (block,))
    tx.execute("UPDATE block SET sync_version = ? WHERE id = ?", (sync_version, block))
    seq = 0
    for data, local in rows:
        seq = append(tx, block, data, local=local)
    return seq


def fold(tx: Tx, block: BlockId, up_to: int, data: bytes) -> None:
    """Replace the rows up to ``up_to``, all acknowledged, by one merged row with that number.

    No crossing may name one of them.
    """
    tx.execute("DELETE FROM log WHERE block_id = ? AND seq <= ?", (block, up_to))
    tx.execute(
        "INSERT INTO log (block_id, seq, local, data) VALUES (?, ?, 0, ?)", (block, up_to, data)
    )


def long_logs(tx: Tx, heap_id: HeapId, rows: int) -> list[BlockId]:
    """Return the blocks whose log has more rows than this."""
    found = tx.execute(
        "SELECT block_id FROM log JOIN block ON block.id = log.block_id WHERE heap_id = ?"
        " GROUP BY block_id HAVING count(*) > ?",
        (heap_id, rows),
    )
    return [BlockId(r[0]) for r in found]


def quarantine(tx: Tx, block: BlockId, data: bytes, reason: str, now_ms: int) -> None:
    """Keep an update that can't be loaded, and record the problem at its block.

    Only the latest few of a block are kept, since each failing pull brings the same content again.
    """
    tx.execute(
        "INSERT INTO quarantine (block_id, data, reason, made_at_ms) SELECT ?, ?, ?, ? WHERE NOT"
        " EXISTS (SELECT 1 FROM quarantine WHERE block_id = ? AND data = ?)",
        (block, data, reason, now_ms, block, data),
    )
    tx.execute(
        "DELETE FROM quarantine WHERE block_id = ? AND id NOT IN (SELECT id FROM quarantine"
        " WHERE block_id = ? ORDER BY id DESC LIMIT ?)",
        (block, block, _QUARANTINED),
    )
    update(tx, block, problem=reason)


def is_quarantined(tx: Tx, block: BlockId) -> bool:
    """Tell whether updates of a block could not be loaded and are missing in its log."""
    sql = "SELECT 1 FROM quarantine WHERE block_id = ? LIMIT 1"
    return tx.execute(sql, (block,)).fetchone() is not None


def release(tx: Tx, block: BlockId) -> None:
    """Delete a block's quarantined updates, once the log is complete without them."""
    tx.execute("DELETE FROM quarantine WHERE block_id = ?", (block,))


def set_tags(tx: Tx, block: BlockId, tags: Iterable[BlockId]) -> None:
    """Replace the tag relations of a block by those of its newest state."""
    tx.execute("DELETE FROM tag WHERE block_id = ?", (block,))
    tx.executemany("INSERT INTO tag (block_id, tag_id) VALUES (?, ?)", [(block, t) for t in tags])


def tags(tx: Tx, block: BlockId) -> list[BlockId]:
    """Return the tag relations of a block, by id."""
    rows = tx.execute("SELECT tag_id FROM tag WHERE block_id = ? ORDER BY tag_id", (block,))
    return [BlockId(r[0]) for r in rows]


def folder_among_tags(tx: Tx, block: BlockId) -> BlockId | None:
    """Return the folder a block is in: of its tags that are folders, the smallest id (PROTOCOL
    §8).
    """
    (found,) = tx.execute(
        "SELECT min(id) FROM block WHERE kind = 'folder'"
        " AND id IN (SELECT tag_id FROM tag WHERE block_id = ?)",
        (block,),
    ).fetchone()
    return None if found is None else BlockId(found)


def tagged(tx: Tx, tag: BlockId) -> list[BlockId]:
    """Return the blocks that have a tag, or are in a folder."""
    rows = tx.execute("SELECT block_id FROM tag WHERE tag_id = ?", (tag,))
    return [BlockId(r[0]) for r in rows]
