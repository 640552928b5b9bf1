"""Lives that end between two steps: no ``finally``, no goodbye, as with SIGKILL or a dead battery.

Every transaction and every system call that changes the folder is a step. When a life's time has
come, the step raises ``Killed`` instead of being done, and so does every later one of that life:
the rest of the process may still run, but nothing it does reaches the disk. Lives are told apart
by the context their tasks and threads run in, so that other devices and the server go on.
"""

import asyncio
import contextlib
import contextvars
import fcntl
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from heapsyncd.database import Database, Tx
from heapsyncd.folder import marker, syscalls
from heapsyncd.ids import HeapId
from heapsyncd.sync import cache_file
from heapsyncd.sync.heap.state import HeapContext

T = TypeVar("T")
SYSCALLS: Final = (
    "create", "write", "chmod", "fsync", "sync_file_system", "unlink", "mkdir", "rmdir", "rename",
    "rename_new", "exchange",
)  # fmt: skip
_LIFE: contextvars.ContextVar["Life | None"] = contextvars.ContextVar("life", default=None)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Life:
    """One run of a device.

    Args:
        ends_at: number of the step that is not done any more; None: it lives on.
        fails: asked at every step; what it returns is raised there, once for each asking.
    """

    ends_at: int | None = None
    fails: Callable[["Life", str], Exception | None] = lambda _life, _name: None
    steps: list[str] = field(default_factory=list)
    dead: bool = False
    repeats: int = 2
    """So many times one SQL statement counts as a step."""
    seen: Counter[str] = field(default_factory=Counter)
    claims: list[int] = field(default_factory=list)
    """Descriptors of the locks it holds: the kernel takes them back when a process ends."""
    heaps: list[HeapContext] = field(default_factory=list)
    """What it had in memory."""

    def bury(self) -> None:
        """Take back what the kernel would."""
        for fd in self.claims:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)

    def step(self, name: str) -> None:
        """One step is about to be done."""
        if self.dead or (self.ends_at is not None and len(self.steps) >= self.ends_at):
            self.dead = True
            raise Killed(f"before step {len(self.steps)}: {name}")
        self.steps.append(name)
        error = self.fails(self, name)
        if error is not None:
            raise error

    def statement(self, sql: str) -> None:
        """A step, if this statement was not carried out many times already."""
        self.seen[sql] += 1
        if self.dead or self.seen[sql] <= self.repeats:
            self.step(f"sql {sql}")

    def end(self) -> None:
        """Nothing is done from now on."""
        self.dead = True

    def live(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task whose steps are this life's."""
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)


class _Connection(sqlite3.Connection):
    """Counts the statements of a life; the life is that of whoever opened it."""

    life: Life | None = None

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self._step(sql)
        return super().execute(sql, *args)

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        self._step(sql)
        return super().executemany(sql, rows)

    def _step(self, sql: str) -> None:
        if self.life is not None and sql != "ROLLBACK":
            self.life.statement(sql)


def _wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def step(*args: Any) -> Any:
        life = _LIFE.get()
        if life is not None:
            life.step(name)
        return call(*args)

    return step


def _claimed(call: Callable[[Path, HeapId], int]) -> Callable[[Path, HeapId], int]:
    def claim(root: Path, heap_id: HeapId) -> int:
        fd = call(root, heap_id)
        life = _LIFE.get()
        if life is not None:
            life.claims.append(fd)
        return fd

    return claim


async def _remembered(self: HeapContext) -> None:
    await _load_index(self)
    life = _LIFE.get()
    if life is not None:
        life.heaps.append(self)


_load_index = HeapContext.load_index


@contextlib.contextmanager
def watched(*, statements: bool = False) -> Iterator[None]:
    """Let lives notice their steps. ``statements``: each SQL statement is one, not each
    transaction.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in SYSCALLS:
            patch.setattr(syscalls, name, _wrapped(name, getattr(syscalls, name)))
        patch.setattr(marker, "claim", _claimed(marker.claim))
        patch.setattr(HeapContext, "load_index", _remembered)
        if statements:
            patch.setattr(cache_file, "Database", _Statements)
        else:
            for kind in ("read", "write"):
                patch.setattr(Database, kind, _transaction(kind, getattr(Database, kind)))
        yield


def _transaction(kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
    async def step(self: Database, fn: Callable[[Tx], T], *then: Callable[[T], None]) -> T:
        life = _LIFE.get()
        if life is None:
            return await call(self, fn, *then)  # type: ignore[no-any-return]
        if kind == "write" or life.dead:
            life.step("commit")
        result: T = await call(self, fn, *then)
        if life.dead:
            raise Killed("after a transaction")
        return result

    return step


class _Statements(Database):
    """A database whose connection counts statements."""

    @classmethod
    async def open(cls, *args: Any, **kwargs: Any) -> "Database":  # type: ignore[override]
        life = _LIFE.get()

        def connect(*where: Any, **how: Any) -> sqlite3.Connection:
            connection = sqlite3.connect(*where, factory=_Connection, **how)
            connection.life = life
            return connection

        return await Database.open(*args, connect=connect, **kwargs)
