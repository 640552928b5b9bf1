"""Edge: scan the folder for names and stats."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct, field

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder import safe_open
from heapsyncd.folder.ignore import Ignore
from heapsyncd.folder.snapshot import Entry, EntryKind, Snapshot
from heapsyncd.folder.trouble import trouble
from heapsyncd.model import Problem, Stat

MAX_DEPTH = 100
"""Levels of directories. Each keeps one descriptor open while its content is scanned."""


def stat_of(found: os.stat_result) -> Stat:
    """Convert an ``os.stat_result``."""
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def scan(root: Path, ignore: Ignore, under: Iterable[str] | None = None) -> Snapshot:
    """Scan the folder, or the given paths and everything below.

    Raises:
        FolderTrouble: the heap's folder itself cannot be opened. Anything below becomes a problem.
    """
    walk = _Walk(ignore)
    root_fd = safe_open.open_root(root)
    try:
        if under is None or "" in (under := set(under)):
            walk.directory(root_fd, "", 0)
        else:
            for path in sorted(under):
                walk.start(root_fd, path)
    finally:
        os.close(root_fd)
    return Snapshot(walk.entries, tuple(walk.problems.values()), ignore, frozenset(walk.unread))


class _Walk(Struct):
    """Collects entries and problems during one scan."""

    ignore: Ignore
    entries: dict[str, Entry] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)

    def start(self, root_fd: int, path: str) -> None:
        """Scan one of the given paths, including the directories above it."""
        names = safe_open.components(path)
        fd = os.dup(root_fd)
        done = ""
        try:
            for depth, name in enumerate(names):
                done = f"{done}/{name}" if done else name
                last = depth == len(names) - 1
                kind = self._add_name(fd, name, done)
                if last and kind == "dir":
                    self._descend(fd, name, done, depth + 1)
                if last or kind != "dir":
                    return
                try:
                    inner = safe_open.open_directory(name, fd)
                except OSError as error:
                    self._unreadable(done, error)
                    return
                os.close(fd)
                fd = inner
        finally:
            os.close(fd)

    def directory(self, fd: int, path: str, depth: int) -> None:
        """Scan an open directory and everything below."""
        inner: list[str] = []
        try:
            with os.scandir(fd) as found:
                for item in found:
                    self._item(item, path, inner)
        except OSError as error:
            self._unreadable(path, error)
            return
        for name in inner:
            self._descend(fd, name, f"{path}/{name}" if path else name, depth + 1)

    def _item(self, item: os.DirEntry[str], directory: str, inner: list[str]) -> None:
        path = f"{directory}/{item.name}" if directory else item.name
        if not self._is_utf8(path):
            return
        if self.ignore.match(path, item.is_dir(follow_symlinks=False)):
            return
        try:
            found = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # removed since the directory was read
        if self._add_entry(path, found) == "dir":
            inner.append(item.name)

    def _add_name(self, fd: int, name: str, path: str) -> EntryKind | None:
        """Add one name of an open directory. Returns None if it does not exist or is ignored."""
        if not self._is_utf8(path):
            return None
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._unreadable(path, error)
            return None
        if self.ignore.match(path, stat.S_ISDIR(found.st_mode)):
            return None
        return self._add_entry(path, found)

    def _descend(self, fd: int, name: str, path: str, depth: int) -> None:
        """Scan a subdirectory."""
        if depth > MAX_DEPTH:
            self._problem(path, f"it is more than {MAX_DEPTH} directories deep; not synced")
            self.unread.add(path)
            return
        try:
            inner = safe_open.open_directory(name, fd)
        except FileNotFoundError:
            self.entries.pop(path, None)
            return
        except OSError as error:
            self._unreadable(path, error)
            return
        try:
            self.directory(inner, path, depth)
        finally:
            os.close(inner)

    def _add_entry(self, path: str, found: os.stat_result) -> EntryKind:
        """Add an entry, and a problem if it is neither a file nor a directory."""
        kind: EntryKind = "other"
        if stat.S_ISREG(found.st_mode):
            kind = "file"
        elif stat.S_ISDIR(found.st_mode):
            kind = "dir"
        else:
            what = "a symlink" if stat.S_ISLNK(found.st_mode) else "not a regular file"
            self._problem(path, f"it is {what}; not synced", minor=True)
        self.entries[path] = Entry(path, kind, stat_of(found))
        return kind

    def _is_utf8(self, path: str) -> bool:
        """Return whether the name is UTF-8. Other names cannot be stored, shown or sent."""
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(path).decode(errors="replace")
            self._problem(shown, "its name is not UTF-8; not synced, rename it", minor=True)
            return False
        return True

    def _unreadable(self, path: str, error: OSError) -> None:
        if not path:
            raise FolderTrouble(f"The heap's folder can't be read: {error.strerror}.") from error
        self.unread.add(path)
        self._problem(path, trouble(path, error).reason)

    def _problem(self, path: str, reason: str, *, minor: bool = False) -> None:
        self.problems[path] = Problem(path, reason, minor)
