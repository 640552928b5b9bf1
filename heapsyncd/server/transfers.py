"""Store uploads in progress and the contents that heaps hold (PROTOCOL §9)."""

from collections.abc import Sequence

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId


class Upload(Struct, frozen=True):
    """A content that is arriving; ``id`` is the name of its file below ``uploads/``."""

    id: str
    name: str
    mime_type: str
    size: int
    chunk_size: int

    @property
    def total(self) -> int:
        """The number of its chunks; 0 when it is empty."""
        return -(-self.size // self.chunk_size)

    def chunk(self, number: int) -> tuple[int, int]:
        """Return offset and size of a chunk."""
        offset = number * self.chunk_size
        return offset, min(self.chunk_size, self.size - offset)


def find(tx: Tx, heap_id: HeapId, block: BlockId, hash_: str) -> Upload | None:
    """Return the upload of this content to this block; None when there is none."""
    sql = (
        "SELECT id, name, mime_type, size, chunk_size FROM uploads"
        " WHERE heap_id = ? AND block_id = ? AND hash = ?"
    )
    row = tx.execute(sql, (heap_id, block, hash_)).fetchone()
    return None if row is None else Upload(*row)


def begin(
    tx: Tx, heap_id: HeapId, block: BlockId, hash_: str, upload: Upload, now_ms: int
) -> str | None:
    """Store a new upload, replacing an older one; returns the older one's id."""
    old = find(tx, heap_id, block, hash_)
    if old is not None:
        end(tx, old.id)
    tx.execute(
        "INSERT INTO uploads"
        " (id, heap_id, block_id, hash, name, mime_type, size, chunk_size, touched_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            upload.id,
            heap_id,
            block,
            hash_,
            upload.name,
            upload.mime_type,
            upload.size,
            upload.chunk_size,
            now_ms,
        ),
    )
    return None if old is None else old.id


def received(tx: Tx, upload: str) -> list[int]:
    """Return the numbers of the chunks that are on the disk."""
    rows = tx.execute("SELECT number FROM chunks WHERE upload_id = ? ORDER BY number", (upload,))
    return [number for (number,) in rows]


def touch(tx: Tx, upload: str, now_ms: int) -> list[int]:
    """Record that an upload is continued; returns the chunks that are here."""
    tx.execute("UPDATE uploads SET touched_at = ? WHERE id = ?", (now_ms, upload))
    return received(tx, upload)


def add(tx: Tx, upload: str, number: int, now_ms: int) -> int:
    """Record that a chunk is on the disk; returns how many are."""
    tx.execute("INSERT OR IGNORE INTO chunks VALUES (?, ?)", (upload, number))
    tx.execute("UPDATE uploads SET touched_at = ? WHERE id = ?", (now_ms, upload))
    sql = "SELECT count(*) FROM chunks WHERE upload_id = ?"
    return int(tx.execute(sql, (upload,)).fetchone()[0])


def forget_chunks(tx: Tx, upload: str) -> None:
    """Forget all chunks, because the content is wrong and must be sent again."""
    tx.execute("DELETE FROM chunks WHERE upload_id = ?", (upload,))


def end(tx: Tx, upload: str) -> None:
    """Delete an upload."""
    tx.execute("DELETE FROM uploads WHERE id = ?", (upload,))


def drop_expired(tx: Tx, older_than_ms: int) -> list[str]:
    """Delete uploads that nobody continued; returns their ids."""
    sql = "DELETE FROM uploads WHERE touched_at < ? RETURNING id"
    return [id_ for (id_,) in tx.execute(sql, (older_than_ms,))]


def reconcile(tx: Tx, here: set[str]) -> set[str]:
    """Delete uploads that lost their file; returns the ids of all that were known."""
    known = {id_ for (id_,) in tx.execute("SELECT id FROM uploads")}
    for id_ in known - here:
        end(tx, id_)
    return known


def hold(tx: Tx, heap_id: HeapId, hash_: str, size: int) -> None:
    """Record that a heap has a content."""
    tx.execute("INSERT OR IGNORE INTO holdings VALUES (?, ?, ?)", (hash_, heap_id, size))


def held_size(tx: Tx, hash_: str, heaps: Sequence[HeapId]) -> int | None:
    """Return the size of a content that one of the heaps has; None when none has it."""
    for heap in heaps:
        sql = "SELECT size FROM holdings WHERE hash = ? AND heap_id = ?"
        row = tx.execute(sql, (hash_, heap)).fetchone()
        if row is not None:
            return int(row[0])
    return None


def under_way(tx: Tx, since_ms: int) -> tuple[int, int]:
    """Return the number of uploads, and the bytes still missing of those continued since then."""
    sql = (
        "SELECT count(*), coalesce(sum(CASE WHEN touched_at < ? THEN 0 ELSE"
        " max(0, size - chunk_size * (SELECT count(*) FROM chunks WHERE upload_id = id)) END), 0)"
        " FROM uploads"
    )
    count, promised = tx.execute(sql, (since_ms,)).fetchone()
    return int(count), int(promised)


def used(tx: Tx) -> int:
    """Return the bytes of all contents, including those that are arriving."""
    sql = (
        "SELECT sum(size) FROM ("
        "SELECT hash, size FROM holdings GROUP BY hash UNION ALL SELECT id, size FROM uploads)"
    )
    return int(tx.execute(sql).fetchone()[0] or 0)
