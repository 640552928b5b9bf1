"""Read ``.heaperignore``, and apply its changes to what is mirrored.

A change never counts as a deletion. What becomes ignored is left as it is on both sides. What is
no longer ignored and has no file here is written again.
"""

from collections.abc import Sequence

import structlog
from msgspec import Struct

from heapsyncd.cache import blocks, heaps
from heapsyncd.cache.blocks import BlockState
from heapsyncd.database import Tx
from heapsyncd.errors import UnreadableFile
from heapsyncd.folder.disk import FileBusy, PathChanged
from heapsyncd.folder.ignore import IGNORE_FILE, Ignore
from heapsyncd.ids import BlockId, HeapId
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.heap_folder import IGNORE_BYTES
from heapsyncd.sync.layout.placement import plan_places

log = structlog.get_logger()


class IgnoreRules(Struct):
    """The rules of one heap's folder, kept up to date. Made by ``load``."""

    heap: HeapContext
    text: str | None
    """The rules in force; None before the first reading."""
    _candidate: str | None = None
    _since: float = 0.0

    @classmethod
    async def load(cls, heap: HeapContext) -> "IgnoreRules":
        """Return the rules that were last applied, by this process or an earlier one."""
        text = await heap.db.read(lambda tx: heaps.get_meta(tx, _key(heap.id)))
        heap.layout.ignore = Ignore.parse(text)
        rules = cls(heap, text)
        heap.layout.unmoved = rules._ignored_transfers(heap.layout.ignore)
        return rules

    async def reread(self, now: float) -> float | None:
        """Read the file and apply changed rules to ``heap.layout.ignore``.

        Args:
            now: monotonic seconds.

        Returns:
            None: nothing changed. 0.0: new rules were applied; scan the whole folder. Any other
                number: seconds after which to call again; judge no file until then.
        """
        try:
            data, _ = await self.heap.disk.read(IGNORE_FILE, IGNORE_BYTES)
            text = data.decode("utf-8", "replace")
        except FileBusy:
            return self.heap.timing.quiet_s
        except PathChanged:
            text = ""
        except UnreadableFile as error:
            self.heap.problems.found("rules", IGNORE_FILE, error)
            return None
        self.heap.problems.clear(IGNORE_FILE, "rules")
        if text == self.text:
            self._candidate = None
            return None
        if self._candidate != text:
            self._candidate, self._since = text, now
        timing = self.heap.timing
        left = self._since + (timing.quiet_s if text else timing.gone_s) - now
        if left > 0 and self.text is not None:
            return left
        await self._apply(text)
        return 0.0

    async def _apply(self, text: str) -> None:
        heap, old = self.heap, self.heap.layout.ignore
        new = Ignore.parse(text)
        async with heap.lock:
            places = heap.layout.places or await plan_places(heap)
            at = {**places, **heap.index.path_of}
            revealed = await offload(  # every path is matched with every rule
                lambda: [
                    b for b, p in at.items() if heap.hides(p, b, old) and not heap.hides(p, b, new)
                ]
            )
            gone = [
                p for p in self._no_longer_ignored(old, new) if await heap.disk.stat(p) is None
            ]

            to_publish = {*revealed, *(heap.index.entries[p].block_id for p in gone)}

            def store(change: Change) -> None:
                heaps.set_meta(change.tx, _key(heap.id), text)
                change.remove(gone)
                for block in to_publish:
                    _publish_again(change, block)

            await heap.store(store)
            heap.layout.hidden.difference_update(revealed)
            heap.layout.ignore, self.text, self._candidate = new, text, None
            heap.layout.unmoved = self._ignored_transfers(new)
        heap.wake.publish.set()
        heap.wake.transfer.set()
        log.info(
            "ignore rules applied",
            heap=heap.report.title,
            revealed=len(revealed),
            missing=len(gone),
        )

    def _ignored_transfers(self, rules: Ignore) -> set[str]:
        """Return the paths of pending transfers that the rules ignore."""
        return {p for p in self.heap.index.moving if rules.match(p, False)}

    def _no_longer_ignored(self, old: Ignore, new: Ignore) -> list[str]:
        """Return the paths of files on disk that only the old rules ignored."""
        index = self.heap.index
        return [
            p
            for p in index.stats
            if old.match(p, p in index.folders) and not new.match(p, p in index.folders)
        ]


def _publish_again(change: Change, block: BlockId) -> None:
    state = blocks.get(change.tx, block)
    if state is not None and state.seq:
        change.update(block, stale=1)


def _key(heap_id: HeapId) -> str:
    return f"ignore:{heap_id}"


def stored_rules(tx: Tx, heap_id: HeapId) -> Ignore:
    """Return the rules that were last applied."""
    return Ignore.parse(heaps.get_meta(tx, _key(heap_id)))


async def without_hidden(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str]
) -> list[BlockState]:
    """Return the blocks whose paths are not ignored; the others are left as they are."""
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
