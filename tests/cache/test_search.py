"""Words are found offline, in the notes that have them now."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.cache import blocks, entries, heaps, search
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.ids import BlockId, HeapId

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTH")
A, B = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTA"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTB")


async def cache(path: Path) -> Database:
    """A cache with two notes in it."""
    db = await Database.open(path / "c.sqlite3", SCHEMA)

    def fill(tx: object) -> None:
        heaps.save(tx, heaps.HeapRow(HEAP, "Home", "Home", 0, mirrored=True))  # type: ignore[arg-type]
        for block, name, body in ((A, "Boat", "A naïve sailor's log"), (B, "Log", "nothing here")):
            blocks.insert(tx, blocks.BlockState(block, HEAP, "document"))  # type: ignore[arg-type]
            entries.save(tx, HEAP, [entries.EntryRow(f"{name}.md", block, "note")])  # type: ignore[arg-type]
            search.index(tx, HEAP, block, name, body)  # type: ignore[arg-type]

    await db.write(fill)
    return db


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("sailor", ["Boat.md"]),
        ("SAIL", ["Boat.md"]),
        ("naive log", ["Boat.md"]),
        ("log", ["Boat.md", "Log.md"]),
        ("sailor nothing", []),
        ("ailor", []),
        ("   ", []),
    ],
)
async def test_find(tmp_path: Path, query: str, paths: list[str]) -> None:
    """All words have to be there, in any case and without accents; the last may be a beginning."""
    async with await cache(tmp_path) as db:
        hits = await db.read(lambda tx: search.find(tx, query, None, 10))
        assert sorted(h.path for h in hits) == paths


async def test_follows_the_note(tmp_path: Path) -> None:
    """A note is found by its present words only, and not at all once it is gone."""
    async with await cache(tmp_path) as db:
        await db.write(lambda tx: search.index(tx, HEAP, A, "Boat", "rewritten"))
        assert not await db.read(lambda tx: search.find(tx, "sailor", None, 10))
        assert await db.read(lambda tx: search.find(tx, "rewritten", "Home", 10))
        assert not await db.read(lambda tx: search.find(tx, "rewritten", "Other", 10))
        await db.write(lambda tx: search.remove(tx, A))
        assert not await db.read(lambda tx: search.find(tx, "rewritten", None, 10))


@given(query=st.text(max_size=20))
async def test_any_query(tmp_path_factory: pytest.TempPathFactory, query: str) -> None:
    """No query is a syntax error."""
    async with await cache(tmp_path_factory.mktemp("c")) as db:
        await db.read(lambda tx: search.find(tx, query, None, 10))
