"""Store which paths of a heap's folder are ours, with their blocks and the last agreed disk
stamps.
"""

from collections.abc import Iterable
from sys import intern
from typing import Literal, cast

from msgspec import Struct

from heapsyncd.database import Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Stat

Role = Literal["note", "folder", "file", "attachment"]
Todo = Literal["download", "upload", "remote"]
"""What is left to do; ``remote``: the content stays on the server until it is asked for."""
_COLUMNS = "path, block_id, role, key, size, mtime_ns, ctime_ns, inode, device, digest, todo"


class EntryRow(Struct, frozen=True):
    """One path."""

    path: str
    """Relative to the heap's folder, with ``/``."""
    block_id: BlockId
    role: Role
    key: str | None = None
    """The files_v0 key of the file's content (file and attachment)."""
    stat: Stat | None = None
    """As last agreed with the disk; None until the file exists (a pending download)."""
    digest: bytes | None = None
    """The SHA-256 of the content."""
    todo: Todo | None = None
    """What is left to do with the content of a file or attachment."""
    awaited_size: int | None = None
    """How large the content is, in bytes, that is not there yet."""

    @property
    def size(self) -> int | None:
        """How large the content is, in bytes; None: not known."""
        return self.awaited_size if self.stat is None else self.stat.size


def of_heap(tx: Tx, heap_id: HeapId) -> list[EntryRow]:
    """Return every entry of a heap, by path."""
    sql = f"SELECT {_COLUMNS} FROM entry WHERE heap_id = ? ORDER BY path"  # noqa: S608
    return [_row(*r) for r in tx.execute(sql, (heap_id,))]


def note_path(tx: Tx, block: BlockId) -> str | None:
    """Return the path of a block's note; None if it has no file."""
    sql = "SELECT path FROM entry WHERE block_id = ? AND role = 'note'"
    row = tx.execute(sql, (block,)).fetchone()
    return None if row is None else str(row[0])


def _row(
    path: str,
    block: BlockId,
    role: Role,
    key: str | None,
    size: int | None,
    mtime_ns: int | None,
    ctime_ns: int | None,
    inode: int | None,
    device: int | None,
    digest: bytes | None,
    todo: Todo | None,
) -> EntryRow:
    # Of each id and role one string serves the whole index.
    block, role = BlockId(intern(block)), cast("Role", intern(role))
    if inode is None or size is None:
        return EntryRow(path, block, role, key, None, digest, todo, size)
    stat = Stat(size, mtime_ns or 0, ctime_ns or 0, inode, device or 0)
    return EntryRow(path, block, role, key, stat, digest, todo)


def save(tx: Tx, heap_id: HeapId, entries: Iterable[EntryRow]) -> None:
    """Insert or replace entries."""
    tx.executemany(
        f"INSERT OR REPLACE INTO entry (heap_id, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
        [
            (
                heap_id,
                e.path,
                e.block_id,
                e.role,
                e.key,
                e.size,
                *_stamps(e.stat),
                e.digest,
                e.todo,
            )
            for e in entries
        ],
    )


def _stamps(stat: Stat | None) -> tuple[int | None, ...]:
    if stat is None:
        return None, None, None, None
    return stat.mtime_ns, stat.ctime_ns, stat.inode, stat.device


def remove(tx: Tx, heap_id: HeapId, paths: Iterable[str]) -> None:
    """Delete the entries of paths."""
    tx.executemany(
        "DELETE FROM entry WHERE heap_id = ? AND path = ?", [(heap_id, p) for p in paths]
    )


def mention(tx: Tx, block: BlockId, targets: Iterable[str]) -> None:
    """Replace the blocks that a note's newest text links to."""
    tx.execute("DELETE FROM mention WHERE block_id = ?", (block,))
    tx.executemany(
        "INSERT INTO mention (block_id, target) VALUES (?, ?)", [(block, t) for t in targets]
    )


def mentioning(tx: Tx, targets: Iterable[BlockId]) -> set[BlockId]:
    """Return the notes that link to one of some blocks."""
    sql = "SELECT block_id FROM mention WHERE target = ?"
    return {BlockId(r[0]) for target in targets for r in tx.execute(sql, (target,))}


def aliases(tx: Tx, heap_id: HeapId) -> dict[str, BlockId]:
    """Return the former names of notes (as collision keys)."""
    rows = tx.execute("SELECT name, block_id FROM alias WHERE heap_id = ?", (heap_id,))
    return {n: BlockId(b) for n, b in rows}


def add_alias(tx: Tx, heap_id: HeapId, name: str, block: BlockId) -> None:
    """Add a former name."""
    tx.execute(
        "INSERT OR REPLACE INTO alias (heap_id, name, block_id) VALUES (?, ?, ?)",
        (heap_id, name, block),
    )


class Reserved(Struct, frozen=True):
    """A block that was chosen for a new file which is not stored yet."""

    path: str
    block_id: BlockId
    digest: bytes | None
    """Of the file's text; None if an older version chose the block."""


def reserved(tx: Tx, heap_id: HeapId) -> list[Reserved]:
    """Return the blocks that were chosen for new files."""
    sql = "SELECT path, block_id, digest FROM reserved WHERE heap_id = ?"
    return [Reserved(p, BlockId(b), d) for p, b, d in tx.execute(sql, (heap_id,))]


def reserve(tx: Tx, heap_id: HeapId, chosen: Iterable[Reserved]) -> None:
    """Replace the blocks that are chosen for new files."""
    tx.execute("DELETE FROM reserved WHERE heap_id = ?", (heap_id,))
    tx.executemany(
        "INSERT INTO reserved (heap_id, path, block_id, digest) VALUES (?, ?, ?, ?)",
        [(heap_id, r.path, r.block_id, r.digest) for r in chosen],
    )
