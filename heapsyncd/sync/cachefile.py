"""Where an account's cache lives."""

from pathlib import Path

from heapsyncd.cache import heaps
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.errors import ConfigError


def cache_path(account: Account, state_dir: Path) -> Path:
    """Where an account's cache lives."""
    return state_dir / f"{account.name}.sqlite3"


def marks_path(account: Account, state_dir: Path) -> Path:
    """Where the account's blocks are marked that are being worked on."""
    return state_dir / f"{account.name}.atwork"


async def open_cache(account: Account, state_dir: Path) -> Database:
    """Open (or make) an account's cache."""
    return await Database.open(cache_path(account, state_dir), SCHEMA)


async def same_server(db: Database, account: Account) -> None:
    """A cache speaks of one server; another one must not be taken for it (its ids mean other
    things).
    """
    known = await db.read(lambda tx: heaps.get_meta(tx, "server"))
    if known is None:
        await db.write(lambda tx: heaps.set_meta(tx, "server", account.server))
    elif known != account.server:
        raise ConfigError(
            f"accounts.{account.name}: its cache belongs to {known}, not to {account.server}."
            " If it is the same server under a new address, remove the cache (it is rebuilt);"
            " else give the account another name."
        )
