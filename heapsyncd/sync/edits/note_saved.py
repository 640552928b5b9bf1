"""Turn saved files of known notes into edits of their documents.

Order of writes: the files are read; then the updates of all notes of a batch, their marks as
unsent, the new renditions and the files' stamps are committed in one transaction. After a kill
before that, the files are found changed again; after a kill behind it, the edits are pushed.
"""

from collections.abc import Iterable, Sequence

import structlog

from heapsyncd.cache import blocks, entries, heaps, history, renditions, search
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.errors import BlockError, UnreadableFile
from heapsyncd.sync.edits.new_texts import batches
from heapsyncd.sync.edits.saved_edit import Reader, SavedEdit
from heapsyncd.sync.edits.saved_file import SavedFile, StoredNote
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.merge.note_text import Note, digest

log = structlog.get_logger()


def judged(heap: HeapContext, saved: SavedFile) -> Note | None:
    """Report problems with the content of a note's file; return the note, None if it is not text.

    A file that is not text is left alone.
    """
    heap.problems.clear(saved.path, "content")
    if isinstance(saved.note, UnreadableFile):
        heap.problems.found("content", saved.path, saved.note, "odd")
        return None
    front = saved.note.front
    if front.problem is not None:
        reason = f"{front.problem}; until you correct it, its title and tags are ignored"
        heap.problems.found("content", saved.path, reason, "told")
    return saved.note


async def notes_saved(heap: HeapContext, batch: Sequence[SavedFile]) -> None:
    """Read changed files of known notes as edits, each note once. Takes the heap's lock.

    A file that is not text, or cannot be processed, becomes a problem and is left alone. Its
    stamps are not stored, so nobody writes over it, and each start finds it again.
    """
    async with heap.lock:
        found = [(heap.index.entries.get(s.path), s) for s in batch]
        notes = [(e, s) for e, s in found if e is not None and e.role == "note"]
        good = [(e, s) for e, s in notes if judged(heap, s) is not None]
        if good:
            await _take_in(heap, good)


async def notes_reread(heap: HeapContext, paths: Iterable[str]) -> None:
    """Read the last texts of notes again, because they mean something else now.

    A name in them may have become a note, or their documents have lost their sources. Hold the
    heap's lock.
    """
    rows = [heap.index.entries.get(path) for path in paths]
    notes = [e for e in rows if e is not None and heap.index.is_live(e.block_id)]
    found = await heap.db.read(lambda tx: [(e, renditions.newest(tx, e.block_id)) for e in notes])
    known = [
        (e, heap.index.stats[e.path], base.data)
        for e, base in found
        if base is not None and e.path in heap.index.stats
    ]
    files = await offload(lambda: [(e, SavedFile.of(e.path, d, stat)) for e, stat, d in known])
    texts = [(e, saved) for e, saved in files if not isinstance(saved.note, UnreadableFile)]
    if texts:
        await _take_in(heap, texts, again=True)


async def reread_once(heap: HeapContext) -> None:
    """Read all notes again after an upgrade from a version that sent no exact texts.

    Also if the setting ``source`` has become "document". Takes the heap's lock for each batch.
    After a kill, it is done again.
    """
    source = "document" if heap.carries_source else "local"
    rows = await heap.db.read(heaps.load_all)
    if any(row.id == heap.id and row.source == source for row in rows):
        return
    stats = heap.index.stats
    paths = [p for p, e in heap.index.entries.items() if e.role == "note"]
    if heap.carries_source:
        for some in batches(paths, lambda path: stats[path].size if path in stats else 0):
            async with heap.lock:
                await notes_reread(heap, some)
        log.info("notes read again", heap=heap.report.title, notes=len(paths))
    await heap.db.write(lambda tx: heaps.set_source(tx, heap.id, source))


async def _take_in(
    heap: HeapContext, saved: Sequence[tuple[EntryRow, SavedFile]], *, again: bool = False
) -> None:
    """Express and store the edits of saved files. Hold the heap's lock.

    ``again``: even an unchanged text may be an edit: names mean something else now, or the
    document has lost its source.
    """

    def read(tx: Tx) -> list[tuple[EntryRow, SavedFile, StoredNote]]:
        states = [(e, s, blocks.get(tx, e.block_id)) for e, s in saved]
        return [
            (e, s, StoredNote(b, blocks.log(tx, b.id), renditions.ring(tx, b.id)))
            for e, s, b in states
            if b is not None
        ]

    known = await heap.db.read(read)
    # Take the replicas out of the shared cache; put them back when the change is stored.
    work = [(e, s, k, heap.replicas.take(k.state.id, k.state.seq)) for e, s, k in known]
    tags: dict[str, BlockState] = {}

    def express() -> list[SavedEdit | tuple[str, BlockError]]:
        return [Reader(heap, tags, *one, again=again).interpret() for one in work]

    results = await offload(express)
    taken = [t for t in results if isinstance(t, SavedEdit)]
    seqs = await heap.store(lambda change: [_store(change, heap, t) for t in taken])
    for one, seq in zip(taken, seqs, strict=True):
        if one.live is not None:
            heap.replicas.put(one.state.id, seq, one.live)
        if one.update is not None:
            path, size = one.saved.path, len(one.update)
            log.info("edit stored", path=path, bytes=size, older_base=one.older)
        if one.abandoned:
            log.warning(
                "note deleted permanently, its file becomes a new note", path=one.saved.path
            )
            heap.request_rescan()
    for path, error in (t for t in results if not isinstance(t, SavedEdit)):
        heap.problems.found("content", path, f"this edit could not be sent: {error}")
    if not all(t.searched is not None or t.is_touched for t in taken):
        heap.wake.publish.set()
    if any(t.update is not None for t in taken):
        heap.wake.push.set()


def _store(change: Change, heap: HeapContext, taken: SavedEdit) -> int:
    """Store what a saved file means; return the block's position in its log."""
    tx, state, saved, now = change.tx, taken.state, taken.saved, now_ms()
    block, seq = state.id, state.seq
    if taken.abandoned:
        change.forget(block, heap.index.paths_of(block))
        return seq
    if taken.had_plans:
        renditions.settle_plans(tx, block, taken.plan)
    hashed = digest(saved.data)
    change.save([stamped(taken.entry, saved.stat, hashed)])
    if taken.is_touched or taken.live is None:
        return seq
    for tag in taken.new_tags:
        change.insert(tag)
    values: dict[str, object] = {"stale": int(taken.searched is None)}
    fields = taken.live.fields()
    if taken.update is not None:
        seq = change.append(block, taken.update, local=True)
        values |= change.describe(state, fields) | {"state_vector": taken.live.state_vector()}
    renditions.add(
        tx,
        block,
        seq=taken.seq,
        extra=taken.extra,
        data=saved.data,
        digest=hashed,
        now_ms=now,
        origin="stale" if taken.older else "saved",
        line_breaks=taken.line_breaks,
        # What the document says already was not typed here, as far as is known.
        author="here" if taken.update is not None else "",
    )
    history.keep_reviews(
        tx, heap.id, block, saved.path, saved.data, now, taken.reviews, author="here"
    )
    entries.mention(tx, block, taken.mentions)
    if taken.searched is not None:
        search.index(tx, block, fields.title, taken.searched)
    change.update(block, **values)
    return seq
