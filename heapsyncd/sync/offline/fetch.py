"""Mark contents for download while no mirror runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from heapsyncd.cache import entries, heaps, problems
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.sync.cache_file import cache_path, open_cache
from heapsyncd.sync.heap.paths import inside
from heapsyncd.sync.heap.problems import Problems
from heapsyncd.sync.transfers.on_demand import contents_at, progress_of


async def mark(
    account: Account, state_dir: Path, paths: Sequence[str | Path]
) -> list[dict[str, Any]]:
    """Mark contents for the next mirror to download; otherwise as ``on_demand.fetch``.

    Args:
        account: the account.
        state_dir: the directory of its cache.
        paths: absolute.

    Raises:
        FolderTrouble: the cache cannot be used.
    """
    if not cache_path(account, state_dir).exists():
        return []

    def work(tx: Tx) -> list[dict[str, Any]]:
        marked = []
        for heap in heaps.load_all(tx):
            root = account.folder / heap.folder
            rows, troubled = entries.of_heap(tx, heap.id), Problems(problems.load(tx, heap.id))
            found = {e.path: e for p in inside(root, paths) for e in contents_at(rows, p)}
            fresh = [replace(e, todo="download") for e in found.values() if e.todo == "remote"]
            entries.save(tx, heap.id, fresh)
            found |= {e.path: e for e in fresh}
            marked += [progress_of(root, e, troubled.at(e.path)) for e in found.values()]
        return marked

    async with await open_cache(account, state_dir) as db:
        return await db.write(work)
