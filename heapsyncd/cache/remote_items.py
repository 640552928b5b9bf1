"""Store the items of a service without CRDTs as last seen, each with the document of its block.

A row is one block: an item, or a directory or file that the mirror makes of items. Rows of deleted
blocks stay, so that the feed can tell of them from its beginning.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import BlockKind

Part = Literal["item", "sidecar", "comments", "archive", "archived"]
"""What of an item a block is. ``comments``: the directory of its comments. ``archive``: the
directory of all archived items. ``archived``: a box's directory in it."""
Gone = Literal["", "here", "there"]
"""Whether a block was deleted, and where: its document says so only if it was here."""
EMPTY: Final = b"\0\0"
"""The document of a block that nothing was written into."""
PENDING: Final = "pending:"
_COLUMNS: Final = (
    "block_id, heap_id, part, item_id, type, item, version, changed, document, gone, intent"
)


class RemoteItem(Struct, frozen=True):
    """One block; the fields are the columns of ``schema``."""

    block_id: BlockId
    heap_id: HeapId
    part: Part
    item_id: str
    """'' until the service made the item."""
    type: str
    item: bytes
    """As the backend encodes it; empty for a directory that stands for no item, or was refused."""
    version: int = 1
    changed: int = 0
    """Its place in the feed of changes. Set by ``announce``."""
    document: bytes = EMPTY
    """The document of this version, with the pushed updates."""
    gone: Gone = ""
    intent: bytes = b""
    """What is being created, until its outcome is known."""

    @property
    def kind(self) -> BlockKind:
        """The kind of the block."""
        if self.part in {"comments", "archive", "archived"} or self.type == "box":
            return "folder"
        return "file" if self.type == "file" and self.part == "item" else "document"

    @property
    def is_pending(self) -> bool:
        """Whether it is a directory that was made here, and neither sent yet nor refused."""
        return self.kind == "folder" and bool(self.item) and not (self.item_id or self.gone)


class RemoteFile(Struct, frozen=True):
    """A content on the service: of a file item, or attached to an item.

    ``file_id``: the service's, or ``PENDING`` and the key while it is being attached.
    ``owner_id``: the item it is attached to, or the file item itself. ``key``: ours of files_v0.
    """

    file_id: str
    owner_id: str
    key: str
    size: int
    modified: str

    @property
    def is_pending(self) -> bool:
        """Whether the service may not have it yet."""
        return self.file_id.startswith(PENDING)


def get(tx: Tx, block: BlockId) -> RemoteItem | None:
    """Return one block's row; None when it is unknown."""
    return _first(tx, "block_id = ?", (block,))


def bounded(tx: Tx, blocks: Iterable[BlockId], most_bytes: int) -> list[RemoteItem | None]:
    """Return the rows of the first blocks, until their documents have so many bytes."""
    found: list[RemoteItem | None] = []
    size = 0
    for block in blocks:
        found.append(row := get(tx, block))
        size += 0 if row is None else len(row.document)
        if size >= most_bytes:
            break
    return found


def of_item(tx: Tx, heap: HeapId, item_id: str, part: Part = "item") -> RemoteItem | None:
    """Return the block that is a part of an item, a deleted one only if there is no other."""
    condition = "heap_id = ? AND item_id = ? AND part = ? ORDER BY gone, block_id"
    return _first(tx, condition, (heap, item_id, part))


def live_items(tx: Tx, heap: HeapId, ids: Iterable[str]) -> dict[str, bytes]:
    """Return the last states of those of some items that are live blocks, by item."""
    sql = (
        "SELECT item FROM remote_item WHERE heap_id = ? AND item_id = ? AND part = 'item'"
        " AND gone = '' LIMIT 1"
    )
    found = ((i, tx.execute(sql, (heap, i)).fetchone()) for i in ids)
    return {i: row[0] for i, row in found if row is not None}


def outline(tx: Tx, heap: HeapId) -> list[RemoteItem]:
    """Return all rows without their documents."""
    columns = _COLUMNS.replace("document", "x'0000'")
    sql = f"SELECT {columns} FROM remote_item WHERE heap_id = ?"  # noqa: S608
    return [_row(r) for r in tx.execute(sql, (heap,))]


def gone_ids(tx: Tx, heap: HeapId) -> dict[str, BlockId]:
    """Return the ids of items that are gone, with the blocks that they were."""
    sql = (
        "SELECT item_id, block_id FROM remote_item"
        " WHERE heap_id = ? AND part = 'item' AND item_id <> '' AND gone <> ''"
    )
    return dict(tx.execute(sql, (heap,)).fetchall())


def rows(tx: Tx, heap: HeapId) -> list[RemoteItem]:
    """Return the rows of live blocks, without their documents and items."""
    columns = _COLUMNS.replace("document", "x'0000'").replace("item,", "x'',", 1)
    sql = f"SELECT {columns} FROM remote_item WHERE heap_id = ? AND gone = ''"  # noqa: S608
    return [_row(r) for r in tx.execute(sql, (heap,))]


def since(tx: Tx, heap: HeapId, changed: int, limit: int) -> list[tuple[BlockId, int, int, Gone]]:
    """Return what the feed has from a place on: block, version, place, and whether it is gone."""
    sql = (
        "SELECT block_id, version, changed, gone FROM remote_item"
        " WHERE heap_id = ? AND changed >= ? AND changed > 0 ORDER BY changed LIMIT ?"
    )
    return list(tx.execute(sql, (heap, changed, limit)))


def save(tx: Tx, rows: Iterable[RemoteItem]) -> None:
    """Store rows without announcing them."""
    tx.executemany(
        f"INSERT OR REPLACE INTO remote_item ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
        [
            (r.block_id, r.heap_id, r.part, r.item_id, r.type, r.item, r.version, r.changed,
             r.document, r.gone, r.intent)
            for r in rows
        ],
    )  # fmt: skip


def announce(tx: Tx, heap: HeapId, rows: Iterable[RemoteItem], now_ms: int) -> None:
    """Store rows as changed just now.

    A place in the feed is the time, or the next free number if the clock was set back.
    """
    (last,) = tx.execute(
        "SELECT coalesce(max(changed), 0) FROM remote_item WHERE heap_id = ?", (heap,)
    ).fetchone()
    first = max(last + 1, now_ms)
    save(tx, (replace(row, changed=first + k) for k, row in enumerate(rows)))


def files(tx: Tx, heap: HeapId) -> list[RemoteFile]:
    """Return all contents."""
    sql = "SELECT file_id, owner_id, key, size, modified FROM remote_file WHERE heap_id = ?"
    return [RemoteFile(*r) for r in tx.execute(sql, (heap,))]


def put_files(tx: Tx, heap: HeapId, found: Iterable[RemoteFile]) -> None:
    """Store contents."""
    tx.executemany(
        "INSERT OR REPLACE INTO remote_file (heap_id, file_id, owner_id, key, size, modified)"
        " VALUES (?,?,?,?,?,?)",
        [(heap, f.file_id, f.owner_id, f.key, f.size, f.modified) for f in found],
    )


def drop_files(tx: Tx, heap: HeapId, file_ids: Iterable[str]) -> None:
    """Remove contents."""
    tx.executemany(
        "DELETE FROM remote_file WHERE heap_id = ? AND file_id = ?",
        [(heap, file_id) for file_id in file_ids],
    )


def _select(tx: Tx, condition: str, values: Sequence[object]) -> Iterable[Sequence[object]]:
    return tx.execute(f"SELECT {_COLUMNS} FROM remote_item WHERE {condition}", values)  # noqa: S608


def _first(tx: Tx, condition: str, values: Sequence[object]) -> RemoteItem | None:
    found = next(iter(_select(tx, f"{condition} LIMIT 1", values)), None)
    return None if found is None else _row(found)


def _row(values: Sequence[object]) -> RemoteItem:
    return RemoteItem(*values)  # type: ignore[arg-type]
