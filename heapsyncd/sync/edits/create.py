"""Blocks made on this device: new notes, and the rows and first updates of all kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import blocks, entries, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.errors import BlockError
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.model import BlockKind
from heapsyncd.sync.edits.note_saved import judged
from heapsyncd.sync.edits.saved_file import Saved, target_of
from heapsyncd.sync.heap.index import NoteLinks
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.note_files import Draft, plan_texts, write_planned
from heapsyncd.sync.merge.note_text import (
    Base,
    Note,
    compose,
    digest,
    front_change,
    front_values,
    read_body,
    shown_files,
    signed,
)

log = structlog.get_logger()

CREATE_BATCH = 100
"""New notes committed together."""


def make_block(
    heap: HeapContext, kind: BlockKind, title: str, target: Target, block: BlockId | None = None
) -> tuple[BlockState, bytes | None, Replica]:
    """A new block: its row, its first update (None when the document is empty) and its replica."""
    replica = Replica(heap.client_id)
    update = edit(replica, target).update
    state = BlockState(
        block or new_block_id(),
        heap.id,
        kind,
        title=title,
        folder_id=heap.folder_of(tuple(sorted(target.add_tags))),
        state_vector=replica.state_vector(),
        born_here=True,
        stale=kind == "document",
    )
    return state, update, replica


def insert_block(
    change: Change, state: BlockState, update: bytes | None, tags: Sequence[BlockId]
) -> None:
    """Store a new block's row and first update."""
    change.insert(state)
    blocks.set_tags(change.tx, state.id, tags)
    if update is not None:
        change.append(state.id, update, local=True)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A new note on its way into the cache."""

    saved: Saved
    note: Note
    state: BlockState
    entry: EntryRow
    target: Target
    update: bytes | None = None
    mentions: frozenset[str] = frozenset()
    live: Replica | None = None
    draft: Draft | None = None
    """Its text with its id; None: publishing works it out."""


async def notes_created(heap: HeapContext, saved: Sequence[Saved]) -> None:
    """New files become new notes, and get their ids. Takes the lock.

    All are named before any is read, so that links among them find each other.
    """
    async with heap.lock:
        tags: dict[str, BlockState] = {}
        named = [_name(heap, s, tags) for s in saved]
        fresh = [f for f in named if f is not None]
        with heap.index.expecting({f.state.id: f.entry.path for f in fresh}):
            for start in range(0, len(fresh), CREATE_BATCH):
                await _create(heap, fresh[start : start + CREATE_BATCH], tags)
    if saved:
        heap.wake.publish.set()
        heap.wake.push.set()
        heap.wake.follow.set()


async def _create(
    heap: HeapContext, batch: Sequence[_Fresh], tags: Mapping[str, BlockState]
) -> None:
    read = await offload(lambda: [_first_edit(heap, f) for f in batch])
    good = [f for f in read if isinstance(f, _Fresh)]
    drafts = [f.draft for f in good if f.draft is not None]

    def store(change: Change) -> None:
        _store_created(change, good, tags)
        plan_texts(change.tx, drafts)

    await heap.store(store)
    for fresh in good:
        if fresh.live is not None:
            heap.replicas.put(fresh.state.id, int(fresh.update is not None), fresh.live)
    # What was changed meanwhile is found by publishing.
    await write_planned(heap, drafts, set())
    for path, reason in [f for f in read if not isinstance(f, _Fresh)]:
        heap.problems.found("content", path, reason)


def _name(heap: HeapContext, saved: Saved, tags: dict[str, BlockState]) -> _Fresh | None:
    """Give a new file its block and its name; ``tags`` gets the new tag blocks, by title."""
    if saved.path in heap.index.entries:
        return None
    note = judged(heap, saved)
    if note is None:
        return None
    known = {title: tag.id for title, tag in tags.items()}
    target, new_tags = target_of(heap, front_change(None, note.front), known)
    tags |= {tag.title: tag for tag in new_tags}
    parent = heap.parent_of(saved.path)
    if parent is not None:
        target = replace(target, add_tags=target.add_tags | {parent})
    title = note.front.title or PurePosixPath(saved.path).name.removesuffix(".md")
    state = BlockState(
        new_block_id(),
        heap.id,
        "document",
        title=title,
        folder_id=heap.folder_of(tuple(sorted(target.add_tags))),
        born_here=True,
        stale=True,
    )
    entry = stamped(EntryRow(saved.path, state.id, "note"), saved.stat, digest(saved.data))
    return _Fresh(saved, note, state, entry, replace(target, title=None))


def _first_edit(heap: HeapContext, fresh: _Fresh) -> _Fresh | tuple[str, str]:
    """The first update of a new note, or its path and what is wrong; runs in a thread."""
    links = NoteLinks(heap.index, None, aliases=True)
    live = Replica(heap.client_id)
    try:
        reading = read_body(
            Base(Note.of(b""), ()), fresh.note, live, (), links, heap.client_id, fresh.target
        )
    except BlockError as error:
        return fresh.saved.path, f"this note could not be read: {error}"
    state = replace(fresh.state, state_vector=live.state_vector())
    fresh = replace(
        fresh, state=state, update=reading.update, mentions=reading.mentions, live=live
    )
    return replace(fresh, draft=_draft(heap, fresh)) if reading.is_whole else fresh


def _draft(heap: HeapContext, fresh: _Fresh) -> Draft | None:
    """The text of a file that shows its document, with the id in it; None where more than that is
    to be written: attachments, or tags that are not known yet.
    """
    assert fresh.live is not None
    fields, view, state = fresh.live.fields(), fresh.live.view(), fresh.state
    known = all(t in heap.index.blocks for t in fields.tags)
    if not known or fields.files or shown_files(view):
        return None
    values = front_values(heap.index, state, fresh.saved.path, fields)
    if fresh.mentions:
        # A link may stand under a former name.
        data = compose(fresh.note, view, values, NoteLinks(heap.index, state.id))
    else:
        data = signed(fresh.note, values)
    return Draft(
        state.id, int(fresh.update is not None), fresh.saved.path, data, state.title,
        view.all_words(), fresh.mentions, None,
    )  # fmt: skip


def _store_created(
    change: Change, batch: Sequence[_Fresh], tags: Mapping[str, BlockState]
) -> None:
    for tag in tags.values():
        change.insert(tag)
    for fresh in batch:
        insert_block(change, fresh.state, fresh.update, sorted(fresh.target.add_tags))
        renditions.add(
            change.tx,
            fresh.state.id,
            seq=1 if fresh.update is not None else 0,
            extra=None,
            data=fresh.saved.data,
            digest=digest(fresh.saved.data),
            now_ms=now_ms(),
            origin="saved",
        )
        change.save([fresh.entry])
        entries.mention(change.tx, fresh.state.id, fresh.mentions)
        log.info("new note", path=fresh.saved.path, block=fresh.state.id)
