"""What is in a heap's folder at one moment, and what changed since another; pure values."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from heapsyncd.folder.ignore import NO_RULES, Ignore
from heapsyncd.model import Problem, Stat

EntryKind = Literal["file", "dir", "other"]
"""``other``: a symlink or a special file; it keeps its place, and is never opened or followed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path that is there. ``path``: relative to the heap's folder, with ``/``."""

    path: str
    kind: EntryKind
    stat: Stat


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a scan found, without what is ignored."""

    entries: Mapping[str, Entry]
    problems: tuple[Problem, ...] = ()
    """Of the whole walk: an unreadable directory (never taken for an empty one), a symlink, a name
    that is not UTF-8. The heap's folder itself has the path ''."""
    ignore: Ignore = field(default=NO_RULES)
    """The rules of the scan: what they hide is not missing."""
    unread: frozenset[str] = frozenset()
    """The directories that could not be read; nothing is known of what is below."""


@dataclass(frozen=True, slots=True)
class Differences:
    """What is to be looked at. Sorted by path, so that a directory stands before what is in it."""

    created: tuple[Entry, ...]
    """Files and directories that were not known, or not as that."""
    modified: tuple[Entry, ...]
    """Known files whose stat does not agree. Only their bytes tell whether they changed."""
    missing: tuple[str, ...]
    """Known paths that are not there any more, or not as what they were."""


def compare(
    known: Mapping[str, Stat],
    now: Snapshot,
    under: Collection[str] | None = None,
    *,
    folders: Container[str],
    below: Callable[[str], Iterable[str]] | None = None,
) -> Differences:
    """Name what changed between what is known and a snapshot.

    Nothing is missing that is ignored, that lies below a directory that could not be read, or
    whose place (or that of a directory above it) a symlink or special file has taken.

    Args:
        known: the paths we last agreed on.
        now: what a scan found.
        under: the paths the scan was limited to (with what is below); None: it saw everything.
        folders: which of the known paths are directories. A directory is never ``modified``.
        below: the known paths below a path, and perhaps others; None: they are looked for.
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
    """The known paths that the scan should have met. Files that are still files cost a look-up."""
    if under is None or "" in under:
        return known
    still = {p for p in under if p in known and p not in folders and _is_file(now, p)}
    # Anything else may have been, or may be, a directory with known paths in it.
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
    """The directories a path lies in, the heap's folder ('') last."""
    while path:
        path = path.rpartition("/")[0]
        yield path
