"""Remember when an account was last in sync, also for ``status`` without a daemon."""

from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from heapsyncd.cache import heaps
from heapsyncd.database import Database
from heapsyncd.errors import FolderTrouble
from heapsyncd.sync.heap.state import now_ms
from heapsyncd.sync.report import Report

log = structlog.get_logger()

AGAIN_MS: Final = 600_000
"""While everything stays in sync, the time is stored again after this."""


class LastSync(Struct):
    """When everything was last in sync: in the report, and in the cache.

    It is stored when it becomes true, now and then, and at the end. So a kill loses little of it,
    and an idle mirror writes next to nothing.
    """

    db: Database
    report: Report
    is_told: bool
    """Whether the log tells when it becomes true."""
    _was_in_sync: bool = False
    _stored_ms: int = 0

    async def load(self) -> None:
        """Take over what an earlier process stored."""
        self.report.in_sync_ms = await self.db.read(heaps.in_sync_ms)

    async def note(self, *, is_in_sync: bool) -> None:
        """Take over whether everything is in sync now."""
        if is_in_sync:
            self.report.in_sync_ms = now_ms()
        is_new, self._was_in_sync = is_in_sync and not self._was_in_sync, is_in_sync
        if is_new and self.is_told:
            log.info("in sync", account=self.report.name)
        if is_new or (self.report.in_sync_ms or 0) > self._stored_ms + AGAIN_MS:
            await self.store()

    async def store(self) -> None:
        """Store the time in the cache."""
        at_ms = self.report.in_sync_ms
        if at_ms is not None and at_ms != self._stored_ms:
            with suppress(FolderTrouble):  # whoever has more to store reports it
                await self.db.write(lambda tx: heaps.set_in_sync_ms(tx, at_ms))
                self._stored_ms = at_ms
