"""One heap kept mirrored: the tasks that watch, read, write, pull, push, follow and transfer."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from heapsyncd.backoff import first_of
from heapsyncd.cache import heaps
from heapsyncd.config import Live
from heapsyncd.errors import FolderTrouble, TryLater
from heapsyncd.folder.watch import watch
from heapsyncd.sync.deletions.holds import carry_out, settle
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.placeholders import settle_placeholders
from heapsyncd.sync.publish import publish
from heapsyncd.sync.pull.delta_feed import poll
from heapsyncd.sync.pull.log_compaction import fold_logs
from heapsyncd.sync.pull.pull import follow, pull
from heapsyncd.sync.pull.retry_problems import ask_again
from heapsyncd.sync.push.oversized import look_again
from heapsyncd.sync.push.push import push, unsent
from heapsyncd.sync.push.transfers import transfer
from heapsyncd.sync.runtime.retry import RetryPolicy
from heapsyncd.sync.scan.scanner import Scanner
from heapsyncd.sync.scan.watch_audit import missed
from heapsyncd.tasks import TaskGroup

log = structlog.get_logger()

FOLLOWED: Final = {"all": 2000, "recent": 200, "off": 0}
"""How many notes are followed over the live connection."""
AUDIT_S: Final = 600.0
"""How often the whole folder is compared, in case the watch missed something."""
MOVING_S: Final = 1.0
"""The delta feed is polled at least this often while things move."""
NEWS_S: Final = 3.0
"""At a start, edits wait so long for the server's news."""
TROUBLE_AGAIN_S: Final = 5.0
"""How soon what the folder or the disk refused is tried again."""
TRANSFER_AGAIN_S: Final = 30.0
FOLLOW_AGAIN_S: Final = 1.0
TURN_S: Final = 10.0
"""A waiting loop comes round this often."""
HUNG_S: Final = 100.0
"""A loop that did not come round for so long hangs. Transfers and pushes may take longer."""


@dataclass
class HeapMirror:
    """Keeps one heap mirrored until ``stop`` is set.

    Args:
        state: what its parts share.
        intake: where the folder's changes are looked for.
        poll_interval_s: between requests for changes while nothing moves.
        live: which notes are followed.
        stop: ends it; the action at hand is finished.
        looked: called once the first look at the folder is through.
    """

    state: HeapContext
    intake: Scanner
    poll_interval_s: float
    live: Live
    stop: asyncio.Event
    looked: Callable[[], None]
    first_look: bool = False
    trouble: dict[str, RetryPolicy] = field(default_factory=dict)
    _hinted: asyncio.Event = field(default_factory=asyncio.Event)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the pauses after failures: things may be otherwise now."""
    _listed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server's blocks are known, so that a file can be told from a new one."""
    _rearm: asyncio.Event = field(default_factory=asyncio.Event)
    _turned: dict[str, float] = field(default_factory=dict)
    _clean_poll_at: float = -1.0
    _changed_at: float = 0.0

    async def run(self) -> None:
        """Mirror; trouble with the server or the folder is reported and waited out."""
        async with TaskGroup() as group:
            for work in (self._watch, self._folder, self._receive, self._send, self._transfer):
                group.create_task(work())
            following = group.create_task(self._follow())
            await self.stop.wait()
            following.cancel()

    @property
    def settled(self) -> bool:
        """Whether folder and server agree, as far as anybody can know: a poll after the last
        change said so.
        """
        return (
            self.first_look
            and self.intake.idle
            and not self.state.report.left()
            and self._clean_poll_at > self._changed_at
        )

    @property
    def stuck(self) -> bool:
        """Whether only what a person must mend is left."""
        report = self.state.report
        return (
            self.first_look
            and self.intake.idle
            and not report.reading
            and not any(p.trying for p in self.trouble.values() if p.work in {"send", "transfer"})
            and self._clean_poll_at > self._changed_at
            and bool(
                any(not p.minor for p in report.problems) or report.error or report.held_deletions
            )
        )

    def away(self, for_s: float) -> Exception | None:
        """What the server answered when some work with it failed for so long, whatever else it
        answered meanwhile; None when none did.
        """
        began = time.monotonic() - for_s
        return next(
            (
                p.last
                for p in self.trouble.values()
                if p.since_s is not None
                and p.since_s < began
                and not p.trying
                and isinstance(p.last, TryLater)
            ),
            None,
        )

    @property
    def alive(self) -> bool:
        """Whether every loop came round lately; one that hangs keeps the watchdog unfed."""
        now = time.monotonic()
        return all(now - at < HUNG_S for at in self._turned.values())

    def wake(self) -> None:
        """The machine was suspended: hear the server's news now, and send ours."""
        self._awake.set()
        self.state.wake.pull.set()
        self.state.wake.push.set()
        self.state.wake.transfer.set()

    async def _rest(self, work: str, *events: asyncio.Event, timeout_s: float | None) -> None:
        """Wait for one of the events or the time to be over, coming round now and then."""
        end = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._turned[work] = time.monotonic()
            left = end - time.monotonic()
            if left <= 0 or self.stop.is_set() or any(e.is_set() for e in events):
                return
            await first_of(*events, self.stop, timeout_s=min(left, TURN_S))

    def _moved(self) -> None:
        self._changed_at = time.monotonic()

    # ---- the folder ------------------------------------------------------------------------

    async def _watch(self) -> None:
        async for hint in watch(self.state.disk.root, self.stop, self._rearm):
            if hint.everything:
                self.state.report.watch_trouble = hint.trouble
            self.state.report.reading = True  # never "in sync" with a change unread
            self.intake.hint(hint.paths, everything=hint.everything)
            self._hinted.set()

    async def _folder(self) -> None:
        await self._rest("folder", self._listed, timeout_s=None)
        audit_at = time.monotonic() + AUDIT_S
        while not self.stop.is_set():
            self._hinted.clear()
            self.state.wake.publish.clear()
            self.intake.hint(self.state.problems.unread("scan", "read"))
            try:
                await self._look_and_publish()
                self.state.report.ails.pop("folder", None)
            except FolderTrouble as error:
                self.state.report.ails["folder"] = str(error)
                log.warning("folder trouble", heap=self.state.report.title, reason=str(error))
                self.intake.hint((), everything=True)
                await self._rest("folder", timeout_s=TROUBLE_AGAIN_S)
                continue
            await self.state.count()
            self.state.report.reading = self.state.wake.scan_all or not self.intake.idle
            if time.monotonic() > audit_at:
                audit_at = time.monotonic() + AUDIT_S
                if self.intake.idle and await missed(self.state):
                    self._rearm.set()
                self.intake.hint((), everything=True)
                await ask_again(self.state)
                await fold_logs(self.state.db, self.state.id, self.state.lock)
                self.state.tidy()
            due = self.intake.next_due_s()
            # Trouble with a file may end without a sign in the folder (space on the disk, say).
            again = TROUBLE_AGAIN_S if self.state.problems.wait() else AUDIT_S
            left = max(0.05, audit_at - time.monotonic())
            timeout = min(due if due is not None else AUDIT_S, again, left)
            if timeout > 0:
                await self._rest(
                    "folder", self._hinted, self.state.wake.publish, timeout_s=timeout
                )

    async def _look_and_publish(self) -> None:
        state, first = self.state, not self.first_look
        if await state.disk.marker() != state.id:
            raise FolderTrouble(
                f"{state.disk.root} has no .heapsyncd marker of this heap: is the disk mounted?"
                " Nothing is treated as deleted until it is back."
            )
        if state.wake.scan_all:
            state.wake.scan_all = False
            self.intake.hint((), everything=True)
        was_idle = self.intake.idle
        again: set[str] = set()
        shut = state.problems.unread("scan")
        with state.problems.anew("write"):
            decided = await carry_out(state, again)
            await (self.intake.look_first() if first else self.intake.look())
            wrote = await publish(state, again, everything=first) or decided
            await settle(state)
            async with state.lock:
                await settle_placeholders(state)
        if shut - state.problems.unread("scan"):
            self._rearm.set()  # a directory that could not be read could not be watched
        self.intake.look_again(again)
        if wrote or not was_idle:
            self._moved()
        if first:
            self.first_look = True
            await state.db.write(lambda tx: heaps.set_mirrored(tx, state.id))
            state.wake.push.set()
            state.wake.transfer.set()
            await state.count()
            self.looked()

    # ---- the server ------------------------------------------------------------------------

    async def _receive(self) -> None:
        policy = self.trouble.setdefault(
            "receive", RetryPolicy(self.state, "receive", proves=True)
        )
        rows = await self.state.db.read(heaps.load_all)
        mirrored = any(r.id == self.state.id and r.mirrored for r in rows)
        if mirrored:
            # Edits are read with the server's news known, if there is a server: a cache that came
            # from a backup would take what is sent already for new.
            asyncio.get_running_loop().call_later(NEWS_S, self._listed.set)
        news = False
        await ask_again(self.state)

        async def step() -> None:
            nonlocal news
            at = time.monotonic()
            await look_again(self.state)
            news = await poll(self.state)
            await pull(self.state, everything=not self.first_look)
            if not news:
                self._clean_poll_at = at
            else:
                self._moved()

        while not self.stop.is_set():
            asked = self.state.wake.pull.is_set() or not self._listed.is_set()
            self.state.wake.pull.clear()
            self._awake.clear()
            worked = await policy.attempt(step)
            if worked or mirrored:
                self._listed.set()
            if news or asked or not worked:
                await self.state.count()
            if worked:
                pause = min(MOVING_S, self.poll_interval_s) if news else self.poll_interval_s
                await self._rest("receive", self.state.wake.pull, timeout_s=pause)
            else:
                await self._rest(
                    "receive", self._awake, *policy.wake_events(), timeout_s=policy.pause_s()
                )

    @property
    def _hears_at_once(self) -> bool:
        """Whether a live link tells what happens to each note."""
        live = self.state.link.live
        return live is not None and live.connected and self.state.link.follows_all

    async def _in_touch(self) -> None:
        """Wait until what the server has to say is known here."""
        if not self.state.link.current.is_set():
            self.state.wake.pull.set()
            await first_of(self.state.link.current, self.stop)

    async def _send(self) -> None:
        policy = self.trouble.setdefault("send", RetryPolicy(self.state, "send"))

        async def step() -> None:
            if await push(self.state):
                self._moved()
                self.state.wake.transfer.set()

        await first_of(self._listed, self.stop)
        self.state.wake.push.set()
        while not self.stop.is_set():
            await first_of(self.state.wake.push, self.stop)
            policy.trying = True  # also while it waits for the news
            if not self._hears_at_once and unsent(self.state):
                self.state.link.lost()  # the last news may be old: ask before each push
            await self._in_touch()
            if self.stop.is_set():
                return
            self.state.wake.push.clear()
            if not await policy.attempt(step):
                self.state.wake.push.set()
                await self._wait_out(policy)
            await self.state.count()

    async def _transfer(self) -> None:
        policy = self.trouble.setdefault("transfer", RetryPolicy(self.state, "transfer"))

        async def step() -> None:
            if await transfer(self.state):
                self._moved()
                self.state.wake.pull.set()
                self.state.wake.publish.set()  # placeholders of what is here now go

        while not self.stop.is_set():
            await first_of(self.state.wake.transfer, self.stop, timeout_s=TRANSFER_AGAIN_S)
            await self._in_touch()
            self.state.wake.transfer.clear()
            if self.stop.is_set():
                return
            if not await policy.attempt(step):
                await self._wait_out(policy)
                self.state.wake.transfer.set()
            await self.state.count()

    async def _follow(self) -> None:
        if self.live == "off":
            return
        await first_of(self._listed, self.stop)
        policy = self.trouble.setdefault("follow", RetryPolicy(self.state, "follow"))
        while not self.stop.is_set():
            if not await policy.attempt(lambda: follow(self.state, FOLLOWED[self.live])):
                await self._wait_out(policy)
            await first_of(self.stop, timeout_s=FOLLOW_AGAIN_S)

    async def _wait_out(self, policy: RetryPolicy) -> None:
        """Wait after a failure; then the news has to be heard before anything is sent."""
        await first_of(self.stop, self._awake, *policy.wake_events(), timeout_s=policy.pause_s())
        self.state.wake.pull.set()
