"""Words are found in what the notes' files hold now."""

import sqlite3
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapsyncd.cache import blocks, entries, heaps, search
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.cache.search import Line, Searched
from heapsyncd.cache.search_query import SEPARATOR, parse, unspaced
from heapsyncd.database import Database, Tx
from heapsyncd.ids import BlockId, HeapId

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRSTH")
A, B = BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTA"), BlockId("01J8XYZ0ABCDEFGHJKMNPQRSTB")
BOAT = "A naïve sailor's log.\n\nThe red\r\nboat, a re\u0301d boat.\n"


async def cache(path: Path) -> Database:
    """A cache with two notes in it."""
    db = await Database.open(path / "c.sqlite3", SCHEMA)

    def fill(tx: Tx) -> None:
        heaps.save(tx, heaps.HeapRow(HEAP, "Home", "Home", 0, mirrored=True))
        for block, name, text in ((A, "Boat", BOAT), (B, "Log", "nothing here")):
            blocks.insert(tx, blocks.BlockState(block, HEAP, "document", title=name))
            entries.save(tx, HEAP, [entries.EntryRow(f"{name}.md", block, "note")])
            search.index(tx, block, name, Searched(text))

    await db.write(fill)
    return db


async def found(db: Database, query: str) -> list[search.Hit]:
    return await db.read(lambda tx: search.find(tx, parse(query), lambda *_: True, 10))


async def test_follows_the_note(tmp_path: Path) -> None:
    """A note is found by its present words only, and not at all once it is gone."""
    async with await cache(tmp_path) as db:
        await db.write(lambda tx: search.index(tx, A, "Boat", Searched("rewritten")))
        assert not await found(db, "sailor")
        assert await found(db, "rewritten")
        assert not await db.read(
            lambda tx: search.find(tx, parse("rewritten"), lambda heap, path: path != "Boat.md", 1)
        )
        await db.write(lambda tx: search.remove(tx, A))
        assert not await found(db, "rewritten")


async def test_the_lines_of_a_hit(tmp_path: Path) -> None:
    """With the places of the words, also where they go over a line end."""
    async with await cache(tmp_path) as db:
        (boat,) = await found(db, '"red boat"')
        assert boat.lines == (
            Line(3, "The red", ((4, 7),)), Line(4, "boat, a réd boat.", ((0, 4), (8, 16)))
        )  # fmt: skip
        (boat,) = await found(db, "SAIL")
        assert boat.lines == (Line(1, "A naïve sailor's log.", ((8, 14),)),)
        assert [hit.path for hit in await found(db, "naive log")] == ["Boat.md"]


def test_a_line_is_cut_around_its_first_mark() -> None:
    """The marks stay at their words."""
    long = Line(1, "  " + "word " * 40 + "deck " + "word " * 40, ((202, 206),))
    short = long.around(30)
    assert len(short.text) <= 34
    assert [short.text[begin:end] for begin, end in short.marks] == ["deck"]
    assert (short.text[:2], short.text[-2:]) == ("… ", " …")
    assert Line(1, "  deck ", ((2, 6),)).around(30) == Line(1, "deck", ((0, 4),))


with_words = st.text(
    st.sampled_from('ab日本é e\u0301 -:*"()^+OR,\x00\x01\x02\n_#') | st.characters(), max_size=20
)


with_fields = st.builds("{}:{}".format, st.sampled_from(["tag", "-title"]), with_words)


@pytest.mark.slow
@given(query=with_words | with_fields)
def test_any_query(query: str) -> None:
    """No query is a syntax error."""
    tx = sqlite3.connect(":memory:")
    for script in SCHEMA:
        tx.executescript(script)
    for block, text in ((A, "a b 日本"), (B, "é or")):
        tx.execute("INSERT INTO search_row (block_id) VALUES (?)", (block,))
        row = tx.execute("SELECT max(id) FROM search_row").fetchone()[0]
        tx.execute("INSERT INTO search (rowid, title, body) VALUES (?, ?, ?)", (row, "t", text))
    search.find(tx, parse(query), lambda *_: True, 10)
    tx.close()


@given(text=st.text(st.sampled_from("a1 日本ขก한\u0301\n.") | st.characters(codec="utf-8")))
def test_separated_text_reads_as_before(text: str) -> None:
    """Without the separators it is the same text, but for its normal form."""
    text = text.replace(SEPARATOR, " ")
    assert unspaced(text).replace(SEPARATOR, "") == (
        text if text.isascii() else unicodedata.normalize("NFC", text)
    )
