"""What to do when the server can't be reached, refuses, or talks nonsense: say so, wait, try
again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from heapsyncd.errors import (
    PeerError,
    ServerTrouble,
    SignInRefused,
    TooFast,
    TryLater,
    meant,
)
from heapsyncd.sync.state import HeapState

FIRST_S: Final = 1.0
LIMIT_S: Final = 60.0
"""Pauses are drawn from zero up to a bound that doubles from FIRST_S to LIMIT_S (full jitter)."""
REFUSED_S: Final = 5.0
"""A refused account is not asked more often than this."""

_SUFFERS: Final = {
    "send": "edits are not sent",
    "receive": "changes are not received",
    "transfer": "files are not transferred",
    "follow": "changes are not followed live",
}
"""What it means for people when a kind of work fails."""

log = structlog.get_logger()


@dataclass
class Patience:
    """How often in a row one kind of work failed, and how long to wait now.

    Args:
        heap: whose report tells of the trouble.
        work: what was tried, for the log.
        proves: whether success shows that the server can be reached (it may have had nothing to
            do).
    """

    heap: HeapState
    work: str
    proves: bool = False
    failures: int = 0
    last: Exception | None = field(default=None)
    trying: bool = False
    """An attempt is being made: what it meets may not be all."""

    async def attempt(self, step: Callable[[], Awaitable[object]]) -> bool:
        """Do the step; whether it worked. After a failure ``pause_s`` says how long to wait."""
        self.trying, breaks = True, self.heap.breaks
        try:
            await step()
        except (TryLater, SignInRefused, PeerError, BaseExceptionGroup) as error:
            cause = meant(error)
            if not isinstance(cause, TryLater | SignInRefused | PeerError):
                raise
            self._failed(cause)
            return False
        finally:
            self.trying = False
        if self.failures:
            log.info("works again", heap=self.heap.report.title, work=self.work)
        self.failures, self.last = 0, None
        account, heap = self.heap.account, self.heap.report
        if self.proves:
            account.connected, account.refused, account.error = True, False, None
            self.heap.in_touch(breaks)
        if heap.error is not None and heap.error.startswith(self._mark):
            heap.error = None
        return True

    @property
    def _mark(self) -> str:
        return f"{_SUFFERS.get(self.work, self.work)}: "

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.last = error
        self.heap.out_of_touch()
        self.heap.in_doubt = True
        account = self.heap.account
        if isinstance(error, SignInRefused):
            account.refused, account.error = True, str(error)
        elif isinstance(error, TryLater):
            account.connected, account.error = False, str(error)
        else:
            # This heap alone: the others go on.
            self.heap.report.error = f"{self._mark}{error}"
        log.warning("failed", heap=self.heap.report.title, work=self.work, reason=str(error))

    def pause_s(self) -> float:
        """How long to wait before the next attempt; 0 when the last one worked."""
        if self.last is None:
            return 0.0
        bound = min(LIMIT_S, FIRST_S * 2.0 ** min(self.failures, 10))
        pause = random.uniform(0.0, bound)  # noqa: S311 - jitter, not a secret
        if isinstance(self.last, TooFast | ServerTrouble) and self.last.retry_after_s is not None:
            return max(pause, self.last.retry_after_s)
        if isinstance(self.last, TryLater):
            return max(0.2, pause)
        return max(REFUSED_S, pause)


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, or the time is over."""
    if any(e.is_set() for e in events):
        return
    waits = [asyncio.ensure_future(e.wait()) for e in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
