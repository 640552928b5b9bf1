"""Check one account: its cache, its heaps' folders and, if it can be reached, its server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.factory import dialect_of, open_backend
from heapsyncd.cache import crash_marks, heaps, history, holds, integrity, problems, search
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.config import Account
from heapsyncd.database import Database, Tx, is_damaged
from heapsyncd.errors import FolderTrouble, HeapsyncdError, for_people
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.sync.cache_file import cache_path, marks_path, open_cache, recognise
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.problems import Problems
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.timing import DEFAULT
from heapsyncd.sync.layout.ignore_rules import stored_rules
from heapsyncd.sync.offline.check.documents import check_documents
from heapsyncd.sync.offline.check.findings import Checked, Finding, Heap, Step
from heapsyncd.sync.offline.check.folder import check_folder
from heapsyncd.sync.offline.check.server import check_server
from heapsyncd.sync.report import HeapReport, Report


async def check(
    account: Account, state_dir: Path, step: Step, *, offline: str | None, is_running: bool
) -> Checked:
    """Return what is wrong with an account. Nothing is changed.

    Args:
        account: the account; with its key to compare with the server.
        state_dir: the directory of its cache.
        step: takes the progress.
        offline: why the server is not to be asked; None: it is.
        is_running: a daemon mirrors the account now.

    Raises:
        FolderTrouble: the cache can't be read for a reason other than damage.
        ConfigError: a newer heapsyncd wrote it.
    """
    path = cache_path(account, state_dir)
    if not path.exists():
        return Checked(account.name, "")
    checked = Checked(account.name, str(path))
    try:
        async with await open_cache(account, state_dir) as db:
            checked.findings += await _cache(db)
            if not any(f.repair == "rebuild" for f in checked.findings):
                marks = marks_path(account, state_dir)
                await _heaps(checked, account, db, marks, step, offline, is_running=is_running)
    except FolderTrouble as error:
        if not is_damaged(error):
            raise
        what = f"the cache is damaged ({error.__cause__})"
        checked.findings = [Finding(what, repair="rebuild")]
    return checked


async def _cache(db: Database) -> list[Finding]:
    """Return what is wrong with the file as a whole."""
    faults = await db.read(integrity.faults)
    if faults:
        few = integrity.are_of_indexes(faults)
        what = f"the cache is damaged ({faults[0]}{'' if len(faults) == 1 else ', and more'})"
        if not few:
            return [Finding(what, repair="rebuild")]
        return [Finding(what, repair="reindex")]
    found = [
        Finding(f"{count} rows of the table {table} refer to nothing", repair="remove rows")
        for table, count in (await db.read(integrity.orphans)).items()
    ]
    try:
        await db.read(search.verify)
    except FolderTrouble as error:
        if not is_damaged(error):
            raise
        found.append(Finding("the search index is damaged", repair="rebuild search"))
    return found


async def _heaps(
    checked: Checked,
    account: Account,
    db: Database,
    marks: Path,
    step: Step,
    offline: str | None,
    *,
    is_running: bool,
) -> None:
    skipped = await asyncio.to_thread(crash_marks.skipped, marks, is_running=is_running)
    async with connected(account, db, offline) as (backend, reason):
        for row in await db.read(heaps.load_all):
            heap = await _context(account, db, row)
            found = await check_documents(heap, skipped, step)
            broken = {f.block for f in found if f.repair in {"fetch", "forget"} and f.block}
            broken |= skipped
            more, waiting = await check_folder(
                heap, step, was_mirrored=row.mirrored, is_running=is_running
            )
            found += [*more, *await db.read(lambda tx, h=heap: _texts(tx, h))]  # type: ignore[misc]
            why = reason
            if backend is not None:
                try:
                    differing, news = await check_server(heap, backend, broken, step)
                except HeapsyncdError as error:
                    why = for_people(error)
                else:
                    found += [f for f in differing if f.block not in broken]
                    waiting += news
            waiting = [*_unfinished(heap), *waiting]
            checked.findings += found
            checked.waiting += [f"{row.title}: {line}" for line in waiting]
            checked.heaps.append(
                Heap(
                    row.id, row.title, str(heap.disk.root), heap.index.notes,
                    heap.index.contents, why,
                )
            )  # fmt: skip


@asynccontextmanager
async def connected(
    account: Account, db: Database, offline: str | None
) -> AsyncIterator[tuple[Backend | None, str | None]]:
    """Yield the signed-in server, or None and the reason why it is not asked."""
    async with AsyncExitStack() as stack:
        backend: Backend | None = None
        if offline is None:
            try:
                backend = await open_backend(account, db, partial(recognise, db, account))
                await stack.enter_async_context(backend)
                await backend.sign_in()
            except HeapsyncdError as error:
                backend, offline = None, for_people(error)
        yield backend, offline


async def _context(account: Account, db: Database, row: HeapRow) -> HeapContext:
    """Return a heap's context for reading; it asks no server and writes nothing."""
    dialect = dialect_of(account)
    disk = HeapFolder(account.folder / row.folder)
    heap = HeapContext(
        row.id, db, disk, cast("Backend", None), HeapReport(row.id, row.title, str(disk.root)),
        Report(account.name), AtWork.unrecorded(), DEFAULT,
        account.source == "document" or dialect.merge_files is not None,
        account.line_breaks, dialect,
    )  # fmt: skip

    def read(tx: Tx) -> None:
        heap.index = Index.of_heap(tx, row.id, dialect)
        heap.layout.ignore = stored_rules(tx, row.id)
        heap.problems = Problems(problems.load(tx, row.id))
        for hold in holds.of_heap(tx, row.id):
            heap.holds.add(hold)

    await db.read(read)
    return heap


def _texts(tx: Tx, heap: HeapContext) -> list[Finding]:
    """Return the damaged texts of a heap's history."""
    return [
        Finding("an earlier text of it can't be read", path, heap.id, repair="forget versions")
        for _, path in history.damaged(tx, heap.id)
    ]


def _unfinished(heap: HeapContext) -> list[str]:
    index, ignore = heap.index, heap.layout.ignore
    counts = {
        "with edits not sent yet": len(index.unsent | index.born),
        "changed on the server, not received yet": len(index.wanted),
        "received, not written yet": len(index.stale),
        "with contents to send or fetch": sum(
            not ignore.match(path, False) for path in index.moving
        ),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]
