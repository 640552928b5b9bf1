"""Edge: one SQLite file, through aiosqlite's connection and thread; a transaction is a function.

aiosqlite's own ``execute`` sends every statement to the thread by itself: the statements of two
tasks would interleave within one transaction, and each would pay the hop. So a whole transaction
is one function, carried out there by ``Connection._execute``: atomic by construction, in one hop.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import aiosqlite

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
    function that has started finishes (and commits) in its thread, and the caller goes on after
    that; one that has not never will.
    """

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection
        self._closing: asyncio.Task[None] | None = None

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
            FolderTrouble: the file can't be opened, or is damaged.
            CancelledError: the opener was cancelled; what it opened is closed by then.
        """
        connection = aiosqlite.Connection(
            lambda: _translated(path, lambda: _connect(path, schema, durable, connect)),
            iter_chunk_size=1,
        )
        # What was never closed must not hold up the end of the process.
        connection._thread.daemon = True  # noqa: SLF001
        opening = asyncio.ensure_future(connection)
        try:
            await asyncio.shield(opening)
        except BaseException:
            await _end(opening)
            await _end(asyncio.create_task(_close(connection)))
            raise
        return cls(path, connection)

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
        return await self._run(fn, then, keep=True)

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Carry out ``fn`` on one unchanging state of the file; what it should write is undone."""
        return await self._run(fn, None, keep=False)

    async def close(self) -> None:
        """Close when the transactions asked for so far are done; closing twice is harmless. A
        cancelled caller goes on once it is closed: the thread needs the loop until then.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(_close(self._connection))
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            await _end(self._closing)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(
        self, fn: Callable[[Tx], T], then: Callable[[T], None] | None, *, keep: bool
    ) -> T:
        # Taken once: by the thread when it begins, or before that by a caller that goes away.
        turn = threading.Lock()

        def work(connection: sqlite3.Connection) -> T:
            if not turn.acquire(blocking=False):
                raise asyncio.CancelledError
            return _translated(self._path, lambda: _transaction(connection, fn, keep=keep))

        async def carry_out() -> T:
            connection = self._connection
            result: T = await connection._execute(work, connection._conn)  # type: ignore[no-untyped-call]  # noqa: SLF001
            if then is not None:
                then(result)
            return result

        # A task of its own, so that ``then`` is called in the order of the commits, also for
        # callers that are cancelled, and cancelled again.
        running = asyncio.create_task(carry_out())
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if turn.acquire(blocking=False):
                running.cancel()
            await _end(running)
            raise


async def _end(task: "asyncio.Future[Any]") -> None:
    """Wait for a task to end, however often the caller is cancelled; its error is not raised."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def _close(connection: aiosqlite.Connection) -> None:
    """Close a connection, also one that failed to open, and see its thread end."""
    await connection.close()
    # After a failed opening the thread still has to tell the loop that it ends: nobody waits for
    # that in aiosqlite, and a loop that is gone by then makes it print a traceback.
    if connection._thread.is_alive():  # noqa: SLF001
        await asyncio.to_thread(connection._thread.join)  # noqa: SLF001


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
