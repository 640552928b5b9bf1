"""One account kept mirrored: starts its mirror, and starts it again after trouble."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog

from heapsyncd.backoff import Backoff, first_of
from heapsyncd.config import Account
from heapsyncd.errors import ConfigError, HeapsyncdError, SignInRefused, TryLater, meant
from heapsyncd.sync.report import Report, Verdict

PAUSES: Final = Backoff(5.0, 300.0, least=0.5)
"""How long an account pauses after trouble that ended its mirror."""
CALM_S: Final = 600.0
"""After so long without trouble the pauses begin small again."""

_log = structlog.get_logger("heapsyncd.daemon")


class Mirror(Protocol):
    """How one account is mirrored: ``sync.runtime.account.mirror_account``, or a stand-in."""

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
    ) -> Verdict:
        """Mirror until ``stop`` is set (``once``: for one pass); trouble is raised."""
        ...


class Supervisor:
    """One account's life in the daemon.

    Args:
        account: what to mirror, key included.
        state_dir: where its cache lives.
        report: kept current by the mirror, and by the supervisor while the mirror is down.
        ready: called (any number of times) once the first scan is planned, or the account is in
            trouble, which must not keep the other accounts waiting.
        mirror: carries it out.
    """

    def __init__(
        self,
        account: Account,
        state_dir: Path,
        report: Report,
        ready: Callable[[], None],
        mirror: Mirror,
    ) -> None:
        self.account = account
        self.report = report
        self.ready = False
        self._state_dir = state_dir
        self._told_ready = ready
        self._mirror = mirror
        self._stop = asyncio.Event()
        self._again = asyncio.Event()

    def stop(self) -> None:
        """Ask the mirror to finish the action at hand and end."""
        self._stop.set()
        self._again.set()

    def try_again(self) -> None:
        """End the pause of an account in trouble; an account without trouble goes on as it is."""
        self._again.set()

    async def run(self) -> None:
        """Mirror until ``stop``.

        Raises:
            ConfigError: trouble that no waiting mends.
        """
        failures = 0
        while not self._stop.is_set():
            started_s = time.monotonic()
            self.report.error, self.report.refused = None, False
            await self._mirror_once()
            self._set_ready()
            failures = 1 if time.monotonic() - started_s > CALM_S else failures + 1
            await self._pause(PAUSES.pause_s(failures, random.random()))  # noqa: S311 - jitter

    async def _mirror_once(self) -> None:
        try:
            await self._mirror(
                self.account,
                self._state_dir,
                self.report,
                once=False,
                stop=self._stop,
                ready=self._set_ready,
            )
        except Exception as error:
            # A bug met by one account must not end the others.
            cause = meant(error)
            if isinstance(cause, ConfigError):
                raise cause from error
            if cause is None:
                _log.exception("the mirror failed", account=self.account.name)
                self.report.error = f"internal error: {type(error).__name__}; the log says more"
            else:
                note_failure(self.report, cause)
                _log.warning("the mirror stopped", account=self.account.name, reason=str(cause))

    async def _pause(self, pause_s: float) -> None:
        """Wait, with signs of life, until the time is over, ``stop`` or ``try_again``."""
        end_s = time.monotonic() + pause_s
        self._again.clear()
        while not self._stop.is_set() and (left_s := end_s - time.monotonic()) > 0:
            self.report.alive()
            await first_of(self._again, timeout_s=min(left_s, 1.0))
            if self._again.is_set():
                return

    def _set_ready(self) -> None:
        self.ready = True
        self._told_ready()


def note_failure(report: Report, error: HeapsyncdError) -> None:
    """Let the report say what ended the mirror."""
    report.error = str(error)
    report.refused = isinstance(error, SignInRefused)
    report.connected = report.connected and not isinstance(error, TryLater)
