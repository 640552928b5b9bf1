"""Keep one account mirrored: start its mirror, and restart it after trouble."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog

from heapsyncd.backoff import first_of
from heapsyncd.config import Account
from heapsyncd.errors import (
    CacheClosed,
    ConfigError,
    HeapsyncdError,
    expected_error,
    for_people,
)
from heapsyncd.sync.heap.timing import Timing
from heapsyncd.sync.report import Commands, Report, Verdict

LOOK_S = 0.05
"""How often to look whether the mirror has started."""
STOPPED = "The daemon was stopped or reloaded during the repair; run it again."

_log = structlog.get_logger("heapsyncd.daemon")


class Mirror(Protocol):
    """Mirrors one account: ``sync.runtime.account.mirror_account`` or a test double."""

    async def __call__(
        self,
        account: Account,
        state_dir: Path,
        report: Report,
        *,
        once: bool,
        stop: asyncio.Event,
        timeout_s: float | None = None,
        ready: Callable[[], None],
        timing: Timing,
    ) -> Verdict:
        """Mirror until ``stop`` is set, or with ``once`` for one pass. Raises on trouble."""
        ...


class Supervisor:
    """Runs one account in the daemon.

    Args:
        account: what to mirror, including the key or password.
        state_dir: the directory of its cache.
        report: updated by the mirror, and by the supervisor while the mirror is down.
        ready: called, possibly many times, once the first scan is planned or the account is in
            trouble. An account in trouble must not keep the others waiting.
        mirror: mirrors the account.
        timing: the waits and pauses.
    """

    def __init__(
        self,
        account: Account,
        state_dir: Path,
        report: Report,
        ready: Callable[[], None],
        mirror: Mirror,
        timing: Timing,
    ) -> None:
        self.account = account
        self.report = report
        self.ready = False
        self._state_dir = state_dir
        self._on_ready = ready
        self._mirror = mirror
        self._timing = timing
        self._stop = asyncio.Event()
        self._end = asyncio.Event()
        """Ends the mirror that runs now, and no other."""
        self._turn = asyncio.Lock()
        """Held by the mirror, or by who wants none to run."""
        self._rests = 0
        """How many want none to run."""
        self._limit: asyncio.Timeout | None = None
        """Cancels the mirror that runs now."""
        self._retry_now = asyncio.Event()
        self._ends = 0
        """How often the mirror has ended."""
        self._exit_code = 1
        """Of what ended it last."""

    def stop(self) -> None:
        """Ask the mirror to finish its current action and end."""
        self._stop.set()
        self._end.set()
        self._retry_now.set()

    def try_again(self) -> None:
        """End the pause of an account in trouble. Has no effect on other accounts."""
        self._retry_now.set()

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Have no mirror of this account while the context is open; its cache is closed.

        A mirror that does not end within ``timing.close_s`` is cancelled, as at the daemon's end.

        Raises:
            HeapsyncdError: the account was stopped; another supervisor may mirror it next.
        """
        self._rests += 1
        self.report.rests = True
        self._end.set()
        if self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._timing.close_s)
        try:
            async with self._turn:
                if self._stop.is_set():
                    raise HeapsyncdError(STOPPED)
                yield
        finally:
            self._rests -= 1
            self.report.rests = self._rests > 0

    async def full_pass(self, timeout_s: float | None) -> Verdict:
        """Have the mirror do a full pass both ways; one that is down in trouble tries again.

        If a repair comes in between, the mirror that follows does it.
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        ends = self._ends
        self.try_again()
        while True:
            while (commands := self.report.commands) is None:
                left_s = None if end_s is None else end_s - time.monotonic()
                is_over = left_s is not None and left_s <= 0
                if self._ends != ends or self._stop.is_set() or is_over:
                    reason = self.report.error or "the account did not start in time"
                    return Verdict(self.report.state, self._exit_code, (reason,))
                await first_of(self._stop, timeout_s=LOOK_S)
            verdict = await self._pass_of(commands, end_s)
            is_rest = self._end.is_set() or self.report.commands is not commands
            if self._stop.is_set() or not is_rest:
                return verdict
            while self.report.commands is commands and not self._stop.is_set():  # it ends now
                await first_of(self._stop, timeout_s=LOOK_S)

    async def _pass_of(self, commands: Commands, end_s: float | None) -> Verdict:
        self.report.waited_for += 1
        try:
            return await commands.full_pass(
                None if end_s is None else max(0.0, end_s - time.monotonic())
            )
        except CacheClosed as error:  # the mirror ended meanwhile, and is in no trouble
            return Verdict("syncing", error.exit_code, (str(error),))
        except HeapsyncdError as error:
            self.report.failed(error)
            return Verdict(self.report.state, error.exit_code, (for_people(error),))
        finally:
            self.report.waited_for -= 1

    async def run(self) -> None:
        """Mirror until ``stop``.

        Raises:
            ConfigError: trouble that waiting cannot fix.
        """
        failures = 0
        while not self._stop.is_set():
            await self._until_free()
            async with self._turn:
                if self._stop.is_set():
                    return
                self._end.clear()
                started_s = time.monotonic()
                self.report.error, self.report.refused = None, False
                await self._mirror_once()
            if self._end.is_set() and not self._stop.is_set():
                continue  # it was asked to rest, and is in no trouble
            self._ends += 1
            self._set_ready()
            failures = 1 if time.monotonic() - started_s > self._timing.stable_s else failures + 1
            chance = random.random()  # noqa: S311 - jitter
            await self._pause(self._timing.restart.pause_s(failures, chance))

    async def _mirror_once(self) -> None:
        """Run the mirror once and record what ended it."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limit = limit
                await self._mirror(
                    self.account,
                    self._state_dir,
                    self.report,
                    once=False,
                    stop=self._end,
                    ready=self._set_ready,
                    timing=self._timing,
                )
        except Exception as error:
            if limit.expired():
                _log.warning(
                    "mirror cancelled: it did not finish in time", account=self.account.name
                )
                return
            # A bug in one account's mirror must not end the others.
            cause = expected_error(error)
            if isinstance(cause, ConfigError):
                raise cause from error
            self._exit_code = 1 if cause is None else cause.exit_code
            if cause is None:
                _log.exception("mirror failed", account=self.account.name)
                self.report.error = (
                    f"internal error: {type(error).__name__}; the log has the details"
                )
            else:
                self.report.failed(cause)
                _log.warning("mirror stopped", account=self.account.name, reason=str(cause))
        finally:
            self._limit = None

    async def _until_free(self) -> None:
        """Wait until a mirror may run, feeding the watchdog."""
        # Whoever waits for the turn is given it first; the lock is not held in between.
        while self._rests and not self._stop.is_set():
            self.report.alive()
            await first_of(self._stop, timeout_s=LOOK_S)

    async def _pause(self, pause_s: float) -> None:
        """Wait until the time is up, ``stop`` or ``try_again``, feeding the watchdog."""
        end_s = time.monotonic() + pause_s
        self._retry_now.clear()
        while not self._stop.is_set() and (left_s := end_s - time.monotonic()) > 0:
            self.report.alive()
            await first_of(self._retry_now, timeout_s=min(left_s, 1.0))
            if self._retry_now.is_set():
                return

    def _set_ready(self) -> None:
        self.ready = True
        self._on_ready()
