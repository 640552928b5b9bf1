"""Waiting for a server: how long after failures in a row, and what ends a wait before its time.

Several *lanes* work with one server: a heap's receiving, sending, transfers and live connection,
the account's list of heaps. Each counts its own failures. What one of them hears concerns all of
them: a sign of life (``Contact.heard``) ends the pauses of all lanes that failed since the server
was last heard. A lane that fails after that has a trouble of its own (one route, one proxy rule):
it waits its own pauses out until it works, so that a server which answers everything else is not
asked again with every answer.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from heapsyncd.errors import ServerTrouble, SignInRefused, TooFast, TryLater


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after failures in a row.

    Args:
        first_s: the longest wait after the first failure; it doubles with each further one.
        limit_s: the longest wait ever.
        least: the share of the longest wait that is always waited: 0 spreads clients over all of
            it (full jitter); more is for calls that must stay rare.
    """

    first_s: float
    limit_s: float
    least: float = 0.0

    def bound_s(self, failures: int) -> float:
        """The longest wait after so many failures, from 1."""
        return min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 30))

    def pause_s(self, failures: int, chance: float) -> float:
        """A wait; ``chance`` is uniform in 0 to 1."""
        return self.bound_s(failures) * (self.least + (1.0 - self.least) * chance)


SERVER: Final = Backoff(1.0, 15.0)
"""After outages and 5xx. The limit is in the range of a quiet mirror's polls, so that an outage
costs about as many requests as its absence, and no pause outlasts it by much."""
REFUSED: Final = Backoff(10.0, 60.0, least=0.5)
"""After refusals (of an account, of a heap), which a person has to end."""


class Contact:
    """The one place that knows when a server was heard, shared by all lanes of an account."""

    def __init__(self) -> None:
        self.signs = 0
        """How many signs of life there were."""
        self.next = asyncio.Event()
        """Set by the next sign of life; another event stands here then."""

    def heard(self) -> None:
        """The server answered as it should."""
        self.signs += 1
        self.next.set()
        self.next = asyncio.Event()


class Lane:
    """The failures in a row of one kind of work, and the pauses they ask for.

    Args:
        contact: the server's.
        chance: uniform in 0 to 1.
    """

    def __init__(self, contact: Contact, chance: Callable[[], float] = random.random) -> None:
        self.failures = 0
        self.last: Exception | None = None
        """What it failed with; None: it works."""
        self._contact = contact
        self._chance = chance
        self._signs = 0
        self._heard = contact.next
        self._alone = False
        """Whether it failed although the server was heard meanwhile."""

    def worked(self) -> None:
        """The last attempt worked."""
        self.failures, self.last, self._alone = 0, None, False

    def failed(self, error: Exception) -> None:
        """The last attempt failed."""
        if not self.failures:
            self._signs = self._contact.signs
        elif not self._alone and self._signs != self._contact.signs:
            # Another trouble than the silence before: its pauses begin small.
            self._alone, self.failures = True, 0
        self.failures += 1
        self.last = error
        self._heard = self._contact.next

    def pause_s(self) -> float:
        """How long to wait before the next attempt; 0 when the last one worked."""
        if self.last is None:
            return 0.0
        policy = SERVER if isinstance(self.last, TryLater) else REFUSED
        pause = policy.pause_s(self.failures, self._chance())
        return max(pause, _asked_s(self.last) or 0.0)

    def ends(self) -> tuple[asyncio.Event, ...]:
        """What ends the pause before its time: a sign of life, unless the server asked for the
        pause, refused what was asked, or answers all but this.
        """
        waits = isinstance(self.last, TryLater | SignInRefused) and _asked_s(self.last) is None
        return (self._heard,) if waits and not self._alone else ()


def _asked_s(error: Exception) -> float | None:
    """How long the server asked to wait; None: it did not."""
    return error.retry_after_s if isinstance(error, TooFast | ServerTrouble) else None


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set, or the time is over."""
    if any(e.is_set() for e in events):
        return
    waits = [asyncio.ensure_future(e.wait()) for e in events]
    try:
        if waits:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(timeout_s or 0.0)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
