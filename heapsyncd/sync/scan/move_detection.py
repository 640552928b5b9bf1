"""Decide first: what happened in the folder. A pure function of snapshots.

``recognise`` compares what we last agreed on with what the disk shows now and names the changes:
an entry that is missing and a path that is new are one *move* when identity says so (the id in the
front matter, then the inode, then the content), else a deletion and a new thing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from heapsyncd.cache.entries import EntryRow
from heapsyncd.ids import BlockId
from heapsyncd.sync.heap.observed import Created, Found, Moved, Recognised, Vanished


def recognise(
    missing: Iterable[EntryRow],
    created: Iterable[Found],
    present: Mapping[BlockId, str],
    unsettled: Iterable[Found] = (),
) -> Recognised:
    """Name the changes of the folder.

    Args:
        missing: entries whose path is not there any more.
        created: paths that are there and were not known.
        present: where blocks stand as far as known, to tell a copy from a move.
        unsettled: new files that are not to be read yet; they tell a directory from another one.
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
    result = [Created(f, _original(f, present, away)) for f in new.values()]
    result.sort(key=lambda c: (c.found.kind != "dir", c.found.path.count("/"), c.found.path))
    # Children before their directory, so that a directory is only given up when it is empty.
    left = sorted(gone.values(), key=lambda e: (-e.path.count("/"), e.path))
    return Recognised(tuple(moved), tuple(result), tuple(Vanished(e) for e in left), undecided)


def _original(
    found: Found, present: Mapping[BlockId, str], away: Container[str]
) -> BlockId | None:
    """The block a new file is a copy of: its front matter names one that stands elsewhere."""
    block = BlockId(found.front_id or "")
    return block if block in present and present[block] not in away else None


_Match = Callable[[EntryRow, Found], None]
_Gone = dict[str, EntryRow]
_New = dict[str, Found]
_NEVER_THERE = (-1, -1)


def _match_directories(gone: _Gone, new: _New, seen: Sequence[Found], match: _Match) -> None:
    """Directories by inode, then by where most of their known children went."""
    _match_numbers(gone, new, seen, frozenset(), match)
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
            if path in new and new[path].kind == "dir":
                match(entry, new[path])
    # One whose children all went elsewhere, to several places, may still be the same.
    _match_numbers(gone, new, seen, frozenset(by_id), match)


def _match_numbers(
    gone: _Gone, new: _New, seen: Sequence[Found], elsewhere: Container[str], match: _Match
) -> None:
    """Directories by inode, unless that is merely the number of one that was removed."""
    dirs = {f.number: f for f in new.values() if f.kind == "dir"}
    for entry in [e for e in gone.values() if e.role == "folder"]:
        found = dirs.get(_number(entry))
        if found is None or found.path not in new:
            continue
        children = [e for p, e in gone.items() if p.startswith(entry.path + "/")]
        if not _is_another(found, [e for e in children if e.block_id not in elsewhere], seen):
            match(entry, found)


def _undecided(gone: _Gone, new: _New) -> tuple[str, ...]:
    """New directories with the number of one that is gone: what cannot be read yet may be from it,
    or in it.
    """
    numbers = {_number(e) for e in gone.values() if e.role == "folder"}
    return tuple(p for p, f in new.items() if f.kind == "dir" and f.number in numbers)


def _is_another(found: Found, children: Sequence[EntryRow], seen: Sequence[Found]) -> bool:
    """Whether a directory is not the one that had these children: it has files, and none of them
    is one of those.
    """
    inside = [f for f in seen if f.kind == "file" and f.path.startswith(found.path + "/")]
    if not children or not inside:
        return False
    ids = {e.block_id for e in children}
    numbers = {_number(e) for e in children}
    return not any(f.front_id in ids or f.number in numbers for f in inside)


def _match_notes(gone: _Gone, new: _New, match: _Match) -> None:
    """Notes by the id in their front matter; of several copies the one with the same inode."""
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
    """Whatever is left, by inode; a note without an id in it, or any other file."""
    files = {f.number: f for f in new.values() if f.kind == "file"}
    for entry in [e for e in gone.values() if e.role != "folder"]:
        found = files.get(_number(entry))
        if found is None or found.path not in new or not _may_be(entry, found):
            continue
        # An inode number is used again soon after its file is gone: the content must be alike too.
        if entry.digest == found.digest or entry.size == found.size or entry.role == "note":
            match(entry, found)


def _match_contents(gone: _Gone, new: _New, match: _Match) -> None:
    """At last by content, where it is not empty and not ambiguous."""
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
    """Whether a found path can be the entry: a note stays a note, and one with another id is
    another note.
    """
    if entry.role == "note":
        return found.is_note and found.front_id is None
    return not found.is_note
