"""What the file system refuses, translated for people; and the two reasons to look again."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from heapsyncd.errors import FolderTrouble

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space, the work goes on by itself",
    errno.EDQUOT: "your quota of the disk is used up; free some space, the work goes on by itself",
    errno.EROFS: "the file system is mounted read-only; remount it writable",
    errno.EACCES: "permission denied; check its owner and mode",
    errno.EPERM: "the system does not permit it; check its owner and attributes (lsattr)",
    errno.ENOENT: "it is not there any more",
    errno.ELOOP: "a symlink stands in the way; heapsyncd does not follow symlinks",
    errno.ENOTDIR: "a file or symlink stands where a directory is expected; move it away",
    errno.EISDIR: "a directory stands where a file is expected; move it away",
    errno.EEXIST: "something else stands there; move it away",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EIO: "the disk reports an error; look at the system log (dmesg)",
    errno.EFBIG: "the file is too large for this file system",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "the system has too many files open; close some programs",
    errno.ESTALE: "the network file system was changed on its server; mount it again",
    errno.EBUSY: "it is in use, a mount point perhaps",
}


class Moved(Exception):
    """A path is not what the plan saw, so nothing was done: look again. ``str`` is for people."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.reason = what


class Unsettled(Exception):
    """A file changed while it was read: come back in a moment. ``str`` is for people."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: it is being written just now")
        self.path = path


def trouble(path: str, error: OSError) -> FolderTrouble:
    """The error for people, with the path it is about."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    made = FolderTrouble(f"{path}: {reason}.", reason)
    made.__cause__ = error
    return made


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Let what the file system refuses inside leave as FolderTrouble about ``path``."""
    try:
        yield
    except OSError as error:
        raise trouble(path, error) from error
