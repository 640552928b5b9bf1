"""Keep texts that are no longer in the folder, for the user, and notices to be reviewed.

A version of a note is a kept text with a number that increases. The latest versions are its
renditions, which the mirror needs itself. The others are here: earlier ones, the texts of deleted
notes, and texts about which the mirror may have decided wrongly.
"""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import structlog
from msgspec import Struct

from heapsyncd.cache import renditions
from heapsyncd.cache.renditions import Author
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import HistoryLimits

log = structlog.get_logger()

KEEP = 2000
"""The most texts of a block that are kept here; the latest ones are. So a file that is written all
the time leaves room for the others.
"""

Why = Literal["deleted", "written", "saved", "stale", "overlap", "damaged", "kept", "renamed"]
"""Why a text is kept. ``deleted``: it was in the file when the note was deleted; ``written`` and
``saved``: before that (``renditions.Origin``); ``stale``: saved from an earlier text over a newer
one; ``overlap``: saved while the same words were changed elsewhere; ``damaged``: found instead of
a text when the daemon started; ``kept``: edited here and deleted on the server; ``renamed``:
it was in the file when that was renamed or moved; ``path`` is the former one.
"""

_DAY_MS: Final = 24 * 3600 * 1000
_REVIEWED = frozenset({"stale", "overlap", "kept"})


class Version(Struct, frozen=True):
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
    author: Author = ""


class Trashed(Struct, frozen=True):
    """A block in the trash. ``path``: where it was in the folder; None if it never was."""

    block_id: BlockId
    kind: str
    title: str
    path: str | None
    deleted_at_ms: int


class Review(Struct, frozen=True):
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
    *,
    author: Author = "",
) -> None:
    """Keep a text; ``notice`` is a sentence about what should be looked at."""
    tx.execute(
        "INSERT INTO history"
        " (heap_id, block_id, number, path, why, text, made_at_ms, notice, author)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            heap_id, block, renditions.next_number(tx, block), path, why,
            zlib.compress(data), now_ms, notice, author,
        ),
    )  # fmt: skip


def keep_reviews(
    tx: Tx,
    heap_id: HeapId,
    block: BlockId,
    path: str,
    data: bytes,
    now_ms: int,
    reviews: Sequence[Review],
    author: Author = "",
) -> None:
    """Keep the text that reviews are about, once for each of them."""
    for review in reviews:
        keep(tx, heap_id, block, path, review.why, data, now_ms, review.notice, author=author)
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


def retire(
    tx: Tx, heap_id: HeapId, block: BlockId, path: str, now_ms: int, author: Author
) -> None:
    """Move a block's renditions to the history, because it no longer has a file.

    The newest becomes the text of the deleted note. Of a block without a text the path is kept.
    ``author``: who deleted it.
    """
    newest = renditions.newest(tx, block)
    if newest is not None:
        renditions.drop_numbers(tx, block, [newest.number])  # kept as the deleted text
    set_aside(tx, heap_id, block, path)
    data = b"" if newest is None else newest.data
    keep(tx, heap_id, block, path, "deleted", data, now_ms, author=author)


def set_aside(tx: Tx, heap_id: HeapId, block: BlockId, path: str) -> None:
    """Move a block's renditions to the history, because no edit is to be measured against them."""
    tx.execute(
        "INSERT INTO history"
        " (heap_id, block_id, number, path, why, text, made_at_ms, author)"
        " SELECT ?, block_id, number, ?, origin, text, made_at_ms, author FROM rendition"
        " WHERE block_id = ? AND origin <> 'planned' ORDER BY number",
        (heap_id, path, block),
    )
    renditions.drop(tx, block)


def renamed(
    tx: Tx, heap_id: HeapId, block: BlockId, old_path: str, now_ms: int, author: Author = ""
) -> None:
    """Record that a block's file was renamed or moved, with its text."""
    base = renditions.newest(tx, block)
    data = b"" if base is None else base.data
    keep(tx, heap_id, block, old_path, "renamed", data, now_ms, author=author)


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


_LAST_IN_TRASH: Final = (
    "(SELECT max(history.id) FROM history JOIN block ON block.id = block_id"
    " WHERE deleted_at_ms IS NOT NULL AND why = 'deleted' GROUP BY block_id)"
)
_MAY_GO: Final = f"notice IS NULL AND id NOT IN {_LAST_IN_TRASH}"
"""Notices wait for a person, and a note in the trash keeps its path and its last text."""


def trim(tx: Tx, now_ms: int, limits: HistoryLimits) -> int:
    """Delete the oldest texts beyond the limits; return how many.

    Renditions count among the latest versions; they are never deleted here. The days end a day
    after the last change that the server told, if not now: a clock that is far ahead must not
    delete everything, and nothing says yet that it is.
    """
    before = tx.execute("SELECT count(*) FROM history").fetchone()[0]
    told_ms = tx.execute("SELECT coalesce(max(cursor_ms), 0) FROM heap").fetchone()[0]
    tx.execute(
        f"DELETE FROM history WHERE made_at_ms < ? AND {_MAY_GO}",  # noqa: S608
        (min(now_ms, told_ms + _DAY_MS) - limits.days * _DAY_MS,),
    )
    beyond = (
        "SELECT id FROM (SELECT id, sum(length(text)) OVER (ORDER BY made_at_ms DESC, id DESC) AS"
        " total, row_number() OVER (PARTITION BY block_id ORDER BY number DESC) AS place"
        " FROM history) WHERE total > ? OR place > ?"
    )
    tx.execute(
        f"DELETE FROM history WHERE id IN ({beyond}) AND {_MAY_GO}",  # noqa: S608
        (int(limits.mb * 1e6), KEEP),
    )
    return int(before - tx.execute("SELECT count(*) FROM history").fetchone()[0])


def of_block(tx: Tx, block: BlockId) -> list[Version]:
    """Return a block's texts in the history, newest first."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM history WHERE block_id = ? ORDER BY number DESC",  # noqa: S608
        (block,),
    )
    return [_version(row) for row in rows]


_COLUMNS: Final = "number, block_id, path, why, text, made_at_ms, notice, author"


def _version(row: tuple[Any, ...]) -> Version:
    number, block, path, why, packed, *rest = row
    return Version(number, BlockId(block), path, why, zlib.decompress(packed), *rest)


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
        Version(r.number, block, None, r.origin, r.data, r.made_at_ms, author=r.author)
        for r in renditions.ring(tx, block)
        if r.origin != "planned"
    ]
    return sorted(_once([*ring, *of_block(tx, block)]), key=lambda v: -v.number)


def is_repeated(version: Version, older: Version | None) -> bool:
    """Tell whether a version says nothing new: its text was only read or written again."""
    plain = {"saved", "written"}
    return (
        older is not None
        and version.why in plain
        and older.why in {"renamed", *plain}
        and version.data == older.data
    )


def _once(found: Sequence[Version]) -> list[Version]:
    """Leave out texts that were kept for review right after they were kept as saved."""
    twice = {(v.block_id, v.number - 1, v.data) for v in found if v.why in _REVIEWED}
    return [v for v in found if (v.block_id, v.number, v.data) not in twice]


_ALL: Final = (
    f"SELECT heap_id, {_COLUMNS} FROM history UNION ALL"  # noqa: S608
    " SELECT heap_id, number, block_id, (SELECT path FROM entry WHERE entry.block_id = block.id"
    " AND role = 'note' LIMIT 1) AS path, origin AS why, text, made_at_ms, NULL AS notice, author"
    " FROM rendition JOIN block ON block.id = block_id WHERE origin <> 'planned'"
)


def since(tx: Tx, heap_id: HeapId, at_ms: int, limit: int) -> list[Version]:
    """Return the latest versions of all notes in a heap, oldest first.

    Args:
        tx: the transaction.
        heap_id: the heap.
        at_ms: only versions from this time on.
        limit: at most so many.
    """
    # With the + SQLite looks up the time, which excludes more than the heap does.
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM ({_ALL}) WHERE made_at_ms >= ? AND +heap_id = ?"  # noqa: S608
        " ORDER BY made_at_ms DESC, block_id, number DESC LIMIT ?",
        (at_ms, heap_id, limit),
    ).fetchall()
    return _once([_version(row) for row in reversed(rows)])


def before(tx: Tx, version: Version) -> Version | None:
    """Return the version before this one; None if none is kept."""
    row = tx.execute(
        f"SELECT {_COLUMNS} FROM ({_ALL}) WHERE block_id = ? AND number < ?"  # noqa: S608
        " ORDER BY number DESC LIMIT 1",
        (version.block_id, version.number),
    ).fetchone()
    return None if row is None else _version(row)


def renamed_to(tx: Tx, version: Version) -> str | None:
    """Return the path that a block got with a ``renamed`` version; None: it has no file now."""
    row = tx.execute(
        "SELECT coalesce((SELECT path FROM history WHERE block_id = ?1 AND number > ?2"
        " AND why IN ('renamed', 'deleted') ORDER BY number LIMIT 1),"
        " (SELECT path FROM entry WHERE block_id = ?1 AND role = 'note'))",
        (version.block_id, version.number),
    ).fetchone()
    return None if row is None else row[0]


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
