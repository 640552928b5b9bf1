"""What systemd is told."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from heapsyncd.notify import Notifier, status_line


@dataclass
class Systemd:
    """Listens, at a time that the test moves."""

    now_s: float = 1000.0
    heard: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def hear(self, message: str) -> None:
        self.heard.append(message)

    def take(self) -> list[str]:
        heard, self.heard = self.heard, []
        return heard


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def notifier(systemd: Systemd) -> Notifier:
    return Notifier(systemd.hear, 60, systemd.clock)


def account(state: str = "in sync", **heap: Any) -> dict[str, Any]:
    zero = {"notes": 0, "pending_up": 0, "pending_down": 0, "held_deletions": 0, "problems": []}
    return {"name": "home", "state": state, "error": None, "heaps": [{**zero, **heap}]}


def test_the_watchdog_is_fed_by_beats_alone(systemd: Systemd, notifier: Notifier) -> None:
    """A beat feeds it, at most four times an interval; time alone never does."""
    notifier.expect("home")
    notifier.ready()
    systemd.take()
    for _ in range(30):
        systemd.now_s += 1
        notifier.beat("home")
    assert systemd.take() == ["WATCHDOG=1"] * 2


def test_one_hung_account_starves_the_watchdog(systemd: Systemd, notifier: Notifier) -> None:
    """While one of two loops is not heard the other's beats do not count; once gone they do."""
    notifier.expect("home")
    notifier.expect("work")
    notifier.ready()
    notifier.beat("home")
    systemd.take()
    for _ in range(60):
        systemd.now_s += 1
        notifier.beat("home")
    assert systemd.take() == ["WATCHDOG=1"] * 2, "only while the last beat of work was fresh"
    notifier.forget("work")
    notifier.beat("home")
    assert systemd.take() == ["WATCHDOG=1"]


def test_a_long_start_asks_for_time(systemd: Systemd, notifier: Notifier) -> None:
    """Until ready each beat extends the start limit, afterwards none does."""
    notifier.expect("home")
    notifier.beat("home")
    assert "EXTEND_TIMEOUT_USEC=90000000" in systemd.take()
    notifier.ready()
    notifier.beat("home")
    assert [m for m in systemd.take() if m.startswith("EXTEND")] == []


def test_status_is_told_when_it_changed(systemd: Systemd, notifier: Notifier) -> None:
    """The same line is not repeated, and nothing is asked more than once a second."""
    asked = []

    def snapshot() -> list[dict[str, Any]]:
        asked.append(1)
        return [account(notes=2 if systemd.now_s > 1004 else 1)]

    for _ in range(40):
        systemd.now_s += 0.25
        notifier.status(snapshot)
    assert systemd.take() == ["STATUS=home: in sync, 1 note", "STATUS=home: in sync, 2 notes"]
    assert len(asked) == 10


def test_the_status_line_tells_the_truth() -> None:
    """State, notes, what waits, problems and the error are in it, in one line."""
    busy = account("syncing", notes=7, pending_up=2, problems=[{}], held_deletions=30)
    offline = {"name": "work", "state": "offline", "error": "No\nroute.", "heaps": []}
    assert status_line([busy, offline]) == (
        "home: syncing, 7 notes, 2 to send, 30 deletions held, 1 problem; "
        "work: offline, 0 notes (No route.)"
    )


def test_a_reload_has_a_beginning_and_an_end(systemd: Systemd, notifier: Notifier) -> None:
    """RELOADING with the time, then READY; neither before the start is over: READY would lie."""
    notifier.reloading()
    notifier.reloaded(None)
    assert systemd.take() == []
    notifier.ready()
    systemd.take()
    notifier.reloading()
    assert systemd.take() == ["RELOADING=1\nMONOTONIC_USEC=1000000000"]
    notifier.reloaded(None)
    assert systemd.take() == ["READY=1"]


def test_a_failed_reload_stays_in_the_status(systemd: Systemd, notifier: Notifier) -> None:
    """Until the next one; the change is told at the next beat, not a second later."""
    notifier.ready()
    notifier.status(lambda: [account(notes=2)])
    notifier.reloading()
    notifier.reloaded("line 3:\n`heaps` is wrong")
    systemd.take()
    notifier.status(lambda: [account(notes=2)])
    said = "STATUS=configuration not reloaded: line 3: `heaps` is wrong; home: in sync, 2 notes"
    assert systemd.take() == [said]
    notifier.reloaded(None)
    notifier.status(lambda: [account(notes=2)])
    assert systemd.take() == ["READY=1", "STATUS=home: in sync, 2 notes"]


def test_a_stop_is_the_last_status(systemd: Systemd, notifier: Notifier) -> None:
    """While it stops, "in sync" is not said any more."""
    notifier.stopping()
    notifier.status(lambda: [account()])
    assert systemd.take() == ["STATUS=stopping: finishing what is under way", "STOPPING=1"]
