"""Edge: one SQLite file, on aiosqlite's connection and thread. A transaction is a function.

aiosqlite's own ``execute`` sends each statement to the thread separately. The statements of two
tasks could interleave within one transaction, and each would cost a hop. So a whole transaction is
one function that ``Connection._execute`` runs in the thread: atomic by construction, in one hop.
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

from heapsyncd.errors import CacheClosed, ConfigError, FolderTrouble
from heapsyncd.tasks import wait_done

T = TypeVar("T")
Params = Sequence[Any] | Mapping[str, Any]

BUSY_TIMEOUT_S = 10.0
_RETRY_S = 0.01
WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""A checkpoint truncates the write-ahead log to this size. One large transaction may exceed it."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, then syncing resumes by itself",
    sqlite3.SQLITE_IOERR: "the disk reports an error; check the system log (dmesg)",
    sqlite3.SQLITE_READONLY: "it can't be written; check its owner, its mode and the mount",
    sqlite3.SQLITE_PERM: "permission denied; check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; check that its directory exists and is yours",
    sqlite3.SQLITE_BUSY: "another program keeps it locked; close that program",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked; close that program",
    sqlite3.SQLITE_NOLFS: "the file system can't hold a file of this size",
} | dict.fromkeys(
    _DAMAGED, "it is damaged; move it away, then it is rebuilt from folder and server"
)


class Tx(Protocol):
    """What a transaction function may do. Cursors end with it: return values, never a cursor."""

    def execute(self, sql: str, params: Params = ..., /) -> sqlite3.Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, rows: Iterable[Params], /) -> sqlite3.Cursor:
        """Run one statement for each row."""
        ...


class Database:
    """A SQLite file owned by one thread. Created by ``Database.open``.

    Any number of tasks may call ``read`` and ``write`` at once; the functions run one after the
    other, in the order of the calls. Cancelling a caller leaves no half transaction: a function
    that has started finishes and commits in its thread, and the caller continues after that; one
    that has not started never will.
    """

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection
        self._closing: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """The path of the file."""
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
        """Open the file and migrate it to the newest version; create it with mode 0600 if absent.

        Args:
            path: the file; its directory must exist.
            schema: ``schema[k]`` is the script from version k to k + 1. Each runs in one
                transaction.
            durable: whether a commit survives a power cut (synchronous FULL). If not (NORMAL), a
                power cut may lose the last commits; a crash of this process never does.
            connect: creates the connection; tests pass connections that fail.

        Raises:
            ConfigError: the file was written by a newer heapsyncd.
            FolderTrouble: the file cannot be opened or is damaged.
            CancelledError: the caller was cancelled; the connection is closed by then.
        """
        return await cls._open(path, lambda: _connect(path, schema, durable, connect))

    @classmethod
    async def open_copy(cls, path: Path, schema: Sequence[str]) -> Self:
        """Open a copy of the file, if any, in memory, whoever uses it; raises as ``open`` does."""
        return await cls._open(path, lambda: _copy(path, schema))

    @classmethod
    async def _open(cls, path: Path, connect: Callable[[], sqlite3.Connection]) -> Self:
        connection = aiosqlite.Connection(lambda: _translated(path, connect), iter_chunk_size=1)
        # A connection that was never closed must not keep the process from exiting.
        connection._thread.daemon = True  # noqa: SLF001
        opening = asyncio.ensure_future(connection)
        try:
            await asyncio.shield(opening)
        except BaseException:
            await wait_done(opening)
            await wait_done(asyncio.create_task(_close(connection)))
            raise
        return cls(path, connection)

    async def write(self, fn: Callable[[Tx], T], then: Callable[[T], None] | None = None) -> T:
        """Run ``fn`` between BEGIN IMMEDIATE and COMMIT. Returns its result.

        Args:
            fn: runs in the database's thread. It must change nothing but the database.
            then: called on the loop with the result after the commit and before the caller
                continues. It is called even if the caller was cancelled meanwhile, so that memory
                never lags behind the file.

        Raises:
            CacheClosed: it was closed before; nothing was stored.
            FolderTrouble: the disk failed, possibly at the commit; nothing was stored.
            Exception: whatever ``fn`` raised; nothing was stored.
        """
        return await self._run(fn, then, commit=True)

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run ``fn`` on one consistent state of the file. Anything it writes is rolled back."""
        return await self._run(fn, None, commit=False)

    async def close(self) -> None:
        """Close after all transactions requested so far. Closing twice is harmless.

        A cancelled caller continues only once it is closed, because the thread needs the loop
        until then.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(_close(self._connection))
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            await wait_done(self._closing)
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
        self, fn: Callable[[Tx], T], then: Callable[[T], None] | None, *, commit: bool
    ) -> T:
        if self._closing is not None:
            raise CacheClosed(
                f"The account of {self._path} was stopped or reloaded meanwhile; try again."
            )
        # Acquired once: by the thread when it starts, or before that by a cancelled caller.
        claim = threading.Lock()

        def work(connection: sqlite3.Connection) -> T:
            if not claim.acquire(blocking=False):
                raise asyncio.CancelledError
            return _translated(self._path, lambda: _transaction(connection, fn, commit=commit))

        async def carry_out() -> T:
            connection = self._connection
            result: T = await connection._execute(work, connection._conn)  # type: ignore[no-untyped-call]  # noqa: SLF001
            if then is not None:
                then(result)
            return result

        # A separate task, so that ``then`` is called in the order of the commits even for
        # callers that are cancelled, possibly twice.
        running = asyncio.create_task(carry_out())
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if claim.acquire(blocking=False):
                running.cancel()
            await wait_done(running)
            raise


def copy_database(path: Path, to: Path) -> None:
    """Copy a database as it is at one moment, also while others write to it. Blocking.

    Args:
        path: the file.
        to: an empty file, or one that does not exist; only its owner will be able to read it.

    Raises:
        FolderTrouble: one of the files cannot be used.
    """

    def work() -> None:
        with (
            contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as source,
            contextlib.closing(sqlite3.connect(to)) as target,
        ):
            source.backup(target)

    try:
        to.touch(0o600)
    except OSError as error:
        raise FolderTrouble(f"{to} can't be written: {error.strerror}.") from error
    _translated(path, work)


def beside(path: Path, suffix: str) -> Path:
    """Return a new name for a former state of a database, with the time in it."""
    now_ms = time.time_ns() // 1_000_000
    at = time.strftime("%Y%m%d-%H%M%S", time.localtime(now_ms // 1000))
    return path.with_name(f"{path.name}.{at}-{now_ms % 1000:03}.{suffix}")


def put_aside(path: Path) -> Path:
    """Rename a damaged database that nobody uses, with its log, and return its new path.

    Raises:
        FolderTrouble: it cannot be renamed.
    """
    aside = beside(path, "damaged")
    try:
        # The file itself last: a log that is left alone would be replayed into the next database.
        for suffix in ("-shm", "-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise FolderTrouble(f"{path} can't be renamed: {error.strerror}.") from error
    return aside


async def _close(connection: aiosqlite.Connection) -> None:
    """Close a connection, even one that failed to open, and wait for its thread to end."""
    await connection.close()
    # After a failed opening, the thread still notifies the loop that it ends. aiosqlite does not
    # wait for that, and the thread prints a traceback if the loop is closed by then.
    if connection._thread.is_alive():  # noqa: SLF001
        await asyncio.to_thread(connection._thread.join)  # noqa: SLF001


def _connect(
    path: Path,
    schema: Sequence[str],
    durable: bool,
    connect: Callable[..., sqlite3.Connection],
) -> sqlite3.Connection:
    # Create it before SQLite does, which would use the umask. -wal and -shm inherit the mode.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderTrouble(
            f"The database {path} can't be opened: {error.strerror};"
            " check the owner and mode of it and its directory."
        ) from error
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


def _copy(path: Path, schema: Sequence[str]) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if path.exists():
            # Without a log nobody has it open, and SQLite would leave one there to read it.
            is_used = path.with_name(f"{path.name}-wal").exists()
            uri = f"{path.absolute().as_uri()}?mode=ro{'' if is_used else '&immutable=1'}"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as source:
                source.backup(memory)
        memory.execute("PRAGMA foreign_keys = ON")
        _migrate(path, memory, schema)
    except BaseException:
        memory.close()
        raise
    return memory


def _use_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode, with retries.

    SQLite itself does not wait if several processes open a new file at once.
    """
    until_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            # Fetched to the end: a cursor with a row left is a write in progress, with which no
            # commit works, for as long as anything (a look at all objects) refers to it.
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _migrate(path: Path, connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    """Run the scripts that are missing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(schema):
        raise ConfigError(
            f"{path} was written by a newer heapsyncd (format {version}, this one knows "
            f"{len(schema)}); install the newer version, or set another state_dir"
        )
    for number, script in enumerate(schema[version:], start=version + 1):
        # The script's own transaction sets the version, so a kill leaves all of it or nothing.
        _transaction(connection, lambda tx, n=number, s=script: _migrate_to(tx, n, s), commit=True)  # type: ignore[misc]


def _migrate_to(tx: Tx, number: int, script: str) -> None:
    if tx.execute("PRAGMA user_version").fetchone()[0] >= number:
        return  # another process has done it
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            tx.execute(statement)
            statement = ""
    tx.execute(f"PRAGMA user_version = {number}")


def _transaction(connection: sqlite3.Connection, fn: Callable[[Tx], T], *, commit: bool) -> T:
    """Run ``fn`` in a transaction, and commit it or roll it back."""
    _roll_back(connection)  # does something only if an earlier rollback failed
    connection.execute("BEGIN IMMEDIATE" if commit else "BEGIN")
    try:
        result = fn(connection)
        connection.execute("COMMIT" if commit else "ROLLBACK")
    except BaseException:
        # Report the first error. If this rollback fails, the next transaction repeats it.
        with contextlib.suppress(sqlite3.Error):
            _roll_back(connection)
        raise
    return result


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite rolls back by itself on some errors (full, io). A second ROLLBACK would fail.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _translated(path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except sqlite3.Error as error:
        reason = _REASONS.get(_primary_code(error))
        if reason is None:
            raise
        raise FolderTrouble(f"The database {path}: {reason} ({error}).") from error


def is_damaged(error: FolderTrouble) -> bool:
    """Return whether an error says that the file itself is damaged, whatever the disk allows."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and _primary_code(cause) in _DAMAGED


def _primary_code(error: sqlite3.Error) -> int:
    # The low byte is the primary code; the other bytes distinguish variants. Errors raised by
    # Python's own module have no code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
