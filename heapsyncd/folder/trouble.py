"""Translate file system errors for people, and name the two reasons to look again."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from heapsyncd.errors import FolderTrouble

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space, then syncing resumes by itself",
    errno.EDQUOT: "your disk quota is used up; free some space, then syncing resumes by itself",
    errno.EROFS: "the file system is mounted read-only; remount it writable",
    errno.EACCES: "permission denied; check its owner and mode",
    errno.EPERM: "the system does not permit it; check its owner and attributes (lsattr)",
    errno.ENOENT: "it no longer exists",
    errno.ELOOP: "a symlink is in the way; heapsyncd does not follow symlinks",
    errno.ENOTDIR: "a file or symlink is in the place of a directory; move it away",
    errno.EISDIR: "a directory is in the place of a file; move it away",
    errno.EEXIST: "something else exists there; move it away",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EIO: "the disk reports an error; check the system log (dmesg)",
    errno.EFBIG: "the file is too large for this file system",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "the system has too many files open; close some programs",
    errno.ESTALE: "the network file system was changed on its server; mount it again",
    errno.EBUSY: "it is in use, perhaps as a mount point",
}
"""What happened and what to do, by errno."""


class PathChanged(Exception):
    """A path is not in the expected state, so nothing was done.

    Look again. ``str`` is for people.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.reason = what


class FileBusy(Exception):
    """A file changed while it was read. Try again in a moment. ``str`` is for people."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: another program is writing it just now")
        self.path = path


def trouble(path: str, error: OSError) -> FolderTrouble:
    """Return an OSError as a FolderTrouble for people that names the path."""
    reason = _ADVICE.get(error.errno or 0) or error.strerror or str(error)
    made = FolderTrouble(f"{path}: {reason}.", reason)
    made.__cause__ = error
    return made


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn an OSError raised inside into a FolderTrouble about ``path``."""
    try:
        yield
    except OSError as error:
        raise trouble(path, error) from error
