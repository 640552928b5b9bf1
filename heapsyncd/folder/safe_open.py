"""Edge: resolve a relative path to an open directory, name by name, never through a symlink.

A descriptor keeps referring to the directory that was opened, whatever happens to the tree. So
replacing a directory by a symlink between check and use has no effect.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heapsyncd.errors import FolderTrouble

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def components(path: str) -> list[str]:
    """Split a relative path into names.

    Raises:
        FolderTrouble: the path could lead out of the folder.
    """
    names = path.split("/")
    if any(name in {"", ".", ".."} or "\0" in name for name in names):
        reason = "refused, this path would leave the heap's folder"
        raise FolderTrouble(f"{path!r}: {reason}.", reason)
    return names


def restoring(root: Path) -> str:
    """Return the command that makes a heap's lost folder again."""
    return f"`heapsyncd heaps --restore-folder {shlex.quote(str(root))}`"


def open_root(root: Path) -> int:
    """Open the heap's folder. It may be reached through symlinks; that is the user's choice.

    Raises:
        FolderTrouble: it does not exist or is not a directory.
    """
    try:
        return os.open(root, _DIRECTORY)
    except FileNotFoundError as error:
        raise FolderTrouble(
            f"The heap's folder {root} is missing; mount its disk, or have it written again: "
            f"{restoring(root)}. Nothing was deleted."
        ) from error
    except NotADirectoryError as error:
        raise FolderTrouble(
            f"The heap's folder {root} is not a directory; move it away."
        ) from error
    except OSError as error:
        raise FolderTrouble(
            f"The heap's folder {root} can't be opened: {error.strerror}."
        ) from error


def open_directory(name: str, dir_fd: int) -> int:
    """Open a directory inside an open one. Raises NotADirectoryError for a symlink."""
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)


def descend(root_fd: int, names: list[str]) -> int:
    """Return a new descriptor of the directory reached through ``names``."""
    fd = os.dup(root_fd)
    for name in names:
        try:
            inner = open_directory(name, fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


@contextmanager
def parent_of(root: Path, path: str) -> Iterator[tuple[int, str]]:
    """Yield the open directory that contains a path, and the path's last name."""
    *above, name = components(path)
    root_fd = open_root(root)
    try:
        fd = descend(root_fd, above)
    finally:
        os.close(root_fd)
    try:
        yield fd, name
    finally:
        os.close(fd)


def open_file(name: str, dir_fd: int) -> int:
    """Open a file for reading. Never blocks on a FIFO, follows no symlink, keeps atime."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:
        # Only a file's owner may open it without changing atime.
        return os.open(name, flags, dir_fd=dir_fd)
