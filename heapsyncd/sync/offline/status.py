"""Status and held deletions from the cache, while no daemon runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heapsyncd.cache import heaps, history, holds, pending, problems
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.deletions.decisions import held_deletions
from heapsyncd.sync.deletions.lost_folder import ask_for_folder
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.status_report import count
from heapsyncd.sync.layout.heap_folder import belongs_to_no_heap
from heapsyncd.sync.layout.ignore_rules import stored_rules
from heapsyncd.sync.report import PENDING_SHOWN, HeapReport, Report, pending_as_dicts
from heapsyncd.sync.runtime.open_heap import unmatched


async def cached_status(account: Account, state_dir: Path) -> dict[str, Any]:
    """Return the account's object of ``status --json``; its state is "offline".

    Raises:
        FolderTrouble: the cache cannot be read.
    """
    report = Report(account.name, folder=str(account.folder))
    if cache_path(account, state_dir).exists():
        async with await open_cache(account, state_dir) as db:
            report.heaps, report.in_sync_ms = await db.read(
                lambda tx: (_heaps(tx, account), heaps.in_sync_ms(tx))
            )
        known = [(heap.title, heap.id) for heap in report.heaps.values()]
        if not account.selects_boxes:
            report.unmatched = unmatched(account, known, is_complete=False)
            names = [Path(heap.folder).name for heap in report.heaps.values()]
            report.problems = await belongs_to_no_heap(account, names)
    return report.snapshot()


async def cached_deletions(
    account: Account,
    state_dir: Path,
    decision: str | None = None,
    paths: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return what is held, after storing a decision if given (see ``decisions.held_deletions``).

    Raises:
        FolderTrouble: the cache cannot be used.
    """
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return await held_deletions(db, account.folder, decision, paths)


async def ask_for_lost_folder(
    account: Account, state_dir: Path, wanted: Sequence[str]
) -> list[dict[str, Any]]:
    """Store that a heap's folder is to be made again (see ``lost_folder.ask_for_folder``).

    Raises:
        FolderTrouble: the cache cannot be used, or the folder belongs to another heap.
    """
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return await ask_for_folder(db, account.folder, wanted)


def _heaps(tx: Tx, account: Account) -> dict[Any, HeapReport]:
    found = {}
    for row in heaps.load_all(tx):
        report = HeapReport(row.id, row.title, str(account.folder / row.folder))
        index, ignore = Index.of_heap(tx, row.id), stored_rules(tx, row.id)
        moving = [index.entries[p] for p in sorted(index.moving) if not ignore.match(p, False)]
        count(report, index, holds.of_heap(tx, row.id), problems.load(tx, row.id), moving, {})
        report.notices = history.notices(tx, row.id)
        report.reviews = len(report.notices)
        report.pending = pending_as_dicts(
            pending.pending(tx, row.id, PENDING_SHOWN), index.path_of, report.folder
        )
        found[row.id] = report
    return found
