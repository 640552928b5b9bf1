"""Memory follows what was stored: never ahead of a transaction that failed, never behind one that
was committed.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from heapsyncd.cache import blocks, entries, heaps
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.database import Database
from heapsyncd.errors import FolderTrouble
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.report import HeapReport, Report

HEAP = HeapId("01HEAP00000000000000000000")
FOLDER, NOTE, OTHER, NEW = (BlockId(f"01BLOCK000000000000000000{k}") for k in range(4))


class Connection(sqlite3.Connection):
    """Fails at a statement: its number from now on."""

    fails_in: int | None = None

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._statement(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        self._statement(sql)
        return super().executemany(sql, rows)

    def _statement(self, sql: str) -> None:
        if self.fails_in is None or sql == "ROLLBACK":
            return
        self.fails_in -= 1
        if self.fails_in < 0:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error


@pytest.fixture
async def connections() -> list[Connection]:
    return []


@pytest.fixture
async def heap(tmp_path: Path, connections: list[Connection]) -> AsyncIterator[HeapContext]:
    """A heap with a folder and two notes in it."""

    def connect(*where: Any, **how: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*where, factory=Connection, **how)
        connections.append(connection)
        return connection

    async with await Database.open(tmp_path / "cache", SCHEMA, connect=connect) as db:
        await db.write(lambda tx: heaps.save(tx, HeapRow(HEAP, "Home", "Home", 0, mirrored=True)))
        nobody = cast("Any", None)  # neither disk nor server has a part in this
        report = HeapReport(HEAP, "Home", "/folder")
        heap = HeapContext(HEAP, db, nobody, nobody, report, Report("home"), nobody)
        await heap.load_index()
        await heap.store(begin)
        yield heap


def begin(change: Change) -> None:
    change.insert(BlockState(NOTE, HEAP, "document", title="Boat", sync_version=1))
    change.insert(BlockState(OTHER, HEAP, "document", title="Car", sync_version=1))
    blocks.set_tags(change.tx, NOTE, [FOLDER])
    change.save([EntryRow("Boat.md", NOTE, "note"), EntryRow("Car.md", OTHER, "note")])


def everything(change: Change) -> str:
    """A folder comes to be known, a note moves into it and gets another name, one is deleted."""
    change.insert(BlockState(FOLDER, HEAP, "folder", title="Place", sync_version=1))
    change.touch_related(FOLDER)
    change.remove(["Boat.md", "Car.md"])
    change.save([EntryRow("Place/Ship.md", NOTE, "note"), EntryRow("Place", FOLDER, "folder")])
    change.update(NOTE, title="Ship")
    change.update(OTHER, deleted_at_ms=1)
    change.add_alias("boat", NOTE)
    return "done"


async def stored(heap: HeapContext) -> dict[str, object]:
    index = await heap.db.read(
        lambda tx: Index(
            blocks.of_heap(tx, HEAP), entries.of_heap(tx, HEAP), entries.aliases(tx, HEAP)
        )
    )
    return facts(index)


def facts(index: Index) -> dict[str, object]:
    names = ("blocks", "entries", "aliases", "path_of", "notes", "unplaced", "folders")
    return {name: getattr(index, name) for name in names}


async def test_the_index_follows_a_commit(heap: HeapContext) -> None:
    """What a unit of work stored is in the index when it returns, and places are worked out."""
    heap.layout.rearrange = False
    assert await heap.store(everything) == "done"
    assert facts(heap.index) == await stored(heap)
    assert heap.index.path_of == {NOTE: "Place/Ship.md", FOLDER: "Place"}
    assert heap.index.blocks[NOTE].folder == FOLDER
    assert heap.layout.rearrange


async def test_places_stay_when_only_a_mark_changed(heap: HeapContext) -> None:
    """A block that only has to be published again moves nothing."""
    heap.layout.rearrange = False
    await heap.store(lambda change: change.update(NOTE, stale=1))
    assert not heap.layout.rearrange


@pytest.mark.parametrize(
    ("path", "title", "folder", "moves"),
    [
        ("New.md", "New", None, False),
        ("Place/New.md", "New", FOLDER, False),
        ("New.md", "Other", None, True),
        ("New.md", "New", FOLDER, True),
        ("Place/New.md", "New", None, True),
        ("Place/BOAT.md", "BOAT", FOLDER, True),
        (None, "New", None, True),
    ],
)
async def test_a_new_file_that_is_in_its_place_moves_nothing(
    heap: HeapContext,
    path: str | None,
    title: str,
    folder: BlockId | None,
    moves: bool,
) -> None:
    """A note that is created here costs the same in a heap of any size: no other path is worked
    out. A title, a folder or a name of another note that asks for another path does.
    """
    boat = [EntryRow("Place", FOLDER, "folder"), EntryRow("Place/Boat.md", NOTE, "note")]
    await heap.store(lambda change: change.save(boat))
    heap.layout.rearrange = False

    def create(change: Change) -> None:
        change.insert(BlockState(NEW, HEAP, "document", title=title, folder_id=folder))
        change.save([EntryRow(path, NEW, "note")] if path else [])

    await heap.store(create)
    assert heap.layout.rearrange is moves


async def test_memory_stays_when_a_statement_fails(
    heap: HeapContext, connections: list[Connection]
) -> None:
    """Whichever statement fails, the commit too: memory is as it was, and as it is stored."""
    before = facts(heap.index)
    heap.layout.rearrange = False
    for statement in range(1000):
        connections[0].fails_in = statement
        try:
            await heap.store(everything)
        except FolderTrouble:
            connections[0].fails_in = None
            assert facts(heap.index) == before == await stored(heap)
            assert not heap.layout.rearrange
        else:
            break
    assert statement > 10
    assert facts(heap.index) != before


@pytest.mark.parametrize("begun", [True, False])
async def test_memory_follows_although_the_caller_was_cancelled(
    heap: HeapContext, begun: bool
) -> None:
    """A transaction that had begun is committed, and memory knows it; a later one never is."""
    started, go_on = threading.Event(), threading.Event()

    def slow(change: Change) -> None:
        started.set()
        assert go_on.wait(10)
        everything(change)

    before = facts(heap.index)
    first = asyncio.create_task(heap.store(slow))
    await asyncio.to_thread(started.wait, 10)
    second = asyncio.create_task(heap.store(lambda change: change.update(NOTE, title="Never")))
    await asyncio.sleep(0)
    asked: Callable[[], bool] = first.cancel if begun else second.cancel
    asked()
    if not begun:
        with pytest.raises(asyncio.CancelledError):
            await second
    go_on.set()
    for task in (first, second):
        await asyncio.wait([task])
    assert facts(heap.index) == await stored(heap) != before
    assert (heap.index.blocks[NOTE].title == "Never") == begun
