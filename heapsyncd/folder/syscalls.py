"""Edge: the system calls that change the folder, one function each, so that tests can fail any.

Python lacks three Linux calls: renameat2 (rename without overwriting, and exchange of two names),
syncfs and sync_file_range.
"""

import ctypes
import errno
import os
import stat
from typing import NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)
_NOREPLACE, _EXCHANGE = 1, 2
_START_WRITE = 2
"""SYNC_FILE_RANGE_WRITE: start writing, do not wait."""
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""Errors of a kernel or file system that does not support the call or its flag."""

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(name: str, mode: int, dir_fd: int) -> int:
    """Create a file for writing. Raises FileExistsError if the name is taken by anything."""
    return os.open(name, CREATE, mode, dir_fd=dir_fd)


def write(fd: int, data: memoryview) -> int:
    """Write at the current position. Returns the number of bytes written."""
    return os.write(fd, data)


def chmod(fd: int, mode: int) -> None:
    """Set the permission bits."""
    os.fchmod(fd, mode)


def fsync(fd: int) -> None:
    """Wait until a file's bytes, or a directory's names, are on the disk."""
    os.fsync(fd)


def start_writing(fd: int, offset: int) -> None:
    """Ask the system to start writing a file's bytes from ``offset`` on to the disk.

    This is only a hint; a later ``fsync`` is still required.
    """
    if hasattr(_LIBC, "sync_file_range"):
        _LIBC.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(0), _START_WRITE)


def sync_file_system(fd: int) -> None:
    """Wait until the whole file system of ``fd`` is on the disk: one wait for many files."""
    if not hasattr(_LIBC, "syncfs"):
        os.sync()
    elif _LIBC.syncfs(fd) != 0:
        _fail(fd)


def lstat(name: str, dir_fd: int) -> os.stat_result:
    """Return the stat of a name without following a symlink."""
    return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)


def unlink(name: str, dir_fd: int) -> None:
    """Remove a name."""
    os.unlink(name, dir_fd=dir_fd)


def mkdir(name: str, dir_fd: int) -> None:
    """Create a directory with the mode that the umask leaves."""
    os.mkdir(name, 0o777, dir_fd=dir_fd)


def rmdir(name: str, dir_fd: int) -> None:
    """Remove an empty directory."""
    os.rmdir(name, dir_fd=dir_fd)


def rename(old: str, old_dir: int, new: str, new_dir: int) -> None:
    """Rename, overwriting an existing file."""
    os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)


def rename_new(old: str, old_dir: int, new: str, new_dir: int) -> None:
    """Rename without overwriting, atomically where the system can.

    Raises:
        FileExistsError: the new name is taken.
    """
    try:
        _renameat2(old, old_dir, new, new_dir, _NOREPLACE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    else:
        return
    if is_directory(old, old_dir):
        # Directories cannot be hard-linked. Plain rename replaces only an empty directory.
        if exists(new, new_dir):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        rename(old, old_dir, new, new_dir)
        return
    try:
        os.link(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir, follow_symlinks=False)
    except OSError as error:
        # A file system without hard links (FAT) offers no atomic way.
        if error.errno not in _UNSUPPORTED | {errno.EPERM, errno.EMLINK}:
            raise
        if exists(new, new_dir):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        rename(old, old_dir, new, new_dir)
    else:
        os.unlink(old, dir_fd=old_dir)


def exchange(one: str, other: str, dir_fd: int) -> bool:
    """Swap two names of a directory atomically. Returns False if the file system cannot."""
    try:
        _renameat2(one, dir_fd, other, dir_fd, _EXCHANGE)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def exists(name: str, dir_fd: int) -> bool:
    """Return whether anything exists under a name."""
    try:
        lstat(name, dir_fd)
    except FileNotFoundError:
        return False
    return True


def is_directory(name: str, dir_fd: int) -> bool:
    """Return whether a name is a directory; False for a symlink to one."""
    return stat.S_ISDIR(lstat(name, dir_fd).st_mode)


def _renameat2(old: str, old_dir: int, new: str, new_dir: int, flag: int) -> None:
    if not hasattr(_LIBC, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _LIBC.renameat2(old_dir, os.fsencode(old), new_dir, os.fsencode(new), flag) != 0:
        _fail(old, new)


def _fail(old: str | int, new: str | None = None) -> NoReturn:
    number = ctypes.get_errno()
    # OSError picks the matching subclass itself (FileExistsError ...).
    raise OSError(number, os.strerror(number), old, None, new)
