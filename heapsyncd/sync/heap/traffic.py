"""Tell from what is stored of a heap what came and went.

A change made here has gone when the server acknowledged it. A change of the server has come when
the folder shows it. What is under way is known in memory only: after a restart, an edit that is
acknowledged later has no latency.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import structlog
from msgspec import Struct, field

from heapsyncd.cache.activity import Direction, Event, What
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.index import CONTENT_ROLES, PLACED_ROLES, Index

log = structlog.get_logger()

WAYS: Final[Mapping[Direction, str]] = {"up": "sent", "down": "arrived"}
TOLD_SINGLY: Final = 10
"""Of more events in one transaction, the log tells only the number."""


class UnderWay(Struct, frozen=True):
    """A change of a block that has not arrived yet, in one direction."""

    since_ms: int
    path: str | None
    """Where the block was when the change was stored; None: nowhere."""
    is_new: bool


class Traffic(Struct):
    """The changes of one heap that are under way, by direction and block.

    Args:
        under_way: the changes.
        passed: how many changes this process saw arrive.
    """

    under_way: dict[tuple[Direction, BlockId], UnderWay] = field(default_factory=dict)
    passed: Counter[Direction] = field(default_factory=Counter)

    def arrived(
        self,
        index: Index,
        rows: Iterable[tuple[BlockState, bool]],
        paths: Mapping[str, EntryRow | None],
        completed: Collection[tuple[Direction, BlockId]],
        now_ms: int,
    ) -> dict[tuple[Direction, BlockId] | str, Event]:
        """Return what a transaction completes: by direction and block, contents by path.

        Args:
            index: as it was before the transaction.
            rows: the changed blocks; for each, whether it has unsent updates.
            paths: the changed entries; None: removed.
            completed: the blocks that may have nothing under way any more. The index does not say
                it: another transaction may have completed them before it was updated.
            now_ms: the time of the events.
        """
        found: dict[tuple[Direction, BlockId] | str, Event] = {}
        placed = {
            e.block_id: e.path for e in paths.values() if e is not None and e.role in PLACED_ROLES
        }
        for row, is_unsent in rows:
            up: tuple[Direction, BlockId] = ("up", row.id)
            down: tuple[Direction, BlockId] = ("down", row.id)
            went = not is_unsent and not row.born_here
            came = down in self.under_way and not row.stale
            path = placed.get(row.id) or index.path_of.get(row.id)
            for key in [k for k, is_done in ((up, went), (down, came)) if is_done]:
                event = self._event(row, key[0], path, now_ms)
                if event is not None and key in completed:
                    found[key] = event
        for path, entry in paths.items():
            before = index.entries.get(path)
            if before is None or entry is None or entry.role not in CONTENT_ROLES:
                continue
            if before.todo in {"upload", "download"} and entry.todo is None:
                way: Direction = "up" if before.todo == "upload" else "down"
                found[path] = Event(way, "content", path, now_ms)
        return found

    def _event(
        self, row: BlockState, direction: Direction, path: str | None, now_ms: int
    ) -> Event | None:
        begun = self.under_way.get((direction, row.id))
        before = None if begun is None else begun.path
        what: What = "edited"
        if row.deleted_at_ms is not None:
            what = "deleted"
        elif begun is not None and begun.is_new:
            what = "new"
        elif before is not None and path is not None and before != path:
            what = "renamed"
        # A tag is in no folder. A file is told of when its content has arrived.
        if row.kind == "tag" or (row.kind == "file" and what in {"new", "edited"}):
            return None
        where = before if what == "deleted" else path
        latency_ms = None if begun is None else max(0, now_ms - begun.since_ms)
        return Event(direction, what, where or before or row.title, now_ms, latency_ms)

    def follow(
        self,
        begun: Mapping[tuple[Direction, BlockId], UnderWay],
        done: Mapping[tuple[Direction, BlockId] | str, Event],
        settled: Iterable[tuple[Direction, BlockId]],
        heap: str,
    ) -> None:
        """Take over what a committed transaction began and completed, and log it.

        Args:
            begun: the changes that are under way from now on.
            done: what ``arrived`` returned.
            settled: what is not under way, whether or not there was an event.
            heap: its title.
        """
        for key, change in begun.items():
            self.under_way.setdefault(key, change)
        for key in settled:
            self.under_way.pop(key, None)
        for direction, name in WAYS.items():
            events = [e for e in done.values() if e.direction == direction]
            self.passed[direction] += len(events)
            if len(events) > TOLD_SINGLY:
                log.info("changes", heap=heap, way=name, count=len(events))
                continue
            for event in events:
                log.info(
                    name, heap=heap, path=event.path, what=event.what, latency_ms=event.latency_ms
                )
