"""Edge: write files atomically and durably, without overwriting what changed meanwhile.

Order for each file: write a temporary beside it, sync its bytes, check the old file, rename, sync
the directory. A kill between any two steps leaves the old text or the new one, and at most a
temporary that the next start removes.

Another program may still save between the check and the rename. So an existing file is not
overwritten but exchanged with the temporary, checked again there, and exchanged back if it
changed.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from heapsyncd.errors import FolderTrouble
from heapsyncd.folder import safe_open, syscalls
from heapsyncd.folder.names import variants
from heapsyncd.folder.trouble import PathChanged, trouble
from heapsyncd.folder.walk import stat_of
from heapsyncd.model import Stat

FEW = 4
"""Up to this many files are synced one by one, more with one sync of the file system."""


class Write(Struct, frozen=True):
    """A file to write."""

    path: str
    data: bytes
    expect: Stat | None
    """The last known stat at the path; None expects nothing there."""
    mode: int | None = None
    """Permission bits; None keeps those of the replaced file, or uses the umask."""


class Staged(Struct, frozen=True):
    """A temporary that is ready to be renamed into place."""

    path: str
    dir_fd: int
    temp: str
    name: str
    expect: Stat | None
    stat: Stat
    """The stat of the temporary."""


Result = Stat | PathChanged | FolderTrouble


def new_temp_name() -> str:
    """Return a random name that matches ``ignore.TEMP``."""
    return f".heapsyncd-{secrets.token_hex(6)}.tmp"


def write_all(root: Path, writes: Sequence[Write]) -> list[Result]:
    """Write files. Returns what happened to each, in order.

    Raises:
        FolderTrouble: the heap's folder cannot be opened; nothing was written.
    """
    results: dict[int, Result] = {}
    staged: dict[int, Staged] = {}
    with _directories(root) as directory:
        for k, write in enumerate(writes):
            with _errors_to_results(results, k, write.path):
                dir_fd, name = directory(write.path)
                staged[k] = stage(dir_fd, name, write, sync=len(writes) <= FEW)
        if len(writes) > FEW:
            _sync_all(staged, results)
        touched: dict[int, list[int]] = {}
        for k, ready in staged.items():
            if k not in results:
                with _errors_to_results(results, k, ready.path):
                    results[k] = commit(ready)
                    touched.setdefault(ready.dir_fd, []).append(k)
        for dir_fd, those in touched.items():
            try:
                syscalls.fsync(dir_fd)
            except OSError as error:
                results |= {k: trouble(writes[k].path, error) for k in those}
    return [results[k] for k in range(len(writes))]


def stage(dir_fd: int, name: str, write: Write, *, sync: bool) -> Staged:
    """Write the temporary. If that fails, nothing is left of it."""
    temp = new_temp_name()
    fd = syscalls.create(temp, 0o666 if write.mode is None else write.mode, dir_fd)
    try:
        try:
            left = memoryview(write.data)
            while left:
                left = left[syscalls.write(fd, left) :]
            copy_attributes(fd, name, dir_fd, write)
            if sync:
                syscalls.fsync(fd)
            found = stat_of(os.fstat(fd))
        finally:
            os.close(fd)
    except BaseException:
        discard(temp, dir_fd)
        raise
    return Staged(write.path, dir_fd, temp, name, write.expect, found)


def commit(ready: Staged) -> Stat:
    """Check the old file and rename the temporary into place.

    Raises:
        PathChanged: the path is not as expected. Nothing changed and the temporary is gone.
        OSError: the same, for another reason.
    """
    try:
        swapped = _rename_into_place(ready)
    except FileExistsError as error:
        discard(ready.temp, ready.dir_fd)
        raise PathChanged(ready.path, "something new exists there") from error
    except FileNotFoundError as error:
        discard(ready.temp, ready.dir_fd)
        raise PathChanged(ready.path, "it no longer exists") from error
    except BaseException:
        discard(ready.temp, ready.dir_fd)
        raise
    if swapped:
        _check_replaced(ready)
    return _stat_after_rename(ready)


def check_unchanged(path: str, name: str, dir_fd: int, expect: Stat) -> None:
    """Raise PathChanged unless the file exists and matches ``expect``."""
    try:
        found = syscalls.lstat(name, dir_fd)
    except FileNotFoundError as error:
        raise PathChanged(path, "it no longer exists") from error
    if not stat.S_ISREG(found.st_mode) or not stat_of(found).agrees(expect):
        raise PathChanged(path, "it changed in the meantime")


def discard(temp: str, dir_fd: int) -> None:
    """Delete a temporary if possible; otherwise the next start does."""
    with contextlib.suppress(OSError):
        syscalls.unlink(temp, dir_fd)


def restore_name(temp: str, name: str, dir_fd: int) -> None:
    """Give a user's file its name back after it got a temporary one, or the next free variant."""
    for candidate in variants(name):
        try:
            syscalls.rename_new(temp, dir_fd, candidate, dir_fd)
        except FileExistsError:
            continue
        return


def _rename_into_place(ready: Staged) -> bool:
    """Return whether the old file now has the temporary's name."""
    if ready.expect is None:
        syscalls.rename_new(ready.temp, ready.dir_fd, ready.name, ready.dir_fd)
        return False
    check_unchanged(ready.path, ready.name, ready.dir_fd, ready.expect)
    if syscalls.exchange(ready.temp, ready.name, ready.dir_fd):
        return True
    syscalls.rename(ready.temp, ready.dir_fd, ready.name, ready.dir_fd)
    return False


def _check_replaced(ready: Staged) -> None:
    """Delete the replaced file if it is the expected one; otherwise it is newer: put it back."""
    expect = ready.expect
    assert expect is not None
    try:
        old = stat_of(syscalls.lstat(ready.temp, ready.dir_fd))
        # Without ctime, which the exchange changed.
        known = (old.inode, old.size, old.mtime_ns) == (
            expect.inode,
            expect.size,
            expect.mtime_ns,
        )
    except OSError:
        known = False
    if known:
        discard(ready.temp, ready.dir_fd)
        return
    try:
        syscalls.exchange(ready.temp, ready.name, ready.dir_fd)
    except OSError:
        restore_name(ready.temp, ready.name, ready.dir_fd)
    else:
        discard(ready.temp, ready.dir_fd)
    raise PathChanged(ready.path, "it changed in the meantime")


def _stat_after_rename(ready: Staged) -> Stat:
    """Return the stat to store. The rename changed ctime.

    If another program saved since, return the stat of what we wrote, so that a scan finds the
    change.
    """
    try:
        now = stat_of(syscalls.lstat(ready.name, ready.dir_fd))
    except OSError:
        return ready.stat
    ours = ready.stat
    same = (now.inode, now.size, now.mtime_ns) == (ours.inode, ours.size, ours.mtime_ns)
    return now if same else ours


def copy_attributes(fd: int, name: str, dir_fd: int, write: Write) -> None:
    """Copy mode, owner and extended attributes from the replaced file. An explicit mode wins."""
    mode = write.mode
    if write.expect is not None:
        try:
            old = syscalls.lstat(name, dir_fd)
        except FileNotFoundError:
            return  # `check_unchanged` will report it
        if not stat.S_ISREG(old.st_mode):
            return  # likewise
        new = os.fstat(fd)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            with contextlib.suppress(OSError):  # only root may give files away
                os.fchown(fd, old.st_uid, old.st_gid)
        _copy_extended(fd, name, dir_fd)
        mode = stat.S_IMODE(old.st_mode) if mode is None else mode
    if mode is not None:
        syscalls.chmod(fd, mode)


def _copy_extended(fd: int, name: str, dir_fd: int) -> None:
    # Best effort: not every file system has them, and some need privileges.
    with contextlib.suppress(OSError):
        old_fd = safe_open.open_file(name, dir_fd)
        try:
            for key in os.listxattr(old_fd):
                with contextlib.suppress(OSError):
                    os.setxattr(fd, key, os.getxattr(old_fd, key))
        finally:
            os.close(old_fd)


def _sync_all(staged: dict[int, Staged], results: dict[int, Result]) -> None:
    """Sync each file system once. Mount points may lie inside the folder."""
    devices: dict[int, list[int]] = {}
    for k, ready in staged.items():
        devices.setdefault(ready.stat.device, []).append(k)
    for those in devices.values():
        try:
            syscalls.sync_file_system(staged[those[0]].dir_fd)
        except OSError as error:
            for k in those:
                discard(staged[k].temp, staged[k].dir_fd)
                results[k] = trouble(staged[k].path, error)


@contextmanager
def _errors_to_results(results: dict[int, Result], k: int, path: str) -> Iterator[None]:
    """Store an error raised inside as the result of write ``k``."""
    try:
        yield
    except FileNotFoundError:
        results[k] = PathChanged(path, "its directory no longer exists")
    except OSError as error:
        results[k] = trouble(path, error)
    except (PathChanged, FolderTrouble) as reason:
        results[k] = reason


class _Directories:
    """The open directories of a batch, each opened once."""

    def __init__(self, root_fd: int, stack: ExitStack) -> None:
        self._root_fd = root_fd
        self._stack = stack
        self._open: dict[str, int] = {}

    def __call__(self, path: str) -> tuple[int, str]:
        """Return the open directory of a path and the path's last name."""
        *above, name = safe_open.components(path)
        key = "/".join(above)
        if key not in self._open:
            self._open[key] = safe_open.descend(self._root_fd, above)
            self._stack.callback(os.close, self._open[key])
        return self._open[key], name


@contextmanager
def _directories(root: Path) -> Iterator[_Directories]:
    with ExitStack() as stack:
        root_fd = safe_open.open_root(root)
        stack.callback(os.close, root_fd)
        yield _Directories(root_fd, stack)
