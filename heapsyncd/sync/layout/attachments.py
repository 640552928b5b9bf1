"""Place a block's contents: a note's files in ``X.assets/``, a file block's at its path.

Paths follow from the document alone, so that every device derives the same ones. Of several
contents with one name (a file changed on two devices at once), the smallest key gets the name and
the others get variants of it. A content that a newer one replaces stays on the disk until the
newer one is downloaded.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from heapsyncd.cache.entries import EntryRow, Role, Todo
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import PathChanged
from heapsyncd.folder.names import collision_key, safe_name, split_suffix, variants
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.heap.paths import PARKING_PREFIX, assets_of, assets_owner
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change

OwnerRole = Literal["note", "file"]


class AttachmentOwner(Struct, frozen=True):
    """A block whose contents are files in the folder.

    ``path``: of the note, or of the file block. ``shown``: the keys of the files that the note's
    text shows.
    """

    id: BlockId
    role: OwnerRole
    path: str
    files: tuple[FileEntry, ...]
    shown: frozenset[str] = frozenset()


def attachment_paths(owner: AttachmentOwner, known: Mapping[str, str]) -> dict[str, str]:
    """Return the path of each content, by key. Pure.

    Args:
        owner: the block.
        known: the present paths, by key; a name that the user gave is kept.
    """
    files = sorted(owner.files, key=lambda f: f.key)
    if owner.role == "file":
        at = PurePosixPath(owner.path)
        spellings = variants(at.name, split_suffix(at.name)[1])
        return {f.key: str(at.with_name(n)) for f, n in zip(files, spellings, strict=False)}
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for file in files:
        now = PurePosixPath(known.get(file.key, "")).name
        name = now if now and now == file.name else safe_name(file.name)
        groups[collision_key(safe_name(file.name))].append((file.key, name))
    taken: set[str] = set()
    names: dict[str, str] = {}
    for rank in range(max(map(len, groups.values()), default=0)):
        for group in groups.values():
            if rank < len(group):
                key, name = group[rank]
                free = variants(name, split_suffix(name)[1])
                names[key] = next(n for n in free if collision_key(n) not in taken)
                taken.add(collision_key(names[key]))
    folder = assets_of(owner.path)
    return {key: f"{folder}/{name}" for key, name in names.items()}


def is_present(heap: HeapContext, entry: EntryRow) -> bool:
    """Return whether the file on disk has the content that the entry names."""
    if entry.digest is None:
        return False
    if heap.dialect.content_hashes:
        return (entry.key or "").lower().startswith(entry.digest.hex())
    return entry.todo not in {"download", "remote"}


def contents_of(heap: HeapContext, block: BlockId) -> dict[str, EntryRow]:
    """Return the entries of a block's contents, by key."""
    paths = [*heap.index.attachments.get(block, {}).values()]
    main = heap.index.path_of.get(block)
    if main is not None:
        paths.append(main)
    rows = (heap.index.entries.get(p) for p in paths)
    return {e.key: e for e in rows if e is not None and e.key is not None}


async def place_attachments(
    heap: HeapContext, owner: AttachmentOwner, rescan: set[str]
) -> tuple[list[EntryRow], bool]:
    """Move and remove content files as the document says. Hold the heap's lock.

    Args:
        heap: the heap.
        owner: the block.
        rescan: receives the paths whose files were not as expected.

    Returns:
        The entries that are new or changed, for the caller to commit, and whether everything could
            be done on the disk.
    """
    known = contents_of(heap, owner.id)
    if not known and not owner.files:
        return [], True
    wanted = attachment_paths(owner, {k: e.path for k, e in known.items()})
    replaced = {p for k, p in wanted.items() if k not in known}
    done = True
    for key, entry in known.items():
        if key not in wanted and entry.path not in replaced and entry.path not in heap.holds.up:
            done &= await _remove(heap, entry, rescan, is_mentioned=key in owner.shown)
    try:
        await _move_to_names(heap, {k: e for k, e in known.items() if k in wanted}, wanted)
    except PathChanged as error:
        rescan.add(error.path)
    except FolderTrouble as error:
        reason = f"its attachments could not be moved to their names: {error.reason}"
        heap.problems.found("write", owner.path, reason)
        done = False
    return _rows(heap, owner, wanted), done


def _rows(heap: HeapContext, owner: AttachmentOwner, wanted: Mapping[str, str]) -> list[EntryRow]:
    rows = []
    known = contents_of(heap, owner.id)
    first = min(wanted, default="")
    for file in owner.files:
        role: Role = "file" if owner.role == "file" and file.key == first else "attachment"
        before = known.get(file.key)
        if before is None:
            occupant = heap.index.entries.get(wanted[file.key])
            if occupant is not None and (occupant.block_id != owner.id or occupant.key in wanted):
                continue  # another content is still at this path: retry in the next pass
            before = occupant or EntryRow(wanted[file.key], owner.id, role)
        row = replace(before, key=file.key, role=role)
        if _lacks(heap, before, file):
            todo = todo_of(heap, file, row)
            if todo is None and row.digest is not None and not heap.dialect.content_hashes:
                todo = "download"  # only this tells that the file has another content
            row = replace(row, todo=todo)
        if row.stat is None:
            row = replace(row, awaited_size=file.size_bytes)
        if row != heap.index.entries.get(row.path):
            rows.append(row)
    return rows


def _lacks(heap: HeapContext, entry: EntryRow, file: FileEntry) -> bool:
    """Return whether the file on disk does not have a content of the document."""
    if not heap.dialect.content_hashes:
        return entry.key != file.key or not is_present(heap, entry)
    # Compare the hash that the document states: a key need not contain one.
    return entry.digest is None or entry.digest.hex() != file.hash


def todo_of(heap: HeapContext, file: FileEntry, entry: EntryRow) -> Todo | None:
    """Return what to do for a content that is not present; None: nothing.

    A content present in an older version is kept up to date whatever its size.
    """
    if not file.is_uploaded or heap.layout.ignore.match(entry.path, False):
        return None
    if entry.stat is None and entry.todo != "download" and heap.on_demand(file.size_bytes):
        return "remote"
    return "download"


async def _remove(
    heap: HeapContext, entry: EntryRow, rescan: set[str], *, is_mentioned: bool
) -> bool:
    """Remove a content that is no longer in the document; returns False if the disk refused.

    A file that was changed meanwhile stays, and is scanned as a new one.

    Args:
        heap: the heap.
        entry: the content's entry.
        rescan: receives the path of a file that stays.
        is_mentioned: the text still shows the content: its name is kept, so that the text stays as
            it is.
    """
    stat = entry.stat
    name_only = EntryRow(entry.path, entry.block_id, "attachment", entry.key)
    if is_mentioned and entry == name_only:
        return True
    try:
        if entry.todo == "upload":
            rescan.add(entry.path)
        elif stat is not None:
            await heap.disk.remove(entry.path, stat)
    except PathChanged:
        rescan.add(entry.path)
    except FolderTrouble as error:
        heap.problems.found("write", entry.path, error)
        return False
    await _commit(heap, [entry.path], [name_only] if is_mentioned else [])
    if assets_owner(entry.path) is not None:
        # Committed first: until then a missing file is its user's deletion.
        with suppress(PathChanged, FolderTrouble):
            await heap.disk.remove_dir(str(PurePosixPath(entry.path).parent))
    return True


async def _move_to_names(
    heap: HeapContext, known: Mapping[str, EntryRow], wanted: Mapping[str, str]
) -> None:
    """Move contents to their names; a cycle is broken by parking one of them."""
    left = {k: e for k, e in known.items() if e.path != wanted[k]}
    while left:
        free = [k for k in left if wanted[k] not in heap.index.entries]
        if free:
            for key in free:
                await _move(heap, left.pop(key), wanted[key])
            continue
        misplaced = [e for k in left if _is_misplaced(heap, e := heap.index.entries[wanted[k]])]
        if misplaced:
            await _move(heap, misplaced[0], _parking_path(misplaced[0]))
            continue
        blocked = [k for k, e in left.items() if e.path in wanted.values()]
        if not blocked:
            return
        entry = left[blocked[0]]
        left[blocked[0]] = await _move(heap, entry, _parking_path(entry))


def _is_misplaced(heap: HeapContext, entry: EntryRow) -> bool:
    """Return whether an attachment is in the directory of another note than its own.

    That happens when two notes swap names; it moves when its own note is written.
    """
    note = heap.index.path_of.get(entry.block_id)
    return (
        entry.role == "attachment"
        and note is not None
        and heap.index.kind(entry.block_id) == "document"
        and str(PurePosixPath(entry.path).parent) != assets_of(note)
    )


def _parking_path(entry: EntryRow) -> str:
    # The hash, for a key may contain anything.
    distinct = hashlib.sha256((entry.key or "").encode("utf-8", "replace")).hexdigest()[:16]
    name = f"{PARKING_PREFIX}{entry.block_id}-{distinct}"
    return str(PurePosixPath(entry.path).with_name(name))


async def _move(heap: HeapContext, entry: EntryRow, path: str) -> EntryRow:
    known = entry.stat
    old, new = (str(PurePosixPath(p).parent) for p in (entry.path, path))
    if known is not None:
        if old != new:
            await heap.disk.make_dir(new)
        await heap.disk.move(entry.path, path)
        if old != new:
            await heap.disk.remove_dir(old)
    now = await heap.disk.stat(path)
    after = replace(entry, path=path)
    if known is not None and now is not None and now.same_content(known):
        after = replace(after, stat=replace(known, ctime_ns=now.ctime_ns))
    await _commit(heap, [entry.path], [after])
    return after


async def _commit(heap: HeapContext, gone: Sequence[str], after: Sequence[EntryRow]) -> None:
    def store(change: Change) -> None:
        change.remove(gone)
        change.save(after)

    await heap.store(store)
