"""A cache of an older version is taken over with all that is in it."""

import zlib
from pathlib import Path

from heapsyncd.cache import entries, history, problems, renditions
from heapsyncd.cache.problems import ProblemRow
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database, Tx
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.model import Stat

HEAP, BLOCK = HeapId("01J00000000000000000000000"), BlockId("01J00000000000000000000001")


async def test_texts_that_an_older_version_kept(tmp_path: Path) -> None:
    """They are versions like the others, each under its own number."""

    def fill(tx: Tx) -> None:
        tx.execute("INSERT INTO heap (id, title, folder) VALUES (?, 'Home', 'Home')", (HEAP,))
        tx.execute(
            "INSERT INTO block (id, heap_id, kind) VALUES (?, ?, 'document')", (BLOCK, HEAP)
        )
        for n in (1, 2):
            tx.execute(
                "INSERT INTO rendition (block_id, number, text, digest, made_at_ms, origin)"
                " VALUES (?, ?, ?, ?, ?, 'written')",
                (BLOCK, n, _zlib(f"written {n}"), b"", n),
            )
            tx.execute(
                "INSERT INTO history (block_id, heap_id, path, why, text, made_at_ms)"
                " VALUES (?, ?, 'Note.md', 'deleted', ?, ?)",
                (BLOCK, HEAP, _zlib(f"deleted {n}"), n),
            )

    async with await Database.open(tmp_path / "c.sqlite3", SCHEMA[:1]) as db:
        await db.write(fill)
    async with await Database.open(tmp_path / "c.sqlite3", SCHEMA) as db:
        kept = await db.read(lambda tx: history.versions(tx, BLOCK))
        assert sorted(v.data for v in kept) == [
            b"deleted 1", b"deleted 2", b"written 1", b"written 2"
        ]  # fmt: skip
        assert len({v.number for v in kept}) == 4
        assert await db.read(lambda tx: history.notices(tx, HEAP)) == []
        following = await db.read(lambda tx: renditions.next_number(tx, BLOCK))
        assert following > max(v.number for v in kept)


async def test_troubles_that_an_older_version_knew(tmp_path: Path) -> None:
    """They are told until their files were looked at again, which the stamps now ask for; other
    files are as they were.
    """

    def fill(tx: Tx) -> None:
        tx.execute("INSERT INTO heap (id, title, folder) VALUES (?, 'Home', 'Home')", (HEAP,))
        for path in ("Bad.md", "Good.md"):
            tx.execute(
                "INSERT INTO entry (heap_id, path, block_id, role, size, mtime_ns, ctime_ns,"
                " inode, device) VALUES (?, ?, ?, 'note', 1, 2, 3, 4, 5)",
                (HEAP, path, BLOCK),
            )
        for path in ("Bad.md", "link.md"):
            tx.execute(
                "INSERT INTO file_problem (heap_id, path, reason) VALUES (?, ?, 'why')",
                (HEAP, path),
            )

    async with await Database.open(tmp_path / "c.sqlite3", SCHEMA[:3]) as db:
        await db.write(fill)
    async with await Database.open(tmp_path / "c.sqlite3", SCHEMA) as db:
        found = await db.read(lambda tx: problems.load(tx, HEAP))
        assert found == [
            ProblemRow("Bad.md", "read", "why"), ProblemRow("link.md", "read", "why")
        ]  # fmt: skip
        rows = await db.read(lambda tx: {e.path: e.stat for e in entries.of_heap(tx, HEAP)})
        now = Stat(size=1, mtime_ns=2, ctime_ns=3, inode=4, device=5)
        agrees = {path: stat is not None and stat.agrees(now) for path, stat in rows.items()}
        assert agrees == {"Bad.md": False, "Good.md": True}


def _zlib(text: str) -> bytes:
    return zlib.compress(text.encode())
