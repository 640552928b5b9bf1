"""Define what the server's tables hold, as values and transaction functions (see ``schema``).

Every change of a block gets a millisecond of its own (``tick``), larger than all before it, also
after a restart and when the machine's clock jumps back. That makes the delta feed a total order
(PROTOCOL §5).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct, field

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockKind
from heapsyncd.server.rows import Derived, Row

Access = Literal["rw", "ro", "none"]

_IN = 500
"""The most ids per statement; SQLite allows more, but caches plans by text."""


class Stored(Struct, frozen=True):
    """A block's document as stored: a state and the updates since."""

    id: BlockId
    heap_id: HeapId
    kind: BlockKind
    row_title: str
    sync_version: int
    state: bytes
    log: tuple[bytes, ...]
    incomplete: bool
    """Some of it is pending (its dependencies are missing), so that differences need a replica."""

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.state) + sum(map(len, self.log))

    @property
    def updates(self) -> tuple[bytes, ...]:
        """All updates, oldest first."""
        return (self.state, *self.log)


class Effect(Struct):
    """What one committed group of changes does to one block."""

    id: BlockId
    heap_id: HeapId
    kind: BlockKind
    row_title: str
    sync_version: int
    is_new: bool = False
    appended: list[bytes] = field(default_factory=list)
    state: bytes | None = None
    """Replaces state and log; for a new block its first state."""
    incomplete: bool = False
    derived: Derived | None = None
    """Set if the block changed, which gives it a stamp. None: only pending updates were stored."""


def tick(tx: Tx, now_ms: int) -> int:
    """Return the stamp of a change: now, or one more than the newest stamp ever given."""
    last = latest(tx)
    stamp = max(now_ms, last + 1)
    tx.execute("UPDATE clock SET last_ms = ?", (stamp,))
    return stamp


def latest(tx: Tx) -> int:
    """Return the newest stamp given."""
    return int(tx.execute("SELECT last_ms FROM clock").fetchone()[0])


def index(tx: Tx) -> dict[BlockId, tuple[HeapId, int]]:
    """Return every block's heap and current version."""
    rows = tx.execute("SELECT id, heap_id, sync_version FROM blocks")
    return {BlockId(b): (HeapId(h), v) for b, h, v in rows}


def sizes(tx: Tx, blocks: Iterable[BlockId]) -> dict[BlockId, int]:
    """Return the bytes of the documents of those blocks that exist."""
    sql = (
        "SELECT length(state) + (SELECT coalesce(sum(length(data)), 0) FROM updates u"
        " WHERE u.block_id = s.block_id) FROM states s WHERE block_id = ?"
    )
    found = {block: tx.execute(sql, (block,)).fetchone() for block in blocks}
    return {block: int(row[0]) for block, row in found.items() if row is not None}


def stored(tx: Tx, ids: Iterable[BlockId]) -> dict[BlockId, Stored]:
    """Return the documents of those blocks that exist."""
    wanted = list(ids)
    logs: dict[str, list[bytes]] = {}
    found: dict[BlockId, Stored] = {}
    for start in range(0, len(wanted), _IN):
        part = wanted[start : start + _IN]
        marks = ",".join("?" * len(part))
        rows = tx.execute(
            f"SELECT block_id, data FROM updates WHERE block_id IN ({marks}) ORDER BY seq",  # noqa: S608 - question marks only
            part,
        )
        for block, data in rows:
            logs.setdefault(block, []).append(data)
        rows = tx.execute(
            "SELECT id, heap_id, type, row_title, sync_version, state, incomplete"  # noqa: S608 - question marks only
            f" FROM blocks JOIN states ON block_id = id WHERE id IN ({marks})",
            part,
        )
        for block, heap, kind, title, version, state, incomplete in rows:
            log = tuple(logs.get(block, ()))
            found[block] = Stored(block, heap, kind, title, version, state, log, bool(incomplete))
    return found


def permanent(tx: Tx) -> set[BlockId]:
    """Return the blocks that were deleted for good."""
    sql = "SELECT id FROM blocks WHERE permanent_at IS NOT NULL"
    return {BlockId(b) for (b,) in tx.execute(sql)}


def commit(tx: Tx, effects: Sequence[Effect], now_ms: int) -> None:
    """Store the effects of a group of changes, in order; each changed block gets a stamp."""
    for effect in effects:
        if effect.is_new:
            _insert(tx, effect, tick(tx, now_ms))
        elif effect.derived is not None:
            _change(tx, effect, effect.derived, tick(tx, now_ms))
        tx.executemany(
            "INSERT INTO updates (block_id, data) VALUES (?, ?)",
            [(effect.id, update) for update in effect.appended],
        )
        if effect.state is not None:
            _replace_state(tx, effect, effect.state)
        elif effect.appended:
            sql = "UPDATE states SET incomplete = ? WHERE block_id = ? AND incomplete <> ?"
            tx.execute(sql, (effect.incomplete, effect.id, effect.incomplete))


def _insert(tx: Tx, effect: Effect, stamp: int) -> None:
    tx.execute(
        "INSERT INTO blocks"
        " (id, heap_id, type, row_title, sync_version, created_at, updated_at, folded)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            effect.id,
            effect.heap_id,
            effect.kind,
            effect.row_title,
            effect.sync_version,
            stamp,
            stamp,
            effect.row_title.casefold(),
        ),
    )
    if effect.derived is not None:
        _write_derived(tx, effect, effect.derived)


def _change(tx: Tx, effect: Effect, derived: Derived, stamp: int) -> None:
    sql = "UPDATE blocks SET updated_at = ?, sync_version = ? WHERE id = ?"
    tx.execute(sql, (stamp, effect.sync_version, effect.id))
    _write_derived(tx, effect, derived)


def _write_derived(tx: Tx, effect: Effect, derived: Derived) -> None:
    tx.execute(
        "UPDATE blocks SET title = ?, text = ?, folded = ?, relations = ?, files = ?,"
        " deleted_at = ?, permanent_at = ? WHERE id = ?",
        (
            derived.title,
            derived.text,
            derived.folded or effect.row_title.casefold(),
            derived.relations,
            derived.files,
            derived.deleted_at_ms,
            derived.permanent_at_ms,
            effect.id,
        ),
    )


def _replace_state(tx: Tx, effect: Effect, state: bytes) -> None:
    tx.execute(
        "INSERT INTO states (block_id, state, incomplete) VALUES (?, ?, ?)"
        " ON CONFLICT (block_id)"
        " DO UPDATE SET state = excluded.state, incomplete = excluded.incomplete",
        (effect.id, state, effect.incomplete),
    )
    tx.execute("DELETE FROM updates WHERE block_id = ?", (effect.id,))


_LIVE = "deleted_at IS NULL AND permanent_at IS NULL"
_ROW = (
    "id, heap_id, type, CASE WHEN title = '' THEN row_title ELSE title END, text, sync_version,"
    " created_at, updated_at, deleted_at, permanent_at, relations, files"
)


def counts(tx: Tx) -> dict[HeapId, int]:
    """Return how many live notes and files each heap has, if any."""
    sql = (
        f"SELECT heap_id, count(*) FROM blocks WHERE {_LIVE}"  # noqa: S608 - constant
        " AND type IN ('document', 'file') GROUP BY heap_id"
    )
    return {HeapId(heap): int(count) for heap, count in tx.execute(sql)}


def row(tx: Tx, block: str) -> Row | None:
    """Return one block's row; None when there is none."""
    found = tx.execute(f"SELECT {_ROW} FROM blocks WHERE id = ?", (block,)).fetchone()  # noqa: S608 - constant
    return None if found is None else Row(*found)


def query(
    tx: Tx, heap_id: HeapId, kind: BlockKind | None, limit: int, offset: int
) -> tuple[list[Row], int]:
    """Return a page of the heap's live blocks by id, and how many there are (PROTOCOL §4)."""
    found = (
        "FROM blocks INDEXED BY blocks_live"
        f" WHERE heap_id = ? AND {_LIVE} AND (? IS NULL OR type = ?)"
    )
    params = (heap_id, kind, kind)
    (total,) = tx.execute(f"SELECT count(*) {found}", params).fetchone()
    sql = f"SELECT {_ROW} {found} ORDER BY id LIMIT ? OFFSET ?"
    return [Row(*r) for r in tx.execute(sql, (*params, limit, offset))], int(total)


def search(tx: Tx, heap_id: HeapId, words: str, limit: int) -> list[Row]:
    """Return the heap's live blocks that contain the words as one phrase, in any case; newest
    first.
    """
    sql = (
        f"SELECT {_ROW} FROM blocks WHERE heap_id = ? AND {_LIVE}"  # noqa: S608 - constant
        " AND instr(folded, ?) > 0 ORDER BY updated_at DESC LIMIT ?"
    )
    return [Row(*r) for r in tx.execute(sql, (heap_id, words.casefold(), limit))]
