"""Signs of life on one socket; pure, time is passed in.

Whoever is silent is dead: after ``QUIET_S`` we ping, after ``DEAD_S`` the socket is given up.
Hocuspocus 4 takes only its own messages as signs of life of ours, so every ``KEEP_ALIVE_S`` one
is due (PROTOCOL §6).
"""

from heapsyncd.errors import Unreachable

KEEP_ALIVE_S = 25.0
QUIET_S = 15.0
DEAD_S = 44.0  # a dead link is to be known within 45 s


class Pulse:
    """When we last heard something, sent a message, and pinged."""

    def __init__(self, now_s: float) -> None:
        self._heard_s = self._sent_s = self._pinged_s = now_s

    def heard(self, now_s: float) -> None:
        """Any frame came."""
        self._heard_s = now_s

    def sent(self, now_s: float) -> None:
        """A message was sent; pings are none."""
        self._sent_s = now_s

    def check(self, now_s: float) -> None:
        """Raise Unreachable when the other side is dead."""
        if now_s - self._heard_s >= DEAD_S:
            raise Unreachable(f"the live link was silent for {DEAD_S:.0f} s")

    def keep_alive_due(self, now_s: float) -> bool:
        """Whether to send any message, to be alive ourselves."""
        return now_s - self._sent_s >= KEEP_ALIVE_S

    def ping_due(self, now_s: float) -> bool:
        """Whether to ping now; True once for each time it is due."""
        if now_s - max(self._heard_s, self._pinged_s) < QUIET_S:
            return False
        self._pinged_s = now_s
        return True

    def next_s(self) -> float:
        """When any of these is due next."""
        return min(
            self._sent_s + KEEP_ALIVE_S,
            max(self._heard_s, self._pinged_s) + QUIET_S,
            self._heard_s + DEAD_S,
        )
