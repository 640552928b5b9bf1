"""Back-off: how long to wait for a server after failures, and what ends a wait early.

Several *lanes* work with one server: a heap's receiving, sending, transfers and live connection,
and the account's list of heaps. Each lane counts its own failures, but news about the server
concerns all of them. A sign of life (``Contact.heard``) ends the pauses of every lane that has
failed since the server was last heard. A lane that fails even after that has a problem of its own
(one route, one proxy rule). It waits out its own pauses until it works, so that a server that
answers everything else is not asked again with every answer.

All installations notice an outage at the same moment. So no wait is the same for all of them, also
not one that a server asks for or that recurs: they would come back together, again and again.
"""

import asyncio
import math
import random
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from heapsyncd.errors import ServerTrouble, SignInRefused, TooFast, TryLater


class Backoff(Struct, frozen=True):
    """How long to wait after consecutive failures.

    Args:
        first_s: the longest wait after the first failure. It doubles with each further one.
        limit_s: the longest wait of all.
        min_share: the share of the longest wait that is always waited. 0 spreads clients over the
            whole time (full jitter). Use more for calls that must stay rare.
    """

    first_s: float
    limit_s: float
    min_share: float = 0.0

    def bound_s(self, failures: int) -> float:
        """Return the longest wait after this many failures, counted from 1."""
        return min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 30))

    def pause_s(self, failures: int, chance: float) -> float:
        """Return a wait; ``chance`` is uniform in 0 to 1."""
        return self.bound_s(failures) * (self.min_share + (1.0 - self.min_share) * chance)


_VARIES: Final = 0.25
"""The share of its length by which a wait that recurs is made longer or shorter."""
_LATER: Final = 0.5
"""The share of a wait that the server asks for by which it may be exceeded."""


def varied_s(wait_s: float, chance: Callable[[], float] = random.random) -> float:
    """Return a wait that recurs, such as between polls, made a little longer or shorter.

    Clients that were brought into step, by an outage for example, lose it again.
    """
    return wait_s * (1.0 + _VARIES * (2.0 * chance() - 1.0))


SERVER: Final = Backoff(1.0, 15.0)
"""After outages and 5xx.

The limit is about the poll interval of a quiet mirror. So an outage costs about as many requests
as normal operation, and no pause outlasts it by much.
"""
REFUSED: Final = Backoff(10.0, 60.0, min_share=0.5)
"""After refusals of an account or a heap, which only a person can end."""


class Contact:
    """Knows when a server was last heard. Shared by all lanes of an account."""

    def __init__(self) -> None:
        self.signs = 0
        """The number of signs of life so far."""
        self.next = asyncio.Event()
        """Set by the next sign of life, and then replaced by a new event."""

    def heard(self) -> None:
        """Record that the server answered properly."""
        self.signs += 1
        self.next.set()
        self.next = asyncio.Event()


class Lane:
    """The consecutive failures of one kind of work, and the pauses that follow from them.

    Args:
        contact: shared by all lanes to the server.
        chance: returns a number uniform in 0 to 1.
    """

    def __init__(self, contact: Contact, chance: Callable[[], float] = random.random) -> None:
        self.failures = 0
        self.last: Exception | None = None
        """The last error; None while the lane works."""
        self._contact = contact
        self._chance = chance
        self._signs = 0
        self._heard = contact.next
        self._alone = False
        """Whether the lane failed although the server was heard meanwhile."""

    def worked(self) -> None:
        """Record that the last attempt worked."""
        self.failures, self.last, self._alone = 0, None, False

    def failed(self, error: Exception) -> None:
        """Record that the last attempt failed."""
        if not self.failures:
            self._signs = self._contact.signs
        elif not self._alone and self._signs != self._contact.signs:
            # Not the outage from before but a problem of this lane: start with short pauses.
            self._alone, self.failures = True, 0
        self.failures += 1
        self.last = error
        self._heard = self._contact.next

    def pause_s(self) -> float:
        """Return how long to wait before the next attempt; 0 if the last one worked."""
        if self.last is None:
            return 0.0
        policy = SERVER if isinstance(self.last, TryLater) else REFUSED
        pause = policy.pause_s(self.failures, self._chance())
        # Everybody is asked for the same wait: later than asked, but not all at once.
        return max(pause, (asked_s(self.last) or 0.0) * (1.0 + _LATER * self._chance()))

    def wake_events(self) -> tuple[asyncio.Event, ...]:
        """Return the events that end the pause early: the server's next sign of life.

        None if the server asked for the pause, refused the request, or answers everything but
        this.
        """
        waits = isinstance(self.last, TryLater | SignInRefused) and asked_s(self.last) is None
        return (self._heard,) if waits and not self._alone else ()


def asked_s(error: Exception) -> float | None:
    """Return how long the server asked to wait, None if it did not."""
    return error.retry_after_s if isinstance(error, TooFast | ServerTrouble) else None


class Paced:
    """Does something soon after it is asked for, and not too often: many requests are one.

    It uses a timer of the loop and no task, so there is nothing to end.

    Args:
        act: what to do; it must not wait.
        chance: returns a number uniform in 0 to 1.
    """

    def __init__(
        self, act: Callable[[], object], chance: Callable[[], float] = random.random
    ) -> None:
        self._act = act
        self._chance = chance
        self._paid_s = -math.inf
        """When what was done would be through, if each time took as long as it is to be apart."""
        self._apart_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, within_s: float = 0.0, *, apart_s: float, burst: int = 1) -> None:
        """Have it done at random within a time, on average no more often than every ``apart_s``.

        Clients that are asked at the same moment do not act at the same one. What is planned for
        an earlier time already stays so.

        Args:
            within_s: the longest wait if it was not done for long.
            apart_s: the average time between two times.
            burst: so many times may follow each other at once.
        """
        loop = asyncio.get_running_loop()
        due_s = max(loop.time(), self._paid_s - (burst - 1) * apart_s)
        due_s += within_s * self._chance()
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer, self._apart_s = loop.call_at(due_s, self._do), apart_s

    def _do(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self._timer, self._paid_s = None, max(self._paid_s, now_s) + self._apart_s
        self._act()


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of the events is set or the time is up. ``timeout_s=None`` waits for ever."""
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
