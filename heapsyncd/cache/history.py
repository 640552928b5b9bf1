"""Texts that no longer stand in the folder, kept for the user."""

import zlib
from dataclasses import dataclass

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId


@dataclass(frozen=True, slots=True)
class Version:
    """One kept text. ``why``: deleted, replaced, stale, overlap."""

    id: int
    block_id: BlockId
    path: str
    why: str
    data: bytes
    made_at_ms: int


def keep(
    tx: Tx, heap: HeapId, block: BlockId, path: str, why: str, data: bytes, now_ms: int
) -> None:
    """Keep a text."""
    tx.execute(
        "INSERT INTO history (heap_id, block_id, path, why, text, made_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (heap, block, path, why, zlib.compress(data), now_ms),
    )


def of_block(tx: Tx, block: BlockId) -> list[Version]:
    """A block's kept texts, newest first."""
    rows = tx.execute(
        "SELECT id, block_id, path, why, text, made_at_ms FROM history WHERE block_id = ?"
        " ORDER BY id DESC",
        (block,),
    )
    return [Version(i, BlockId(b), p, w, zlib.decompress(t), m) for i, b, p, w, t, m in rows]
