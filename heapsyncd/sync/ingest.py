"""Folder to cache: a saved file becomes an edit of its document.

Order of writes: the file is read; then the update, its mark as unsent, the new rendition and the
disk's stamps are committed in one transaction. A kill before it leaves everything as it was (the
file is found changed again), a kill after it leaves the edit to be pushed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import structlog

from heapsyncd.cache import blocks, entries, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.renditions import Rendition
from heapsyncd.database import Tx
from heapsyncd.document.edit import Wish, edit
from heapsyncd.document.replica import Replica
from heapsyncd.document.updates import merge
from heapsyncd.errors import BlockError, UnreadableFile
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.sync import review
from heapsyncd.sync.attachments import Holding, wanted_paths
from heapsyncd.sync.index import NoteLinks
from heapsyncd.sync.merge import (
    Base,
    FrontChange,
    Note,
    digest,
    front_change,
    mentions,
    read_body,
    recall,
    shows,
)
from heapsyncd.sync.offloop import off_loop
from heapsyncd.sync.review import Review
from heapsyncd.sync.stale import choose, was_written
from heapsyncd.sync.state import HeapState, now_ms, stamped
from heapsyncd.sync.unit_of_work import Change

log = structlog.get_logger()

NO_TAGS: Final[Mapping[str, BlockId]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Saved:
    """A note's file as it was read."""

    path: str
    data: bytes
    stat: Stat


def read_note(data: bytes) -> Note | UnreadableFile:
    """A note's file taken apart, or why it is no text; takes long where the file is large."""
    try:
        return Note.of(data)
    except UnreadableFile as error:
        return error


def judged(heap: HeapState, saved: Saved, note: Note | UnreadableFile) -> Note | None:
    """Tell what is wrong with the content of a note's file; None when it is no text: such a file
    is left alone.

    Args:
        heap: the heap.
        saved: the file.
        note: as it was read (``read_note``).
    """
    heap.problems.clear(saved.path, "content")
    if isinstance(note, UnreadableFile):
        heap.problems.found("content", saved.path, note, "odd")
        return None
    if note.front.problem is not None:
        reason = f"{note.front.problem}; until you correct it, its title and tags do not count"
        heap.problems.found("content", saved.path, reason, "told")
    return note


async def note_saved(
    heap: HeapState, saved: Saved, *, meant: bool = False, is_blind: bool = False
) -> None:
    """A known note's file was changed; takes the lock. ``meant``: it is no stale save;
    ``is_blind``: its author did not see the file it is in now.
    """
    async with heap.lock:
        entry = heap.index.entries.get(saved.path)
        if entry is None or entry.role != "note":
            return
        await _ingest(heap, entry, saved, meant=meant, is_blind=is_blind)


async def _ingest(
    heap: HeapState,
    entry: EntryRow,
    saved: Saved,
    *,
    meant: bool = False,
    is_blind: bool = False,
) -> None:
    block = entry.block_id
    state, updates, ring = await heap.db.read(lambda tx: read_block(tx, block))
    if state is None:
        return
    if ring and ring[0].origin == "planned":
        ring = await _after_a_kill(heap, block, ring, saved.data)
    note = judged(heap, saved, await off_loop(read_note, saved.data))
    if note is None:
        # Its stamps are not taken: nobody writes over it, and each life finds it anew.
        return
    if ring and ring[0].data == saved.data and state.deleted_at_ms is None:
        await _touched(heap, entry, saved)
        return
    try:
        ring = ring[:1] if meant else ring
        with heap.at_work.on(block):
            await _express(heap, entry, saved, note, state, updates, ring, is_blind=is_blind)
    except BlockError as error:
        # As above.
        heap.problems.found("content", saved.path, f"this edit could not be sent: {error}")


async def _after_a_kill(
    heap: HeapState, block: BlockId, ring: list[Rendition], data: bytes
) -> list[Rendition]:
    """The ring, once it is clear whether a planned text had been written before the kill."""
    planned, rest = ring[0], ring[1:]
    if await off_loop(lambda: was_written(planned, rest[0] if rest else None, data)):
        await heap.db.write(lambda tx: renditions.carry_out_plan(tx, block, planned.made_at_ms))
        return [replace(planned, origin="written"), *rest]
    await heap.db.write(lambda tx: renditions.drop_plan(tx, block))
    return rest


def read_block(tx: Tx, block: BlockId) -> tuple[BlockState | None, list[bytes], list[Rendition]]:
    """A block's row, the updates of its log, and its renditions, newest first."""
    state = blocks.get(tx, block)
    if state is None:
        return None, [], []
    return state, [r.data for r in blocks.log(tx, block)], renditions.ring(tx, block)


async def _touched(heap: HeapState, entry: EntryRow, saved: Saved) -> None:
    """The file has new stamps but says nothing new."""
    row = stamped(entry, saved.stat, digest(saved.data))
    await heap.store(lambda change: change.save([row]))


async def _express(
    heap: HeapState,
    entry: EntryRow,
    saved: Saved,
    note: Note,
    state: BlockState,
    updates: Sequence[bytes],
    ring: Sequence[Rendition],
    *,
    again: bool = False,
    is_blind: bool = False,
) -> None:
    """``again``: names mean something else now, so that a text that shows the document may say
    something new.
    """
    block = entry.block_id
    live = await heap.take_replica(state, updates)
    if _is_gone_for_good(state, live):
        await _abandon(heap, entry)
        return
    links = NoteLinks(heap.index, block, aliases=True, new_files=_awaited(heap, entry, live))
    chosen = None
    if ring:
        chosen = await off_loop(choose, ring, saved.data, now_ms(), is_blind=is_blind)
    base = await heap.db.read(lambda tx: _base(tx, block, chosen.rendition)) if chosen else None
    before = await off_loop(Note.of, chosen.rendition.data) if chosen else None
    change = front_change(before.front if before else None, note.front)
    wish, new_tags = wish_of(heap, change)
    same = wish == Wish() and not again and (not ring or state.deleted_at_ms is None)
    if same and await off_loop(lambda: shows(saved.data, live.view(), links)):
        # The file shows the document as it is: written by us before a kill, or edited alike on
        # both sides.
        named = await off_loop(lambda: mentions(live.view()))
        await _commit(heap, entry, saved, state, live, _Outcome(None, state.seq, None, named))
        return
    if state.deleted_at_ms is not None:
        wish = replace(wish, deleted_at_ms=None)  # an edit wins over a deletion
    links = await off_loop(recall, base, note, live, updates, links)
    reading = await off_loop(read_body, base, note, live, updates, links, heap.client_id, wish)
    current = chosen is None or chosen.rendition.seq == state.seq
    reviews: tuple[Review, ...] = ()
    if not reading.is_made:
        seen = None if current else base
        reviews = await off_loop(review.take_in, live, reading.update, seen, note, links)
    update = _undeleted(live, reading.update)
    seq: int | None
    if chosen is None or base is None or base.updates is None or not reading.is_whole:
        # Merged without a common history, or with edits of others in it: the file shows our side
        # only, unless there was no other.
        whole = await off_loop(lambda: shows(saved.data, live.view(), links))
        seq, extra = (state.seq + (update is not None) if whole else None), None
    else:
        parts = [p for p in (chosen.rendition.extra, reading.update) if p is not None]
        seq, extra = chosen.rendition.seq, merge(parts) if parts else None
    older = chosen is not None and chosen.older
    if older:
        reviews += (review.STALE,)
    if state.deleted_at_ms is not None:
        reviews += (review.KEPT,)
    outcome = _Outcome(update, seq, extra, reading.mentions, tuple(new_tags), reviews, older=older)
    await _commit(heap, entry, saved, state, live, outcome)


def _awaited(heap: HeapState, entry: EntryRow, live: Replica) -> dict[str, str]:
    """Where contents of a note will stand that are not here yet, by key: a text may show one."""
    here = heap.index.attachments.get(entry.block_id, {})
    files = live.fields().files
    if all(f.key in here for f in files):
        return {}
    paths = wanted_paths(Holding(entry.block_id, "note", entry.path, files), here)
    return {k: p for k, p in paths.items() if k not in here}


def _is_gone_for_good(state: BlockState, live: Replica) -> bool:
    """Whether nothing brings a block back: its document says so, or the server's feed did, for the
    document knows of no deletion.
    """
    fields = live.fields()
    unknown = state.deleted_at_ms is not None and fields.deleted_at_ms is None
    return unknown or fields.permanently_deleted_at_ms is not None


async def _abandon(heap: HeapState, entry: EntryRow) -> None:
    """A text of a block that was deleted for good becomes another note's."""
    block = entry.block_id
    paths = heap.index.paths_of(block)
    await heap.store(lambda change: change.forget(block, paths))
    heap.look_at_files()
    log.warning("deleted for good: its file becomes another note", path=entry.path)


def _undeleted(live: Replica, update: bytes | None) -> bytes | None:
    """An edit's update with the deletion taken back that came after the base it is measured from;
    the replica follows.
    """
    if live.fields().deleted_at_ms is None:
        return update
    restored = edit(live, Wish(deleted_at_ms=None))
    assert restored.update is not None
    return restored.update if update is None else merge([update, restored.update])


def _base(tx: Tx, block: BlockId, rendition: Rendition) -> Base:
    if rendition.seq is None:
        return Base(rendition.data, None)
    rows = [r.data for r in blocks.log(tx, block, rendition.seq)]
    return Base(rendition.data, (*rows, *([rendition.extra] if rendition.extra else [])))


def wish_of(
    heap: HeapState, change: FrontChange, known: Mapping[str, BlockId] = NO_TAGS
) -> tuple[Wish, list[BlockState]]:
    """What a change of the front matter asks of the document, and the tag blocks it needs.

    Args:
        heap: the heap.
        change: of the front matter.
        known: tag blocks by title that are to be stored together with this one.
    """
    new_tags, added = [], []
    for title in change.added_tags:
        tag = known.get(title) or heap.index.tag_named(title)
        if tag is None:
            state = BlockState(new_block_id(), heap.id, "tag", title=title, born_here=True)
            new_tags.append(state)
            tag = state.id
        added.append(tag)
    removed = [t for t in map(heap.index.tag_named, change.removed_tags) if t is not None]
    wish = Wish(
        title=change.title or None, add_tags=frozenset(added), remove_tags=frozenset(removed)
    )
    return wish, new_tags


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is committed of a reading: the edit, and the state its text shows."""

    update: bytes | None
    seq: int | None
    extra: bytes | None
    mentions: frozenset[str]
    new_tags: tuple[BlockState, ...] = ()
    reviews: tuple[Review, ...] = ()
    older: bool = False


async def _commit(
    heap: HeapState,
    entry: EntryRow,
    saved: Saved,
    state: BlockState,
    live: Replica,
    outcome: _Outcome,
) -> None:
    row = stamped(entry, saved.stat, digest(saved.data))
    fields = live.fields()

    def store(change: Change) -> int:
        tx, values = change.tx, dict[str, object]()
        seq = state.seq
        for tag in outcome.new_tags:
            change.insert(tag)
        if outcome.update is not None:
            seq = blocks.append(tx, state.id, outcome.update, local=True)
            values = change.describe(state, fields) | {"state_vector": live.state_vector()}
        renditions.add(
            tx,
            state.id,
            seq=outcome.seq,
            extra=outcome.extra,
            data=saved.data,
            digest=digest(saved.data),
            now_ms=now_ms(),
            origin="stale" if outcome.older else "saved",
        )
        review.keep(tx, heap.id, state.id, row.path, saved.data, now_ms(), outcome.reviews)
        change.save([row])
        entries.mention(tx, state.id, outcome.mentions)
        # Publishing brings what arrived meanwhile, and the front matter; it writes nothing when
        # nothing is missing.
        change.update(state.id, **values, stale=1)
        return seq

    heap.replicas.put(state.id, await heap.store(store), live)
    heap.to_publish.set()
    if outcome.update is not None:
        log.info("edit read", path=saved.path, bytes=len(outcome.update), older_base=outcome.older)
        heap.to_push.set()


async def note_reread(heap: HeapState, path: str) -> None:
    """Read a note's text again, because a name in it means something now; the caller holds the
    lock.
    """
    entry = heap.index.entries.get(path)
    stat = heap.index.stats.get(path)
    if entry is None or stat is None:
        return
    state, updates, ring = await heap.db.read(lambda tx: read_block(tx, entry.block_id))
    ring = [r for r in ring if r.origin != "planned"]
    if state is None or not ring:
        return
    saved = Saved(path, ring[0].data, stat)
    try:
        note = await off_loop(Note.of, saved.data)
        with heap.at_work.on(entry.block_id):
            await _express(heap, entry, saved, note, state, updates, ring[:1], again=True)
    except BlockError as error:
        heap.problems.found("content", path, error)
