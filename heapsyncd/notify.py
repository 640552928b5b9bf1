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
        self._remark = ""
        self._started = self._stopping = False

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

    def reloading(self) -> None:
        """Report that the configuration is being read again; ``reloaded`` must follow.

        Before ``ready``, nothing is sent: the answer to a reload is READY, and would be taken for
        the end of the start.
        """
        if self._started:
            # systemd tells the answer to its own request from an earlier one by this time.
            self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock() * 1e6)}")

    def reloaded(self, failure: str | None) -> None:
        """Report the end of a reload.

        Args:
            failure: why the old configuration stays; part of the status until the next reload.
        """
        self._remark = f"configuration not reloaded: {_one_line(failure)}; " if failure else ""
        self._status_sent_s = float("-inf")
        if self._started:
            self._send("READY=1")

    def stopping(self) -> None:
        """Report that the service is shutting down. The accounts' state is not sent any more."""
        self._stopping = True
        self._send("STATUS=stopping: finishing what is under way")
        self._send("STOPPING=1")

    def failed(self, reason: str) -> None:
        """Report why the service ends; systemd shows it beside the exit code."""
        self._send(f"STATUS={_one_line(reason)}")

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
        if self._stopping or now - self._status_sent_s < STATUS_EVERY_S:
            return
        self._status_sent_s = now
        line = self._remark + status_line(accounts())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")


def status_line(accounts: Sequence[Mapping[str, Any]]) -> str:
    """Return the accounts of ``status --json`` in one line."""
    return "; ".join(_account_line(account) for account in accounts)


def _account_line(account: Mapping[str, Any]) -> str:
    heaps = account["heaps"]
    notes = _count(sum(h["notes"] for h in heaps), "note", "notes")
    deletions = sum(h["held_deletions"] for h in heaps)
    problems = sum(not p.get("minor") for h in heaps for p in h["problems"])
    waiting = {
        "to send": sum(h["pending_up"] for h in heaps),
        "to receive": sum(h["pending_down"] for h in heaps),
        "held": _count(deletions, "deletion", "deletions") if deletions else 0,
    }
    line = f"{account['name']}: {account['state']}, {notes}"
    line += "".join(f", {count} {what}" for what, count in waiting.items() if count)
    if problems:
        line += f", {_count(problems, 'problem', 'problems')}"
    error = account["error"]
    return f"{line} ({_one_line(error)})" if error else line


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
