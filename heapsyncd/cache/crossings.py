"""Store updates that removed words which their authors could not know.

They are looked at some time later (``sync.pull.crossed_edits``). When a log is replaced, its
crossings end (``blocks.restart_log``).
"""

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId


class Crossing(Struct, frozen=True):
    """An update that removed words, by an author who could not know some of our rows.

    ``seq``: the number of the update in the block's log. ``ours``: the numbers of these rows.
    """

    block: BlockId
    seq: int
    ours: frozenset[int]


def add(tx: Tx, crossing: Crossing) -> None:
    """Store a crossing, to be looked at later."""
    tx.executemany(
        "INSERT OR IGNORE INTO crossing (block_id, seq, ours) VALUES (?, ?, ?)",
        [(crossing.block, crossing.seq, row) for row in sorted(crossing.ours)],
    )


def of_block(tx: Tx, block: BlockId) -> list[Crossing]:
    """Return the crossings of a block, in the order of the log."""
    found: dict[int, set[int]] = {}
    sql = "SELECT seq, ours FROM crossing WHERE block_id = ? ORDER BY seq"
    for seq, row in tx.execute(sql, (block,)):
        found.setdefault(seq, set()).add(row)
    return [Crossing(block, seq, frozenset(rows)) for seq, rows in found.items()]


def all_blocks(tx: Tx, heap_id: HeapId) -> list[BlockId]:
    """Return the blocks of a heap with crossings."""
    sql = (
        "SELECT DISTINCT block_id FROM crossing JOIN block ON block.id = block_id"
        " WHERE heap_id = ? ORDER BY block_id"
    )
    return [BlockId(r[0]) for r in tx.execute(sql, (heap_id,))]


def remove(tx: Tx, crossing: Crossing) -> None:
    """Remove a crossing that was looked at."""
    sql = "DELETE FROM crossing WHERE block_id = ? AND seq = ?"
    tx.execute(sql, (crossing.block, crossing.seq))
