"""Notices on the desktop: each event once, over a real bus; silence where nobody shows them."""

from pathlib import Path
from typing import Any

import pytest
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method

from heapsyncd.dbus import Bus
from heapsyncd.desktop import Desktop, Events, Notice


def account(state: str = "in sync", held: int = 0, reviews: int = 0) -> dict[str, Any]:
    heap = {"id": "h", "title": "Home", "held_deletions": held, "reviews": reviews}
    return {"name": "home", "state": state, "heaps": [heap]}


def told(*accounts: dict[str, Any]) -> list[list[str]]:
    """What is told at each of these moments."""
    events = Events()
    return [[notice.title for notice in events.new([one])] for one in accounts]


def test_each_event_is_told_once() -> None:
    """Held deletions and a refused sign-in when they begin, also before the start; reviews when
    there are more.
    """
    held, refused, review = "Deletions are held", "Sign-in needed", "Merged, please review"
    a = account
    assert told(a(), a(held=12), a(held=13), a(), a(held=20)) == [[], [held], [], [], [held]]
    assert told(a(held=12), a(held=12)) == [[held], []]
    no = "sign-in needed"
    assert told(a(no), a("offline"), a(no), a(), a(no)) == [[refused], [], [], [], [refused]]
    assert told(a(reviews=2), a(reviews=3), a(reviews=3), a(), a(reviews=1)) == [
        [], [review], [], [], [review],
    ]  # fmt: skip
    (notice,) = Events().new([a(held=12)])
    assert notice.text == "Home: 12 deletions wait for you. `heapsyncd deletions` shows them."


class Shower(ServiceInterface):
    """What shows notices on a desktop."""

    def __init__(self) -> None:
        super().__init__("org.freedesktop.Notifications")
        self.shown: list[tuple[int, str, str]] = []

    @dbus_method()
    def Notify(  # noqa: N802 - the interface's
        self,
        name: "s",  # type: ignore[name-defined]  # noqa: F821
        replaces: "u",  # type: ignore[name-defined]  # noqa: F821
        icon: "s",  # type: ignore[name-defined]  # noqa: F821
        title: "s",  # type: ignore[name-defined]  # noqa: F821
        text: "s",  # type: ignore[name-defined]  # noqa: F821
        actions: "as",  # type: ignore[valid-type]  # noqa: F722
        hints: "a{sv}",  # type: ignore[valid-type]  # noqa: F722
        timeout: "i",  # type: ignore[name-defined]  # noqa: F821
    ) -> "u":  # type: ignore[name-defined]  # noqa: F821
        self.shown.append((replaces, title, text))
        return replaces or 100 + len(self.shown)


async def test_a_notice_is_shown_and_replaced(bus: str) -> None:
    """Through whatever shows notices there; what could be markup is escaped."""
    shower, connected = Shower(), await MessageBus(bus_address=bus).connect()
    connected.export("/org/freedesktop/Notifications", shower)
    await connected.request_name("org.freedesktop.Notifications")
    desktop = Desktop(Bus(bus))
    assert desktop.is_there
    await desktop.show(Notice("home/h/held", "Deletions are held", "<b>Home</b>: 12"))
    await desktop.show(Notice("home/sign-in", "Sign-in needed", "home"))
    await desktop.show(Notice("home/h/held", "Deletions are held", "Home: 20"))
    connected.disconnect()
    assert shower.shown == [
        (0, "Deletions are held", "&lt;b&gt;Home&lt;/b&gt;: 12"),
        (0, "Sign-in needed", "home"),
        (101, "Deletions are held", "Home: 20"),
    ]


async def test_there_is_silence_where_nobody_shows_it(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bus without a desktop, an address where no bus is, no session, no library."""
    notice = Notice("a", "b", "c")
    await Desktop(Bus(bus)).show(notice)
    await Desktop(Bus(f"unix:path={tmp_path}/nothing")).show(notice)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert not Desktop(Bus.of_session()).is_there
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus)
    assert Desktop(Bus.of_session()).is_there
    monkeypatch.setattr("heapsyncd.dbus.importlib.util.find_spec", lambda _: None)
    assert not Desktop(Bus.of_session()).is_there
