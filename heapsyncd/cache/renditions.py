"""Store renditions: file texts that the daemon wrote or accepted, with the state each shows."""

import hashlib
import zlib
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId
from heapsyncd.model import LineBreaks

KEEP = 8
"""The least number of renditions of a block that are kept."""
KEEP_MS = 3_600_000
"""How long a rendition is kept at least, up to ``KEEP_MOST`` renditions."""
KEEP_MOST = 64
_APART_MS = 60_000
"""Of older texts, the last one that an author made within this time goes to the history."""


Origin = Literal["planned", "written", "saved", "stale"]
"""``planned``: about to be written, or written just before a kill; ``written`` by the daemon;
``saved`` by an editor; ``stale``: saved, and recognised as an earlier text saved over a newer one.
"""

Author = Literal["here", "server", "daemon", ""]
"""Who made a text of the one before it. ``here``: somebody on this device; ``server``: it contains
what came from the server; ``daemon``: only what this daemon writes by itself, such as the ``id``
and the names of renamed notes in links. '': not known.
"""


class Rendition(Struct, frozen=True):
    """One text of a block's file.

    ``seq`` and ``extra``: the state that it shows is the log up to ``seq`` with the update
    ``extra`` applied. ``seq`` None: the state belongs to an earlier sync_version and shares no
    history with the log.
    """

    number: int
    seq: int | None
    extra: bytes | None
    data: bytes
    """The file's bytes."""
    digest: bytes
    """The SHA-256 of ``data``."""
    made_at_ms: int
    origin: Origin = "written"
    line_breaks: LineBreaks = "space"
    """What a line end in a paragraph of the text means."""
    author: Author = ""


_COLUMNS = "number, seq, extra, text, digest, made_at_ms, origin, line_breaks, author"


def _rendition(row: tuple[Any, ...]) -> Rendition:
    number, seq, extra, packed, *rest = row
    return Rendition(number, seq, extra, zlib.decompress(packed), *rest)


def newest(tx: Tx, block: BlockId) -> Rendition | None:
    """Return the base, without planned ones; None when the block never had a file."""
    row = tx.execute(
        f"SELECT {_COLUMNS} FROM rendition"  # noqa: S608
        " WHERE block_id = ? AND origin <> 'planned' ORDER BY number DESC LIMIT 1",
        (block,),
    ).fetchone()
    return None if row is None else _rendition(row)


def ring(tx: Tx, block: BlockId) -> list[Rendition]:
    """Return all kept renditions, newest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM rendition WHERE block_id = ? ORDER BY number DESC",  # noqa: S608
        (block,),
    )
    return [_rendition(r) for r in rows]


def damaged(tx: Tx, block: BlockId, log_seq: int) -> tuple[list[int], bool]:
    """Return the numbers of the renditions that can't be used, and whether the base is among them.

    Their texts can't be read or are not the stored ones, or they show a state beyond the log.
    """
    sql = "SELECT number, seq, text, digest, origin FROM rendition WHERE block_id = ?"
    rows = tx.execute(f"{sql} ORDER BY number", (block,)).fetchall()
    bad = [n for n, seq, *stored, _ in rows if (seq or 0) > log_seq or not _is_whole(*stored)]
    base = max((n for n, *_, origin in rows if origin != "planned"), default=None)
    return bad, base in bad


def unreadable(tx: Tx, block: BlockId) -> list[int]:
    """Return the numbers of the renditions whose texts can't be read or are other ones."""
    sql = "SELECT number, text, digest FROM rendition WHERE block_id = ?"
    return [n for n, *stored in tx.execute(sql, (block,)) if not _is_whole(*stored)]


def _is_whole(packed: bytes, digest: bytes) -> bool:
    try:
        return hashlib.sha256(zlib.decompress(packed)).digest() == digest
    except zlib.error:
        return False


def drop_numbers(tx: Tx, block: BlockId, numbers: Iterable[int]) -> None:
    """Delete some renditions of a block."""
    sql = "DELETE FROM rendition WHERE block_id = ? AND number = ?"
    tx.executemany(sql, [(block, number) for number in numbers])


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
    line_breaks: LineBreaks,
    author: Author = "",
) -> None:
    """Make a text the block's newest rendition, and move the oldest beyond the limits to the
    history.

    Earlier plans are dropped unless this one is planned, too: then it is unknown whether the
    earlier one was written before the run was killed.
    """
    if origin != "planned":
        drop_plans(tx, block)
    number = next_number(tx, block)
    tx.execute(
        f"INSERT INTO rendition (block_id, {_COLUMNS})"  # noqa: S608
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            block, number, seq, extra, zlib.compress(data, 1), digest, now_ms, origin,
            line_breaks, author,
        ),
    )  # fmt: skip
    if number > KEEP:
        _move_oldest(tx, (block, number - KEEP, now_ms - KEEP_MS, number - KEEP_MOST))


def _move_oldest(tx: Tx, limits: tuple[object, ...]) -> None:
    """Move the renditions beyond the limits to the history, without those soon replaced."""
    old = "block_id = ? AND number <= ? AND (made_at_ms < ? OR number <= ?)"
    following = (
        "(SELECT min(number) FROM rendition WHERE block_id = old.block_id"
        " AND number > old.number AND origin <> 'planned')"
    )
    tx.execute(
        "INSERT INTO history"  # noqa: S608
        " (heap_id, block_id, number, path, why, text, made_at_ms, author)"
        " SELECT heap_id, old.block_id, number, coalesce((SELECT path FROM entry"
        " WHERE entry.block_id = old.block_id AND role = 'note' LIMIT 1), ''),"
        " origin, text, made_at_ms, author"
        f" FROM (SELECT * FROM rendition WHERE {old}) AS old JOIN block ON block.id = old.block_id"
        " WHERE origin <> 'planned' AND NOT EXISTS (SELECT 1 FROM rendition AS next"
        f" WHERE next.block_id = old.block_id AND next.number = {following}"
        " AND next.author = old.author AND next.made_at_ms / ? = old.made_at_ms / ?)"
        " ORDER BY number",
        (*limits, _APART_MS, _APART_MS),
    )
    tx.execute(f"DELETE FROM rendition WHERE {old}", limits)  # noqa: S608


def next_number(tx: Tx, block: BlockId) -> int:
    """Return the number of a block's next version, in the ring or in the history."""
    sql = (
        "SELECT 1 + max((SELECT coalesce(max(number), 0) FROM rendition WHERE block_id = ?),"
        " (SELECT coalesce(max(number), 0) FROM history WHERE block_id = ?))"
    )
    return int(tx.execute(sql, (block, block)).fetchone()[0])


_LAST_PLAN = "(SELECT max(number) FROM rendition WHERE block_id = ? AND origin = 'planned')"


def carry_out_plan(tx: Tx, block: BlockId, now_ms: int) -> None:
    """Record that the last plan was written to the file, and no earlier one."""
    tx.execute(
        "UPDATE rendition SET origin = 'written', made_at_ms = ?"  # noqa: S608
        f" WHERE block_id = ? AND number = {_LAST_PLAN}",
        (now_ms, block, block),
    )
    drop_plans(tx, block)


def drop_plan(tx: Tx, block: BlockId) -> None:
    """Drop the last plan, which was not written."""
    tx.execute(
        f"DELETE FROM rendition WHERE block_id = ? AND number = {_LAST_PLAN}",  # noqa: S608
        (block, block),
    )


def settle_plans(tx: Tx, block: BlockId, number: int | None) -> None:
    """Resolve the plans of a run that was killed: this one was written (None: none was)."""
    tx.execute(
        "UPDATE rendition SET origin = 'written' WHERE block_id = ? AND number = ?",
        (block, number),
    )
    drop_plans(tx, block)


def drop_plans(tx: Tx, block: BlockId) -> None:
    """Drop all plans: none of them was written."""
    tx.execute("DELETE FROM rendition WHERE block_id = ? AND origin = 'planned'", (block,))


def same_text(
    tx: Tx, block: BlockId, number: int, *, seq: int | None, extra: bytes | None
) -> None:
    """Let a rendition show another (newer) state that has the same text."""
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
    """Return the smallest log position that a kept rendition needs; None when none needs any."""
    row = tx.execute("SELECT min(seq) FROM rendition WHERE block_id = ?", (block,)).fetchone()
    return None if row[0] is None else int(row[0])


def forget_history(tx: Tx, block: BlockId) -> None:
    """Detach all renditions from the log, because it was replaced by another history."""
    tx.execute("UPDATE rendition SET seq = NULL, extra = NULL WHERE block_id = ?", (block,))


def drop(tx: Tx, block: BlockId) -> None:
    """Delete all renditions, because the block no longer has a file."""
    tx.execute("DELETE FROM rendition WHERE block_id = ?", (block,))
