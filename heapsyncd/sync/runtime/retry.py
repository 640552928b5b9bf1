"""Retry work with the server that failed: report the reason, wait, try again."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import structlog

from heapsyncd.backoff import Lane
from heapsyncd.errors import (
    HeapsyncdError,
    PeerError,
    SignInRefused,
    TryLater,
    expected_error,
    for_people,
)
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.report import until_ms

Work = Literal["send", "receive", "transfer", "follow"]
_CONSEQUENCES: Final[Mapping[Work, str]] = {
    "send": "edits are not sent",
    "receive": "changes are not received",
    "transfer": "files are not transferred",
    "follow": "changes are not followed live",
}
"""What it means for people when a kind of work fails."""

log = structlog.get_logger()


class RetryPolicy(Lane):
    """The retries of one kind of work of one heap.

    Args:
        heap: whose report shows the failure.
        work: the kind of work.
        proves: success proves that the server can be reached; other work may have had nothing to
            do.
    """

    def __init__(self, heap: HeapContext, work: Work, *, proves: bool = False) -> None:
        super().__init__(heap.backend.contact)
        self.work = work
        self.trying = False
        """Whether an attempt is running: the report may be incomplete."""
        self.since_s: float | None = None
        """Since when no attempt succeeded (monotonic); None: the last one did."""
        self.failed_s = -math.inf
        """When the last failure was (monotonic)."""
        self._heap = heap
        self._proves = proves

    async def attempt(self, step: Callable[[], Awaitable[object]]) -> bool:
        """Run the step; return whether it succeeded. After a failure, wait for ``pause_s``."""
        self.trying, breaks = True, self._heap.link.breaks
        try:
            await step()
        except (TryLater, SignInRefused, PeerError, BaseExceptionGroup) as error:
            cause = expected_error(error)
            if not isinstance(cause, TryLater | SignInRefused | PeerError):
                raise
            self.failed(cause)
            return False
        finally:
            self.trying = False
        if self.failures:
            log.info("server work succeeds again", heap=self._heap.report.title, work=self.work)
        if self._proves and self._heap.account.error:
            log.info("server answers again", account=self._heap.account.name)
        self.worked()
        self.since_s = None
        self._heap.report.blockers.pop(self.work, None)
        self._heap.report.waits.pop(self.work, None)
        if self._proves:
            account = self._heap.account
            account.connected, account.refused, account.error = True, False, None
            self._heap.in_touch(breaks)
        return True

    def failed(self, error: Exception) -> None:
        """Report a failed attempt: for the whole account, or for this heap only."""
        super().failed(error)
        self.failed_s = time.monotonic()
        self.since_s = self.since_s or self.failed_s
        self._heap.report.blockers.pop(self.work, None)
        self._heap.report.waits.pop(self.work, None)
        if (until := until_ms(error)) is not None:
            self._heap.report.waits[self.work] = until
        self._heap.link.lost()
        account = self._heap.account
        # Every kind of work fails in an outage, again and again: it is told once.
        is_known = account.error is not None or self.failures > 1
        if isinstance(error, SignInRefused | TryLater):
            account.failed(error)
        else:
            # Only this heap is affected: the others go on.
            self._heap.report.blockers[self.work] = f"{_CONSEQUENCES[self.work]}: {error}"
        say = log.debug if is_known else log.warning
        say(
            "server work failed",
            heap=self._heap.report.title,
            work=self.work,
            reason=for_people(error) if isinstance(error, HeapsyncdError) else str(error),
        )
