"""What came and went lately, from the cache; beside a running daemon too."""

from pathlib import Path
from typing import Any

from heapsyncd.cache import activity, heaps
from heapsyncd.config import Account
from heapsyncd.database import Tx
from heapsyncd.sync.cache_file import cache_path, open_cache


async def cached_activity(
    account: Account, state_dir: Path, at_ms: int, limit: int, after: int = 0
) -> list[dict[str, Any]]:
    """Return the account's latest events, oldest first, as in ``activity --json``.

    Args:
        account: whose.
        state_dir: the directory of its cache.
        at_ms: only events from this time on.
        limit: at most so many.
        after: only events with greater numbers.

    Raises:
        FolderTrouble: the cache cannot be read.
    """

    def read(tx: Tx) -> list[dict[str, Any]]:
        folders = {row.id: row for row in heaps.load_all(tx)}
        return [
            {
                "number": number,
                "account": account.name,
                "heap": folders[heap].title,
                "direction": event.direction,
                "what": event.what,
                "path": event.path,
                "file": str(account.folder / folders[heap].folder / event.path),
                "at_ms": event.at_ms,
                "latency_ms": event.latency_ms,
            }
            for number, heap, event in activity.since(tx, after, at_ms, limit)
            if heap in folders
        ]

    if not cache_path(account, state_dir).exists():
        return []
    async with await open_cache(account, state_dir) as db:
        return await db.read(read)
