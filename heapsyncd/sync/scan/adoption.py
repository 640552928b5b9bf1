"""Bind new files to existing blocks where these are known.

That is so after a lost cache, for restored files, and when a full folder is mirrored for the first
time.
"""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

import structlog

from heapsyncd.cache import blocks, heaps, renditions
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.database import Tx
from heapsyncd.document.replica import Replica
from heapsyncd.errors import (
    BlockError,
    PeerError,
    SignInRefused,
    TryLater,
    UnreadableFile,
)
from heapsyncd.folder.layout import Placed, fits
from heapsyncd.folder.names import carries, collision_key, safe_name, split_suffix
from heapsyncd.ids import BlockId
from heapsyncd.markdown.write.render import render
from heapsyncd.sync.edits.contents import file_created
from heapsyncd.sync.edits.create import notes_created
from heapsyncd.sync.edits.moves import folder_created
from heapsyncd.sync.edits.new_texts import NewTexts
from heapsyncd.sync.edits.saved_file import SavedFile, with_line_breaks
from heapsyncd.sync.heap.note_links import NoteLinks
from heapsyncd.sync.heap.observed import Found
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import assets_owner
from heapsyncd.sync.heap.state import HeapContext, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.placement import commit_entries, plan_places
from heapsyncd.sync.merge.base_selection import difference, is_alike
from heapsyncd.sync.merge.note_source import read_source
from heapsyncd.sync.merge.note_text import shows
from heapsyncd.sync.pull.delta_feed import insert_trashed
from heapsyncd.sync.pull.pull import pull

log = structlog.get_logger()

_COPY_NUMBER: Final = re.compile(r" \([0-9]{1,7}\)\Z")
"""The number that made a name unique."""


class Unplaced:
    """Folder and file blocks without a path, for which new directories and files are candidates.

    Args:
        heap: the heap.
        found: everything that is new in the folder.
    """

    def __init__(self, heap: HeapContext, found: Sequence[Found]) -> None:
        self._heap = heap
        self._folders: dict[BlockId | None, list[Placed]] = defaultdict(list)
        self._files: dict[tuple[BlockId | None, str], list[BlockId]] = defaultdict(list)
        self._votes: dict[str, Counter[BlockId | None]] = defaultdict(Counter)
        """For a directory, how many notes in it belong to each folder block."""
        index = heap.index
        if not found:
            return
        for block in index.placed(sorted(index.unplaced)):
            if block.kind == "document":
                continue
            folder = block.folder if block.folder and index.is_live(block.folder) else None
            if block.kind == "folder":
                self._folders[folder].append(block)
            else:
                self._files[folder, collision_key(safe_name(block.title))].append(block.id)
        for item in found:
            known = index.blocks.get(BlockId(item.front_id or ""))
            if known is not None:
                self._votes[str(PurePosixPath(item.path).parent)][known.folder] += 1

    async def bind_directory(self, found: Found) -> None:
        """Bind a new directory to the folder block it shows, or create one; outer ones first."""
        votes, index = self._votes[found.path], self._heap.index
        name = PurePosixPath(found.path).name
        choice = [
            b
            for b in self._folders[self._heap.parent_of(found.path)]
            if b.id not in index.path_of and (votes[b.id] or fits(b, name))
        ]
        if not choice or assets_owner(found.path + "/x") is not None:
            await folder_created(self._heap, found)
            return
        best = min(choice, key=lambda b: (-votes[b.id], not carries(name, b.title), b.id))
        await self._bind_folder(found, best.id)

    async def _bind_folder(self, found: Found, block: BlockId) -> None:
        heap = self._heap
        async with heap.lock:
            stat = await heap.disk.stat(found.path)
            if stat is None or found.path in heap.index.entries or block in heap.index.path_of:
                return
            row = stamped(EntryRow(found.path, block, "folder"), stat, None)
            await commit_entries(heap, block, [row])
            heap.layout.rearrange = True
        heap.wake.publish.set()
        log.info("directory bound to an existing block", path=found.path, block=block)

    def file_candidates(self, found: Found) -> list[BlockId]:
        """Return the file blocks that a new file may be, by its directory and name."""
        at = PurePosixPath(found.path)
        stem, suffix = split_suffix(at.name)
        parent = self._heap.parent_of(found.path)
        names = {collision_key(n) for n in (at.name, _COPY_NUMBER.sub("", stem) + suffix)}
        return [b for n in sorted(names) for b in self._files.get((parent, n), ())]


def may_be_copy(heap: HeapContext, found: Found) -> bool:
    """Return whether a new file with the id of a note without a file may be that note's copy.

    The original may be among the new files that cannot be read yet.
    """
    block = BlockId(found.front_id or "")
    return block in heap.index.unplaced and any(_misplaced(heap, found.path, block))


def _misplaced(heap: HeapContext, path: str, block: BlockId) -> tuple[bool, bool]:
    """Return whether a file lacks a known note's title as its name, and whether its folder."""
    known, name = heap.index.blocks[block], PurePosixPath(path).name.removesuffix(".md")
    return name != safe_name(known.title), heap.parent_of(path) != known.folder


async def _by_id(
    heap: HeapContext,
    found: Sequence[Found],
    copies: Mapping[str, BlockId | None],
    texts: NewTexts,
) -> dict[str, BlockId]:
    """Match new files to known notes without a file by the id in them; block id by path.

    Of several copies, the one with the note's title wins, then the one in its folder, then the one
    that is most like its document (a mirror keeps the original up to date, and not the copy), then
    the oldest.
    """
    index = heap.index
    candidates: dict[BlockId, list[Found]] = defaultdict(list)
    for item in found:
        block = BlockId(item.front_id or "")
        is_free = index.kind(block) == "document" and block not in index.path_of
        if is_free and copies.get(item.path) is None:
            candidates[block].append(item)

    result: dict[str, BlockId] = {}
    for block, items in candidates.items():
        places = [_misplaced(heap, item.path, block) for item in items]
        likely = [item for item, place in zip(items, places, strict=True) if place == min(places)]
        unlike = {likely[0].path: 0}
        if len(likely) > 1:
            unlike = await _unlike_document(heap, block, [item.path for item in likely], texts)
        stats = {item.path: texts.heads[item.path].stat for item in likely}
        path = min(unlike, key=lambda p: (unlike[p], stats[p].mtime_ns, stats[p].ctime_ns))
        result[path] = block
    return result


async def _unlike_document(
    heap: HeapContext, block: BlockId, paths: Sequence[str], texts: NewTexts
) -> dict[str, int]:
    """Return how much some files differ from a note's document, by path; all 0 if unknown.

    One that can be read no more, or is gone, is the last to be taken for the note.
    """
    updates = await heap.db.read(lambda tx: [r.data for r in blocks.log(tx, block)])

    def compare(files: Sequence[SavedFile]) -> dict[str, int]:
        try:
            with heap.at_work.on(block):
                view = Replica.load(updates).view()
                shown = render(view, NoteLinks(heap.index, block, aliases=True)).encode()
        except BlockError:
            return {}
        return {file.path: difference(shown, file.data) for file in files}

    found = await offload(compare, await texts.of(paths))
    return {path: found.get(path, sys.maxsize if found else 0) for path in paths}


async def _by_place(
    heap: HeapContext, found: Sequence[Found], texts: NewTexts
) -> dict[str, BlockId]:
    """Match new files without an id to known notes without a file, by path and content.

    While the folder is mirrored for the first time (perhaps after a lost cache), similar content
    is enough: an editor may have saved the text without the id.
    """
    at = {p: b for b, p in heap.layout.places.items() if b in heap.index.unplaced}
    rows = await heap.db.read(heaps.load_all)
    allows_similar = not any(r.id == heap.id and r.mirrored for r in rows)
    result: dict[str, BlockId] = {}
    for item in found:
        block = None if item.front_id else at.get(item.path)
        for saved in await texts.of([item.path]) if block else []:
            if block and await _has_text_of(heap, saved, block, allows_similar=allows_similar):
                result[item.path] = block
    return result


async def _has_text_of(
    heap: HeapContext, saved: SavedFile, block: BlockId, *, allows_similar: bool
) -> bool:
    """Return whether a file says what a block's document says.

    Args:
        heap: the heap.
        saved: the file.
        block: the block.
        allows_similar: most of the text is enough.
    """

    def read(tx: Tx) -> tuple[BlockState | None, list[bytes], bool]:
        was_written = bool(renditions.ring(tx, block))
        return blocks.get(tx, block), [r.data for r in blocks.log(tx, block)], was_written

    state, updates, was_written = await heap.db.read(read)
    note = saved.note
    if state is None or state.deleted_at_ms is not None or isinstance(note, UnreadableFile):
        return False
    try:
        # Not the shared replica: whoever holds the lock may be changing it.
        with heap.at_work.on(block):
            replica = await offload(Replica.load, updates)
            view = await offload(replica.view)
        links = NoteLinks(heap.index, block, aliases=True)
        source = await offload(read_source, replica, replica.view, links)
        _, text = await offload(with_line_breaks, None, note, source.source, view, links)
        if await offload(shows, text, view, links):
            return True
        if was_written or not (allows_similar and view.words()):
            # With a known base, text that the file lacks would count as deleted.
            return False
        return await offload(lambda: is_alike(render(view, links).encode(), saved.data))
    except BlockError:
        return False


async def _bind(heap: HeapContext, known: Mapping[str, BlockId]) -> list[str]:
    """Bind untracked files to existing blocks; return the paths to read.

    The entries have no stamps yet: after a kill the next start finds and reads the files.
    """
    async with heap.lock:
        rows = [
            EntryRow(path, block, "note")
            for path, block in known.items()
            if path not in heap.index.entries and block not in heap.index.path_of
        ]

        def store(change: Change) -> None:
            change.save(rows)
            for row in rows:
                change.update(row.block_id, stale=1)

        if rows:
            await heap.store(store)
            heap.layout.rearrange = True
    for row in rows:
        log.info("file bound to an existing block", path=row.path, block=row.block_id)
    return [row.path for row in rows]


async def renamed_unread(heap: HeapContext, found: Sequence[Found]) -> list[EntryRow]:
    """Return the notes that new files say they are and whose own files were never read.

    They were bound, and renamed after the run was killed. As their entries have no stamps yet,
    they do not count as missing.
    """
    index = heap.index
    paths = [index.path_of.get(BlockId(f.front_id or "")) for f in found if f.is_note]
    rows = [index.entries[p] for p in paths if p is not None]
    unread = [e for e in rows if e.stat is None and e.role == "note"]
    return [e for e in unread if await heap.disk.stat(e.path) is None]


async def _fetch_from_trash(heap: HeapContext, notes: Sequence[Found]) -> None:
    """Fetch notes that are in the server's trash, if new files name them.

    They were deleted elsewhere while this cache did not know them (it was lost): their files are
    removed too, unless they contain something else.
    """
    try:
        if await insert_trashed(heap, [BlockId(n.front_id) for n in notes if n.front_id]):
            await pull(heap)
    except (TryLater, PeerError, SignInRefused) as error:
        log.warning("cannot read the trash", heap=heap.report.title, reason=str(error))


async def bind_or_create(
    heap: HeapContext,
    unplaced: Unplaced,
    found: Sequence[Found],
    copies: Mapping[str, BlockId | None],
    texts: NewTexts,
) -> list[str]:
    """Bind new files to existing blocks or create blocks for them.

    Names come first: a note that is read before the note it links to has a name would lose the
    link, and contain it twice once it is merged with its document.

    Args:
        heap: the heap.
        unplaced: the candidates for new files.
        found: the new files; directories are bound already.
        copies: for a path, the block that its front matter names and that still has another file.
        texts: the notes' files, by path.

    Returns:
        The paths bound to existing notes, which have to be read.
    """
    notes = [f for f in found if f.is_note]
    bound: list[str] = []
    if notes:
        await _fetch_from_trash(heap, notes)
        bound += await _bind(heap, await _by_id(heap, notes, copies, texts))
        if heap.index.unplaced:
            async with heap.lock:
                await plan_places(heap)  # links also name notes without a file
            left = [n for n in notes if n.path not in heap.index.entries]
            bound += await _bind(heap, await _by_place(heap, left, texts))
    known = frozenset(bound)
    await notes_created(heap, [texts.heads[n.path] for n in notes if n.path not in known], texts)
    # Attachments after the notes they belong to.
    for item in found:
        if not item.is_note:
            await file_created(heap, item, unplaced.file_candidates(item))
    return bound
