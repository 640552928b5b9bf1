"""Folder to cache: a saved file becomes an edit of its document.

Order of writes: the file is read; then the update, its mark as unsent, the new rendition and the
disk's stamps are committed in one transaction. A kill before it leaves everything as it was (the
file is found changed again), a kill after it leaves the edit to be pushed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import structlog

from heapsyncd.cache import blocks, entries, history, renditions, search
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.renditions import Rendition
from heapsyncd.database import Tx
from heapsyncd.document.edit import Wish, express
from heapsyncd.document.replica import Replica, merge
from heapsyncd.errors import BlockError, UnreadableFile
from heapsyncd.folder.names import carries
from heapsyncd.folder.snapshot import Stat
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.model import BlockKind
from heapsyncd.sync.index import NoteLinks
from heapsyncd.sync.merge import (
    Base,
    FrontChange,
    Note,
    digest,
    front_change,
    mentions,
    read_body,
    shows,
)
from heapsyncd.sync.stale import choose
from heapsyncd.sync.state import HeapState, now_ms, stamped

log = structlog.get_logger()

CREATE_BATCH = 100
"""New notes committed together."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A note's file as it was read."""

    path: str
    data: bytes
    stat: Stat


async def note_saved(heap: HeapState, saved: Saved) -> None:
    """A known note's file was changed; takes the lock."""
    async with heap.lock:
        entry = heap.index.entries.get(saved.path)
        if entry is None or entry.role != "note":
            return
        await _ingest(heap, entry, saved)


async def _ingest(heap: HeapState, entry: EntryRow, saved: Saved) -> None:
    block = entry.block_id
    state, updates, ring = await heap.db.read(lambda tx: _read(tx, block))
    if state is None:
        return
    if ring and ring[0].data == saved.data and state.deleted_at_ms is None:
        await _touched(heap, entry, saved)
        return
    try:
        note = Note.of(saved.data)
    except UnreadableFile as error:
        # Left alone and reported; the stamps are kept so that it is read again only when it
        # changes.
        heap.file_problems[saved.path] = str(error)
        await _touched(heap, entry, saved, seen=False)
        return
    heap.file_problems.pop(saved.path, None)
    try:
        await _express(heap, entry, saved, note, state, updates, ring)
    except BlockError as error:
        heap.file_problems[saved.path] = f"this edit could not be sent: {error}"
        await _touched(heap, entry, saved, seen=False)


def _read(tx: Tx, block: BlockId) -> tuple[BlockState | None, list[bytes], list[Rendition]]:
    state = blocks.get(tx, block)
    if state is None:
        return None, [], []
    return state, [r.data for r in blocks.log(tx, block)], renditions.ring(tx, block)


async def _touched(heap: HeapState, entry: EntryRow, saved: Saved, *, seen: bool = True) -> None:
    """The file has new stamps but says nothing new."""
    row = stamped(entry, saved.stat, digest(saved.data) if seen else entry.digest)
    await heap.db.write(lambda tx: entries.save(tx, heap.id, [row]))
    heap.index.put(row)


async def _express(
    heap: HeapState,
    entry: EntryRow,
    saved: Saved,
    note: Note,
    state: BlockState,
    updates: Sequence[bytes],
    ring: Sequence[Rendition],
) -> None:
    block = entry.block_id
    live = await asyncio.to_thread(heap.replicas.load, block, state.seq, updates)
    heap.replicas.drop(block)
    links = NoteLinks(heap.index, block, aliases=True)
    chosen = await asyncio.to_thread(choose, ring, saved.data, now_ms()) if ring else None
    base = await heap.db.read(lambda tx: _base(tx, block, chosen.rendition)) if chosen else None
    front_before = Note.of(chosen.rendition.data).front if chosen else None
    change = front_change(front_before, note.front)
    wish, new_tags = _wish(heap, change)
    if state.deleted_at_ms is not None:
        wish = replace(wish, deleted_at_ms=None)  # an edit wins over a deletion
    if wish == Wish() and await asyncio.to_thread(shows, saved.data, live.view(), links):
        # The file shows the document as it is: written by us before a kill, or edited alike on
        # both sides.
        await _commit(
            heap, entry, saved, state, live, _Outcome(None, state.seq, None, mentions(live.view()))
        )
        return
    reading = await asyncio.to_thread(
        read_body, base, note, live, updates, links, heap.client_id, wish
    )
    if reading.update is not None:
        await asyncio.to_thread(live.apply, reading.update)
    seq: int | None
    if chosen is None or base is None or base.updates is None:
        # Merged without a common history: the file shows our side only, unless there was no other.
        whole = await asyncio.to_thread(shows, saved.data, live.view(), links)
        seq, extra = (state.seq + (reading.update is not None) if whole else None), None
    else:
        parts = [p for p in (chosen.rendition.extra, reading.update) if p is not None]
        seq, extra = chosen.rendition.seq, merge(parts) if parts else None
    older = chosen is not None and chosen.older
    outcome = _Outcome(reading.update, seq, extra, reading.mentions, tuple(new_tags), older=older)
    await _commit(heap, entry, saved, state, live, outcome)


def _base(tx: Tx, block: BlockId, rendition: Rendition) -> Base:
    if rendition.seq is None:
        return Base(rendition.data, None)
    rows = [r.data for r in blocks.log(tx, block, rendition.seq)]
    return Base(rendition.data, (*rows, *([rendition.extra] if rendition.extra else [])))


def _wish(heap: HeapState, change: FrontChange) -> tuple[Wish, list[BlockState]]:
    """What a change of the front matter asks of the document, and the tag blocks it needs."""
    new_tags, added = [], []
    for title in change.added_tags:
        tag = heap.index.tag_named(title)
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

    def store(tx: Tx) -> BlockState:
        for tag in outcome.new_tags:
            blocks.insert(tx, tag)
        values: dict[str, object] = {}
        if outcome.update is not None:
            blocks.append(tx, state.id, outcome.update, local=True)
            values = heap.described(state, fields) | {"state_vector": live.state_vector()}
            blocks.set_tags(tx, state.id, fields.tags)
        renditions.add(
            tx,
            state.id,
            seq=outcome.seq,
            extra=outcome.extra,
            data=saved.data,
            digest=digest(saved.data),
            now_ms=now_ms(),
        )
        entries.save(tx, heap.id, [row])
        entries.mention(tx, state.id, outcome.mentions)
        # Publishing brings what arrived meanwhile, and the front matter; it writes nothing when
        # nothing is missing.
        blocks.update(tx, state.id, **values, stale=1)
        fresh = blocks.get(tx, state.id)
        assert fresh is not None
        return fresh

    fresh = await heap.db.write(store)
    for tag in outcome.new_tags:
        heap.learned(None, tag)
    heap.learned(state, fresh)
    heap.index.put(row)
    heap.replicas.put(state.id, fresh.seq, live)
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
    state, updates, ring = await heap.db.read(lambda tx: _read(tx, entry.block_id))
    if state is None or not ring:
        return
    saved = Saved(path, ring[0].data, stat)
    try:
        note = Note.of(saved.data)
        await _express(heap, entry, saved, note, state, updates, ring[:1])
    except BlockError as error:
        heap.file_problems[path] = str(error)


# ---- blocks made on this device ---------------------------------------------------------------


def make_block(
    heap: HeapState, kind: BlockKind, title: str, wish: Wish, block: BlockId | None = None
) -> tuple[BlockState, bytes | None, Replica]:
    """A new block: its row, its first update (None when the document is empty) and its replica."""
    replica = Replica(heap.client_id)
    update = express([], wish, live=replica, client_id=heap.client_id).update
    if update is not None:
        replica.apply(update)
    state = BlockState(
        block or new_block_id(),
        heap.id,
        kind,
        title=title,
        folder_id=heap.folder_of(tuple(sorted(wish.add_tags))),
        state_vector=replica.state_vector(),
        born_here=True,
        stale=kind == "document",
    )
    return state, update, replica


def insert_block(tx: Tx, state: BlockState, update: bytes | None, tags: Sequence[BlockId]) -> None:
    """Commit a new block's row and first update."""
    blocks.insert(tx, state)
    blocks.set_tags(tx, state.id, tags)
    if update is not None:
        blocks.append(tx, state.id, update, local=True)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A new note on its way into the cache."""

    saved: Saved
    note: Note
    state: BlockState
    wish: Wish
    update: bytes | None = None
    mentions: frozenset[str] = frozenset()


async def notes_created(heap: HeapState, saved: Sequence[Saved]) -> None:
    """New files become new notes; their ids are written into them by the next publish. Takes the
    lock.

    All are named before any is read, so that links among them find each other.
    """
    async with heap.lock:
        tags: dict[str, BlockState] = {}
        fresh = [f for s in saved if (f := _name(heap, s, tags)) is not None]
        for start in range(0, len(fresh), CREATE_BATCH):
            batch = fresh[start : start + CREATE_BATCH]
            read = await asyncio.to_thread(lambda b=batch: [_first_edit(heap, f) for f in b])  # type: ignore[misc]
            good = [f for f in read if isinstance(f, _Fresh)]
            for path, reason in [f for f in read if not isinstance(f, _Fresh)]:
                heap.file_problems[path] = reason
                heap.index.drop(path)
            await heap.db.write(lambda tx, g=good: _store_created(tx, heap, g, tags))  # type: ignore[misc]
            for one in good:
                heap.learned(None, one.state)
    if saved:
        heap.to_publish.set()
        heap.to_push.set()
        heap.to_follow.set()


def _name(heap: HeapState, saved: Saved, tags: dict[str, BlockState]) -> _Fresh | None:
    """Give a new file its block and its place in the index."""
    if saved.path in heap.index.entries:
        return None
    try:
        note = Note.of(saved.data)
    except UnreadableFile as error:
        heap.file_problems[saved.path] = str(error)
        return None
    heap.file_problems.pop(saved.path, None)
    wish, new_tags = _wish(heap, front_change(None, note.front))
    for tag in new_tags:
        tags[tag.id] = tag
        heap.learned(None, tag)
    parent = heap.parent_of(saved.path)
    if parent is not None:
        wish = replace(wish, add_tags=wish.add_tags | {parent})
    title = note.front.title or PurePosixPath(saved.path).name.removesuffix(".md")
    state = BlockState(
        new_block_id(),
        heap.id,
        "document",
        title=title,
        folder_id=heap.folder_of(tuple(sorted(wish.add_tags))),
        born_here=True,
        stale=True,
    )
    heap.learned(None, state)
    heap.index.put(stamped(EntryRow(saved.path, state.id, "note"), saved.stat, digest(saved.data)))
    return _Fresh(saved, note, state, replace(wish, title=None))


def _first_edit(heap: HeapState, fresh: _Fresh) -> _Fresh | tuple[str, str]:
    """The first update of a new note, or its path and what is wrong; runs in a thread."""
    links = NoteLinks(heap.index, None, aliases=True)
    live = Replica(heap.client_id)
    try:
        reading = read_body(Base(b"", ()), fresh.note, live, (), links, heap.client_id, fresh.wish)
        if reading.update is not None:
            live.apply(reading.update)
    except BlockError as error:
        return fresh.saved.path, f"this note could not be read: {error}"
    state = replace(fresh.state, state_vector=live.state_vector())
    return replace(fresh, state=state, update=reading.update, mentions=reading.mentions)


def _store_created(
    tx: Tx, heap: HeapState, batch: Sequence[_Fresh], tags: dict[str, BlockState]
) -> None:
    for tag in tags.values():
        blocks.insert(tx, tag)
    for fresh in batch:
        insert_block(tx, fresh.state, fresh.update, sorted(fresh.wish.add_tags))
        renditions.add(
            tx,
            fresh.state.id,
            seq=1 if fresh.update is not None else 0,
            extra=None,
            data=fresh.saved.data,
            digest=digest(fresh.saved.data),
            now_ms=now_ms(),
        )
        entries.save(tx, heap.id, [heap.index.entries[fresh.saved.path]])
        entries.mention(tx, fresh.state.id, fresh.mentions)
        log.info("new note", path=fresh.saved.path, block=fresh.state.id)


async def note_adopted(heap: HeapState, saved: Saved, block: BlockId) -> None:
    """A file turned out to be a block's that had none (a lost cache, a restored file)."""
    async with heap.lock:
        if saved.path in heap.index.entries or block in heap.index.path_of:
            return
        entry = stamped(EntryRow(saved.path, block, "note"), saved.stat, None)
        await _ingest(heap, entry, saved)


# ---- moves and deletions -----------------------------------------------------------------------


async def edit_fields(
    heap: HeapState,
    block: BlockId,
    wish: Wish,
    also: Sequence[EntryRow] = (),
    gone: Sequence[str] = (),
) -> None:
    """Express a change of title, tags, files or deletion, together with the entries it goes with.

    The caller holds the lock.
    """
    state, updates, _ = await heap.db.read(lambda tx: _read(tx, block))
    if state is None:
        return
    live = await asyncio.to_thread(heap.replicas.load, block, state.seq, updates)
    heap.replicas.drop(block)
    made = await asyncio.to_thread(
        lambda: express([live.state()], wish, live=live, client_id=heap.client_id)
    )
    if made.update is not None:
        live.apply(made.update)
    fields = live.fields()

    def store(tx: Tx) -> BlockState:
        values: dict[str, object] = {}
        if made.update is not None:
            blocks.append(tx, block, made.update, local=True)
            values = heap.described(state, fields) | {"state_vector": live.state_vector()}
            if state.born_here and wish.title:
                values["title"] = wish.title
            blocks.set_tags(tx, block, fields.tags)
        entries.remove(tx, heap.id, gone)
        entries.save(tx, heap.id, also)
        if wish.deleted_at_ms is not None and isinstance(wish.deleted_at_ms, int):
            base = renditions.newest(tx, block)
            if base is not None and gone:
                history.keep(tx, heap.id, block, gone[0], "deleted", base.data, now_ms())
            renditions.drop(tx, block)
            search.remove(tx, block)
            values["stale"] = 0
        else:
            values["stale"] = 1
        blocks.update(tx, block, **values)
        fresh = blocks.get(tx, block)
        assert fresh is not None
        return fresh

    fresh = await heap.db.write(store)
    heap.learned(state, fresh)
    for path in gone:
        heap.index.drop(path)
    for entry in also:
        heap.index.put(entry)
    heap.replicas.put(block, fresh.seq, live)
    heap.to_push.set()
    heap.to_publish.set()


def move_wish(heap: HeapState, block: BlockId, kind: str, old_path: str, path: str) -> Wish:
    """What a move or rename on the disk asks of the document: its title, its folder."""
    known = heap.index.blocks[block]
    wish = Wish()
    old_name, new_name = (
        PurePosixPath(p).name.removesuffix(".md") if kind == "note" else PurePosixPath(p).name
        for p in (old_path, path)
    )
    if old_name != new_name and not carries(new_name, known.title):
        wish = replace(wish, title=new_name)
    parent = heap.parent_of(path)
    if parent != known.folder:
        gone = frozenset() if known.folder is None else frozenset({known.folder})
        wish = replace(
            wish,
            add_tags=frozenset() if parent is None else frozenset({parent}),
            remove_tags=gone,
        )
    return wish
