"""Move, make and remove files and directories in the folder as the server says.

Each move is committed alone, right after it is done. After a kill in between, the next scan
recognises it by the id in the file, or by the inode.
"""

from collections.abc import Container, Sequence
from pathlib import PurePosixPath

from msgspec.structs import replace

from heapsyncd.cache import entries, history, search
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.cache.renditions import Author
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import PathChanged
from heapsyncd.folder.layout import place
from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.index import Index
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import PARKING_PREFIX, assets_of, last_part
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.move_order import Step, arrange
from heapsyncd.sync.layout.placeholders import drop_placeholder, placeholder_of


async def plan_places(heap: HeapContext) -> dict[BlockId, str]:
    """Compute every block's path and return them. Hold the heap's lock.

    Links use these paths to name notes that have no file yet.
    """
    # In a thread: it goes through the whole heap.
    heap.layout.places = await offload(lambda: place(heap.index.placed(), heap.index.path_of))
    planned = heap.index.plan(heap.layout.places)
    names = {last_part(heap.layout.places[b]) for b in planned}
    alike = {b for name in names for b in heap.index.namesakes(name)}
    new = alike.union(planned)
    linking = await heap.db.read(lambda tx: entries.mentioning(tx, new)) if new else set()
    if linking:
        # A text may have come before the note it links to, or that note came back.
        await heap.store(lambda change: change.republish_links_to(new))
    return heap.layout.places


async def put_in_place(heap: HeapContext, rescan: set[str]) -> None:
    """Compute every block's path, and move what is elsewhere. Hold the heap's lock.

    Args:
        heap: the heap.
        rescan: receives the paths that were not as expected.
    """
    places, index = await plan_places(heap), heap.index
    # Their news is not here yet: they may be deleted together with their folder.
    unsure = {b for b in index.wanted if b in index.path_of and _has_dead_folder(index, b)}

    def steps() -> list[Step]:
        # Blocks whose deletion is held have no file to move.
        known = index.path_of.items()
        present = {b: p for b, p in known if p not in heap.holds.up and b not in unsure}
        return arrange(present, places)

    for step in await offload(steps):  # it goes through the whole heap, too
        try:
            await make_parents(heap, step.new, places)
            await _move(heap, step.old, step.new, rescan)
            if step.old.endswith(".md") and assets_of(step.old) != assets_of(step.new):
                await _move_assets(heap, step.old, step.new, rescan)
        except (PathChanged, FolderTrouble) as error:
            rescan.add(step.old)
            if await heap.disk.stat(step.old) is not None:
                heap.problems.found("write", step.old, f"it could not be moved: {error.reason}")
            return
    heap.layout.rearrange = bool(unsure)
    heap.index.retitled.clear()


def _has_dead_folder(index: Index, block: BlockId) -> bool:
    """Return whether a block, or a folder that it is in, is in a folder that was deleted."""
    return any(not index.is_live(folder) for folder in folders_from(index, block)[1:])


def folders_from(index: Index, folder: BlockId | None) -> list[BlockId]:
    """Return a folder and those that it is in, from the inside."""
    found: list[BlockId] = []
    while folder is not None and folder not in found:
        found.append(folder)
        known = index.blocks.get(folder)
        folder = None if known is None else known.folder
    return found


async def make_parents(heap: HeapContext, path: str, places: dict[BlockId, str]) -> None:
    """Make the missing directories of a path, each for its folder block.

    A directory whose deletion is held is made again, which ends the hold.
    """
    above = [str(p) for p in reversed(PurePosixPath(path).parents)][1:]
    new = [p for p in above if p not in heap.index.entries or p in heap.holds.up]
    if not new:
        return
    blocks_at = {p: b for b, p in places.items()}
    for directory in new:
        stat = await heap.disk.make_dir(directory)
        if directory in blocks_at:
            entry = stamped(EntryRow(directory, blocks_at[directory], "folder"), stat, None)
            await commit_entries(heap, entry.block_id, [entry])
    await heap.release_holds([heap.holds.up[p] for p in new if p in heap.holds.up])


async def _move_assets(heap: HeapContext, old_note: str, new_note: str, rescan: set[str]) -> None:
    old, new = assets_of(old_note), assets_of(new_note)
    if await heap.disk.stat(old) is None:
        return
    try:
        await _move(heap, old, new, rescan)
    except (PathChanged, FolderTrouble) as error:
        reason = f"the attachments could not be moved with their note: {error.reason}"
        heap.problems.found("write", old, reason)


async def _move(heap: HeapContext, old: str, new: str, rescan: set[str]) -> None:
    """Move a file or directory with everything below it, and commit that.

    A save that was not read yet moves too: the entry keeps the stamps of what was read last, so
    that the save is found at the new path.
    """
    entry = heap.index.entries.get(old)
    known = None if entry is None else entry.stat
    before = await heap.disk.stat(old)
    if entry is None or known is not None:  # a file that was never written only has an entry
        await heap.disk.move(old, new)
    now = await heap.disk.stat(new)
    affected = [e for e in (entry, *heap.index.below(old)) if e is not None]
    after = {e: replace(e, path=new + e.path[len(old) :]) for e in affected}
    if entry is not None and known is not None and before is not None and now is not None:
        if entry.role == "folder" or (before.agrees(known) and now.same_content(known)):
            after[entry] = stamped(after[entry], now, entry.digest)
        else:
            rescan.add(new)
    await _store_move(heap, affected, list(after.values()))


async def _store_move(
    heap: HeapContext, affected: Sequence[EntryRow], after: Sequence[EntryRow]
) -> None:
    """Store the new paths of entries, and carry their problems over."""

    def store(change: Change) -> None:
        change.remove(e.path for e in affected)
        change.save(after)
        if affected and affected[0].role != "attachment":
            record_rename(change, heap, affected[0])

    await heap.store(store)
    for entry, new in zip(affected, after, strict=True):
        heap.problems.moved(entry.path, new.path)


def record_rename(change: Change, heap: HeapContext, old: EntryRow, author: Author = "") -> None:
    """Remember a block's former path and name; publish it and the notes that link to it again.

    ``author``: who renamed it.
    """
    remember_name(change, heap.index.aliases, old.path, old.block_id)
    if not old.path.startswith(PARKING_PREFIX):
        history.renamed(change.tx, heap.id, old.block_id, old.path, now_ms(), author)
    change.update(old.block_id, stale=1)


def remember_name(change: Change, aliases: Container[str], old_path: str, block: BlockId) -> None:
    """Remember a block's former name for links, and publish the notes that link to it again."""
    name = PurePosixPath(old_path).name.removesuffix(".md")
    if collision_key(name) not in aliases and not name.startswith(PARKING_PREFIX):
        change.add_alias(collision_key(name), block)
    change.republish_links_to([block])


# ---- deletions, folders, files --------------------------------------------------------------


async def remove_deleted(
    heap: HeapContext, states: Sequence[BlockState], rescan: set[str]
) -> None:
    """Remove the files of blocks that the server deleted. Hold the heap's lock.

    A file with an edit that was not read yet stays: an edit wins over a deletion.
    """
    for state in sorted(states, key=lambda s: -(heap.index.path_of.get(s.id) or "").count("/")):
        path = heap.index.path_of.get(state.id)
        if path is not None and not await _remove_path(heap, state, path, rescan):
            continue
        await heap.store(lambda change, i=state.id: change.update(i, stale=0))  # type: ignore[misc]


async def _remove_path(heap: HeapContext, state: BlockState, path: str, rescan: set[str]) -> bool:
    entry = heap.index.entries[path]
    owned = [entry]
    if entry.role == "note":
        owned += heap.index.below(assets_of(path))
    elif entry.role == "folder" and heap.index.below(path):
        return False  # not empty yet: its notes are removed or moved first
    try:
        await unlink(heap, entry, owned)
    except PathChanged:
        rescan.add(path)
        return False
    except FolderTrouble as error:
        heap.problems.found("write", path, error)
        return False

    def store(change: Change) -> None:
        history.retire(change.tx, heap.id, state.id, path, now_ms(), "server")
        search.remove(change.tx, state.id)
        change.remove(e.path for e in owned)

    await heap.store(store)
    for gone in owned:
        heap.problems.clear(gone.path)
    return True


async def unlink(heap: HeapContext, entry: EntryRow, owned: Sequence[EntryRow]) -> None:
    """Remove an entry's file and its attachments; other files beside them stay.

    Hold the heap's lock. Raises PathChanged if one of them was changed; then all of them stay.
    """
    if entry.role == "folder":
        await heap.disk.remove_dir(entry.path)
        return
    for one in owned:
        known = None if one.path in heap.holds.up else one.stat
        found = None if known is None else await heap.disk.stat(one.path)
        if known is not None and found is not None and not found.agrees(known):
            # An edit that was not read yet keeps the note: what is missing then was deleted.
            raise PathChanged(one.path, "it was changed meanwhile")
    for one in [e for e in owned if e.todo == "remote"]:
        await drop_placeholder(heap, placeholder_of(one.path))
    for one in reversed(owned):
        if (stat := one.stat) is not None and one.path not in heap.holds.up:
            await heap.disk.remove(one.path, stat)
    if len(owned) > 1:
        await heap.disk.remove_dir(assets_of(entry.path))


async def make_folders(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str]
) -> None:
    """Make the directories of folder blocks and the parents of other blocks, outer ones first."""
    for state in sorted(states, key=lambda s: places.get(s.id, "").count("/")):
        path = heap.index.path_of.get(state.id) or places.get(state.id)
        if path is None:
            continue
        try:
            await make_parents(heap, path, places)
            if state.kind != "folder":
                continue
            if path in heap.index.entries and await heap.disk.stat(path) is None:
                # Deleted or moved here: the scan finds out which.
                heap.request_rescan()
                await heap.store(lambda change, i=state.id: change.update(i, stale=0))  # type: ignore[misc]
                continue
            stat = await heap.disk.make_dir(path)
        except FolderTrouble as error:
            heap.problems.found("write", path, error)
            continue
        entry = stamped(EntryRow(path, state.id, "folder"), stat, None)
        await commit_entries(heap, state.id, [entry])


async def commit_entries(
    heap: HeapContext, block: BlockId, changed: Sequence[EntryRow], *, stale: bool = False
) -> None:
    """Store a block's entries, and whether its file has to be published again."""

    def store(change: Change) -> None:
        change.save(changed)
        change.update(block, stale=int(stale))

    await heap.store(store)


def is_free(heap: HeapContext, state: BlockState, places: dict[BlockId, str]) -> bool:
    """Return whether a block can be written at its path.

    No other block is there, which could not be moved yet, and its directories are in place.
    """
    path = heap.index.path_of.get(state.id) or places.get(state.id)
    entry = heap.index.entries.get(path or "")
    if entry is not None:
        return entry.block_id == state.id
    return has_directories(heap, state, places)


def has_directories(heap: HeapContext, state: BlockState, places: dict[BlockId, str]) -> bool:
    """Return whether the folders that a block is in are where they should be, or nowhere.

    A directory that is missing could not be moved; the scan tells what became of it.
    """
    above = folders_from(heap.index, state.folder_id)
    at = ((heap.index.path_of.get(b), places.get(b)) for b in above)
    return all(here is None or to is None or here == to for here, to in at)
