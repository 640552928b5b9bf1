"""Keep texts that are no longer in the folder, for the user, and notices to be reviewed.

A version of a note is a kept text with a number that increases. The latest versions are its
renditions, which the mirror needs itself. The others are here: the texts of deleted notes, and
texts about which the mirror may have decided wrongly.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from heapsyncd.cache import renditions
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId

log = structlog.get_logger()

KEEP = 64
"""The most texts of a block that are kept here; the latest ones are."""

Why = Literal["deleted", "written", "saved", "stale", "overlap", "damaged", "kept"]
"""Why a text is kept. ``deleted``: it was in the file when the note was deleted; ``written`` and
``saved``: before that (``renditions.Origin``); ``stale``: saved from an earlier text over a newer
one; ``overlap``: saved while the same words were changed elsewhere; ``damaged``: found instead of
a text when the daemon started; ``kept``: edited here and deleted on the server.
"""

_REVIEWED = frozenset({"stale", "overlap", "kept"})


@dataclass(frozen=True, slots=True)
class Version:
    """One kept text.

    ``path``: where it was; None for a rendition, whose place is the note's. ``why``: see ``Why``,
    and ``renditions.Origin``. ``notice``: what a person should look at.
    """

    number: int
    block_id: BlockId
    path: str | None
    why: str
    data: bytes
    made_at_ms: int
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Trashed:
    """A block in the trash. ``path``: where it was in the folder; None if it never was."""

    block_id: BlockId
    kind: str
    title: str
    path: str | None
    deleted_at_ms: int


@dataclass(frozen=True, slots=True)
class Review:
    """Something that a person should look at: why the text is kept, and a sentence about it."""

    why: Why
    notice: str


def keep(
    tx: Tx,
    heap_id: HeapId,
    block: BlockId,
    path: str,
    why: Why,
    data: bytes,
    now_ms: int,
    notice: str | None = None,
) -> None:
    """Keep a text; ``notice`` is a sentence about what should be looked at."""
    tx.execute(
        "INSERT INTO history (heap_id, block_id, number, path, why, text, made_at_ms, notice)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            heap_id, block, renditions.next_number(tx, block), path, why,
            zlib.compress(data), now_ms, notice,
        ),
    )  # fmt: skip
    _trim(tx, block)


def keep_reviews(
    tx: Tx,
    heap_id: HeapId,
    block: BlockId,
    path: str,
    data: bytes,
    now_ms: int,
    reviews: Sequence[Review],
) -> None:
    """Keep the text that reviews are about, once for each of them."""
    for review in reviews:
        keep(tx, heap_id, block, path, review.why, data, now_ms, review.notice)
        log.info("text kept for review", path=path, why=review.why)


def keep_reviews_of_file(
    tx: Tx,
    heap_id: HeapId,
    block: BlockId,
    path: str | None,
    now_ms: int,
    reviews: Sequence[Review],
) -> None:
    """Keep the text that is in a note's file until the next publish, which shows the merge.

    ``path`` None: the note has no file; the last path it had is used.
    """
    base = renditions.newest(tx, block)
    if path is None and reviews:
        path = next((v.path for v in of_block(tx, block) if v.path is not None), None)
    if path is not None and base is not None:
        keep_reviews(tx, heap_id, block, path, base.data, now_ms, reviews)


def retire(tx: Tx, heap_id: HeapId, block: BlockId, path: str, now_ms: int) -> None:
    """Move a block's renditions to the history, because it no longer has a file.

    The newest becomes the text of the deleted note. Of a block without a text the path is kept.
    """
    newest = renditions.newest(tx, block)
    if newest is not None:
        renditions.drop_plans(tx, block)
        tx.execute(
            "INSERT INTO history (heap_id, block_id, number, path, why, text, made_at_ms)"
            " SELECT ?, block_id, number, ?, origin, text, made_at_ms FROM rendition"
            " WHERE block_id = ? AND number < ? ORDER BY number",
            (heap_id, path, block, newest.number),
        )
    renditions.drop(tx, block)
    keep(tx, heap_id, block, path, "deleted", b"" if newest is None else newest.data, now_ms)


def revive(tx: Tx, block: BlockId, now_ms: int) -> Version | None:
    """Prepare a block to get a file again, based on the text that it last had.

    So the file is written in the user's own style.

    Returns:
        The text of the deletion; None when there is none.
    """
    last = next((v for v in of_block(tx, block) if v.why == "deleted"), None)
    if last is not None and last.data and not renditions.ring(tx, block):
        digest = hashlib.sha256(last.data).digest()
        renditions.add(
            tx, block, seq=None, extra=None, data=last.data, digest=digest, now_ms=now_ms,
            origin="written", line_breaks="space",
        )  # fmt: skip
    return last


def _trim(tx: Tx, block: BlockId) -> None:
    tx.execute(
        "DELETE FROM history WHERE block_id = ? AND id NOT IN"
        " (SELECT id FROM history WHERE block_id = ? ORDER BY id DESC LIMIT ?)",
        (block, block, KEEP),
    )


def of_block(tx: Tx, block: BlockId) -> list[Version]:
    """Return a block's texts in the history, newest first."""
    rows = tx.execute(
        "SELECT number, block_id, path, why, text, made_at_ms, notice FROM history"
        " WHERE block_id = ? ORDER BY number DESC",
        (block,),
    )
    return [
        Version(n, BlockId(b), p, w, zlib.decompress(t), m, notice)
        for n, b, p, w, t, m, notice in rows
    ]


def damaged(tx: Tx, heap_id: HeapId) -> list[tuple[int, str]]:
    """Return the texts of a heap that can't be read: row and path of each."""
    rows = tx.execute("SELECT id, path, text FROM history WHERE heap_id = ?", (heap_id,))
    return [(row, path) for row, path, packed in rows if not _can_be_read(packed)]


def _can_be_read(packed: bytes) -> bool:
    try:
        zlib.decompress(packed)
    except zlib.error:
        return False
    return True


def drop_damaged(tx: Tx, heap_id: HeapId) -> None:
    """Delete the texts of a heap that can't be read."""
    rows = [(row,) for row, _ in damaged(tx, heap_id)]
    tx.executemany("DELETE FROM history WHERE id = ?", rows)


def versions(tx: Tx, block: BlockId) -> list[Version]:
    """Return every version of a block, newest first."""
    ring = [
        Version(r.number, block, None, r.origin, r.data, r.made_at_ms)
        for r in renditions.ring(tx, block)
        if r.origin != "planned"
    ]
    found = [*ring, *of_block(tx, block)]
    # A text kept for review was also kept as saved, right before.
    twice = {(v.number - 1, v.data) for v in found if v.why in _REVIEWED}
    return sorted((v for v in found if (v.number, v.data) not in twice), key=lambda v: -v.number)


def last_at(tx: Tx, heap_id: HeapId, path: str) -> BlockId | None:
    """Return the block that was last at a path and left a text there."""
    row = tx.execute(
        "SELECT block_id FROM history WHERE heap_id = ? AND path = ? ORDER BY id DESC LIMIT 1",
        (heap_id, path),
    ).fetchone()
    return None if row is None else BlockId(row[0])


def trashed(tx: Tx, heap_id: HeapId) -> list[Trashed]:
    """Return what is in a heap's trash, the latest deletion first."""
    rows = tx.execute(
        "SELECT id, kind, title, (SELECT path FROM history WHERE block_id = block.id"
        " ORDER BY history.id DESC LIMIT 1), deleted_at_ms FROM block WHERE heap_id = ?"
        " AND deleted_at_ms IS NOT NULL AND kind <> 'tag' ORDER BY deleted_at_ms DESC, id",
        (heap_id,),
    )
    return [Trashed(BlockId(i), k, t, p, d) for i, k, t, p, d in rows]


def notices(tx: Tx, heap_id: HeapId) -> list[str]:
    """Return what a person should look at, the latest first."""
    rows = tx.execute(
        "SELECT coalesce((SELECT path FROM entry WHERE entry.block_id = history.block_id"
        " AND role = 'note' LIMIT 1), path), notice FROM history"
        " WHERE heap_id = ? AND notice IS NOT NULL ORDER BY id DESC",
        (heap_id,),
    )
    return [f"{path}: {notice}" for path, notice in rows]


def seen(tx: Tx, block: BlockId) -> None:
    """Clear a block's notices, because a person looked at them."""
    tx.execute("UPDATE history SET notice = NULL WHERE block_id = ?", (block,))
