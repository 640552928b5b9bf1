"""Open an account's cache, and check which server and account it belongs to."""

from pathlib import Path

from heapsyncd.cache import heaps
from heapsyncd.cache.schema import SCHEMA
from heapsyncd.config import Account
from heapsyncd.database import Database, Tx
from heapsyncd.errors import OtherServer


def cache_path(account: Account, state_dir: Path) -> Path:
    """Return the path of an account's cache."""
    return state_dir / f"{account.name}.sqlite3"


def marks_path(account: Account, state_dir: Path) -> Path:
    """Return the path of the file that marks the blocks being processed."""
    return state_dir / f"{account.name}.atwork"


async def open_cache(account: Account, state_dir: Path) -> Database:
    """Open an account's cache; it is created if there is none."""
    return await Database.open(cache_path(account, state_dir), SCHEMA)


async def copy_cache(account: Account, state_dir: Path) -> Database:
    """Open a copy of an account's cache in memory; the cache itself is not changed."""
    return await Database.open_copy(cache_path(account, state_dir), SCHEMA)


async def recognise(db: Database, account: Account, key: str | None) -> None:
    """Check that the server is the one the cache belongs to: ids mean nothing elsewhere.

    The first server is remembered, and so is a new address of the same server.

    Args:
        db: the account's cache.
        account: as configured.
        key: the public key that the server states; None if it states none.

    Raises:
        OtherServer: it is another server, or another account of one without a key.
    """

    def read(tx: Tx) -> tuple[str | None, str | None]:
        if not heaps.load_all(tx):
            # Without heaps the cache depends on no server: the address may have been mistyped.
            return None, None
        return heaps.get_meta(tx, "server"), heaps.get_meta(tx, "public_key") or None

    here, settings = account.server, "`server`"
    if account.email:
        # What such an account sees is its own, and it names no server that would say more.
        here, settings = f"{account.server} for {account.email}", "`server` or `email`"
    address, known = await db.read(read)
    if known is not None and key is not None:
        same, why = known == key, f"its public key is {_shown(key)}, not {_shown(known)}"
    else:
        # Without both keys only the address identifies a server.
        same = address in {None, here}
        why = "it is another address, and no key is known"
    if not same:
        other = "" if address == here else f" ({address})"
        raise OtherServer(
            f"{here} is not the server that the cache of account {account.name} belongs"
            f" to{other}: {why}. Nothing was sent there or changed here. Correct {settings}, or"
            f" give the account another name; if the server was set up anew, move {db.path} away"
            " while nothing runs: it is rebuilt."
        )

    def learn(tx: Tx) -> None:
        heaps.set_meta(tx, "server", here)
        heaps.set_meta(tx, "public_key", key or known or "")

    if (address, known) != (here, key or known):
        await db.write(learn)


def _shown(key: str) -> str:
    """Return a key fit for a message: the server may have sent anything."""
    return "".join(c for c in key if c.isalnum() or c in "+/=_-")[:64]
