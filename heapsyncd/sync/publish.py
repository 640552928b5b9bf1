"""Cache to folder: write the files and directories that show the documents.

Order of writes: the document's update is already committed. The file is written beside the old one
and renamed over it after a last check; then its rendition is committed. A kill before the last
step is recognised by content: a file that shows its document is ours (``note_saved``). A file that
changed since the plan was made is left alone and read first.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Container, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache import blocks, renditions
from heapsyncd.cache.blocks import BlockState, LogRow
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.renditions import Rendition
from heapsyncd.database import Tx
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError, FolderTrouble
from heapsyncd.folder.ignore import IGNORE_FILE
from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.markdown.links import NO_LINKS
from heapsyncd.model import Fields, Source, StoredSource
from heapsyncd.sync.deletions.holds import allowed_removals, remove_deleted_files
from heapsyncd.sync.edits.put_back import put_back, waits
from heapsyncd.sync.edits.saved_file import StoredNote, note_files
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.layout.attachments import AttachmentOwner, place_attachments
from heapsyncd.sync.layout.ignore_rules import without_hidden
from heapsyncd.sync.layout.note_files import plan_texts, write_planned
from heapsyncd.sync.layout.placement import (
    commit_entries,
    has_directories,
    is_free,
    make_folders,
    plan_places,
    put_in_place,
    remove_deleted,
)
from heapsyncd.sync.merge.link_meanings import mentions
from heapsyncd.sync.merge.note_file import (
    Draft,
    lacks_source,
    searched,
    shown_file,
    source_to_show,
)
from heapsyncd.sync.merge.note_source import is_too_long, read_source
from heapsyncd.sync.merge.note_text import (
    Note,
    our_keys,
    shown_files,
    shows,
)
from heapsyncd.sync.pull.pull import pull
from heapsyncd.tree import Block

BATCH = 200
FIRST = 50
"""So many notes are written before a first mirror receives the rest."""


async def show_newest(heap: HeapContext) -> None:
    """Begin a first mirror with its newest notes: whoever waits sees them within a second.

    Only in an empty folder, where no file can be one of theirs. A note is left to the rest if
    another block has its title: which of them gets the plain name is known when all are here.
    """
    if heap.link.was_current or heap.index.entries:
        return
    try:
        files = await heap.disk.scan(heap.layout.ignore)
        has_rules = await heap.disk.stat(IGNORE_FILE) is not None
    except FolderTrouble:  # whoever scans it reports that
        return
    if files.entries or has_rules:
        return
    await pull(heap, everything=True, newest=FIRST)
    keys = {b.id: collision_key(b.title) for b in heap.index.placed()}
    uses = Counter(keys.values())
    with suppress(FolderTrouble):  # the rest meets it, too
        await publish(heap, set(), among={b for b, key in keys.items() if uses[key] == 1})


async def publish(
    heap: HeapContext,
    rescan: set[str],
    *,
    everything: bool = False,
    among: Container[BlockId] | None = None,
) -> bool:
    """Make the folder show every stale block; return whether anything was done.

    Takes the heap's lock for each batch.

    Args:
        heap: the heap.
        rescan: receives the paths whose files changed meanwhile: they have to be read first.
        everything: report the progress: this is the first mirror.
        among: leave all other blocks stale; None: there are no others.
    """
    total = len(heap.index.stale)
    tried, left, done = set[BlockId](), list[BlockId](), 0

    def read(tx: Tx) -> tuple[list[BlockId], list[BlockId], list[BlockState]]:
        """Return the ids to publish now, those that follow, and the present rows of the former."""
        # Blocks that could not be written stay stale: try each only once in this call.
        ids = left or [i for i in blocks.stale(tx, heap.id) if i not in tried]
        return ids[:BATCH], ids[BATCH:], blocks.still_stale(tx, ids[:BATCH])

    while True:
        async with heap.lock:
            if heap.layout.rearrange:
                # Remove deleted files first: others may get their paths.
                await remove_deleted_files(heap, rescan)
                await put_in_place(heap, rescan)
            if not heap.index.stale:
                return bool(done)
            batch, left, fresh = await heap.db.read(read)
            if not batch:
                return bool(done)
            tried.update(batch)
            states = [
                s
                for s in fresh
                if heap.index.path_of.get(s.id) not in rescan
                and not waits(heap, s)
                and (among is None or s.id in among)
            ]
            await _publish_batch(heap, states, rescan)
        done += len(states)
        if everything:
            heap.step("writing", done, max(total, done))
        await asyncio.sleep(0)


async def _publish_batch(
    heap: HeapContext, states: Sequence[BlockState], rescan: set[str]
) -> None:
    if any(
        s.deleted_at_ms is None
        and s.id not in heap.index.path_of
        and not (s.id in heap.layout.places and has_directories(heap, s, heap.layout.places))
        for s in states
    ):
        await plan_places(heap)
    places = heap.layout.places
    states = [s for s in await without_hidden(heap, states, places) if is_free(heap, s, places)]
    gone = [s for s in states if s.deleted_at_ms is not None or s.kind == "tag"]
    await remove_deleted(heap, await allowed_removals(heap, gone), rescan)
    live = [s for s in states if s.deleted_at_ms is None and s.kind != "tag"]
    await make_folders(heap, live, places)
    await _write_files(heap, [s for s in live if s.kind == "file"], places, rescan)
    await _write_notes(heap, [s for s in live if s.kind == "document"], places, rescan)


async def not_shown(heap: HeapContext, states: Sequence[BlockState]) -> list[BlockId]:
    """Return the notes whose last texts show something else than their documents.

    Nothing is stored unless a document cannot be read.
    """
    loaded = await _load(heap, states, {})
    return await offload(lambda: [n.state.id for n in loaded if _is_wrong(heap, n)])


def _is_wrong(heap: HeapContext, note: "_Loaded") -> bool:
    """Return whether a note's file shows something else than its document; runs in a thread."""
    draft = _compose(heap, note, ())
    if not isinstance(draft, Draft) or note.base is None or not draft.is_new:
        return False
    source, file = note.source.source, Note.of(note.base.data)
    mode = note.base.line_breaks if source is None else source.line_breaks
    if source is not None and Note.of(draft.data).body == source.body:
        return True
    # An older version may have patched it differently: that is no reason to rewrite it.
    links = NoteLinks(heap.index, note.state.id)
    return not shows(replace(file, line_breaks=mode), note.view, links)


# ---- files ------------------------------------------------------------


async def _write_files(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str], rescan: set[str]
) -> None:
    """Move and enter the contents of file blocks; ``transfers`` downloads them."""
    for state in states:
        rows = await heap.db.read(lambda tx, i=state.id: blocks.log(tx, i))  # type: ignore[misc]
        try:
            with heap.at_work.on(state.id):
                replica = await heap.take_replica(state, [r.data for r in rows])
                files = replica.fields().files
        except BlockError as error:
            await _trouble(heap, state.id, str(error))
            continue
        heap.replicas.put(state.id, state.seq, replica)
        path = heap.index.path_of.get(state.id) or places.get(state.id)
        changes: list[EntryRow] = []
        done = True
        if path is not None:
            holding = AttachmentOwner(state.id, "file", path, files)
            changes, done = await place_attachments(heap, holding, rescan)
        await commit_entries(heap, state.id, changes, stale=not done)
    if states:
        heap.wake.transfer.set()


async def _trouble(heap: HeapContext, block: BlockId, reason: str) -> None:
    await heap.store(lambda change: change.update(block, problem=reason, stale=0))


# ---- notes --------------------------------------------------------------------------------


class _Loaded(Struct, frozen=True):
    """A stale note, its replica's content, and what is in its file."""

    state: BlockState
    path: str
    fields: Fields
    view: Block
    files: frozenset[str]
    """The keys of the files that the view shows."""
    source: StoredSource
    agreed: Source | None
    """The source of the file, if the document's is not shown; None: there is no file."""
    base: Rendition | None


async def _write_notes(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str], rescan: set[str]
) -> None:
    composed = await _compose_notes(heap, states, places, rescan)
    drafts = composed.drafts
    changed: list[Draft] = []
    unchanged: list[Draft] = []
    for draft in drafts:
        is_changed = draft.is_new or draft.path not in heap.index.stats
        (changed if is_changed else unchanged).append(draft)
    if changed:
        # Store the texts as planned first: after a kill in between, an edit finds its base.
        await heap.db.write(lambda tx: plan_texts(tx, changed))
    # Those without a source stay to be published until it is put back, also after a kill.
    left = composed.left | {d.block for d in drafts if d.lacks_source}
    await write_planned(heap, changed, rescan, unchanged, composed.attachments, left)
    await put_back(heap, drafts)


class _Composed(Struct, frozen=True):
    """The next texts of notes, the entries of their attachments, and those that stay stale."""

    drafts: list[Draft]
    attachments: list[EntryRow]
    left: set[BlockId]


async def _compose_notes(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str], rescan: set[str]
) -> _Composed:
    """Make the next texts of notes, once their attachments are in place; report problems."""
    loaded = await _load(heap, states, places)
    attachments: dict[BlockId, list[EntryRow]] = {}
    left: set[BlockId] = set()
    for note in loaded:
        holding = AttachmentOwner(note.state.id, "note", note.path, note.fields.files, note.files)
        attachments[note.state.id], done = await place_attachments(heap, holding, rescan)
        if not done:
            left.add(note.state.id)
    composed = await offload(lambda: [_compose(heap, n, attachments[n.state.id]) for n in loaded])
    for block, reason in [d for d in composed if not isinstance(d, Draft)]:
        await _trouble(heap, block, reason)
    for note in loaded:
        heap.problems.clear(note.path, "source")
        if note.agreed and heap.carries_source and is_too_long(note.agreed, note.view):
            reason = "its exact text is too long for the document: other devices show a rendering"
            heap.problems.found("source", note.path, reason, "told")
        if note.source.problem is not None:
            reason = f"its exact text in the document can't be used: {note.source.problem}"
            heap.problems.found("source", note.path, reason, "told")
    rows = [row for some in attachments.values() for row in some]
    return _Composed([d for d in composed if isinstance(d, Draft)], rows, left)


async def _load(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str]
) -> list[_Loaded]:
    """Return the notes with their replicas' content; failures become problems."""

    def read(tx: Tx) -> list[tuple[BlockState, list[LogRow], Rendition | None]]:
        return [(s, blocks.log(tx, s.id), renditions.newest(tx, s.id)) for s in states]

    def one(
        state: BlockState, rows: Sequence[LogRow], base: Rendition | None
    ) -> tuple[Replica, _Loaded] | tuple[BlockId, str]:
        path = heap.index.path_of.get(state.id) or places.get(state.id)
        if path is None:
            return state.id, "no path in the folder was found for this note"
        try:
            with heap.at_work.on(state.id):
                replica = held.get(state.id) or Replica.load(
                    [r.data for r in rows], heap.client_id
                )
                fields, view = replica.fields(), replica.view()
                source = read_source(replica, replica.view, NO_LINKS)
                agreed = None
                lacks = source.source is None or not heap.carries_source
                # A service's documents decide alone: none of them has lost a source.
                if base is not None and lacks and heap.dialect.merge_files is None:
                    known = StoredNote(state, rows, [base])
                    file = known.base(base)
                    _, agreed = note_files(heap.index, known, path, file, file.note, fields, None)
        except BlockError as error:
            return state.id, str(error)
        kept = None if agreed is None else agreed.source
        loaded = _Loaded(state, path, fields, view, shown_files(view), source, kept, base)
        return replica, loaded

    found = await heap.db.read(read)
    kept = ((s.id, heap.replicas.get(s.id, s.seq)) for s, _, _ in found)
    held = {block: replica for block, replica in kept if replica is not None}
    loaded = []
    for left, right in await offload(lambda: [one(*f) for f in found]):
        if isinstance(left, Replica):
            assert isinstance(right, _Loaded)
            heap.replicas.put(right.state.id, right.state.seq, left)
            loaded.append(right)
        else:
            await _trouble(heap, left, str(right))
    return loaded


def _compose(
    heap: HeapContext, note: _Loaded, attachments: Sequence[EntryRow]
) -> Draft | tuple[BlockId, str]:
    """Return the note's next text, or the block and its problem; runs in a thread."""
    state = note.state
    ours = our_keys(heap.index, state, note.path, note.fields)
    new_files = {e.key: e.path for e in attachments if e.key is not None}
    linked = mentions(note.view)
    links = NoteLinks(heap.index, state.id, new_files=new_files).restricted(linked, note.files)
    source, carries = note.source.source, heap.carries_source
    if note.agreed is not None:
        source = source_to_show(note.source, note.agreed, carries=carries)
    try:
        data = shown_file(source, note.view, ours, links)
        was_tried = heap.layout.unsourced.get(state.id) == (state.seq, math.inf)
        lacks = bool(note.agreed and carries and not was_tried) and lacks_source(
            note.source, data, note.view, ours, links
        )
    except BlockError as error:
        return state.id, str(error)
    return Draft(
        state.id, state.seq, note.path, data, note.fields.title, searched(data),
        linked, note.base, "space" if source is None else source.line_breaks, ours.id, lacks,
    )  # fmt: skip
