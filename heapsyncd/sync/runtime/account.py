"""Mirror one account: find its heaps, mirror each, and give the verdict of a single pass."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from heapsyncd.backends.contract import Backend
from heapsyncd.backends.factory import list_places, open_backend
from heapsyncd.backoff import Lane, first_of, varied_s
from heapsyncd.cache import heaps, history
from heapsyncd.cache.activity import Direction
from heapsyncd.cache.crash_marks import AtWork
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
from heapsyncd.ids import HeapId
from heapsyncd.model import Heap, Place
from heapsyncd.sync.cache_file import cache_path, marks_path, open_cache, recognise
from heapsyncd.sync.heap import gc_control
from heapsyncd.sync.heap.state import HeapContext, now_ms
from heapsyncd.sync.heap.timing import DEFAULT, Timing
from heapsyncd.sync.layout.ignore_rules import IgnoreRules
from heapsyncd.sync.report import HeapReport, Report, Verdict
from heapsyncd.sync.runtime.commands import AccountCommands
from heapsyncd.sync.runtime.full_pass import Listing, late, until_settled
from heapsyncd.sync.runtime.heap import HeapMirror
from heapsyncd.sync.runtime.last_sync import LastSync
from heapsyncd.sync.runtime.open_heap import is_selected, open_heap, unmatched
from heapsyncd.sync.runtime.suspend import SuspendDetector
from heapsyncd.sync.scan.scanner import Scanner
from heapsyncd.tasks import TaskGroup

_T = TypeVar("_T")

log = structlog.get_logger()


async def mirror_account(
    account: Account,
    state_dir: Path,
    report: Report,
    *,
    once: bool,
    stop: asyncio.Event,
    timeout_s: float | None = None,
    ready: Callable[[], None],
    timing: Timing = DEFAULT,
) -> Verdict:
    """Mirror an account until ``stop`` is set, or, with ``once``, for one full pass both ways.

    Args:
        account: with its key or password.
        state_dir: the directory of its cache; must exist.
        report: kept up to date.
        once: end when everything is in sync, or nothing more can be done.
        stop: ends the mirror in an orderly way.
        timeout_s: ends a single pass; the verdict says what is left.
        ready: called when the first scan of every heap is complete (or the server is away).
        timing: the waits and pauses.

    Raises:
        SignInRefused, OtherServer, Unreachable and their like: only with ``once``; the daemon
            retries.
        ConfigError: a newer heapsyncd wrote the cache.
        FolderTrouble: the cache cannot be used.
    """
    self_test()
    report.folder = str(account.folder)
    gc_control.settle()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(await open_cache(account, state_dir))
        await db.write(lambda tx: history.trim(tx, now_ms(), account.history))
        at_work = stack.enter_context(AtWork.open(marks_path(account, state_dir)))
        backend = await open_backend(account, db, partial(recognise, db, account))
        await stack.enter_async_context(backend)
        mirror = AccountMirror(
            account, db, backend, report, stop, ready, at_work, timing, once=once
        )
        stack.push_async_callback(mirror.close)
        report.commands = mirror.commands
        stack.callback(setattr, report, "commands", None)
        if not once:
            await mirror.run()
            return Verdict(report.state, 0)
        return await mirror.once(timeout_s)


class _Stopped(Exception):
    """The mirror was stopped during a request."""


class AccountMirror:
    """Mirrors the heaps of one account independently: problems of one never block others."""

    def __init__(
        self,
        account: Account,
        db: Database,
        backend: Backend,
        report: Report,
        stop: asyncio.Event,
        ready: Callable[[], None],
        at_work: AtWork,
        timing: Timing,
        *,
        once: bool,
    ) -> None:
        self._account, self._db, self._backend = account, db, backend
        self._report, self._stop, self._ready = report, stop, ready
        self._once = once
        self._at_work, self._timing = at_work, timing
        self._end = asyncio.Event()
        self._listing = Listing()
        self._last_sync = LastSync(db, report, is_told=not once)
        self._opened: list[HeapContext] = []
        self._suspends = SuspendDetector()
        self._woken = asyncio.Event()
        """Set when something else than the clocks tells of a suspend."""
        self._tasks: list[asyncio.Task[None]] = []
        self.mirrors: dict[HeapId, HeapMirror] = {}
        self.commands = AccountCommands(
            account, db, report, self.mirrors, self._listing, self._settle, (stop, self._end),
            self._woken,
        )  # fmt: skip

    async def close(self) -> None:
        """End the passes that are waited for, and release the folders."""
        await self._last_sync.store()
        self._end.set()
        self._listing.begins()
        self._listing.ended()
        for heap in self._opened:
            await heap.close()

    async def run(self) -> None:
        """Mirror until stopped, whether or not the server can be reached."""
        await self._last_sync.load()
        async with TaskGroup() as group:
            for row in await self._db.read(heaps.load_all):
                if self._stop.is_set():
                    break
                if row.mirrored and self._is_selected(row.title, row.id):
                    await self._start(group, Heap(row.id, row.title))
            if not self._stop.is_set():
                self._listing.opened.set()
            lane = Lane(self._backend.contact)
            while not self._stop.is_set():
                self._listing.begins()
                failure: HeapsyncdError | None = None
                try:
                    await self._list_heaps(group)
                    lane.worked()
                except _Stopped:
                    break
                except (TryLater, SignInRefused, PeerError) as error:
                    failure = error
                    lane.failed(error)
                    if self._report.failed(error):
                        log.warning(
                            "could not list heaps",
                            account=self._report.name,
                            reason=self._report.error,
                        )
                    self._ready()
                self._listing.ended(failure)
                every_s = varied_s(self._timing.heaps_again_s)
                again_s = lane.pause_s() if lane.failures else every_s
                await self._rest(again_s, self._listing.asked, *lane.wake_events())
            self._at_work.end()
            self._end.set()

    async def _rest(self, wait_s: float, *events: asyncio.Event) -> None:
        """Wait for a time or an event, and feed the watchdog while the heaps' loops make progress.

        Ends early after a suspend, when every connection is renewed.
        """
        end = time.monotonic() + wait_s
        events = (self._stop, *events)
        while not any(e.is_set() for e in events) and time.monotonic() < end:
            if all(m.alive for m in self.mirrors.values()):
                self._report.alive()
            is_in_sync = self._report.state == "in sync" and all(
                m.settled for m in self.mirrors.values()
            )
            await self._last_sync.note(is_in_sync=is_in_sync)
            for mirror in self.mirrors.values() if is_in_sync else ():
                await mirror.state.rest()
            await first_of(*events, self._woken, timeout_s=min(self._timing.beat_s, wait_s))
            slept_s = self._suspends.over()
            if slept_s is not None or self._woken.is_set():
                self._woken.clear()
                log.info("suspend ended", account=self._account.name, slept_s=round(slept_s or 0))
                for mirror in self.mirrors.values():
                    mirror.state.link.lost()
                await self._backend.renew()
                for mirror in self.mirrors.values():
                    mirror.wake()
                return

    async def once(self, timeout_s: float | None) -> Verdict:
        """Do one full pass both ways."""
        await self._last_sync.load()
        end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(end):
                await self._unless_stopped(self._backend.sign_in())
        except (TimeoutError, _Stopped):
            return late(self._account)
        async with TaskGroup() as group:
            try:
                async with asyncio.timeout_at(end):
                    with suppress(_Stopped):
                        await self._list_heaps(group)
                        self._listing.opened.set()
            except TimeoutError:
                verdict = late(self._account)
            else:
                verdict = await self._settle(end, Counter())
            await self._end_heaps()
        return verdict

    async def _end_heaps(self) -> None:
        """End the heaps' tasks; cancel those that do not end in time."""
        self._at_work.end()
        self._end.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._timing.end_s)
            for task in late:
                task.cancel()

    async def _settle(self, end: float | None, passed: Counter[Direction]) -> Verdict:
        verdict = await until_settled(
            self.mirrors, self._report, self._timing, self._stop, self._end, end=end, passed=passed
        )
        if self._end.is_set() or (self._stop.is_set() and not self._once):
            return verdict  # the cache is being closed
        await self._last_sync.note(is_in_sync=verdict.exit_code == 0)
        with suppress(FolderTrouble):  # already in the verdict
            await self.commands.recount()
        return verdict

    def _is_selected(self, title: str, heap_id: HeapId) -> bool:
        return self._account.selects_boxes or is_selected(self._account, title, heap_id)

    async def _unless_stopped(self, request: Coroutine[Any, Any, _T]) -> _T:
        """Return the result of a request; raises _Stopped if the mirror is stopped first."""
        answer = asyncio.create_task(request)
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

    async def _list_heaps(self, group: TaskGroup) -> None:
        found = await self._unless_stopped(self._backend.heaps())
        self._report.connected, self._report.refused, self._report.error = True, False, None
        await self._check_patterns(found)
        for heap in sorted(found, key=lambda h: h.id):
            if (
                heap.id in self.mirrors
                or heap.encrypted
                or not self._is_selected(heap.title, heap.id)
            ):
                continue
            await self._start(group, heap)
        await self.commands.look_around()
        if not self.mirrors:
            self._report.ready = True
            self._ready()

    async def _check_patterns(self, found: Sequence[Heap]) -> None:
        """Report which patterns of ``heaps`` match nothing."""
        places: Sequence[Heap | Place] = found
        if self._account.selects_boxes:
            # Nothing is asked for the usual pattern, which matches always.
            has_names = any(pattern != "*" for pattern in self._account.heaps)
            places = await self._unless_stopped(self._backend.places()) if has_names else ()
        missing = unmatched(self._account, [(place.title, place.id) for place in places])
        if missing != self._report.unmatched and missing is not None:
            log.warning("configured heaps not found", account=self._account.name, reason=missing)
        self._report.unmatched = missing

    async def _start(self, group: TaskGroup, heap: Heap) -> None:
        try:
            state = await open_heap(
                self._account, self._db, self._backend, self._report, heap,
                self._at_work, self._timing,
            )  # fmt: skip
        except FolderTrouble as error:
            blockers = {"folder": str(error)}
            report = HeapReport(heap.id, heap.title, str(self._account.folder), blockers=blockers)
            self._report.heaps[heap.id] = report
            log.warning("could not open heap", heap=heap.title, reason=str(error))
            self._ready()
            return
        self._opened.append(state)
        is_live = self._backend.dialect.live and not self._once
        mirror = HeapMirror(
            state,
            Scanner(state, await IgnoreRules.load(state)),
            self._timing.once_poll_s if self._once else self._account.poll_interval_s,
            self._account.live if is_live else "off",
            self._end,
            self._on_first_scan,
        )
        self.mirrors[heap.id] = mirror
        self._tasks.append(group.create_task(mirror.run(), name=f"heap {heap.title}"))

    def _on_first_scan(self) -> None:
        if all(m.first_scan_done for m in self.mirrors.values()):
            self._report.ready = True
            self._ready()


async def list_heaps(
    account: Account, state_dir: Path, code: str = ""
) -> list[tuple[Place, bool]]:
    """List the heaps or boxes an account can see, and whether the configuration mirrors each.

    Args:
        account: with its key or password.
        state_dir: the directory of its cache, if there is one.
        code: for the first sign-in to a new embedded server.

    Raises:
        OtherServer: the existing cache belongs to another server or account.
    """
    async with AsyncExitStack() as stack:
        known = None
        if cache_path(account, state_dir).exists():
            db = await stack.enter_async_context(await open_cache(account, state_dir))
            known = partial(recognise, db, account)
        found = await list_places(account, known, code)
    return [(p, is_selected(account, p.title, p.id) and p.is_readable) for p in found]
