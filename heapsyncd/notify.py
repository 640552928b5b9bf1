"""Edge: report the service's state to systemd (sd_notify): ready, alive, status, stopping.

Every message comes from the sync loops, never from a timer. The loops call ``beat``, and the
watchdog is fed only while *all* of them do, so a loop that hangs is noticed. Outside systemd
nothing is sent.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sdnotify

STATUS_EVERY_S: Final = 1.0
STARTING_S: Final = 90.0
"""How much longer the start may take after each sign of life."""


class Notifier:
    """Sends one service's messages.

    Args:
        send: sends one message.
        watchdog_s: how long systemd waits for a sign of life; None if it does not.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        send: Callable[[str], None],
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._watchdog_s = watchdog_s
        self._clock = clock
        self._last_beat_s: dict[str, float] = {}
        self._watchdog_fed_s = self._status_sent_s = float("-inf")
        self._status = ""
        self._started = False

    @classmethod
    def from_environment(cls) -> "Notifier":
        """Return a notifier configured by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = ours and microseconds.isdigit() and int(microseconds) > 0
        watchdog_s = int(microseconds) / 1e6 if watched else None
        if not os.environ.get("NOTIFY_SOCKET"):
            return cls(lambda _message: None, watchdog_s)
        systemd = sdnotify.SystemdNotifier()
        # sdnotify encodes as Latin-1 and drops other characters, but systemd expects UTF-8.
        return cls(lambda message: systemd.notify(message.encode().decode("latin-1")), watchdog_s)

    def ready(self) -> None:
        """Report that every account has planned its first scan, or is in trouble and waits."""
        self._started = True
        self._send("READY=1")

    def stopping(self) -> None:
        """Report that the service is shutting down."""
        self._send("STOPPING=1")

    def expect(self, name: str) -> None:
        """Expect beats from an account's sync loop from now on."""
        self._last_beat_s[name] = self._clock()

    def forget(self, name: str) -> None:
        """Expect no more beats from an account, whose sync loop ended on purpose."""
        self._last_beat_s.pop(name, None)

    def beat(self, name: str) -> None:
        """Record that an account's sync loop made progress, and feed the watchdog if all did."""
        now = self._last_beat_s[name] = self._clock()
        if not self._started:
            self._send(f"EXTEND_TIMEOUT_USEC={int(STARTING_S * 1e6)}")
        if self._watchdog_s is None or now - self._watchdog_fed_s < self._watchdog_s / 4:
            return
        if all(now - beat_s <= self._watchdog_s / 2 for beat_s in self._last_beat_s.values()):
            self._watchdog_fed_s = now
            self._send("WATCHDOG=1")

    def status(self, accounts: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Report the accounts' state if it changed.

        ``accounts`` is called at most once a second.
        """
        now = self._clock()
        if now - self._status_sent_s < STATUS_EVERY_S:
            return
        self._status_sent_s = now
        line = status_line(accounts())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")


def status_line(accounts: Sequence[Mapping[str, Any]]) -> str:
    """Return the accounts of ``status --json`` in one line."""
    return "; ".join(_account_line(account) for account in accounts)


def _account_line(account: Mapping[str, Any]) -> str:
    heaps = account["heaps"]
    line = f"{account['name']}: {account['state']}, {sum(h['notes'] for h in heaps)} notes"
    counts = {
        "to send": sum(h["pending_up"] for h in heaps),
        "to receive": sum(h["pending_down"] for h in heaps),
        "deletions held": sum(h["held_deletions"] for h in heaps),
        "problems": sum(not p.get("minor") for h in heaps for p in h["problems"]),
    }
    line += "".join(f", {count} {what}" for what, count in counts.items() if count)
    error = account["error"]
    return f"{line} ({' '.join(error.split())})" if error else line
