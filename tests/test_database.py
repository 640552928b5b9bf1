"""A transaction is whole or absent, whatever fails, is cancelled or is killed."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heapsyncd import database
from heapsyncd.database import Database, Tx
from heapsyncd.errors import CacheClosed, ConfigError, FolderTrouble

SCHEMA = ["CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def add(*texts: str) -> Callable[[Tx], None]:
    def transaction(tx: Tx) -> None:
        for text in texts:
            tx.execute("INSERT INTO note (text) VALUES (?)", (text,))

    return transaction


def texts(tx: Tx) -> list[str]:
    return [text for (text,) in tx.execute("SELECT text FROM note ORDER BY id")]


async def test_what_was_written_is_read_after_reopening(path: Path) -> None:
    """A written row is there in the next life, and a second closing is harmless."""
    async with await Database.open(path, SCHEMA) as db:
        await db.write(add("one"))
        assert await db.read(texts) == ["one"]
        await db.close()
    async with await Database.open(path, SCHEMA) as db:
        assert await db.read(texts) == ["one"]


async def test_the_value_of_the_function_is_returned(path: Path) -> None:
    """A transaction hands back what its function returns."""
    async with await Database.open(path, SCHEMA) as db:
        assert await db.write(lambda tx: tx.execute("SELECT 6 * 7").fetchone()) == (42,)


async def test_a_cursor_that_something_refers_to_holds_up_no_commit(path: Path) -> None:
    """The opening of a new file, and what follows; the cycle collector's lists do that."""
    kept: list[sqlite3.Cursor] = []

    class Keeping(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            kept.append(super().execute(*args))
            return kept[-1]

    def connect(*args: Any, **more: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=Keeping, **more)

    async with await Database.open(path, SCHEMA, connect=connect) as db:
        await db.write(add("one"))
        assert await db.read(texts) == ["one"]
        assert await db.read(lambda tx: tx.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


async def test_an_exception_undoes_the_whole_transaction(path: Path) -> None:
    """What the function raises passes unchanged and leaves nothing behind."""
    async with await Database.open(path, SCHEMA) as db:

        def broken(tx: Tx) -> None:
            add("one")(tx)
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await db.write(broken)
        with pytest.raises(sqlite3.IntegrityError):
            await db.write(add("twice", "twice"))
        assert await db.read(texts) == []
        await db.write(add("two"))
        assert await db.read(texts) == ["two"]


async def test_a_read_stores_nothing(path: Path) -> None:
    """What a reading function writes by mistake is undone."""
    async with await Database.open(path, SCHEMA) as db:
        await db.read(add("one"))
        assert await db.read(texts) == []


async def test_transactions_do_not_interleave(path: Path) -> None:
    """Many tasks' transactions run one after the other, each in the one owning thread."""
    async with await Database.open(path, SCHEMA) as db:
        threads = set()

        def both(k: int) -> Callable[[Tx], None]:
            def transaction(tx: Tx) -> None:
                threads.add(threading.get_ident())
                add(f"{k} first")(tx)
                add(f"{k} second")(tx)

            return transaction

        await asyncio.gather(*(db.write(both(k)) for k in range(20)))
        found = await db.read(texts)
        assert found == [f"{k} {part}" for k in range(20) for part in ("first", "second")]
        assert len(threads) == 1
        assert threads != {threading.get_ident()}


async def test_a_cancelled_caller_leaves_no_half_transaction(path: Path) -> None:
    """What has started finishes though its caller is gone; what has not started never will."""
    async with await Database.open(path, SCHEMA) as db:
        inside, go_on = threading.Event(), threading.Event()

        def slow(tx: Tx) -> None:
            add("half")(tx)
            inside.set()
            go_on.wait(10)
            add("whole")(tx)

        started = asyncio.create_task(db.write(slow))
        await asyncio.to_thread(inside.wait, 10)
        waiting = asyncio.create_task(db.write(add("never")))
        await asyncio.sleep(0)
        started.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not started.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await started
        assert await db.read(texts) == ["half", "whole"]


async def test_memory_is_told_in_the_order_of_the_commits(path: Path) -> None:
    """``then`` is called for each commit, in their order, also when the caller was cancelled, and
    cancelled again, while it ran; never for what failed or was cancelled while it waited.
    """
    async with await Database.open(path, SCHEMA) as db:
        inside, go_on = threading.Event(), threading.Event()
        told = list[str]()

        def slow(tx: Tx) -> str:
            inside.set()
            go_on.wait(10)
            add("first")(tx)
            return "first"

        def quick(text: str) -> Callable[[Tx], str]:
            return lambda tx: (add(text)(tx), text)[1]

        started = asyncio.create_task(db.write(slow, told.append))
        await asyncio.to_thread(inside.wait, 10)
        names = ("second", "never", "second", "third")  # the third one is there already
        waiting = [asyncio.create_task(db.write(quick(n), told.append)) for n in names]
        for task in (started, waiting[1], started):
            task.cancel()
            await asyncio.sleep(0)
        go_on.set()
        done = await asyncio.gather(started, *waiting, return_exceptions=True)
        assert [type(d) for d in done] == [
            asyncio.CancelledError,
            str,
            asyncio.CancelledError,
            sqlite3.IntegrityError,
            str,
        ]
        assert told == await db.read(texts) == ["first", "second", "third"]


async def test_what_memory_raises_reaches_the_caller(path: Path) -> None:
    """The transaction is committed by then."""
    async with await Database.open(path, SCHEMA) as db:

        def broken(_: None) -> None:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await db.write(add("kept"), broken)
        assert await db.read(texts) == ["kept"]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_closing_waits_for_what_was_asked_for(path: Path, cancelled: bool) -> None:
    """What runs and what is queued is carried out; two may close at once, a cancelled one goes on
    when it is closed; nothing is carried out later, and the thread ends.
    """
    before = threads()
    db = await Database.open(path, SCHEMA)
    (thread,) = threads() - before
    inside, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        inside.set()
        go_on.wait(10)
        add("running")(tx)

    asked = [asyncio.create_task(db.write(fn)) for fn in (slow, add("queued"))]
    await asyncio.to_thread(inside.wait, 10)
    closing = [asyncio.create_task(db.close()) for _ in range(2)]
    for _ in range(2):
        await asyncio.sleep(0)
        if cancelled:
            closing[0].cancel()
    await asyncio.sleep(0)
    assert not closing[0].done()
    go_on.set()
    await asyncio.gather(*asked, closing[1])
    await asyncio.wait(closing)
    assert closing[0].cancelled() == cancelled
    with pytest.raises(CacheClosed, match="stopped or reloaded meanwhile; try again"):
        await db.write(add("late"))
    assert not thread.is_alive()
    async with await Database.open(path, SCHEMA) as db:
        assert await db.read(texts) == ["running", "queued"]


async def test_a_cancelled_opening_closes_what_it_opened(path: Path) -> None:
    """A cancelled opener goes on when the connection is closed and its thread is gone."""
    before = threads()
    inside, closed, go_on = threading.Event(), threading.Event(), threading.Event()

    class Slow(sqlite3.Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            inside.set()
            go_on.wait(10)
            super().__init__(*args, **options)

        def close(self) -> None:
            super().close()
            closed.set()

    opening = asyncio.create_task(Database.open(path, SCHEMA, connect=Slow))
    await asyncio.to_thread(inside.wait, 10)
    for _ in range(2):
        opening.cancel()
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert closed.is_set()
    assert threads() <= before


def threads() -> set[threading.Thread]:
    """Those of databases."""
    return {t for t in threading.enumerate() if "_connection_worker_thread" in t.name}


async def test_a_failed_opening_leaves_no_thread(tmp_path: Path) -> None:
    """Its thread is gone when the error is raised: the loop may end right then."""
    before = threads()
    with pytest.raises(FolderTrouble):
        await Database.open(tmp_path / "gone" / "cache.sqlite", SCHEMA)
    assert threads() <= before


@pytest.mark.parametrize(
    "end",
    [
        "await task; await db.close()",
        "await task",
        "await task; sys.exit(0)",
        "task.cancel(); await db.close()",
    ],
)
async def test_the_process_ends(path: Path, end: str) -> None:
    """Closed or not, and when it is cancelled at work: the thread does not keep it alive."""
    script = f"""
        import asyncio, sys, threading
        from pathlib import Path
        from heapsyncd.database import Database
        kept = []
        inside = threading.Event()
        def slow(tx):
            inside.set()
            threading.Event().wait(0.2)
        async def main():
            db = await Database.open(Path(sys.argv[1]), sys.argv[2:])
            kept.append(db)
            task = asyncio.create_task(db.write(slow))
            await asyncio.to_thread(inside.wait, 10)
            {end}
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path), *SCHEMA]
    done = await asyncio.to_thread(
        subprocess.run, command, check=False, timeout=30, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_only_the_owner_may_read_the_files(path: Path) -> None:
    """The file and its side files have mode 0600, also when the file had a wider one."""
    path.touch(0o644)
    async with await Database.open(path, SCHEMA) as db:
        await db.write(add("secret"))
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
        assert modes == dict.fromkeys(
            ("cache.sqlite", "cache.sqlite-wal", "cache.sqlite-shm"), 0o600
        )


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
async def test_durable_chooses_the_level_of_synchronisation(
    path: Path, durable: bool, level: int
) -> None:
    """A durable file syncs at each commit; the log is a write-ahead log; keys are checked."""
    async with await Database.open(path, SCHEMA, durable=durable) as db:

        def settings(tx: Tx) -> list[object]:
            names = ("synchronous", "journal_mode", "foreign_keys")
            return [tx.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await db.read(settings) == [level, "wal", 1]


async def test_an_older_file_is_brought_to_the_newest_version(path: Path) -> None:
    """Only the scripts that a file has not seen are carried out, and its rows stay."""
    async with await Database.open(path, SCHEMA) as db:
        await db.write(add("kept"))
    newer = [*SCHEMA, "ALTER TABLE note ADD COLUMN size INTEGER;", "CREATE TABLE other (x);"]
    async with await Database.open(path, newer) as db:
        rows = await db.read(lambda tx: tx.execute("SELECT text, size FROM note").fetchall())
        assert rows == [("kept", None)]
        assert await db.read(lambda tx: tx.execute("PRAGMA user_version").fetchone()) == (3,)


async def test_a_failed_migration_leaves_the_older_version(path: Path) -> None:
    """A script that fails half way changes nothing; a later start takes the step."""
    async with await Database.open(path, SCHEMA) as db:
        await db.write(add("kept"))
    broken = [*SCHEMA, "CREATE TABLE other (x); INSERT INTO nowhere VALUES (1);"]
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await Database.open(path, broken)
    async with await Database.open(path, [*SCHEMA, "CREATE TABLE other (x);"]) as db:
        assert await db.read(texts) == ["kept"]


async def test_a_new_file_opened_by_many_at_once(path: Path) -> None:
    """One makes the tables, a comment with a semicolon among them; the others find them."""
    schema = [*SCHEMA, *(f"CREATE TABLE t{k} (x); -- of step {k}; no more\n" for k in range(20))]
    for k in range(10):
        # It takes some luck to meet: many files are made.
        other = path.with_name(f"other{k}.sqlite")
        for db in await asyncio.gather(*(Database.open(other, schema) for _ in range(8))):
            await db.close()
    opened = await asyncio.gather(*(Database.open(path, schema) for _ in range(8)))
    for db in opened:
        await db.write(lambda tx: tx.execute("INSERT INTO t19 (x) VALUES (1)"))
    assert await opened[0].read(lambda tx: tx.execute("SELECT count(*) FROM t19").fetchone()) == (
        8,
    )
    for db in opened:
        await db.close()


async def test_a_newer_file_is_refused_by_name(path: Path) -> None:
    """A file of a later format is left alone, and the message names it."""
    later = await Database.open(path, [*SCHEMA, "CREATE TABLE later (x);"])
    await later.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"cache\.sqlite was written by a newer heapsyncd"):
        await Database.open(path, SCHEMA)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database " * 400, b"SQLite format 3\0" * 300])
async def test_a_damaged_file_is_told_apart(path: Path, content: bytes) -> None:
    """A file that is no database is trouble that says so, and how to go on."""
    path.write_bytes(content)
    with pytest.raises(FolderTrouble, match="damaged; move it away"):
        await Database.open(path, SCHEMA)
    assert path.read_bytes() == content


async def test_a_missing_directory_is_trouble_for_people(tmp_path: Path) -> None:
    """A file that can't be made is reported with its path, and is not called damaged."""
    with pytest.raises(FolderTrouble, match=r"gone/cache\.sqlite can't be opened") as trouble:
        await Database.open(tmp_path / "gone" / "cache.sqlite", SCHEMA)
    assert "damaged" not in str(trouble.value)


async def test_a_full_disk_stores_nothing_and_heals(path: Path) -> None:
    """A transaction that finds no room leaves the earlier state; with room it succeeds."""
    async with await Database.open(path, SCHEMA) as db:
        await db.write(add("kept"))

        def limit(pages: int) -> Callable[[Tx], None]:
            return lambda tx: tx.execute(f"PRAGMA max_page_count = {pages}").fetchone()

        (pages,) = await db.read(lambda tx: tx.execute("PRAGMA page_count").fetchone())
        await db.read(limit(pages))
        with pytest.raises(FolderTrouble, match="the disk is full"):
            await db.write(add("small", "x" * 100_000))
        assert await db.read(texts) == ["kept"]
        await db.read(limit(1_000_000))
        await db.write(add("small", "x" * 100_000))
        assert len(await db.read(texts)) == 3


async def test_a_file_locked_by_another_program_is_trouble(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer that does not let go is reported after the waiting time; then it works."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    async with await Database.open(path, SCHEMA) as db:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FolderTrouble, match="another program keeps it locked"):
            await db.write(add("one"))
        assert await db.read(texts) == []
        other.execute("ROLLBACK")
        other.close()
        await db.write(add("one"))


class Failing(sqlite3.Connection):
    """A real connection whose k-th statement from now on fails."""

    left = -1
    code = sqlite3.SQLITE_IOERR

    def execute(self, sql: str, params: Any = (), /) -> sqlite3.Cursor:
        self.left -= 1
        if self.left == 0:
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, params)


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR | 3 << 8,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_READONLY,
    ],
)
async def test_each_failing_statement_leaves_all_or_nothing(path: Path, code: int) -> None:
    """Whichever statement fails, nothing of the transaction is stored and the next succeeds."""
    made: list[Failing] = []

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(Failing(*args, **options))
        return made[-1]

    async with await Database.open(path, SCHEMA, connect=connect) as db:
        made[0].code = code
        for k in range(1, 5):  # begin, two inserts, commit
            made[0].left = k
            with pytest.raises(FolderTrouble, match="injected"):
                await db.write(add(f"{k} first", f"{k} second"))
            assert await db.read(texts) == []
        made[0].left = -1
        await db.write(add("after"))
        assert await db.read(texts) == ["after"]


async def test_a_failing_rollback_does_not_poison_the_next_transaction(path: Path) -> None:
    """When even the rollback fails, the next transaction undoes the rest first."""
    made: list[Failing] = []

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(Failing(*args, **options))
        return made[-1]

    async with await Database.open(path, SCHEMA, connect=connect) as db:
        made[0].left = 3  # begin, insert, ROLLBACK

        def broken(tx: Tx) -> None:
            add("half")(tx)
            raise LookupError

        with pytest.raises(LookupError):
            await db.write(broken)
        await db.write(add("after"))
        assert await db.read(texts) == ["after"]


async def test_a_kill_in_a_transaction_leaves_the_last_commit(path: Path) -> None:
    """SIGKILL between two statements: the next start sees the committed state, entire."""
    script = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from heapsyncd.database import Database
        def insert(tx, text): tx.execute("INSERT INTO note (text) VALUES (?)", (text,))
        def dying(tx):
            insert(tx, "half")
            os.kill(os.getpid(), signal.SIGKILL)
        async def main():
            db = await Database.open(Path(sys.argv[1]), sys.argv[2:])
            await db.write(lambda tx: insert(tx, "kept"))
            await db.write(dying)
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path), *SCHEMA]
    done = await asyncio.to_thread(subprocess.run, command, check=False, timeout=30)
    assert done.returncode == -9
    async with await Database.open(path, SCHEMA) as db:
        assert await db.read(texts) == ["kept"]
