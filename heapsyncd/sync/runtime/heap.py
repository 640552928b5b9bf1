"""Mirror one heap: the tasks that watch, scan, publish, pull, push, follow and transfer."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

import structlog
from msgspec import Struct, field

from heapsyncd.backoff import first_of, varied_s
from heapsyncd.cache import heaps
from heapsyncd.config import Live
from heapsyncd.errors import FolderTrouble, TryLater
from heapsyncd.folder.watch import watch
from heapsyncd.sync.deletions import carry_out, holds
from heapsyncd.sync.deletions.lost_folder import check_folder
from heapsyncd.sync.edits.note_saved import reread_once
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.placeholders import update_placeholders
from heapsyncd.sync.publish import publish, show_newest
from heapsyncd.sync.pull.crossed_edits import resume, write_again
from heapsyncd.sync.pull.delta_feed import poll
from heapsyncd.sync.pull.follow import follow
from heapsyncd.sync.pull.log_compaction import compact_logs
from heapsyncd.sync.pull.pull import pull
from heapsyncd.sync.pull.retry_problems import retry_problems
from heapsyncd.sync.push.oversized import check_oversized
from heapsyncd.sync.push.push import push, unsent
from heapsyncd.sync.runtime.retry import RetryPolicy
from heapsyncd.sync.scan.audit import audit_notes, missed
from heapsyncd.sync.scan.scanner import Scanner
from heapsyncd.sync.transfers.transfers import transfer
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

FOLLOWED: Final = {"all": 10_000, "recent": 200, "off": 0}
"""How many blocks are followed over the live connection."""
TURN_S: Final = 10.0
"""A waiting loop reports that it is alive this often."""
HUNG_S: Final = 100.0
"""A loop that did not report for this long hangs. Transfers and pushes do not count."""


class HeapMirror(Struct):
    """Keeps one heap mirrored until ``stop`` is set.

    Args:
        state: the context its parts share.
        scanner: finds the folder's changes.
        poll_interval_s: time between polls while there are no changes.
        live: which notes are followed.
        stop: ends the mirror; the current action is finished.
        on_first_scan: called once the first scan of the folder is complete.
    """

    state: HeapContext
    scanner: Scanner
    poll_interval_s: float
    live: Live
    stop: asyncio.Event
    on_first_scan: Callable[[], None]
    first_scan_done: bool = False
    policies: dict[str, RetryPolicy] = field(default_factory=dict)
    _hinted: asyncio.Event = field(default_factory=asyncio.Event)
    _retry_now: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the pauses after failures: the situation may have changed."""
    _blocks_known: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server's blocks are known: only then can new files be recognised as theirs."""
    _rearm: asyncio.Event = field(default_factory=asyncio.Event)
    _turned: dict[str, float] = field(default_factory=dict)
    _folder_failures: int = 0
    """How often the folder failed in a row, since the pass began."""
    _pass_at: float = -2.0
    """When the last full pass was asked for."""
    _clean_poll_at: float = -1.0
    _changed_at: float = 0.0
    _transferred_at: float = -math.inf
    """When transfers were tried last."""

    async def run(self) -> None:
        """Mirror the heap; failures of the server or the folder are reported and retried."""
        self.state.link.is_told = self.live != "off" or not self.state.dialect.live
        async with TaskGroup() as group:
            for work in (self._watch, self._folder, self._receive, self._send, self._transfer):
                group.create_task(work())
            following = group.create_task(self._follow())
            await self.stop.wait()
            following.cancel()

    @property
    def settled(self) -> bool:
        """Return whether folder and server agree, confirmed by a poll after the last change."""
        return (
            self.first_scan_done
            and self.scanner.idle
            and not self.state.report.left()
            and self._clean_poll_at > self._changed_at
        )

    @property
    def stuck(self) -> bool:
        """Return whether only problems are left that a person must solve."""
        report = self.state.report
        scanned = self.first_scan_done and self.scanner.idle and not report.reading
        refused = self._folder_failures > 1  # a failure that was only once may be over
        if not (scanned or refused) or self._is_refused:
            return scanned or refused
        troubles = any(not p.minor for p in report.problems) or report.error
        return (
            not any(p.trying for p in self.policies.values() if p.work in {"send", "transfer"})
            # What an earlier run could not transfer is no reason before it was tried again.
            and (self._transferred_at > self._pass_at or not self.state.moving())
            and self._clean_poll_at > self._changed_at
            and bool(troubles or report.held_deletions)
        )

    @property
    def _is_refused(self) -> bool:
        """Whether the server, which answers, refuses this heap's news since the pass began."""
        receive = self.policies.get("receive")
        return (
            receive is not None
            and not receive.trying
            and "receive" in self.state.report.blockers
            and receive.failed_s > self._pass_at
        )

    def away(self, for_s: float) -> TryLater | None:
        """Return the server's last error if one kind of work kept failing for ``for_s`` seconds.

        It does not matter whether other work succeeded. None if no work failed that long.
        """
        began = time.monotonic() - for_s
        return next(
            (
                p.last
                for p in self.policies.values()
                if p.since_s is not None
                and p.since_s < began
                and not p.trying
                and isinstance(p.last, TryLater)
            ),
            None,
        )

    @property
    def alive(self) -> bool:
        """Return whether every loop reported lately; a hanging loop starves the watchdog."""
        now = time.monotonic()
        return all(now - at < HUNG_S for at in self._turned.values())

    def wake(self) -> None:
        """Poll and send at once: the machine was suspended."""
        self._retry_now.set()
        self.state.wake.pull.set()
        self.state.wake.push.set()
        self.state.wake.transfer.set()

    async def begin_pass(self) -> None:
        """Look at everything again, as a process that starts does, also at what was put off."""
        self._pass_at, self._folder_failures = time.monotonic(), 0
        self._note_change()  # only a poll from now on proves that there is no news
        self.state.transfers.put_off.clear()
        for policy in self.policies.values():
            if policy.since_s is not None:
                policy.since_s = self._pass_at
        await retry_problems(self.state)
        self.state.request_rescan()
        self.wake()

    async def _rest(self, work: str, *events: asyncio.Event, timeout_s: float | None) -> None:
        """Wait for an event or a time, and report now and then that this loop is alive."""
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._turned[work] = time.monotonic()
            left = end - time.monotonic()
            if left <= 0 or self.stop.is_set() or any(e.is_set() for e in events):
                return
            await first_of(*events, self.stop, timeout_s=min(left, TURN_S))

    def _note_change(self) -> None:
        self._changed_at = time.monotonic()

    # ---- the folder ------------------------------------------------------------------------

    async def _watch(self) -> None:
        async for hint in watch(self.state.disk.root, self.stop, self._rearm):
            if hint.everything:
                self.state.report.watch_problem = hint.trouble
            self.state.report.reading = True  # never "in sync" with a change unread
            self.scanner.hint(hint.paths, everything=hint.everything)
            self._hinted.set()

    async def _folder(self) -> None:
        await self._rest("folder", self._blocks_known, timeout_s=None)
        timing = self.state.timing
        audit_at = time.monotonic() + timing.audit_s
        while not self.stop.is_set():
            self._hinted.clear()
            self.state.wake.publish.clear()
            self.scanner.hint(self.state.problems.unread("scan", "read"))
            try:
                await self._scan_and_publish()
                self.state.report.blockers.pop("folder", None)
                self._folder_failures = 0
            except FolderTrouble as error:
                self.state.report.blockers["folder"] = str(error)
                log.warning("cannot sync folder", heap=self.state.report.title, reason=str(error))
                self._folder_failures += 1
                self.scanner.hint((), everything=True)
                # What failed may have set it: only what comes from now on ends the pause.
                self.state.wake.publish.clear()
                await self._rest(
                    "folder", self.state.wake.publish, timeout_s=timing.trouble_again_s
                )
                continue
            await self.state.count()
            self.state.report.reading = self.state.wake.scan_all or not self.scanner.idle
            if time.monotonic() > audit_at:
                audit_at = time.monotonic() + timing.audit_s
                if self.scanner.idle and await missed(self.state):
                    self._rearm.set()
                self.scanner.hint((), everything=True)
                await retry_problems(self.state)
                await audit_notes(self.state)
                acks = self.state.link.recent_acks
                await compact_logs(self.state.db, self.state.id, self.state.lock, acks)
                await self.state.tidy()
            due = self.scanner.next_due_s()
            # Some problems end without a change in the folder (a full disk, for example).
            again = timing.trouble_again_s if self.state.problems.wait() else timing.audit_s
            left = max(0.05, audit_at - time.monotonic())
            timeout = min(due if due is not None else timing.audit_s, again, left)
            if timeout > 0:
                await self._rest(
                    "folder", self._hinted, self.state.wake.publish, timeout_s=timeout
                )

    async def _scan_and_publish(self) -> None:
        state, first = self.state, not self.first_scan_done
        if await check_folder(state):
            self.scanner.start_over()
        if state.wake.scan_all:
            state.wake.scan_all = False
            self.scanner.hint((), everything=True)
        was_idle = self.scanner.idle
        again: set[str] = set()
        shut = state.problems.unread("scan")
        with state.problems.new_pass("write"):
            decided = await carry_out.carry_out(state, again)
            await (self.scanner.scan_first() if first else self.scanner.scan())
            if first:
                # Before publishing: a new version may read files otherwise than an older one.
                await reread_once(state)
            wrote = await publish(state, again, everything=first) or decided
            await holds.release_obsolete(state)
            async with state.lock:
                await update_placeholders(state)
        if shut - state.problems.unread("scan"):
            self._rearm.set()  # a directory that could not be read could not be watched
        self.scanner.rescan_soon(again)
        if wrote or not was_idle:
            self._note_change()
        if first:
            self.first_scan_done = True
            await state.db.write(lambda tx: heaps.set_mirrored(tx, state.id))
            state.wake.push.set()
            state.wake.transfer.set()
            await state.count()
            self.on_first_scan()

    # ---- the server ------------------------------------------------------------------------

    async def _receive(self) -> None:
        policy = self.policies.setdefault(
            "receive", RetryPolicy(self.state, "receive", proves=True)
        )
        rows = await self.state.db.read(heaps.load_all)
        mirrored = any(r.id == self.state.id and r.mirrored for r in rows)
        if mirrored:
            # Read edits after the server's news, if it answers in time: with a cache from a
            # backup, edits that were already sent would look new.
            asyncio.get_running_loop().call_later(self.state.timing.news_s, self._blocks_known.set)
        news = False
        await retry_problems(self.state)
        await resume(self.state)

        async def step() -> None:
            nonlocal news
            await check_oversized(self.state)
            at = time.monotonic()
            news = await poll(self.state)
            self.state.link.poll_took_s = time.monotonic() - at
            await show_newest(self.state)
            await pull(self.state, everything=not self.first_scan_done)
            news = await write_again(self.state) or news
            if not news:
                self._clean_poll_at = at
            else:
                self._note_change()

        while not self.stop.is_set():
            asked = self.state.wake.pull.is_set() or not self._blocks_known.is_set()
            self.state.wake.pull.clear()
            self._retry_now.clear()
            worked = await policy.attempt(step)
            if worked or mirrored:
                self._blocks_known.set()
            if news or asked or not worked:
                await self.state.count()
            if worked:
                pause_s = varied_s(self.poll_interval_s)
                if news:
                    pause_s = min(self.state.timing.moving_s, pause_s)
                if self.state.account.waited_for:
                    pause_s = min(self.state.timing.once_poll_s, pause_s)
                await self._rest("receive", self.state.wake.pull, timeout_s=pause_s)
            else:
                await self._rest(
                    "receive", self._retry_now, *policy.wake_events(), timeout_s=policy.pause_s()
                )

    async def _until_current(self) -> None:
        """Wait until the server's news is received."""
        if not self.state.link.current.is_set():
            self.state.wake.pull.set()
            await first_of(self.state.link.current, self.stop)

    async def _send(self) -> None:
        policy = self.policies.setdefault("send", RetryPolicy(self.state, "send"))

        async def step() -> None:
            if await push(self.state):
                self._note_change()
                self.state.wake.transfer.set()

        await first_of(self._blocks_known, self.stop)
        self.state.wake.push.set()
        while not self.stop.is_set():
            await first_of(self.state.wake.push, self.stop)
            policy.trying = True  # waiting for the news counts
            # The last poll may be old: poll before each push. A server that never tells of its
            # changes compares versions itself, and a push over a newer one is "stale".
            is_told = self.state.link.hears_of(self.state.index.sendable())
            if self.state.dialect.live and not is_told and unsent(self.state):
                self.state.link.outdate()
            await self._until_current()
            if self.stop.is_set():
                return
            self.state.wake.push.clear()
            if not await policy.attempt(step):
                self.state.wake.push.set()
                await self._wait_after_failure(policy)
            await self.state.count()

    async def _transfer(self) -> None:
        policy = self.policies.setdefault("transfer", RetryPolicy(self.state, "transfer"))

        async def step() -> None:
            if await transfer(self.state):
                self._note_change()
                self.state.wake.pull.set()
                self.state.wake.publish.set()  # remove placeholders of downloaded files

        while not self.stop.is_set():
            again_s = self.state.timing.transfer_again_s
            await first_of(self.state.wake.transfer, self.stop, timeout_s=again_s)
            await self._until_current()
            self.state.wake.transfer.clear()
            if self.stop.is_set():
                return
            is_done = await policy.attempt(step)
            self._transferred_at = time.monotonic()
            if not is_done:
                await self._wait_after_failure(policy)
                self.state.wake.transfer.set()
            await self.state.count()

    async def _follow(self) -> None:
        if self.live == "off":
            return
        await first_of(self._blocks_known, self.stop)
        policy = self.policies.setdefault("follow", RetryPolicy(self.state, "follow"))
        while not self.stop.is_set():
            if not await policy.attempt(lambda: follow(self.state, FOLLOWED[self.live])):
                await self._wait_after_failure(policy)
            await first_of(self.stop, timeout_s=self.state.timing.follow_again_s)

    async def _wait_after_failure(self, policy: RetryPolicy) -> None:
        """Pause after a failure, then poll: news comes before anything is sent."""
        await first_of(
            self.stop, self._retry_now, *policy.wake_events(), timeout_s=policy.pause_s()
        )
        self.state.wake.pull.set()
