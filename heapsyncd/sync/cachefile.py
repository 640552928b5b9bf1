"""Where an account's cache lives."""

from pathlib import Path

from heapsyncd.cache.schema import SCHEMA
from heapsyncd.config import Account
from heapsyncd.database import Database


def cache_path(account: Account, state_dir: Path) -> Path:
    """Where an account's cache lives."""
    return state_dir / f"{account.name}.sqlite3"


async def open_cache(account: Account, state_dir: Path) -> Database:
    """Open (or make) an account's cache."""
    return await Database.open(cache_path(account, state_dir), SCHEMA)
