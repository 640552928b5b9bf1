"""A note's versions and the trash, from the cache; restoring while no daemon runs."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from heapsyncd.backends.factory import open_backend
from heapsyncd.cache import blocks, entries, heaps, history
from heapsyncd.cache.crash_marks import AtWork
from heapsyncd.cache.heaps import HeapRow
from heapsyncd.cache.history import Version
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.ids import BlockId
from heapsyncd.model import Heap
from heapsyncd.sync.cache_file import cache_path, marks_path, open_cache
from heapsyncd.sync.edits.restore import restore
from heapsyncd.sync.heap.paths import inside
from heapsyncd.sync.layout.ignore_rules import IgnoreRules
from heapsyncd.sync.publish import publish
from heapsyncd.sync.report import Report, RestoreRequest
from heapsyncd.sync.runtime.open_heap import open_heap


async def versions(
    account: Account, state_dir: Path, paths: Sequence[str], *, seen: bool = False
) -> dict[str, Any] | None:
    """Return the document of ``history --json`` for a path; None if no note is or was there.

    Args:
        account: the account.
        state_dir: the directory of its cache.
        paths: absolute; the spellings of one path.
        seen: mark the note's notices as seen.

    Raises:
        FolderTrouble: the cache cannot be used.
    """
    found = await _found(account, state_dir, paths, seen=seen)
    if found is None:
        return None
    heap, path, title, kept = found
    olders: list[Version | None] = [older for _, older in pairwise(kept)]
    return {
        "account": account.name,
        "heap": {"id": heap.id, "title": heap.title},
        "path": str(account.folder / heap.folder / path),
        "block": kept[0].block_id,
        "title": title,
        "versions": [_shown(v, o) for v, o in zip(kept, [*olders, None], strict=True)],
    }


async def text(
    account: Account, state_dir: Path, paths: Sequence[str], number: int
) -> bytes | None:
    """Return one version's text; None if there is no such version."""
    found = await _found(account, state_dir, paths)
    if found is None:
        return None
    return next((v.data for v in found[3] if v.number == number), None)


async def trash(account: Account, state_dir: Path) -> list[dict[str, Any]]:
    """Return the trash of each heap, the latest first, as in ``trash --json``."""
    if not cache_path(account, state_dir).exists():
        return []

    def read(tx: Tx) -> list[dict[str, Any]]:
        return [
            {
                "id": row.id,
                "title": row.title,
                "folder": str(account.folder / row.folder),
                "trash": [
                    {
                        "id": t.block_id,
                        "kind": t.kind,
                        "title": t.title,
                        "path": t.path,
                        "deleted_at_ms": t.deleted_at_ms,
                    }
                    for t in history.trashed(tx, row.id)
                ],
            }
            for row in heaps.load_all(tx)
        ]

    async with await open_cache(account, state_dir) as db:
        return await db.read(read)


async def restore_alone(
    account: Account, state_dir: Path, wanted: RestoreRequest
) -> list[dict[str, Any]]:
    """Restore as ``edits.restore`` while no mirror runs; hold the lock of the state directory.

    Files are written now; the next mirror tells the server.

    Raises:
        UserError, FolderTrouble: it cannot be done.
    """
    if not cache_path(account, state_dir).exists():
        return []
    restored: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(await open_cache(account, state_dir))
        at_work = stack.enter_context(AtWork.open(marks_path(account, state_dir)))
        backend = await open_backend(account, db)  # never connected
        for row in await db.read(heaps.load_all):
            if not row.mirrored or not inside(account.folder / row.folder, wanted.paths):
                continue
            heap = Heap(row.id, row.title)
            state = await open_heap(account, db, backend, Report(account.name), heap, at_work)
            stack.push_async_callback(state.close)
            await IgnoreRules.load(state)
            restored += await restore(state, wanted)
            await publish(state, set())
    return restored


async def _found(
    account: Account, state_dir: Path, paths: Sequence[str], *, seen: bool = False
) -> tuple[HeapRow, str, str, list[Version]] | None:
    """Return the heap, the path in it, the note's title, and its versions, newest first."""
    if not cache_path(account, state_dir).exists():
        return None

    def read(tx: Tx) -> tuple[HeapRow, str, str, list[Version]] | None:
        for row in heaps.load_all(tx):
            for path in inside(account.folder / row.folder, paths):
                block = _block_at(tx, row, path)
                kept = [] if block is None else history.versions(tx, block)
                if block is None or not kept:
                    continue
                if seen:
                    history.seen(tx, block)
                state = blocks.get(tx, block)
                return row, path, "" if state is None else state.title, kept
        return None

    async with await open_cache(account, state_dir) as db:
        return await (db.write(read) if seen else db.read(read))


def _block_at(tx: Tx, row: HeapRow, path: str) -> BlockId | None:
    """Return the block whose note is at a path, or was there last."""
    for entry in entries.of_heap(tx, row.id):
        if entry.path == path:
            return entry.block_id
    return history.last_at(tx, row.id, path)


def _shown(version: Version, older: Version | None) -> dict[str, Any]:
    now, before = _words(version), Counter[bytes]() if older is None else _words(older)
    return {
        "number": version.number,
        "made_at_ms": version.made_at_ms,
        "why": version.why,
        "size": len(version.data),
        "words_added": (now - before).total(),
        "words_removed": (before - now).total(),
        "notice": version.notice,
    }


def _words(version: Version) -> Counter[bytes]:
    return Counter(version.data.split())
