"""Prepare a heap for mirroring: choose and claim its folder, load its state."""

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from heapsyncd.backends.contract import Backend
from heapsyncd.cache import heaps
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.folder.names import collision_key, safe_name, unique
from heapsyncd.model import Heap
from heapsyncd.processes import Processes, spare_cores
from heapsyncd.sync.deletions.lost_folder import check_folder
from heapsyncd.sync.heap.confirmer import Confirmer
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.layout.heap_folder import find_folder
from heapsyncd.sync.report import HeapReport, Report

AT_ROOT: Final = "."
"""The folder of a heap that is mirrored to the account's folder itself."""
MAX_TITLES: Final = 10
"""At most this many titles are named when a heap is not found."""


async def open_heap(
    account: Account,
    db: Database,
    backend: Backend,
    report: Report,
    heap: Heap,
    at_work: AtWork,
    timing: Timing = DEFAULT,
    folder: type[HeapFolder] = HeapFolder,
) -> HeapContext:
    """Return the context of a heap, its folder claimed, and created if it was never mirrored.

    The caller closes the context, which releases the folder.

    Raises:
        FolderTrouble: the folder cannot be used.
        StateLocked: another daemon mirrors into it.
    """
    rows = {r.id: r for r in await db.read(heaps.load_all)}
    row = rows.get(heap.id)
    # What the server's merges can't keep must not be in the files alone (``Dialect.merge_files``).
    carries = account.source == "document" or backend.dialect.merge_files is not None
    if row is None:
        name = AT_ROOT
        if not backend.dialect.at_root:
            name = await _choose_folder(account, heap, rows.values())
        row = HeapRow(heap.id, heap.title, name, 0, mirrored=False, source=account.source)
    disk = folder(account.folder / row.folder)
    if not row.mirrored:
        await disk.create(heap.id, heap.title)
    await db.write(lambda tx: heaps.save(tx, row))
    processes = Processes(spare_cores) if account.processes == "auto" else Processes()
    try:
        heap_report = HeapReport(heap.id, heap.title, str(disk.root))
        state = HeapContext(
            heap.id, db, disk, backend, heap_report, report, at_work, timing, carries,
            account.line_breaks, backend.dialect, account.history,
            None if account.seed is None else Confirmer.of(account.seed), processes,
        )  # fmt: skip
        if account.files == "on-demand":
            state.transfers.limit_bytes = int(account.files_limit_mb * 1e6)
        await state.load_index()
        await check_folder(state, opening=True)
        await disk.claim(heap.id)
        await disk.clear_temps()
    except BaseException:
        await disk.close()
        raise
    report.heaps[heap.id] = heap_report
    return state


async def _choose_folder(account: Account, heap: Heap, others: Iterable[HeapRow]) -> str:
    """Return the name of a new heap's directory: the one with its marker, or a free one."""
    taken = {collision_key(r.folder) for r in others}
    found = await find_folder(account.folder, heap.id)
    return found or unique(safe_name(heap.title), lambda n: collision_key(n) in taken)


def is_selected(account: Account, title: str, heap_id: str) -> bool:
    """Return whether the configuration asks for a heap or box, by its id or a glob of titles."""
    return any(_matches(pattern, title, heap_id) for pattern in account.heaps)


def unmatched(
    account: Account, heaps: Sequence[tuple[str, str]], *, is_complete: bool = True
) -> str | None:
    """Return which patterns of the configuration match nothing, and what to do; None if all match.

    Args:
        account: whose ``heaps`` are the patterns; ``*`` always matches.
        heaps: title and id of each heap, or of each box if the patterns select boxes.
        is_complete: these are all that the account can see, and worth listing.
    """
    empty = [p for p in account.heaps if p != "*" and not any(_matches(p, t, i) for t, i in heaps)]
    if not empty:
        return None
    titles = sorted({" ".join(title.split()) for title, _ in heaps})
    there = f"there are: {', '.join(titles[:MAX_TITLES]) or 'none'}; "
    what = "box" if account.selects_boxes else "heap"
    return (
        f"`heaps` of [accounts.{account.name}]: {', '.join(map(json.dumps, empty))} matches no"
        f" {what}; {there if is_complete else ''}`heapsyncd heaps` lists them. Correct the"
        " configuration"
    )


def _matches(pattern: str, title: str, heap_id: str) -> bool:
    return pattern == heap_id or fnmatchcase(title, pattern)
