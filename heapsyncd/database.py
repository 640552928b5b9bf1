"""Edge: one SQLite file, one connection, one thread that owns it; a transaction is a function.

Why not aiosqlite: it sends every statement to its thread on its own, so that the statements of
two tasks interleave within one transaction, and each pays the hop. Here a whole transaction is
one function carried out in the thread: atomic by construction, and about seven times faster for
a one-row commit (0.022 against 0.165 ms).
"""

import asyncio
import contextlib
import functools
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from heapsyncd.errors import ConfigError, FolderTrouble

T = TypeVar("T")
Params = Sequence[Any] | Mapping[str, Any]

BUSY_TIMEOUT_S = 10.0
_AGAIN_S = 0.01
WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""To this a checkpoint cuts the write-ahead log; one large transaction may exceed it."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_DISK_TROUBLE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, the work goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk reports an error; look at the system log (dmesg)",
    sqlite3.SQLITE_READONLY: "it can't be written; check its owner, its mode and the mount",
    sqlite3.SQLITE_PERM: "permission denied; check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; check that its directory exists and is ours",
    sqlite3.SQLITE_BUSY: "another program keeps it locked; close that program",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked; close that program",
    sqlite3.SQLITE_NOLFS: "the file system can't hold a file of this size",
} | dict.fromkeys(_DAMAGED, "it is damaged; move it away, it is rebuilt from folder and server")


class Tx(Protocol):
    """What a transaction function may do. Cursors die with it: return values, never a cursor."""

    def execute(self, sql: str, params: Params = ..., /) -> sqlite3.Cursor:
        """Carry out one statement."""
        ...

    def executemany(self, sql: str, rows: Iterable[Params], /) -> sqlite3.Cursor:
        """Carry out one statement for each row."""
        ...


class Database:
    """A SQLite file owned by one thread; made by ``Database.open``.

    ``read`` and ``write`` may be called by any number of tasks at once; they are carried out one
    after the other, in the order of the calls. A cancelled caller leaves no half transaction: a
    function that has started finishes (and commits) in its thread, one that has not never will.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, thread: ThreadPoolExecutor
    ) -> None:
        self._path = path
        self._connection = connection
        self._thread = thread
        self._closed = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @classmethod
    async def open(
        cls,
        path: Path,
        schema: Sequence[str],
        *,
        durable: bool = True,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> Self:
        """Open the file, made with mode 0600 when absent, and bring it to the newest version.

        Args:
            path: the file; its directory must exist.
            schema: ``schema[k]`` is the script from version k to k + 1, one transaction each.
            durable: a commit survives a power cut (synchronous FULL); else (NORMAL) the last
                ones may be lost by it, never by a crash of ours.
            connect: what makes the connection; tests hand in connections that fail.

        Raises:
            ConfigError: the file was written by a newer heapsyncd.
            FolderTrouble: the file can't be opened, or is damaged (``is_damaged`` tells).
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite {path.name}")

        def prepare() -> sqlite3.Connection:
            return _translated(path, lambda: _connect(path, schema, durable, connect))

        opening = asyncio.get_running_loop().run_in_executor(thread, prepare)
        try:
            return cls(path, await asyncio.shield(opening), thread)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: _abandon(done, thread))
            raise
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def write(self, fn: Callable[[Tx], T], then: Callable[[T], None] | None = None) -> T:
        """Carry out ``fn`` between BEGIN IMMEDIATE and COMMIT, and return what it returns.

        Args:
            fn: carried out in the thread of the database: it must change nothing else.
            then: called on the loop with the result once it is committed, before the caller goes
                on; also when the caller was cancelled meanwhile, so that memory never lags behind.

        Raises:
            FolderTrouble: trouble of the disk, also at the commit; nothing was stored.
            Exception: whatever ``fn`` raised; nothing was stored.
        """
        work = functools.partial(_transaction, self._connection, fn, keep=True)
        if then is None:
            return await self._run(work)
        started = self._thread.submit(_translated, self._path, work)
        done = asyncio.wrap_future(started)
        try:
            result: T = await asyncio.shield(done)
        except asyncio.CancelledError:
            if not started.cancel():
                await asyncio.wait([done])
                if done.exception() is None:
                    then(done.result())
            raise
        then(result)
        return result

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Carry out ``fn`` on one unchanging state of the file; what it should write is undone."""
        return await self._run(lambda: _transaction(self._connection, fn, keep=False))

    async def close(self) -> None:
        """Close when the transactions asked for so far are done; closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        closing = loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _translated, self._path, work)


def is_damaged(error: BaseException) -> bool:
    """Whether a FolderTrouble raised here means that the file is no sound database: rebuild it."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and _primary_code(cause) in _DAMAGED


def _connect(
    path: Path,
    schema: Sequence[str],
    durable: bool,
    connect: Callable[..., sqlite3.Connection],
) -> sqlite3.Connection:
    # Made before SQLite makes it: SQLite would use the umask; -wal and -shm inherit the mode.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderTrouble(f"The database {path} can't be opened: {error.strerror}.") from error
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    connection = connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        _migrate(path, connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode; SQLite does not wait for that when several open a new file at once."""
    until_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


def _migrate(path: Path, connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(schema):
        raise ConfigError(
            f"{path} was written by a newer heapsyncd (format {version}, this one knows "
            f"{len(schema)}); install the newer version, or set another state_dir"
        )
    for number, script in enumerate(schema[version:], start=version + 1):
        # The version is set in the script's own transaction: a kill leaves all of it or nothing.
        _transaction(connection, lambda tx, n=number, s=script: _step(tx, n, s), keep=True)  # type: ignore[misc]


def _step(tx: Tx, number: int, script: str) -> None:
    if tx.execute("PRAGMA user_version").fetchone()[0] >= number:
        return  # another process was faster
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            tx.execute(statement)
            statement = ""
    tx.execute(f"PRAGMA user_version = {number}")


def _transaction(connection: sqlite3.Connection, fn: Callable[[Tx], T], *, keep: bool) -> T:
    _roll_back(connection)  # only when an earlier rollback itself failed is there anything to undo
    connection.execute("BEGIN IMMEDIATE" if keep else "BEGIN")
    try:
        result = fn(connection)
        connection.execute("COMMIT" if keep else "ROLLBACK")
    except BaseException:
        # What failed first is what the caller has to hear; the next transaction rolls back again.
        with contextlib.suppress(sqlite3.Error):
            _roll_back(connection)
        raise
    return result


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite itself rolls back on some errors (full, io): a second ROLLBACK would be an error.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _translated(path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except sqlite3.Error as error:
        reason = _DISK_TROUBLE.get(_primary_code(error))
        if reason is None:
            raise
        raise FolderTrouble(f"The database {path}: {reason} ({error}).") from error


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte is the primary code, the rest tells variants apart. Errors that Python's module
    # raises itself have no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _abandon(done: "asyncio.Future[sqlite3.Connection]", thread: ThreadPoolExecutor) -> None:
    # The opener was cancelled: what it opened is closed in the thread that owns it.
    if not done.cancelled() and done.exception() is None:
        thread.submit(done.result().close)
    thread.shutdown(wait=False)
