"""Where the contents of a block stand in the folder: ``X.assets/`` of a note, the place of a block
that is only a file.

Names follow from the document alone, so that every device gives the same ones: of several contents
with one name (a file changed on two devices at once) the smallest key has the name and the others
its variants. A content that a newer one replaced is replaced on the disk when that has arrived.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from heapsyncd.cache.entries import EntryRow, Role, Todo
from heapsyncd.errors import FolderTrouble
from heapsyncd.folder.disk import Moved
from heapsyncd.folder.names import collision_key, safe_name, split_suffix, variants
from heapsyncd.ids import BlockId
from heapsyncd.model import FileEntry
from heapsyncd.sync.heap.index import stat_of
from heapsyncd.sync.heap.paths import ASIDE, assets_of
from heapsyncd.sync.heap.state import HeapContext
from heapsyncd.sync.heap.unit_of_work import Change

Holder = Literal["note", "file"]


@dataclass(frozen=True, slots=True)
class Holding:
    """A block whose contents stand in the folder.

    ``path``: of the note, or of the file. ``shown``: the keys that the note's text shows.
    """

    id: BlockId
    role: Holder
    path: str
    files: tuple[FileEntry, ...]
    shown: frozenset[str] = frozenset()


def wanted_paths(holding: Holding, known: Mapping[str, str]) -> dict[str, str]:
    """The path of each content, by key; pure.

    Args:
        holding: the block.
        known: where contents stand now, by key: a name that the user gave is kept as it is.
    """
    files = sorted(holding.files, key=lambda f: f.key)
    if holding.role == "file":
        at = PurePosixPath(holding.path)
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
    folder = assets_of(holding.path)
    return {key: f"{folder}/{name}" for key, name in names.items()}


def here(entry: EntryRow) -> bool:
    """Whether the file on the disk has the content that the entry names."""
    return entry.digest is not None and (entry.key or "").lower().startswith(entry.digest.hex())


def contents_of(heap: HeapContext, block: BlockId) -> dict[str, EntryRow]:
    """The entries of a block's contents, by key."""
    paths = [*heap.index.attachments.get(block, {}).values()]
    main = heap.index.path_of.get(block)
    if main is not None:
        paths.append(main)
    rows = (heap.index.entries.get(p) for p in paths)
    return {e.key: e for e in rows if e is not None and e.key is not None}


async def show_files(
    heap: HeapContext, holding: Holding, look_at: set[str]
) -> tuple[list[EntryRow], bool]:
    """Move and take away contents as the document says; the entries that are new or changed, for
    the caller to commit, and whether the disk let all be done. The caller holds the lock.

    Args:
        heap: the heap.
        holding: the block.
        look_at: gets the paths whose files turned out to be others than known.
    """
    known = contents_of(heap, holding.id)
    if not known and not holding.files:
        return [], True
    wanted = wanted_paths(holding, {k: e.path for k, e in known.items()})
    heirs = {p for k, p in wanted.items() if k not in known}
    done = True
    for key, entry in known.items():
        if key not in wanted and entry.path not in heirs and entry.path not in heap.holds.up:
            done &= await _take_away(heap, entry, look_at, named=key in holding.shown)
    try:
        await _rearrange(heap, {k: e for k, e in known.items() if k in wanted}, wanted)
    except Moved as error:
        look_at.add(error.path)
    except FolderTrouble as error:
        reason = f"its files could not be put in place: {error.reason}"
        heap.problems.found("write", holding.path, reason)
        done = False
    return _rows(heap, holding, wanted), done


def _rows(heap: HeapContext, holding: Holding, wanted: Mapping[str, str]) -> list[EntryRow]:
    rows = []
    known = contents_of(heap, holding.id)
    first = min(wanted, default="")
    for file in holding.files:
        role: Role = "file" if holding.role == "file" and file.key == first else "attachment"
        before = known.get(file.key)
        if before is None:
            stands = heap.index.entries.get(wanted[file.key])
            if stands is not None and (stands.block_id != holding.id or stands.key in wanted):
                continue  # somebody else stands there still: the next time
            before = stands or EntryRow(wanted[file.key], holding.id, role)
        row = replace(before, key=file.key, role=role)
        # By the hash of its document: a key need not be one.
        if row.digest is None or row.digest.hex() != file.hash:
            row = replace(row, todo=todo_of(heap, file, row))
        if row.inode is None:
            row = replace(row, size=file.size_bytes)
        if row != heap.index.entries.get(row.path):
            rows.append(row)
    return rows


def todo_of(heap: HeapContext, file: FileEntry, entry: EntryRow) -> Todo | None:
    """What is to be done for a content that is not here. What is here in an older version is kept
    current whatever its size.
    """
    if not file.is_uploaded or heap.layout.ignore.match(entry.path, False):
        return None
    if entry.inode is None and entry.todo != "download" and heap.on_demand(file.size_bytes):
        return "remote"
    return "download"


async def _take_away(
    heap: HeapContext, entry: EntryRow, look_at: set[str], *, named: bool
) -> bool:
    """The document has this content no more; whether the disk let it go. A file that says
    something else by now stays: it is read as a new one.

    Args:
        heap: the heap.
        entry: the content's.
        look_at: gets the path of a file that stays.
        named: the text still shows it: its name is kept, so that the text stays as it is.
    """
    stat = stat_of(entry)
    ghost = EntryRow(entry.path, entry.block_id, "attachment", entry.key)
    if named and entry == ghost:
        return True
    try:
        if entry.todo == "upload":
            look_at.add(entry.path)
        elif stat is not None:
            await heap.disk.remove(entry.path, stat)
            await heap.disk.remove_dir(str(PurePosixPath(entry.path).parent))
    except Moved:
        look_at.add(entry.path)
    except FolderTrouble as error:
        heap.problems.found("write", entry.path, error)
        return False
    await _commit(heap, [entry.path], [ghost] if named else [])
    return True


async def _rearrange(
    heap: HeapContext, known: Mapping[str, EntryRow], wanted: Mapping[str, str]
) -> None:
    """Take contents to their names; where that goes round in a circle, one steps aside."""
    left = {k: e for k, e in known.items() if e.path != wanted[k]}
    while left:
        free = [k for k in left if wanted[k] not in heap.index.entries]
        if free:
            for key in free:
                await _move(heap, left.pop(key), wanted[key])
            continue
        strays = [e for k in left if _is_stray(heap, e := heap.index.entries[wanted[k]])]
        if strays:
            await _move(heap, strays[0], _aside(strays[0]))
            continue
        blocked = [k for k, e in left.items() if e.path in wanted.values()]
        if not blocked:
            return
        entry = left[blocked[0]]
        left[blocked[0]] = await _move(heap, entry, _aside(entry))


def _is_stray(heap: HeapContext, entry: EntryRow) -> bool:
    """Whether an attachment stands in the directory of another note than its own (two notes have
    swapped their names): it goes when its own note is written.
    """
    note = heap.index.path_of.get(entry.block_id)
    return (
        entry.role == "attachment"
        and note is not None
        and heap.index.kind(entry.block_id) == "document"
        and str(PurePosixPath(entry.path).parent) != assets_of(note)
    )


def _aside(entry: EntryRow) -> str:
    # Not the key itself, which may be anything.
    distinct = hashlib.sha256((entry.key or "").encode("utf-8", "replace")).hexdigest()[:16]
    name = f"{ASIDE}{entry.block_id}-{distinct}"
    return str(PurePosixPath(entry.path).with_name(name))


async def _move(heap: HeapContext, entry: EntryRow, path: str) -> EntryRow:
    known = stat_of(entry)
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
        after = replace(after, ctime_ns=now.ctime_ns)
    await _commit(heap, [entry.path], [after])
    return after


async def _commit(heap: HeapContext, gone: Sequence[str], after: Sequence[EntryRow]) -> None:
    def store(change: Change) -> None:
        change.remove(gone)
        change.save(after)

    await heap.store(store)
