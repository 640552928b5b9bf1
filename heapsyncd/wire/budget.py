"""Honour a rate limit before it is hit (ONEHEAP §3). Pure: a value, and how it changes.

The server allows so many requests until a *reset*, and says in every answer how many remain. What
it says is older than the requests that are still in flight, so those count against it as well.
The server's times are compared with each other only. What they mean for us is counted from the
arrival of the answer, on a monotonic clock.
"""

import math
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

UNREADABLE_S: Final = 60.0
"""How long to wait when the server does not say until when."""
LONGEST_S: Final = 3600.0
"""The limit is one per hour: no reset is further away, whatever a server says."""
_ANSWER_S = 1.0
"""How soon to look again when only requests in flight stand in the way."""
_RESERVE_SHARE = 10
"""One of so many requests is kept for what must not wait, such as a user's edits."""


class Rate(Struct, frozen=True):
    """What one answer says; None where it says nothing readable."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    """When the full limit is allowed again, by the server's clock."""
    date_s: float | None = None
    """When the answer was made, by the same clock."""

    def until_reset_s(self) -> float | None:
        """Return the time from the answer to the reset; negative when it has passed."""
        if self.reset_s is None or self.date_s is None:
            return None
        return self.reset_s - self.date_s


class Budget(Struct, frozen=True):
    """What may be sent. The owner replaces it at each request and each answer."""

    limit: int | None = None
    remaining: int | None = None
    """What the server left until the reset; None: nothing is known."""
    reset_s: float | None = None
    """The reset by the server's clock. It tells one hour from the next."""
    resets_at_s: float = -math.inf
    """The reset by our clock, or somewhat later."""
    in_flight: int = 0
    uncertain: int = 0
    """Requests that got no answer, and may be missing in ``remaining``."""
    settled: int = 0
    """Those of them that the next answer knows about."""

    def sent(self) -> "Budget":
        """Return the budget with one more request in flight."""
        # With nothing in flight, all answers to come are to requests sent after those lost ones.
        settled = self.settled if self.in_flight else self.uncertain
        return replace(self, in_flight=self.in_flight + 1, settled=settled)

    def lost(self) -> "Budget":
        """Return the budget after a request that got no answer: the server may have counted it."""
        return replace(self, in_flight=self.in_flight - 1, uncertain=self.uncertain + 1)

    def unsent(self) -> "Budget":
        """Return the budget after a request that found no connection."""
        return replace(self, in_flight=self.in_flight - 1)

    def answered(self, rate: Rate, now_s: float, *, is_refused: bool = False) -> "Budget":
        """Return the budget after an answer to a request that was in flight.

        Args:
            rate: what the answer says.
            now_s: when it came.
            is_refused: it was a 429; nothing remains, whatever ``rate`` says.
        """
        if rate.remaining is None and not is_refused:
            return self.lost()  # A proxy's answer, say. The request may have been counted.
        budget = replace(self, in_flight=self.in_flight - 1, limit=rate.limit or self.limit)
        left, until_s = rate.remaining or 0, rate.until_reset_s()
        if is_refused:
            # A reset that has passed contradicts the refusal, so it does not say until when.
            left, until_s = 0, until_s if (until_s or 0.0) > 0.0 else None
        resets_at_s = now_s + _wait_for(until_s)
        if self._is_known(now_s):
            if rate.reset_s == self.reset_s:
                # Answers overtake each other: within an hour the smallest number is the newest,
                # and the earliest estimate of the reset is the one that was delayed least.
                left = min(left, self.remaining or 0)
                resets_at_s = min(resets_at_s, self.resets_at_s)
            elif not is_refused and (rate.reset_s or 0.0) < (self.reset_s or 0.0):
                return budget  # A late answer from before the last reset.
        return replace(
            budget,
            remaining=left,
            reset_s=rate.reset_s,
            resets_at_s=resets_at_s,
            uncertain=self.uncertain - self.settled,
            settled=0,
        )

    def available(self, now_s: float, *, is_urgent: bool) -> float:
        """Return how many requests may be sent now; infinite while nothing is known.

        Args:
            now_s: the time.
            is_urgent: they may use the reserve.
        """
        return max(self._left(now_s, is_urgent=is_urgent) - self.in_flight, 0)

    def wait_s(self, now_s: float, *, is_urgent: bool) -> float:
        """Return how long to wait before looking again; 0: a request may be sent now."""
        if self.available(now_s, is_urgent=is_urgent) > 0:
            return 0.0
        if self._left(now_s, is_urgent=is_urgent) > 0:
            # Only what is in flight stands in the way, and may be counted already.
            return _ANSWER_S
        return max(self.resets_at_s - now_s, _ANSWER_S)

    def stretched_s(self, now_s: float, usual_s: float, cost: int) -> float:
        """Return the interval of a regular task that makes ``cost`` requests each time.

        It is the usual one if the remaining requests last until the reset that way, else longer.
        """
        if not self._is_known(now_s):
            return usual_s
        left_s = self.resets_at_s - now_s
        times = self.available(now_s, is_urgent=False) // cost
        return max(usual_s, left_s / times if times else left_s)

    def _left(self, now_s: float, *, is_urgent: bool) -> float:
        # Of a limit below ten nothing is kept: polling could not begin.
        reserve = 0 if is_urgent else (self.limit or 0) // _RESERVE_SHARE
        if self.remaining is not None and now_s < self.resets_at_s:
            return self.remaining - self.uncertain - reserve
        # What was lost before the reset no longer counts.
        return math.inf if self.limit is None else self.limit - reserve

    def _is_known(self, now_s: float) -> bool:
        """Whether ``remaining`` still holds, because its reset is ahead."""
        return self.remaining is not None and now_s < self.resets_at_s


def _wait_for(until_s: float | None) -> float:
    """Return how long to wait for a reset; a second more, because its date has whole seconds."""
    if until_s is None or not math.isfinite(until_s):
        return UNREADABLE_S
    return min(max(until_s, 0.0), LONGEST_S) + 1.0
