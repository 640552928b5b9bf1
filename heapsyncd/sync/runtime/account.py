"""One account kept mirrored: its heaps found, each with its own mirror, and the verdict of one
pass.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.heaper import HeaperBackend
from heapsyncd.backoff import Lane, first_of
from heapsyncd.cache import heaps
from heapsyncd.cache.atwork import AtWork
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.document.replica import self_test
from heapsyncd.errors import (
    FolderTrouble,
    HeapsyncdError,
    PeerError,
    SignInRefused,
    TryLater,
)
from heapsyncd.folder.disk import HeapFolder
from heapsyncd.ids import HeapId
from heapsyncd.model import Heap
from heapsyncd.sync.cache_file import cache_path, marks_path, open_cache, recognise
from heapsyncd.sync.deletions.decisions import ask
from heapsyncd.sync.edits.restore import restore
from heapsyncd.sync.heap import gc_control
from heapsyncd.sync.layout.ignore_rules import Rules
from heapsyncd.sync.push.on_demand import fetch, inside
from heapsyncd.sync.report import HeapReport, Report, Verdict, Wanted
from heapsyncd.sync.runtime.heap import HeapMirror
from heapsyncd.sync.runtime.open_heap import chosen, open_heap, unmatched
from heapsyncd.sync.runtime.suspend import SuspendDetector
from heapsyncd.sync.scan.scanner import Scanner
from heapsyncd.tasks import TaskGroup

_T = TypeVar("_T")

log = structlog.get_logger()

HEAPS_AGAIN_S: Final = 60.0
"""How often the list of heaps is asked for."""
GIVE_UP_S: Final = 30.0
"""A single pass ends when the server was away for this long, or one kind of work with it."""
BEAT_S: Final = 2.0
"""How often the heaps' loops, and a suspend, are looked for."""
ONCE_POLL_S: Final = 0.5
END_S: Final = 3.0
"""How long after a single pass the heaps may finish what they are at; then they are cancelled."""


async def mirror_account(
    account: Account,
    state_dir: Path,
    report: Report,
    *,
    once: bool,
    stop: asyncio.Event,
    timeout_s: float | None = None,
    ready: Callable[[], None],
) -> Verdict:
    """Mirror an account until ``stop`` is set; with ``once`` for one full pass both ways.

    Args:
        account: with its key.
        state_dir: where its cache lives; must exist.
        report: kept current.
        once: end when everything is in sync, or nothing more can be done.
        stop: asks for the ordered end.
        timeout_s: ends a single pass; what is left then is in the verdict.
        ready: called when the first look at every heap is through (or the server is away).

    Raises:
        SignInRefused, OtherServer, Unreachable and their like: only with ``once``; the daemon
            waits them out.
        ConfigError: a newer heapsyncd wrote the cache.
        FolderTrouble: the cache can't be used.
    """
    self_test()
    gc_control.settle()
    assert account.seed is not None
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(await open_cache(account, state_dir))
        at_work = stack.enter_context(AtWork.open(marks_path(account, state_dir)))
        backend: Backend = await stack.enter_async_context(
            HeaperBackend(account.server, account.seed, partial(recognise, db, account))
        )
        mirror = AccountMirror(account, db, backend, report, stop, ready, at_work, once=once)
        stack.push_async_callback(mirror.close)
        for ask in ("deletions", "fetch", "restore", "recount"):
            setattr(report, ask, getattr(mirror, ask))
            stack.callback(setattr, report, ask, None)
        if not once:
            await mirror.run()
            return Verdict(report.state, 0)
        return await mirror.once(timeout_s)


class _Stopped(Exception):
    """Told to stop while the server was asked."""


class AccountMirror:
    """The heaps of one account, each mirrored by itself, so that trouble with one never holds up
    the others.
    """

    def __init__(
        self,
        account: Account,
        db: Database,
        backend: Backend,
        report: Report,
        stop: asyncio.Event,
        ready: Callable[[], None],
        at_work: AtWork,
        *,
        once: bool,
    ) -> None:
        self._account, self._db, self._backend = account, db, backend
        self._report, self._stop, self._ready = report, stop, ready
        self._once = once
        self._at_work = at_work
        self._end = asyncio.Event()
        self._claimed: list[HeapFolder] = []
        self._suspends = SuspendDetector()
        self._tasks: list[asyncio.Task[None]] = []
        self.mirrors: dict[HeapId, HeapMirror] = {}

    async def close(self) -> None:
        """Let others have the folders."""
        for disk in self._claimed:
            await disk.close()

    async def run(self) -> None:
        """Mirror until told to stop, server or not."""
        async with TaskGroup() as group:
            for row in await self._db.read(heaps.load_all):
                if self._stop.is_set():
                    break
                if row.mirrored and self._chosen(row.title, row.id):
                    await self._start(group, Heap(row.id, row.title))
            lane = Lane(self._backend.contact)
            while not self._stop.is_set():
                try:
                    await self._find_heaps(group)
                    lane.worked()
                except _Stopped:
                    break
                except (TryLater, SignInRefused, PeerError) as error:
                    lane.failed(error)
                    self._note(error)
                    self._ready()
                await self._rest(
                    lane.pause_s() if lane.failures else HEAPS_AGAIN_S, *lane.wake_events()
                )
            self._at_work.end()
            self._end.set()

    async def _rest(self, wait_s: float, *events: asyncio.Event) -> None:
        """Wait for the time to be over or one of the events, telling now and then that the heaps'
        loops get on, as long as they do.
        """
        end = time.monotonic() + wait_s
        events = (self._stop, *events)
        while not any(e.is_set() for e in events) and time.monotonic() < end:
            if all(m.alive for m in self.mirrors.values()):
                self._report.alive()
            await first_of(*events, timeout_s=min(BEAT_S, wait_s))
            if (slept_s := self._suspends.over()) is not None:
                log.info("awake again", account=self._account.name, slept_s=round(slept_s))
                for mirror in self.mirrors.values():
                    mirror.state.link.lost()
                await self._backend.renew()
                for mirror in self.mirrors.values():
                    mirror.wake()
                return

    async def once(self, timeout_s: float | None) -> Verdict:
        """One full pass both ways."""
        started = time.monotonic()
        end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        late = Verdict("offline", 4, (f"{self._account.server} did not answer in time",))
        try:
            async with asyncio.timeout_at(end):
                await self._unless_stopped(self._backend.sign_in())
        except (TimeoutError, _Stopped):
            return late
        async with TaskGroup() as group:
            try:
                async with asyncio.timeout_at(end):
                    with suppress(_Stopped):
                        await self._find_heaps(group)
            except TimeoutError:
                verdict = late
            else:
                verdict = await self._until_settled(started, timeout_s)
                with suppress(FolderTrouble):  # it was told already
                    await self.recount()
            await self._end_heaps()
        return verdict

    async def _end_heaps(self) -> None:
        """End the heaps' tasks in order; what waits for the server still is not waited for."""
        self._at_work.end()
        self._end.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=END_S)
            for task in late:
                task.cancel()

    async def _until_settled(self, started: float, timeout_s: float | None) -> Verdict:
        while True:
            mirrors = list(self.mirrors.values())
            if all(m.settled for m in mirrors):
                return self._verdict(mirrors)
            if all(m.settled or m.stuck for m in mirrors) or self._stop.is_set():
                return self._verdict(mirrors)
            now = time.monotonic()
            if self._report.refused:
                return Verdict(
                    "sign-in needed", SignInRefused.exit_code, (str(self._report.error),)
                )
            away = next((e for m in mirrors if (e := m.away(GIVE_UP_S)) is not None), None)
            if away is not None:
                self._report.connected, self._report.error = False, str(away)
                return self._verdict(mirrors)
            if timeout_s is not None and now - started > timeout_s:
                return self._verdict(mirrors)
            await first_of(self._stop, timeout_s=0.02)

    def _verdict(self, mirrors: Sequence[HeapMirror]) -> Verdict:
        left = [line for report in self._report.heaps.values() for line in report.left()]
        told = tuple(line for report in self._report.heaps.values() for line in report.told())
        if self._report.unmatched is not None:
            left.append(self._report.unmatched)
        unsettled = [m.state.report.title for m in mirrors if not m.settled]
        if not self._report.connected:
            reason = self._report.error or f"{self._account.server} can't be reached"
            return Verdict("offline", TryLater.exit_code, (reason, *left), told)
        if not left and not unsettled:
            return Verdict("in sync", 0, (), told)
        rest = left or [f"{title}: not finished yet" for title in unsettled]
        return Verdict(self._report.state if left else "syncing", 1, tuple(rest), told)

    async def deletions(self, decision: str | None) -> list[dict[str, Any]]:
        """What is held, after a decision, if any; it is carried out at once."""
        found = await ask(self._db, self._account.folder, decision)
        for mirror in self.mirrors.values():
            mirror.state.wake.publish.set()
        return found

    async def fetch(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """Have contents fetched (``fetch.fetch``); ``paths`` are absolute."""
        wanted = [Path(p) for p in paths]
        found: list[dict[str, Any]] = []
        for mirror in self.mirrors.values():
            here = inside(mirror.state.disk.root, wanted)
            if here:
                found += await fetch(mirror.state, here)
        return found

    async def restore(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Put earlier texts and deleted notes back (``restore.restore``)."""
        return [
            told
            for mirror in self.mirrors.values()
            for told in await restore(mirror.state, wanted)
        ]

    async def recount(self) -> None:
        """Bring the report up to date with the cache."""
        for mirror in self.mirrors.values():
            await mirror.state.recount()

    def _note(self, error: HeapsyncdError) -> None:
        self._report.error = str(error)
        self._report.refused = isinstance(error, SignInRefused)
        if isinstance(error, TryLater):
            self._report.connected = False
        log.warning("heaps not listed", account=self._account.name, reason=str(error))

    def _chosen(self, title: str, heap_id: HeapId) -> bool:
        return chosen(self._account, title, heap_id)

    async def _unless_stopped(self, asked: Coroutine[Any, Any, _T]) -> _T:
        """What the server answers; _Stopped when told to stop first: it may take its time."""
        answer = asyncio.create_task(asked)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((answer, stop), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise _Stopped
            return answer.result()
        finally:
            for task in (answer, stop):
                task.cancel()
            await asyncio.gather(answer, stop, return_exceptions=True)

    async def _find_heaps(self, group: TaskGroup) -> None:
        found = await self._unless_stopped(self._backend.heaps())
        self._report.connected, self._report.refused, self._report.error = True, False, None
        missing = unmatched(self._account, [(h.title, h.id) for h in found])
        if missing != self._report.unmatched and missing is not None:
            log.warning("heaps not found", account=self._account.name, reason=missing)
        self._report.unmatched = missing
        for heap in sorted(found, key=lambda h: h.id):
            if heap.id in self.mirrors or heap.encrypted or not self._chosen(heap.title, heap.id):
                continue
            await self._start(group, heap)
        if not self.mirrors:
            self._report.ready = True
            self._ready()

    async def _start(self, group: TaskGroup, heap: Heap) -> None:
        try:
            state = await open_heap(
                self._account, self._db, self._backend, self._report, heap, self._at_work
            )
        except FolderTrouble as error:
            ails = {"folder": str(error)}
            report = HeapReport(heap.id, heap.title, str(self._account.folder), ails=ails)
            self._report.heaps[heap.id] = report
            log.warning("heap not opened", heap=heap.title, reason=str(error))
            self._ready()
            return
        self._claimed.append(state.disk)
        mirror = HeapMirror(
            state,
            Scanner(state, await Rules.load(state)),
            ONCE_POLL_S if self._once else self._account.poll_interval_s,
            "off" if self._once else self._account.live,
            self._end,
            self._looked,
        )
        self.mirrors[heap.id] = mirror
        self._tasks.append(group.create_task(mirror.run(), name=f"heap {heap.title}"))

    def _looked(self) -> None:
        if all(m.first_look for m in self.mirrors.values()):
            self._report.ready = True
            self._ready()


async def list_heaps(account: Account, state_dir: Path, code: str = "") -> list[tuple[Heap, bool]]:
    """The heaps an account can see, and whether the configuration mirrors each.

    Args:
        account: with its key.
        state_dir: where its cache lives, if there is one.
        code: for the first sign-in to a new embedded server.

    Raises:
        OtherServer: there is a cache, and it belongs to another server.
    """
    assert account.seed is not None
    async with AsyncExitStack() as stack:
        known = None
        if cache_path(account, state_dir).exists():
            db = await stack.enter_async_context(await open_cache(account, state_dir))
            known = partial(recognise, db, account)
        backend = HeaperBackend(account.server, account.seed, known, code)
        await stack.enter_async_context(backend)
        await backend.sign_in()
        found = await backend.heaps()
    return [(h, chosen(account, h.title, h.id) and not h.encrypted) for h in found]
