"""What exists in a heap's folder at one moment, and how it differs from another. Pure values."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct, field

from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.model import Problem, Stat

EntryKind = Literal["file", "dir", "other"]
"""``other``: a symlink or a special file. It occupies its path and is never opened or followed."""


class Entry(Struct, frozen=True):
    """A path that exists. ``path`` is relative to the heap's folder, with ``/``."""

    path: str
    kind: EntryKind
    stat: Stat


class Snapshot(Struct, frozen=True):
    """The result of a scan, without ignored paths."""

    entries: Mapping[str, Entry]
    problems: tuple[Problem, ...] = ()
    """Unreadable directories (never treated as empty), symlinks, names that are not UTF-8.

    The heap's folder itself has the path ''.
    """
    ignore: Ignore = field(default=NO_RULES)
    """The rules of the scan. What they hide is not missing."""
    unread: frozenset[str] = frozenset()
    """Directories that could not be read. What they contain is unknown."""


class Differences(Struct, frozen=True):
    """What to look at, sorted by path, so that a directory precedes its content."""

    created: tuple[Entry, ...]
    """Files and directories that were unknown, or known as the other kind."""
    modified: tuple[Entry, ...]
    """Known files whose stat differs. Only their bytes tell whether the content changed."""
    missing: tuple[str, ...]
    """Known paths that no longer exist, or exist as another kind."""


def compare(
    known: Mapping[str, Stat],
    now: Snapshot,
    under: Collection[str] | None = None,
    *,
    folders: Container[str],
    below: Callable[[str], Iterable[str]] | None = None,
) -> Differences:
    """Return what changed between the known paths and a snapshot.

    A path is not missing if it is ignored, lies below an unreadable directory, or if a symlink or
    special file took its place or that of a directory above it.

    Args:
        known: the paths and stats last agreed on.
        now: the result of a scan.
        under: the paths that the scan was limited to, with everything below; None if it saw
            everything.
        folders: which of the known paths are directories. A directory is never ``modified``.
        below: returns the known paths below a path, possibly with others; None searches all of
            them.
    """
    created, modified = [], []
    for path, entry in now.entries.items():
        if entry.kind == "other":
            continue
        before = known.get(path)
        if before is None or (entry.kind == "dir") != (path in folders):
            created.append(entry)
        elif entry.kind == "file" and not before.agrees(entry.stat):
            modified.append(entry)
    missing = [
        p
        for p in _expected(known, now, under, folders, below)
        if _is_missing(p, now, p in folders)
    ]
    created.sort(key=lambda e: e.path)
    modified.sort(key=lambda e: e.path)
    return Differences(tuple(created), tuple(modified), tuple(sorted(missing)))


def _expected(
    known: Mapping[str, Stat],
    now: Snapshot,
    under: Collection[str] | None,
    folders: Container[str],
    below: Callable[[str], Iterable[str]] | None,
) -> Iterable[str]:
    """Return the known paths that the scan should have found.

    Files that are still files are looked up directly.
    """
    if under is None or "" in under:
        return known
    still = {p for p in under if p in known and p not in folders and _is_file(now, p)}
    # Anything else may be, or may have been, a directory with known paths in it.
    rest = set(under) - still
    if not rest:
        return still
    if below is not None:
        return {*still, *(p for r in rest for p in (r, *below(r)) if p in known)}
    return [p for p in known if p in still or p in rest or any(a in rest for a in _above(p))]


def _is_file(now: Snapshot, path: str) -> bool:
    entry = now.entries.get(path)
    return entry is not None and entry.kind == "file"


def _is_missing(path: str, now: Snapshot, is_dir: bool) -> bool:
    entry = now.entries.get(path)
    if entry is not None:
        return entry.kind != "other" and (entry.kind == "dir") != is_dir
    for above in _above(path):
        if above in now.unread:
            return False
        found = now.entries.get(above)
        if found is not None and found.kind == "other":
            return False
    return path not in now.unread and not now.ignore.match(path, is_dir)


def _above(path: str) -> Iterator[str]:
    """Yield the directories that contain a path, ending with the heap's folder ('')."""
    while path:
        path = path.rpartition("/")[0]
        yield path
