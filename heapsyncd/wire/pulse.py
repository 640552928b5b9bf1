"""Track signs of life on one socket; pure, time is passed in.

A silent side counts as dead: after ``QUIET_S`` we ping, after ``DEAD_S`` the socket is dropped.
Hocuspocus 4 accepts only messages of its protocol as our signs of life, so one is due every
``KEEP_ALIVE_S`` (PROTOCOL §6).
"""

from heapsyncd.errors import Unreachable

KEEP_ALIVE_S = 25.0
QUIET_S = 15.0
DEAD_S = 44.0  # so that a dead link is noticed within 45 s


class Pulse:
    """The times of the last received frame, sent message and ping."""

    def __init__(self, now_s: float) -> None:
        self._heard_s = self._sent_s = self._pinged_s = now_s

    def heard(self, now_s: float) -> None:
        """Record that a frame arrived."""
        self._heard_s = now_s

    def sent(self, now_s: float) -> None:
        """Record that a message was sent; a ping is none."""
        self._sent_s = now_s

    def check(self, now_s: float) -> None:
        """Raise Unreachable when the other side is dead."""
        if now_s - self._heard_s >= DEAD_S:
            raise Unreachable(f"the live link was silent for {DEAD_S:.0f} s")

    def keep_alive_due(self, now_s: float) -> bool:
        """Tell whether a message must be sent so that the server does not consider us dead."""
        return now_s - self._sent_s >= KEEP_ALIVE_S

    def ping_due(self, now_s: float) -> bool:
        """Tell whether to ping now; True once each time it is due."""
        if now_s - max(self._heard_s, self._pinged_s) < QUIET_S:
            return False
        self._pinged_s = now_s
        return True

    def next_s(self) -> float:
        """Return the time at which the first of these is due."""
        return min(
            self._sent_s + KEEP_ALIVE_S,
            max(self._heard_s, self._pinged_s) + QUIET_S,
            self._heard_s + DEAD_S,
        )
