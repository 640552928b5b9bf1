"""The server or a device in a process of its own: the bench's hold on it, and the process itself.

``main`` with a ``Setup`` as JSON. Line by line over the pipes: a request in, its answer as JSON
out; the end of the input ends the process. A device is
the package's own daemon: the bench looks at its report, and, when asked to count, at where a
transaction is carried out and where work is handed to a thread.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from heapsyncd import database, logs
from heapsyncd.config import Account, Config, Log
from heapsyncd.daemon import Daemon
from heapsyncd.ids import Seed
from heapsyncd.notify import Notifier
from heapsyncd.sync.heap.timing import DEFAULT
from heapsyncd.sync.report import Report, Verdict
from heapsyncd.sync.runtime.account import mirror_account
from tests.bench.folders import DEADLINE_S
from tests.bench.measure import Gaps, watched

HEAP: Final = "Home"
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_LOOK_S: Final = 0.01
_LOOK_CLOSELY_S: Final = 0.002

counts: Counter[str] = Counter()
"""Transactions and hops to threads so far, by kind and by what was carried out."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a process is to be.

    Args:
        base: its directory.
        server: the address that a device talks to; None: it is the server itself.
        count: count transactions and what is handed to threads.
        audit_s: how often a device compares the whole folder, and tidies up.
        port: of the server; 0: any.
    """

    base: str
    server: str | None = None
    count: bool = False
    audit_s: float = DEFAULT.audit_s
    port: int = 0

    @property
    def folder(self) -> Path:
        """A device's mirror of the heap."""
        return Path(self.base) / "folder" / HEAP

    @property
    def state(self) -> Path:
        """A device's state directory."""
        return Path(self.base) / "state"


# ---- the bench's side -------------------------------------------------------------------------


class Process:
    """A running process.

    Args:
        setup: what it is to be.
    """

    def __init__(self, setup: Setup) -> None:
        self.folder, self.state = setup.folder, setup.state
        self._mirrors = Path(setup.base) / "folder"
        base = Path(setup.base)
        base.mkdir(parents=True, exist_ok=True)
        self._log = base / "log"
        # As ``heapsyncd run`` has, a main module that imports little: its own processes read it.
        begin = "from tests.bench.mirror_process import main; main()"
        command = [sys.executable, "-c", begin, json.dumps(asdict(setup))]
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        self.url: str = self._answer()["url"]

    def ask(self, request: str) -> dict[str, Any]:
        """The answer to a request, when there is one."""
        assert self._child.stdin is not None
        self._child.stdin.write(request.encode() + b"\n")
        self._child.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End in order."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(DEADLINE_S)
        self._child.stdout.close()

    def processor_s(self) -> float:
        """Processor time so far, of the helpers it started too."""
        return processor_s(self._child.pid)

    def peak_mb(self) -> float:
        """The most memory it had at once since ``forget_peak``, without its helpers."""
        return memory_mb(self._child.pid, "VmHWM")

    def now_mb(self) -> float:
        """The memory it has now."""
        return memory_mb(self._child.pid, "VmRSS")

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return sum(1 for _ in Path(f"/proc/{self._child.pid}/fd").iterdir())

    def stored_mb(self) -> float:
        """What it keeps on the disk besides the mirrors."""
        kept = [f for f in self._mirrors.parent.rglob("*") if self._mirrors not in f.parents]
        sizes = []
        for file in kept:
            with contextlib.suppress(FileNotFoundError):  # SQLite's own files come and go
                sizes.append(0 if file == self._log else file.stat().st_size)
        return sum(sizes) / (1 << 20)

    def forget_peak(self) -> None:
        """Begin to look for the peak anew."""
        # Where the kernel does not offer it, the peak is that of the process's whole life.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._child.pid}/clear_refs").write_text("5", "utf-8")

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        if not select.select([self._child.stdout], [], [], DEADLINE_S)[0]:
            raise TimeoutError(f"no answer within {DEADLINE_S:.0f} s; see {self._log}")
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"it ended: {self._log.read_text('utf-8')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def processor_s(pid: int) -> float:
    """Processor time of a process so far, and of the helpers it started."""
    return sum(map(_ticks, _family(pid))) * _TICK_S


def memory_mb(pid: int, what: str) -> float:
    """A figure of a process's memory, as /proc names it."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def _family(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text("utf-8").split():
                found += _family(int(child))
    return found


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except FileNotFoundError:
        return 0
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


# ---- the process itself -----------------------------------------------------------------------


def count_work() -> None:
    """Count transactions and what else is handed to threads from now on."""
    carry_out, submit = database._transaction, ThreadPoolExecutor.submit

    def transaction(connection: Any, fn: Callable[..., Any], *, commit: bool) -> Any:
        counts[f"{'write' if commit else 'read'} {_name(fn)}"] += 1
        return carry_out(connection, fn, commit=commit)

    def counted(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *a: Any, **k: Any) -> Any:
        counts[f"hop {_name(fn)}"] += 1
        return submit(self, fn, *a, **k)

    database._transaction = transaction
    ThreadPoolExecutor.submit = counted  # type: ignore[assignment,method-assign]


def _name(fn: Any) -> str:
    if isinstance(fn, functools.partial):
        # ``asyncio.to_thread`` hands over ``context.run`` and the function.
        return _name(fn.args[0] if getattr(fn.func, "__name__", "") == "run" else fn.func)
    module = str(getattr(fn, "__module__", "")).removeprefix("heapsyncd.")
    return f"{module}.{getattr(fn, '__qualname__', fn)}".replace(".<locals>", "")


def _say(**answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _now() -> dict[str, Any]:
    return {"at": time.monotonic(), "counts": dict(counts)}


async def _requests() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


async def _serve(setup: Setup) -> None:
    from heapsyncd.server import Server  # noqa: PLC0415 -- a device does without its memory

    async with Server(Path(setup.base), port=setup.port, open_registration=True) as server:
        if not setup.port:
            await server.add_heap(HEAP)
        _say(url=server.url)
        async for _ in _requests():
            _say(**_now())


async def _mirror(setup: Setup) -> None:
    base, reports = Path(setup.base), list[Report]()
    state_dir = setup.state
    state_dir.mkdir(exist_ok=True)
    assert setup.server is not None
    account = Account(
        name="bench",
        kind="heaper",
        server=setup.server,
        folder=base / "folder",
        secret_file=base / "key",
        seed=Seed(hashlib.sha256(setup.base.encode()).digest()),
    )
    config = Config(None, state_dir, (account,))

    async def mirror(account: Account, state_dir: Path, report: Report, **rest: Any) -> Verdict:
        reports[:] = [report]
        return await mirror_account(account, state_dir, report, **rest)

    notifier, timing = Notifier.from_environment(), replace(DEFAULT, audit_s=setup.audit_s)
    daemon = Daemon(config, lambda: config, notifier=notifier, mirror=mirror, timing=timing)
    _say(url=setup.server)
    async with contextlib.AsyncExitStack() as probe, asyncio.TaskGroup() as group:
        gaps = Gaps()
        watching: asyncio.Task[dict[str, Any]] | None = None
        async for request in _requests():
            match request.split():
                case ["run"]:
                    group.create_task(daemon.run())
                case ["probe"]:
                    gaps = await probe.enter_async_context(watched())
                case ["probed"]:
                    await probe.aclose()
                    _say(longest_s=gaps.longest_s)
                    continue
                case ["live", notes]:
                    await _until(functools.partial(_follows, reports, int(notes)), _LOOK_S)
                case ["synced"]:
                    await _until(lambda: _in_sync(reports), _LOOK_S)
                case ["watch"]:
                    watching = group.create_task(_left_and_back(reports))
                case ["back"]:
                    assert watching is not None
                    _say(**await watching)
                    continue
            _say(**_now())
        daemon.stop()


async def _left_and_back(reports: list[Report]) -> dict[str, Any]:
    """When a device that is in sync has something to do, and has done it."""
    await _until(lambda: not _in_sync(reports), _LOOK_CLOSELY_S)
    await _until(lambda: _in_sync(reports), _LOOK_CLOSELY_S)
    return _now()


def _followed(reports: list[Report]) -> int:
    """How many notes the server has opened for this device, over its live connection."""
    found = 0
    commands: Any = reports[0].commands
    for mirror in commands.mirrors.values():
        live = mirror.state.link.live
        link = None if live is None else live._following.link
        found += 0 if link is None else sum(d.authenticated for d in link._documents.values())
    return found


def _follows(reports: list[Report], notes: int) -> bool:
    return _followed(reports) >= notes


def _in_sync(reports: list[Report]) -> bool:
    return bool(reports) and reports[0].state == "in sync"


async def _until(true: Callable[[], bool], look_s: float) -> None:
    while not true():  # noqa: ASYNC110 -- a report has no event, and the package gets none for us
        await asyncio.sleep(look_s)


def main() -> None:
    """Be what the argument says, until the input ends."""
    logs.configure(Log(format="json"))
    wanted = Setup(**json.loads(sys.argv[1]))
    if wanted.count:
        count_work()
    asyncio.run(_serve(wanted) if wanted.server is None else _mirror(wanted))
