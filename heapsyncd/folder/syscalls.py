"""Edge: the system calls that change the folder, one name each: a test can make any of them fail.

Python has no name for three of Linux's: renameat2 (rename that never overwrites, and exchange of
two names), syncfs and sync_file_range.
"""

import ctypes
import errno
import os
import stat
from typing import NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)
_NOREPLACE, _EXCHANGE = 1, 2
_BEGIN = 2
"""SYNC_FILE_RANGE_WRITE: do not wait."""
_UNKNOWN_TO = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})
"""What a kernel or file system answers that does not know the call or its flag."""

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(name: str, mode: int, dir_fd: int) -> int:
    """A new file for writing; FileExistsError when the name is taken, by whatever."""
    return os.open(name, CREATE, mode, dir_fd=dir_fd)


def write(fd: int, data: memoryview) -> int:
    """Write from the present position; how many bytes were taken."""
    return os.write(fd, data)


def chmod(fd: int, mode: int) -> None:
    """Set the permission bits."""
    os.fchmod(fd, mode)


def fsync(fd: int) -> None:
    """Wait until a file's bytes, or a directory's names, are on the disk."""
    os.fsync(fd)


def start_writing(fd: int, offset: int) -> None:
    """Have the system begin to put a file's bytes from there on onto the disk, where it can: a
    mere hint, a later ``fsync`` is what counts.
    """
    if hasattr(_LIBC, "sync_file_range"):
        _LIBC.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(0), _BEGIN)


def sync_file_system(fd: int) -> None:
    """Wait until all of the file system of ``fd`` is on the disk: one wait for many files."""
    if not hasattr(_LIBC, "syncfs"):
        os.sync()
    elif _LIBC.syncfs(fd) != 0:
        _fail(fd)


def lstat(name: str, dir_fd: int) -> os.stat_result:
    """What stands there, be it a symlink."""
    return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)


def unlink(name: str, dir_fd: int) -> None:
    """Remove a name."""
    os.unlink(name, dir_fd=dir_fd)


def mkdir(name: str, dir_fd: int) -> None:
    """Make a directory, with the mode the umask leaves."""
    os.mkdir(name, 0o777, dir_fd=dir_fd)


def rmdir(name: str, dir_fd: int) -> None:
    """Remove an empty directory."""
    os.rmdir(name, dir_fd=dir_fd)


def rename(old: str, old_dir: int, new: str, new_dir: int) -> None:
    """Rename, over what may stand there."""
    os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)


def rename_new(old: str, old_dir: int, new: str, new_dir: int) -> None:
    """Rename, and FileExistsError when the new name is taken, atomically where the system can."""
    try:
        _renameat2(old, old_dir, new, new_dir, _NOREPLACE)
    except OSError as error:
        if error.errno not in _UNKNOWN_TO:
            raise
    else:
        return
    if is_directory(old, old_dir):
        # A directory has no second name; onto an existing one rename works only if that is empty.
        if exists(new, new_dir):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        rename(old, old_dir, new, new_dir)
        return
    try:
        os.link(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir, follow_symlinks=False)
    except OSError as error:
        # A file system without hard links (FAT) has no atomic way at all.
        if error.errno not in _UNKNOWN_TO | {errno.EPERM, errno.EMLINK}:
            raise
        if exists(new, new_dir):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        rename(old, old_dir, new, new_dir)
    else:
        os.unlink(old, dir_fd=old_dir)


def exchange(one: str, other: str, dir_fd: int) -> bool:
    """Swap two names of a directory atomically; False when the file system can't."""
    try:
        _renameat2(one, dir_fd, other, dir_fd, _EXCHANGE)
    except OSError as error:
        if error.errno in _UNKNOWN_TO:
            return False
        raise
    return True


def exists(name: str, dir_fd: int) -> bool:
    """Whether anything stands there."""
    try:
        lstat(name, dir_fd)
    except FileNotFoundError:
        return False
    return True


def is_directory(name: str, dir_fd: int) -> bool:
    """Whether a directory stands there; False for a symlink to one."""
    return stat.S_ISDIR(lstat(name, dir_fd).st_mode)


def _renameat2(old: str, old_dir: int, new: str, new_dir: int, flag: int) -> None:
    if not hasattr(_LIBC, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _LIBC.renameat2(old_dir, os.fsencode(old), new_dir, os.fsencode(new), flag) != 0:
        _fail(old, new)


def _fail(old: str | int, new: str | None = None) -> NoReturn:
    number = ctypes.get_errno()
    # OSError makes itself the fitting subclass (FileExistsError ...).
    raise OSError(number, os.strerror(number), old, None, new)
