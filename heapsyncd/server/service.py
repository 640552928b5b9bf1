"""Run the server: ``Server`` for demo and tests, ``serve`` for the command."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web

from heapsyncd.database import Database
from heapsyncd.errors import FolderTrouble, StateLocked
from heapsyncd.own_files import PRIVATE, lock
from heapsyncd.server import transfers
from heapsyncd.server.accounts import Accept, Account, Accounts
from heapsyncd.server.addresses import is_loopback, networks
from heapsyncd.server.admin import Admin
from heapsyncd.server.app import Protocol, make_app, sockets_of
from heapsyncd.server.blobs import Blobs
from heapsyncd.server.connections import BACKLOG, Door, max_connections
from heapsyncd.server.documents import Documents
from heapsyncd.server.heaps import Heaps
from heapsyncd.server.large_documents import LargeDocuments
from heapsyncd.server.limits import Limits
from heapsyncd.server.rooms import Rooms
from heapsyncd.server.schema import SCHEMA
from heapsyncd.server.services import Services
from heapsyncd.server.throttle import Throttle
from heapsyncd.server.tokens import Signer, load_seed

log = structlog.get_logger(__name__)

open_database = Database.open
"""Tests replace it to inject connections that fail."""
SHUTDOWN_S = 3.0
"""How long requests in progress may take when the server closes."""
SWEEP_S = 3600.0
ERROR_INTERVAL_S = 60.0
_LACKING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
LINGER_S = 5.0
"""How long the rest of a refused request is read, so that its client sees the answer."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Server(Admin):
    """An embedded Heaper-compatible server; use it with ``async with``.

    ``Admin`` has what demo and tests do with it.

    Args:
        data_dir: created when absent; used by one server at a time.
        host: the address to listen on.
        port: 0 takes a free one.
        accounts: public keys that may sign in.
        open_registration: any key may sign in.
        first_heap: the title of a heap that is created at a sign-in when there is none; None: none
            is created.
        listens: whether it answers requests; if not, only ``Admin`` works on its data.
        trusted_proxies: addresses or networks whose ``X-Forwarded-For`` is trusted.
        limits: the bounds, if not the defaults.
        now_ms: the wall clock.

    Raises:
        StateLocked: another server uses the directory.
        FolderTrouble: the directory can't be used, or the address can't be listened on.
        ConfigError: the key file is damaged, or the data is of a newer version.
    """

    def __init__(
        self,
        data_dir: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        accounts: Sequence[str] = (),
        open_registration: bool = False,
        first_heap: str | None = None,
        listens: bool = True,
        trusted_proxies: Sequence[str] = (),
        limits: Limits | None = None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._accept = Accept(tuple(accounts), open_registration)
        self._first_heap = first_heap
        self._listens = listens
        self._proxies = networks(trusted_proxies)
        self._limits = limits or Limits()
        self._now_ms = now_ms
        self._stack = contextlib.AsyncExitStack()
        self._url = ""

    @property
    def url(self) -> str:
        """The URL of the server, without a slash at the end."""
        return self._url

    @property
    def owner(self) -> Account | None:
        """The account that owns the server, if one does."""
        return self._services.accounts.owner

    @property
    def code(self) -> str | None:
        """The code that the first sign-in needs; None: keys were configured, or somebody signed
        in.
        """
        return self._services.accounts.code

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        self._stack.callback(os.close, await asyncio.to_thread(_lock, self._data_dir))
        seed = await asyncio.to_thread(load_seed, self._data_dir / "server.key")
        db = await open_database(self._data_dir / "server.db", SCHEMA)
        await self._stack.enter_async_context(db)
        limits = self._limits
        # One for changes and one for reading, so that neither waits for the other.
        rooms, large_documents, writing = (
            Rooms(limits),
            LargeDocuments(limits),
            LargeDocuments(limits),
        )
        for process in (large_documents, writing):
            self._stack.push_async_callback(process.close)
        signer = Signer(seed, lambda: self._now_ms() / 1000)
        list_file = self._data_dir / "accounts"
        services = Services(
            db=db,
            signer=signer,
            accounts=Accounts(db, signer, self._accept, list_file, limits, self._now_ms),
            throttle=Throttle(limits.auth_calls, limits.auth_window_s, time.monotonic),
            heaps=Heaps(db, self._now_ms),
            documents=Documents(db, limits, self._now_ms, rooms.publish, rooms.gone, writing),
            rooms=rooms,
            blobs=Blobs(self._data_dir),
            limits=limits,
            now_ms=self._now_ms,
            url=lambda: self._url,
            first_heap=self._first_heap,
            large_documents=large_documents,
            is_local=is_loopback(self._host),
            proxies=self._proxies,
        )
        self._services = services
        for part in (services.accounts, services.heaps, services.documents):
            await part.open()
        await services.blobs.prepare()
        if self._listens:
            await self._start(services)

    async def _start(self, services: Services) -> None:
        writer = asyncio.create_task(services.documents.run())
        self._stack.push_async_callback(_finish, services.documents, writer)
        sweeper = asyncio.create_task(_drop_expired_regularly(services))
        self._stack.push_async_callback(_stop, sweeper)
        watcher = asyncio.create_task(_watch_list(services))
        self._stack.push_async_callback(_stop, watcher)
        await reconcile_uploads(services)
        await drop_expired_uploads(services)
        app = make_app(services)
        self._sockets = sockets_of(app)
        options: dict[str, Any] = {
            "access_log": None,  # tokens may stand in the query of file routes
            "keepalive_timeout": self._limits.request_s,
            "lingering_time": LINGER_S,
        }
        runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S, handle_signals=False, **options)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        assert runner.server is not None, "it is set up"
        most, most_of_one = (
            max_connections(self._limits.connections),
            self._limits.connections_per_address,
        )
        loop = asyncio.get_running_loop()
        protocol = partial(Protocol, runner.server, loop=loop, **options)
        door = Door(protocol, most, most_of_one, self._proxies)
        try:
            listening = await loop.create_server(door, self._host, self._port, backlog=BACKLOG)
        except OSError as error:
            where = f"{self._host}:{self._port}"
            raise FolderTrouble(f"Can't listen on {where}: {error.strerror}.") from error
        self._stack.callback(listening.close)
        host, port = listening.sockets[0].getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.info("serving", url=self._url)


async def serve(
    data_dir: Path,
    host: str,
    port: int,
    *,
    accept: Accept,
    trusted_proxies: Sequence[str] = (),
    beside: Callable[[Server], AbstractAsyncContextManager[None]] | None = None,
) -> None:
    """Serve until cancelled.

    Args:
        data_dir: where everything is kept.
        host: the address to listen on.
        port: 0 takes a free one.
        accept: who may sign in, besides those who did before.
        trusted_proxies: as for ``Server``.
        beside: makes a context that is open while requests are answered.

    Raises:
        StateLocked, FolderTrouble, ConfigError: as ``Server``.
    """
    server = Server(
        data_dir,
        host,
        port,
        accounts=accept.keys,
        open_registration=accept.open,
        first_heap="Home",
        trusted_proxies=trusted_proxies,
    )
    asyncio.get_running_loop().set_exception_handler(_LoopErrors())
    async with server, beside(server) if beside is not None else contextlib.nullcontext():
        await asyncio.Event().wait()


async def reconcile_uploads(services: Services) -> None:
    """Match uploads and their files after a kill; only before requests are answered."""
    here = await services.blobs.uploads()
    known = await services.db.write(lambda tx: transfers.reconcile(tx, here))
    for upload in here - known:
        await services.blobs.drop(upload)


async def drop_expired_uploads(services: Services) -> None:
    """Delete uploads that nobody continued."""
    oldest_ms = services.now_ms() - services.limits.upload_ttl_s * 1000
    for upload in await services.db.write(lambda tx: transfers.drop_expired(tx, oldest_ms)):
        await services.blobs.drop(upload)


async def _drop_expired_regularly(services: Services) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await drop_expired_uploads(services)
        except (FolderTrouble, OSError) as error:
            log.warning("unfinished uploads could not be cleared", reason=str(error))


async def _watch_list(services: Services) -> None:
    """Reload the ``accounts`` file regularly; keys shut out there lose their open documents."""
    while True:
        await asyncio.sleep(services.limits.list_s)
        try:
            if await services.accounts.reload_list():
                services.recheck_rights()
        except (OSError, ValueError) as error:
            log.warning("the accounts file can't be read", reason=str(error))


class _LoopErrors:
    """The loop's exception handler: reports a lack of descriptors rarely, and in one line.

    asyncio reports it for each waiting connection, with a traceback.
    """

    def __init__(self) -> None:
        self._quiet_until_s = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _LACKING:
            loop.default_exception_handler(context)
        elif loop.time() >= self._quiet_until_s:
            self._quiet_until_s = loop.time() + ERROR_INTERVAL_S
            log.warning("connections can't be accepted", reason=error.strerror)


async def _finish(documents: Documents, writer: "asyncio.Task[None]") -> None:
    documents.close()
    await writer


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _lock(data_dir: Path) -> int:
    """Create the directory and lock it against other servers; returns the lock's descriptor."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            if lock(descriptor):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise FolderTrouble(f"The data directory {data_dir}: {error.strerror}.") from error
    os.close(descriptor)
    raise StateLocked(f"Another server uses {data_dir}; stop it, or set --data.")
