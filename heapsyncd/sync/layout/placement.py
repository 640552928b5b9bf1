"""Where blocks stand in the folder: moved, made and taken away as the server says.

Each move is committed by itself right after it is done; a kill in between is recognised by the id
in the file (or the inode) at the next scan.
"""

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from heapsyncd.cache import entries, history, search
from heapsyncd.cache.blocks import BlockState
from heapsyncd.cache.entries import EntryRow
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import Moved
from heapsyncd.folder.layout import place
from heapsyncd.folder.names import collision_key
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.index import stat_of
from heapsyncd.sync.heap.offload import offload
from heapsyncd.sync.heap.paths import ASIDE, assets_of
from heapsyncd.sync.heap.state import HeapContext, now_ms, stamped
from heapsyncd.sync.heap.unit_of_work import Change
from heapsyncd.sync.layout.move_order import arrange
from heapsyncd.sync.layout.placeholders import drop_placeholder, placeholder_of


async def plan_places(heap: HeapContext) -> dict[BlockId, str]:
    """Work out every block's place, by which links name those that have no file yet; the caller
    holds the lock.
    """
    # In a thread because it looks at the whole heap.
    heap.layout.places = await offload(lambda: place(heap.index.placed(), heap.index.path_of))
    heap.index.plan(heap.layout.places)
    return heap.layout.places


async def put_in_place(heap: HeapContext, look_at: set[str]) -> None:
    """Work out every block's place, and move what stands elsewhere."""
    places = await plan_places(heap)
    # What is held as deleted has no file to move.
    live = {b: p for b, p in heap.index.path_of.items() if b in places and p not in heap.holds.up}
    for step in arrange(live, places):
        try:
            await make_above(heap, step.new, places)
            await _move(heap, step.old, step.new, look_at)
            if step.old.endswith(".md") and assets_of(step.old) != assets_of(step.new):
                await _move_assets(heap, step.old, step.new, look_at)
        except (Moved, FolderTrouble) as error:
            look_at.add(step.old)
            if await heap.disk.stat(step.old) is not None:
                heap.problems.found("write", step.old, f"it could not be moved: {error.reason}")
            return
    heap.layout.rearrange = False
    heap.index.retitled.clear()


async def make_above(heap: HeapContext, path: str, places: dict[BlockId, str]) -> None:
    """Make the directories a path needs that are not there (yet, or because their deletion is
    held), as the folder blocks they are.
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


async def _move_assets(heap: HeapContext, old_note: str, new_note: str, look_at: set[str]) -> None:
    old, new = assets_of(old_note), assets_of(new_note)
    if await heap.disk.stat(old) is None:
        return
    try:
        await _move(heap, old, new, look_at)
    except (Moved, FolderTrouble) as error:
        reason = f"the attachments could not be moved along: {error.reason}"
        heap.problems.found("write", old, reason)


async def _move(heap: HeapContext, old: str, new: str, look_at: set[str]) -> None:
    """Move what stands at a path, with everything below it, and commit that.

    A save that has not been read yet moves along: the entry keeps the stamps of what was read, so
    that the save is found at the new path.
    """
    entry = heap.index.entries.get(old)
    known = None if entry is None else stat_of(entry)
    before = await heap.disk.stat(old)
    if entry is None or known is not None:  # what is not written yet has a place only
        await heap.disk.move(old, new)
    now = await heap.disk.stat(new)
    affected = [e for e in (entry, *heap.index.below(old)) if e is not None]
    after = {e: replace(e, path=new + e.path[len(old) :]) for e in affected}
    if entry is not None and known is not None and before is not None and now is not None:
        if entry.role == "folder" or (before.agrees(known) and now.same_content(known)):
            after[entry] = stamped(after[entry], now, entry.digest)
        else:
            look_at.add(new)
    await _entries_moved(heap, affected, list(after.values()))


async def _entries_moved(
    heap: HeapContext, affected: Sequence[EntryRow], after: Sequence[EntryRow]
) -> None:
    """Entries stand elsewhere now."""
    aliases = heap.index.aliases

    def store(change: Change) -> None:
        change.remove(e.path for e in affected)
        change.save(after)
        if affected and affected[0].role != "attachment":
            name_changed(change, aliases, affected[0])

    await heap.store(store)
    for entry, new in zip(affected, after, strict=True):
        heap.problems.moved(entry.path, new.path)


def name_changed(change: Change, aliases: Container[str], old: EntryRow) -> None:
    """A block stands elsewhere: links to it follow, and its old name still finds it."""
    name = PurePosixPath(old.path).name.removesuffix(".md")
    if collision_key(name) not in aliases and not name.startswith(ASIDE):
        change.add_alias(collision_key(name), old.block_id)
    for note in entries.mentioning(change.tx, old.block_id):
        change.update(note, stale=1)
    change.update(old.block_id, stale=1)


# ---- deletions, folders, files --------------------------------------------------------------


async def remove(heap: HeapContext, states: Sequence[BlockState], look_at: set[str]) -> None:
    """Take away what the server deleted; a file with unread edits stays (an edit wins)."""
    for state in sorted(states, key=lambda s: -(heap.index.path_of.get(s.id) or "").count("/")):
        path = heap.index.path_of.get(state.id)
        if path is not None and not await _remove_path(heap, state, path, look_at):
            continue
        await heap.store(lambda change, i=state.id: change.update(i, stale=0))  # type: ignore[misc]


async def _remove_path(heap: HeapContext, state: BlockState, path: str, look_at: set[str]) -> bool:
    entry = heap.index.entries[path]
    owned = [entry]
    if entry.role == "note":
        owned += heap.index.below(assets_of(path))
    elif entry.role == "folder" and heap.index.below(path):
        return False  # its notes go first, or are moved out
    try:
        await _unlink(heap, entry, owned)
    except Moved:
        look_at.add(path)
        return False
    except FolderTrouble as error:
        heap.problems.found("write", path, error)
        return False

    def store(change: Change) -> None:
        history.retire(change.tx, heap.id, state.id, path, now_ms())
        search.remove(change.tx, state.id)
        change.remove(e.path for e in owned)

    await heap.store(store)
    for gone in owned:
        heap.problems.clear(gone.path)
    return True


async def _unlink(heap: HeapContext, entry: EntryRow, owned: Sequence[EntryRow]) -> None:
    """Take an entry and its attachments off the disk; what the user put beside them stays."""
    if entry.role == "folder":
        await heap.disk.remove_dir(entry.path)
        return
    known, found = stat_of(entry), await heap.disk.stat(entry.path)
    if known is not None and found is not None and not found.agrees(known):
        # What is attached to an edit that is not read yet stays with it.
        raise Moved(entry.path, "it was changed meanwhile")
    for one in [e for e in owned if e.todo == "remote"]:
        await drop_placeholder(heap, placeholder_of(one.path))
    for one in reversed(owned):
        if (stat := stat_of(one)) is not None and one.path not in heap.holds.up:
            await heap.disk.remove(one.path, stat)
    if len(owned) > 1:
        await heap.disk.remove_dir(assets_of(entry.path))


async def make_folders(
    heap: HeapContext, states: Sequence[BlockState], places: dict[BlockId, str]
) -> None:
    """Make the directories of folder blocks, and those that others stand in, outer ones first."""
    for state in sorted(states, key=lambda s: places.get(s.id, "").count("/")):
        path = heap.index.path_of.get(state.id) or places.get(state.id)
        if path is None:
            continue
        try:
            await make_above(heap, path, places)
            if state.kind != "folder":
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
    """Bring entries up to date, and note whether the folder shows the block."""

    def store(change: Change) -> None:
        change.save(changed)
        change.update(block, stale=int(stale))

    await heap.store(store)
