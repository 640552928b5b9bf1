"""Find damage of the cache's file, and rows that refer to nothing or contradict each other."""

import re
from collections.abc import Sequence
from typing import Final

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId

SHOWN: Final = 20
"""At most so many faults of the file are listed."""

_BLOCK: Final = "block_id NOT IN (SELECT id FROM block)"
_HEAP: Final = "heap_id NOT IN (SELECT id FROM heap)"
_ORPHANS: Final = (
    ("block", _HEAP),
    ("entry", _HEAP),
    ("file_problem", _HEAP),
    ("alias", _HEAP),
    ("deletion", _HEAP),
    ("reserved", _HEAP),
    ("hold", _HEAP),
    ("hold", _BLOCK),
    ("log", _BLOCK),
    ("rendition", _BLOCK),
    ("tag", _BLOCK),
    ("mention", _BLOCK),
    ("quarantine", _BLOCK),
    ("crossing", _BLOCK),
    ("crossing", "seq NOT IN (SELECT seq FROM log WHERE log.block_id = crossing.block_id)"),
    ("search_row", _BLOCK),
    ("search_row", "id NOT IN (SELECT rowid FROM search)"),
)
"""Tables, and conditions of rows in them that refer to nothing.

What outlives its block on purpose has none: texts of the history, tags and mentions of blocks that
are not here yet, former names. Entries without a block are found with their files.
"""
_INDEX: Final = re.compile(
    r"row \d+ missing from index |wrong # of entries in index |non-unique entry in index "
)
"""Faults of an index alone, which is made of its table."""


def faults(tx: Tx) -> list[str]:
    """Return what SQLite finds wrong with the file; [] if nothing.

    Raises:
        FolderTrouble: from the database, if the file is too damaged to be looked at.
    """
    found = [str(row[0]) for row in tx.execute(f"PRAGMA integrity_check({SHOWN})")]
    return [] if found == ["ok"] else found


def are_of_indexes(found: Sequence[str]) -> bool:
    """Return whether only indexes are at fault, so that no row is in doubt."""
    return len(found) < SHOWN and all(_INDEX.match(fault) for fault in found)


def reindex(tx: Tx) -> None:
    """Make every index anew from its table."""
    tx.execute("REINDEX")


def orphans(tx: Tx) -> dict[str, int]:
    """Return how many rows of each table refer to nothing; only tables that have any."""
    found: dict[str, int] = {}
    for table, condition in _ORPHANS:
        (count,) = tx.execute(f"SELECT count(*) FROM {table} WHERE {condition}").fetchone()  # noqa: S608
        if count:
            found[table] = max(count, found.get(table, 0))
    return found


def remove_orphans(tx: Tx) -> None:
    """Delete all rows that refer to nothing."""
    for table, condition in _ORPHANS:
        tx.execute(f"DELETE FROM {table} WHERE {condition}")  # noqa: S608


def without_rows(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks whose log lacks rows: its numbers have gaps, or end before the last."""
    sql = (
        "SELECT id FROM block LEFT JOIN (SELECT block_id, max(log.seq) AS newest,"
        " min(log.seq) AS oldest, count(*) AS rows FROM log GROUP BY block_id)"
        " ON block_id = id WHERE heap_id = ? AND seq > 0"
        " AND (newest IS NULL OR newest < seq OR newest - oldest + 1 <> rows)"
    )
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]


def behind_their_logs(tx: Tx, heap_id: HeapId) -> dict[BlockId, int]:
    """Return the blocks whose next row would take a number that is in use, with the right one."""
    sql = (
        "SELECT id, (SELECT max(log.seq) FROM log WHERE block_id = id) AS newest FROM block"
        " WHERE heap_id = ? AND newest > seq"
    )
    return {BlockId(block): newest for block, newest in tx.execute(sql, (heap_id,))}
