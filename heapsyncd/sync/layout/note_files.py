"""Write notes' files in three steps: store the texts as planned, write, store them as written.

After a kill between two steps, the plan tells the next start what may be in the file. An edit of a
text that was written finds its base; a text that was not written is published again.
"""

from collections.abc import Container, Iterable, Sequence

from heapsyncd.cache import blocks, entries, renditions, search
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.renditions import Author
from heapsyncd.database import Tx
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import PathChanged, Write
from heapsyncd.ids import BlockId
from heapsyncd.model import Stat
from heapsyncd.sync.heap.paths import assets_of
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.note_file import Draft, without_id
from heapsyncd.sync.merge.note_text import digest


def _write(heap: HeapContext, draft: Draft) -> Write:
    entry = heap.index.entries.get(draft.path)
    return Write(draft.path, draft.data, entry.stat if entry is not None else None)


def plan_texts(tx: Tx, drafts: Sequence[Draft]) -> None:
    """Store the texts that are about to be written."""
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
            line_breaks=draft.line_breaks,
            author=_author(tx, draft),
        )


def _author(tx: Tx, draft: Draft) -> Author:
    """Return whether a text contains news from the server, compared with the one before it."""
    base = draft.base
    if base is not None and base.seq is None:
        return ""  # the document was replaced by another history
    after = 0 if base is None else base.seq or 0
    if not blocks.has_received(tx, draft.block, after, draft.seq):
        return "daemon"
    # The server answers a new note with updates of its own, before the file has its id.
    own = draft.shown_id
    if base is not None and own is not None and own.encode() not in base.data:
        return "daemon" if without_id(draft.data, own) == base.data else "server"
    return "server"


async def write_planned(
    heap: HeapContext,
    planned: Sequence[Draft],
    rescan: set[str],
    unchanged: Sequence[Draft] = (),
    attachments: Sequence[EntryRow] = (),
    left: Container[BlockId] = (),
) -> None:
    """Write planned texts, and store what the files contain now. Hold the heap's lock.

    A note whose file cannot be written, or was changed meanwhile, stays to be published.

    Args:
        heap: the heap.
        planned: the texts.
        rescan: receives the paths to scan again.
        unchanged: drafts that their files already show.
        attachments: entries to store with them.
        left: the notes whose attachments are not all in place: they stay to be published.
    """
    results = await heap.disk.write_many([_write(heap, d) for d in planned]) if planned else []
    failed = [d.block for d, r in zip(planned, results, strict=True) if isinstance(r, Exception)]
    written = _written(heap, zip(planned, results, strict=True), rescan)

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
            search.index(tx, draft.block, draft.title, draft.searched)
            change.update(draft.block, stale=int(draft.block in left))
        change.save(attachments)

    await heap.store(store)
    if attachments:
        heap.wake.transfer.set()


def _written(
    heap: HeapContext, results: Iterable[tuple[Draft, Stat | Exception]], rescan: set[str]
) -> list[tuple[Draft, EntryRow]]:
    """Return the texts that were written, with their entries; report the others as problems."""
    written: list[tuple[Draft, EntryRow]] = []
    for draft, result in results:
        if isinstance(result, PathChanged):
            rescan.add(draft.path)
        elif isinstance(result, FolderTrouble):
            heap.problems.found("write", draft.path, result)
        elif not isinstance(result, Exception):
            row = heap.index.entries.get(draft.path) or EntryRow(draft.path, draft.block, "note")
            written.append((draft, stamped(row, result, digest(draft.data))))
            if heap.problems.below(assets_of(draft.path)):
                rescan.add(draft.path)  # its attachments were found before the note
    return written
