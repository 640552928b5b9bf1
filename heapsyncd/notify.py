"""Edge: what systemd is told of the service (sd_notify): ready, alive, a line of status, stopping.

Every message is a truth of the sync loops, never of a timer: ``beat`` is called by them, and the
watchdog is fed only while *all* of them are heard, so that one that hangs is noticed. Outside
systemd nothing is sent.
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
    """One service's messages.

    Args:
        send: takes one message; systemd's socket by default.
        watchdog_s: how long systemd waits for a sign of life; None when it does not.
        clock: monotonic seconds.
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
        self._heard_s: dict[str, float] = {}
        self._fed_s = self._told_s = float("-inf")
        self._status = ""
        self._started = False

    @classmethod
    def from_environment(cls) -> "Notifier":
        """What NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID ask for."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = ours and microseconds.isdigit() and int(microseconds) > 0
        watchdog_s = int(microseconds) / 1e6 if watched else None
        if not os.environ.get("NOTIFY_SOCKET"):
            return cls(lambda _message: None, watchdog_s)
        systemd = sdnotify.SystemdNotifier()
        # sdnotify encodes as Latin-1 and drops what does not fit; systemd expects UTF-8.
        return cls(lambda message: systemd.notify(message.encode().decode("latin-1")), watchdog_s)

    def ready(self) -> None:
        """The first scan of every account is planned (or the account is in trouble that waits)."""
        self._started = True
        self._send("READY=1")

    def stopping(self) -> None:
        """The service is closing."""
        self._send("STOPPING=1")

    def expect(self, name: str) -> None:
        """An account's sync loop begins and will beat from now on."""
        self._heard_s[name] = self._clock()

    def forget(self, name: str) -> None:
        """An account's sync loop ended on purpose."""
        self._heard_s.pop(name, None)

    def beat(self, name: str) -> None:
        """An account's sync loop got on."""
        now = self._heard_s[name] = self._clock()
        if not self._started:
            self._send(f"EXTEND_TIMEOUT_USEC={int(STARTING_S * 1e6)}")
        if self._watchdog_s is None or now - self._fed_s < self._watchdog_s / 4:
            return
        if all(now - heard <= self._watchdog_s / 2 for heard in self._heard_s.values()):
            self._fed_s = now
            self._send("WATCHDOG=1")

    def status(self, accounts: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """Tell the state of the accounts when it changed; asked for at most once a second."""
        now = self._clock()
        if now - self._told_s < STATUS_EVERY_S:
            return
        self._told_s = now
        line = status_line(accounts())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")


def status_line(accounts: Sequence[Mapping[str, Any]]) -> str:
    """The accounts of ``status --json`` in one line."""
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
