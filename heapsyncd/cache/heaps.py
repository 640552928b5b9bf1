"""Store heaps, and facts about the account as a whole."""

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import HeapId


class HeapRow(Struct, frozen=True):
    """A heap in the cache."""

    id: HeapId
    title: str
    folder: str
    """The name of its directory in the account's folder."""
    cursor_ms: int
    """The server time up to which the delta feed was read; 0 at first."""
    mirrored: bool
    """Whether the first mirror is complete, so that a missing marker is a problem."""
    source: str = ""
    """The setting ``source`` with which all notes were read last; '' by an older version."""


def load_all(tx: Tx) -> list[HeapRow]:
    """Return every heap, by id."""
    sql = "SELECT id, title, folder, cursor_ms, mirrored, source FROM heap ORDER BY id"
    return [HeapRow(HeapId(i), t, f, c, bool(m), s) for i, t, f, c, m, s in tx.execute(sql)]


def save(tx: Tx, heap: HeapRow) -> None:
    """Insert a heap, or update its title, folder and state."""
    tx.execute(
        "INSERT INTO heap (id, title, folder, cursor_ms, mirrored, source)"
        " VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET title = excluded.title, folder = excluded.folder,"
        " cursor_ms = excluded.cursor_ms, mirrored = excluded.mirrored, source = excluded.source",
        (heap.id, heap.title, heap.folder, heap.cursor_ms, heap.mirrored, heap.source),
    )


def set_cursor(tx: Tx, heap_id: HeapId, cursor_ms: int) -> None:
    """Set how far the delta feed was read, in the transaction that stores what it reported."""
    tx.execute("UPDATE heap SET cursor_ms = ? WHERE id = ?", (cursor_ms, heap_id))


def set_mirrored(tx: Tx, heap_id: HeapId) -> None:
    """Record that the first mirror is complete."""
    tx.execute("UPDATE heap SET mirrored = 1 WHERE id = ?", (heap_id,))


def set_source(tx: Tx, heap_id: HeapId, source: str) -> None:
    """Record that all notes were read with this setting of ``source``."""
    tx.execute("UPDATE heap SET source = ? WHERE id = ?", (source, heap_id))


def is_folder_wanted(tx: Tx, heap_id: HeapId) -> bool:
    """Return whether a person asked for a heap's folder to be made again."""
    return bool(get_meta(tx, f"folder_wanted {heap_id}"))


def set_folder_wanted(tx: Tx, heap_id: HeapId, *, wanted: bool) -> None:
    """Store whether a heap's folder is to be made again."""
    set_meta(tx, f"folder_wanted {heap_id}", "1" if wanted else "")


def in_sync_ms(tx: Tx) -> int | None:
    """Return when everything was last known to be in sync, in milliseconds; None: never."""
    found = get_meta(tx, "in_sync_ms")
    return None if found is None else int(found)


def set_in_sync_ms(tx: Tx, at_ms: int) -> None:
    """Store when everything was last known to be in sync."""
    set_meta(tx, "in_sync_ms", str(at_ms))


def get_meta(tx: Tx, key: str) -> str | None:
    """Return a fact about the account's cache (``server``, ``public_key``); None if never set."""
    row = tx.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(tx: Tx, key: str, value: str) -> None:
    """Set a fact about the account's cache."""
    tx.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
