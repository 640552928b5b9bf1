"""Create blocks on this device: new notes, and the rows and first updates of all kinds."""

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import structlog
from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache import blocks, entries, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow, Reserved
from heapsyncd.document.edit import Target, edit
from heapsyncd.document.replica import Replica
from heapsyncd.ids import BlockId, new_block_id
from heapsyncd.markdown.front_lines import OurKeys
from heapsyncd.model import BlockKind, Fields
from heapsyncd.sync.edits.first_edit import MadeNote, NewNote, first_edits
from heapsyncd.sync.edits.new_texts import NewTexts, batches
from heapsyncd.sync.edits.note_saved import judged
from heapsyncd.sync.edits.saved_file import Head, SavedFile, target_of
from heapsyncd.sync.heap.note_links import KnownLinks, NoteLinks
from heapsyncd.sync.heap.offload import offload, share_out
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.note_files import plan_texts, write_planned
from heapsyncd.sync.layout.placement import remember_name
from heapsyncd.sync.merge.link_meanings import names_in
from heapsyncd.sync.merge.note_file import Draft
from heapsyncd.sync.merge.note_text import (
    Note,
    digest,
    front_change,
    our_keys,
    owner,
)

log = structlog.get_logger()


def make_block(
    heap: HeapContext, kind: BlockKind, title: str, target: Target, block: BlockId | None = None
) -> tuple[BlockState, bytes | None, Replica]:
    """Return a new block's row, first update (None if its document is empty) and replica."""
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


class _Named(Struct, frozen=True):
    """A new note with its block and its name, not read yet."""

    head: Head
    state: BlockState
    entry: EntryRow
    target: Target


class _Fresh(Struct, frozen=True):
    """A new note that is not stored yet."""

    saved: SavedFile
    note: Note
    state: BlockState
    entry: EntryRow
    target: Target
    update: bytes | None = None
    mentions: frozenset[str] = frozenset()
    draft: Draft | None = None
    """Its text with the id in it; None: left to publishing."""


async def notes_created(heap: HeapContext, heads: Sequence[Head], texts: NewTexts) -> None:
    """Create notes from new files, and write their ids into the files.

    All notes get their names before any is read, so that links among them are found. Takes the
    heap's lock for one batch at a time: a batch is sent while the next is read.
    """
    if not heads:
        return
    tags: dict[str, BlockState] = {}
    reserved = await heap.db.read(lambda tx: entries.reserved(tx, heap.id))
    chosen = await _chosen(heap, heads, reserved)
    async with heap.lock:
        named = await offload(
            lambda: [
                _name(heap, h, tags, chosen[h.path].block_id if h.path in chosen else None)
                for h in heads
                if h.path not in heap.index.entries
            ]
        )
    groups = deque(batches(named, lambda n: n.head.stat.size))
    is_long = len(groups) > 1
    with heap.index.expecting({n.state.id: n.entry.path for n in named}):
        await _remember_renamed(heap, chosen)
        if is_long:
            # A text of the first batch may link to a note of a later one: after a kill in
            # between, the later file still has to become the block that the link means.
            places = [Reserved(n.head.path, n.state.id, n.head.digest) for n in named]
            places += await _waiting(heap, reserved, {p.block_id for p in places})
            await heap.db.write(lambda tx: entries.reserve(tx, heap.id, places))
            del places
        del named  # a whole heap may be new: keep only what is left
        await heap.processes.expect(first_edits, sum(map(len, groups)))
        while groups:
            some = groups.popleft()
            by_path = {n.head.path: n for n in some}
            saved = await texts.of(by_path)
            try:
                async with heap.lock:
                    fresh = [_with_text(heap, by_path[s.path], s, tags) for s in saved]
                    await _create(heap, [f for f in fresh if f is not None], tags)
            finally:
                # Also if the disk refused a file when its block was stored already.
                heap.wake.publish.set()
                heap.wake.push.set()
    if reserved or is_long:
        left = await _waiting(heap, reserved)
        await heap.db.write(lambda tx: entries.reserve(tx, heap.id, left))


async def _chosen(
    heap: HeapContext, heads: Sequence[Head], reserved: Sequence[Reserved]
) -> dict[str, Reserved]:
    """Return the blocks that were chosen for new files before a kill, by the files' paths now.

    A file that is gone from its path was renamed if exactly one new file has its text.
    """
    left = {r.path: r for r in reserved if r.block_id not in heap.index.blocks}
    found = {h.path: left.pop(h.path) for h in heads if h.path in left}
    gone = [r for r in left.values() if r.digest and await heap.disk.stat(r.path) is None]
    new = [h for h in heads if h.path not in found]
    texts: Counter[bytes | None] = Counter(h.digest for h in new)
    before = Counter(r.digest for r in gone)
    renamed = {r.digest: r for r in gone if before[r.digest] == texts[r.digest] == 1}
    return found | {h.path: renamed[h.digest] for h in new if h.digest in renamed}


async def _waiting(
    heap: HeapContext, reserved: Sequence[Reserved], taken: Container[BlockId] = ()
) -> list[Reserved]:
    """Return the blocks that are still to be made of their files, which cannot be read yet.

    ``taken``: blocks that are made now.
    """
    blocks_here, known = heap.index.blocks, heap.index.entries
    left = [r for r in reserved if r.block_id not in blocks_here and r.path not in known]
    left = [r for r in left if r.block_id not in taken]
    return [r for r in left if await heap.disk.stat(r.path) is not None]


async def _remember_renamed(heap: HeapContext, chosen: Mapping[str, Reserved]) -> None:
    """Let texts that link to a new file by the name it had before a kill still mean it."""
    renamed = [r for path, r in chosen.items() if path != r.path]

    def store(change: Change) -> None:
        for old in renamed:
            remember_name(change, heap.index.aliases, old.path, old.block_id)

    if renamed:
        await heap.store(store)


async def _create(
    heap: HeapContext, batch: Sequence[_Fresh], tags: Mapping[str, BlockState]
) -> None:
    found = await share_out(
        heap.processes,
        first_edits,
        batch,
        lambda f: _question(heap, f, here=True),
        lambda f: _question(heap, f, here=False),
    )
    made = list(zip(batch, found, strict=True))
    good = [_made(fresh, note) for fresh, note in made if isinstance(note, MadeNote)]
    drafts = [f.draft for f in good if f.draft is not None]
    new_tags = [t for t in tags.values() if t.id not in heap.index.blocks]

    def store(change: Change) -> None:
        _store_created(change, good, new_tags)
        plan_texts(change.tx, drafts)

    await heap.store(store)
    _log_created(good)
    # Publishing finds the files that were changed meanwhile.
    await write_planned(heap, drafts, set())
    for fresh, reason in made:
        if isinstance(reason, str):
            heap.problems.found("content", fresh.saved.path, reason)


def _log_created(batch: Sequence[_Fresh]) -> None:
    """Log new notes: a line for a single one, or for a batch, which a whole heap has many of."""
    if len(batch) > 1:
        log.info("new notes", count=len(batch), first=batch[0].saved.path)
    write = log.info if len(batch) == 1 else log.debug
    for fresh in batch:
        write("new note", path=fresh.saved.path, block=fresh.state.id)


def _name(
    heap: HeapContext, head: Head, tags: dict[str, BlockState], block: BlockId | None = None
) -> _Named:
    """Assign a block and a name to a new file; ``tags`` receives new tag blocks by title."""
    known = {title: tag.id for title, tag in tags.items()}
    target, new_tags = target_of(heap, front_change(None, head.front), known)
    tags |= {tag.title: tag for tag in new_tags}
    parent = heap.parent_of(head.path)
    if parent is not None:
        target = replace(target, add_tags=target.add_tags | {parent})
    state = BlockState(
        block or new_block_id(),
        heap.id,
        "document",
        title=PurePosixPath(head.path).name.removesuffix(".md"),
        folder_id=heap.folder_of(tuple(sorted(target.add_tags))),
        born_here=True,
        stale=True,
    )
    entry = stamped(EntryRow(head.path, state.id, "note"), head.stat, head.digest)
    return _Named(head, state, entry, target)


def _with_text(
    heap: HeapContext, named: _Named, saved: SavedFile, tags: dict[str, BlockState]
) -> _Fresh | None:
    """Return a named note with its text as it is now.

    None if it is not text, has another id now, or its path is taken: the next scan finds it.
    """
    note = judged(heap, saved)
    if note is None or saved.path in heap.index.entries:
        return None
    head = Head.of(saved, note)
    if head.digest != named.head.digest:
        ids_in = heap.index.ids_in
        if ids_in(head.front) != ids_in(named.head.front):
            heap.request_rescan()
            return None
        # Keep its block: links among the notes of this scan already point to it.
        named = _name(heap, head, tags, named.state.id)
    entry = stamped(named.entry, saved.stat, head.digest)
    note = replace(note, line_breaks=heap.line_breaks)
    return _Fresh(saved, note, named.state, entry, named.target)


def _question(heap: HeapContext, fresh: _Fresh, *, here: bool) -> NewNote:
    """Return a new note as the value that its first edit is made from.

    Args:
        heap: the heap.
        fresh: the note.
        here: the edit is made in this process, where links are looked up in the index.
    """
    index, note, state = heap.index, fresh.note, fresh.state
    links = (
        NoteLinks(index, None, aliases=True) if here else KnownLinks.of(index, names_in(note.body))
    )
    # The tags may not be stored yet.
    tags = (note.front.tags or ()) if heap.dialect.tag_blocks else None
    known, shown = tuple(sorted(fresh.target.add_tags)), None
    if all(t in index.blocks for t in known):
        shown = our_keys(index, state, fresh.saved.path, Fields("", known, ()))
    return NewNote(
        state.id, fresh.saved.path, state.title, note.file(owner(index, state.id)).source,
        fresh.target, links, OurKeys(index.shown_id(state.id), None, tags), shown,
        heap.client_id, heap.carries_source,
    )  # fmt: skip


def _made(fresh: _Fresh, made: MadeNote) -> _Fresh:
    state = replace(fresh.state, state_vector=made.state_vector)
    return replace(
        fresh, state=state, update=made.update, mentions=made.mentions, draft=made.draft
    )


def _store_created(change: Change, batch: Sequence[_Fresh], tags: Iterable[BlockState]) -> None:
    for tag in tags:
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
            line_breaks=fresh.note.line_breaks,
            author="here",
        )
        change.save([fresh.entry])
        entries.mention(change.tx, fresh.state.id, fresh.mentions)
