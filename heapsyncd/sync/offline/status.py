"""Status, search and held deletions from the cache, while no daemon runs."""

from pathlib import Path, PurePosixPath
from typing import Any

from heapsyncd.cache import blocks, entries, heaps, history, holds, pending, problems, search
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.model import Problem
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.deletions.decisions import held_deletions
from heapsyncd.sync.heap.problems import shown as all_problems
from heapsyncd.sync.layout.ignore_rules import stored_rules
from heapsyncd.sync.report import PENDING_SHOWN, HeapReport, Report, pending_as_dicts
from heapsyncd.sync.runtime.open_heap import unmatched


async def cached_status(account: Account, state_dir: Path) -> dict[str, Any]:
    """Return the account's object of ``status --json``; its state is "offline".

    Raises:
        FolderTrouble: the cache cannot be read.
    """
    report = Report(account.name)
    if cache_path(account, state_dir).exists():
        async with await open_cache(account, state_dir) as db:
            report.heaps = await db.read(lambda tx: _heaps(tx, account))
        known = [(heap.title, heap.id) for heap in report.heaps.values()]
        report.unmatched = unmatched(account, known, is_complete=False)
    return report.snapshot()


async def search_cache(
    account: Account, state_dir: Path, query: str, heap: str | None, limit: int
) -> list[search.Hit]:
    """Return an account's notes that contain all words of the query, best first.

    Raises:
        FolderTrouble: the cache cannot be read.
    """
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return await db.read(lambda tx: search.find(tx, query, heap, limit))


async def cached_deletions(
    account: Account, state_dir: Path, decision: str | None = None
) -> list[dict[str, Any]]:
    """Return what is held, after storing a decision if given (see ``decisions.held_deletions``).

    Raises:
        FolderTrouble: the cache cannot be used.
    """
    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return await held_deletions(db, account.folder, decision)


def _heaps(tx: Tx, account: Account) -> dict[Any, HeapReport]:
    found = {}
    for row in heaps.load_all(tx):
        report = HeapReport(row.id, row.title, str(account.folder / row.folder))
        report.notes = blocks.notes(tx, row.id)
        report.pending_up, report.pending_down = pending.counts(tx, row.id)
        report.held_deletions = holds.count(tx, row.id)
        report.notices = history.notices(tx, row.id)
        listed = entries.of_heap(tx, row.id)
        paths = {e.block_id: e.path for e in listed if e.role != "attachment"}
        report.pending = pending_as_dicts(pending.pending(tx, row.id, PENDING_SHOWN), paths)
        ignore = stored_rules(tx, row.id)
        for entry in listed:
            if entry.todo in {"upload", "download"} and not ignore.match(entry.path, False):
                report.transfers.append(
                    {"path": entry.path, "direction": entry.todo, "size": entry.size, "done": 0}
                )
        ours = {a for e in listed for a in (e.path, *map(str, PurePosixPath(e.path).parents))}
        report.problems = all_problems(
            (
                Problem(paths.get(i, title), reason)
                for i, title, reason in blocks.problems(tx, row.id)
            ),
            problems.load(tx, row.id),
            ours.__contains__,
        )
        found[row.id] = report
    return found
