"""What waits, the first of it in the order of the ids."""

from pathlib import Path
from typing import Any

from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.pending import pending
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database, Tx
from heapsyncd.ids import BlockId, HeapId

HEAP, OTHER = HeapId("01J00000000000000000000000"), HeapId("01J00000000000000000000001")


async def cache(path: Path) -> Database:
    """A cache with two heaps."""
    db = await Database.open(path / "c.sqlite3", SCHEMA)

    def fill(tx: Tx) -> None:
        for heap, name in ((HEAP, "a"), (OTHER, "b")):
            heaps.save(tx, heaps.HeapRow(heap, name, name, 0, mirrored=True))

    await db.write(fill)
    return db


def add(tx: Tx, name: str, heap: HeapId = HEAP, rows: int = 0, **values: Any) -> None:
    """Add a block with so many unsent updates."""
    state = blocks.BlockState(BlockId(name), heap, "document", 1, title=name, **values)
    blocks.insert(tx, state)
    for _ in range(rows):
        blocks.append(tx, BlockId(name), b"u", local=True)


async def test_the_first_of_each_direction_are_listed(tmp_path: Path) -> None:
    """A block once, whatever of it waits; none of another heap."""

    def fill(tx: Tx) -> None:
        add(tx, "a0", OTHER, rows=2, wanted=2, stale=True)
        add(tx, "a1", rows=3)
        add(tx, "a2", wanted=2, stale=True)
        add(tx, "a3", rows=1, born_here=True)
        add(tx, "a4", stale=True)
        add(tx, "a5", rows=1)
        add(tx, "a6", wanted=2)
        add(tx, "a7")

    async with await cache(tmp_path) as db:
        await db.write(fill)
        every = await db.read(lambda tx: pending(tx, HEAP, 9))
        assert [p.id for p in every] == ["a1", "a3", "a5", "a2", "a4", "a6"]
        assert [p.up for p in every] == [True] * 3 + [False] * 3
        some = await db.read(lambda tx: pending(tx, HEAP, 2))
        assert [p.id for p in some] == ["a1", "a3", "a2", "a4"]


async def test_it_costs_no_more_when_thousands_wait(tmp_path: Path) -> None:
    """Whoever asks how far a first mirror or upload is has the answer at once."""

    def steps(tx: Any) -> int:
        taken = [0]

        def step() -> int:
            taken[0] += 1
            return 0

        tx.set_progress_handler(step, 10)
        pending(tx, HEAP, 10)
        tx.set_progress_handler(None, 10)
        return taken[0]

    async with await cache(tmp_path) as db:
        found = []
        for first, count in ((0, 100), (100, 1900)):

            def fill(tx: Tx, first: int = first, count: int = count) -> None:
                for k in range(first, first + count):
                    add(tx, f"d{k:05}", wanted=2, stale=True)
                    add(tx, f"u{k:05}", rows=1, born_here=True)

            await db.write(fill)
            found.append(await db.read(steps))
        assert found[1] <= found[0] * 1.2
