"""Notes' files, written in three steps: the texts are stored as planned, written, and stored as
what stands in the files. A kill between any two is known to the next life by the plan: an edit
of a text that was written finds its base, and one that was not written is published again.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from heapsyncd.cache import entries, renditions, search
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.renditions import Rendition
from heapsyncd.database import Tx
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import Moved, Write
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.index import stat_of
from heapsyncd.sync.heap.paths import assets_of
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.note_text import digest


@dataclass(frozen=True, slots=True)
class Draft:
    """A note's next text, and what goes into the cache with it."""

    block: BlockId
    seq: int
    """The position in the block's log whose state it shows."""
    path: str
    data: bytes
    title: str
    words: str
    """What the note is found by."""
    mentions: frozenset[str]
    base: Rendition | None
    """What stands in the file."""

    @property
    def is_new(self) -> bool:
        """Whether the file has to be written."""
        return self.base is None or self.base.data != self.data


def _write(heap: HeapContext, draft: Draft) -> Write:
    entry = heap.index.entries.get(draft.path)
    return Write(draft.path, draft.data, stat_of(entry) if entry is not None else None)


def plan_texts(tx: Tx, drafts: Sequence[Draft]) -> None:
    """Store what is about to be written."""
    for draft in drafts:
        renditions.add(
            tx,
            draft.block,
            seq=draft.seq,
            extra=None,
            data=draft.data,
            digest=digest(draft.data),
            now_ms=now_ms(),
            origin="planned",
        )


async def write_planned(
    heap: HeapContext,
    planned: Sequence[Draft],
    look_at: set[str],
    unchanged: Sequence[Draft] = (),
    attachments: Sequence[EntryRow] = (),
    left: Container[BlockId] = (),
) -> None:
    """Write texts that were planned, and store what stands in the files now; the caller holds the
    lock. A file that can't be written, or was changed meanwhile, is still to be published.

    Args:
        heap: the heap.
        planned: the texts.
        look_at: gets the paths that are to be looked at again.
        unchanged: what the files show already.
        attachments: entries that go with them.
        left: the notes whose attachments are to be put in place once more.
    """
    results = await heap.disk.write_many([_write(heap, d) for d in planned]) if planned else []
    failed = [d.block for d, r in zip(planned, results, strict=True) if isinstance(r, Exception)]
    written = _written(heap, zip(planned, results, strict=True), look_at)

    def store(change: Change) -> None:
        tx = change.tx
        for draft, entry in written:
            renditions.carry_out_plan(tx, draft.block, now_ms())
            change.save([entry])
        for block in failed:
            renditions.drop_plan(tx, block)
        for draft in unchanged:
            if draft.base is not None:
                renditions.same_text(tx, draft.block, draft.base.number, seq=draft.seq, extra=None)
        for draft in [d for d, _ in written] + list(unchanged):
            entries.mention(tx, draft.block, draft.mentions)
            search.index(tx, heap.id, draft.block, draft.title, draft.words)
            change.update(draft.block, stale=int(draft.block in left))
        change.save(attachments)

    await heap.store(store)
    if attachments:
        heap.wake.transfer.set()


def _written(
    heap: HeapContext, results: Iterable[tuple[Draft, Stat | Exception]], look_at: set[str]
) -> list[tuple[Draft, EntryRow]]:
    """The texts that stand in their files now, with their entries; of the others is told."""
    written: list[tuple[Draft, EntryRow]] = []
    for draft, result in results:
        if isinstance(result, Moved):
            look_at.add(draft.path)
        elif isinstance(result, FolderTrouble):
            heap.problems.found("write", draft.path, result)
        elif not isinstance(result, Exception):
            row = heap.index.entries.get(draft.path) or EntryRow(draft.path, draft.block, "note")
            written.append((draft, stamped(row, result, digest(draft.data))))
            if heap.problems.below(assets_of(draft.path)):
                look_at.add(draft.path)  # attachments stood there without it
    return written
