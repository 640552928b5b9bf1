"""Choose the backend of an account by its kind: the only place where a kind means a module.

The modules of a kind that no account has are not loaded.
"""

from contextlib import suppress

from heapsyncd.backends.account import Recognise
from heapsyncd.backends.contract import Backend
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.errors import HeapsyncdError, ProtocolError, RequestRefused
from heapsyncd.model import HEAPER, Dialect, Place
from heapsyncd.wire.heaper import Instance
from heapsyncd.wire.rest import Rest
from heapsyncd.wire.values import Unauthorised


async def open_backend(
    account: Account,
    db: Database,
    recognise: Recognise | None = None,
) -> Backend:
    """Return the backend of an account; its context is not entered yet.

    Args:
        account: with its key or password.
        db: the account's cache.
        recognise: checks whether it is the server of the cache. It is called here if the server
            has no key to state, and otherwise when the server has stated it.

    Raises:
        OtherServer: the cache belongs to another server or account.
    """
    if account.kind == "heaper":
        from heapsyncd.backends.heaper import HeaperBackend

        assert account.seed is not None
        return HeaperBackend(account.server, account.seed, recognise)
    from heapsyncd.backends.oneheap.backend import OneheapBackend

    assert account.password is not None
    if recognise is not None:
        await recognise(None)
    return OneheapBackend(
        account.server,
        account.email,
        account.password,
        db,
        boxes=account.heaps,
        poll_interval_s=account.poll_interval_s,
    )


def dialect_of(account: Account) -> Dialect:
    """Return the dialect of an account's server, for who does not connect."""
    if account.kind == "heaper":
        return HEAPER
    from heapsyncd.backends.oneheap.backend import ONEHEAP

    return ONEHEAP


async def list_places(
    account: Account, recognise: Recognise | None = None, code: str = ""
) -> list[Place]:
    """Sign in, and return what the account could mirror.

    Args:
        account: with its key or password.
        recognise: as for ``open_backend``; None when there is no cache.
        code: for the first sign-in to a new embedded server.

    Raises:
        OtherServer, SignInRefused, NotHeaper, Unreachable: and what else a backend raises.
    """
    if account.kind == "heaper":
        from heapsyncd.backends.heaper import HeaperBackend

        assert account.seed is not None
        async with HeaperBackend(account.server, account.seed, recognise, code) as backend:
            await backend.sign_in()
            return await backend.places()
    from heapsyncd.wire.oneheap.calls import Calls
    from heapsyncd.wire.oneheap.client import Client

    assert account.password is not None
    if recognise is not None:
        await recognise(None)
    async with Client(account.server, account.email, account.password) as client:
        return await Calls(client).boxes()


async def find_heaper(server: str) -> None:
    """Check that a Heaper server answers at an address, before anything secret is sent there.

    Raises:
        NotHeaper: something else answers.
        Unreachable, ServerTrouble, TooFast: nothing answers, or not now.
    """
    async with Rest(server) as rest:
        with suppress(Unauthorised, RequestRefused, ProtocolError):  # it speaks JSON all the same
            await rest.call(Instance, "GET", "/api/")


async def clock_ahead_s(server: str) -> float | None:
    """Return how far this machine's clock is ahead of a server's; None if that is not known.

    Whatever answers there is asked, without signing in.
    """
    async with Rest(server) as rest:
        with suppress(Unauthorised, HeapsyncdError):
            await rest.call(Instance, "GET", "/api/")
        return rest.clock_ahead_s
