"""Renditions: file texts the daemon wrote or accepted, each with the document state it shows."""

import zlib
from dataclasses import dataclass
from typing import Literal

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId

KEEP = 8
"""How many renditions of a block are kept at least."""
KEEP_MS = 3_600_000
"""For how long a rendition is kept at least, as long as there are not more than KEEP_MOST."""
KEEP_MOST = 64


Origin = Literal["planned", "written", "saved", "stale"]
"""``planned``: about to be written, or written just before a kill; ``written`` by the daemon;
``saved`` by an editor; ``stale``: saved, and taken for an earlier text saved over a newer one."""


@dataclass(frozen=True, slots=True)
class Rendition:
    """One text of a block's file.

    ``seq`` and ``extra``: the state it shows is the log up to ``seq`` with the update ``extra`` on
    top. ``seq`` None: the state belongs to an earlier sync_version and shares no history with the
    log.
    """

    number: int
    seq: int | None
    extra: bytes | None
    data: bytes
    """The file's bytes."""
    digest: bytes
    """sha256 of ``data``."""
    made_at_ms: int
    origin: Origin = "written"


def _rendition(row: tuple[int, int | None, bytes | None, bytes, bytes, int, Origin]) -> Rendition:
    number, seq, extra, packed, digest, made_at_ms, origin = row
    return Rendition(number, seq, extra, zlib.decompress(packed), digest, made_at_ms, origin)


def newest(tx: Tx, block: BlockId) -> Rendition | None:
    """The base; None when the block never had a file. What is only planned does not count."""
    row = tx.execute(
        "SELECT number, seq, extra, text, digest, made_at_ms, origin FROM rendition"
        " WHERE block_id = ? AND origin <> 'planned' ORDER BY number DESC LIMIT 1",
        (block,),
    ).fetchone()
    return None if row is None else _rendition(row)


def ring(tx: Tx, block: BlockId) -> list[Rendition]:
    """All kept renditions, newest first."""
    rows = tx.execute(
        "SELECT number, seq, extra, text, digest, made_at_ms, origin FROM rendition"
        " WHERE block_id = ? ORDER BY number DESC",
        (block,),
    )
    return [_rendition(r) for r in rows]


def add(
    tx: Tx,
    block: BlockId,
    *,
    seq: int | None,
    extra: bytes | None,
    data: bytes,
    digest: bytes,
    now_ms: int,
    origin: Origin,
) -> None:
    """Make this text the block's newest rendition, and let go of the oldest beyond the ring's
    size. Whatever was planned before is not any more, unless this is planned, too: then nobody
    knows yet whether the earlier one was written, in a life that was killed.
    """
    if origin != "planned":
        drop_plans(tx, block)
    number = next_number(tx, block)
    tx.execute(
        "INSERT INTO rendition (block_id, number, seq, extra, text, digest, made_at_ms, origin)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (block, number, seq, extra, zlib.compress(data, 1), digest, now_ms, origin),
    )
    tx.execute(
        "DELETE FROM rendition WHERE block_id = ? AND number <= ?"
        " AND (made_at_ms < ? OR number <= ?)",
        (block, number - KEEP, now_ms - KEEP_MS, number - KEEP_MOST),
    )


def next_number(tx: Tx, block: BlockId) -> int:
    """The number of a block's next version, kept in the ring or in the history."""
    sql = (
        "SELECT 1 + max((SELECT coalesce(max(number), 0) FROM rendition WHERE block_id = ?),"
        " (SELECT coalesce(max(number), 0) FROM history WHERE block_id = ?))"
    )
    return int(tx.execute(sql, (block, block)).fetchone()[0])


_LAST_PLAN = "(SELECT max(number) FROM rendition WHERE block_id = ? AND origin = 'planned')"


def carry_out_plan(tx: Tx, block: BlockId, now_ms: int) -> None:
    """What was planned last stands in the file now, and no earlier plan did."""
    tx.execute(
        "UPDATE rendition SET origin = 'written', made_at_ms = ?"  # noqa: S608
        f" WHERE block_id = ? AND number = {_LAST_PLAN}",
        (now_ms, block, block),
    )
    drop_plans(tx, block)


def drop_plan(tx: Tx, block: BlockId) -> None:
    """What was planned last was not written."""
    tx.execute(
        f"DELETE FROM rendition WHERE block_id = ? AND number = {_LAST_PLAN}",  # noqa: S608
        (block, block),
    )


def settle_plans(tx: Tx, block: BlockId, number: int | None) -> None:
    """Of what was planned before a kill this had been written; None: nothing had."""
    tx.execute(
        "UPDATE rendition SET origin = 'written' WHERE block_id = ? AND number = ?",
        (block, number),
    )
    drop_plans(tx, block)


def drop_plans(tx: Tx, block: BlockId) -> None:
    """Nothing that was planned stands in the file."""
    tx.execute("DELETE FROM rendition WHERE block_id = ? AND origin = 'planned'", (block,))


def same_text(
    tx: Tx, block: BlockId, number: int, *, seq: int | None, extra: bytes | None
) -> None:
    """The rendition's text shows another (newer) state as well: only its state moves."""
    tx.execute(
        "UPDATE rendition SET seq = ?, extra = ? WHERE block_id = ? AND number = ?",
        (seq, extra, block, number),
    )


def shown_too(tx: Tx, block: BlockId, seq: int, later: int) -> None:
    """What shows the log up to a number shows it up to a later one as well."""
    tx.execute(
        "UPDATE rendition SET seq = ? WHERE block_id = ? AND seq = ? AND extra IS NULL",
        (later, block, seq),
    )


def oldest_seq(tx: Tx, block: BlockId) -> int | None:
    """The smallest log position a kept rendition needs; None when none needs any."""
    row = tx.execute("SELECT min(seq) FROM rendition WHERE block_id = ?", (block,)).fetchone()
    return None if row[0] is None else int(row[0])


def forget_history(tx: Tx, block: BlockId) -> None:
    """The log was replaced by another history: no rendition shows a state of it any more."""
    tx.execute("UPDATE rendition SET seq = NULL, extra = NULL WHERE block_id = ?", (block,))


def drop(tx: Tx, block: BlockId) -> None:
    """The block has no file any more."""
    tx.execute("DELETE FROM rendition WHERE block_id = ?", (block,))
