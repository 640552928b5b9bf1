"""Notices on the desktop, over D-Bus, of what waits for a person.

Each event is told once. A notice never holds a note's text or name. The library is optional:
without it, or without a desktop session, there is silence.
"""

import asyncio
import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from msgspec import Struct

from heapsyncd.dbus import Bus, call

_SERVICE: Final = "org.freedesktop.Notifications"
_ANSWER_S: Final = 5.0

_log = structlog.get_logger("heapsyncd.desktop")


class Notice(Struct, frozen=True):
    """What a person is told.

    Args:
        about: what it is about; a later notice about the same replaces it on the screen.
        title: a few words.
        text: what waits, and the command that shows it.
    """

    about: str
    title: str
    text: str


class Events:
    """Finds what is new in the accounts of ``status --json``. Pure, but for its memory."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        """What was told, or known from the beginning: how many of each kind."""

    def new(self, accounts: Sequence[Mapping[str, Any]]) -> list[Notice]:
        """Return the notices of what began since the last call.

        What waits for an action (a sign-in, a decision) is told at the first call too. Reviews
        that were there at the first call are not: they were told by an earlier run.
        """
        found = []
        for count, is_first_told, notice in self._waiting(accounts):
            before = self._told.get(notice.about, 0 if is_first_told else count)
            if count > before and (before == 0 or not is_first_told):
                found.append(notice)
            self._told[notice.about] = count
        return found

    def _waiting(
        self, accounts: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, bool, Notice]]:
        """Yield how much of each kind waits, and whether it is told at the first call too."""
        for account in accounts:
            name, state = account["name"], account["state"]
            text = f"The server refuses the account {name}. `heapsyncd status` says why."
            sign_in = Notice(f"{name}/sign-in", "Sign-in needed", text)
            # Another attempt, or a server that is away meanwhile, is no end of it.
            is_over = state in {"in sync", "syncing"}
            before = 0 if is_over else self._told.get(sign_in.about, 0)
            yield int(state == "sign-in needed") or before, True, sign_in
            for heap in account["heaps"]:
                title, held, reviews = heap["title"], heap["held_deletions"], heap["reviews"]
                about = f"{name}/{heap['id']}"
                text = f"{title}: {held} deletions wait for you. `heapsyncd deletions` shows them."
                yield held, True, Notice(f"{about}/held", "Deletions are held", text)
                text = f"{title}: {reviews} to look at. `heapsyncd status` lists them."
                yield reviews, False, Notice(f"{about}/reviews", "Merged, please review", text)


class Desktop:
    """Shows notices, through whatever shows them on this desktop.

    Args:
        bus: the session's.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._shown: dict[str, int] = {}
        """The desktop's number of each notice, which the next about the same replaces."""

    @property
    def is_there(self) -> bool:
        """Return whether there is a session, and the library to speak to it."""
        return self._bus.trouble is None

    async def show(self, notice: Notice) -> None:
        """Show a notice; a desktop that does not is no trouble."""
        arguments = [
            "heapsyncd",
            self._shown.get(notice.about, 0),
            "",
            notice.title,
            html.escape(notice.text, quote=False),  # many desktops take it for markup
            [],
            {},
            -1,
        ]
        method, path = f"{_SERVICE}.Notify", "/org/freedesktop/Notifications"
        try:
            # Connected for each notice: they are rare, and the session may end meanwhile.
            async with asyncio.timeout(_ANSWER_S), self._bus.connect() as bus:
                answer = await call(bus, _SERVICE, path, method, "susssasa{sv}i", arguments)
            self._shown[notice.about] = int(answer.body[0])
        except Exception as error:  # noqa: BLE001 - whatever a desktop does, the mirror goes on
            _log.debug("notice not shown", about=notice.about, reason=repr(error))
