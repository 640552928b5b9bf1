"""Rows of blocks: what is asked for often is found without reading all of them."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from heapsyncd.cache import blocks
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database, Tx
from heapsyncd.ids import BlockId, HeapId

HEAP = HeapId("01J00000000000000000000000")


def block(name: str, announced_ms: int = 0) -> BlockState:
    """One that can be followed."""
    vector = b"\1\1\1"
    return BlockState(
        BlockId(name), HEAP, "document", 1, announced_ms=announced_ms, state_vector=vector
    )


async def filled(path: Path) -> Database:
    """A cache with a heap."""
    db = await Database.open(path / "c.sqlite3", SCHEMA)
    sql = "INSERT INTO heap (id, title, folder) VALUES (?, 'a', 'a')"
    await db.write(lambda tx: tx.execute(sql, (HEAP,)).rowcount)
    return db


async def test_the_newest_can_be_followed(tmp_path: Path) -> None:
    """So many of them; neither deleted ones, nor new ones that are sent as a whole by a push."""

    def fill(tx: Tx) -> None:
        for one in (
            *(block(f"n{k}", k) for k in range(5)),
            replace(block("deleted", 9), deleted_at_ms=1),
            replace(block("never pulled", 9), sync_version=0),
            replace(block("empty", 9), state_vector=None),
            replace(block("unknown there", 9), born_here=True),
            block("not sent", 9),
            block("sent once", 8),
            replace(block("refused", 7), problem="refused"),
        ):
            blocks.insert(tx, one)
        for name in ("not sent", "refused"):
            blocks.append(tx, BlockId(name), b"u", local=True)
        blocks.append(tx, BlockId("sent once"), b"u", local=False)
        blocks.append(tx, BlockId("sent once"), b"v", local=True)

    async with await filled(tmp_path) as db:
        await db.write(fill)
        found = await db.read(lambda tx: blocks.followable(tx, HEAP, 4))
        assert list(found) == ["sent once", "refused", "n4", "n3"]
        assert set(found.values()) == {1}
        everything = await db.read(lambda tx: blocks.followable(tx, HEAP, 100))
        assert len(everything) == 7


async def test_no_answer_takes_longer_in_a_larger_heap(tmp_path: Path) -> None:
    """What changed last and what is to be done are questions that an index answers in order."""
    plans: list[str] = []

    class Explaining:
        def __init__(self, tx: Tx) -> None:
            self.tx = tx

        def execute(self, sql: str, params: Any = ()) -> list[Any]:
            rows = self.tx.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            plans.extend(row[3] for row in rows)
            return []

    def ask(tx: Tx) -> None:
        explaining: Any = Explaining(tx)
        blocks.followable(explaining, HEAP, 10)
        blocks.newest(explaining, HEAP, 10)
        blocks.stale(explaining, HEAP)
        blocks.born(explaining, HEAP, 10)
        blocks.dirty(explaining, [BlockId("b")])

    async with await filled(tmp_path) as db:
        await db.read(ask)
    scans = [plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan]
    assert not scans
