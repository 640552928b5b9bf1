"""What ``.heaperignore`` says, and what it means for what is mirrored when it changes.

A change never looks like a deletion: what is ignored now is left as it is on both sides, and what
is not ignored any more and has no file here comes back from the server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.errors import UnreadableFile
from heapsyncd.folder.disk import Moved, Unsettled
from heapsyncd.folder.ignore import IGNORE_FILE, Ignore
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.heap_folder import IGNORE_BYTES
from heapsyncd.sync.layout.placement import plan_places

QUIET_S: Final = 0.3
"""Rules are taken when they have stayed the same for this long."""
GONE_S: Final = 1.0
"""A file of rules is gone when it stays away for this long: editors move it about."""

log = structlog.get_logger()


@dataclass
class Rules:
    """The rules of one heap's folder, kept current. Made by ``load``."""

    heap: HeapContext
    text: str | None
    """As last taken; None before the first time."""
    _seen: str | None = None
    _since: float = 0.0

    @classmethod
    async def load(cls, heap: HeapContext) -> "Rules":
        """The rules that were last taken, in this life or an earlier one."""
        text = await heap.db.read(lambda tx: heaps.get_meta(tx, _key(heap.id)))
        heap.layout.ignore = Ignore.parse(text)
        rules = cls(heap, text)
        heap.layout.unmoved = rules._unmoved(heap.layout.ignore)
        return rules

    async def reread(self, now: float) -> float | None:
        """Look at the file. Taken rules are in ``heap.layout.ignore``.

        Args:
            now: monotonic seconds.

        Returns:
            None: nothing new; 0.0: new rules were taken, look at everything; else in how many
            seconds to look again: until then nothing can be said of any file.
        """
        try:
            data, _ = await self.heap.disk.read(IGNORE_FILE, IGNORE_BYTES)
            text = data.decode("utf-8", "replace")
        except Unsettled:
            return QUIET_S
        except Moved:
            text = ""
        except UnreadableFile as error:
            self.heap.problems.found("rules", IGNORE_FILE, error)
            return None
        self.heap.problems.clear(IGNORE_FILE, "rules")
        if text == self.text:
            self._seen = None
            return None
        if self._seen != text:
            self._seen, self._since = text, now
        left = self._since + (QUIET_S if text else GONE_S) - now
        if left > 0 and self.text is not None:
            return left
        await self._take(text)
        return 0.0

    async def _take(self, text: str) -> None:
        heap, old = self.heap, self.heap.layout.ignore
        new = Ignore.parse(text)
        async with heap.lock:
            places = heap.layout.places or await plan_places(heap)
            at = {**places, **heap.index.path_of}
            shown = [
                b for b, p in at.items() if heap.hides(p, b, old) and not heap.hides(p, b, new)
            ]
            gone = [p for p in self._unmasked(old, new) if await heap.disk.stat(p) is None]

            back = {*shown, *(heap.index.entries[p].block_id for p in gone)}

            def store(change: Change) -> None:
                heaps.set_meta(change.tx, _key(heap.id), text)
                change.remove(gone)
                for block in back:
                    _show(change, block)

            await heap.store(store)
            heap.layout.hidden.difference_update(shown)
            heap.layout.ignore, self.text, self._seen = new, text, None
            heap.layout.unmoved = self._unmoved(new)
        heap.wake.publish.set()
        heap.wake.transfer.set()
        log.info("rules taken", heap=heap.report.title, shown=len(shown), back=len(gone))

    def _unmoved(self, rules: Ignore) -> set[str]:
        """The contents that were to be sent or fetched and are ignored."""
        return {p for p in self.heap.index.moving if rules.match(p, False)}

    def _unmasked(self, old: Ignore, new: Ignore) -> list[str]:
        """The entries on the disk that are ignored no more."""
        index = self.heap.index
        return [
            p
            for p in index.stats
            if old.match(p, p in index.folders) and not new.match(p, p in index.folders)
        ]


def _show(change: Change, block: BlockId) -> None:
    state = blocks.get(change.tx, block)
    if state is not None and state.seq:
        change.update(block, stale=1)


def _key(heap_id: HeapId) -> str:
    return f"ignore:{heap_id}"


def taken(tx: Tx, heap_id: HeapId) -> Ignore:
    """The rules that were last taken."""
    return Ignore.parse(heaps.get_meta(tx, _key(heap_id)))


async def unhidden(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str]
) -> list[BlockState]:
    """Those of the blocks whose places are not ignored; the others are left as they are."""
    at = {s.id: heap.index.path_of.get(s.id) or places.get(s.id) for s in states}
    hidden = [s for s in states if (p := at[s.id]) is not None and heap.hides(p, s.id)]
    if not hidden:
        return list(states)

    def store(change: Change) -> None:
        for state in hidden:
            change.update(state.id, stale=0)

    await heap.store(store)
    heap.layout.hidden.update(s.id for s in hidden if s.deleted_at_ms is None)
    return [s for s in states if s not in hidden]
