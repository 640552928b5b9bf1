"""Decide what happened in the folder. A pure function of snapshots.

``recognise`` compares the entries with what is on disk now. A missing entry and a new path are one
*move* if the id in the front matter says so, then the inode, then the content; otherwise they are
a deletion and a creation.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.observed import Created, Found, Moved, Recognised, Vanished
from heapsyncd.sync.heap.paths import assets_owner


def recognise(
    missing: Iterable[EntryRow],
    created: Iterable[Found],
    present: Mapping[BlockId, str],
    unsettled: Iterable[Found] = (),
) -> Recognised:
    """Return the moves, creations and deletions in the folder.

    Args:
        missing: entries whose paths no longer exist.
        created: paths that exist and have no entry.
        present: the known path of each block, to tell a copy from a move.
        unsettled: new files that are not to be read yet; they help to identify directories.
    """
    gone = {e.path: e for e in missing}
    away = frozenset(gone)
    new = {f.path: f for f in sorted(created, key=lambda f: (f.path.count("/"), f.path))}
    moved: list[Moved] = []

    def match(entry: EntryRow, found: Found) -> None:
        moved.append(Moved(entry, found.path))
        del gone[entry.path], new[found.path]

    waiting = list(unsettled)
    _match_directories(gone, new, [*new.values(), *waiting], match)
    undecided = _undecided(gone, new) if waiting else ()
    for path in [p for p in new if any(p == u or p.startswith(u + "/") for u in undecided)]:
        del new[path]
    _match_notes(gone, new, match)
    _match_inodes(gone, new, match)
    _match_contents(gone, new, match)
    moved.sort(key=lambda m: (m.path.count("/"), m.path))
    result = [Created(f, _copied_block(f, present, away)) for f in new.values()]
    result.sort(key=lambda c: (c.found.kind != "dir", c.found.path.count("/"), c.found.path))
    # Children before their directory, which is deleted only when it is empty.
    left = sorted(gone.values(), key=lambda e: (-e.path.count("/"), e.path))
    return Recognised(tuple(moved), tuple(result), tuple(Vanished(e) for e in left), undecided)


def _copied_block(
    found: Found, present: Mapping[BlockId, str], away: Container[str]
) -> BlockId | None:
    """Return the block a file is a copy of: one its front matter names and that has a file."""
    block = BlockId(found.front_id or "")
    path = present.get(block)
    return block if path is not None and path not in away else None


_Match = Callable[[EntryRow, Found], None]
_Gone = dict[str, EntryRow]
_New = dict[str, Found]
_NEVER_THERE = (-1, -1)


def _match_directories(gone: _Gone, new: _New, seen: Sequence[Found], match: _Match) -> None:
    """Match directories by inode, then by where most of their known children went."""
    _match_directory_inodes(gone, new, seen, frozenset(), match)
    targets: dict[str, Counter[str]] = defaultdict(Counter)
    by_id = {f.front_id: f for f in new.values() if f.front_id}
    by_inode = {f.number: f for f in new.values() if f.kind == "file"}
    for entry in gone.values():
        child = by_id.get(entry.block_id) or by_inode.get(_number(entry))
        if child is not None and entry.role != "folder":
            parent = str(PurePosixPath(entry.path).parent)
            targets[parent][str(PurePosixPath(child.path).parent)] += 1
    for entry in [e for e in gone.values() if e.role == "folder"]:
        for path, _count in targets[entry.path].most_common(1):
            if path in new and _may_be_folder(new[path]):
                match(entry, new[path])
    # A directory whose children were spread over several others may still be the same.
    _match_directory_inodes(gone, new, seen, frozenset(by_id), match)


def _match_directory_inodes(
    gone: _Gone, new: _New, seen: Sequence[Found], elsewhere: Container[str], match: _Match
) -> None:
    """Match directories by inode, unless the number was reused for another directory."""
    dirs = {f.number: f for f in new.values() if _may_be_folder(f)}
    for entry in [e for e in gone.values() if e.role == "folder"]:
        found = dirs.get(_number(entry))
        if found is None or found.path not in new:
            continue
        children = [e for p, e in gone.items() if p.startswith(entry.path + "/")]
        if not _is_other_directory(
            found, [e for e in children if e.block_id not in elsewhere], seen
        ):
            match(entry, found)


def _undecided(gone: _Gone, new: _New) -> tuple[str, ...]:
    """Return new directories with the inode of a missing one.

    Files that cannot be read yet may be from it, or in it.
    """
    inodes = {_number(e) for e in gone.values() if e.role == "folder"}
    return tuple(p for p, f in new.items() if _may_be_folder(f) and f.number in inodes)


def _may_be_folder(found: Found) -> bool:
    """Return whether a path may be a folder's directory, and is none of attachments.

    A directory of attachments that was just made may have the number of one that was deleted.
    """
    return found.kind == "dir" and assets_owner(f"{found.path}/x") is None


def _is_other_directory(found: Found, children: Sequence[EntryRow], seen: Sequence[Found]) -> bool:
    """Return whether a directory is not the one that had these children.

    That is so if it contains files, and none of them is one of the children.
    """
    inside = [f for f in seen if f.kind == "file" and f.path.startswith(found.path + "/")]
    if not children or not inside:
        return False
    ids = {e.block_id for e in children}
    inodes = {_number(e) for e in children}
    return not any(f.front_id in ids or f.number in inodes for f in inside)


def _match_notes(gone: _Gone, new: _New, match: _Match) -> None:
    """Match notes by the id in their front matter; of several copies, by inode too."""
    candidates: dict[str, list[Found]] = defaultdict(list)
    for found in new.values():
        if found.front_id and found.is_note:
            candidates[found.front_id].append(found)
    for entry in [e for e in gone.values() if e.role == "note"]:
        same = candidates.get(entry.block_id, [])
        same.sort(key=lambda f: (f.inode != _number(entry)[1], f.path))
        if same:
            match(entry, same[0])


def _match_inodes(gone: _Gone, new: _New, match: _Match) -> None:
    """Match the remaining files by inode: notes without an id, and other files."""
    files = {f.number: f for f in new.values() if f.kind == "file"}
    for entry in [e for e in gone.values() if e.role != "folder"]:
        found = files.get(_number(entry))
        if found is None or found.path not in new or not _may_be(entry, found):
            continue
        # Inode numbers are soon reused: the content has to agree too.
        if entry.digest == found.digest or entry.size == found.size or entry.role == "note":
            match(entry, found)


def _match_contents(gone: _Gone, new: _New, match: _Match) -> None:
    """Match the rest by content, where that is not empty and not ambiguous."""
    contents: dict[bytes, list[Found]] = defaultdict(list)
    for found in new.values():
        if found.digest and found.size:
            contents[found.digest].append(found)
    for entry in [e for e in gone.values() if e.digest]:
        same = [f for f in contents.get(entry.digest or b"", []) if f.path in new]
        if len(same) == 1 and _may_be(entry, same[0]):
            match(entry, same[0])


def _number(entry: EntryRow) -> tuple[int, int]:
    return _NEVER_THERE if entry.stat is None else entry.stat.number


def _may_be(entry: EntryRow, found: Found) -> bool:
    """Return whether a found path can be the entry's file: a note remains that note."""
    if entry.role == "note":
        return found.is_note and found.front_id is None
    return not found.is_note
