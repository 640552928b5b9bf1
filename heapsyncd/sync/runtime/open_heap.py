"""A heap of an account made ready to be mirrored: its folder chosen, claimed, its state loaded."""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from heapsyncd.backends.contract import Backend
from heapsyncd.cache import heaps
from heapsyncd.cache.atwork import AtWork
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.names import collision_key, safe_name, unique
from heapsyncd.ids import HeapId
from heapsyncd.model import Heap
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.heap_folder import find_folder
from heapsyncd.sync.report import HeapReport, Report

HEAPS_TOLD: Final = 10
"""So many titles are named where a heap is not found."""


async def open_heap(
    account: Account,
    db: Database,
    backend: Backend,
    report: Report,
    heap: Heap,
    at_work: AtWork,
) -> HeapContext:
    """The state of a heap, its folder made (if it was never mirrored) and claimed: close the
    state's ``disk`` in the end.

    Raises:
        FolderTrouble: the folder can't be used.
        StateLocked: another daemon mirrors into it.
    """
    rows = {r.id: r for r in await db.read(heaps.load_all)}
    row = rows.get(heap.id)
    if row is None:
        taken = {collision_key(r.folder) for r in rows.values()}
        name = await find_folder(account.folder, heap.id)
        if name is None:
            name = unique(safe_name(heap.title), lambda n: collision_key(n) in taken)
        row = HeapRow(heap.id, heap.title, name, 0, mirrored=False)
    disk = HeapFolder(account.folder / row.folder)
    if not row.mirrored:
        await disk.create(heap.id, heap.title)
    await db.write(lambda tx: heaps.save(tx, row))
    await disk.claim()
    try:
        await disk.clear_temps()
        told = HeapReport(heap.id, heap.title, str(disk.root))
        state = HeapContext(heap.id, db, disk, backend, told, report, at_work)
        if account.files == "on-demand":
            state.transfers.limit_bytes = int(account.files_limit_mb * 1e6)
        await state.load_index()
    except BaseException:
        await disk.close()
        raise
    report.heaps[heap.id] = told
    return state


def chosen(account: Account, title: str, heap_id: HeapId) -> bool:
    """Whether the configuration asks for a heap, by id or by a glob of titles."""
    return any(_matches(pattern, title, heap_id) for pattern in account.heaps)


def unmatched(
    account: Account, heaps: Sequence[tuple[str, HeapId]], *, all_there_are: bool = True
) -> str | None:
    """Which of the configuration's patterns match none of these heaps, and what to do; None: all
    match, or ask for whatever there is.
    """
    empty = [p for p in account.heaps if p != "*" and not any(_matches(p, t, i) for t, i in heaps)]
    if not empty:
        return None
    titles = sorted({" ".join(title.split()) for title, _ in heaps})
    there = f"there are: {', '.join(titles[:HEAPS_TOLD]) or 'none'}; "
    return (
        f"`heaps` of [accounts.{account.name}]: {', '.join(map(json.dumps, empty))} matches no"
        f" heap; {there if all_there_are else ''}`heapsyncd heaps` lists them, correct the"
        " configuration"
    )


def _matches(pattern: str, title: str, heap_id: HeapId) -> bool:
    return pattern == heap_id or fnmatchcase(title, pattern)
