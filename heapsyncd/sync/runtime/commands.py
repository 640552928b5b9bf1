"""What a running mirror does for a person's commands, over the heaps of one account."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from heapsyncd.backoff import first_of
from heapsyncd.cache.activity import Direction
from heapsyncd.config import Account
from heapsyncd.database import Database
from heapsyncd.errors import NotRunning
from heapsyncd.ids import HeapId
from heapsyncd.sync.deletions.decisions import held_deletions
from heapsyncd.sync.deletions.lost_folder import ask_for_folder
from heapsyncd.sync.edits.restore import restore
from heapsyncd.sync.edits.undo import undo
from heapsyncd.sync.heap.paths import inside
from heapsyncd.sync.layout.heap_folder import belongs_to_no_heap
from heapsyncd.sync.report import Report, RestoreRequest, UndoRequest, Verdict
from heapsyncd.sync.runtime.full_pass import Listing, late, moved, until_sent
from heapsyncd.sync.runtime.heap import HeapMirror
from heapsyncd.sync.transfers.on_demand import fetch

OPENING_S: Final = 2.0
"""How long a command waits until the heaps are open."""


class AccountCommands(Struct, frozen=True):
    """Carries out commands while the mirror runs; implements ``report.Commands``.

    Args:
        account: whose folder it is.
        db: its cache.
        report: its status.
        mirrors: its heaps; more may be added while a command is carried out.
        listing: lets a pass wait until the heaps are listed again, and a command until they are
            open.
        settle: waits for the end of a pass, until the loop's time given; returns its verdict, with
            what was sent and received beyond the given counts.
        stops: events that end the mirror.
        woken: set when the machine was suspended.
    """

    account: Account
    db: Database
    report: Report
    mirrors: Mapping[HeapId, HeapMirror]
    listing: Listing
    settle: Callable[[float | None, Counter[Direction]], Awaitable[Verdict]]
    stops: tuple[asyncio.Event, ...]
    woken: asyncio.Event

    async def deletions(
        self, decision: str | None, paths: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Store a decision on held deletions, if given, and return what is held.

        The heaps carry a decision out at once.
        """
        found = await held_deletions(self.db, self.account.folder, decision, paths)
        for mirror in self.mirrors.values():
            mirror.state.holds.is_asked = True
            mirror.state.wake.publish.set()
        return found

    async def restore_folder(self, wanted: Sequence[str]) -> list[dict[str, Any]]:
        """Store that a heap's lost folder is to be made again.

        The heap does it at once; one that could not be opened without is opened again.
        """
        found = await ask_for_folder(self.db, self.account.folder, wanted)
        for mirror in self.mirrors.values():
            mirror.state.wake.publish.set()
        self.listing.asked.set()
        return found

    async def fetch(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """Mark contents for download, and return their progress; ``paths`` are absolute."""
        found: list[dict[str, Any]] = []
        for mirror in await self._opened(paths):
            here = inside(mirror.state.disk.root, paths)
            if here:
                found += await fetch(mirror.state, here)
        return found

    async def restore(self, wanted: RestoreRequest) -> list[dict[str, Any]]:
        """Restore earlier versions and deleted notes (see ``edits.restore``)."""
        return [
            one for m in await self._opened(wanted.paths) for one in await restore(m.state, wanted)
        ]

    async def undo(self, wanted: UndoRequest) -> list[dict[str, Any]]:
        """Undo this device's recent edits (see ``edits.undo``)."""
        return [
            one for m in await self._opened(wanted.paths) for one in await undo(m.state, wanted)
        ]

    async def _opened(self, paths: Sequence[str]) -> list[HeapMirror]:
        """Return the mirrors of all heaps, for a request for these paths.

        Raises:
            NotRunning: the heaps are not open yet, or one could not be opened that may be meant.
        """
        await first_of(self.listing.opened, *self.stops, timeout_s=OPENING_S)
        if not self.listing.opened.is_set():
            raise NotRunning(
                f"{self.account.name} is still starting, or stops; try again in a moment."
            )
        mirrors = list(self.mirrors.values())
        if not any(inside(mirror.state.disk.root, paths) for mirror in mirrors):
            for heap in self.report.heaps.values():
                if heap.id not in self.mirrors and heap.error is not None:
                    raise NotRunning(f"{heap.title} could not be opened: {heap.error}")
        return mirrors

    async def recount(self) -> None:
        """Update the report from the cache and the account's folder."""
        await self.look_around()
        for mirror in list(self.mirrors.values()):
            await mirror.state.recount()

    async def finish_sending(self) -> None:
        """Wait until nothing is being written, and everything is sent that can be sent now."""
        await until_sent(self.mirrors, *self.stops)

    def renew(self) -> None:
        """Close all connections, poll and send at once: the machine was suspended."""
        self.woken.set()

    async def look_around(self) -> None:
        """Report what is in the account's folder beside its heaps."""
        if not self.account.selects_boxes:  # there the folder itself is the mirror
            names = [Path(heap.folder).name for heap in self.report.heaps.values()]
            self.report.problems = await belongs_to_no_heap(self.account, names)

    async def full_pass(self, timeout_s: float | None) -> Verdict:
        """Do one full pass both ways while the mirror runs, as a process that starts would.

        Raises:
            HeapsyncdError: the server did not list the heaps.
        """
        passed = moved(self.mirrors)
        end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(end):
                await self.listing.again()
        except TimeoutError:
            return late(self.account)
        if any(stop.is_set() for stop in self.stops):
            return Verdict("syncing", 1, ("the account stops, or is reloaded",))
        for mirror in list(self.mirrors.values()):
            await mirror.begin_pass()
        return await self.settle(end, passed)
