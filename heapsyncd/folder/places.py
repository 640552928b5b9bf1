"""Edge: look up, move, create and remove paths. Synchronous; ``disk`` runs it in threads."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heapsyncd.folder import replace, safe_open, syscalls
from heapsyncd.folder.ignore import TEMP
from heapsyncd.folder.names import collision_key, split_suffix, variants
from heapsyncd.folder.partial_downloads import PART_PREFIX
from heapsyncd.folder.trouble import PathChanged, translated
from heapsyncd.folder.walk import MAX_DEPTH, stat_of
from heapsyncd.model import Stat


@contextmanager
def place(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """Yield the open directory of a path and its last name.

    Raises PathChanged if anything is missing.
    """
    with translated(path):
        try:
            with safe_open.parent_of(root, path) as found:
                yield found
        except FileNotFoundError as error:
            raise PathChanged(path, "it no longer exists") from error


def look(root: Path, path: str) -> Stat | None:
    """Return the stat of whatever exists at a path, None if nothing does."""
    try:
        with place(root, path) as (dir_fd, name):
            return stat_of(syscalls.lstat(name, dir_fd))
    except PathChanged:
        return None


def move(root: Path, old: str, new: str) -> None:
    """Rename or move, never over an existing file or directory."""
    with place(root, old) as (old_dir, old_name), place(root, new) as (new_dir, new_name):
        if not syscalls.exists(old_name, old_dir):
            raise PathChanged(old, "it no longer exists")
        try:
            syscalls.rename_new(old_name, old_dir, new_name, new_dir)
        except FileExistsError as error:
            if not _is_same_name(old_name, old_dir, new_name, new_dir):
                raise PathChanged(new, "something else exists there") from error
            _change_spelling(old_name, new_name, old_dir)
        syscalls.fsync(new_dir)
        if not _same(old_dir, new_dir):
            syscalls.fsync(old_dir)


def make_dir(root: Path, path: str) -> Stat:
    """Create a directory and its parents unless they exist."""
    names = safe_open.components(path)
    with translated(path):
        fd = safe_open.open_root(root)
        try:
            for name in names:
                try:
                    syscalls.mkdir(name, fd)
                except FileExistsError:
                    pass
                else:
                    syscalls.fsync(fd)
                inner = safe_open.open_directory(name, fd)
                os.close(fd)
                fd = inner
            return stat_of(os.fstat(fd))
        finally:
            os.close(fd)


def remove(root: Path, path: str, expect: Stat) -> None:
    """Remove a file that matches ``expect``.

    It is renamed first and checked again under the temporary name, because another program may
    save between the check and the removal. If it changed, it gets its name back.
    """
    with place(root, path) as (dir_fd, name):
        replace.check_unchanged(path, name, dir_fd, expect)
        temp = replace.new_temp_name()
        syscalls.rename_new(name, dir_fd, temp, dir_fd)
        try:
            old = stat_of(syscalls.lstat(temp, dir_fd))
            if (old.inode, old.size, old.mtime_ns) != (
                expect.inode,
                expect.size,
                expect.mtime_ns,
            ):
                raise PathChanged(path, "it changed in the meantime")
            syscalls.unlink(temp, dir_fd)
        except BaseException:
            replace.restore_name(temp, name, dir_fd)
            raise
        syscalls.fsync(dir_fd)


def remove_dir(root: Path, path: str) -> bool:
    """Remove a directory if it exists. Returns False if it is not empty."""
    try:
        with place(root, path) as (dir_fd, name):
            try:
                syscalls.rmdir(name, dir_fd)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    return False
                raise
            syscalls.fsync(dir_fd)
    except PathChanged:
        return True
    return True


def clear_temps(root: Path, parts_older_than_s: float) -> int:
    """Remove our temporaries and old partial files. Returns the number of files removed."""
    return len(_each_temp(root, parts_older_than_s, replace.discard))


def find_temps(root: Path, parts_older_than_s: float) -> list[str]:
    """Return the paths of what ``clear_temps`` would remove."""
    return _each_temp(root, parts_older_than_s, lambda _name, _fd: None)


def _each_temp(
    root: Path, parts_older_than_s: float, work: Callable[[str, int], None]
) -> list[str]:
    """Do something with each leftover, given its name and directory; return their paths."""
    with translated(str(root)):
        root_fd = safe_open.open_root(root)
        try:
            return _temps(root_fd, time.time() - parts_older_than_s, work, 0)
        finally:
            os.close(root_fd)


def _temps(
    fd: int, parts_before_s: float, work: Callable[[str, int], None], depth: int
) -> list[str]:
    with os.scandir(fd) as found:
        items = [(i.name, i.is_dir(follow_symlinks=False)) for i in found]
    paths = []
    for name, is_dir in items:
        if is_dir:
            if depth < MAX_DEPTH:
                inner = _temps_inside(fd, name, parts_before_s, work, depth)
                paths += [f"{name}/{path}" for path in inner]
        elif TEMP.fullmatch(name) and _is_stale(fd, name, parts_before_s):
            work(name, fd)
            paths.append(name)
    return paths


def _temps_inside(
    fd: int, name: str, parts_before_s: float, work: Callable[[str, int], None], depth: int
) -> list[str]:
    try:
        inner = safe_open.open_directory(name, fd)
    except OSError:
        return []  # the scan reports it
    try:
        return _temps(inner, parts_before_s, work, depth + 1)
    finally:
        os.close(inner)


def _is_stale(fd: int, name: str, parts_before_s: float) -> bool:
    try:
        found = syscalls.lstat(name, fd)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    return not name.startswith(PART_PREFIX) or found.st_mtime < parts_before_s


def _is_same_name(old: str, old_dir: int, new: str, new_dir: int) -> bool:
    """Return whether two spellings are one name on this file system (case, normalisation)."""
    if collision_key(old) != collision_key(new) or not _same(old_dir, new_dir):
        return False
    names = os.listdir(old_dir)
    return not (old in names and new in names)


def _change_spelling(old: str, new: str, dir_fd: int) -> None:
    """Change the spelling of a name in two renames, because a direct one may do nothing.

    The intermediate name is visible to users: a kill in between leaves a renamed file, not a lost
    one.
    """
    stem, suffix = split_suffix(new)
    for hop in variants(f"{stem} (renaming){suffix}"):
        try:
            syscalls.rename_new(old, dir_fd, hop, dir_fd)
        except FileExistsError:
            continue
        syscalls.rename_new(hop, dir_fd, new, dir_fd)
        return


def _same(one: int, other: int) -> bool:
    a, b = os.fstat(one), os.fstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
